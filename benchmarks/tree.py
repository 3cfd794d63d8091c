"""What Linux tells of a process and of those that it started, in /proc.

Nothing here raises for a process that is gone, or on a system without /proc: then there is
nothing to see.
"""

import os
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SESSION = 3  # source: proc(5), stat: fields after the name are state, ppid, pgrp, session …


def children(pid: int) -> list[int]:
    """Those that it started and that are still there, ended ones that wait for it included."""
    found: list[int] = []
    with suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    """Children, their children, and so on."""
    found: list[int] = []
    left = children(pid)
    while left:
        found.append(left.pop())
        left += children(found[-1])
    return found


def session(pid: int) -> int | None:
    """The session that a process is in; None if it is gone."""
    with suppress(OSError, ValueError, IndexError):
        stat = (_PROC / str(pid) / "stat").read_text()
        return int(stat.rpartition(")")[2].split()[_SESSION])
    return None


def resident_bytes(pid: int) -> int:
    """What of it is in memory now; pages shared with others count in full."""
    with suppress(OSError, ValueError, IndexError):
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE_BYTES
    return 0


def peak_bytes(pid: int) -> int:
    """The kernel's high-water mark of it (VmHWM), which starts anew with the program."""
    with suppress(OSError, ValueError, IndexError):
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def threads_s(pid: int) -> dict[int, float]:
    """CPU seconds of each thread so far, by thread id; the first thread's id is the process's.

    Source: Documentation/scheduler/sched-stats.rst in Linux, schedstat: ns on the CPU come first.
    """
    found: dict[int, float] = {}
    with suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with suppress(OSError, ValueError, IndexError):
                found[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
    return found
