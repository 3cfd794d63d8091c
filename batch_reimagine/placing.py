"""What a photo can have for nothing: copies of the same content, pictures whose row was lost."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import anyio
from anyio import to_thread

from batch_reimagine import manifest, marking
from batch_reimagine.ledger import Ledger
from batch_reimagine.mark import Mark
from batch_reimagine.naming import output_name
from batch_reimagine.needs import Copy, Needs, needs
from batch_reimagine.output import NameTaken
from batch_reimagine.proof import IncompleteError, prove
from batch_reimagine.settings import Settings
from batch_reimagine.work import Kept, Photo, Picture, Progress, Record


class Placer:
    """Finds what a photo still needs, once it has what is there."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        progress: Progress,
        *,
        mark: Mark | None,
        cpu: anyio.CapacityLimiter,
        emit: Callable[[Record], Awaitable[None]],
        common: Callable[[Photo, bytes, int], dict[str, Any]],
        paid_before: Callable[[Decimal], None],
    ) -> None:
        """common: the columns that every row has. paid_before: counts what a picture has cost."""
        self._settings = settings
        self._ledger = ledger
        self._progress = progress
        self._mark = mark
        self._cpu = cpu
        self._emit = emit
        self._common = common
        self._paid_before = paid_before

    async def place(self, photo: Photo, content: bytes) -> Needs:
        """What a photo needs, after what can be had for nothing has been copied."""
        ledger = self._ledger
        wants = await to_thread.run_sync(
            needs, ledger.index, ledger.tree, photo, content, self._settings, limiter=self._cpu
        )
        self._progress.here += wants.here
        self._progress.held += wants.held
        self._progress.failed_before += wants.refused
        for name in wants.torn:
            await to_thread.run_sync(ledger.tree.set_aside, name)
        for row in wants.found:
            await self._found(row)
        for number, name in wants.late:
            await self._late(photo, content, number, name)
        if wants.base:
            photo = replace(photo, base=wants.base)
        for copy in wants.copies:
            await self._copied(photo, content, copy)
        return wants

    async def _found(self, row: Record) -> None:
        """A picture that lies there, paid for by a run whose row of it was lost."""
        with anyio.CancelScope(shield=True):
            await self._ledger.adopt(row)
            self._paid_before(Decimal(row.cost or 0))
            self._progress.here += 1

    async def _late(self, photo: Photo, content: bytes, number: int, name: str) -> None:
        """Its call was counted when it was dropped, so its money is."""
        with anyio.CancelScope(shield=True):
            try:
                picture = await to_thread.run_sync(self._picture_at, name)
            except (IncompleteError, OSError):
                return  # it went away this moment; the next run sees what is missing
            tree = self._ledger.tree
            kept = await to_thread.run_sync(marking.recovered, tree, name, picture.data, self._mark)
            row = manifest.done(
                picture,
                name,
                kept,
                **self._common(photo, content, number),
                message="came after its call was dropped, which is counted as not known",
                cost="0",
            )
            await self._ledger.append(row)
            self._progress.here += 1

    async def _copied(self, photo: Photo, content: bytes, copy: Copy) -> None:
        try:
            picture = await to_thread.run_sync(self._picture_at, copy.output)
        except (IncompleteError, OSError):
            return  # it went away this moment; the next run sees what is missing
        with anyio.CancelScope(shield=True):
            name = output_name(photo.base, copy.variation, picture.type)
            try:
                kept = await to_thread.run_sync(self._copy, copy, name, picture.data)
            except NameTaken:
                return  # likewise
            row = manifest.done(
                picture,
                name,
                kept,
                **self._common(photo, content, copy.variation),
                cost="0",
                copied_from=copy.output,
            )
            await self._ledger.append(row)
            self._progress.copied += 1
        await self._emit(row)

    def _copy(self, copy: Copy, name: str, data: bytes) -> Kept:
        tree = self._ledger.tree
        if copy.lies_there:
            return marking.recovered(tree, name, data, self._mark)
        return marking.copy(tree, copy.output, name, data)

    def _picture_at(self, name: str) -> Picture:
        return prove(self._ledger.tree.read(name))
