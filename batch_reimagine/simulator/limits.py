"""The two limits of an account: images a minute, and calls at once."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from batch_reimagine.simulator.behaviour import Behaviour
from batch_reimagine.simulator.reasons import Refusal


class Bucket:
    """A token bucket on the monotonic clock, full at first; a change of its figures refills it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._figures: tuple[float, int] | None = None
        self._tokens = 0.0
        self._seen_s = 0.0

    def take(self, per_minute: float | None, burst: int) -> None:
        """Take one token, or raise Refusal; no `per_minute` is no limit."""
        if per_minute is None:
            self._figures = None
            return
        now_s = self._clock()
        if self._figures != (per_minute, burst):
            self._figures, self._tokens = (per_minute, burst), float(burst)
        else:
            gained = (now_s - self._seen_s) * per_minute / 60
            self._tokens = min(burst, self._tokens + gained)
        self._seen_s = now_s
        if self._tokens < 1:
            raise Refusal("RATE_LIMIT_EXCEEDED", limit=f"{per_minute:g} images per minute")
        self._tokens -= 1


class Gate:
    """Lets so many calls in at once; the limit may change while calls are inside or waiting."""

    def __init__(self) -> None:
        self._inside = 0
        self._moved = asyncio.Condition()

    async def changed(self) -> None:
        """Let the calls that wait look at the new limit."""
        async with self._moved:
            self._moved.notify_all()

    @asynccontextmanager
    async def admit(self, behaviour: Callable[[], Behaviour]) -> AsyncIterator[None]:
        """Hold a place for one call; without a free one wait, or raise Refusal, as told."""

        def free() -> bool:
            limit = behaviour().max_concurrent
            return limit is None or self._inside < limit

        if not free():
            match behaviour().over_concurrency:
                case "429":
                    raise Refusal("RATE_LIMIT_EXCEEDED", limit="concurrent calls")
                case "503":
                    raise Refusal("SERVICE_NOT_AVAILABLE", limit="concurrent calls")
                case "queue":
                    async with self._moved:
                        await self._moved.wait_for(free)
        # No await between the look and this: nobody comes in between.
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            await self.changed()
