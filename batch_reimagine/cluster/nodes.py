"""Which nodes are used: those that are there, new ones too, until they are lost.

Nothing runs beside the line for this: whoever needs a node looks whether there are others.
"""

import secrets
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Self

import anyio
from anyio import to_thread

from batch_reimagine.cluster.node import Node, Work
from batch_reimagine.durable import no_write, write_new
from batch_reimagine.errors import ReimagineError, ServiceGone
from batch_reimagine.output import TEMP_DIR, Tree
from batch_reimagine.version import VERSION

_LOOK_S = 3.0  # between looks for nodes that joined
_START_S = 60.0  # for a node's actor to be ready
_NO_NODE_S = 60.0  # without any: the run ends
_PAUSE_S = 0.2  # between looks while there is none
_SILENT_S = 30.0  # of a call: its node is asked whether it lives, and has as long to say so
_HEARD_S = 0.1  # so fresh must the last sign of a node be before a call is sent to it
_CLOSE_S = 5.0
_DEATHS = 3  # of the actors of one node; it gets no fourth
_AGAIN_S = (
    10.0  # until a node that lost its actor gets another; a dead one is known as such by then
)
_MOST_CALLS = 4000  # under way on one node, asked for or waiting


class LostError(Exception):
    """The node does not answer any more."""


@dataclass(slots=True, eq=False)
class Member:
    """A node that is used."""

    id: str
    name: str  #: for people
    actor: Any
    opening: Any  #: what its actor will say when it is ready; None from then on
    began: float  #: when it was asked
    photos: int = 0  #: that it holds
    heard: float = 0.0  #: when it last answered
    lost: bool = False


