"""Folders of product photos through an image API: N variations each, durable and resumable.

    from batch_reimagine import Settings, reimagine

    async for record in reimagine(["photos"], "out", Settings(variations=4), key=key):
        print(record.status, record.output)

Nothing here reads the environment or keeps global state; nothing prints but the progress bar
that `reimagine_sync` draws for people.
"""

import importlib
from typing import TYPE_CHECKING, Any

from batch_reimagine.version import VERSION

__version__ = VERSION

if TYPE_CHECKING:
    from batch_reimagine.asking import plan, read_manifest, read_picks, status, verify
    from batch_reimagine.choice import Choice
    from batch_reimagine.engine import Stop
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
    from batch_reimagine.keys import key_of
    from batch_reimagine.library import reimagine
    from batch_reimagine.settings import Settings
    from batch_reimagine.sync import Records, reimagine_sync
    from batch_reimagine.tally import Tally, Verified
    from batch_reimagine.work import Event, Note, Plan, Progress, Record, Summary

_HOMES = {
    "asking": ("plan", "read_manifest", "read_picks", "status", "verify"),
    "choice": ("Choice",),
    "engine": ("Stop",),
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
    "keys": ("key_of",),
    "library": ("reimagine",),
    "settings": ("Settings",),
    "sync": ("Records", "reimagine_sync"),
    "tally": ("Tally", "Verified"),
    "work": ("Event", "Note", "Plan", "Progress", "Record", "Summary"),
}

__all__ = [
    "AccountRefused",
    "Choice",
    "Event",
    "Halted",
    "LimitReached",
    "LocalResource",
    "Note",
    "OutputBusy",
    "OutputMismatch",
    "Plan",
    "Progress",
    "Record",
    "Records",
    "ReimagineError",
    "RunError",
    "ServiceGone",
    "Settings",
    "Stop",
    "Summary",
    "Tally",
    "UsageError",
    "Verified",
    "key_of",
    "plan",
    "read_manifest",
    "read_picks",
    "reimagine",
    "reimagine_sync",
    "status",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `--version` needs none of them."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"batch_reimagine.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, for who completes them in a notebook."""
    return sorted({*globals(), *__all__})
