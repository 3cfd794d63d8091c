"""One run from end to end: open the output, plan, make what is missing, say how it ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio
from anyio import to_thread

from batch_reimagine import engine, logs
from batch_reimagine.address import Address
from batch_reimagine.bench import Bench, Benches, Task
from batch_reimagine.budget import Budget
from batch_reimagine.client import Client
from batch_reimagine.companions import Notes, count, keep_time, keep_up
from batch_reimagine.connection import service
from batch_reimagine.cores import CORES
from batch_reimagine.engine import Stop
from batch_reimagine.errors import (
    ReimagineError,
    ServiceGone,
)
from batch_reimagine.gate import Gate
from batch_reimagine.holding import Holding
from batch_reimagine.last_run import remember
from batch_reimagine.ledger import Ledger, open_ledger, read_ledger
from batch_reimagine.local_bench import local_bench
from batch_reimagine.observing import Began, Everyone, Stopping, Watch
from batch_reimagine.outset import check, refuse_empty, require_key, require_room, walk_of
from batch_reimagine.pipeline import Emit, Line
from batch_reimagine.places import Place
from batch_reimagine.provider import provider_of
from batch_reimagine.refusals import Refusals
from batch_reimagine.secret import Secret
from batch_reimagine.settings import Settings
from batch_reimagine.survey import Survey
from batch_reimagine.tally import verify_tree
from batch_reimagine.walk import Walk
from batch_reimagine.work import Event, Note, Plan, Progress, Summary

PLAN_WITHIN_S = 0.4  # how long the first call may wait for the plan


def plan(
    inputs: Sequence[Place], output: Place, settings: Settings, *, only: bytes | None = None
) -> Plan:
    """Count what a run would do; nothing of the output is touched. Blocks.

    only: the sha256 of the one photo that is among the inputs, if it is known already.
    Raises UsageError and OutputMismatch as `run` would.
    """
    provider_of(settings)
    ledger = read_ledger(output, settings)
    planned = Survey(walk_of(inputs, output, settings, ledger), ledger, settings, only).plan(None)
    if not planned.photos:
        refuse_empty(inputs, planned.skipped)
    return planned


async def run(
    inputs: Sequence[Place],
    output: Place,
    settings: Settings,
    *,
    key: str,
    emit: Emit,
    stop: Stop | None = None,
    progress: Progress | None = None,
    force: bool = False,
    repair: bool = False,
    only: bytes | None = None,
    benches: Benches | None = None,
    watches: Sequence[Watch] = (),
) -> Summary:
    """Make every variation that is missing, and return how it ended.

    key: for the request header; may be empty when there is nothing to call.
    emit: told of the plan, notes, records and the summary, in that order.
    stop: ask it to end the run early; progress: watch it.
    force: take over a non-empty folder without a manifest.
    repair: hash every output first, set torn ones aside and make them again.
    only: make variations of the photo with this sha256 alone, beside what the last run was asked
    for, which stays noted; a photo that has become another meanwhile is passed over.
    benches: where photos are held and calls are posted from; None: as settings.engine has it.
    watches: told of every moment of the run, beside the loggers `batch_reimagine.…`.
    Raises UsageError before anything is sent, and RunError when the operator
    must act; by then every answer that came is kept and the summary was emitted.
    """
    began = anyio.current_time()
    stop = stop or Stop()
    secret = Secret(key)
    await to_thread.run_sync(check, inputs, output, settings, secret)
    ledger = await to_thread.run_sync(lambda: open_ledger(output, settings, force=force))
    watch = Everyone(logs.told, *watches)

    async def emit_watched(event: Event) -> None:
        watch(event)
        await emit(event)

    session = _Run(
        settings=settings,
        ledger=ledger,
        secret=secret,
        emit=emit_watched,
        watch=watch,
        stop=stop,
        progress=progress or Progress(),
        only=only,
        benches=benches or _benches_of(settings),
        holding=Holding(ledger.tree, stop, settings.timeout_s),
        far=any(isinstance(place, Address) for place in inputs),
    )
    watch(Began(ledger.run, settings, session.progress))
    stop.told = lambda reason, error: watch(Stopping(reason, error))
    try:
        if repair:
            await session.repair()
        await session.go(lambda: walk_of(inputs, output, settings, ledger), inputs)
    finally:
        with anyio.CancelScope(shield=True):
            await session.close()
    seconds = anyio.current_time() - began
    summary = Summary(ledger.run, session.progress, seconds, stop.reason)
    await emit_watched(summary)
    # Nobody waited for the store's answers once all was dropped: that is the drop's doing.
    ours = stop.dropped and isinstance(stop.error, ServiceGone) and stop.reason != str(stop.error)
    if stop.error is not None and not ours:
        raise stop.error
    return summary


def _benches_of(settings: Settings) -> Benches:
    """Where the heavy part of a run is done. Raises UsageError."""
    if settings.engine == "local":
        return local_bench
    from batch_reimagine import cluster  # noqa: PLC0415 - an extra

    return cluster.benches(settings.address, settings.nodes)


@dataclass(frozen=True, slots=True)
class _Run:
    """What the parts of one run share."""

    settings: Settings
    ledger: Ledger
    secret: Secret
    emit: Emit
    watch: Watch
    stop: Stop
    progress: Progress
    only: bytes | None
    benches: Benches
    holding: Holding
    far: bool

    async def go(self, walk: Callable[[], Walk], inputs: Sequence[Place]) -> None:
        """Plan, say so, and run the line over what the walk finds."""
        survey = Survey(await to_thread.run_sync(walk), self.ledger, self.settings)
        planned = await to_thread.run_sync(
            survey.plan, PLAN_WITHIN_S, lambda: not self.stop.requested
        )
        await self.emit(planned)
        for text in self.ledger.recovery():
            await self.emit(Note(text))
        if planned.complete:
            if not planned.photos:
                refuse_empty(inputs, planned.skipped)
            self.progress.photos_total = planned.photos
        wanted = planned.photos * planned.variations if planned.complete else None
        await to_thread.run_sync(self.ledger.tell, wanted)
        if self.only is None:
            await to_thread.run_sync(remember, self.ledger.tree, inputs, self.settings)
        if planned.to_make:
            self._require_key()
            await to_thread.run_sync(require_room, self.ledger.tree, self.settings)
        async with service(self.settings) as base_url:
            await self._run_line(walk, survey, planned, base_url)

    async def repair(self) -> None:
        """Set torn outputs aside, so that they count as missing; tell of changed ones."""
        tree = self.ledger.tree
        found = await to_thread.run_sync(verify_tree, tree)
        for name in found.torn:
            if self.holding.refuses():
                return
            await to_thread.run_sync(tree.set_aside, name)
        if found.torn:
            await self.emit(Note(f"{len(found.torn)} torn outputs are set aside and made again"))
        if found.changed:
            text = f"{len(found.changed)} outputs were changed since, but are whole; left alone"
            await self.emit(Note(text))

    async def close(self) -> None:
        """Close the books, and bring what is new in them to the store."""
        self.holding.close()
        try:
            await to_thread.run_sync(self.ledger.sync)
        except ReimagineError as error:
            self.stop.request("the store cannot be reached", error)
            await self.emit(
                Note("rows wait here for the store; the same command brings them there")
            )
        finally:
            await to_thread.run_sync(self.ledger.close)

    def _require_key(self) -> None:
        require_key(self.settings, self.secret)

    async def _run_line(
        self,
        walk: Callable[[], Walk],
        survey: Survey,
        planned: Plan,
        base_url: str,
    ) -> None:
        settings = self.settings
        notes = Notes(self.emit)

        async def count_on() -> None:
            if not planned.complete:
                await survey.has_work.wait()  # without any the run itself is at its end sooner
                await count(walk, self.progress)

        with notes:
            task = Task(settings, self.secret, base_url, self.far)
            async with self.benches(
                task, self.ledger.tree, note=notes.note, warm=bool(planned.to_make)
            ) as bench:
                line = self._line_at(bench, notes.note)
                await engine.run(
                    survey.found(),
                    line.widen,
                    line.work,
                    wideners=bench.width,
                    # Calls that wait to retry hold no slot, so there are more workers than slots.
                    workers=settings.concurrency + settings.concurrency // 2 + 2,
                    stop=self.stop,
                    beside=[
                        *(notes.pass_on, count_on, self.holding.watch),
                        lambda: keep_time(settings, self.stop),
                        lambda: keep_up(self.ledger, self.emit),
                    ],
                )
            with anyio.CancelScope(shield=True):
                assert self.ledger.journal is not None  # noqa: S101 - opened for writing
                await self.ledger.journal.flush()
            await notes.pass_rest()

    def _line_at(self, bench: Bench, note: Callable[[str], None]) -> Line:
        """The line over one bench, with the pace, the money and the books of this run."""
        settings, balance = self.settings, self.ledger.money.balance
        share = settings.share  # of rpm and of money: all of it, or a shard's
        assert self.ledger.journal is not None  # noqa: S101 - opened for writing
        gate = Gate(
            settings.concurrency,
            self._rpm(note),
            ramp=settings.ramp == "on",
            stop=self.stop,
            progress=self.progress,
            note=note,
            hold=self.holding.wait,
        )
        client = Client(
            settings,
            gate=gate,
            budget=Budget(
                settings.price,
                share.budget,
                max_calls=share.max_calls,
                # Calls from before a price was set count at today's.
                spent=balance.spent + balance.unpriced * (settings.price or 0),
                at_risk=balance.at_risk,
            ),
            journal=self.ledger.journal,
            stop=self.stop,
            progress=self.progress,
            refusals=Refusals(
                bench.url,
                settings,
                gate=gate,
                stop=self.stop,
                progress=self.progress,
                note=note,
            ),
            refused_by_disk=lambda: self.ledger.refused or self.holding.refuses(),
            watch=self.watch,
        )
        return Line(
            settings,
            bench,
            self.ledger,
            client,
            stop=self.stop,
            progress=self.progress,
            emit=self.emit,
            cpu=anyio.CapacityLimiter(CORES),
            require_key=self._require_key,
            only=self.only,
        )

    def _rpm(self, note: Callable[[str], None]) -> float | None:
        """Calls a minute of this process: as the user has it, or as the vendor states."""
        if self.settings.rpm is not None:
            return self.settings.share.rpm
        provider, shard = provider_of(self.settings), self.settings.shard_of
        if provider.rpm is None:
            return None
        note(f"{provider.name} states {provider.rpm:g} calls a minute; --rpm sets another pace")
        return provider.rpm / (shard.n if shard else 1)
