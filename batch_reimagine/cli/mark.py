"""`batch-reimagine mark`: tell which pictures carry the AI mark, and put it back."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from batch_reimagine import remark
from batch_reimagine.cli import exits
from batch_reimagine.cli.screen import shown, write


def mark(
    do: Annotated[Literal["check", "apply"], Parameter(help="Tell, or mend.")],
    folder: Annotated[Path, Parameter(help="An output, a folder in it, or any folder.")],
    *,
    yes: Annotated[
        bool, Parameter(negative="", help="Mark all pictures of a folder that is no output.")
    ] = False,
) -> int:
    """Look for the AI mark in every PNG, JPEG and WebP; 0 if all carry it in the end, else 3."""
    found = remark.check(folder) if do == "check" else remark.apply(folder, any_folder=yes)
    for what in ("mended", "unmarked", "damaged"):
        for name in getattr(found, what):
            write(sys.stdout, f"{what}: {shown(name)}")
    write(sys.stdout, f"{found.marked + len(found.mended):,} marked, {len(found.unmarked):,} not")
    return exits.SOME_FAILED if found.unmarked or found.damaged else exits.DONE
