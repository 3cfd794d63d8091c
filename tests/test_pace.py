"""Starts and width are governed in virtual time: no test here waits."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_reimagine.pace import Pace


@pytest.mark.parametrize("rpm", [0.5, 1, 10, 60, 6000])
def test_starts_are_evenly_spaced(rpm: float) -> None:
    pace = Pace(32, rpm)

    starts = [pace.turn(100.0) for _ in range(50)]

    assert starts[0] == 100.0
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert all(math.isclose(gap, 60 / rpm, rel_tol=1e-6) for gap in gaps)


@given(
    rpm=st.floats(0.5, 600),
    waits=st.lists(st.floats(0, 90) | st.just(0.0), min_size=1, max_size=200),
)
def test_no_minute_has_more_starts_than_allowed(rpm: float, waits: list[float]) -> None:
    pace, now, starts = Pace(32, rpm), 0.0, []
    for wait in waits:
        now += wait
        starts.append(pace.turn(now))

    assert starts == sorted(starts)
    for index, first in enumerate(starts):
        within = sum(start < first + 60 - 1e-6 for start in starts[index:])
        assert within <= rpm + 1


def test_idle_time_saves_up_no_burst() -> None:
    pace = Pace(32, 60)
    pace.turn(0.0)

    assert [pace.turn(1000.0) for _ in range(3)] == [1000.0, 1001.0, 1002.0]


def test_without_a_rate_all_may_start_at_once() -> None:
    pace = Pace(32)

    assert [pace.turn(5.0) for _ in range(9)] == [5.0] * 9


def test_a_run_begins_at_its_full_width() -> None:
    assert Pace(32).limit == 32


def test_a_refusal_halves_the_width_and_pauses_all() -> None:
    pace = Pace(32)

    pause = pace.refused(10.0, 9.0, None)

    assert pace.limit == 16
    assert pause is not None
    assert pause > 0
    assert pace.turn(10.0) == 10.0 + pause


def test_a_burst_of_refusals_is_one_cut() -> None:
    pace = Pace(32)

    pauses = [pace.refused(10.0 + n / 100, 9.0 + n / 100, None) for n in range(32)]

    assert pace.limit == 16
    assert [pause is not None for pause in pauses] == [True] + [False] * 31


def test_a_refusal_of_a_call_begun_after_the_cut_is_news() -> None:
    pace = Pace(32)
    pace.refused(10.0, 9.0, None)

    assert pace.refused(20.0, 15.0, None) is not None
    assert pace.limit == 8


def test_the_width_never_falls_below_one() -> None:
    pace = Pace(4)
    for n in range(20):
        pace.refused(100.0 * n + 1, 100.0 * n, None)

    assert pace.limit == 1


def test_pauses_grow_and_are_bounded() -> None:
    pace = Pace(4)

    pauses = [pace.refused(1000.0 * n + 1, 1000.0 * n, None) or 0.0 for n in range(12)]

    assert pauses == sorted(pauses)
    assert pauses[-1] == 60.0


def test_a_night_of_refusals_is_no_error() -> None:
    pace = Pace(4)

    pauses = {pace.refused(1000.0 * n + 1, 1000.0 * n, None) for n in range(2000)}

    assert max(pause or 0.0 for pause in pauses) == 60.0


def test_a_success_ends_the_growth_of_pauses() -> None:
    pace = Pace(4)
    first = pace.refused(1.0, 0.0, None)
    pace.refused(101.0, 100.0, None)
    pace.succeeded(1)

    assert pace.refused(201.0, 200.0, None) == first


def test_the_service_is_waited_for_as_long_as_it_asks() -> None:
    pace = Pace(32)

    assert pace.refused(10.0, 9.0, 45.0) == 45.0
    assert pace.turn(11.0) == 55.0


def test_a_short_retry_after_does_not_shorten_the_pause() -> None:
    pace = Pace(32)
    pace.refused(10.0, 9.0, 45.0)
    pace.refused(10.5, 9.0, 1.0)

    assert pace.paused_until == 55.0


def test_a_longer_retry_after_within_a_burst_is_honoured() -> None:
    pace = Pace(32)
    pace.refused(10.0, 9.0, 5.0)
    pace.refused(10.5, 9.5, 60.0)

    assert pace.turn(11.0) == 70.5


def test_after_a_pause_starts_keep_their_spacing() -> None:
    pace = Pace(32, 60)
    pace.refused(10.0, 9.0, 20.0)

    assert [pace.turn(10.0) for _ in range(3)] == [30.0, 31.0, 32.0]


def test_the_width_grows_only_while_it_is_used() -> None:
    pace = Pace(32)
    pace.refused(10.0, 9.0, None)
    for _ in range(1000):
        pace.succeeded(pace.limit - 1)

    assert pace.limit == 16


def test_the_width_grows_slowly_back_to_its_most() -> None:
    pace = Pace(32)
    pace.refused(10.0, 9.0, None)
    widths = []
    for _ in range(1000):
        pace.succeeded(pace.limit)
        widths.append(pace.limit)

    assert widths[15] <= 17, "about one more after as many successes as there are slots"
    assert widths == sorted(widths)
    assert widths[-1] == 32


@given(
    most=st.integers(1, 1000),
    events=st.lists(
        st.tuples(
            st.sampled_from(["succeeded", "refused", "turn"]),
            st.floats(0, 30),
            st.integers(0, 1000),
            st.none() | st.floats(0, 3600),
        ),
        max_size=60,
    ),
)
def test_whatever_happens_the_width_is_in_bounds_and_no_start_lies_in_the_past(
    most: int, events: list[tuple[str, float, int, float | None]]
) -> None:
    pace, now = Pace(most, 60), 0.0
    for what, later, number, after in events:
        now += later
        before = pace.limit
        if what == "succeeded":
            pace.succeeded(number)
            assert before <= pace.limit <= before + 1
        elif what == "refused":
            pace.refused(now, now - number / 10, after)
            assert pace.limit <= before
        else:
            assert pace.turn(now) >= max(now, pace.paused_until)
        assert 1 <= pace.limit <= most
