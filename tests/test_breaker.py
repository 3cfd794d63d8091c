"""The breaker, in virtual time."""

from hypothesis import given
from hypothesis import strategies as st

from batch_reimagine.breaker import Breaker


def opened(at: float = 10.0) -> Breaker:
    breaker = Breaker()
    for _ in range(10):
        breaker.outcome(at, at - 0.1, ok=False)
    assert breaker.open_since == at
    return breaker


def test_ten_failures_of_ten_open_it() -> None:
    breaker = Breaker()

    assert [breaker.outcome(n / 10, 0.0, ok=False) for n in range(7)][:5] == [False] * 5
    assert opened().turn(10.0) == 11.0


def test_fewer_in_five_seconds_open_it_too_if_all_fail() -> None:
    breaker = Breaker()

    changes = [breaker.outcome(float(n) / 2, 0.0, ok=False) for n in range(6)]

    assert changes == [False] * 5 + [True]


def test_nine_slow_failures_of_ten_open_it_too() -> None:
    breaker = Breaker()
    breaker.outcome(0.0, 0.0, ok=True)

    assert [breaker.outcome(2.0 * n, 0.0, ok=False) for n in range(1, 10)] == [False] * 8 + [True]


def test_one_in_five_that_succeeds_keeps_it_shut() -> None:
    breaker = Breaker()
    for n in range(500):
        breaker.outcome(n / 10, 0.0, ok=n % 5 == 0)

    assert breaker.open_since is None


def test_slow_failures_far_apart_do_not_open_it_before_there_are_ten() -> None:
    breaker = Breaker()
    for n in range(9):
        breaker.outcome(10.0 * n, 0.0, ok=False)

    assert breaker.open_since is None


def test_shut_it_limits_nobody() -> None:
    assert Breaker().turn(5.0) is None


def test_open_it_lets_one_caller_in_at_a_time_and_the_others_ask_again() -> None:
    breaker = opened()

    assert breaker.turn(11.0) == 11.0
    later = breaker.turn(11.0)
    assert later is not None
    assert later > 11.0


@given(st.lists(st.floats(0, 5), min_size=20, max_size=300))
def test_open_it_grants_at_most_one_probe_a_second_and_one_every_three(waits: list[float]) -> None:
    breaker, now, granted = opened(), 10.0, [10.0]
    for wait in waits:
        turn = breaker.turn(now)
        assert turn is not None
        assert turn <= now + 3.0 + 1e-9, "nobody is sent away for longer"
        if turn <= now:
            assert now - granted[-1] >= 1.0
            granted.append(now)
        now += wait


def test_a_probe_that_succeeds_shuts_it_at_once() -> None:
    breaker = opened()
    breaker.turn(11.0)

    assert breaker.outcome(11.5, 11.0, ok=True)
    assert breaker.open_since is None
    assert breaker.turn(11.5) is None


def test_what_was_on_its_way_before_does_not_shut_it() -> None:
    breaker = opened()

    assert not breaker.outcome(10.5, 9.0, ok=True)
    assert breaker.open_since == 10.0


def test_old_failures_do_not_open_it_again() -> None:
    breaker = opened()
    breaker.turn(11.0)
    breaker.outcome(11.5, 11.0, ok=True)

    assert not breaker.outcome(11.6, 11.5, ok=False)


def test_calls_that_met_the_outage_are_known_after_it_too() -> None:
    breaker = opened()
    breaker.turn(11.0)
    assert breaker.open_at(11.0)
    breaker.outcome(11.5, 11.0, ok=True)

    assert [breaker.open_at(began) for began in (9.0, 9.9, 11.0, 11.5, 12.0)] == [
        False,
        True,  # among the failures that opened it
        True,
        False,
        False,
    ]


def test_memory_is_bounded_over_many_outages() -> None:
    breaker = Breaker()
    for n in range(1000):
        for _ in range(10):
            breaker.outcome(10.0 * n, 10.0 * n, ok=False)
        breaker.turn(10.0 * n + 5)
        breaker.outcome(10.0 * n + 6, 10.0 * n + 5, ok=True)

    assert len(breaker._periods) <= 64
