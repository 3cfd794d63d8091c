"""Does the server queue what it cannot do at once? Told from latency alone. Pure: no clock.

With L calls always in flight, throughput is L divided by the mean latency (Little's law). So
where latency rises nearly as much as L does, throughput does not rise: the calls only wait.
Means are of logarithms, because image services are lognormal with long stalls; each call counts
for the level at which it began, and two levels differ only if chance cannot explain it.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass

_SAMPLES = 8  # of each of two levels, before they are compared
_WINDOW = 200  # samples of a level; beyond, the old ones count half
_ELASTICITY = 0.6  # of latency to level: from here on width buys (nearly) nothing
_APART = 0.3  # in log level: nearer ones are not compared
_SIGMAS = 4.0
_CHANGES = 512  # of the limit that are remembered


@dataclass(slots=True)
class _Level:
    """Latencies of calls that began at about the same limit."""

    n: float = 0.0
    log_limit: float = 0.0  #: mean
    log_latency: float = 0.0  #: mean
    squares: float = 0.0  #: sum of squared distances from the mean log latency

    def add(self, log_limit: float, log_latency: float) -> None:
        if self.n >= _WINDOW:
            self.n, self.squares = self.n / 2, self.squares / 2
        self.n += 1
        self.log_limit += (log_limit - self.log_limit) / self.n
        off = log_latency - self.log_latency
        self.log_latency += off / self.n
        self.squares += off * (log_latency - self.log_latency)


class Queueing:
    """Watches latency over the limit."""

    def __init__(self, limit: int) -> None:
        self._since = [float("-inf")]
        self._limits = [limit]
        self._levels: dict[int, _Level] = {}

    def limit_is(self, now: float, limit: int) -> None:
        """Say what the limit is from now on, seconds on the caller's clock."""
        if self._limits[-1] == limit:
            return
        self._since.append(now)
        self._limits.append(limit)
        if len(self._since) > _CHANGES:
            del self._since[: _CHANGES // 2], self._limits[: _CHANGES // 2]

    def forget(self, now: float, limit: int) -> None:
        """Something else happened: what began before says nothing about what comes."""
        self._levels.clear()
        self._since, self._limits = [now], [limit]

    def sample(self, now: float, began: float) -> float | None:
        """Count a success. Returns the level that would do, if wider is only slower."""
        at = bisect_right(self._since, began) - 1
        if at < 0:
            return None
        log_limit = math.log(self._limits[at])
        key = int(2 * log_limit / math.log(2) + 1e-9)  # half an octave a level
        here = self._levels.setdefault(key, _Level())
        here.add(log_limit, math.log(max(now - began, 1e-3)))
        if here.n < _SAMPLES:
            return None
        for lower, base in self._levels.items():
            if lower < key and base.n >= _SAMPLES and _only_slower(base, here):
                return math.exp(here.log_limit + base.log_latency - here.log_latency)
        return None


def _only_slower(base: _Level, here: _Level) -> bool:
    wider, slower = here.log_limit - base.log_limit, here.log_latency - base.log_latency
    if wider < _APART or slower < _ELASTICITY * wider:
        return False
    variance = (base.squares + here.squares) / (base.n + here.n - 2)
    return slower > _SIGMAS * math.sqrt(variance * (1 / base.n + 1 / here.n))
