"""The server that all works share: started, asked, and ended by who started it."""

import json
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_ENDS_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server saw since the last reset; whatever a contestant claims, this is so."""

    posts: int
    refused: int  #: requests that were no POST with a length
    answered: int  #: answers sent to the last byte
    bytes: int  #: of the posts' bodies
    connections: int
    most_at_once: int
    first: float  #: when the first post came; monotonic s, 0 if none did
    cpu_s: float  #: of the server, since its start


class Server:
    """One server on a free port of the loopback. Use it as a context manager.

    It ends when its stdin does, so that not even a killed benchmark leaves one behind.
    """

    def __init__(self, argv: Sequence[str], answer: Path, latency_s: float = 0.0) -> None:
        self._argv = [*argv, str(answer), str(latency_s)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - our own server
            self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.port = int(self._answer())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        assert self._process.stdout is not None  # noqa: S101 - likewise
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def seen(self) -> Seen:
        return Seen(**json.loads(self._ask("stats")))

    def reset(self) -> None:
        self._ask("reset")

    def _ask(self, order: str) -> str:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        self._process.stdin.write(f"{order}\n")
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server ended: {self._argv[0]}")
        return line
