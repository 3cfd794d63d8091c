"""How far a run is, in virtual seconds: what is settled, what is left, and the words for it."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from batch_reimagine import Progress, Settings
from batch_reimagine.cli.reporter import Reporter
from batch_reimagine.how_far import HowFar, clock, how_far, words
from batch_reimagine.work import Summary

FOUR = Settings(variations=4)
PRICED = Settings(variations=4, price=Decimal("0.01"))


def far(settings: Settings = FOUR, after_s: float = 60, **counts: Any) -> HowFar:
    return how_far(Progress(**counts), settings, began_s=1000, now_s=1000 + after_s)


def said(settings: Settings = FOUR, after_s: float = 60, **counts: Any) -> str:
    return " · ".join(words(Progress(**counts), far(settings, after_s, **counts)))


@pytest.mark.parametrize(
    ("counts", "done"),
    [
        ({"here": 3, "made": 2, "copied": 1}, 6),
        ({"held": 2, "exhausted": 1}, 3),
        ({"rejected": 1, "failed_before": 2}, 12),  # photos, of four variations each
        ({"unknown": 5}, 0),  # asked for again
        ({"rejected": 99}, 40),  # no more than there are
    ],
)
def test_what_needs_no_more_work_is_done(counts: dict[str, int], done: int) -> None:
    assert far(photos_total=10, **counts).done == done


def test_while_the_listing_goes_on_nobody_knows_the_end() -> None:
    found = far(PRICED, made=5, spent="0.05")

    assert (found.done, found.total, found.left) == (5, None, 0)
    assert (found.left_s, found.spent_at_end) == (None, None)


@pytest.mark.parametrize(
    ("counts", "left_s"),
    [
        ({"made": 10}, 180),  # 30 more at ten a minute
        ({"made": 10, "here": 20}, 60),  # what was here says nothing of the pace
        ({"made": 10, "per_minute": 5.0}, 360),
        ({"made": 10, "per_minute": 600.0}, 180),
        ({"made": 10, "paused_until": 1100.0}, 220),
        ({"made": 10, "paused_until": 900.0}, 180),
        ({"here": 10, "per_minute": 5.0}, None),  # before the first picture
        ({"here": 40}, 0),
        ({"made": 40, "paused_until": 1100.0}, 0),
    ],
)
def test_the_time_that_is_left_is_by_the_sessions_pace_the_limit_and_the_pause(
    counts: dict[str, Any], left_s: float | None
) -> None:
    assert far(photos_total=10, **counts).left_s == left_s


def test_no_time_has_passed_and_nothing_is_divided_by_it() -> None:
    assert far(after_s=0, photos_total=10, made=1).left_s is None


def test_what_it_costs_at_the_end_is_what_is_spent_and_what_is_left() -> None:
    counts = {"photos_total": 10, "made": 10, "here": 10, "spent": "0.25"}

    assert far(PRICED, **counts).spent_at_end == Decimal("0.45")
    assert far(FOUR, **counts).spent_at_end is None


def test_people_are_told_part_by_part() -> None:
    flying = {"in_flight": 2, "retrying": 1, "exhausted": 1, "credits_left": 1200}
    money = {"spent": "0.10", "at_risk": "0.02"}

    assert said() == "0 (still listing)"
    assert said(PRICED, photos_total=10, made=9, **flying, **money) == (
        "10/40 · 1 failed · 1 retrying · 2 in flight · 9.0/min · 3:20 left"
        " · spent 0.10, not known 0.02 · 0.40 at the end · 1,200 credits left"
    )
    assert said(PRICED, photos_total=10, made=40, after_s=10, **money) == (
        "40/40 · 4.0/s · spent 0.10, not known 0.02"
    )


@pytest.mark.parametrize(
    ("seconds", "told"), [(3.44, "3.4 s"), (60, "1:00"), (123, "2:03"), (3723, "1:02:03")]
)
def test_a_time_is_told_as_a_clock_shows_it(seconds: float, told: str) -> None:
    assert clock(seconds) == told


@pytest.mark.parametrize(
    ("counts", "stopped", "says"),
    [
        ({}, None, "nothing to do: "),
        ({"calls": 1}, None, "nothing made: "),
        ({}, "interrupted", "nothing made: "),
        ({"calls": 1, "made": 1}, None, "1 made: "),
    ],
)
def test_the_summary_tells_a_run_that_made_nothing_from_one_with_nothing_to_do(
    capfd: pytest.CaptureFixture[str], counts: dict[str, int], stopped: str | None, says: str
) -> None:
    reporter = Reporter(json=False, quiet=True, verbose=False, settings=FOUR)
    asyncio.run(reporter.emit(Summary("r", reporter.progress, 1.0, stopped)))
    for name, count in counts.items():
        setattr(reporter.progress, name, count)
    reporter.end(0, None)
    reporter.close()

    assert capfd.readouterr().out.startswith(says)


def test_the_commands_line_says_the_same() -> None:
    reporter = Reporter(json=False, quiet=True, verbose=False, settings=FOUR)
    reporter.progress.photos_total, reporter.progress.here = 10, 30

    assert reporter.line() == said(photos_total=10, here=30) == "30/40"
    assert reporter.left() == 10
