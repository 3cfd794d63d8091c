"""The line: walk → prepare → call → keep → manifest. The only place where the parts meet."""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

import anyio

from batch_reimagine import manifest
from batch_reimagine.bench import Bench, Held, Made, Outcome
from batch_reimagine.client import Client
from batch_reimagine.engine import Stop, Stopped
from batch_reimagine.errors import Exhausted, Halted, PhotoError, Rejected
from batch_reimagine.ledger import Ledger
from batch_reimagine.marking import mark_of
from batch_reimagine.placing import Placer
from batch_reimagine.provider import most_pictures, provider_of
from batch_reimagine.refusals import Trail
from batch_reimagine.settings import Settings
from batch_reimagine.work import (
    Event,
    Passed,
    Photo,
    Progress,
    Record,
    Status,
    utc_now,
)

_HALT_SAMPLE = 20  # variations finished before a percentage means anything
_HALT_WINDOW = 200  # the last so many are what a percentage is of

Emit = Callable[[Event], Awaitable[None]]


@dataclass(slots=True, eq=False)
class Job:
    """One content that is being worked on, and what its calls share."""

    photo: Photo
    content: bytes  #: sha256 of the file
    held: Held
    note: str | None = None
    numbers: list[int] = field(default_factory=list)  #: reserved until it is done
    left: int = 1  #: calls that hold it; the widener counts as one until it has handed out all
    failure: PhotoError | None = None  #: why further calls are, or may be, pointless
    later: list[Photo] = field(default_factory=list)  #: same content elsewhere: copied at the end


@dataclass(frozen=True, slots=True)
class Call:
    """Variations to be bought together."""

    job: Job
    numbers: tuple[int, ...]


