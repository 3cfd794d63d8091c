"""Where the heavy part is done: photos are fetched, prepared and sent, their pictures kept.

The line decides what is done and writes the books; a bench holds the bytes. So a bench may
as well stand on another machine (see `cluster`).
"""

import hashlib
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Protocol

import anyio
from aiofiles.os import wrap
from anyio import to_thread
from msgspec import structs

from batch_reimagine import marking
from batch_reimagine.connection import session
from batch_reimagine.deadline import Deadlines
from batch_reimagine.errors import LocalResource, RunError
from batch_reimagine.exchange import Answer, Body, Exchange
from batch_reimagine.mark import Mark
from batch_reimagine.naming import output_name
from batch_reimagine.output import NameTaken, Tree
from batch_reimagine.preparers import Preparers
from batch_reimagine.proof import IncompleteError, prove
from batch_reimagine.provider import PROVIDERS
from batch_reimagine.provider.contract import Provider
from batch_reimagine.reading import Looks, Reader
from batch_reimagine.secret import Secret
from batch_reimagine.settings import Settings
from batch_reimagine.work import Kept, Photo, Picture, Record, Upload

_CORES = os.cpu_count() or 1
_MOST_NUMBERS = 100  # tried in a row, where another run may have put pictures
_FAR_A_CORE = 4  # photos that are fetched at once, when they come over a network
_QUICK_BYTES = 1_000_000  # of an upload: base64 takes less than a turn to a thread does


@dataclass(frozen=True, slots=True)
class Made:
    """A bought picture as it lies in the output."""

    name: str  #: relative, with "/"
    variation: int  #: its number: the one asked for, or the next that was free
    picture: Picture  #: without its bytes
    kept: Kept


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one call."""

    answer: Answer  #: without the picture's bytes
    made: Made | None = None
    error: RunError | None = None  #: a picture came, and could not be kept

    @property
    def paid(self) -> bool:
        """Whether a picture came."""
        return self.made is not None or self.error is not None


class Held(Protocol):
    """One photo on a bench, until it is released."""

    content: bytes  #: sha256 of the file
    looks: Looks  #: of the file while it was read

    async def prepare(self) -> str | None:
        """Make it ready for its calls; return what a reader of its rows should know.

        Raises PhotoError if it is not acceptable, or RunError.
        """
        ...

    async def buy(self, base: str, variation: int, about: Record | None) -> Outcome:
        """Post one call and keep its picture as `<base>_v<variation>`; never raises for either.

        about: its row, but for what only the picture tells; a store keeps it with the picture.
        """
        ...

    async def release(self) -> None:
        """Its bytes are not needed any more."""
        ...


class Bench(Protocol):
    """Whoever holds photos."""

    url: str  #: where calls are posted to
    width: int  #: photos that may be under way to their calls at once

    async def fetch(self, photo: Photo) -> Held:
        """Read a photo, once for whatever is done with it. Raises PhotoError or RunError."""
        ...


class LocalBench:
    """The bench of this process."""

    def __init__(
        self,
        settings: Settings,
        provider: Provider,
        *,
        exchange: Exchange,
        preparers: Preparers,
        tree: Tree,
        reader: Reader,
        width: int,
        writers: Executor | None = None,
    ) -> None:
        """writers: threads that write pictures, if more must wait at once than the loop's own."""
        self.url = exchange.url
        self.width = width
        self.settings = settings
        self.provider = provider
        self.exchange = exchange
        self.preparers = preparers
        self._tree = tree
        self._reader = reader
        self._readers = anyio.CapacityLimiter(width)
        self._writers = writers
        self._mark: Mark | None = marking.mark_of(provider.system) if settings.mark else None
        self._keep_off_loop = wrap(self._keep)  # a durable write is one hop to a thread

    async def fetch(self, photo: Photo) -> "LocalHeld":
        raw, looks, content = await to_thread.run_sync(self._read, photo, limiter=self._readers)
        return LocalHeld(self, raw, looks, content)

    def _read(self, photo: Photo) -> tuple[bytes, Looks, bytes]:
        raw, looks = self._reader.read(photo.path)
        return raw, looks, hashlib.sha256(raw).digest()

    async def keep(self, data: bytes, base: str, variation: int, about: Record | None) -> Made:
        """Prove a picture and write it, durably. Not interruptible: it was paid for.

        Raises IncompleteError or RunError.
        """
        with anyio.CancelScope(shield=True):
            made: Made = await self._keep_off_loop(
                data, base, variation, about, executor=self._writers
            )
        return made

    def _keep(self, data: bytes, base: str, variation: int, about: Record | None) -> Made:
        picture = prove(data)
        lean = replace(picture, data=b"")
        # In a folder nobody else is to write, and a dead run's picture is known by its number.
        numbers = _MOST_NUMBERS if self._tree.remote else 1
        for number in range(variation, variation + numbers):
            name = output_name(base, number, picture.type)
            with suppress(NameTaken):  # by a run that this one should not have met
                row = about and structs.replace(
                    about,
                    variation=number,
                    output=name,
                    type=picture.type,
                    width=picture.width,
                    height=picture.height,
                )
                return Made(
                    name, number, lean, marking.keep(self._tree, name, data, self._mark, row)
                )
        raise LocalResource(
            f"cannot write {name}: a file of that name appeared meanwhile; another program writes"
            " there: end it, and the same command goes on"
        )


