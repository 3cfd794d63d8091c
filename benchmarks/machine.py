"""What it ran on, with which versions, and how far the server itself can go."""

import os
import platform
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import measure, photos
from benchmarks.bench import Bench
from benchmarks.server import Server

_PACKAGES = ("batch-reimagine", "aiohttp", "pillow", "msgspec", "pybase64", "httpx")
_CEILING_CALLS = 4000
_BODY_BYTES = 80_000
_AT_ONCE = 16
_ASK_S = 10


def facts(bench: Bench) -> list[str]:
    """Lines for the head of a report."""
    return [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {'quick' if bench.sizes.quick else 'full'} form,"
        f" {bench.repeats} rounds at most",
        f"{_cpu()}, {os.cpu_count()} cores, {_memory_gb():.0f} GB, {platform.system()}"
        f" {platform.release()}, outputs on {_file_system(bench.work)},"
        f" load before: {os.getloadavg()[0]:.2f}",
        f"Python {platform.python_version()}, {', '.join(_versions())}",
        bench.built.words,
        _ceiling(bench),
    ]


def _cpu() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


def _file_system(path: Path) -> str:
    """The type of the file system that outputs go to; a tmpfs makes fsync free, so it is told."""
    with suppress(OSError, subprocess.SubprocessError):
        ended = subprocess.run(  # noqa: S603 - nothing foreign in it
            ["df", "--output=fstype", str(path)],  # noqa: S607 - coreutils'
            capture_output=True,
            text=True,
            check=True,
            timeout=_ASK_S,
        )
        return ended.stdout.split()[-1]
    return "a file system of unknown type"


def _versions() -> list[str]:
    found = []
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return found


def _ceiling(bench: Bench) -> str:
    """What the server can do when nobody reads its answers."""
    if bench.built.floor is None:
        return "the server's own ceiling: not measured, there is no C client"
    with Server(bench.built.server, photos.answer(bench.work).file) as server:
        began = time.monotonic()
        command = [bench.built.floor, "load", server.port, _CEILING_CALLS, _BODY_BYTES, _AT_ONCE]
        ran = measure.run(
            command, bench.log("server", "ceiling"), timeout_s=bench.left_s(30), memory=False
        )
        seconds = time.monotonic() - began
        seen = server.seen()
    if ran.code or seen.answered != _CEILING_CALLS:
        return f"the server's own ceiling: not measured, {ran.last_words}"
    size_mb = photos.answer(bench.work).file.stat().st_size / 1e6
    return (
        f"the server's own ceiling: {_CEILING_CALLS / seconds:,.0f} calls/s, bodies of"
        f" {_BODY_BYTES / 1000:.0f} kB, answers of {size_mb:.1f} MB,"
        f" {seen.cpu_s / _CEILING_CALLS * 1000:.2f} ms of its CPU a call"
    )
