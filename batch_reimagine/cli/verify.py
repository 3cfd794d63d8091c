"""`batch-reimagine verify`: hash every output again and compare it with the manifest."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from batch_reimagine.cli import exits
from batch_reimagine.cli.screen import shown, write
from batch_reimagine.tally import verify as check


def verify(output: Annotated[Path, Parameter(help="The output folder of a run.")]) -> int:
    """List outputs that are missing, changed, torn or not in the manifest; 0 if none is, else 3."""
    found = check(output)
    for what in ("missing", "changed", "torn", "extra", "disbelieved"):
        for name in getattr(found, what):
            write(sys.stdout, f"{what}: {shown(name)}")
    for number in found.damaged:
        write(sys.stdout, f"damaged: manifest.jsonl line {number}")
    write(sys.stdout, f"{found.good:,} good")
    if not found.sound:
        write(
            sys.stdout,
            "`run … --repair` makes what is missing or torn again; the rest is left alone",
        )
    return exits.DONE if found.sound else exits.SOME_FAILED
