"""The synchronous door: the run in a thread with an event loop of its own.

So it works in scripts, and in notebooks, whose thread has a running loop already; calls go on
while the caller looks at a record.
"""

import asyncio
import concurrent.futures.thread
import contextvars
import queue
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from batch_reimagine import batch
from batch_reimagine.asking import Inputs, Where, output_of, places_of, settings_of
from batch_reimagine.bar import Bar, face_of
from batch_reimagine.engine import Stop
from batch_reimagine.observing import Watch
from batch_reimagine.places import Place
from batch_reimagine.settings import Settings
from batch_reimagine.work import Event, Progress, Record, Summary

_AHEAD = 16  # events that may wait for a slow caller before the line waits for him too
_LOOK_EVERY_S = 0.25


def reimagine_sync(
    inputs: Inputs,
    output: Where,
    settings: Settings | None = None,
    *,
    key: str = "",
    on_event: Callable[[Event], None] | None = None,
    progress: Progress | None = None,
    bar: bool | None = None,
    stop: Stop | None = None,
    force: bool = False,
    repair: bool = False,
    watches: Sequence[Watch] = (),
) -> "Records":
    """Make what is missing in output; iterate over the result to run it.

        for record in reimagine_sync("photos", "out", Settings(variations=4), key=key):
            print(record.status, record.output)

    `list(…)` runs it to its end. Arguments as for `reimagine`; and
    on_event: called with every event, in the thread that iterates.
    bar: True: show a progress bar; False: none; None: on a terminal and in a notebook.
    stop: its `request("why")` ends the run in order; any thread may call it.
    watches: told in the run's own thread, not in the one that iterates.
    Ctrl-C begins no new call, finishes and keeps those in flight, and then raises
    KeyboardInterrupt; a second one drops them. Leaving the loop ends the run in order, too.
    Raises UsageError at once, or when the iteration begins, before anything is touched; RunError,
    after the last record, when no photo can succeed; calling again goes on.
    """
    job = _Job(
        places_of(inputs),
        output_of(output),
        settings_of(settings),
        key=key,
        progress=progress or Progress(),
        stop=stop or Stop(),
        force=force,
        repair=repair,
        watches=tuple(watches),
    )
    return Records(job, on_event=on_event, bar=bar)


@dataclass(frozen=True, slots=True)
class _Job:
    """What `batch.run` is told, but where its events go."""

    inputs: list[Place]
    output: Place
    settings: Settings
    key: str = field(repr=False)
    progress: Progress
    stop: Stop
    force: bool
    repair: bool
    watches: tuple[Watch, ...]


class Records(Iterator[Record]):
    """The records of one run, each once it is durable; a context manager that ends the run.

    Begun by the first `next`. For one thread.
    """

    def __init__(
        self, job: _Job, *, on_event: Callable[[Event], None] | None, bar: bool | None
    ) -> None:
        self.progress = job.progress  #: counts so far
        self.summary: Summary | None = None  #: once the run has come to its end
        self._settings = job.settings
        self._on_event = on_event
        self._wants_bar = bar
        self._bar: Bar | None = None
        self._run = _Run(job)
        self._begun = self._ended = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Record:
        if self._ended:
            raise StopIteration
        if not self._begun:
            self._begin()
        try:
            while (event := self._next()) is not None:
                if self._on_event is not None:
                    self._on_event(event)
                if isinstance(event, Record):
                    return event
        except BaseException:
            self.close()
            raise
        self._finish()
        if self._run.error is not None:
            raise self._run.error
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_begun", True):
            text = "reimagine_sync: nothing was made, for nobody iterated over its result"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        elif not getattr(self, "_ended", True):
            self.close()

    def close(self) -> None:
        """End the run in order, and return when it has ended: calls in flight are kept.

        Ctrl-C meanwhile drops them.
        """
        interrupt: KeyboardInterrupt | None = None
        if self._begun and not self._ended:
            self._run.leave()
            try:
                self._wait()
            except KeyboardInterrupt as error:
                interrupt = error
                self._run.drop()
                self._wait()
            self._finish()
        self._begun = self._ended = True
        if interrupt is not None:
            raise interrupt

    def _begin(self) -> None:
        self._begun = True
        if (face := face_of(wanted=self._wants_bar)) is not None:
            self._bar = Bar(self.progress, self._settings, face)
        self._run.start()
        _open.add(self)

    def _next(self) -> Event | None:
        """The next event; None at the end."""
        while True:
            if self._bar is not None:
                self._bar.draw()
            with suppress(queue.Empty):
                return self._run.take(_LOOK_EVERY_S)

    def _wait(self) -> None:
        """Return when the run has ended."""
        # Not from its own thread, where the garbage collector may find us: it ends by itself.
        while self._run.thread.is_alive() and self._run.thread is not threading.current_thread():
            if self._bar is not None:
                self._bar.draw()
            self._run.thread.join(_LOOK_EVERY_S)

    def _finish(self) -> None:
        self._ended = True
        _open.discard(self)
        self._wait()
        self.summary = self._run.summary
        if self._bar is not None:
            self._bar.close()


