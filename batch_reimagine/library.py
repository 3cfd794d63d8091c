"""The library's door: the same run as the command's, as an async iterator of records."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress

import anyio

from batch_reimagine import batch
from batch_reimagine.asking import Inputs, Where, output_of, places_of, settings_of
from batch_reimagine.engine import Stop
from batch_reimagine.errors import UsageError
from batch_reimagine.observing import Watch
from batch_reimagine.settings import Settings
from batch_reimagine.work import Event, Progress, Record

_AHEAD = 16  # records that may wait for a slow consumer before the line waits for him too
_LOOK_EVERY_S = 0.05


async def reimagine(
    inputs: Inputs,
    output: Where,
    settings: Settings | None = None,
    *,
    key: str = "",
    on_event: Callable[[Event], Awaitable[None]] | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
    force: bool = False,
    repair: bool = False,
    watches: Sequence[Watch] = (),
) -> AsyncGenerator[Record, None]:
    """Make what is missing in output and yield each record once it is durable.

    inputs: folders and single pictures; they and the output may be addresses of object stores
    ("s3://bucket/photos"), whose credentials come from where their clouds' tools take them.
    key: of the provider; not needed by the simulator.
    on_event: awaited with every event (plan, notes, records, summary), before a record is
    yielded; what it raises ends the run in order, and is raised here.
    progress: is kept up to date for whoever watches.
    watches: told of every moment of the run, attempts too, in the loop's thread; such as
    `batch_reimagine.metrics.Metrics()`.
    stop: its `request("why")` ends the run in order from elsewhere in the same event loop.
    force: take over a folder that holds other files. repair: hash every output first, set torn
    ones aside and make them again.
    Closing the iterator (`contextlib.aclosing` does, when the loop is left early)
    ends the run in order: calls in flight are finished and kept. Cancelling drops
    them; they are written down as unknown. Either way the run has ended when it returns.
    Raises UsageError before anything is touched, and RunError, after the last
    record, when no photo can succeed; calling again goes on.
    Needs asyncio, as aiohttp does; under trio use `reimagine_sync` in a worker thread.
    """
    try:
        consumer = asyncio.current_task()
    except RuntimeError:
        raise UsageError(
            "reimagine: there is no asyncio event loop here, and the HTTP client needs one; under"
            " trio use: await trio.to_thread.run_sync(lambda: list(reimagine_sync(…)))"
        ) from None
    asked = places_of(inputs), output_of(output), settings_of(settings)
    before = consumer.cancelling() if consumer else 0  # may never have been taken back
    stop = stop or Stop()
    left = False  # by its consumer: nobody takes records any more
    queue: asyncio.Queue[Record | None] = asyncio.Queue(_AHEAD)

    async def emit(event: Event) -> None:
        if on_event is not None:
            await on_event(event)
        if isinstance(event, Record) and not left:
            await queue.put(event)

    async def work() -> None:
        try:
            await batch.run(
                *asked,
                key=key,
                emit=emit,
                stop=stop,
                progress=progress,
                force=force,
                repair=repair,
                watches=watches,
            )
        finally:
            await queue.put(None)

    # A task of its own: a task group must not be left open across a yield.
    task = asyncio.create_task(work())
    try:
        while (record := await queue.get()) is not None:
            yield record
        await task
    except asyncio.CancelledError:
        stop.drop("cancelled")
        raise
    finally:
        left = True
        if consumer and consumer is asyncio.current_task() and consumer.cancelling() > before:
            stop.drop("cancelled")  # while its consumer held a record
        stop.request("left by its consumer")
        await _ended(task, queue, stop)
        task.cancelled() or task.exception()  # seen: nobody is left to be told of it


async def _ended(task: asyncio.Task[None], queue: asyncio.Queue[Record | None], stop: Stop) -> None:
    """Return when the run has ended, however often its consumer is cancelled meanwhile.

    Each wait is bounded by the engine: an attempt by its time limit, a drop by a few writes.
    """
    again: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):  # anyio's scopes cancel every await anew
        while not task.done():
            with suppress(asyncio.QueueEmpty):
                while True:
                    queue.get_nowait()
            try:
                await asyncio.wait([task], timeout=_LOOK_EVERY_S)
            except asyncio.CancelledError as error:
                stop.drop("cancelled")
                again = error
    if again is not None:
        raise again
