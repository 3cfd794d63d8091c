"""Servers and a client in virtual time, for tests of pace: nobody waits."""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import NamedTuple

from batch_reimagine.breaker import Breaker
from batch_reimagine.pace import Pace
from batch_reimagine.quota import RetryQuota

NET_S = 0.002  # there and back; also how long a refusal takes
MOST_EVENTS = 400_000
Latency = Callable[[], float]


class Answer(NamedTuple):
    at: float  #: when the client has it
    status: int | None  #: None: nobody was there
    retry_after_s: float | None = None


Server = Callable[[float], Answer]


class Bucket:
    """Accepts per_minute in the long run and burst at once, as wide as one likes."""

    def __init__(
        self, per_minute: float, burst: float, latency: Latency, retry_after_s: float | None = None
    ) -> None:
        self.per_s, self.burst, self.latency = per_minute / 60, burst, latency
        self.retry_after_s = retry_after_s
        self._tokens, self._at = burst, 0.0

    def __call__(self, now: float) -> Answer:
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.per_s)
        self._at = now
        if self._tokens < 1:
            return Answer(now + NET_S, 429, self.retry_after_s)
        self._tokens -= 1
        return Answer(now + self.latency(), 200)


class Window:
    """Accepts so many in each whole minute of its own clock."""

    def __init__(self, per_minute: int, latency: Latency) -> None:
        self.per_minute, self.latency = per_minute, latency
        self._minute, self._count = -1, 0

    def __call__(self, now: float) -> Answer:
        if int(now // 60) != self._minute:
            self._minute, self._count = int(now // 60), 0
        if self._count >= self.per_minute:
            return Answer(now + NET_S, 429)
        self._count += 1
        return Answer(now + self.latency(), 200)


class AtOnce:
    """Accepts so many at once and refuses the others; the limit may go away at a time."""

    def __init__(
        self,
        most: int,
        status: int,
        latency: Latency,
        *,
        lifted_at: float = math.inf,
        retry_after_s: float | None = None,
    ) -> None:
        self.most, self.status, self.latency = most, status, latency
        self.lifted_at, self.retry_after_s = lifted_at, retry_after_s
        self._ends: list[float] = []

    def __call__(self, now: float) -> Answer:
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        if len(self._ends) >= self.most and now < self.lifted_at:
            return Answer(now + NET_S, self.status, self.retry_after_s)
        end = now + self.latency()
        heapq.heappush(self._ends, end)
        return Answer(end + NET_S, 200)


class Slots:
    """Works on so many at once and lets the others wait in line."""

    def __init__(self, slots: int, latency: Latency) -> None:
        self.latency = latency
        self._free = [0.0] * slots

    def __call__(self, now: float) -> Answer:
        end = max(now, heapq.heappop(self._free)) + self.latency()
        heapq.heappush(self._free, end)
        return Answer(end + NET_S, 200)


class Away:
    """A server that fails fast for a while: with a status, or as if it were not there."""

    def __init__(self, server: Server, begin: float, end: float, status: int | None) -> None:
        self.server, self.begin, self.end, self.status = server, begin, end, status

    def __call__(self, now: float) -> Answer:
        if self.begin <= now < self.end:
            return Answer(now + NET_S, self.status)
        answer = self.server(now)
        if answer.at > self.begin > now:  # it was cut off in the middle
            return Answer(self.begin + NET_S, self.status)
        return answer


def free(latency: Latency) -> Server:
    """No limits."""
    return lambda now: Answer(now + latency(), 200)


class Post(NamedTuple):
    """One attempt, as the server and the client saw it."""

    began: float
    ended: float
    status: int | None
    width: int  #: the limit when it ended


@dataclass
class Fleet:
    """N workers that use pace, breaker and quota exactly as the client does."""

    server: Server
    calls: int
    pace: Pace
    rng: random.Random
    attempts: int = 5
    poison: int = 0  #: the first so many calls always answer 500
    breaker: Breaker = field(default_factory=Breaker)
    quota: RetryQuota = field(default_factory=RetryQuota)
    now: float = 0.0
    posts: list[Post] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    given_up: int = 0
    made: int = 0
    in_flight: int = 0
    slots: int = 0
    limits: list[tuple[float, int]] = field(default_factory=list)

    def run(self) -> "Fleet":
        """Until all calls are done; a run that does not end is an error."""
        self._left = self.calls
        self._heap: list[tuple[float, int, Generator[float | None, None, None]]] = []
        self._parked: deque[Generator[float | None, None, None]] = deque()
        self._serial = 0
        for _ in range(self.pace.most + self.pace.most // 2 + 2):
            self._at(0.0, self._worker())
        for _ in range(MOST_EVENTS):
            if not self._heap:
                break
            self.now, _, task = heapq.heappop(self._heap)
            self._step(task)
        assert not self._heap, "the run does not end"
        assert not self._parked, "somebody was left waiting"
        assert self.made + self.given_up == self.calls
        return self

    def _at(self, when: float, task: Generator[float | None, None, None]) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (when, self._serial, task))

    def _step(self, task: Generator[float | None, None, None]) -> None:
        try:
            until = next(task)
        except StopIteration:
            return
        if until is None:
            self._parked.append(task)
        else:
            assert until >= self.now, "time does not run backwards"
            self._at(until, task)

    def _freed(self) -> None:
        self.limits.append((self.now, self.pace.limit))
        for _ in range(min(len(self._parked), self.pace.limit - self.slots)):
            self.slots += 1
            self._at(self.now, self._parked.popleft())

    def _worker(self) -> Generator[float | None, None, None]:
        while self._left:
            self._left -= 1
            yield from self._make(poisoned=self.calls - self._left <= self.poison)

    def _make(self, *, poisoned: bool) -> Generator[float | None, None, None]:
        tries = faults = 0
        while True:
            yield from self._may_begin(first=tries == 0)
            tries += 1
            began = self.now
            self.in_flight += 1
            answer = Answer(began + 0.1, 500) if poisoned else self.server(began)
            yield answer.at
            ok = answer.status == 200
            after_s = self._judged(began, answer)
            self.in_flight -= 1
            self.slots -= 1
            self.posts.append(Post(began, self.now, answer.status, self.pace.limit))
            self._freed()
            if ok:
                self.made += 1
                return
            if answer.status not in {429, 503} and not self.breaker.open_at(began):
                faults += 1
                after_s = max(0.2, self.rng.uniform(0, 2.0 ** (faults - 1)))
            if faults >= self.attempts:
                self.given_up += 1
                return
            yield self.now + after_s

    def _judged(self, began: float, answer: Answer) -> float:
        pace, breaker, now = self.pace, self.breaker, self.now
        note: str | None = None
        if answer.status == 200:
            if breaker.outcome(now, began, ok=True):
                pace.resumed(now)
            note = pace.succeeded(now, began, self.in_flight)
        elif answer.status in {429, 503}:
            if answer.status == 503 and breaker.open_at(began):
                pace.wait(now, answer.retry_after_s or 0.0)
            else:
                throttle = answer.status == 429
                note = pace.refused(
                    now, began, self.in_flight, answer.retry_after_s, throttle=throttle
                )
                if answer.status == 503 and pace.cut_at == now:
                    breaker.outcome(now, began, ok=False)
        else:
            pace.failed(now, began)
            breaker.outcome(now, began, ok=False)
        if note is not None:
            self.notes.append(f"{now:.1f} {note}")
        return answer.retry_after_s or 0.0

    def _may_begin(self, *, first: bool) -> Generator[float | None, None, None]:
        """Breaker, quota, slot, turn: in this order. Leaves with a slot held."""
        granted = False
        while True:
            turn = self.breaker.turn(self.now)
            if turn is not None and turn > self.now:
                yield turn
                continue
            probe = turn is not None
            if not (probe or first or granted):
                wait_s = self.quota.may_retry(self.now)
                if wait_s > 0:
                    yield self.now + wait_s
                    continue
                granted = True
            if probe or (self.slots < self.pace.limit and not self._parked):
                self.slots += 1  # a probe does not wait behind calls that may hang
            else:
                yield None  # until a slot is handed over
            taken, start = self.now, self.pace.turn(self.now)
            while start > self.now:
                yield start
                if not self.pace.stands(self.now, taken):
                    taken, start = self.now, self.pace.turn(self.now)
            if probe or self.breaker.open_since is None:
                if first:
                    self.quota.first(self.now)
                return
            self.slots -= 1
            self._freed()

    def share(self, status: int, since: float, until: float = math.inf) -> float:
        """Of the answers that came in a time, how many had this status."""
        seen = [post.status for post in self.posts if since <= post.ended < until]
        return sum(one == status for one in seen) / max(1, len(seen))

    def made_in(self, since: float, until: float) -> int:
        return sum(post.status == 200 and since <= post.ended < until for post in self.posts)

    def began_in(self, since: float, until: float) -> list[float]:
        return sorted(post.began for post in self.posts if since <= post.began < until)

    @property
    def makespan(self) -> float:
        return max(post.ended for post in self.posts)


def fleet(
    server: Callable[[random.Random], Server],
    calls: int,
    *,
    most: int,
    seed: int,
    ramp: bool = True,
    rpm: float | None = None,
    poison: int = 0,
) -> Fleet:
    """A run, done."""
    rng = random.Random(seed)  # noqa: S311 - the same again with the same seed is the point
    pace = Pace(most, rpm, ramp=ramp, rng=rng)
    return Fleet(server(rng), calls, pace, rng, poison=poison).run()
