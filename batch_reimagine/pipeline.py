"""The line: walk → prepare → call → keep → manifest. The only place where the parts meet."""

import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import anyio
from aiofiles.os import wrap
from anyio import to_thread

from batch_reimagine import manifest, marking
from batch_reimagine.client import Client, Trail
from batch_reimagine.engine import Stop, Stopped
from batch_reimagine.errors import Exhausted, Halted, PhotoError, Rejected
from batch_reimagine.exchange import Body
from batch_reimagine.ledger import Ledger
from batch_reimagine.marking import mark_of
from batch_reimagine.needs import Copy, Needs, needs
from batch_reimagine.output import output_name
from batch_reimagine.preparers import Preparers
from batch_reimagine.proof import IncompleteError, prove
from batch_reimagine.provider.contract import Provider
from batch_reimagine.reading import read_photo
from batch_reimagine.settings import Settings
from batch_reimagine.work import (
    Event,
    Kept,
    Passed,
    Photo,
    Picture,
    Progress,
    Record,
    Status,
    Upload,
    utc_now,
)

_QUICK_BYTES = 1_000_000  # of an upload: base64 takes less than a turn to a thread does
_HALT_SAMPLE = 20  # variations finished before a percentage means anything
_HALT_WINDOW = 200  # the last so many are what a percentage is of

Emit = Callable[[Event], Awaitable[None]]


@dataclass(slots=True, eq=False)
class Job:
    """One content that is being worked on, and what its calls share."""

    photo: Photo
    content: bytes  #: sha256 of the file
    body: Body | None = None
    note: str | None = None
    numbers: list[int] = field(default_factory=list)  #: reserved until it is done
    left: int = 1  #: calls that hold it; the widener counts as one until it has handed out all
    failure: PhotoError | None = None  #: why further calls are, or may be, pointless
    later: list[Photo] = field(default_factory=list)  #: same content elsewhere: copied at the end


@dataclass(frozen=True, slots=True)
class Call:
    """One variation to be bought."""

    job: Job
    variation: int


class Line:
    """The stages of one run, and the counts that they share."""

    def __init__(
        self,
        settings: Settings,
        provider: Provider,
        ledger: Ledger,
        client: Client,
        preparers: Preparers,
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
        self._provider = provider
        self._ledger = ledger
        self._client = client
        self._preparers = preparers
        self._stop = stop
        self._progress = progress
        self._emit = emit
        self._cpu = cpu
        self._jobs: dict[bytes, Job] = {}
        self._outcomes: deque[bool] = deque(maxlen=_HALT_WINDOW)  # True: failed
        self._mark = mark_of(provider.system) if settings.mark else None
        self._keep_off_loop = wrap(self._keep)  # a durable write is one hop to a thread

    async def widen(self, found: Photo | Passed) -> AsyncGenerator[Call, None]:
        """One photo → the calls that it still needs; prepared once for all of them."""
        if isinstance(found, Passed):
            self._progress.pass_over(found)
            return
        self._progress.photos += 1
        try:
            raw, content = await to_thread.run_sync(self._read, found, limiter=self._cpu)
        except PhotoError as error:
            await self._failed(found, None, self._ledger.index.free_number(found.source), error)
            return
        if self._only not in {None, content}:
            return
        if content in self._jobs:
            self._jobs[content].later.append(found)
            return
        job = self._jobs[content] = Job(found, content)
        try:
            wants = await self._placed(found, content)
            job.numbers = wants.numbers
            if not wants.make:
                return
            self._require_key()  # the plan may have ended before it saw that there is work
            try:
                upload = await self._preparers.prepare(raw)
            except PhotoError as error:
                job.failure = error
                await self._failed(found, content, wants.make[0], error)
                return
            del raw
            job.note = upload.note
            if len(upload.data) <= _QUICK_BYTES:
                job.body = self._body_of(upload)
            else:
                job.body = await to_thread.run_sync(self._body_of, upload)
            del upload
            for variation in wants.make:
                job.left += 1
                try:
                    yield Call(job, variation)
                except GeneratorExit:
                    job.left -= 1
                    raise
        finally:
            await self._leave(job)

    def _body_of(self, upload: Upload) -> Body:
        parts = self._provider.build(upload, self._settings)
        return Body(parts, self._provider.content_type)

    def _read(self, photo: Photo) -> tuple[bytes, bytes]:
        raw, looks = read_photo(photo.path)
        content = hashlib.sha256(raw).digest()
        self._ledger.known.remember(photo.source, looks, content)
        return raw, content

    async def work(self, call: Call) -> None:
        """Buy one variation and keep it, or write down why not."""
        job = call.job
        assert job.body is not None  # noqa: S101 - made before any call
        trail = Trail(job.photo.source, job.content.hex(), call.variation, job.photo.base)

        async def keep(data: bytes) -> Record:
            return await self._kept(job, trail, data)

        def wanted() -> bool:  # one refusal is about the photo: its row says it for all
            return not isinstance(job.failure, Rejected)

        try:
            await self._emit(await self._client.make(job.body, trail, keep, wanted))
        except PhotoError as error:
            first = not isinstance(job.failure, Rejected)
            if first:
                job.failure = error
            if first or not isinstance(error, Rejected):
                await self._failed(job.photo, job.content, call.variation, error, trail)
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

    async def _kept(self, job: Job, trail: Trail, data: bytes) -> Record:
        """File first, durable; then its row, durable. Not interruptible: it was paid for."""
        with anyio.CancelScope(shield=True):
            picture, name, kept = await self._keep_off_loop(data, job.photo.base, trail.variation)
            price = self._settings.price
            row = manifest.done(
                picture,
                name,
                kept,
                **self._common(job.photo, job.content, trail.variation, trail),
                message=job.note,
                cost=None if price is None else str(price),
            )
            await self._ledger.append(row)
            self._progress.made += 1
            self._outcomes.append(False)
        return row

    def _keep(self, data: bytes, base: str, variation: int) -> tuple[Picture, str, Kept]:
        """Prove a picture and write it. Blocks; raises IncompleteError or LocalResource."""
        picture = prove(data)
        name = output_name(base, variation, picture.type)
        return picture, name, marking.keep(self._ledger.tree, name, data, self._mark)

    async def _placed(self, photo: Photo, content: bytes) -> Needs:
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
        for copy in wants.copies:
            await self._copied(photo, content, copy)
        return wants

    async def _copied(self, photo: Photo, content: bytes, copy: Copy) -> None:
        try:
            picture = await to_thread.run_sync(self._picture_at, copy.output)
        except (IncompleteError, OSError):
            return  # it went away this moment; the next run sees what is missing
        with anyio.CancelScope(shield=True):
            name = output_name(photo.base, copy.variation, picture.type)
            kept = await to_thread.run_sync(self._copy, copy, name, picture.data)
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
        return prove(self._ledger.tree.path(name).read_bytes())

    async def _leave(self, job: Job) -> None:
        """Whoever leaves last sees to the other places of the same content."""
        job.left -= 1
        if job.left:
            return
        del self._jobs[job.content]
        index = self._ledger.index
        index.release(job.photo.base, job.numbers)
        for photo in job.later:
            if self._stop.requested:
                return
            wants = await self._placed(photo, job.content)
            index.release(photo.base, wants.numbers)
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
        row = Record(
            status="unknown",
            reason="DROPPED",
            message="sent, and dropped before the answer came: may have been paid",
            **self._common(job.photo, job.content, trail.variation, trail),
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
            "request": self._settings.request,
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
