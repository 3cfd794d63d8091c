"""`batch-reimagine pick`: say which variations are good without the page; write picks.csv."""

import sys
from collections.abc import Sequence
from typing import Annotated

import msgspec
from cyclopts import Parameter

from batch_reimagine.choosing import Counts, choose, parse
from batch_reimagine.cli.places import Books, Output, StoreOption, open_output
from batch_reimagine.cli.screen import shown, write
from batch_reimagine.errors import UsageError
from batch_reimagine.places import local_path


def pick(
    output: Output,
    /,
    *choices: Annotated[
        str,
        Parameter(
            help="SOURCE=2,1: of this photo variation 2 is the main picture, and 1 the second."
        ),
    ],
    from_: Annotated[
        str | None,
        Parameter(name="--from", help="Read them from picks.csv, as a spreadsheet left it."),
    ] = None,
    none: Annotated[
        Sequence[str],
        Parameter(negative="", show_default=False, help="SOURCE of which no variation is good."),
    ] = (),
    clear: Annotated[
        Sequence[str],
        Parameter(
            negative="", show_default=False, help="SOURCE that is undecided again; its note stays."
        ),
    ] = (),
    json: Annotated[
        bool, Parameter(negative="", show_default=False, help="One JSON object.")
    ] = False,
    store_option: StoreOption = (),
    books: Books = None,
) -> int:
    """Decide, all that is asked or nothing; write picks.csv anew and count."""
    try:
        asked = parse(choices, none, clear)
        table = None if from_ is None else local_path(from_, "from")
        counts = choose(open_output(output, store_option, books), asked, table)
    except UsageError as error:
        raise UsageError("\n".join(shown(line) for line in str(error).split("\n"))) from None
    if json:
        write(sys.stdout, msgspec.json.encode(counts).decode())
    else:
        write(sys.stdout, "\n".join(_lines(counts)))
    return 0


def _lines(counts: Counts) -> list[str]:
    lines = [
        f"{counts.decided:,} of {counts.products:,} products decided"
        f" ({counts.none_good:,} of them: none good), {counts.undecided:,} undecided"
    ]
    if counts.gone:
        lines.append(f"{counts.gone:,} decided that the output holds no more")
    if counts.set_aside:
        lines.append(
            f"picks.csv had been edited: it is {shown(counts.set_aside)} now; --from takes it in"
        )
    lines += map(shown, counts.notes)
    return [*lines, f"{counts.changed:,} changed; see {shown(counts.csv)}"]
