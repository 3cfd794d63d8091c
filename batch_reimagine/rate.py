"""Images per minute, learned from what the service accepts. Pure: no clock of its own.

A limit on concurrency never refuses as many at once as it has just accepted; a limit per minute
does. Between two refusals of the latter its bucket was empty twice, so what it accepted in
between, divided by the time, is its rate. All times are seconds on the caller's clock.
"""

import math
from collections import deque

_SIGNS, _OF = 2, 6  # contradictions of the last bursts: a limit per minute is believed
FIRST_PROBE_S = 3.0  # without a refusal, before a little more is tried
LAST_PROBE_S = 20.0  # the wait doubles with each probe that fails, up to here
_BELOW = 0.97  # of the rate that was measured
_FIRST_STEP, _LONGEST_STEP = 0.03, 0.25  # a probe's; doubles while probes survive
_FEW, _ENOUGH = 8, 24  # accepted calls that make an estimate, and a good one
_WINDOW_S = 130.0  # older refusals say nothing: two minutes' windows and a bit
_BLIND = 0.7  # a cut when too little was accepted to measure,
_LEAST = 0.25  # but not below this share of what was last measured: longer pauses do the rest


class Rate:
    """The gate's rate, None until the service is seen to have one."""

    def __init__(self) -> None:
        self.per_s: float | None = None  #: starts a second that the gate may grant
        self._accepted: deque[tuple[float, float]] = deque(maxlen=2048)  # began, ended
        self._refused: deque[float] = deque(maxlen=64)  # the first of each burst: when it began
        self._signs: deque[bool] = deque(maxlen=_OF)
        self._step = _FIRST_STEP
        self._wait_s = self._next_wait_s = FIRST_PROBE_S
        self._last = 0.0  # measured
        self._calm_since = 0.0
        self._bound_at = float("-inf")

    def bound(self, now: float) -> None:
        """A caller had to wait for the gate: it is this that holds the run back."""
        self._bound_at = now

    def succeeded(self, now: float, began: float) -> None:
        """Count what was accepted, and try a little more after a calm while."""
        self._accepted.append((began, now))
        if self.per_s is None or self._bound_at < self._calm_since:
            return
        if now - self._calm_since >= max(self._wait_s, 4 / self.per_s):
            self.per_s *= 1 + self._step
            self._step = min(_LONGEST_STEP, 2 * self._step)
            self._wait_s, self._calm_since = FIRST_PROBE_S, now

    def contradicts(self, began: float, in_flight: int) -> bool:
        """Note the first refusal of a burst. True: no limit on concurrency explains it.

        in_flight: with this call. Since the last burst at least as many were accepted at once.
        """
        since = self._refused[-1] if self._refused else float("-inf")
        self._refused.append(began)
        sign = in_flight <= max(1, self._together(since))
        self._signs.append(sign)
        return sign

    def _together(self, since: float) -> int:
        """Most calls that were being worked on at once, of those begun and accepted since."""
        edges = [(t, way) for b, e in self._accepted if b > since for t, way in ((b, 1), (e, -1))]
        most = now = 0
        for _, way in sorted(edges):
            now += way
            most = max(most, now)
        return most

    def learn(self, now: float) -> bool:
        """After a refusal: set the gate slightly below what was accepted. True: it has changed."""
        if self.per_s is None and sum(self._signs) < _SIGNS:
            return False
        measured = self._measured()
        if self.per_s is None and measured is None:
            return False
        self._last = measured or self._last
        if self.per_s is None:
            self.per_s = _BELOW * (measured or 0.0)
        else:
            gate = _BELOW * math.sqrt(measured * self.per_s) if measured else _BLIND * self.per_s
            # Halfway: what was measured is too little if the gate was below the limit for a while.
            self.per_s = max(_LEAST * self._last, min(_BELOW * self.per_s, gate))
            self._next_wait_s = min(LAST_PROBE_S, 2 * self._next_wait_s)
        self._wait_s, self._step, self._calm_since = self._next_wait_s, _FIRST_STEP, now
        return True

    def _measured(self) -> float | None:
        """Starts accepted a second from an earlier refusal to the last one."""
        last = self._refused[-1]
        best: float | None = None
        for first in list(self._refused)[-2::-1]:
            span = last - first
            if span > _WINDOW_S:
                break
            count = sum(first < began <= last for began, _ in self._accepted)
            if count >= _FEW and span > 0:
                best = count / span
                if count >= _ENOUGH:
                    break
        return best
