"""Deadlines that stand still while the process does.

A process that was stopped (SIGSTOP, a debugger, a starved machine) wakes up
with every timer overdue, and answers that came meanwhile wait in the kernel,
paid for. So the time that this process did not run is added to each deadline
before any of them is looked at.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import anyio

_TICK_S = 0.5
_LATE_S = 1.5  # a tick this late means that nothing ran


class Deadlines:
    """The deadlines of one event loop. Use it as a context manager around them."""

    def __init__(self) -> None:
        self._scopes: set[anyio.CancelScope] = set()
        self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._next()
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            self._handle.cancel()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Raise TimeoutError when the block takes longer than so many running seconds."""
        with anyio.fail_after(seconds) as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)

    def _next(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + _TICK_S
        # A plain timer, not a task: overdue timers run in the order of their times, so
        # this one runs before any deadline that passed while nothing ran.
        self._handle = loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        late_s = asyncio.get_running_loop().time() - self._due
        if late_s > _LATE_S:
            for scope in self._scopes:
                scope.deadline += late_s
        self._next()