class Nodes:
    """The nodes of a run. Use it as a context manager; entering raises UsageError or ServiceGone.

    most: so many at once; None: all that have CPUs.
    """

    def __init__(
        self,
        ray: Any,
        most: int | None,
        work: Work,
        tree: Tree,
        note: Callable[[str], None],
    ) -> None:
        self.cores = 0  #: of all nodes at the start
        self._ray = ray
        self._most = most
        self._work = work
        self._note = note
        self._probe = tree.root / TEMP_DIR / f"~seen-{secrets.token_hex(8)}"
        self._members: dict[str, Member] = {}
        self._deaths: Counter[str] = Counter()
        self._died: dict[str, float] = {}  # when they last did
        self._looking = anyio.Lock()
        self._looked = float("-inf")

    async def __aenter__(self) -> Self:
        """Return when each node's actor is ready, or will never be."""
        await to_thread.run_sync(self._write_probe)
        try:
            until = monotonic() + _START_S
            while True:
                self._looked = float("-inf")
                await self._look(refuse=True)
                if all(member.opening is None for member in self._members.values()):
                    break
                await anyio.sleep(_PAUSE_S)
            await self.pick(until)
            for member in list(self._members.values()):
                with suppress(LostError):
                    self.cores += await self.ask(member, "cores")
        except BaseException:
            await self.__aexit__()
            raise
        self._note(f"Ray: {len(self._members)} nodes with {self.cores} cores")
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(_CLOSE_S), suppress(self._ray.exceptions.RayError):
                for closing in [member.actor.close.remote() for member in self._members.values()]:
                    await closing
            for member in self._members.values():
                await self._kill(member)
            with suppress(OSError):
                await to_thread.run_sync(self._probe.unlink)

    async def pick(self, until: float | None = None) -> Member:
        """Return the node with the fewest photos; wait for one if there is none, not for long.

        Raises ServiceGone.
        """
        until = until or monotonic() + _NO_NODE_S
        while True:
            await self._look()
            if ready := [member for member in self._members.values() if member.opening is None]:
                return min(ready, key=lambda member: member.photos)
            if monotonic() >= until:
                raise ServiceGone(
                    f"no Ray node is left, for {_NO_NODE_S:.0f} s. Once the cluster has one again,"
                    " the same command resumes"
                )
            await anyio.sleep(_PAUSE_S)

    async def ask(self, member: Member, method: str, *args: Any) -> Any:
        """Have a node do something. Raises what it says, or LostError.

        However long it takes: a node that lives keeps the limits of its bench.
        """
        try:
            answering = getattr(member.actor, method).remote(*args)
            while True:
                with anyio.move_on_after(_SILENT_S):
                    answer = await answering
                    break
                with anyio.fail_after(_SILENT_S):
                    await member.actor.cores.remote()
        except self._ray.exceptions.RayTaskError:
            raise  # a bug of ours, over there
        except (self._ray.exceptions.RayError, TimeoutError) as error:
            await self._lose(member, f"is lost ({first_line(error)}); its photos go to others")
            raise LostError from None
        member.heard = monotonic()
        if isinstance(answer, ReimagineError):
            raise answer
        return answer

    async def hear(self, member: Member) -> None:
        """Raise LostError for one that is dead by now: a call sent to it would count as unknown."""
        if monotonic() - member.heard > _HEARD_S:
            await self.ask(member, "cores")

    def forget(self, member: Member, ticket: int) -> None:
        """Tell a node that a photo is not needed any more."""
        member.photos -= 1
        if not member.lost:
            member.actor.release.remote(ticket)

    async def _look(self, *, refuse: bool = False) -> None:
        """Start actors on nodes that have none, and take up those that are ready.

        refuse: raise what a node says that cannot be used, instead of a note.
        """
        async with self._looking:
            if self._members and monotonic() - self._looked < _LOOK_S:
                return
            self._looked = monotonic()
            try:
                alive = await to_thread.run_sync(self._ray.nodes)
            except (self._ray.exceptions.RayError, RuntimeError):
                return  # the cluster's head is away
            for node in sorted(alive, key=lambda node: str(node["NodeID"])):
                self._begin_on(node)
            for member in list(self._members.values()):
                await self._take_up(member, refuse=refuse)

    def _begin_on(self, node: dict[str, Any]) -> None:
        id_ = node["NodeID"]
        full = self._most is not None and len(self._members) >= self._most
        able = node["Alive"] and node["Resources"].get("CPU", 0) > 0
        dying = monotonic() - self._died.get(id_, float("-inf")) < _AGAIN_S
        if full or not able or dying or id_ in self._members or self._deaths[id_] >= _DEATHS:
            return
        there = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        actor = (
            self._ray.remote(Node)
            .options(
                num_cpus=0,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=_MOST_CALLS,
                scheduling_strategy=there(id_, soft=False),
            )
            .remote()
        )
        # The key in a call of a method, not in what makes the actor: the cluster keeps that.
        opening = actor.open.remote(VERSION, self._work, self._probe)
        name = node["NodeManagerAddress"]
        self._members[id_] = Member(id_, name, actor, opening, monotonic())

    async def _take_up(self, member: Member, *, refuse: bool) -> None:
        """See whether an actor has become ready."""
        if member.opening is None:
            return
        done, _ = await to_thread.run_sync(lambda: self._ray.wait([member.opening], timeout=0))
        if not done and monotonic() - member.began < _START_S:
            return
        try:
            answer = await member.opening if done else f"not ready after {_START_S:.0f} s"
        except self._ray.exceptions.RayError as error:
            answer = first_line(error)
        if answer is None:
            member.opening = None
            return
        if refuse and isinstance(answer, ReimagineError):
            raise answer
        self._deaths[member.id] = _DEATHS
        await self._lose(member, f"cannot be used ({answer})")

    async def _lose(self, member: Member, why: str) -> None:
        """Use this actor no more, whether it lives or not."""
        if member.lost:
            return
        member.lost = True
        self._members.pop(member.id, None)
        self._deaths[member.id] += 1
        self._died[member.id] = monotonic()
        self._note(f"Ray node {member.name} {why}")
        await self._kill(member)

    async def _kill(self, member: Member) -> None:
        with suppress(self._ray.exceptions.RayError, RuntimeError, ValueError):
            await to_thread.run_sync(lambda: self._ray.kill(member.actor, no_restart=True))

    def _write_probe(self) -> None:
        try:
            write_new(self._probe, b"")
        except OSError as error:
            raise no_write(self._probe, error) from None


def first_line(error: Exception) -> str:
    """What is wrong, in the first of the many lines that Ray says."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]
