"""The bench of this process: its threads, its decoders, its connections."""

import hashlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import anyio
from aiofiles.os import wrap
from anyio import to_thread
from msgspec import structs

from batch_reimagine import marking
from batch_reimagine.bench import Made, Outcome, Task
from batch_reimagine.connection import session
from batch_reimagine.cores import CORES
from batch_reimagine.deadline import Deadlines
from batch_reimagine.errors import LocalResource, RunError
from batch_reimagine.exchange import Body, Exchange
from batch_reimagine.mark import Mark
from batch_reimagine.naming import output_name
from batch_reimagine.output import NameTaken, Tree
from batch_reimagine.preparers import Preparers
from batch_reimagine.proof import IncompleteError, prove
from batch_reimagine.provider import SIMULATOR, ask_of, most_pictures, provider_of
from batch_reimagine.provider.contract import Provider
from batch_reimagine.reading import Looks, Reader
from batch_reimagine.secret import Secret
from batch_reimagine.settings import Settings
from batch_reimagine.work import Photo, Record, Upload

_MOST_NUMBERS = 100  # tried in a row, where another run may have put pictures
_FAR_A_CORE = 4  # photos that are fetched at once, when they come over a network
_QUICK_BYTES = 1_000_000  # of an upload: base64 takes less than a turn to a thread does


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
        self.most_pictures = most_pictures(provider, settings)
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


@asynccontextmanager
async def local_bench(
    task: Task, tree: Tree, *, note: Callable[[str], None], warm: bool
) -> AsyncIterator[LocalBench]:
    """The bench of this process, with its decoders and its connections."""
    del note
    settings = task.settings
    provider = provider_of(settings)
    max_pixels = int(settings.max_megapixels * 1_000_000)
    with Deadlines() as deadlines:
        async with (
            _writers(settings.concurrency if tree.remote else 0) as writers,
            Preparers(CORES, max_pixels, deadlines) as preparers,
            session(settings.timeout_s) as http,
        ):
            if warm:
                await preparers.warm()
            exchange = Exchange(
                http,
                provider,
                task.key or Secret("simulated" if provider is SIMULATOR else ""),
                base_url=task.base_url,
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
                width=_FAR_A_CORE * CORES if task.far else CORES,
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
        self._upload: Upload | None = None
        self._bodies: dict[int, Body] = {}  # by how many pictures they ask for

    async def prepare(self) -> str | None:
        assert self._raw is not None  # noqa: S101 - prepared once
        raw, self._raw = self._raw, None
        upload = await self._bench.preparers.prepare(raw)
        del raw
        self._upload = upload
        if len(upload.data) <= _QUICK_BYTES:
            self._body_for(self._bench.most_pictures)
        else:
            await to_thread.run_sync(self._body_for, self._bench.most_pictures)
        return upload.note

    def _body_for(self, count: int) -> Body:
        """What asks for so many pictures: of all calls for as many the same."""
        assert self._upload is not None  # noqa: S101 - made ready before any call
        if count not in self._bodies:
            ask = ask_of(self._upload, self._bench.settings, count)
            request = self._bench.provider.build(ask)
            self._bodies[count] = Body(request.parts, request.content_type)
        return self._bodies[count]

    async def buy(self, base: str, numbers: tuple[int, ...], about: Record | None) -> Outcome:
        exchange = self._bench.exchange
        answer = await exchange.post(self._body_for(len(numbers)), len(numbers))
        came = answer.verdict.pictures
        answer = replace(answer, verdict=replace(answer.verdict, pictures=()))
        made: list[Made | None] = []
        # More than were asked for have no number; they were not ordered.
        for at, (number, data) in enumerate(zip(numbers, came, strict=False)):
            try:
                made.append(await self._bench.keep(data, base, number, about))
            except IncompleteError as error:
                made.append(None)
                incomplete = str(error)
            except RunError as error:
                return Outcome(answer, tuple(made), error, min(len(numbers), len(came)) - at)
        if came and not any(made):
            answer = exchange.incomplete(answer, incomplete)
        return Outcome(answer, tuple(made))

    async def release(self) -> None:
        self._raw = self._upload = None
        self._bodies.clear()
