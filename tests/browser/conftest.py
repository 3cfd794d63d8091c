"""The review page in a real browser: a system Chromium, the real command, real pictures.

Every page must end without an error on its console, refused requests and CSP included.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from batch_reimagine import manifest
from batch_reimagine.last_run import recall, remember
from batch_reimagine.output import MANIFEST, Tree
from batch_reimagine.settings import Settings
from tests.support import rows

SAMPLES = Path(__file__).parents[2] / "samples"
_FLAGS = [
    "--no-sandbox",  # CI runs as root, in a machine of its own
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
_ADDRESS = re.compile(r"http://\S+/login\?token=\S+")
_WAIT_S = 20.0
expect.set_options(timeout=10_000)
Open = Callable[..., Page]


def command(*words: str | Path) -> list[str]:
    """The tool as a process."""
    return [sys.executable, "-m", "batch_reimagine", *map(str, words)]


def make_output(photos: Path, out: Path, *flags: str, n: int = 4) -> None:
    """Run the simulator over photos."""
    words = command("run", photos, "-o", out, "-n", str(n), "--provider", "simulator", "-q", *flags)
    subprocess.run(words, check=True, timeout=60, capture_output=True)


@dataclass(slots=True)
class Server:
    """A running `batch-reimagine review`."""

    process: subprocess.Popen[str]
    addresses: list[str]

    def address(self) -> str:
        """A fresh one: each is good for one window."""
        assert self.process.stdout is not None
        while not self.addresses:
            line = self.process.stdout.readline()
            assert line, f"the server ended with {self.process.wait()}"
            self.addresses += _ADDRESS.findall(line)
        return self.addresses.pop(0)


@contextmanager
def serving(out: Path, *flags: str) -> Iterator[Server]:
    """Serve an output until the end of the block, and end it as a user does."""
    process = subprocess.Popen(
        command("review", out, "--no-open", *flags),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield Server(process, [])
    finally:
        process.send_signal(2)
        assert process.wait(_WAIT_S) == 130
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "no Chromium: `make browser-test` installs Debian's, or set CHROMIUM to another"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    found = chromium.new_context(viewport={"width": 1280, "height": 800})
    yield found
    found.close()


@pytest.fixture
def opened(context: BrowserContext) -> Iterator[Callable[..., Page]]:
    """Open an address in a new tab; what it complains of fails the test at its end.

    expected: what a line on the console may say: a browser tells of each 404 and 409 there,
    also where the page asked on purpose.
    """
    complaints: list[str] = []
    may_say: list[str] = []

    def told(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    def open_(address: str, *, ready: bool = True, expected: str | None = None) -> Page:
        may_say.extend([expected] if expected else [])
        page = context.new_page()
        page.on("console", told)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.goto(address)
        if ready:
            page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield open_
    assert [said for said in complaints if not any(word in said for word in may_say)] == []


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample photos and four variations of each; copy it before writing to it."""
    out = tmp_path_factory.mktemp("made") / "out"
    make_output(SAMPLES, out)
    return out


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """An output of its own for each test."""
    return shutil.copytree(made, tmp_path / "out")


@pytest.fixture(scope="session")
def large(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 products × 4: the samples' pictures under many names, in twenty folders."""
    top = tmp_path_factory.mktemp("large")
    photos, out = top / "photos", top / "out"
    out.mkdir()
    last = recall(Tree(made))
    assert last is not None
    by_source: dict[str, list[dict[str, object]]] = {}
    for row in rows(made):
        by_source.setdefault(row["source"], []).append(row)
    lines = []
    for number in range(500):
        source = sorted(by_source)[number % len(by_source)]
        folder, suffix = f"shelf {number % 20:02d}", Path(source).suffix
        name = f"{folder}/product {number:03d}"
        (photos / folder).mkdir(parents=True, exist_ok=True)
        (out / folder).mkdir(exist_ok=True)
        os.link(SAMPLES / source, photos / f"{name}{suffix}")
        for row in by_source[source]:
            output = f"{name}_v{row['variation']:02d}{Path(str(row['output'])).suffix}"
            os.link(made / str(row["output"]), out / output)
            found = manifest.decode(json_of(row | {"source": f"{name}{suffix}", "output": output}))
            assert found is not None
            lines.append(manifest.encode(found) + b"\n")
    (out / MANIFEST).write_bytes(b"".join(lines))
    tree = Tree(out)
    tree.prepare(force=True)
    remember(tree, [photos], Settings(provider="simulator", variations=4))
    return out


def json_of(row: dict[str, object]) -> bytes:
    import msgspec  # noqa: PLC0415 - one use

    return msgspec.json.encode(row)


def choices(out: Path) -> dict[str, dict[str, object]]:
    """What the log says now, by source."""
    path = out / "picks.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return {line["source"]: line["choice"] for line in map(json.loads, lines)}


def picked(out: Path) -> list[object]:
    """Variation numbers by rank, of each product that somebody decided about."""
    return [choice.get("picked") for choice in choices(out).values()]


def pane(n: int) -> str:
    """Where a variation is shown; 0 is the original."""
    return f"#queue .pane[data-n='{n}']"


def saved(page: Page) -> None:
    """Wait until the page says so."""
    expect(page.locator("#saved")).to_have_attribute("data-saved", "saved")


def wait_for(what: Callable[[], bool], seconds: float = _WAIT_S) -> None:
    """Look again and again; bounded."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)
