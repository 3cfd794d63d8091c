"""Pace, breaker and quota together against servers in virtual time: what they reach, in figures."""

import itertools
import math
import random

import pytest

from tests.pace_model import (
    Answer,
    AtOnce,
    Away,
    Bucket,
    Fleet,
    Latency,
    Server,
    Slots,
    Window,
    fleet,
    free,
)

SEEDS = (*range(8), 10, 39)  # the last two: a limit per minute that looks like one at once
pytestmark = pytest.mark.parametrize("seed", SEEDS)


def between(rng: random.Random, low: float, high: float) -> Latency:
    return lambda: rng.uniform(low, high)


def steady(seconds: float) -> Latency:
    return lambda: seconds


@pytest.mark.parametrize("retry_after_s", [None, 1.0])
def test_a_limit_per_minute_is_found_and_held(seed: int, retry_after_s: float | None) -> None:
    def server(rng: random.Random) -> Server:
        return Bucket(600, 10, between(rng, 0.05, 0.3), retry_after_s)

    run = fleet(server, 900, most=32, seed=seed)

    end = run.makespan - 1
    assert run.made == 900
    assert run.made_in(20, end) / (end - 20) >= 0.95 * 10
    assert run.share(429, 20) <= 0.05
    assert run.pace.limit >= 4, "the concurrency is given back"


def test_a_limit_per_minute_that_falls_to_half_is_followed(seed: int) -> None:
    def server(rng: random.Random) -> Server:
        bucket = Bucket(600, 10, between(rng, 0.05, 0.3))

        def answer(now: float) -> Answer:
            bucket.per_s = 5.0 if now > 60 else 10.0
            return bucket(now)

        return answer

    run = fleet(server, 900, most=32, seed=seed)

    assert run.made_in(70, 110) / 40 >= 0.9 * 5
    assert run.share(429, 70) <= 0.05


def test_ten_in_each_whole_minute_are_learned_without_being_told(seed: int) -> None:
    run = fleet(lambda rng: Window(10, between(rng, 4, 8)), 100, most=32, seed=seed)

    assert run.made == 100
    assert run.makespan <= 1.6 * 540
    assert run.share(429, 180) <= 0.15


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("retry_after_s", [None, 1.0])
def test_a_limit_of_three_at_once_is_found_and_held(
    seed: int, status: int, retry_after_s: float | None
) -> None:
    run = fleet(
        lambda _: AtOnce(3, status, steady(0.3), retry_after_s=retry_after_s),
        600,
        most=16,
        seed=seed,
    )

    assert run.made == 600
    assert run.share(status, 0.75 * run.makespan) <= 0.05
    assert 600 / run.makespan >= 0.85 * 10
    assert not any("minute" in note for note in run.notes), "it is no limit per minute"


@pytest.mark.parametrize("status", [429, 503])
def test_when_a_limit_of_three_is_lifted_sixteen_are_back_within_30_s(
    seed: int, status: int
) -> None:
    lifted = 30.0 + 2 * seed

    run = fleet(
        lambda _: AtOnce(3, status, steady(0.3), lifted_at=lifted), 3000, most=16, seed=seed
    )

    assert all(limit <= 4 for at, limit in run.limits if 10 < at < lifted)
    assert any(limit == 16 for at, limit in run.limits if lifted < at <= lifted + 30)


