"""`batch-reimagine verify`: hash every output again and compare it with the manifest."""

import sys

from batch_reimagine.cli import exits
from batch_reimagine.cli.places import Books, Output, StoreOption, open_output
from batch_reimagine.cli.screen import shown, write
from batch_reimagine.tally import verify_tree


def verify(output: Output, *, store_option: StoreOption = (), books: Books = None) -> int:
    """List outputs that are missing, changed, torn or not in the manifest; 0 if none is, else 3."""
    found = verify_tree(open_output(output, store_option, books))
    for what in ("missing", "changed", "torn", "extra", "disbelieved"):
        for name in getattr(found, what):
            write(sys.stdout, f"{what}: {shown(name)}")
    for line in found.damaged:
        write(sys.stdout, f"damaged: {shown(line)}")
    write(sys.stdout, f"{found.good:,} good")
    if not found.sound:
        write(
            sys.stdout,
            "`run … --repair` makes what is missing or torn again; the rest is left alone",
        )
    return exits.DONE if found.sound else exits.SOME_FAILED
