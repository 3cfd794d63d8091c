"""The server for machines without a C compiler: a raw asyncio protocol, same orders, same counts.

usage: plain_server.py ANSWER_FILE LATENCY_S
Says its port on stdout, obeys "stats" and "reset" on stdin, and ends when stdin does.
"""

import asyncio
import json
import re
import sys
import threading
import time
from pathlib import Path

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect: *100-continue", re.IGNORECASE)


class Counts:
    """As in server.c."""

    def __init__(self) -> None:
        self.posts = self.refused = self.answered = self.bytes = 0
        self.connections = self.most_at_once = 0
        self.first = 0.0


def head(status: str, connection: str, size: int) -> bytes:
    """All of an answer but its body."""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {size}\r\nConnection: {connection}\r\n\r\n"
    ).encode()


class Service:
    """The answer and the counts that all connections share."""

    def __init__(self, body: bytes, latency_s: float) -> None:
        self.body = body
        self.latency_s = latency_s
        self.counts = Counts()
        self.at_once = 0

    def obey(self, order: str) -> str:
        if order.startswith("reset"):
            self.counts = Counts()
            self.counts.most_at_once = self.at_once
            return "ok"
        return json.dumps({**vars(self.counts), "cpu_s": time.process_time()})


class Connection(asyncio.Protocol):
    """One client, request after request."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._head = bytearray()
        self._left = -1  # of the body; -1: still in the head
        self._close = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP
        self._transport = transport
        self._service.counts.connections += 1

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            self._head += data
            at = self._head.find(b"\r\n\r\n")
            if at < 0:
                return
            data = bytes(self._head[at + 4 :])
            if not self._begin(bytes(self._head[: at + 4])):
                return
            self._head.clear()
        self._left -= len(data)
        if self._left <= 0:  # nobody of ours pipelines
            self._left = -1
            service = self._service
            service.at_once += 1
            service.counts.most_at_once = max(service.counts.most_at_once, service.at_once)
            if service.latency_s:
                asyncio.get_running_loop().call_later(service.latency_s, self._answer)
            else:
                self._answer()

    def _begin(self, request: bytes) -> bool:
        counts = self._service.counts
        length = _LENGTH.search(request)
        if not request.startswith(b"POST ") or length is None:
            counts.refused += 1
            self._transport.write(head("404 Not Found", "close", 2) + b"{}")
            self._transport.close()
            return False
        if _EXPECT.search(request):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._close = _CLOSE.search(request) is not None
        self._left = int(length[1])
        counts.first = counts.first or time.monotonic()
        counts.posts += 1
        counts.bytes += self._left
        return True

    def _answer(self) -> None:
        service = self._service
        service.at_once -= 1
        if self._transport.is_closing():
            return
        body = service.body
        self._transport.write(head("200 OK", "close" if self._close else "keep-alive", len(body)))
        self._transport.write(body)
        service.counts.answered += 1
        if self._close:
            self._transport.close()


async def main() -> None:
    """Serve until stdin ends."""
    body = await asyncio.to_thread(Path(sys.argv[1]).read_bytes)
    service = Service(body, float(sys.argv[2]))
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    def orders() -> None:
        for line in sys.stdin:
            sys.stdout.write(service.obey(line) + "\n")
            sys.stdout.flush()
        loop.call_soon_threadsafe(over.set)

    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=orders, daemon=True).start()
    await over.wait()


if __name__ == "__main__":
    asyncio.run(main())
