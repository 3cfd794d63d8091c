"""What a lost node costs, without Ray: real benches in this process, lost at each point."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from aiohttp import web

from batch_reimagine import batch
from batch_reimagine.bench import Task
from batch_reimagine.cluster.node import Node, Work
from batch_reimagine.cluster.nodes import LostError, Member, Nodes
from batch_reimagine.cluster.remote import RemoteBench
from batch_reimagine.errors import ReimagineError, UsageError
from batch_reimagine.output import Tree
from batch_reimagine.secret import Secret
from batch_reimagine.settings import Settings
from batch_reimagine.version import VERSION
from batch_reimagine.work import Event, Note, Progress, Record
from tests.support import KEY, Answer, good, jpeg, make_photos, pictures, rows, scripted, several

Fate = Literal["unsent", "unheard", "late"]


class InProcess(Nodes):
    """Nodes that are lost by script: fates of calls, in their order.

    unsent: lost before the call is posted. unheard: lost when its picture is written.
    late: lost at once, while the node itself lives on.
    """

    def __init__(self, work: Work, tree: Tree, fates: list[Fate]) -> None:
        super().__init__(None, None, work, tree, lambda _: None)
        self.fates = fates
        self.opened: list[Node] = []
        self.living_on: list[asyncio.Task[Any]] = []
        self.at_loss: Callable[[], object] = lambda: None
        self.lost_on: tuple[str, ...] = ("buy",)
        self.in_flight: asyncio.Barrier | None = None  #: so many calls are lost at once
        self._now: Member | None = None

    async def pick(self, until: float | None = None) -> Member:
        del until
        if self._now is None or self._now.lost:
            node = Node()
            self.opened.append(node)
            assert await node.open(VERSION, self._work, self._probe) is None
            self._now = Member(str(len(self.opened)), "node", node, None, monotonic())
        return self._now

    async def ask(self, member: Member, method: str, *args: Any) -> Any:
        work = getattr(member.actor, method)
        if method in self.lost_on and self.fates:
            fate = self.fates.pop(0)
            if self.in_flight is not None:
                await self.in_flight.wait()
            if fate == "unheard":
                await work(*args)
            elif fate == "late":
                self.living_on.append(asyncio.ensure_future(work(*args)))
            member.lost = True
            await asyncio.to_thread(self.at_loss)
            raise LostError
        answer = await work(*args)
        if isinstance(answer, ReimagineError):
            raise answer
        return answer

    def forget(self, member: Member, ticket: int) -> None:
        del member, ticket


class Ran:
    """A run over such nodes."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.records: list[Record] = []
        self.notes: list[str] = []
        self.error: Exception | None = None
        self.nodes: InProcess

    async def run(
        self,
        folder: Path,
        url: str,
        *fates: Fate,
        at_loss: Callable[[], object] = lambda: None,
        lost_on: tuple[str, ...] = ("buy",),
        together: bool = False,
        **settings: Any,
    ) -> "Ran":
        @asynccontextmanager
        async def opened(
            task: Task, tree: Tree, *, note: Callable[[str], None], warm: bool
        ) -> AsyncIterator[RemoteBench]:
            del note, warm
            nodes = self.nodes = InProcess(Work(task, tree.place, ""), tree, list(fates))
            nodes.at_loss, nodes.lost_on = at_loss, lost_on
            nodes.in_flight = asyncio.Barrier(len(fates)) if together else None
            nodes._probe.touch()
            bench = RemoteBench(nodes, task, tree)

            async def enter() -> None:
                pass

            bench.enter = enter
            try:
                yield bench
            finally:
                await asyncio.gather(*nodes.living_on)
                for node in nodes.opened:
                    await node.close()

        async def emit(event: Event) -> None:
            if isinstance(event, Record):
                self.records.append(event)
            elif isinstance(event, Note):
                self.notes.append(event.text)

        try:
            await batch.run(
                [folder / "in"],
                folder / "out",
                Settings(base_url=url, **settings),
                key=KEY,
                emit=emit,
                progress=self.progress,
                benches=opened,
            )
        except Exception as error:  # noqa: BLE001 - the tests look at it
            self.error = error
        return self


