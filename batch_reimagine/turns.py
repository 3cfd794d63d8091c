"""Who goes next: those who are looked at before those made ahead, the newest of them first."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Turns:
    """So many at once; what waits longest is what has scrolled out of sight."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._seen: dict[object, anyio.Event] = {}  # in the order of their coming
        self._ahead: dict[object, anyio.Event] = {}

    @asynccontextmanager
    async def take(self, key: object, *, ahead: bool) -> AsyncIterator[None]:
        """Wait for a turn. key: names it for `hurry`, and is nobody else's meanwhile."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(key, self._ahead if ahead else self._seen)
        try:
            yield
        finally:
            self._give()

    def hurry(self, key: object) -> None:
        """Somebody looks at it now."""
        event = self._ahead.pop(key, None) or self._seen.pop(key, None)
        if event is not None:
            self._seen[key] = event

    async def _wait(self, key: object, queue: dict[object, anyio.Event]) -> None:
        event = queue[key] = anyio.Event()
        try:
            await event.wait()
        except BaseException:
            if event.is_set():  # it was given, and is nobody's now
                self._give()
            self._seen.pop(key, None)
            self._ahead.pop(key, None)
            raise

    def _give(self) -> None:
        if self._seen:
            self._seen.pop(next(reversed(self._seen))).set()
        elif self._ahead:
            self._ahead.pop(next(iter(self._ahead))).set()
        else:
            self._free += 1