class Line:
    """The stages of one run, and the counts that they share."""

    def __init__(
        self,
        settings: Settings,
        bench: Bench,
        ledger: Ledger,
        client: Client,
        *,
        stop: Stop,
        progress: Progress,
        emit: Emit,
        cpu: anyio.CapacityLimiter,
        require_key: Callable[[], None],
        only: bytes | None = None,
    ) -> None:
        self._only = only
        self._require_key = require_key
        self._settings = settings
        self._bench = bench
        self._ledger = ledger
        self._client = client
        self._stop = stop
        self._progress = progress
        self._emit = emit
        self._jobs: dict[bytes, Job] = {}
        self._outcomes: deque[bool] = deque(maxlen=_HALT_WINDOW)  # True: failed
        self._cost = None if settings.price is None else str(settings.price)
        provider = provider_of(settings)
        self._most_pictures = most_pictures(provider, settings)  # of one call
        self._placer = Placer(
            settings,
            ledger,
            progress,
            mark=mark_of(provider.system) if settings.mark else None,
            cpu=cpu,
            emit=emit,
            common=self._common,
            paid_before=client.paid_before,
        )

    async def widen(self, found: Photo | Passed) -> AsyncGenerator[Call, None]:
        """One photo → the calls that it still needs; prepared once for all of them."""
        if isinstance(found, Passed):
            self._progress.pass_over(found)
            return
        self._progress.photos += 1
        try:
            held = await self._bench.fetch(found)
        except PhotoError as error:
            await self._failed(found, None, self._ledger.index.free_number(found.source), error)
            return
        content = held.content
        self._ledger.known.remember(found.source, held.looks, content)
        if self._only not in {None, content}:
            await held.release()
            return
        if content in self._jobs:
            self._jobs[content].later.append(found)
            await held.release()
            return
        job = self._jobs[content] = Job(found, content, held)
        try:
            wants = await self._placer.place(found, content)
            job.numbers = wants.numbers
            if wants.base:
                job.photo = replace(job.photo, base=wants.base)
            if not wants.make:
                return
            self._require_key()  # the plan may have ended before it saw that there is work
            try:
                job.note = await held.prepare()
            except PhotoError as error:
                job.failure = error
                await self._failed(found, content, wants.make[0], error)
                return
            for at in range(0, len(wants.make), self._most_pictures):
                job.left += 1
                try:
                    yield Call(job, wants.make[at : at + self._most_pictures])
                except GeneratorExit:
                    job.left -= 1
                    raise
        finally:
            await self._leave(job)

    async def work(self, call: Call) -> None:
        """Buy its variations and keep them, or write down why not."""
        job = call.job
        trail = Trail(job.photo.source, job.content.hex(), call.numbers, job.photo.base)
        try:
            while trail.numbers:  # an answer may bring fewer than were asked for
                await self._buy(job, trail)
        except PhotoError as error:
            await self._refused(job, trail, error)
        except Stopped:
            pass
        except anyio.get_cancelled_exc_class():
            if trail.unknown:
                with anyio.CancelScope(shield=True):
                    await self._dropped(job, trail)
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self._leave(job)

    async def _buy(self, job: Job, trail: Trail) -> None:
        rows: list[Record] = []

        async def send(numbers: tuple[int, ...]) -> Outcome:
            about = self._about(job, trail)
            return await job.held.buy(job.photo.base, numbers, about)

        async def keep(made: Made) -> None:
            rows.append(await self._kept(job, trail, made))

        def wanted() -> bool:  # one refusal is about the photo: its row says it for all
            return not isinstance(job.failure, Rejected)

        try:
            await self._client.make(send, trail, keep, wanted)
        finally:
            for row in rows:
                await self._emit(row)

    async def _refused(self, job: Job, trail: Trail, error: PhotoError) -> None:
        """Write down why the variations that are still to come will not."""
        numbers = trail.numbers
        if isinstance(error, Rejected):  # one row says it for all
            numbers = () if isinstance(job.failure, Rejected) else numbers[:1]
        if not isinstance(job.failure, Rejected):
            job.failure = error
        for number in numbers:
            await self._failed(job.photo, job.content, number, error, trail)

    def _about(self, job: Job, trail: Trail) -> Record | None:
        """The row of a picture to come, for a store that keeps it with the picture."""
        if not self._ledger.tree.remote:
            return None
        common = self._common(job.photo, job.content, trail.numbers[0], trail)
        return Record(status="done", **common, message=job.note, cost=self._cost)

    async def _kept(self, job: Job, trail: Trail, made: Made) -> Record:
        """Its file is durable; now its row. Not interruptible: it was paid for."""
        with anyio.CancelScope(shield=True):
            row = manifest.done(
                made.picture,
                made.name,
                made.kept,
                **self._common(job.photo, job.content, made.variation, trail),
                message=job.note,
                cost=self._cost,
            )
            await self._ledger.append(row)
            self._progress.made += 1
            self._outcomes.append(False)
        return row

    async def _leave(self, job: Job) -> None:
        """Whoever leaves last sees to the other places of the same content."""
        job.left -= 1
        if job.left:
            return
        await job.held.release()
        del self._jobs[job.content]
        index = self._ledger.index
        index.release(job.photo.base, job.numbers)
        for photo in job.later:
            if self._stop.requested:
                return
            wants = await self._placer.place(photo, job.content)
            index.release(wants.base or photo.base, wants.numbers)
            if wants.make or wants.refused:
                error = job.failure or Exhausted("NOT_MADE", f"as for {job.photo.source}")
                self._progress.failed_before -= wants.refused  # it was this run that saw it refused
                for variation in wants.make or (index.free_number(photo.source),):
                    await self._failed(photo, job.content, variation, error)

    async def _failed(
        self,
        photo: Photo,
        content: bytes | None,
        variation: int,
        error: PhotoError,
        trail: Trail | None = None,
    ) -> None:
        status: Status = "rejected" if isinstance(error, Rejected) else "exhausted"
        row = Record(
            status=status,
            reason=error.reason,
            message=error.message,
            **self._common(photo, content, variation, trail),
        )
        progress = self._progress
        progress.rejected += status == "rejected"
        progress.exhausted += status == "exhausted"
        progress.failures[error.reason] = progress.failures.get(error.reason, 0) + 1
        self._check_halt()  # before anything is awaited: the slot is free again
        with anyio.CancelScope(shield=True):
            await self._ledger.append(row)
        await self._emit(row)

    async def _dropped(self, job: Job, trail: Trail) -> None:
        for number in trail.asked:
            row = Record(
                status="unknown",
                reason="DROPPED",
                message="sent, and dropped before the answer came: may have been paid",
                **self._common(job.photo, job.content, number, trail),
            )
            await self._ledger.append(row)
            self._progress.unknown += 1

    def _common(
        self, photo: Photo, content: bytes | None, variation: int, trail: Trail | None = None
    ) -> dict[str, Any]:
        """The columns that every row has."""
        seconds = monotonic() - trail.began if trail and trail.statuses else 0.0
        return {
            "run": self._ledger.run,
            "time": utc_now(),
            "source": photo.source,
            "source_sha256": content.hex() if content is not None else None,
            "variation": variation,
            "provider": self._settings.provider,
            "request": self._ledger.request,
            "attempts": len(trail.statuses) if trail else 0,
            "http": tuple(trail.statuses) if trail else (),
            "seconds": round(seconds, 3),
            "task_id": trail.task_id if trail else None,
        }

    def _check_halt(self) -> None:
        """Stop when the user's rule says that too much fails."""
        self._outcomes.append(True)
        if (rule := self._settings.halt_rule) is None:
            return
        when, threshold, per_cent = rule
        if per_cent:
            failed, finished = sum(self._outcomes), len(self._outcomes)
            if finished < _HALT_SAMPLE or failed * 100 < threshold * finished:
                return
        else:
            failed = self._progress.rejected + self._progress.exhausted
            finished = failed + self._progress.made
            if failed < threshold:
                return
        error = Halted(f"{failed} of {finished} failed; --halt {self._settings.halt}")
        self._stop.request(str(error), error)
        if when == "now":
            self._stop.drop(str(error))
