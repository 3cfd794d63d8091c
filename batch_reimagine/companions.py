"""What goes on beside the line: notes, the count of what is to come, the time, rows for a store."""

from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import anyio
from anyio import to_thread

from batch_reimagine.engine import Stop
from batch_reimagine.errors import LimitReached, ReimagineError
from batch_reimagine.ledger import Ledger
from batch_reimagine.pipeline import Emit
from batch_reimagine.settings import Settings
from batch_reimagine.survey import count_photos
from batch_reimagine.walk import Walk
from batch_reimagine.work import Note, Progress

SYNC_EVERY_S = 5.0  # how old the rows may be that a machine's death leaves to be found again
_AHEAD = 100  # notes


class Notes:
    """Takes notes from whoever may not wait, and tells them in order."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._in, self._out = anyio.create_memory_object_stream[Note](_AHEAD)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._in.close()
        self._out.close()

    def note(self, text: str) -> None:
        """Have it told soon."""
        with suppress(anyio.WouldBlock):  # a flood tells nothing that its start did not
            self._in.send_nowait(Note(text))

    async def pass_on(self) -> None:
        """Tell what comes, until it is cancelled."""
        async for note in self._out:
            await self._emit(note)

    async def pass_rest(self) -> None:
        """Tell what is left; nothing comes any more."""
        self._in.close()
        await self.pass_on()


async def count(walk: Callable[[], Walk], progress: Progress) -> None:
    """Find out how many photos there are, in a pass of its own."""
    # Its thread sees at the next file that nobody waits for the total any more.
    ended = anyio.Event()
    try:
        progress.photos_total = await to_thread.run_sync(
            lambda: count_photos(walk(), lambda: not ended.is_set()), abandon_on_cancel=True
        )
    finally:
        ended.set()


async def keep_up(ledger: Ledger, emit: Emit) -> None:
    """Bring rows to a store every few seconds."""
    if not ledger.tree.remote:
        return
    failing = False
    while True:
        await anyio.sleep(SYNC_EVERY_S)
        try:
            await to_thread.run_sync(ledger.sync)
            failing = False
        except ReimagineError as error:  # the rows are safe here: told once, and tried again
            if not failing:
                await emit(Note(f"rows wait here for the store: {error}"))
            failing = True


async def keep_time(settings: Settings, stop: Stop) -> None:
    """End the run when --max-duration is over."""
    if settings.max_duration_s is not None:
        await anyio.sleep(settings.max_duration_s)
        error = LimitReached(f"--max-duration {settings.max_duration} is over")
        stop.request(str(error), error)
