"""When nearly everything fails, hardly anything is sent. Pure: no I/O, no clock of its own.

All times are seconds on one monotonic clock that the caller reads.
"""

from collections import deque

_WINDOW = 10  # outcomes
_FAILED = 9  # of them: open
_RECENT_S = 5.0  # with fewer than a window of outcomes:
_RECENT = 6  # so many in that time, all of them failed: open
_FIRST_PROBE_S, _GROWTH, _LAST_PROBE_S = 1.0, 1.4, 3.0
_PERIODS = 64  # of being open that are remembered


class Breaker:
    """Closed until nearly everything fails; then one probe at a time until one succeeds.

    It bounds the rate of probes, not how long a service may be away: that is the caller's.
    """

    def __init__(self) -> None:
        self.open_since: float | None = None  #: when it opened; None: closed
        self._outcomes: deque[tuple[float, float, bool]] = deque(maxlen=_WINDOW)
        self._periods: deque[tuple[float, float]] = deque(maxlen=_PERIODS)  # over: began, ended
        self._fails_since = 0.0  # when the first call of the outage began
        self._next_probe = 0.0
        self._gap_s = _FIRST_PROBE_S

    def outcome(self, now: float, began: float, *, ok: bool) -> bool:
        """Count an answer (ok: the service is well) or its absence. True: open or shut by it.

        While open, only a call that began since then can shut it: what was already on its way
        says nothing. Refusals of pace (429) are no outcome; of 503, the first of a burst alone.
        """
        if self.open_since is not None:
            if not ok or began < self.open_since:
                return False
            self._periods.append((self._fails_since, now))
            self.open_since = None
            self._outcomes.clear()
            return True
        self._outcomes.append((now, began, ok))
        if ok or not self._nearly_all_fail(now):
            return False
        last_ok = max((at for at, _, fine in self._outcomes if fine), default=float("-inf"))
        self._fails_since = min(b for at, b, fine in self._outcomes if not fine and at >= last_ok)
        self.open_since, self._gap_s = now, _FIRST_PROBE_S
        self._next_probe = now + self._gap_s
        return True

    def _nearly_all_fail(self, now: float) -> bool:
        failed = sum(not fine for _, _, fine in self._outcomes)
        if len(self._outcomes) == _WINDOW and failed >= _FAILED:
            return True
        recent = [fine for at, _, fine in self._outcomes if at > now - _RECENT_S]
        return len(recent) >= _RECENT and not any(recent)

    def turn(self, now: float) -> float | None:
        """When the caller may begin. None: closed, as it likes.

        now itself: this caller is the probe, let it begin. Later: come back then and ask again;
        that is never more than 3 s away, so that the return of the service is seen by then.
        """
        if self.open_since is None:
            return None
        if now < self._next_probe:
            return self._next_probe
        self._gap_s = min(_LAST_PROBE_S, self._gap_s * _GROWTH)
        self._next_probe = now + self._gap_s
        return now

    def open_at(self, began: float) -> bool:
        """Whether a call that began then met the outage: its failure is nobody's attempt."""
        if self.open_since is not None and began >= self._fails_since:
            return True
        return any(first <= began < last for first, last in self._periods)
