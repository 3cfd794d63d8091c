"""Run a command to its end and tell what it took: time, CPU, memory, for it and its children.

Every process is ended by its id. Time is wall time, from before the start to after the end. CPU
seconds are those of the whole tree, by wait4; children that outlive their parent come to us
(PR_SET_CHILD_SUBREAPER, source: Linux prctl(2)), are given a moment, and counted too.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import tree

ROOT = Path(__file__).parent.parent
_EVERY_S = 0.02
_ORPHANS_END_WITHIN_S = 5.0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None  # found before any fork
_MB = 1e6
_MOST_WORDS = 120


@dataclass(slots=True)
class Ran:
    """What one run of a command took. MB are 10^6 bytes."""

    code: int | None = None  #: None: ended by us, because it took too long
    pid: int = 0
    began: float = 0.0  #: monotonic s, the same clock as the server's
    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_mb: float = 0.0  #: the largest sum of all its processes that was seen, every 20 ms
    main_mb: float = 0.0  #: of the first process alone: the kernel's high-water mark
    children_mb: float = 0.0  #: the largest sum of all but the first process
    threads_s: dict[int, float] = field(default_factory=dict)  #: of the first process, if asked
    children_s: dict[int, float] = field(default_factory=dict)  #: of each other process, if asked
    said: Path = Path(os.devnull)  #: its stdout and stderr

    @property
    def last_words(self) -> str:
        """The last line that it wrote, for a row that says why it failed."""
        lines = self.said.read_text(errors="replace").strip().splitlines() or ["(no output)"]
        return lines[-1][:_MOST_WORDS]


def adopt_orphans() -> None:
    """Make this process the parent of what its children leave behind. Linux; else nothing."""
    if _PRCTL is not None:
        _PRCTL(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _die_with_parent() -> None:
    """In a child: end when this benchmark is killed; it would look for its server for long."""
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def environment(**more: str) -> dict[str, str]:
    """This one's, without a real key, the tool's settings, or a proxy that would leave the host."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NOVITA", "BATCH_REIMAGINE"))
        and not name.lower().endswith("_proxy")
    }
    return kept | {"NOVITA_API_KEY": "test", "PYTHONPATH": str(ROOT)} | more


def run(
    argv: Sequence[object],
    said: Path,
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    memory: bool = True,
    threads: bool = False,
) -> Ran:
    """Run argv in a session of its own; what it writes goes to the file `said`.

    memory: look at its memory while it runs; threads: at the CPU of each thread and child.
    After timeout_s all its processes are killed, and code is None.
    """
    ran = Ran(said=said)
    said.parent.mkdir(parents=True, exist_ok=True)
    with said.open("wb") as out:
        ran.began = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 - our own commands
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(env or environment()),
            start_new_session=True,
            # One thread here, so it is safe; it costs a fork, so not where start-up is measured.
            preexec_fn=_die_with_parent if memory or threads else None,  # noqa: PLW1509 - see above
        )
    ran.pid = process.pid
    watcher = _Watcher(ran, timeout_s, memory=memory, threads=threads)
    watcher.start()
    try:
        _, status, used = os.wait4(process.pid, 0)
        ran.seconds = time.monotonic() - ran.began
        process.returncode = os.waitstatus_to_exitcode(status)  # Popen need not wait again
        ran.code = None if watcher.was_late else process.returncode
        ran.cpu_s = used.ru_utime + used.ru_stime
    finally:
        if process.returncode is None:
            _kill(process.pid)
            process.wait()
        watcher.end()
        ran.cpu_s += _bury(process.pid)
    return ran


class _Watcher(threading.Thread):
    """Looks at a command while it runs, and ends it when it takes too long."""

    def __init__(self, ran: Ran, timeout_s: float, *, memory: bool, threads: bool) -> None:
        super().__init__()
        self.was_late = False
        self._ran = ran
        self._until = ran.began + timeout_s
        self._memory = memory
        self._threads = threads
        self._ended = threading.Event()

    def run(self) -> None:
        looks = self._memory or self._threads
        while not self._ended.wait(_EVERY_S if looks else self._until - time.monotonic()):
            if time.monotonic() >= self._until:
                self.was_late = True
                _kill(self._ran.pid)
                return
            if looks:
                _look(self._ran, threads=self._threads)

    def end(self) -> None:
        self._ended.set()
        self.join()


def _look(ran: Ran, *, threads: bool) -> None:
    pid = ran.pid
    others = tree.descendants(pid)
    of_others = sum(map(tree.resident_bytes, others)) / _MB
    ran.peak_mb = max(ran.peak_mb, tree.resident_bytes(pid) / _MB + of_others)
    ran.children_mb = max(ran.children_mb, of_others)
    ran.main_mb = max(ran.main_mb, tree.peak_bytes(pid) / _MB)
    ran.peak_mb = max(ran.peak_mb, ran.main_mb)  # between two looks the first alone may have peaked
    if threads:
        ran.threads_s |= tree.threads_s(pid)
        ran.children_s |= {other: sum(tree.threads_s(other).values()) for other in others}


def _kill(pid: int) -> None:
    """End a process and all of its own session."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _bury(session: int) -> float:
    """Wait for what a command left behind, kill it if it stays; give its CPU seconds."""
    cpu_s = 0.0
    until = time.monotonic() + _ORPHANS_END_WITHIN_S
    while left := [pid for pid in tree.children(os.getpid()) if tree.session(pid) == session]:
        for pid in left:
            if time.monotonic() > until:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                gone, _, used = os.wait4(pid, os.WNOHANG)
                cpu_s += used.ru_utime + used.ru_stime if gone else 0.0
        time.sleep(_EVERY_S / 4)
    return cpu_s
