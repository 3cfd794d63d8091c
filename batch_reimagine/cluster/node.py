"""What one node does: the bench of a run, in a process of its own.

It knows nothing of Ray; `nodes` makes it an actor. Errors are returned, not raised: Ray would
wrap them in its own.
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from batch_reimagine.bench import Outcome, Task
from batch_reimagine.errors import ReimagineError, UsageError
from batch_reimagine.local_bench import LocalBench, LocalHeld, local_bench
from batch_reimagine.output import Tree
from batch_reimagine.places import Place, open_tree
from batch_reimagine.reading import Looks
from batch_reimagine.version import VERSION
from batch_reimagine.work import Photo, Record


@dataclass(frozen=True, slots=True)
class Work:
    """What a node must know to work for a run."""

    task: Task
    output: Place
    writer: str  #: the tag of the run's shard


class Node:
    """Photos by their ticket, a number that the caller gives each when it is fetched."""

    _bench: LocalBench
    _tree: Tree

    def __init__(self) -> None:
        self._held: dict[int, LocalHeld] = {}
        self._stack = AsyncExitStack()

    async def open(self, version: str, work: Work, probe: Path) -> ReimagineError | None:
        """Get ready for photos.

        version: the caller's, of this package. probe: a file in the output, if that is a folder.
        """
        if version != VERSION:
            return UsageError(
                f"a Ray node has batch-reimagine {VERSION}, this machine {version}: install the"
                " same on all"
            )
        output = work.output
        if isinstance(output, Path) and not await to_thread.run_sync(probe.is_file):
            return UsageError(
                f"a Ray node does not see {output}: the output must lie in a folder that all nodes"
                " share, under the same name"
            )
        try:
            tree = await to_thread.run_sync(open_tree, output, work.task.settings, work.writer)
            self._tree = tree
            bench = local_bench(work.task, tree, note=lambda _: None, warm=True)
            self._bench = await self._stack.enter_async_context(bench)
        except ReimagineError as error:
            return error
        return None

    async def cores(self) -> int:
        """How many photos are prepared at once; also the sign that this node lives."""
        return self._bench.width

    async def fetch(self, ticket: int, photo: Photo) -> tuple[bytes, Looks] | ReimagineError:
        """Return sha256 and looks of the file."""
        try:
            held = self._held[ticket] = await self._bench.fetch(photo)
        except ReimagineError as error:
            return error
        return held.content, held.looks

    async def prepare(self, ticket: int) -> str | ReimagineError | None:
        """Return its note."""
        try:
            return await self._held[ticket].prepare()
        except ReimagineError as error:
            return error

    async def buy(
        self, ticket: int, base: str, numbers: tuple[int, ...], about: Record | None
    ) -> tuple[Outcome, list[tuple[str, bytes, dict[str, str]]]]:
        """Return also the pictures that the store did not take: they wait with the run's books."""
        outcome = await self._held[ticket].buy(base, numbers, about)
        if outcome.error is None:
            return outcome, []
        return outcome, await to_thread.run_sync(self._tree.take_unsent)

    async def release(self, ticket: int) -> None:
        if held := self._held.pop(ticket, None):
            await held.release()

    async def close(self) -> None:
        """End its decoders and its connections."""
        await self._stack.aclose()
