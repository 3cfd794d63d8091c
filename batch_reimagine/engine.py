"""A bounded pool with back-pressure and an orderly stop. It does not know what flows through it.

    source ──▶ widen (few tasks, one item → many) ──▶ work (many tasks)

Channels have no buffer: nobody runs ahead of who comes after him by more than
what he holds in his hands. This module alone makes tasks in a run.
"""

import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

Found = TypeVar("Found")
Item = TypeVar("Item")


class Stopped(Exception):
    """Raised where a task waits to begin something that is not to be begun any more."""


class Stop:
    """Every stop is the same stop: nothing new is begun, what is under way is finished."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.error: BaseException | None = None
        self.dropped = False
        self.told: Callable[[str, BaseException | None], None] | None = None  #: of the first
        self._waiting: set[anyio.CancelScope] = set()
        self._group: TaskGroup | None = None
        self._lock = threading.RLock()  # a signal handler may come while its thread holds it
        self._thread = 0
        self._bring: Callable[[Callable[[], None]], None] | None = None

    def live_here(self, bring: Callable[[Callable[[], None]], None]) -> None:
        """Let other threads ask, too: bring has a call made in this one, where the run will be."""
        with self._lock:
            self._thread, self._bring = threading.get_ident(), bring

    @property
    def requested(self) -> bool:
        return self.reason is not None

    def request(self, reason: str, error: BaseException | None = None) -> None:
        """Begin nothing more. Safe to call from a signal handler.

        The first reason counts and the first error, also one that comes after a plain stop.
        """
        with self._lock:
            first = not self.requested
            self.reason = self.reason or reason
            self.error = self.error or error
            self._here(lambda: self._end_waits(reason, error, first=first))

    def drop(self, reason: str) -> None:
        """Do not even finish what is under way."""
        with self._lock:
            self.request(reason)
            self.dropped = True
            self._here(self._end_tasks)

    def _here(self, what: Callable[[], None]) -> None:
        """In the run's thread, whichever this one is."""
        if self._bring is None or self._thread == threading.get_ident():
            what()
        else:
            self._bring(what)

    def _end_waits(self, reason: str, error: BaseException | None, *, first: bool) -> None:
        if first and self.told is not None:
            self.told(reason, error)
        for scope in list(self._waiting):
            scope.cancel()

    def _end_tasks(self) -> None:
        if self._group is not None:
            self._group.cancel_scope.cancel()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Mark a wait that a stop ends. Raises Stopped when it did, or had before."""
        if self.requested:
            raise Stopped
        with anyio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                yield
            finally:
                self._waiting.discard(scope)
        if scope.cancelled_caught:
            raise Stopped

    def bind(self, group: TaskGroup) -> None:
        """Say which tasks `drop` is to end."""
        self._group = group
        if self.dropped:
            self._end_tasks()


async def run(
    source: AsyncGenerator[Found, None],
    widen: Callable[[Found], AsyncGenerator[Item, None]],
    work: Callable[[Item], Awaitable[None]],
    *,
    wideners: int,
    workers: int,
    stop: Stop,
    beside: Sequence[Callable[[], Awaitable[None]]] = (),
) -> None:
    """Push all of source through widen and work; return when all is done or stopped.

    An exception in any task requests the stop and is left in stop.error: the
    others finish what they hold first.
    beside: what to run along with it; ended when all else is.
    """
    found_in, found_out = anyio.create_memory_object_stream[Found](0)
    items_in, items_out = anyio.create_memory_object_stream[Item](0)

    async def guarded(task: Callable[..., Awaitable[None]], *args: Any) -> None:
        try:
            await task(*args)
        except Stopped:
            pass
        except Exception as error:  # noqa: BLE001 - kept, and raised by whoever started the run
            stop.request(str(error) or type(error).__name__, error)

    async with anyio.create_task_group() as companions:
        for companion in beside:
            companions.start_soon(guarded, companion)
        async with anyio.create_task_group() as group:
            stop.bind(group)
            with found_in, found_out, items_in, items_out:  # each task closes a clone of its own
                group.start_soon(guarded, _feed, source, found_in.clone(), stop)
                for _ in range(wideners):
                    ends = found_out.clone(), items_in.clone()
                    group.start_soon(guarded, _spread, ends[0], widen, ends[1], stop)
                for _ in range(workers):
                    group.start_soon(guarded, _labour, items_out.clone(), work)
        companions.cancel_scope.cancel()


async def _feed(
    source: AsyncGenerator[Found, None], to_widen: MemoryObjectSendStream[Found], stop: Stop
) -> None:
    async with to_widen, aclosing(source):
        with stop.interruptible():
            async for found in source:
                await to_widen.send(found)


async def _spread(
    found_ones: MemoryObjectReceiveStream[Found],
    widen: Callable[[Found], AsyncGenerator[Item, None]],
    to_work: MemoryObjectSendStream[Item],
    stop: Stop,
) -> None:
    async with found_ones, to_work:
        async for found in found_ones:
            async with aclosing(widen(found)) as items:
                async for item in items:
                    if stop.requested:
                        raise Stopped
                    # Not interruptible: what is cancelled in the moment of its handing over may
                    # be in both hands. A stop frees workers, so one comes for it.
                    await to_work.send(item)


async def _labour(
    items: MemoryObjectReceiveStream[Item], work: Callable[[Item], Awaitable[None]]
) -> None:
    async with items:
        async for item in items:
            await work(item)
