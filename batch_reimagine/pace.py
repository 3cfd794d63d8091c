"""When a call may begin and how many may be in flight. Pure: no I/O, no clock of its own.

All times are seconds on one monotonic clock that the caller reads.
"""

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_DOUBLINGS = 6  # until the longest pause is reached


class Pace:
    """Two governors for all workers together.

    most: never more calls in flight than this.
    rpm: never more starts a minute than this, evenly spaced; None: no limit known.
    """

    def __init__(self, most: int, rpm: float | None = None) -> None:
        self.most = most
        self._room = float(most)  # fractional, so that it can grow by less than one
        self._gap_s = 60.0 / rpm if rpm else 0.0
        self._next_start = 0.0
        self._paused_until = 0.0
        self._cut_at = float("-inf")
        self._bursts = 0  # refusals in a row, a burst counted once

    @property
    def limit(self) -> int:
        """Calls that may be in flight now."""
        return max(1, int(self._room))

    @property
    def paused_until(self) -> float:
        return self._paused_until

    def turn(self, now: float) -> float:
        """Take the next start and say when it is. Callers come first, start first."""
        start = max(now, self._next_start, self._paused_until)
        self._next_start = start + self._gap_s
        return start

    def succeeded(self, in_flight: int) -> None:
        """Grow slowly, and only while the limit is really used."""
        self._bursts = 0
        if in_flight >= self.limit and self._room < self.most:
            self._room = min(float(self.most), self._room + 1.0 / self._room)

    def refused(self, now: float, began: float, retry_after_s: float | None) -> float | None:
        """Pause all for as long as the service asks; halve the calls in flight once a burst.

        began: when the refused call started. One that started before the last cut says
        nothing new. Returns the pause in seconds if this is the first of its burst.
        """
        if retry_after_s is not None:
            self._paused_until = max(self._paused_until, now + retry_after_s)
        if began <= self._cut_at:
            return None
        self._cut_at = now
        self._room = max(1.0, self._room / 2)
        pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._bursts, _DOUBLINGS))
        self._bursts += 1
        self._paused_until = max(self._paused_until, now + pause)
        return self._paused_until - now
