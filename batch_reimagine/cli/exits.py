"""Errors → exit codes and a line on stderr. The codes are part of the stable surface."""

import os
import sys
import traceback
from contextlib import suppress
from typing import TextIO

from batch_reimagine import errors

DONE, UNEXPECTED, USAGE, SOME_FAILED = 0, 1, 2, 3
INTERRUPTED, TERMINATED, HUNG_UP = 130, 143, 129

_CODES: dict[type[BaseException], int] = {
    errors.UsageError: USAGE,
    errors.AccountRefused: 4,
    errors.ServiceGone: 5,
    errors.Halted: 6,
    errors.LimitReached: 8,
    errors.LocalResource: 9,
    errors.OutputMismatch: 10,
    errors.OutputBusy: 11,
}


def code_of(error: BaseException) -> int:
    """The exit code that stands for this error."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), UNEXPECTED)


def put(stream: TextIO, line: str) -> None:
    """Write one line. A stream that is closed or full loses it, and all that follow, silently."""
    try:
        stream.write(line + "\n")
        stream.flush()
    except (OSError, ValueError):
        # What is left in its buffer must not fail again when the interpreter ends.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say(message: str) -> None:
    """One line to people, on stderr."""
    put(sys.stderr, f"batch-reimagine: {message}")


def unexpected(error: BaseException) -> None:
    """A bug of ours: its place, without the values that a traceback might show."""
    frames = traceback.extract_tb(error.__traceback__)
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    ours = [frame for frame in frames if frame.filename.startswith(here)] or list(frames)
    place = f"{os.path.basename(ours[-1].filename)}:{ours[-1].lineno}" if ours else "?"  # noqa: PTH119
    say(
        f"unexpected {type(error).__name__} at {place}. This is a bug; nothing that was kept is"
        " lost, and the same command goes on"
    )
