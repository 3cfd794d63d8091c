"""The shim between the tool and the kernel: how it is built and told, and what it wrote down."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
EVERY_CALL = ""
#: What a full disk refuses; removing and shortening still work there.
TAKES_ROOM = ",open,openlog,mkdir,write,fsync,"
#: What a folder that may not be changed refuses.
CHANGES_NAMES = ",open,openlog,opendir,mkdir,rename,unlink,"
#: What a file system that was made read-only refuses.
CHANGES_ANYTHING = ",open,openlog,mkdir,rename,unlink,write,ftruncate,"


class NoShimError(Exception):
    """This machine cannot preload the shim; the message says why."""


@cache
def build() -> Path:
    """Compile the shim, once a process. Raises NoShimError where that cannot be."""
    if not sys.platform.startswith("linux"):
        raise NoShimError("calls are watched by LD_PRELOAD, which is Linux's")
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise NoShimError("there is no C compiler (cc, gcc or clang) to build the shim with")
    place = Path(tempfile.gettempdir()) / f"batch-reimagine-shim-{os.getpid()}.so"
    built = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", place, SOURCE, "-ldl", "-lpthread"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if built.returncode:
        raise NoShimError(f"the shim does not compile here: {built.stderr[-300:]}")
    return place


def remove() -> None:
    """Remove what `build` made."""
    if build.cache_info().currsize:
        build().unlink(missing_ok=True)
        build.cache_clear()


@dataclass(frozen=True, slots=True)
class Hit:
    """Which call is hit, and how; the words are those of the shim."""

    at: int = 0
    how: str = "kill"
    error: int = 0
    ops: str = EVERY_CALL

    def environment(self, under: Path, log: Path) -> dict[str, str]:
        return {
            "TORTURE_UNDER": str(under),
            "TORTURE_LOG": str(log),
            "TORTURE_AT": str(self.at),
            "TORTURE_HOW": self.how,
            "TORTURE_ERRNO": str(self.error),
            "TORTURE_OPS": self.ops,
        }

    def __str__(self) -> str:
        what = errno.errorcode.get(self.error, "")
        return f"{self.how} {what}".strip() + f" at call {self.at}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the shim's log."""

    time: float  #: seconds, CLOCK_MONOTONIC: the simulator's clock
    phase: str  #: B begins, E has ended, F was made to fail, K is where the process was killed
    op: str
    path: str
    other: str  #: a rename's new name, a truncation's size
    result: int
    data: bytes  #: what a write wrote


def read(log: Path) -> list[Line]:
    """All lines, in the order in which they happened."""
    return list(_lines(log)) if log.exists() else []


def _lines(log: Path) -> Iterator[Line]:
    for text in log.read_text(encoding="utf-8").splitlines():
        time, _, phase, op, path, other, result, data = text.split("\t")
        yield Line(float(time), phase, op, path, other, int(result), bytes.fromhex(data))


def was_hit(lines: list[Line]) -> Line | None:
    """Where the fault or the kill was, if it was reached."""
    return next((line for line in lines if line.phase in {"F", "K"}), None)
