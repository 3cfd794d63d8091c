"""Errors → exit codes and a line on stderr. The codes are part of the stable surface."""

import os
import sys
import traceback

from batch_reimagine import errors
from batch_reimagine.cli.screen import write

DONE, UNEXPECTED, USAGE, SOME_FAILED, LIMIT = 0, 1, 2, 3, 8
INTERRUPTED = 130  # other signals: 128 and their number, likewise

_CODES: dict[type[BaseException], int] = {
    errors.UsageError: USAGE,
    errors.AccountRefused: 4,
    errors.ServiceGone: 5,
    errors.Halted: 6,
    errors.LimitReached: LIMIT,
    errors.LocalResource: 9,
    errors.OutputMismatch: 10,
    errors.OutputBusy: 11,
}


def code_of(error: BaseException) -> int:
    """The exit code that stands for this error."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), UNEXPECTED)


def say(message: str) -> None:
    """One line to people, on stderr."""
    write(sys.stderr, f"batch-reimagine: {message}")


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
