"""Prepare pictures in a process of their own, and tell what each cost.

    python -m tests.weigh FILE...

A JSON line a file: its end ("sent" or the reason), seconds, and by how much the process's
peak of resident memory grew, in megabytes.
"""

import json
import resource
import sys
import time
from pathlib import Path

from batch_reimagine.errors import Rejected
from batch_reimagine.prepare import prepare


def peak_mb() -> float:
    """Of this program's image alone where the kernel tells it; getrusage may count the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        told = status.read_text("ascii").partition("VmHWM:")[2]
        return int(told.split()[0]) / 1024
    divisor = 1_048_576 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / divisor


def main() -> None:
    for name in sys.argv[1:]:
        raw = Path(name).read_bytes()
        before, began = peak_mb(), time.monotonic()
        try:
            upload = prepare(raw)
        except Rejected as refused:
            end = refused.reason
        else:
            end = f"sent {upload.width} x {upload.height}"
        cost = {"seconds": time.monotonic() - began, "mb": peak_mb() - before}
        print(json.dumps({"end": end, **cost}), flush=True)  # noqa: T201 - it is a command


if __name__ == "__main__":
    main()
