"""Folders of product photos through an image API: N variations each, durable and resumable.

    from batch_reimagine import Settings, reimagine

    async for record in reimagine(["photos"], "out", Settings(variations=4), key=key):
        print(record.status, record.output)

Nothing here prints, reads the environment or keeps global state.
"""

import importlib
from typing import TYPE_CHECKING, Any

from batch_reimagine.version import VERSION

__version__ = VERSION

if TYPE_CHECKING:
    from batch_reimagine.errors import (
        AccountRefused,
        Halted,
        LimitReached,
        LocalResource,
        OutputBusy,
        OutputMismatch,
        ReimagineError,
        RunError,
        ServiceGone,
        UsageError,
    )
    from batch_reimagine.library import reimagine
    from batch_reimagine.settings import Settings
    from batch_reimagine.work import Note, Plan, Progress, Record, Summary

_HOMES = {
    "library": ("reimagine",),
    "settings": ("Settings",),
    "work": ("Note", "Plan", "Progress", "Record", "Summary"),
    "errors": (
        "AccountRefused",
        "Halted",
        "LimitReached",
        "LocalResource",
        "OutputBusy",
        "OutputMismatch",
        "ReimagineError",
        "RunError",
        "ServiceGone",
        "UsageError",
    ),
}

__all__ = [
    "AccountRefused",
    "Halted",
    "LimitReached",
    "LocalResource",
    "Note",
    "OutputBusy",
    "OutputMismatch",
    "Plan",
    "Progress",
    "Record",
    "ReimagineError",
    "RunError",
    "ServiceGone",
    "Settings",
    "Summary",
    "UsageError",
    "reimagine",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `--version` needs none of them."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"batch_reimagine.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
