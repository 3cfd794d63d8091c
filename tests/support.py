"""Real parts for the tests: small photos, a server that answers by script, and a run's events."""

import asyncio
import base64
import io
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image

from batch_reimagine import batch
from batch_reimagine.engine import Stop
from batch_reimagine.observing import Watch
from batch_reimagine.settings import Settings
from batch_reimagine.work import Note, Plan, Progress, Record, Summary

KEY = "sk_test_0123456789abcdefghijklmnop"


def jpeg(seed: int = 0, size: tuple[int, int] = (48, 36)) -> bytes:
    """A small JPEG that no other seed gives."""
    out = io.BytesIO()
    picture = Image.new("RGB", size, (seed * 37 % 256, seed * 91 % 256, seed // 7 % 256))
    picture.putpixel((seed % size[0], seed // size[0] % size[1]), (255, 255, 255))
    picture.save(out, "JPEG", quality=90, comment=f"photo {seed}")
    return out.getvalue()


def png(colour: tuple[int, int, int] = (200, 40, 40), size: tuple[int, int] = (16, 12)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def make_photos(folder: Path, count: int, *, first: int = 0) -> list[Path]:
    """Make count different photos, photo-000.jpg …"""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"photo-{number:03d}.jpg" for number in range(first, first + count)]
    for number, path in enumerate(paths, first):
        path.write_bytes(jpeg(number))
    return paths


def rows(out: Path) -> list[dict[str, Any]]:
    """The manifest, every line of which must parse."""
    text = (out / "manifest.jsonl").read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def pictures(out: Path) -> list[str]:
    """Names of the pictures in an output, sorted."""
    found = [path for path in out.rglob("*") if path.suffix in {".png", ".webp", ".jpg"}]
    return sorted(path.relative_to(out).as_posix() for path in found)


def assert_whole(out: Path) -> None:
    """Every picture in an output decodes to its end."""
    for name in pictures(out):
        with Image.open(out / name) as picture:
            picture.load()


@dataclass(slots=True)
class Ran:
    """What a run told, and how it ended."""

    progress: Progress
    plans: list[Plan] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    summary: Summary | None = None
    error: Exception | None = None

    @property
    def statuses(self) -> Counter[str]:
        return Counter(record.status for record in self.records)


async def run(
    inputs: Path | Sequence[Path],
    out: Path,
    *,
    key: str = KEY,
    stop: Stop | None = None,
    on_record: Callable[[Record], None] = lambda _: None,
    progress: Progress | None = None,
    watches: Sequence[Watch] = (),
    **settings: Any,
) -> Ran:
    """Run a batch to its end; a RunError is kept, not raised."""
    ran = Ran(progress or Progress())

    async def emit(event: object) -> None:
        match event:
            case Plan():
                ran.plans.append(event)
            case Note():
                ran.notes.append(event.text)
            case Record():
                ran.records.append(event)
                on_record(event)
            case Summary():
                ran.summary = event

    try:
        await batch.run(
            [inputs] if isinstance(inputs, Path) else inputs,
            out,
            Settings(**settings),
            key=key,
            emit=emit,
            stop=stop,
            progress=ran.progress,
            watches=watches,
        )
    except Exception as error:  # noqa: BLE001 - the tests look at it
        ran.error = error
    return ran


@dataclass(slots=True)
class Seen:
    """One request, as the server saw it."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def photo(self) -> bytes:
        return base64.b64decode(self.json["image_file"], validate=True)


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]] | tuple[int, Any]


def good(picture: bytes | None = None, type_: str = "png", **more: Any) -> tuple[int, Any]:
    """The answer of a service that did its work."""
    encoded = base64.b64encode(picture or png()).decode()
    return 200, {"image_file": encoded, "image_type": type_, **more}


def several(count: int, *, torn: int | None = None) -> tuple[int, Any]:
    """An answer with so many pictures, OpenAI-shaped; torn: which of them lacks its end."""
    made = [png() for _ in range(count)]
    if torn is not None:
        made[torn] = made[torn][:-20]
    return 200, {"data": [{"b64_json": base64.b64encode(data).decode()} for data in made]}


def error(status: int, reason: str, message: str = "no", **metadata: Any) -> tuple[int, Any]:
    body = {"code": status, "reason": reason, "message": message, "metadata": metadata}
    return status, body


@dataclass(slots=True)
class Scripted:
    """A server that gives its answers in order, and then a good one for ever."""

    answers: list[Answer]
    headers: dict[str, str]
    gets: bool = False  #: whether a GET takes its turn among the answers
    seen: list[Seen] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET" and not self.gets:
            return web.Response(status=404)  # the balance, asked beside a run: no call
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            self.seen.append(Seen(request.path, dict(request.headers), await request.read()))
            answer = self.answers.pop(0) if self.answers else good()
            if not isinstance(answer, tuple):
                return await answer(request)
            status, body = answer
            if isinstance(body, bytes):
                return web.Response(status=status, body=body, headers=self.headers)
            return web.json_response(body, status=status, headers=self.headers)
        finally:
            self.in_flight -= 1


@asynccontextmanager
async def scripted(
    *answers: Answer, headers: dict[str, str] | None = None, gets: bool = False
) -> AsyncIterator[Scripted]:
    """Serve the answers on a free port of the loopback."""
    server = Scripted(list(answers), headers or {}, gets)
    app = web.Application(client_max_size=64_000_000)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("never reached")


async def reset(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