def after(seconds: float) -> Answer:
    """A good answer, so much later."""

    async def answer(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        status, body = good()
        return web.json_response(body, status=status)

    return answer


async def test_a_call_whose_node_was_lost_is_made_on_another(tmp_path: Path) -> None:
    make_photos(tmp_path / "in", 1)
    async with scripted() as server:
        ran = await Ran().run(tmp_path, server.url, "unsent", "unsent")

    assert ran.error is None
    assert [row["http"] for row in rows(tmp_path / "out")] == [[None, None, 200]]
    assert len(server.seen) == 1
    assert len(ran.nodes.opened) == 3


async def test_a_picture_whose_news_was_lost_is_taken_and_not_bought_again(tmp_path: Path) -> None:
    make_photos(tmp_path / "in", 1)
    async with scripted() as server:
        ran = await Ran().run(tmp_path, server.url, "unheard", price="1")

    assert ran.error is None
    assert len(server.seen) == ran.progress.calls == 1
    assert (ran.progress.spent, ran.progress.at_risk) == ("1", "0")
    (row,) = rows(tmp_path / "out")
    assert (row["status"], row["mark"], row["attempts"]) == ("done", "xmp", 1)


async def test_of_a_lost_call_for_several_pictures_those_that_came_are_taken(
    tmp_path: Path,
) -> None:
    make_photos(tmp_path / "in", 1)
    how: dict[str, Any] = {"provider": "variations", "variations": 3, "price": "1"}
    async with scripted(several(2), several(1)) as server:
        ran = await Ran().run(tmp_path, server.url, "unheard", **how)

    assert ran.error is None
    assert len(server.seen) == ran.progress.calls == 2
    assert (ran.progress.made, ran.progress.spent, ran.progress.at_risk) == (3, "3", "1")
    assert [row["attempts"] for row in rows(tmp_path / "out")] == [1, 1, 2]


async def test_a_picture_that_lands_late_is_taken_and_not_bought_again(tmp_path: Path) -> None:
    make_photos(tmp_path / "in", 1)
    async with scripted(after(0.1)) as server:
        ran = await Ran().run(tmp_path, server.url, "late")

    assert ran.error is None
    assert len(server.seen) == ran.progress.calls == 1
    assert ran.records[0].status == "done"


async def test_a_picture_that_lands_while_its_repetition_is_in_flight_stays(tmp_path: Path) -> None:
    make_photos(tmp_path / "in", 1)
    async with scripted(after(1.8), after(2.5)) as server:
        ran = await Ran().run(tmp_path, server.url, "late")

    assert ran.error is None
    assert len(server.seen) == 2
    assert [row["output"] for row in rows(tmp_path / "out")] == pictures(tmp_path / "out")


async def test_a_lost_node_uses_up_no_attempt_and_is_no_outage(tmp_path: Path) -> None:
    make_photos(tmp_path / "in", 30)
    began = monotonic()
    async with scripted() as server:
        fates: list[Fate] = ["unsent"] * 30
        ran = await Ran().run(
            tmp_path, server.url, *fates, together=True, attempts=1, ramp="off", price="1"
        )

    assert ran.error is None
    assert (ran.progress.made, len(server.seen)) == (30, 30)
    assert (ran.progress.spent, ran.progress.at_risk) == ("30", "30")
    assert not ran.notes
    assert monotonic() - began < 10  # the quota for retries would let 20 of them wait for 20 s


async def test_a_photo_that_changed_meanwhile_is_sent_no_more_and_costs_nothing(
    tmp_path: Path,
) -> None:
    (photo,) = make_photos(tmp_path / "in", 1)
    async with scripted() as server:
        ran = await Ran().run(
            tmp_path,
            server.url,
            "unsent",
            at_loss=lambda: photo.write_bytes(jpeg(99)),
            price="1",
        )

    assert ran.error is None
    assert [(row.status, row.reason) for row in ran.records] == [("exhausted", "CHANGING")]
    assert not server.seen
    assert (ran.progress.spent, ran.progress.at_risk) == ("0", "1")  # the first, on the lost node


async def test_a_photo_that_takes_five_nodes_with_it_is_given_up(tmp_path: Path) -> None:
    make_photos(tmp_path / "in", 1)
    async with scripted() as server:
        fates: list[Fate] = ["unsent"] * 99
        ran = await Ran().run(tmp_path, server.url, *fates, lost_on=("fetch", "prepare"))

    assert ran.error is None
    assert [(row.status, row.reason) for row in ran.records] == [("exhausted", "NODE_LOST")]
    assert len(ran.nodes.opened) == 5


async def test_a_node_refuses_another_version_and_an_output_that_it_does_not_see(
    tmp_path: Path,
) -> None:
    work = Work(Task(Settings(), Secret(KEY), "http://127.0.0.1:1"), tmp_path, "")

    other = await Node().open("0.0.1", work, tmp_path)
    unseen = await Node().open(VERSION, work, tmp_path / "nothing")

    assert isinstance(other, UsageError)
    assert "0.0.1" in str(other)
    assert isinstance(unseen, UsageError)
    assert str(tmp_path) in str(unseen)
