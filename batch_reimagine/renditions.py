"""Small pictures to look at: thumbnails of all that there is, and views of the originals.

Made once, on demand or ahead, in processes of their own at the lowest priority, and kept in
`.batch-reimagine/thumbs/` under the sha256 of what they show. A picture whose decoder crashes
or does not end costs its own thumbnail.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from anyio import to_thread

from batch_reimagine.catalogue import Product, Variation
from batch_reimagine.cores import CORES
from batch_reimagine.deadline import Deadlines
from batch_reimagine.errors import Exhausted, LocalResource, ReimagineError, Rejected
from batch_reimagine.last_run import Originals
from batch_reimagine.output import Tree
from batch_reimagine.preparers import Preparers
from batch_reimagine.thumbs import Rendition, Thumbs
from batch_reimagine.turns import Turns

_MOST_REFUSED = 100_000  # remembered; forgetting them costs time only
_CPU_S = 60


@asynccontextmanager
async def open_renditions(
    tree: Tree, originals: Originals, *, max_pixels: int = 200_000_000, cpu_s: int = _CPU_S
) -> AsyncIterator["Renditions"]:
    """Renditions and their processes, one a core; ended with the block."""
    with Deadlines() as deadlines:
        async with Preparers(
            CORES, max_pixels, deadlines, cpu_s=cpu_s, work="batch_reimagine.rendering"
        ) as renderers:
            renditions = Renditions(tree, originals, renderers)
            try:
                yield renditions
            finally:
                await renditions.aclose()


class Renditions:
    """Each is made by one task, whoever and however many wait for it."""

    def __init__(self, tree: Tree, originals: Originals, renderers: Preparers) -> None:
        self._thumbs = Thumbs(tree)
        self._originals = originals
        self._renderers = renderers
        self._turns = Turns(CORES)
        self._jobs: dict[str, _Job] = {}
        self._refused: set[str] = set()

    async def warm(self) -> None:
        """Start the processes now: they load their decoders before somebody looks."""
        with suppress(LocalResource):
            for _ in range(CORES):
                await self._renderers.warm()

    async def aclose(self) -> None:
        """End what is under way."""
        tasks = [job.task for job in self._jobs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def thumb(self, product: Product, n: int) -> Path | None:
        """The file of a thumbnail; n = 0: of the original. None if there can be none."""
        found = await self.thumbnail(product, n)
        return found.path if found else None

    async def original(self, product: Product) -> Path | None:
        """The file of a view of the original (.jpg or .png). None if there can be none."""
        found = await self.view(product)
        return found.path if found else None

    async def thumbnail(self, product: Product, n: int, *, ahead: bool = False) -> Rendition | None:
        """480 px; None if there is no such picture, or none that can be decoded.

        ahead: nobody looks at it yet.
        """
        if n == 0:
            content = product.content
            if content is None:
                return None
            kept = await to_thread.run_sync(self._thumbs.kept, content, "webp")
            seen = None if kept else await self.view(product, ahead=ahead)
            if seen is None:
                return kept
            make = partial(self._render, b"t", content, seen.data, ".webp")
            return await self._share(f"t {content}", make, ahead=ahead)
        variation = product.variations.get(n)
        if variation is None or variation.output is None:
            return None
        kept = await to_thread.run_sync(self._thumbs.kept_of, variation)
        make = partial(self._thumb_of_output, variation.output)
        return kept or await self._share(f"o {variation.output}", make, ahead=ahead)

    async def view(self, product: Product, *, ahead: bool = False) -> Rendition | None:
        """The original as it was sent, ≤ 1024 px; None if it is gone, changed, or unreadable."""
        content = product.content
        if content is None:
            return None
        kept = await to_thread.run_sync(self._thumbs.kept_view, content)
        make = partial(self._view, product.source, content)
        return kept or await self._share(f"v {content}", make, ahead=ahead)

    async def content(self, variation: Variation) -> str:
        """sha256 of an output as it is now. Raises OSError if it cannot be read, and RunError."""
        return await to_thread.run_sync(self._thumbs.content, variation.output or "")

    async def _thumb_of_output(self, name: str) -> Rendition | None:
        with suppress(OSError, ReimagineError):  # of a store; the next request tries again
            raw, content = await to_thread.run_sync(self._thumbs.read, name)
            kept = await to_thread.run_sync(self._thumbs.kept, content, "webp")
            return kept or await self._render(b"t", content, raw, ".webp")
        return None

    async def _view(self, source: str, content: str) -> Rendition | None:
        with suppress(ReimagineError):  # of a store; the next request tries again
            raw = await to_thread.run_sync(self._originals.read, source, content)
            return await self._render(b"v", content, raw, "-view") if raw else None
        return None

    async def _render(self, what: bytes, content: str, raw: bytes, suffix: str) -> Rendition | None:
        if content in self._refused:
            return None
        try:
            made = await self._renderers.prepare(what + raw)
        except Rejected:
            if len(self._refused) > _MOST_REFUSED:
                self._refused.clear()
            self._refused.add(content)
            return None
        except (Exhausted, LocalResource):  # this machine's fault: the next request tries again
            return None
        return await to_thread.run_sync(self._thumbs.keep, content, suffix, made)

    async def _share(
        self, key: str, make: Callable[[], Awaitable[Rendition | None]], *, ahead: bool
    ) -> Rendition | None:
        """What a job brings. It ends early only if nobody waits for it and it has not begun."""
        job = self._jobs.get(key)
        if job is None or job.abandoned:
            job = self._jobs[key] = _Job(make, self._turns, ahead=ahead)
            job.task.add_done_callback(partial(self._forget, key, job))
        elif not ahead:
            self._turns.hurry(job)
        return await job.wait()

    def _forget(self, key: str, job: "_Job", _: object) -> None:
        if self._jobs.get(key) is job:
            del self._jobs[key]


class _Job:
    """One rendition under way."""

    def __init__(
        self, make: Callable[[], Awaitable[Rendition | None]], turns: Turns, *, ahead: bool
    ) -> None:
        self.abandoned = False  #: nobody waits for it any more, and it will not begin
        self._waiting = 0
        self._begun = False
        self.task = asyncio.create_task(self._run(make, turns, ahead=ahead))

    async def _run(
        self, make: Callable[[], Awaitable[Rendition | None]], turns: Turns, *, ahead: bool
    ) -> Rendition | None:
        async with turns.take(self, ahead=ahead):
            self._begun = True
            return await make()

    async def wait(self) -> Rendition | None:
        self._waiting += 1
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            # One that has begun goes on: a process stopped half-way takes longer to start again.
            if self._waiting == 1 and not self._begun:
                self.abandoned = True
                self.task.cancel()
            raise
        finally:
            self._waiting -= 1
