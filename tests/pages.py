"""The documents as their readers take them: pages, fenced blocks, what a block says of itself.

A comment right above a block is a word to the tests:
`<!-- not run: REASON -->` leaves it out, `<!-- server -->` starts it and goes on,
`<!-- file: NAME -->` writes it into that file.
"""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parent.parent
PORT = "8000"  #: that the pages name; a free one takes its place here
_BLOCK = re.compile(
    r"(?:^<!-- (?P<word>not run|server|file)(?:: (?P<about>[^\n]+?))? -->\n)?"
    r"^(?P<indent> *)```(?P<language>[a-z]*)[^\n]*\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
_SHELL = {"sh", "bash", "shell", "console"}
_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a page."""

    language: str
    text: str
    word: str | None  #: what the comment above it says: "not run", "server", "file"
    about: str | None

    @property
    def runs(self) -> bool:
        return self.language in {*_SHELL, "python"} and self.word is None


def pages() -> list[Path]:
    """README and all of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    return [
        Block(found["language"], _dedented(found), found["word"], found["about"])
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def _dedented(found: re.Match[str]) -> str:
    return re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE)


def commands(text: str) -> Iterator[str]:
    """The lines of a shell block, continued ones joined, without comments and empty ones."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def is_plain(line: str) -> bool:
    """Whether a line is one command and its words, with nothing that only a shell knows."""
    reader = shlex.shlex(line, posix=True, punctuation_chars=True)
    reader.commenters = "#"
    reader.wordchars += "=:/{}*~,@%+^[]!"
    words = [*reader]
    return "$" not in line and not any(set(word) <= set("();<>|&") for word in words)


class Typist:
    """A process that has the package imported: to start the command costs half a second."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.typist"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, asked: Mapping[str, object]) -> int:
        """Run what is asked; its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline() or b"-1")

    def close(self) -> None:
        self._process.communicate(timeout=_WITHIN_S)


class Reader:
    """Somebody who types what a page says, in a folder of their own.

    Lines that only a shell understands go to bash.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], typist: Typist) -> None:
        self._folder = folder
        self._environ = dict(environ)
        self._typist = typist
        self._port = _free_port()
        self._servers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self._servers:
            server.terminate()
            server.wait(_WITHIN_S)

    def do(self, block: Block) -> None:
        """Do what a block says. Raises AssertionError with the output of what failed."""
        text = block.text.replace(PORT, str(self._port))
        if block.word == "file":
            (self._folder / str(block.about)).write_text(text, encoding="utf-8")
        elif block.word == "server":
            self._serve(text)
        elif block.runs and block.language == "python":
            self._ask(text, program=text)
        elif block.runs and "<<" in text:
            self._bash(text, text)
        elif block.runs:
            for line in commands(text):
                self._line(line)

    def _line(self, line: str) -> None:
        words = shlex.split(line, comments=True)
        environ = {}
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            name, _, value = words.pop(0).partition("=")
            environ[name] = value
        if not words or words[0] != "batch-reimagine" or not is_plain(line):
            self._bash(line, line)
            return
        self._ask(f"$ {line}", arguments=words[1:], environ=environ)

    def _ask(
        self,
        shown: str,
        *,
        arguments: Sequence[str] = (),
        program: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        output = self._folder / ".told"
        asked = {
            "arguments": arguments,
            "program": program,
            "folder": str(self._folder),
            "environ": {**self._environ, **(environ or {})},
            "output": str(output),
        }
        code = self._typist.ask(asked)
        told = output.read_text("utf-8")
        output.unlink()
        assert code == 0, f"{shown}\n{told}\nexit code {code}"

    def _bash(self, script: str, shown: str) -> None:
        ended = subprocess.run(
            ["/usr/bin/env", "bash", "-euo", "pipefail", "-c", script],
            cwd=self._folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_WITHIN_S,
        )
        told = f"{ended.stdout}{ended.stderr}"
        assert ended.returncode == 0, f"$ {shown}\n{told}\nexit code {ended.returncode}"

    def _serve(self, text: str) -> None:
        (line,) = commands(text)
        server = subprocess.Popen(
            shlex.split(line, comments=True),
            cwd=self._folder,
            env=self._environ,
            stdout=subprocess.DEVNULL,
        )
        self._servers.append(server)
        until = time.monotonic() + _WITHIN_S
        while time.monotonic() < until:
            assert server.poll() is None, f"{line} ended by itself"
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError(f"{line} does not listen on port {self._port}")


def environment(home: Path) -> dict[str, str]:
    """What a reader's shell has: no key, a home of its own, the simulator as provider."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("XDG_", "BATCH_REIMAGINE_", "OTEL_", "PYTEST_", "COV_"))
        and "_API_KEY" not in name
    }
    return kept | {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}",
        "BATCH_REIMAGINE_PROVIDER": "simulator",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "120",
    }


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
