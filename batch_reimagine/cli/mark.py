"""`batch-reimagine mark`: tell which pictures carry the AI mark, and put it back."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from batch_reimagine import remark
from batch_reimagine.cli import exits
from batch_reimagine.cli.screen import shown, write
from batch_reimagine.errors import UsageError
from batch_reimagine.places import place_of


def mark(
    do: Annotated[Literal["check", "apply"], Parameter(help="Tell, or mend.")],
    folder: Annotated[str, Parameter(help="An output, a folder in it, or any folder.")],
    *,
    yes: Annotated[
        bool, Parameter(negative="", help="Mark all pictures of a folder that is no output.")
    ] = False,
) -> int:
    """Look for the AI mark in every PNG, JPEG and WebP; 0 if all carry it in the end, else 3."""
    place = place_of(folder)
    if not isinstance(place, Path):
        raise UsageError(
            f"{folder}: marks are looked at in folders of this machine: `batch-reimagine export"
            f" {folder} --to DIR --all` brings the pictures here; a run marks what it makes"
        )
    found = remark.check(place) if do == "check" else remark.apply(place, any_folder=yes)
    for what in ("mended", "unmarked", "damaged"):
        for name in getattr(found, what):
            write(sys.stdout, f"{what}: {shown(name)}")
    write(sys.stdout, f"{found.marked + len(found.mended):,} marked, {len(found.unmarked):,} not")
    return exits.SOME_FAILED if found.unmarked or found.damaged else exits.DONE
