"""What can be asked without a run: what it would do, what an output holds. All functions block.

From an event loop, asyncio's or trio's, call them in a worker thread.
"""

import os
from collections.abc import Iterator, Sequence
from os import PathLike

from batch_reimagine import batch, books, manifest, tally
from batch_reimagine.choice import UNDECIDED, Choice
from batch_reimagine.output import Tree
from batch_reimagine.picks import Picks
from batch_reimagine.places import Place, open_tree, place_of
from batch_reimagine.settings import Settings
from batch_reimagine.sharing import Sharing
from batch_reimagine.tally import Tally, Verified
from batch_reimagine.work import Plan, Record

Where = str | PathLike[str]  #: a local path, or the address of a folder in an object store
Inputs = Sequence[Where] | Where


def plan(inputs: Inputs, output: Where, settings: Settings | None = None) -> Plan:
    """Count what a run would do; no call, no key, and nothing of the output is touched.

    Raises UsageError and OutputMismatch as the run would.
    """
    return batch.plan(places_of(inputs), places_of(output)[0], settings or Settings())


def read_manifest(
    output: Where, settings: Settings | None = None, *, every: bool = False
) -> Iterator[Record]:
    """Yield the rows of an output; safe while a run writes to it.

    every: all rows ever written, older first; else the one that counts of every variation.
    settings: how a store is reached (`store_option`, `books`); nothing else of it matters here.
    Lines that are no rows, and rows that name a file outside the output, are passed over.
    Memory: a few words a variation, not a row.
    Raises OutputMismatch at once if there is no output of ours; of a store also UsageError,
    AccountRefused and ServiceGone.
    """
    tree = _opened(output, settings)
    damaged: list[str] = []
    if every:
        rows = books.read_rows(tree.root, lambda _: None)
    else:
        rows = tally.rows_that_count(tree, damaged)
    return filter(manifest.is_believed, rows)


def status(output: Where, settings: Settings | None = None) -> Tally:
    """Counts, money and failures of an output; safe while a run writes to it.

    settings and errors: as for `read_manifest`.
    """
    return tally.tally(_opened(output, settings))


def verify(output: Where, settings: Settings | None = None) -> Verified:
    """Hash every picture of an output and compare it with its row.

    settings and errors: as for `read_manifest`.
    """
    return tally.verify_tree(_opened(output, settings))


def read_picks(output: Where, settings: Settings | None = None) -> dict[str, Choice]:
    """What was chosen in the review, by source; sources that nobody looked at are not in it.

    settings and errors: as for `read_manifest`. Of a store the picks are shared first, as every
    command does that needs them.
    """
    tree = _opened(output, settings)
    picks = Picks(tree)
    Sharing(tree, picks).sync()
    picks.follow()
    return {source: choice for source, choice in picks.items() if choice != UNDECIDED}


def places_of(inputs: Inputs) -> list[Place]:
    """What arguments of the public functions name. Raises UsageError for a URL that is none."""
    named = [inputs] if isinstance(inputs, str | PathLike) else inputs
    return [place_of(os.fspath(each)) for each in named]


def _opened(output: Where, settings: Settings | None) -> Tree:
    tree = open_tree(places_of(output)[0], settings or Settings())
    tree.look()
    return tree