class Benches(Protocol):
    """Opens the bench of a run."""

    def __call__(
        self,
        settings: Settings,
        key: Secret,
        tree: Tree,
        base_url: str,
        *,
        note: Callable[[str], None],
        warm: bool,
        far: bool = False,
    ) -> AbstractAsyncContextManager[Bench]:
        """base_url: of the service. note: tells people. warm: there is work, so make ready.

        far: photos come over a network, so that fetching one is mostly waiting.
        """
        ...


@asynccontextmanager
async def local_bench(
    settings: Settings,
    key: Secret,
    tree: Tree,
    base_url: str,
    *,
    note: Callable[[str], None],
    warm: bool,
    far: bool = False,
) -> AsyncIterator[LocalBench]:
    """The bench of this process, with its decoders and its connections."""
    del note
    provider = PROVIDERS[settings.provider]
    max_pixels = int(settings.max_megapixels * 1_000_000)
    with Deadlines() as deadlines:
        async with (
            _writers(settings.concurrency if tree.remote else 0) as writers,
            Preparers(_CORES, max_pixels, deadlines) as preparers,
            session(settings.timeout_s) as http,
        ):
            if warm:
                await preparers.warm()
            exchange = Exchange(
                http,
                provider,
                key or Secret("simulated"),
                base_url=base_url,
                timeout_s=settings.timeout_s,
                deadlines=deadlines,
            )
            yield LocalBench(
                settings,
                provider,
                exchange=exchange,
                preparers=preparers,
                tree=tree,
                reader=Reader(settings.store_options),
                width=_FAR_A_CORE * _CORES if far else _CORES,
                writers=writers,
            )


@asynccontextmanager
async def _writers(count: int) -> AsyncIterator[Executor | None]:
    """Threads for pictures on their way to a store: mostly waiting, and more than the loop's own.

    count: 0 gives none, for the loop's own.
    """
    if not count:
        yield None
        return
    writers = ThreadPoolExecutor(count)
    try:
        yield writers
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(writers.shutdown)


class LocalHeld:
    """A photo in this process' memory: its bytes, and once it is ready the body of its calls."""

    def __init__(self, bench: LocalBench, raw: bytes, looks: Looks, content: bytes) -> None:
        self.content = content
        self.looks = looks
        self._bench = bench
        self._raw: bytes | None = raw
        self._body: Body | None = None

    async def prepare(self) -> str | None:
        assert self._raw is not None  # noqa: S101 - prepared once
        raw, self._raw = self._raw, None
        upload = await self._bench.preparers.prepare(raw)
        del raw
        if len(upload.data) <= _QUICK_BYTES:
            self._body = self._body_of(upload)
        else:
            self._body = await to_thread.run_sync(self._body_of, upload)
        return upload.note

    def _body_of(self, upload: Upload) -> Body:
        provider = self._bench.provider
        return Body(provider.build(upload, self._bench.settings), provider.content_type)

    async def buy(self, base: str, variation: int, about: Record | None) -> Outcome:
        assert self._body is not None  # noqa: S101 - made ready before any call
        exchange = self._bench.exchange
        answer = await exchange.post(self._body)
        if (data := answer.verdict.picture) is None:
            return Outcome(answer)
        answer = replace(answer, verdict=replace(answer.verdict, picture=None))
        try:
            return Outcome(answer, await self._bench.keep(data, base, variation, about))
        except IncompleteError as error:
            return Outcome(exchange.incomplete(answer, str(error)))
        except RunError as error:
            return Outcome(answer, error=error)

    async def release(self) -> None:
        self._raw = self._body = None
