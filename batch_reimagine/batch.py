"""One run from end to end: open the output, plan, make what is missing, say how it ended."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import anyio
from anyio import to_thread

from batch_reimagine import engine
from batch_reimagine.budget import Budget
from batch_reimagine.client import Client
from batch_reimagine.connection import service, session
from batch_reimagine.deadline import Deadlines
from batch_reimagine.engine import Stop
from batch_reimagine.errors import AccountRefused, LimitReached, LocalResource, UsageError
from batch_reimagine.exchange import Exchange
from batch_reimagine.gate import Gate
from batch_reimagine.inputs import Filters
from batch_reimagine.last_run import remember
from batch_reimagine.ledger import Ledger, open_ledger, read_ledger
from batch_reimagine.output import Tree
from batch_reimagine.pipeline import Emit, Line
from batch_reimagine.preparers import Preparers
from batch_reimagine.provider import PROVIDERS
from batch_reimagine.secret import Secret
from batch_reimagine.settings import Settings
from batch_reimagine.survey import Survey, count_photos
from batch_reimagine.tally import verify_tree
from batch_reimagine.walk import UNREADABLE_FOLDER, Found, Skip, Walk
from batch_reimagine.work import Note, Photo, Plan, Progress, Summary

PLAN_WITHIN_S = 0.4  # how long the first call may wait for the plan
_NOTES_AHEAD = 100
_CORES = os.cpu_count() or 1


def plan(inputs: Sequence[Path], output: Path, settings: Settings) -> Plan:
    """Count what a run would do, touching nothing. Blocks.

    Raises UsageError and OutputMismatch as `run` would.
    """
    ledger = read_ledger(output, settings)
    planned = Survey(_walk(inputs, output, settings, ledger), ledger, settings).plan(None)
    if not planned.photos:
        _refuse_empty(inputs, planned.skipped)
    return planned


async def run(
    inputs: Sequence[Path],
    output: Path,
    settings: Settings,
    *,
    key: str,
    emit: Emit,
    stop: Stop | None = None,
    progress: Progress | None = None,
    force: bool = False,
    repair: bool = False,
    only: bytes | None = None,
) -> Summary:
    """Make every variation that is missing, and return how it ended.

    key: for the request header; may be empty when there is nothing to call.
    emit: told of the plan, notes, records and the summary, in that order.
    stop: ask it to end the run early; progress: watch it.
    force: take over a non-empty folder without a manifest.
    repair: hash every output first, set torn ones aside and make them again.
    only: make variations of the photo with this sha256 alone, beside what the last run was asked
    for, which stays noted; a photo that has become another meanwhile is passed over.
    Raises UsageError before anything is sent, and RunError when the operator
    must act; by then every answer that came is kept and the summary was emitted.
    """
    began = anyio.current_time()
    stop = stop or Stop()
    secret = Secret(key)
    await to_thread.run_sync(_check, inputs, output, settings, secret)
    ledger = await to_thread.run_sync(lambda: open_ledger(output, settings, force=force))
    session = _Run(
        settings=settings,
        ledger=ledger,
        secret=secret,
        emit=emit,
        stop=stop,
        progress=progress or Progress(),
        only=only,
    )
    try:
        if repair:
            await session.repair()
        await session.go(lambda: _walk(inputs, output, settings, ledger), inputs)
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(ledger.close)
    seconds = anyio.current_time() - began
    summary = Summary(ledger.run, session.progress, seconds, stop.reason)
    await emit(summary)
    if stop.error is not None:
        raise stop.error
    return summary


def _check(inputs: Sequence[Path], output: Path, settings: Settings, secret: Secret) -> None:
    """Refuse what cannot be done before the output is made or touched. Blocks."""
    walk = _walk(inputs, output, settings, None)
    if Tree(output).is_ours():
        return
    if not any(isinstance(found, Photo) for batch in walk for found in batch):
        _refuse_empty(inputs, Counter(found.reason for batch in walk for found in _skips(batch)))
    _require_key(settings, secret)


def _skips(batch: Sequence[Found]) -> list[Skip]:
    return [found for found in batch if isinstance(found, Skip)]


def _require_key(settings: Settings, secret: Secret) -> None:
    if not secret and settings.provider != "simulator":
        variable = PROVIDERS[settings.provider].key_variable
        raise AccountRefused(
            f"there is no key: put it into the environment variable {variable}"
            " (--provider simulator tries things out without one)"
        )


def _refuse_empty(inputs: Sequence[Path], skipped: Mapping[str, int]) -> None:
    """Raise for inputs without a single photo: LocalResource if some could not be looked at."""
    seen = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
    where = ", ".join(str(path) for path in inputs)
    why = f"no photos in {where}: " + (f"passed over {seen}" if seen else "nothing is there")
    if any(reason.startswith(UNREADABLE_FOLDER) for reason in skipped):
        raise LocalResource(f"{why}. Give permission to read it")
    raise UsageError(why)


def _walk(inputs: Sequence[Path], output: Path, settings: Settings, ledger: Ledger | None) -> Walk:
    filters = Filters.of(settings.include, settings.exclude)
    if ledger is None:
        return Walk(inputs, output, filters, limit=settings.limit)
    return Walk(
        inputs,
        output,
        filters,
        limit=settings.limit,
        here=ledger.known.here,
        known_base=ledger.index.base_of,
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """What the parts of one run share."""

    settings: Settings
    ledger: Ledger
    secret: Secret
    emit: Emit
    stop: Stop
    progress: Progress
    only: bytes | None

    async def go(self, walk: Callable[[], Walk], inputs: Sequence[Path]) -> None:
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
                _refuse_empty(inputs, planned.skipped)
            self.progress.photos_total = planned.photos
        wanted = planned.photos * planned.variations if planned.complete else None
        await to_thread.run_sync(self.ledger.tell, wanted)
        if self.only is None:
            await to_thread.run_sync(remember, self.ledger.tree, inputs, self.settings)
        if planned.to_make:
            self._require_key()
        settings = self.settings
        max_pixels = int(settings.max_megapixels * 1_000_000)
        with Deadlines() as deadlines:
            async with (
                Preparers(_CORES, max_pixels, deadlines) as preparers,
                service(settings) as base_url,
                session(settings.timeout_s) as http,
            ):
                if planned.to_make:
                    await preparers.warm()
                await self._line(
                    walk,
                    survey,
                    planned,
                    preparers=preparers,
                    deadlines=deadlines,
                    http=http,
                    base_url=base_url,
                )

    async def repair(self) -> None:
        """Set torn outputs aside, so that they count as missing; tell of changed ones."""
        tree = self.ledger.tree
        found = await to_thread.run_sync(verify_tree, tree)
        for name in found.torn:
            await to_thread.run_sync(tree.set_aside, name)
        if found.torn:
            await self.emit(Note(f"{len(found.torn)} torn outputs are set aside and made again"))
        if found.changed:
            text = f"{len(found.changed)} outputs were changed since, but are whole; left alone"
            await self.emit(Note(text))

    def _require_key(self) -> None:
        _require_key(self.settings, self.secret)

    async def _line(
        self,
        walk: Callable[[], Walk],
        survey: Survey,
        planned: Plan,
        *,
        preparers: Preparers,
        deadlines: Deadlines,
        http: aiohttp.ClientSession,
        base_url: str,
    ) -> None:
        settings, balance = self.settings, self.ledger.balance
        provider = PROVIDERS[settings.provider]
        cpu = anyio.CapacityLimiter(_CORES)
        notes_in, notes_out = anyio.create_memory_object_stream[Note](_NOTES_AHEAD)

        def note(text: str) -> None:
            with suppress(anyio.WouldBlock):  # a flood tells nothing that its start did not
                notes_in.send_nowait(Note(text))

        async def pass_notes_on() -> None:
            async for text in notes_out:
                await self.emit(text)

        async def count_on() -> None:
            if planned.complete:
                return
            await survey.has_work.wait()  # without any the run itself is at its end sooner
            # Its thread sees at the next file that nobody waits for the total any more.
            ended = anyio.Event()
            try:
                self.progress.photos_total = await to_thread.run_sync(
                    lambda: count_photos(walk(), lambda: not ended.is_set()),
                    abandon_on_cancel=True,
                )
            finally:
                ended.set()

        assert self.ledger.journal is not None  # noqa: S101 - opened for writing
        exchange = Exchange(
            http,
            provider,
            self.secret or Secret("simulated"),
            base_url=base_url,
            timeout_s=settings.timeout_s,
            deadlines=deadlines,
        )
        client = Client(
            exchange,
            settings,
            gate=Gate(
                settings.concurrency,
                settings.rpm,
                ramp=settings.ramp == "on",
                stop=self.stop,
                progress=self.progress,
                note=note,
            ),
            budget=Budget(
                settings.price,
                settings.budget,
                max_calls=settings.max_calls,
                # Calls from before a price was set count at today's.
                spent=balance.spent + balance.unpriced * (settings.price or 0),
                at_risk=balance.at_risk,
            ),
            journal=self.ledger.journal,
            stop=self.stop,
            progress=self.progress,
            note=note,
            refused_by_disk=lambda: self.ledger.refused,
        )
        line = Line(
            settings,
            provider,
            self.ledger,
            client,
            preparers,
            stop=self.stop,
            progress=self.progress,
            emit=self.emit,
            cpu=cpu,
            require_key=self._require_key,
            only=self.only,
        )
        with notes_in, notes_out:
            await engine.run(
                survey.found(),
                line.widen,
                line.work,
                wideners=_CORES,
                # Calls that wait to retry hold no slot, so there are more workers than slots.
                workers=settings.concurrency + settings.concurrency // 2 + 2,
                stop=self.stop,
                beside=[pass_notes_on, count_on, self._keep_time],
            )
            with anyio.CancelScope(shield=True):
                await self.ledger.journal.flush()
            notes_in.close()
            await pass_notes_on()

    async def _keep_time(self) -> None:
        """End the run when --max-duration is over."""
        if self.settings.max_duration_s is not None:
            await anyio.sleep(self.settings.max_duration_s)
            error = LimitReached(f"--max-duration {self.settings.max_duration} is over")
            self.stop.request(str(error), error)
