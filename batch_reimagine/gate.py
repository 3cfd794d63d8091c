"""Who may begin a call, and when: the breaker first, then the retry quota, a slot, and the pace.

The controllers decide and know no clock; this is where their decisions are
waited for. A stop ends every wait.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic

import anyio

from batch_reimagine.breaker import Breaker
from batch_reimagine.engine import Stop
from batch_reimagine.pace import Pace
from batch_reimagine.quota import RetryQuota
from batch_reimagine.work import Progress


class Gate:
    """One for a run; all its calls pass here, and what comes of them is told here."""

    def __init__(
        self,
        most: int,
        rpm: float | None,
        *,
        ramp: bool,
        stop: Stop,
        progress: Progress,
        note: Callable[[str], None],
        hold: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """hold: awaited by whoever has been admitted, before he goes on."""
        self._progress = progress
        self._hold = hold
        self._pace = Pace(most, rpm, ramp=ramp, rng=random.Random())  # noqa: S311 - jitter
        self._breaker = Breaker()
        self._quota = RetryQuota()
        self._stop = stop
        self._note = note
        self._slots = anyio.CapacityLimiter(self._pace.limit)
        self._follow()

    @asynccontextmanager
    async def slot(self, *, first: bool) -> AsyncIterator[None]:
        """Hold one of the slots in flight from a granted start until the answer is durable.

        first: the call's first attempt; later ones need a token of the retry quota.
        Raises Stopped when no call is to begin any more.
        """
        borrower = await self._admit(first=first)
        try:
            if self._hold is not None:
                await self._hold()
            yield
        finally:
            self._slots.release_on_behalf_of(borrower)

    async def _admit(self, *, first: bool) -> object:
        granted = first
        while True:
            now = monotonic()
            probe_at = self._breaker.turn(now)
            if probe_at is not None and probe_at > now:
                await self._wait_until(probe_at)
                continue
            if probe_at is None and not granted:
                if owed_s := self._quota.may_retry(now):
                    await self._wait_until(now + owed_s)
                    continue
                granted = True
            borrower = object()
            with self._stop.interruptible():
                await self._slots.acquire_on_behalf_of(borrower)
            try:
                await self._take_turn()
            except BaseException:
                self._slots.release_on_behalf_of(borrower)
                raise
            # Whoever waited through the opening of the breaker goes back to its end.
            if probe_at is not None or self._breaker.open_since is None:
                if first:
                    self._quota.first(monotonic())
                return borrower
            self._slots.release_on_behalf_of(borrower)

    async def _take_turn(self) -> None:
        taken = monotonic()
        turn = self._pace.turn(taken)
        while turn > monotonic():
            await self._wait_until(turn)
            if not self._pace.stands(monotonic(), taken):
                taken = monotonic()
                turn = self._pace.turn(taken)

    async def _wait_until(self, time: float) -> None:
        with self._stop.interruptible():
            await anyio.sleep_until(time)

    def succeeded(self, began: float, in_flight: int) -> None:
        """A picture came. in_flight: calls posted and not answered, this one included."""
        now = monotonic()
        self._outcome(now, began, ok=True)
        self._tell(self._pace.succeeded(now, began, in_flight))

    def refused_picture(self, began: float) -> None:
        """The service is well; it did not like the picture."""
        self._outcome(monotonic(), began, ok=True)

    def failed(self, began: float) -> None:
        """A fault, or no answer."""
        now = monotonic()
        self._pace.failed(now, began)
        self._outcome(now, began, ok=False)

    def slow_down(
        self, began: float, in_flight: int, retry_after_s: float | None, *, throttle: bool
    ) -> None:
        """The service asks for less: 429 (throttle) or 503. In an outage a 503 asks for nothing."""
        now = monotonic()
        if not throttle and self._breaker.open_at(began):
            self._pace.wait(now, retry_after_s or 0.0)
        else:
            self._tell(self._pace.refused(now, began, in_flight, retry_after_s, throttle=throttle))
            if not throttle and self._pace.cut_at == now:  # the first of its burst
                self._outcome(now, began, ok=False)
        self._follow()

    def in_outage(self, began: float) -> bool:
        """Whether a call that began then met an outage: its failure is nobody's attempt."""
        return self._breaker.open_at(began)

    def _follow(self) -> None:
        """Let the slots, and whoever watches, follow the pace."""
        self._slots.total_tokens = self._progress.limit = self._pace.limit
        self._progress.outage = self._breaker.open_since is not None
        self._progress.per_minute = self._pace.per_minute
        self._progress.paused_until = self._pace.paused_until

    def _outcome(self, now: float, began: float, *, ok: bool) -> None:
        if self._breaker.outcome(now, began, ok=ok):
            if ok:
                self._pace.resumed(now)
                self._note("the service answers again: back to full pace")
            else:
                self._note("nearly every call fails: one probe at a time until the service is back")
        self._follow()

    def _tell(self, text: str | None) -> None:
        if text is not None:
            self._note(text)
        self._follow()
