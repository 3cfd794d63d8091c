"""What the page shows: failures, hostile names, a run that goes on, any width; and to whom."""

import shutil
import subprocess
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import SAMPLES, Open, command, make_output, serving, wait_for
from tests.support import make_photos


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong for people who do not see, hear or point as others do."""
    # preload: it would fetch the style sheets once more, which a page from a file may not.
    found = Axe().run(page, options={"preload": False}).response["violations"]
    return [f"{rule['id']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]]


def painted(page: Page, selector: str) -> bool:
    """Whether every picture there has arrived and decodes."""
    return bool(
        page.evaluate(
            "s => [...document.querySelectorAll(s)].every(i => i.complete && i.naturalWidth > 0)",
            selector,
        )
    )


@pytest.mark.parametrize("width", [360, 1280, 3840])
def test_it_fits_any_width(out: Path, opened: Open, width: int) -> None:
    with serving(out) as server:
        page = opened(server.address())
        page.set_viewport_size({"width": width, "height": max(740, width * 9 // 16)})
        for key in ("", "g"):
            if key:
                page.keyboard.press(key)
            over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert over <= 0
        expect(page.locator("#groups [data-group]").first).to_be_visible()


def test_axe_finds_nothing(out: Path, opened: Open) -> None:
    with serving(out) as server:
        page = opened(server.address())
        page.keyboard.press("1")
        found = {"queue": violations(page)}
        for key, dialog in {"Shift+?": "help", "t": "note", "m": "more", "e": "export"}.items():
            page.keyboard.press(key)
            page.locator(f"dialog#{dialog}[open]").wait_for()
            found[dialog] = violations(page)
            page.keyboard.press("Escape")
            page.locator(f"dialog#{dialog}[open]").wait_for(state="detached")
        page.keyboard.press("g")
        found["overview"] = violations(page)
        assert {where: wrong for where, wrong in found.items() if wrong} == {}


def test_hostile_names_are_text(tmp_path: Path, opened: Open) -> None:
    names = [
        '"><img src=x onerror=alert(1)>.jpg',
        "<script>alert(2)</script>.jpg",
        "javascript:alert(3).jpg",
        "&lt;b&gt; {{7*7}} ${8*8}.jpg",
        "\u202egpj.exe\u2066.jpg",
    ]
    photos, out = tmp_path / "photos", tmp_path / "out"
    for path, name in zip(make_photos(photos, len(names)), names, strict=True):
        path.rename(photos / name.replace("/", "\u2215"))
    make_output(photos, out, n=1)
    with serving(out) as server:
        page = opened(server.address())
        page.keyboard.press("g")
        expect(page.locator("#groups [data-group]")).to_have_count(len(names))
        assert page.locator("img[src='x'], #groups script").count() == 0
        text = page.locator("#groups").inner_text()
        assert "<img src=x onerror=alert(1)>" in text


def test_what_was_not_made_is_there_with_its_reason(tmp_path: Path, opened: Open) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    make_photos(photos, 1)
    (photos / "broken.jpg").write_bytes((photos / "photo-000.jpg").read_bytes()[:300])
    words = command("run", photos, "-o", out, "-n", "2", "--provider", "simulator", "-q")
    assert subprocess.run(words, timeout=60, check=False, capture_output=True).returncode == 3
    with serving(out) as server:
        page = opened(server.address(), expected="404 (Not Found)")  # its original shows nothing
        expect(page.locator("#name")).to_contain_text("broken.jpg")
        why = page.locator("#queue .pane[data-status=rejected] .why")
        expect(why).to_be_visible()
        assert len(why.inner_text()) > 20


def test_pictures_come_in_while_a_run_goes_on(tmp_path: Path, opened: Open) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    make_photos(photos, 2)
    make_output(photos, out, n=1)
    make_photos(photos, 12, first=2)
    with serving(out) as server:
        page = opened(server.address())
        product = page.locator("#queue").get_attribute("data-product")
        page.keyboard.press("1")
        make_output(photos, out, n=2)
        expect(page.locator("#position")).to_contain_text("14")
        page.keyboard.press("ArrowUp")
        assert page.locator("#queue").get_attribute("data-product") == product
        expect(page.locator("#queue .pane[data-n='2'] img.picture")).to_be_visible()
        wait_for(lambda: painted(page, "#queue img.picture"))


def test_more_of_one_is_made_into_new_places(tmp_path: Path, opened: Open) -> None:
    photos = shutil.copytree(SAMPLES / "stationery", tmp_path / "photos")
    out = tmp_path / "out"
    make_output(photos, out, n=2)
    with serving(out) as server:
        page = opened(server.address())
        page.keyboard.press("m")
        page.locator("#more-count").fill("1")
        page.keyboard.press("Enter")
        expect(page.locator("#queue .pane[data-n='3'] img.picture")).to_be_visible()
        expect(page.locator("#run")).to_be_hidden()
    assert len(list(out.rglob("*_v03.png"))) == 1
    assert len(list(out.rglob("*_v0[12].png"))) == 2


def test_the_page_needs_the_address_of_the_terminal(out: Path, context: BrowserContext) -> None:
    with serving(out) as server:
        address = server.address()
        origin = address.partition("/login")[0]
        page = context.new_page()
        for wrong in (origin, f"{origin}/api/state", f"{origin}/login?token=wrong"):
            answer = page.goto(wrong)
            assert answer is not None
            assert answer.status in {401, 403}
        assert (page.goto(address) or pytest.fail("no answer")).status == 200
        again = page.goto(address)  # it is used up
        assert again is not None
        assert again.status == 403


def test_a_gallery_for_a_client_works_from_a_file(out: Path, tmp_path: Path, opened: Open) -> None:
    target = tmp_path / "gallery"
    words = command("review", out, "--static", target)
    subprocess.run(words, check=True, timeout=60, capture_output=True)
    moved = shutil.move(target, tmp_path / "elsewhere")
    page = opened(Path(moved, "index.html").as_uri(), ready=False)
    page.locator("img").first.wait_for()
    wait_for(lambda: painted(page, "img[src]:not([loading=lazy])"))
    assert page.locator("img").count() > 0
    assert violations(page) == []
    for path in Path(moved).rglob("*"):
        if path.suffix in {".html", ".js", ".css"}:
            assert str(tmp_path) not in path.read_text("utf-8")
