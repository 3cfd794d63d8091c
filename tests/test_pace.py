"""Starts and width are governed in virtual time: no test here waits."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_reimagine.pace import Pace


def pace_of(most: int, rpm: float | None = None, *, ramp: bool = False) -> Pace:
    return Pace(most, rpm, ramp=ramp, rng=random.Random(7))  # noqa: S311 - jitter, no secret


@pytest.mark.parametrize("rpm", [0.5, 1, 10, 60, 6000])
def test_starts_are_evenly_spaced(rpm: float) -> None:
    pace = pace_of(32, rpm)

    starts = [pace.turn(100.0) for _ in range(50)]

    assert starts[0] == 100.0
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert all(math.isclose(gap, 60 / rpm, rel_tol=1e-6) for gap in gaps)


@given(
    rpm=st.floats(0.5, 600),
    waits=st.lists(st.floats(0, 90) | st.just(0.0), min_size=1, max_size=200),
)
def test_no_minute_has_more_starts_than_allowed(rpm: float, waits: list[float]) -> None:
    pace, now, starts = pace_of(32, rpm), 0.0, []
    for wait in waits:
        now += wait
        starts.append(pace.turn(now))

    assert starts == sorted(starts)
    for index, first in enumerate(starts):
        within = sum(start < first + 60 - 1e-6 for start in starts[index:])
        assert within <= rpm + 1


def test_idle_time_saves_up_no_burst() -> None:
    pace = pace_of(32, 60)
    pace.turn(0.0)

    assert [pace.turn(1000.0) for _ in range(3)] == [1000.0, 1001.0, 1002.0]


def test_without_a_rate_all_may_start_at_once() -> None:
    pace = pace_of(32)

    assert [pace.turn(5.0) for _ in range(9)] == [5.0] * 9
    assert pace.per_minute is None


def test_a_run_begins_narrow_and_doubles_each_round_trip() -> None:
    pace, widths = pace_of(100, ramp=True), []
    for trip in range(6):
        widths.append(pace.limit)
        for left in range(pace.limit, 0, -1):
            pace.succeeded(trip + 1.0, float(trip), left)

    assert widths == [8, 16, 32, 64, 100, 100]


def test_without_a_ramp_a_run_begins_at_its_full_width() -> None:
    assert pace_of(32).limit == 32


def test_a_refusal_halves_the_width_pauses_all_and_is_told() -> None:
    pace = pace_of(32)

    note = pace.refused(10.0, 9.0, 32, None, throttle=True)

    assert note == "429 at 32 in flight: now 16, resumes in 0.2 s"
    assert pace.turn(10.0) >= pace.paused_until > 10.0


def test_a_burst_of_refusals_is_one_cut_and_one_note() -> None:
    pace = pace_of(32)

    notes = [
        pace.refused(10.0 + n / 100, 9.0 + n / 100, 32 - n, None, throttle=False) for n in range(32)
    ]

    assert pace.limit == 16
    assert [note is not None for note in notes] == [True] + [False] * 31


def test_a_refusal_of_a_call_begun_after_the_cut_is_news() -> None:
    pace = pace_of(32)
    pace.refused(10.0, 9.0, 32, None, throttle=True)

    assert pace.refused(20.0, 15.0, 16, None, throttle=True) is not None
    assert pace.limit == 8


def test_the_width_never_falls_below_one() -> None:
    pace = pace_of(4)
    for n in range(20):
        pace.refused(100.0 * n + 1, 100.0 * n, pace.limit, None, throttle=False)

    assert pace.limit == 1


def test_pauses_of_our_own_grow_and_are_bounded() -> None:
    pace, pauses = pace_of(4), []
    for n in range(2000):
        now = 1000.0 * n + 1
        pace.refused(now, now - 1, 1, None, throttle=False)
        pauses.append(pace.paused_until - now)

    assert pauses == sorted(pauses)
    assert pauses[0] == 0.25
    assert pauses[-1] == 10.0


def test_the_service_is_waited_for_as_long_as_it_asks() -> None:
    pace = pace_of(32)
    pace.refused(10.0, 9.0, 32, 45.0, throttle=True)

    starts = [pace.turn(11.0) for _ in range(16)]

    assert 55.0 <= starts[0] <= starts[-1] <= 10 + 1.5 * 45
    assert len(set(starts)) == 16, "they come back one by one"


def test_a_short_retry_after_does_not_shorten_the_pause() -> None:
    pace = pace_of(32)
    pace.refused(10.0, 9.0, 32, 45.0, throttle=True)
    pace.refused(10.5, 9.0, 31, 1.0, throttle=True)

    assert pace.paused_until == 55.0


def test_a_longer_retry_after_within_a_burst_is_honoured() -> None:
    pace = pace_of(32)
    pace.refused(10.0, 9.0, 32, 5.0, throttle=True)
    pace.refused(10.5, 9.5, 31, 60.0, throttle=True)

    assert pace.turn(11.0) >= 70.5


def test_a_turn_that_was_taken_before_a_refusal_does_not_stand() -> None:
    pace = pace_of(32, 60)
    assert [pace.turn(0.0) for _ in range(3)] == [0.0, 1.0, 2.0]
    pace.refused(0.5, 0.0, 1, None, throttle=True)

    assert not pace.stands(1.0, 0.0)
    assert pace.turn(0.8) == 1.0, "the rate counts from the last start that came"
    assert pace.stands(1.0, 1.0)


def test_the_width_grows_only_while_it_is_used() -> None:
    pace = pace_of(32)
    pace.refused(10.0, 9.0, 32, None, throttle=True)
    for n in range(1000):
        pace.succeeded(11.0 + n, 10.5 + n, pace.limit // 2)

    assert pace.limit == 16


def test_above_where_it_broke_one_more_is_tried_after_five_seconds() -> None:
    pace = pace_of(32)
    pace.refused(10.0, 9.0, 9, None, throttle=False)  # at 9: so 8 are well
    widths = {}
    for n in range(1, 100):
        now = 10.0 + n / 10
        pace.succeeded(now, now - 0.09, pace.limit)
        widths[n] = pace.limit

    assert widths[1] == 4
    assert widths[5] < 8, "slowly: about one a round trip"
    assert widths[40] == 8
    assert widths[49] == 8
    assert widths[51] == 9


def test_a_failed_probe_goes_back_to_where_it_was_and_waits_longer() -> None:
    pace, now, probes = pace_of(32), 10.0, []
    pace.refused(now, 9.0, 9, None, throttle=False)
    for _ in range(1000):
        now += 0.1
        if pace.limit > 8:
            probes.append(now)
            assert pace.refused(now, now - 0.01, 9, None, throttle=False) is None
            assert pace.limit == 8
            assert pace.paused_until < now, "nobody is held up by it"
        else:
            pace.succeeded(now, now - 0.09, pace.limit)

    waits = [later - earlier for earlier, later in itertools.pairwise(probes)]
    assert waits == pytest.approx([10, 20, 20, 20, 20], abs=0.4)


def test_a_probe_that_survives_a_round_trip_is_followed_by_one_of_twice_the_step() -> None:
    pace, widths = pace_of(32), []
    pace.refused(0.0, -1.0, 9, None, throttle=False)
    for trip in range(1, 24):
        for left in range(pace.limit, 0, -1):
            pace.succeeded(float(trip), trip - 0.9, left)
        widths.append(pace.limit)

    assert [width for width, _ in itertools.groupby(widths)][-6:] == [8, 9, 11, 15, 23, 32]


def test_refusals_whatever_the_width_teach_a_rate_and_give_the_width_back() -> None:
    pace = pace_of(32)
    pace.refused(1.0, 0.9, 32, None, throttle=True)
    for began, many in ((2.0, 16), (4.0, 8)):
        assert pace.limit == many
        for left in range(many, 0, -1):  # as many at once are well, and then they are not
            pace.succeeded(began + 1, began, min(left, many // 2))
        note = pace.refused(began + 1.1, began + 1.05, many, None, throttle=True)

    assert pace.limit == 32
    assert pace.per_minute == pytest.approx(0.97 * 60 * 24 / 4.15)
    assert note == "429 whatever the number in flight: now 337 a minute, resumes in 0.4 s"
    before = pace.per_minute or 0.0
    pace.refused(1000.0, 999.0, 1, None, throttle=True)
    assert pace.per_minute == pytest.approx(0.7 * before), "nothing was accepted to learn from"

    pauses = []
    for n in range(2, 200):
        pace.refused(1000.0 * n, 1000.0 * n - 1, 1, None, throttle=True)
        pauses.append(pace.paused_until - 1000.0 * n)
    assert pace.per_minute == pytest.approx(0.25 * 60 * 24 / 4.15), "a night of it is no standstill"
    assert pauses[-1] == 10.0


def test_errors_never_make_it_wider() -> None:
    pace = pace_of(32, ramp=True)
    for n in range(1000):
        pace.failed(n / 100, n / 100 - 0.005)

    assert pace.limit == 8


def test_when_the_service_is_back_it_begins_at_half_of_what_it_was() -> None:
    pace = pace_of(32)
    pace.succeeded(1.0, 0.0, 32)
    for n in range(5):
        pace.refused(10.0 * n + 11, 10.0 * n + 10, pace.limit, None, throttle=False)
    assert pace.limit == 1

    pace.resumed(100.0)

    assert pace.limit == 16


@given(
    most=st.integers(1, 1000),
    events=st.lists(
        st.tuples(
            st.sampled_from(["succeeded", "failed", "429", "503", "resumed", "turn"]),
            st.floats(0, 30),
            st.integers(0, 1000),
            st.none() | st.floats(-10, 3600),
        ),
        max_size=60,
    ),
)
def test_whatever_happens_the_width_is_in_bounds_and_no_start_lies_in_the_past(
    most: int, events: list[tuple[str, float, int, float | None]]
) -> None:
    pace, now = pace_of(most, 60, ramp=True), 0.0
    for what, later, number, after in events:
        now += later
        before, began = pace.limit, now - number / 10
        if what == "succeeded":
            pace.succeeded(now, began, number)
        elif what == "failed":
            pace.failed(now, began)
            assert pace.limit == before
        elif what == "resumed":
            pace.resumed(now)
        elif what == "turn":
            assert pace.turn(now) >= max(now, pace.paused_until)
        else:
            pace.refused(now, began, number, after, throttle=what == "429")
            assert after is None or after <= 0 or pace.paused_until >= now + after
        assert 1 <= pace.limit <= most