_open: "weakref.WeakSet[Records]" = weakref.WeakSet()


class _Run:
    """The run and its thread. `start` once, then `take` until None comes."""

    def __init__(self, job: _Job) -> None:
        self.error: BaseException | None = None
        self.summary: Summary | None = None
        self._left = False
        self._stop = job.stop
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(_AHEAD)
        self._loop: asyncio.AbstractEventLoop | None = None

        async def emit(event: Event) -> None:
            if isinstance(event, Summary):
                self.summary = event
            await self._room.acquire()
            if self._left:
                self._room.release()  # for the next who waits
            else:
                self._events.put(event)

        async def run() -> None:
            self._stop.live_here(self._in_loop)
            await batch.run(
                job.inputs,
                job.output,
                job.settings,
                key=job.key,
                emit=emit,
                stop=job.stop,
                progress=job.progress,
                force=job.force,
                repair=job.repair,
                watches=job.watches,
            )

        def work() -> None:
            try:
                with asyncio.Runner(loop_factory=self._own_loop) as runner:
                    runner.run(run())
            except BaseException as error:  # noqa: BLE001 - raised where somebody waits for it
                self.error = error
            finally:
                self._events.put(None)

        # What the caller's context holds, such as a trace's span, is the run's too.
        context = contextvars.copy_context()
        self.thread = threading.Thread(target=context.run, args=(work,), name="reimagine")

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None  # noqa: S101 - made before the thread
        return self._loop

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.thread.start()

    def take(self, within_s: float) -> Event | None:
        """The next event, None at the end. Raises queue.Empty when none came in time."""
        try:
            event = self._events.get(timeout=within_s)
        except queue.Empty:  # the end itself is lost to a Ctrl-C in the moment of its coming
            if self.thread.is_alive() or not self._events.empty():
                raise
            return None
        if event is not None:
            self._in_loop(self._room.release)
        return event

    def leave(self) -> None:
        """Nobody takes events any more: end in order."""
        self._left = True
        self._in_loop(self._room.release)
        self._in_loop(lambda: self._stop.request("left by its consumer"))

    def drop(self) -> None:
        """End without the calls in flight."""
        self._in_loop(lambda: self._stop.drop("interrupted twice"))

    def _in_loop(self, what: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # it has ended
            self._own_loop().call_soon_threadsafe(what)


def _close_all() -> None:
    """The program is at its end, and runs are open: their calls in flight are kept."""
    for records in list(_open):
        records.close()


# Before the executors of the standard library refuse work, which `atexit` comes after: rows are
# written by one. Registered behind theirs, so called first (CPython, threading._shutdown).
assert concurrent.futures.thread is not None  # noqa: S101 - imported for its order
getattr(threading, "_register_atexit", lambda _: None)(_close_all)
