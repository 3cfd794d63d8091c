"""The run-wide quota of retries, in virtual time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_reimagine.quota import RetryQuota


def test_a_burst_is_free_and_then_it_takes_time() -> None:
    quota = RetryQuota()

    assert [quota.may_retry(0.0) for _ in range(10)] == [0.0] * 10
    assert quota.may_retry(0.0) == 1.0


def test_ten_first_attempts_bring_one_retry() -> None:
    quota = RetryQuota(burst=1.0)
    assert quota.may_retry(0.0) == 0.0
    for _ in range(9):
        quota.first(0.0)
    assert quota.may_retry(0.0) > 0
    quota.first(0.0)

    assert quota.may_retry(0.0) == 0.0
    assert quota.may_retry(0.0) > 0


def test_a_night_without_retries_saves_up_no_more_than_the_burst() -> None:
    quota = RetryQuota()
    for n in range(10_000):
        quota.first(float(n))

    assert [quota.may_retry(1e5) for _ in range(11)].count(0.0) == 10


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 3)), min_size=1, max_size=300),
)
def test_retries_never_exceed_the_share_the_burst_and_the_trickle(
    events: list[tuple[bool, float]],
) -> None:
    quota, now, firsts, retries = RetryQuota(), 0.0, 0, 0
    for first, later in events:
        now += later
        if first:
            quota.first(now)
            firsts += 1
        else:
            retries += quota.may_retry(now) == 0.0
        assert retries <= 10 + 0.1 * firsts + now + 1e-6


def test_the_last_retries_of_a_run_end() -> None:
    """Forty calls that all wait, and no first attempts any more."""
    quota, done, waiting = RetryQuota(), 0.0, [0.0] * 40
    for _ in range(10_000):
        if not waiting:
            break
        now = min(waiting)
        waiting.remove(now)
        wait = quota.may_retry(now)
        if wait:
            waiting.append(now + wait)
        done = now

    assert not waiting
    assert done == pytest.approx(40 - 10, abs=3)


def test_a_clock_that_steps_back_breaks_nothing() -> None:
    quota = RetryQuota(burst=1.0)
    quota.may_retry(100.0)

    assert quota.may_retry(50.0) > 0
    assert quota.may_retry(60.0) > 0, "no time has gone by since"
    assert quota.may_retry(101.0) == 0.0
