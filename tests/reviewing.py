"""The review command as a child process, and clients that are as rude as they like."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support import make_photos

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "batch_reimagine"]
CHOICE = {"picked": [1], "rejected": [], "none": False, "note": ""}


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "NOVITA" not in name}
    kept["SSL_CERT_FILE"] = os.devnull  # see tests/test_cli.py
    return kept | {"PYTHONPATH": str(ROOT)} | more


def make_output(tmp_path: Path, *, photos: int = 3, variations: int = 2) -> Path:
    """Photos and what the simulator makes of them."""
    make_photos(tmp_path / "photos", photos)
    out = tmp_path / "out"
    words = ["run", tmp_path / "photos", "-o", out, "-n", variations, "--provider", "simulator"]
    subprocess.run(
        [*COMMAND, *map(str, words), "-q"], env=environment(), check=True, capture_output=True
    )
    return out


@dataclass(slots=True)
class Answer:
    status: int
    head: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        found = re.search(rf"^{name}: (.*?)\r?$", self.head, re.MULTILINE | re.IGNORECASE)
        return found and found[1]


@dataclass(slots=True)
class Reviewer:
    """The command, running; and one window with its session."""

    process: subprocess.Popen[bytes]
    lines: list[str] = field(default_factory=list)
    cookie: str = ""

    def __enter__(self) -> Self:
        self.read_address()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def read_address(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert "/login?token=" in line, line
        self.lines.append(line)
        return self.address

    @property
    def address(self) -> str:
        return self.lines[-1].split(": ", 1)[1].strip()

    @property
    def login_path(self) -> str:
        return "/" + self.address.split("/", 3)[3]

    @property
    def port(self) -> int:
        return int(self.address.split(":")[2].split("/")[0])

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    def log_in(self) -> str:
        answer = self.send("GET", self.login_path, {"Host": self.host})
        assert answer.status == 303, answer
        self.cookie = (answer.header("Set-Cookie") or "").split(";")[0]
        self.read_address()
        return self.cookie

    def get(self, path: str, **more: str) -> Answer:
        return self.send("GET", path, {"Host": self.host, "Cookie": self.cookie} | more)

    def write(self, method: str, path: str, value: object) -> Answer:
        headers = {
            "Host": self.host,
            "Cookie": self.cookie,
            "Origin": self.origin,
            "Content-Type": "application/json",
        }
        return self.send(method, path, headers, json.dumps(value).encode())

    def choose(self, id_: str, revision: int, **choice: Any) -> Answer:
        body = {"revision": revision, "choice": CHOICE | choice}
        return self.write("PUT", f"/api/products/{id_}/choice", body)

    def state(self) -> Any:
        return self.get("/api/state").json

    def ids(self) -> list[str]:
        return [product["id"] for product in self.state()["products"]]

    def send(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | Sequence[tuple[str, str]],
        body: bytes = b"",
        *,
        length: int | None = None,
    ) -> Answer:
        """One request, byte for byte as said."""
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        if body or length is not None:
            pairs.append(("Content-Length", str(len(body) if length is None else length)))
        head = "".join(f"{name}: {value}\r\n" for name, value in pairs)
        start = f"{method} {path} HTTP/1.1\r\n".encode("latin-1")
        return self.send_raw(start + head.encode() + b"Connection: close\r\n\r\n" + body)

    def send_raw(self, data: bytes) -> Answer:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            with suppress(ConnectionError):  # refused before all of it was sent
                connection.sendall(data)
            came = b""
            with suppress(ConnectionError):
                while piece := connection.recv(1 << 16):
                    came += piece
        head, _, body = came.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/") else 0
        return Answer(status, head.decode("latin-1"), body)

    @contextmanager
    def events(self) -> Iterator["Events"]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            lines = f"Host: {self.host}\r\nCookie: {self.cookie}\r\n"
            connection.sendall(f"GET /api/events HTTP/1.1\r\n{lines}\r\n".encode())
            yield Events(connection)


class Events:
    """A tab that listens."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._came = b""
        self._events: list[tuple[str, Any]] = []

    def until(self, kind: str, is_so: Any = lambda _: True, within_s: float = 20) -> Any:
        """The next event of this kind that is so; others of the kind are passed over."""
        end = time.monotonic() + within_s
        while True:
            while mine := [event for event in self._events if event[0] == kind]:
                self._events.remove(mine[0])
                if is_so(mine[0][1]):
                    return mine[0][1]
            self.connection.settimeout(max(0.01, end - time.monotonic()))
            piece = self.connection.recv(1 << 16)
            assert piece, "the stream ended"
            self._came += re.sub(rb"\r\n[0-9a-f]+\r\n|\r\n\r\n", b"", piece)
            at = 0
            for found in re.finditer(rb"event: (\w+)\ndata: (.*?)\n\n", self._came):
                self._events.append((found[1].decode(), json.loads(found[2])))
                at = found.end()
            self._came = self._came[at:]


def start(out: Path, *words: object, **env: str) -> Reviewer:
    return Reviewer(
        subprocess.Popen(
            [*COMMAND, "review", str(out), "--no-open", *map(str, words)],
            env=environment(**env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    )
