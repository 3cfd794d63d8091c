"""500 products × 4: nothing waits. The figures are told, not judged; see `-rP`."""

import statistics
import time
from pathlib import Path

import psutil
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open, serving, wait_for

# From the key to the frame in which all panes of the next product show decoded pictures.
_STEP = """
key => new Promise(done => {
  const before = document.querySelector('#queue').dataset.product;
  const began = performance.now();
  const look = () => {
    const root = document.querySelector('#queue');
    const images = [...root.querySelectorAll('img.picture')];
    const there = root.dataset.product !== before && images.length === 5
      && images.every(i => i.complete && i.naturalWidth);
    if (there) requestAnimationFrame(() => done(performance.now() - began));
    else requestAnimationFrame(look);
  };
  const event = new KeyboardEvent('keydown', {key, code: 'ArrowDown', bubbles: true});
  document.body.dispatchEvent(event);
  look();
})
"""


PANES = 5


def arrived(page: Page, selector: str) -> int:
    """How many pictures there are painted, or can be."""
    count = (
        "s => [...document.querySelectorAll(s)].filter(i => i.complete && i.naturalWidth).length"
    )
    return int(page.evaluate(count, selector))


def test_five_hundred_products_are_walked_through(large: Path, opened: Open) -> None:
    began = time.monotonic()
    with serving(large) as server:
        address = server.address()
        started_s = time.monotonic() - began
        began = time.monotonic()
        page = opened(address)
        expect(page.locator("#position")).to_contain_text("500")
        wait_for(lambda: arrived(page, "#queue img.picture") == PANES)
        first_s = time.monotonic() - began
        steps = []
        for _ in range(40):
            time.sleep(0.25)  # nobody decides faster
            steps.append(page.evaluate(_STEP, "ArrowDown"))
        page.keyboard.press("g")
        began = time.monotonic()
        wait_for(lambda: arrived(page, "#groups img") > 0)
        overview_s = time.monotonic() - began
        rss = psutil.Process(server.process.pid).memory_info().rss / 1e6
        heap = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
    steps.sort()
    print(  # noqa: T201 - figures for whoever asks with -rP
        f"command to address {started_s:.2f} s, then to the first product painted {first_s:.2f} s;"
        f" step median {statistics.median(steps):.0f} ms,"
        f" 95th percentile {steps[37]:.0f} ms; overview's first picture {overview_s:.2f} s;"
        f" server {rss:.0f} MB, page's heap {heap:.0f} MB"
    )
    assert len(steps) == 40
