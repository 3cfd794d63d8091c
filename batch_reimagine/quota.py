"""How many retries a run may add to its first attempts. Pure: no I/O, no clock of its own."""


class RetryQuota:
    """Tokens for retries: a share of the first attempts, a burst, and a trickle with time.

    share: tokens a first attempt brings. burst: tokens at the start, and the most that are
    saved up. per_s: tokens a second that come by themselves, so that the last retries of a
    run, when there are no first attempts any more, are not left waiting.

    So retries never exceed burst + share x first attempts + per_s x seconds. It ends: a token
    comes at the latest after 1 / per_s seconds, somebody who asks then gets it, and the caller
    bounds the attempts of each call, so k retries that are owed wait for k / per_s s at most.
    Probes of an open breaker ask the breaker, not this: it spaces them, and they must not run out.
    """

    def __init__(self, share: float = 0.1, burst: float = 10.0, per_s: float = 1.0) -> None:
        self._share, self._burst, self._per_s = share, burst, per_s
        self._tokens = burst
        self._at: float | None = None

    def first(self, now: float) -> None:
        """A first attempt is begun."""
        self._refill(now)
        self._tokens = min(self._burst, self._tokens + self._share)

    def may_retry(self, now: float) -> float:
        """0: take the token and begin. Else the seconds after which to ask again, > 0."""
        self._refill(now)
        if self._tokens >= 1.0 - 1e-9:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._per_s

    def _refill(self, now: float) -> None:
        if self._at is not None and now > self._at:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_s)
        self._at = now if self._at is None else max(self._at, now)
