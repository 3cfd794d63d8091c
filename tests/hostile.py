"""A raw TCP server that says what a test tells it to, byte by byte; nothing checks what it says.

A script is what is done with one request: bytes are sent, a number is waited in
seconds, a function talks for itself, and its end says what becomes of the connection.
"""

import asyncio
import base64
import enum
import io
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from PIL import Image

_MAX_HEAD = 64_000
_MAX_BODY = 64_000_000
_LONGEST_S = 40.0  # no connection lives longer, whatever its script says
_BLOCK = 1 << 18


class End(enum.Enum):
    """What becomes of a connection after its script."""

    KEEP = "keep"  #: the next request is read
    CLOSE = "close"
    RESET = "reset"
    HANG = "hang"


@dataclass(slots=True)
class Asked:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int
    nth: int  #: 1…, requests with the same body, this one included

    @property
    def photo(self) -> bytes:
        return base64.b64decode(json.loads(self.body)["image_file"], validate=True)

    @property
    def width(self) -> int:
        """Of the photo sent: tests tell their photos apart by it."""
        with Image.open(io.BytesIO(self.photo)) as picture:
            return picture.width

    @property
    def head(self) -> str:
        """Everything but the photo, as a server that echoes requests shows it."""
        return "\n".join([self.line, *(f"{name}: {value}" for name, value in self.headers.items())])


Send = Callable[[bytes], Awaitable[None]]
Talk = Callable[[Send], Awaitable[None]]
Script = Sequence[bytes | float | Talk | End]


@dataclass(slots=True)
class Server:
    """Listens on a free port of the loopback; records every request and what it could send."""

    choose: Callable[[Asked], Script]
    asked: list[Asked] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)  #: bytes taken from us, by connection
    port: int = 0
    faults: list[Exception] = field(default_factory=list)  #: of the scripts themselves
    _times: dict[bytes, int] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        return len(self.sent)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.sent)
        self.sent.append(0)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(TimeoutError, OSError, asyncio.IncompleteReadError):
                async with asyncio.timeout(_LONGEST_S):
                    while await self._one(reader, writer, number):
                        pass
        except asyncio.CancelledError:
            pass  # the test is over
        except Exception as error:  # noqa: BLE001 - raised again at the end
            self.faults.append(error)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        """Read a request and answer it; whether the connection is kept."""
        head = await reader.readuntil(b"\r\n\r\n")
        assert len(head) < _MAX_HEAD
        line, *rest = head.decode("latin-1").strip().split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (h.partition(":") for h in rest)
        }
        length = int(headers.get("content-length", "0"))
        assert length < _MAX_BODY
        body = await reader.readexactly(length)
        self._times[body] = self._times.get(body, 0) + 1
        if line.startswith("GET "):  # the balance, which this server does not tell
            gone = "HTTP/1.1 404 Not Found", "Content-Length: 0", "Connection: close", "", ""
            writer.write("\r\n".join(gone).encode())
            return False
        asked = Asked(line, headers, body, number, self._times[body])
        self.asked.append(asked)
        return await self._perform(self.choose(asked), writer, number)

    async def _perform(self, script: Script, writer: asyncio.StreamWriter, number: int) -> bool:
        async def send(data: bytes) -> None:
            for begin in range(0, len(data), _BLOCK):
                block = data[begin : begin + _BLOCK]
                writer.write(block)
                await writer.drain()
                self.sent[number] += len(block)

        for step in script:
            match step:
                case bytes():
                    await send(step)
                case float():
                    await asyncio.sleep(step)
                case End.KEEP:
                    return True
                case End.CLOSE:
                    writer.close()
                    await writer.wait_closed()
                    return False
                case End.RESET:
                    at_once = struct.pack("ii", 1, 0)
                    held = writer.get_extra_info("socket")
                    held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
                    return False
                case End.HANG:
                    await asyncio.sleep(_LONGEST_S)
                case _:
                    await step(send)
        return False

    async def end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def hostile(choose: Callable[[Asked], Script]) -> AsyncIterator[Server]:
    """Serve until the block is left; every connection is ended with it."""
    server = Server(choose)
    listening = await asyncio.start_server(server.connected, "127.0.0.1", 0, limit=_MAX_HEAD)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await server.end()
    if server.faults:
        raise ExceptionGroup("a script broke", server.faults)


def for_ever(block: bytes) -> Talk:
    """Send block until the other side hangs up, or the connection's time is over."""

    async def talk(send: Send) -> None:
        while True:
            await send(block)
            await asyncio.sleep(0)  # a drain that need not wait gives nobody else a turn

    return talk


def response(
    body: bytes, status: str = "200 OK", *headers: str, length: bool = True, version: str = "1.1"
) -> bytes:
    """A whole response; with its Content-Length unless told otherwise."""
    lines = [f"HTTP/{version} {status}", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def picture(number: int) -> bytes:
    """The PNG that photo number is answered with; no other number has it."""
    out = io.BytesIO()
    Image.new("RGB", (24, 18), (number % 256, number // 256, 77)).save(out, "PNG")
    return out.getvalue()


def answer(data: bytes, type_: str = "png") -> bytes:
    """The JSON body that carries a picture."""
    encoded = base64.b64encode(data).decode()
    return json.dumps({"image_file": encoded, "image_type": type_}).encode()


def good(asked: Asked) -> Script:
    """The right answer to this very photo."""
    return (response(answer(picture(asked.width))), End.KEEP)
