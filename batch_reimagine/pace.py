"""When a call may begin and how many may be in flight. Pure: no I/O, no clock of its own.

All times are seconds on one monotonic clock that the caller reads.
"""

import random
from collections import deque

from batch_reimagine.queueing import Queueing
from batch_reimagine.rate import Rate
from batch_reimagine.width import Width

_RAMP_FROM = 8  # calls in flight at the start
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 10.0  # our own, when the service names none
_DOUBLINGS = 6  # until the longest pause is reached
_SPREAD, _LONGEST_SPREAD_S = 0.25, 2.0  # of a pause: over so long the callers come back
_WORTH_A_NOTE = 0.1  # a change of the rate, as a share; smaller ones are its everyday life


class Pace:
    """Two governors for all workers together: starts a minute, and calls in flight.

    most: never more calls in flight than this.
    rpm: never more starts a minute than this, evenly spaced; None: no limit known.
    ramp: begin narrow and double each round trip; False: begin at most.

    Failures that say nothing about pace (500, a broken connection) are not told to it: errors
    are fast, and nothing fast may speed us up.
    """

    def __init__(
        self, most: int, rpm: float | None = None, *, ramp: bool = True, rng: random.Random
    ) -> None:
        self.most = most
        self.paused_until = 0.0
        self.cut_at = float("-inf")  #: when the last burst of refusals was first seen
        self._rng = rng
        self._width = Width(most, _RAMP_FROM if ramp else most)
        self._queueing = Queueing(self._width.limit)
        self._rate = Rate()
        self._gap_s = 60.0 / rpm if rpm else 0.0
        self._next_start = 0.0
        self._taken: deque[float] = deque()  # turns: the last that came, and all to come
        self._spread_until = 0.0  # callers come back one by one after a pause
        self._spread_gap_s = 0.0
        self._bursts = 0  # of refusals without a success in between
        self._before = 1.0  # the width when refusals began to contradict a limit on width

    @property
    def limit(self) -> int:
        """Calls that may be in flight now."""
        return self._width.limit

    @property
    def per_minute(self) -> float | None:
        """Starts a minute that are granted now; None: no limit given or learned."""
        gap_s = self._gap()
        return 60.0 / gap_s if gap_s else None

    def turn(self, now: float) -> float:
        """Take the next start and say when it is. Callers come first, start first.

        It stands unless a refusal came meanwhile: ask stands before beginning.
        """
        start, gap_s = max(now, self._next_start, self.paused_until), self._gap()
        if start > now and start > self.paused_until:
            self._rate.bound(now)
        if start < self._spread_until:
            start += self._rng.uniform(0.0, self._spread_gap_s)
            gap_s = max(gap_s, self._rng.uniform(0.0, self._spread_gap_s))
        self._next_start = start + gap_s
        while len(self._taken) > 1 and self._taken[1] <= now:
            self._taken.popleft()
        self._taken.append(start)
        return start

    def stands(self, now: float, taken: float) -> bool:
        """Whether a turn that was taken then still holds; else take another."""
        return taken >= self.cut_at and now >= self.paused_until

    def succeeded(self, now: float, began: float, in_flight: int) -> str | None:
        """A picture came. in_flight: calls that were posted and not answered, this one included.

        Returns a note for people if it showed that more in flight would only wait longer.
        """
        if began > self.cut_at:
            self._bursts = 0
        self._rate.succeeded(now, began)
        before = self.limit
        level = self._queueing.sample(now, began) if in_flight >= 0.9 * before else None
        if level is None:
            self._width.succeeded(now, began, in_flight)
            self._queueing.limit_is(now, self.limit)
            return None
        self._width.queues(now, level)
        self._queueing.forget(now, self.limit)
        return f"more than {self.limit} in flight only wait longer: {before} before"

    def failed(self, now: float, began: float) -> None:
        """No picture, for reasons that say nothing about pace: nothing grows, nothing shrinks."""
        del now, began

    def refused(
        self,
        now: float,
        began: float,
        in_flight: int,
        retry_after_s: float | None,
        *,
        throttle: bool,
    ) -> str | None:
        """The service says slower. One cut a burst; Retry-After is waited for by all.

        began: a call that began before the last cut says nothing new. throttle: 429, else 503.
        in_flight: as for succeeded. Returns a note for people if this changed the pace.
        """
        self.wait(now, retry_after_s or 0.0)
        if began <= self.cut_at:
            self._width.broke_too(in_flight)
            return None
        self.cut_at = now
        before, probing = self.limit, self._width.probing
        name = "429" if throttle else "503"
        room = self._width.room
        if throttle:
            sign = self._rate.contradicts(began, in_flight)
            self._before = max(self._before, room) if sign else room
        was = self._rate.per_s
        if throttle and self._rate.learn(now):
            self._width.restore(self._before)
            rate = self._rate.per_s or 0.0
            own_s = self._own_pause_s() if self._bursts else 0.0
            self._pause(now, max(own_s, min(5.0, 2.0 / rate)))
            self._bursts = min(_DOUBLINGS, self._bursts + 1)
            changed = was is None or abs(rate / was - 1) > _WORTH_A_NOTE
            text = f"{name} whatever the number in flight: now {60 * rate:.0f} a minute"
        else:
            self._width.broke(now, in_flight)
            if not probing:
                self._pause(now, self._own_pause_s())
                self._bursts = min(_DOUBLINGS, self._bursts + 1)
            changed = not probing
            text = f"{name} at {before} in flight: now {self.limit}"
        self._queueing.forget(now, self.limit)
        self._take_back(now)
        pause_s = max(0.0, self.paused_until - now)
        return f"{text}, resumes in {pause_s:.1f} s" if changed or pause_s >= 1.0 else None

    def wait(self, now: float, seconds: float) -> None:
        """Nobody begins for so long: the service asked for it (Retry-After)."""
        self._pause(now, seconds)

    def resumed(self, now: float) -> None:
        """The breaker has closed: half of what it was at once, and quickly more."""
        self._bursts = 0
        self._width.resume()
        self._queueing.forget(now, self.limit)

    def _pause(self, now: float, seconds: float) -> None:
        """Pause all, and let them come back one by one within a quarter of the pause."""
        if now + seconds <= self.paused_until or seconds <= 0:
            return
        self.paused_until = now + seconds
        spread_s = min(_SPREAD * seconds, _LONGEST_SPREAD_S)
        self._spread_until = self.paused_until + spread_s
        self._spread_gap_s = spread_s / max(1, self.limit)

    def _own_pause_s(self) -> float:
        """Longer with each burst of refusals that no success came after."""
        return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0**self._bursts)

    def _take_back(self, now: float) -> None:
        """Turns still to come do not stand any more; the gap to the last that came does."""
        while self._taken and self._taken[-1] > now:
            self._taken.pop()
        self._next_start = self._taken[-1] + self._gap() if self._taken else 0.0

    def _gap(self) -> float:
        """Seconds from one start to the next."""
        learned = self._rate.per_s
        return max(self._gap_s, 1.0 / learned) if learned else self._gap_s
