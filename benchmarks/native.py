"""The parts in C, built by the machine's own compiler; without one there is a slower way."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_SOURCES = Path(__file__).parent / "native"
_FLAGS = ["-O3", "-std=gnu11", "-Wall"]
_BUILD_S = 60


@dataclass(frozen=True, slots=True)
class Built:
    """What there is to run with."""

    server: list[str]  #: argv up to ANSWER_FILE and LATENCY_S
    floor: str | None  #: None: no compiler, so no floor
    shrinks: bool  #: whether the floor can prepare large photos (libjpeg's headers are there)
    words: str  #: how, for the report


def build(work: Path) -> Built:
    """Compile what can be compiled; else the server is raw asyncio, and the report says so."""
    plain = [sys.executable, str(Path(__file__).parent / "plain_server.py")]
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return Built(plain, None, shrinks=False, words="no C compiler: asyncio server, no floor")
    folder = work / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    server, floor = str(folder / "server"), str(folder / "floor")
    if not _compiles(compiler, "server.c", server):  # epoll and sendfile are Linux's
        return Built(plain, None, shrinks=False, words="no epoll: asyncio server, no floor")
    shrinks = _compiles(compiler, "floor.c", floor, "-DHAVE_JPEG", "-pthread", "-ljpeg")
    if not shrinks and not _compiles(compiler, "floor.c", floor, "-pthread"):
        return Built([server], None, shrinks=False, words="C server, no floor")
    jpeg = "with libjpeg" if shrinks else "without libjpeg (no floor for large photos)"
    return Built([server], floor, shrinks=shrinks, words=f"C server, C floor {jpeg}")


def _compiles(compiler: str, source: str, target: str, *more: str) -> bool:
    flags, libraries = [f for f in more if f[:2] != "-l"], [f for f in more if f[:2] == "-l"]
    ended = subprocess.run(  # noqa: S603 - the machine's compiler on our sources
        [compiler, *_FLAGS, *flags, "-o", target, str(_SOURCES / source), *libraries],
        check=False,
        capture_output=True,
        timeout=_BUILD_S,
    )
    return ended.returncode == 0
