"""A proxy before a real server that spoils what passes, at the socket.

with Proxy(store.port, first(3, "503")) as proxy:
    store.use(monkeypatch, proxy.port)
"""

import random
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

HOST = "127.0.0.1"
_STOP_S = 10.0


@dataclass(frozen=True)
class Asked:
    """A request that reached the proxy, and what became of it: "" if it was passed on."""

    method: str
    path: str  #: with its query
    fault: str


#: What is done to the n-th request (from 0): "" nothing; "503", "500", "403" …: answered so;
#: "echo": a refusal that repeats the credentials that it was sent;
#: "slow" no answer for longer than any client of a test waits; "reset" the connection is broken
#: before an answer; "cut" in the middle of the answer's body; "lost" after the store has done it.
Plan = Callable[[int], str]


def nothing(_number: int) -> str:
    return ""


def first(count: int, fault: str) -> Plan:
    return lambda number: fault if number < count else ""


def always(fault: str) -> Plan:
    return lambda _number: fault


def share(part: float, fault: str, seed: int = 1) -> Plan:
    chance = random.Random(seed)  # noqa: S311 a plan, not a secret
    return lambda _number: fault if chance.random() < part else ""


class Proxy:
    """Passes requests on to a server of this machine, and spoils those that the plan names.

    The Host header goes on as it was sent, so that signatures hold.
    """

    SLOW_S = 20.0

    def __init__(self, upstream: int, plan: Plan = nothing) -> None:
        self.upstream, self.plan = upstream, plan
        self.seen: list[Asked] = []
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer((HOST, 0), _Passing)
        self._server.daemon_threads = False  # closing waits for them, so that none leaks
        self._server.proxy = self  # type: ignore[attr-defined]
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_STOP_S)

    def next_fault(self, method: str, path: str) -> str:
        with self._lock:
            fault = self.plan(len(self.seen))
            self.seen.append(Asked(method, path, fault))
        return fault


class _Passing(BaseHTTPRequestHandler):
    timeout = 5  # of a connection on which nothing comes
    server: ThreadingHTTPServer

    def do_GET(self) -> None:
        proxy: Proxy = self.server.proxy  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = proxy.next_fault(self.command, self.path)
        if fault == "slow":
            proxy.ended.wait(proxy.SLOW_S)
        if fault in {"slow", "reset"}:
            return self._reset()
        if fault == "echo":
            sent = self.headers.get("Authorization", "")
            told = f"<Error><Code>AccessDenied</Code><Message>{sent}</Message></Error>".encode()
            return self._answer(403, [], b"" if self.command == "HEAD" else told)
        if fault.isdigit():
            return self._answer(int(fault), [], b"")
        upstream = HTTPConnection(HOST, proxy.upstream, timeout=30)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "connection":
                    upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            data = answer.read()
        finally:
            upstream.close()
        if fault == "lost":
            return self._reset()
        return self._answer(answer.status, answer.getheaders(), data, cut=fault == "cut")

    do_PUT = do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815

    def _answer(
        self, status: int, headers: list[tuple[str, str]], data: bytes, *, cut: bool = False
    ) -> None:
        self.send_response_only(status)
        length = str(len(data))
        for name, value in headers:
            if name.lower() == "content-length":
                length = value  # of a HEAD: the object's
            elif name.lower() not in {"transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = True
        if cut:
            self.wfile.flush()
            self._reset()

    def _reset(self) -> None:
        """Close so that the other side sees a reset (RST), not an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_arguments: object) -> None:
        """Nothing: `seen` tells."""
