"""The library's door: the same run as the command's, as an async iterator of records."""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from os import PathLike

from batch_reimagine import batch
from batch_reimagine.engine import Stop
from batch_reimagine.places import place_of
from batch_reimagine.settings import Settings
from batch_reimagine.work import Event, Progress, Record

_AHEAD = 16  # records that may wait for a slow consumer before the line waits for him too


async def reimagine(
    inputs: Sequence[str | PathLike[str]] | str | PathLike[str],
    output: str | PathLike[str],
    settings: Settings | None = None,
    *,
    key: str = "",
    on_event: Callable[[Event], Awaitable[None]] | None = None,
    progress: Progress | None = None,
    force: bool = False,
) -> AsyncGenerator[Record, None]:
    """Make what is missing in output and yield each record once it is durable.

    inputs: folders and single pictures; they and the output may be addresses of object stores
    ("s3://bucket/photos"), whose credentials come from where their clouds' tools take them.
    key: of the provider; not needed by the simulator.
    on_event: awaited with every event (plan, notes, records, summary), before a record is
    yielded. progress: is kept up to date for whoever watches.
    Closing the iterator (`contextlib.aclosing` does, when the loop is left early)
    ends the run in order: calls in flight are finished and kept. Cancelling drops
    them; they are written down as unknown.
    Raises UsageError before anything is touched, and RunError, after the last
    record, when no photo can succeed; calling again goes on.
    """
    paths = [inputs] if isinstance(inputs, str | PathLike) else inputs
    stop = Stop()
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
                [place_of(os.fspath(path)) for path in paths],
                place_of(os.fspath(output)),
                settings or Settings(),
                key=key,
                emit=emit,
                stop=stop,
                progress=progress,
                force=force,
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
        stop.request("left by its consumer")
        while not task.done():
            with suppress(asyncio.QueueEmpty):
                while True:
                    queue.get_nowait()
            await asyncio.wait([task], timeout=0.05)
        task.cancelled() or task.exception()  # seen: nobody is left to be told of it
