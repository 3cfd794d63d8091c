"""One keystroke a product, and nothing lost: keys, reloads, two tabs."""

import csv
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Open, choices, pane, picked, saved, serving, wait_for


def test_keys_alone_lead_from_the_first_look_to_the_shops_folder(
    out: Path, tmp_path: Path, opened: Open
) -> None:
    target = tmp_path / "shop"
    with serving(out) as server:
        page = opened(server.address())
        count = page.evaluate(
            "fetch('/api/state').then(a => a.json()).then(s => s.products.length)"
        )
        keys = 0
        for _ in range(count):
            page.keyboard.press("2")
            keys += 1
        saved(page)
        assert picked(out) == [[2]] * count
        page.keyboard.press("e")
        page.locator("dialog#export[open]").wait_for()
        page.keyboard.type(str(target))
        expect(page.locator("#export-run")).to_be_enabled()
        page.locator("#export-run").focus()
        page.keyboard.press("Enter")
        wait_for(lambda: len(list(target.rglob("*.png"))) == count)
        assert keys == count
        told = page.locator("#export-command").inner_text()
        assert told.startswith("batch-reimagine export ")


def test_a_reload_keeps_the_choice_the_place_and_what_can_be_undone(
    out: Path, opened: Open
) -> None:
    with serving(out) as server:
        page = opened(server.address())
        page.keyboard.press("a")  # stay on the product
        page.keyboard.press("1")
        page.keyboard.press("Shift+Digit3")
        saved(page)
        product = page.locator("#queue").get_attribute("data-product")
        page.reload()
        page.wait_for_selector("html[data-ready]", state="attached")
        assert page.locator("#queue").get_attribute("data-product") == product
        expect(page.locator(pane(1))).to_have_attribute("data-rank", "1")
        expect(page.locator(pane(3))).to_have_attribute("data-rank", "2")
        page.keyboard.press("Control+z")
        saved(page)
        wait_for(lambda: picked(out) == [[1]])
        page.keyboard.press("Control+y")
        wait_for(lambda: picked(out) == [[1, 3]])


def test_each_decision_has_its_key(out: Path, opened: Open) -> None:
    with serving(out) as server:
        page = opened(server.address())
        page.keyboard.press("a")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("x")
        expect(page.locator(pane(2))).to_have_attribute("data-state", "rejected")
        page.keyboard.press("u")
        expect(page.locator(pane(2))).to_have_attribute("data-state", "open")
        page.keyboard.press("p")
        expect(page.locator(pane(2))).to_have_attribute("data-rank", "1")
        page.keyboard.press("Shift+P")
        expect(page.locator(pane(1))).to_have_attribute("data-state", "rejected")
        page.keyboard.press("t")
        page.keyboard.type("soft <b>shadow</b>")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#note-line")).to_contain_text("soft <b>shadow</b>")
        page.keyboard.press("0")
        saved(page)
        (choice,) = choices(out).values()
        assert choice["none"] is True
        assert choice["note"] == "soft <b>shadow</b>"


def test_two_tabs_see_each_other_and_lose_nothing(out: Path, opened: Open) -> None:
    with serving(out) as server:
        first = opened(server.address(), expected="409 (Conflict)")
        second = opened(server.address())
        for page in (first, second):
            page.keyboard.press("a")
        first.keyboard.press("1")
        expect(second.locator(pane(1))).to_have_attribute("data-rank", "1")
        second.keyboard.press("Shift+Digit2")
        first.keyboard.press("Shift+Digit3")
        wait_for(lambda: sorted(picked(out)[0]) == [1, 2, 3])  # type: ignore[call-overload]
        for page in (first, second):
            expect(page.locator(pane(2))).to_have_attribute("data-state", "picked")
            expect(page.locator(pane(3))).to_have_attribute("data-state", "picked")


def test_the_list_for_spreadsheets_follows_the_keys(out: Path, opened: Open) -> None:
    with serving(out) as server:
        page = opened(server.address())
        page.keyboard.press("3")
        wait_for((out / "picks.csv").exists)
        with (out / "picks.csv").open(encoding="utf-8-sig", newline="") as opened_file:
            (row,) = csv.DictReader(opened_file)
        assert row["picks"] == "3"


def test_keys_do_nothing_while_somebody_types(out: Path, opened: Open) -> None:
    with serving(out) as server:
        page = opened(server.address())
        page.keyboard.press("g")
        page.locator("#search").fill("tu")
        page.locator("#search").press("1")
        assert choices(out) == {}
        assert page.locator("#search").input_value() == "tu1"