@pytest.mark.parametrize("most", [16, 32])
def test_a_server_that_queues_is_kept_busy_and_no_more(seed: int, most: int) -> None:
    run = fleet(lambda rng: Slots(4, between(rng, 0.25, 0.35)), 800, most=most, seed=seed)

    waited = sorted(post.ended - post.began for post in run.posts[100:])
    assert 800 / run.makespan >= 0.9 * 4 / 0.3
    assert waited[len(waited) // 2] <= 3 * 0.3
    assert waited[int(0.95 * len(waited))] <= 4 * 0.3


@pytest.mark.parametrize("status", [None, 500, 503])
def test_an_outage_of_a_minute_is_waited_out_with_a_request_a_second(
    seed: int, status: int | None
) -> None:
    def server(rng: random.Random) -> Server:
        return Away(free(between(rng, 0.5, 1.5)), 20, 80, status)

    run = fleet(server, 1600, most=16, seed=seed)

    before = run.made_in(10, 20) / 10
    begun = run.began_in(25, 80)
    assert all(sum(at <= other < at + 1 for other in begun) <= 1 for at in begun)
    assert run.made_in(90, 95) / 5 >= 0.8 * before
    assert (run.given_up, run.made) == (0, 1600)
    assert len(run.posts) <= 1.1 * 1600


def test_a_quarter_of_all_calls_failing_is_not_multiplied(seed: int) -> None:
    def server(rng: random.Random) -> Server:
        flaky = free(steady(0.3))

        def answer(now: float) -> Answer:
            return Answer(now + 0.1, 500) if rng.random() < 0.25 else flaky(now)

        return answer

    run = fleet(server, 400, most=16, seed=seed)

    tries = len(run.posts)
    assert tries <= 1.1 * 400 + 10 + run.makespan
    assert run.made + run.given_up == 400


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_never_early_and_never_half_as_late_again(seed: int, status: int) -> None:
    run = fleet(
        lambda rng: AtOnce(3, status, between(rng, 0.2, 0.4), retry_after_s=3.0),
        200,
        most=16,
        seed=seed,
    )

    refused = [post.ended for post in run.posts if post.status == status]
    starts = sorted(post.began for post in run.posts)
    assert refused
    for at in refused:
        after = [start for start in starts if start > at]
        assert after[0] >= at + 3, "early"
        last = max(other for other in refused if other < at + 3)
        assert after[0] <= last + 1.5 * 3, "late"


def test_after_a_pause_the_callers_come_back_one_by_one(seed: int) -> None:
    run = fleet(
        lambda rng: AtOnce(4, 429, between(rng, 0.2, 0.4), retry_after_s=3.0),
        100,
        most=16,
        seed=seed,
    )

    first = next(post.ended for post in run.posts if post.status == 429)
    back = run.began_in(first, first + 4)[:3]
    assert len(set(back)) == 3
    assert back[2] - back[0] >= 0.05


@pytest.mark.parametrize("longest_s", [14.1, 8.1], ids=["ramp", "no ramp"])
def test_without_limits_the_ramp_costs_three_round_trips(seed: int, longest_s: float) -> None:
    run = fleet(lambda _: free(steady(2.0)), 400, most=100, seed=seed, ramp=longest_s > 10)

    assert run.makespan <= longest_s


def test_lognormal_latency_is_not_taken_for_queueing(seed: int) -> None:
    def latency(rng: random.Random) -> Latency:
        return lambda: 20.0 if rng.random() < 0.01 else rng.lognormvariate(0, 1)

    run = fleet(lambda rng: free(latency(rng)), 500, most=16, seed=seed)

    assert _mean_in_flight(run, 16) >= 0.95 * 16


def _mean_in_flight(run: Fleet, last: int) -> float:
    """Until the last so many begin."""
    end = sorted(post.began for post in run.posts)[-last]
    return sum(min(post.ended, end) - min(post.began, end) for post in run.posts) / end


def test_poison_slows_nobody_and_is_given_up(seed: int) -> None:
    clean = fleet(lambda rng: free(between(rng, 0.5, 1.5)), 400, most=8, seed=seed)
    run = fleet(lambda rng: free(between(rng, 0.5, 1.5)), 400, most=8, seed=seed, poison=2)

    assert (run.given_up, run.made) == (2, 398)
    assert run.breaker.open_since is None
    assert sum(post.status == 500 for post in run.posts) == 10, "five attempts each"
    assert run.makespan <= 1.1 * clean.makespan


def test_a_given_rate_is_never_exceeded_whatever_is_refused(seed: int) -> None:
    def server(rng: random.Random) -> Server:
        return AtOnce(2, 429, between(rng, 0.5, 2))

    run = fleet(server, 60, most=16, seed=seed, rpm=60)

    starts = run.began_in(0, math.inf)
    assert min(b - a for a, b in itertools.pairwise(starts)) >= 1 - 1e-6
