"""How many calls may be in flight: found by trying, remembered where it broke. Pure: no clock.

Quick growth until the first sign of trouble (one more a success: twice a round trip), then
back to just below where it broke, then a gentle probe now and again. All times are seconds on
one monotonic clock that the caller reads.
"""

FIRST_PROBE_S = 5.0  # without trouble, before one more than the ceiling is tried
LAST_PROBE_S = 20.0  # the wait doubles with each probe that fails, up to here
_USED = 0.9  # of the limit in flight: it is really used


class Width:
    """A limit between 1 and most.

    start: where it begins; most itself if there is to be no ramp.
    """

    def __init__(self, most: int, start: int) -> None:
        self.most = most
        self._room = float(min(most, start))  # fractional, so that it can grow by less than one
        self._ceiling: float | None = None  # it broke above this; None: nothing broke yet
        self._step = 1.0  # the next probe's
        self._wait_s = FIRST_PROBE_S
        self._calm_since = 0.0
        self._full_at = float("-inf")  # last time that the limit was seen in use
        self._probe_at: float | None = None
        self._survived = 0  # successes that began within the probe
        self._held = self._room  # at the last success

    @property
    def limit(self) -> int:
        """Calls that may be in flight now."""
        return max(1, int(self._room + 1e-9))

    @property
    def probing(self) -> bool:
        """More than the remembered ceiling is being tried."""
        return self._probe_at is not None

    def succeeded(self, now: float, began: float, in_flight: int) -> None:
        """Grow, but only if the limit was in use while this call was on its way."""
        self._held = self._room
        if in_flight >= _USED * self.limit:
            self._full_at = now
        if self._full_at <= began:
            return
        if self._ceiling is None:
            self._room += 1.0
        elif self._probe_at is not None:
            self._judge_probe(now, began)
        elif self._room < self._ceiling:
            faster = max(1.0, (self._ceiling - self._room) / 4)
            self._room = min(self._ceiling, self._room + faster / self._room)
        elif now - self._calm_since >= self._wait_s:
            self._probe(now)
        self._room = min(self._room, float(self.most))

    def _judge_probe(self, now: float, began: float) -> None:
        """A whole round trip of successes above the ceiling lifts it; the next step is twice."""
        self._survived += began >= (self._probe_at or 0.0)
        if self._survived >= self.limit:
            self._ceiling = self._room
            self._step *= 2.0
            self._probe(now)

    def _probe(self, now: float) -> None:
        if self._room < self.most:
            self._probe_at, self._survived = now, 0
            self._room += self._step
        else:
            self._probe_at = None

    def broke(self, now: float, in_flight: int) -> None:
        """The service refused: back below a failed probe, else to half. Call it once a burst."""
        if self._probe_failed(now):
            return
        level = min(float(in_flight), self._room)
        self._ceiling = max(1.0, level - 1.0)
        self._room = max(1.0, min(self._room, level) / 2)
        self._wait_s = FIRST_PROBE_S

    def broke_too(self, in_flight: int) -> None:
        """Another refusal of the same burst: what was in flight with it was too much as well."""
        if self._ceiling is not None:
            self._ceiling = max(self._room, min(self._ceiling, in_flight - 1.0))

    def queues(self, now: float, level: float) -> None:
        """More in flight than level only waits longer: that is as wide as it gets for now."""
        if not self._probe_failed(now):
            self._wait_s = min(LAST_PROBE_S, 2 * self._wait_s)
        self._room = self._ceiling = max(1.0, min(float(int(level + 0.5)), self._room))

    def _probe_failed(self, now: float) -> bool:
        failed = self._probe_at is not None
        if failed and self._ceiling is not None:
            self._room = self._ceiling
            self._wait_s = min(LAST_PROBE_S, 2 * self._wait_s)
        self._probe_at, self._step, self._calm_since = None, 1.0, now
        return failed

    def restore(self, level: float) -> None:
        """It was not the width: give it back, and forget where it seemed to break."""
        self._room = min(float(self.most), max(self._room, level))
        self._ceiling, self._probe_at, self._step = None, None, 1.0

    def resume(self) -> None:
        """The service is back: half of what it was at the last success, growing quickly."""
        self.restore(max(1.0, self._held / 2))

    @property
    def room(self) -> float:
        """The limit with its fraction, to be given back by restore."""
        return self._room
