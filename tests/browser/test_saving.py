"""Nothing is lost and nothing goes astray: what is not saved yet, two outputs, late answers."""

import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.conftest import Open, choices, pane, picked, saved, serving, wait_for


def asked_for_a_second_time(page: Page, meanwhile: Callable[[], None]) -> None:
    """Let the page ask for its state, and let it have the answer after `meanwhile`."""

    def late(route: Route) -> None:
        answer = route.fetch()
        meanwhile()
        route.fulfill(response=answer)

    page.route("**/api/state", late, times=1)
    with page.expect_response("**/api/state"):
        page.evaluate("dispatchEvent(new Event('online'))")


def holding(page: Page, address: str, held: list[Route]) -> Callable[[], None]:
    """Hold one request back; what is returned waits until it is there."""

    def hold(route: Route) -> None:
        held.append(route)

    page.route(address, hold, times=1)

    def wait() -> None:
        for _ in range(100):
            if not held:
                page.wait_for_timeout(50)  # the page's own wait: in it requests are seen
        assert held

    return wait


def test_what_is_not_saved_of_one_output_never_gets_into_another(
    out: Path, tmp_path: Path, context: BrowserContext
) -> None:
    other = shutil.copytree(out, tmp_path / "other")
    page = context.new_page()
    page.on("dialog", lambda dialog: dialog.accept())  # it warns of what is not saved
    with serving(out) as server:
        address = server.address()
        page.goto(address)
        page.wait_for_selector("html[data-ready]", state="attached")
        page.keyboard.press("a")
        page.route("**/choice", lambda route: route.abort())
        page.keyboard.press("2")
        expect(page.locator("#saved")).to_have_attribute("data-saved", "unsaved")
    page.unroute_all()
    port = str(urlsplit(address).port)
    with serving(other, "--port", port) as server:
        page.goto(server.address())
        page.wait_for_selector("html[data-ready]", state="attached")
        expect(page.locator(pane(2))).to_have_attribute("data-state", "open")
        page.keyboard.press("Control+z")
        expect(page.locator("#toast")).to_contain_text("nothing to undo")
        page.keyboard.press("Shift+Digit3")
        saved(page)
        assert picked(other) == [[3]]
    with serving(out, "--port", port) as server:
        page.goto(server.address())
        wait_for(lambda: picked(out) == [[2]])


def test_a_page_left_open_saves_nothing_in_the_output_that_comes_to_its_address(
    out: Path, tmp_path: Path, context: BrowserContext
) -> None:
    other = shutil.copytree(out, tmp_path / "other")
    page = context.new_page()
    with serving(out) as server:
        address = server.address()
        page.goto(address)
        page.wait_for_selector("html[data-ready]", state="attached")
        page.keyboard.press("a")
    page.keyboard.press("2")
    expect(page.locator("#saved")).to_have_attribute("data-saved", "unsaved")
    with serving(other, "--port", str(urlsplit(address).port)) as server:
        context.new_page().goto(server.address())  # its cookie is good for the old page too
        expect(page.locator(pane(2))).to_have_attribute("data-state", "open", timeout=20_000)
        expect(page.locator("#saved")).to_have_attribute("data-saved", "saved")
        assert choices(other) == {}


def test_a_state_that_comes_late_takes_nothing_back(out: Path, opened: Open) -> None:
    with serving(out) as server:
        page = opened(server.address(), expected="409 (Conflict)")
        page.keyboard.press("a")

        def decide() -> None:
            page.keyboard.press("2")
            wait_for(lambda: picked(out) == [[2]])

        asked_for_a_second_time(page, decide)
        page.evaluate("new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))")
        expect(page.locator(pane(2))).to_have_attribute("data-rank", "1", timeout=1)
        with page.expect_response("**/choice") as answer:
            page.keyboard.press("Shift+Digit3")
        assert answer.value.status == 200


def test_what_changes_before_the_stream_of_events_stands_is_seen(
    out: Path, opened: Open, context: BrowserContext
) -> None:
    with serving(out) as server:
        first = opened(server.address())
        first.keyboard.press("a")

        def late(route: Route) -> None:
            first.keyboard.press("2")
            wait_for(lambda: picked(out) == [[2]])
            first.wait_for_timeout(1500)  # more than a look at the books: all has been told
            route.continue_()

        context.route("**/api/events", late, times=1)
        second = opened(server.address())
        expect(second.locator(pane(2))).to_have_attribute("data-rank", "1")


def test_an_export_waits_for_decisions_that_are_not_saved(
    out: Path, tmp_path: Path, opened: Open
) -> None:
    with serving(out) as server:
        page = opened(server.address())
        page.keyboard.press("1")
        saved(page)
        held: list[Route] = []
        wait = holding(page, "**/choice", held)
        page.keyboard.press("2")
        wait()
        page.keyboard.press("e")
        page.keyboard.type(str(tmp_path / "shop"))
        expect(page.locator("#export-run")).to_be_enabled()
        page.locator("#export-run").click()
        said = page.locator("#export-said")
        expect(said).to_have_text("Decisions are not saved yet: wait for Saved.")
        assert not (tmp_path / "shop").exists()
        held[0].continue_()
        expect(said).to_contain_text("2 files to write")
        page.locator("#export-run").click()
        expect(said).to_contain_text("Done: 2 files")


def test_nothing_speaks_over_an_export_that_is_under_way(
    out: Path, tmp_path: Path, opened: Open
) -> None:
    with serving(out) as server:
        page = opened(server.address())
        page.keyboard.press("1")
        saved(page)
        page.keyboard.press("e")
        page.keyboard.type(str(tmp_path / "shop"))
        expect(page.locator("#export-run")).to_be_enabled()
        asked: list[str | None] = []
        page.on("request", lambda request: asked.append(request.post_data))
        held: list[Route] = []
        wait = holding(page, "**/api/export", held)
        page.evaluate(
            "() => { document.querySelector('#export [name=csv]').click();"
            " document.querySelector('#export-run').click(); }"
        )
        wait()
        page.locator("#export [name=zip]").click()
        page.wait_for_timeout(800)  # more than the pause before a plan
        expect(page.locator("#export-said")).to_have_text("Exporting …")
        assert len(asked) == 1
        held[0].continue_()
        expect(page.locator("#export-said")).to_contain_text("Done: ")


def test_what_the_server_refuses_is_not_called_saved(out: Path, opened: Open) -> None:
    with serving(out) as server:
        page = opened(server.address(), expected="400 (Bad Request)")
        page.keyboard.press("a")
        refusal = {"status": 400, "json": {"error": "that cannot be"}}
        page.route("**/choice", lambda route: route.fulfill(**refusal), times=1)
        page.keyboard.press("1")
        header = page.locator("#saved")
        expect(header).to_have_text("Not saved: that cannot be")
        expect(header).to_have_attribute("data-saved", "unsaved")
        page.keyboard.press("2")
        saved(page)
        assert picked(out) == [[2]]
