"""The bench that the line sees: photos on some node, and on another once that is lost."""

import itertools
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
from anyio import to_thread

from batch_reimagine import marking
from batch_reimagine.bench import Made, Outcome, Task
from batch_reimagine.cluster.nodes import LostError, Member, Nodes
from batch_reimagine.errors import Exhausted, LocalResource
from batch_reimagine.exchange import NODE_LOST, Answer
from batch_reimagine.naming import output_name
from batch_reimagine.output import Tree
from batch_reimagine.proof import IncompleteError, prove
from batch_reimagine.provider import provider_of
from batch_reimagine.provider.contract import Action, Verdict
from batch_reimagine.reading import Looks
from batch_reimagine.work import Photo, Record

_WIDTH = 32  # photos under way while nobody knows how many nodes there are
_WIDER = 2  # of them a core, so that nodes that join find some
_MOVES = 5  # of a photo whose nodes are lost one after the other: it may be its own doing


class RemoteBench:
    """The benches of all nodes as one."""

    def __init__(self, nodes: Nodes, task: Task, tree: Tree) -> None:
        provider = provider_of(task.settings)
        self.url = task.base_url.rstrip("/") + provider.path
        self.width = _WIDTH
        self.nodes = nodes
        self.enter: Callable[[], Awaitable[None]]  #: connects to the nodes, when they are needed
        self._entered = False
        self._entering = anyio.Lock()
        self.tree = tree
        self.tickets = itertools.count()
        self._mark = marking.mark_of(provider.system) if task.settings.mark else None

    async def ready(self) -> None:
        """Enter it, if that is still to be done. Raises what `enter` does."""
        async with self._entering:
            if not self._entered:
                await self.enter()
                self.width = max(_WIDTH, _WIDER * self.nodes.cores)
                self._entered = True

    async def fetch(self, photo: Photo) -> "RemoteHeld":
        await self.ready()
        held = RemoteHeld(self, photo)
        try:
            await held.load()
        except Exhausted as error:
            if error.reason == "NOT_READABLE" and isinstance(photo.path, Path):
                await to_thread.run_sync(_check_shared, photo.path, error)
            raise
        return held

    async def lying(
        self, base: str, numbers: tuple[int, ...], *, posted: bool = True
    ) -> Outcome | None:
        """What came of a call whose node was lost, if pictures were written all the same."""
        made = await to_thread.run_sync(self._all_lying, base, numbers)
        if not any(made):
            return None
        return Outcome(Answer(None, Verdict(Action.KEEP)), made, posted=posted)

    def _all_lying(self, base: str, numbers: tuple[int, ...]) -> tuple[Made | None, ...]:
        self.tree.anew()
        return tuple(self._lying(base, number) for number in numbers)

    def _lying(self, base: str, variation: int) -> Made | None:
        if (type_ := self.tree.taken(base, variation)) is None:
            return None
        name = output_name(base, variation, type_)
        try:
            picture = prove(self.tree.read(name))
        except (IncompleteError, OSError):
            return None
        kept = marking.recovered(self.tree, name, picture.data, self._mark)
        return Made(name, variation, replace(picture, data=b""), kept)


def _check_shared(path: Path, error: Exhausted) -> None:
    """Raise LocalResource if a photo that a node cannot read can be read here. Blocks."""
    if os.access(path, os.R_OK):
        raise LocalResource(
            f"a Ray node cannot read {path} ({error.message}), but this machine can: all nodes"
            " need the same folders under the same names"
        )


class RemoteHeld:
    """A photo that a node holds."""

    content: bytes
    looks: Looks

    def __init__(self, bench: RemoteBench, photo: Photo) -> None:
        self._bench = bench
        self._photo = photo
        self._member: Member | None = None
        self._ticket = -1
        self._wants_ready = False
        self._note: str | None = None
        self._loading = anyio.Lock()
        self._unsure: set[int] = set()  # variations whose call was on a node that was lost

    async def load(self) -> Member:
        """Return a node that holds it, prepared if that was asked for.

        Raises PhotoError or RunError.
        """
        async with self._loading:
            for _ in range(_MOVES):
                with suppress(LostError):
                    if self._member is not None and not self._member.lost:
                        await self._bench.nodes.hear(self._member)
                        return self._member
                    await self._load_on(await self._bench.nodes.pick())
            raise Exhausted(NODE_LOST, f"{_MOVES} Ray nodes were lost while they read it")

    async def _load_on(self, member: Member) -> None:
        ask, ticket = self._bench.nodes.ask, next(self._bench.tickets)
        member.photos += 1
        try:
            content, looks = await ask(member, "fetch", ticket, self._photo)
            if self._member is None:
                self.content, self.looks = content, looks
            elif content != self.content:
                raise Exhausted("CHANGING", "it changed meanwhile; a later run takes it")
            if self._wants_ready:
                self._note = await ask(member, "prepare", ticket)
        except BaseException:
            member.photos -= 1
            raise
        self._member, self._ticket = member, ticket

    async def prepare(self) -> str | None:
        member = await self.load()
        self._wants_ready = True
        try:
            self._note = await self._bench.nodes.ask(member, "prepare", self._ticket)
        except LostError:
            await self.load()
        return self._note

    async def buy(self, base: str, numbers: tuple[int, ...], about: Record | None) -> Outcome:
        """Likewise; raises PhotoError or RunError only if nothing was sent."""
        bench, unsure = self._bench, not self._unsure.isdisjoint(numbers)
        # A node that was lost to us may have lived on, and written what it was asked for.
        if unsure and (found := await bench.lying(base, numbers, posted=False)):
            return found
        member = await self.load()
        ask = bench.nodes.ask
        try:
            outcome, unsent = await ask(member, "buy", self._ticket, base, numbers, about)
        except LostError:
            self._unsure.update(numbers)
            message = f"the Ray node {member.name} was lost with the call in flight"
            lost = Outcome(Answer(None, Verdict(Action.RETRY, NODE_LOST, message)))
            return await bench.lying(base, numbers) or lost
        if unsent:
            await to_thread.run_sync(bench.tree.keep_unsent, unsent)
        if outcome.error is not None:
            if unsure and (found := await bench.lying(base, numbers)):
                return found
            bench.tree.refused = True
        for made in filter(None, outcome.made):
            bench.tree.noticed(made.name, made.kept.size)
        done: Outcome = outcome
        return done

    async def release(self) -> None:
        member, self._member = self._member, None
        if member is not None:
            self._bench.nodes.forget(member, self._ticket)
