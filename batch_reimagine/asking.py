"""What can be asked without a run: what it would do, what an output holds. All functions block.

From an event loop, asyncio's or trio's, call them in a worker thread.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike

from batch_reimagine import batch, books, manifest, tally
from batch_reimagine.choice import UNDECIDED, Choice
from batch_reimagine.errors import UsageError
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
    return batch.plan(places_of(inputs), output_of(output), settings_of(settings))


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
    """What arguments of the public functions name.

    Raises UsageError for a URL that is none, and for what is neither text nor a path.
    """
    if isinstance(inputs, str | bytes | PathLike):
        return [place_of(_text(inputs))]
    if not isinstance(inputs, Iterable):  # a caller's code is not always checked
        raise UsageError(f"a place is text or a path, not {type(inputs).__name__}")
    return [place_of(_text(each)) for each in inputs]


def _text(named: object) -> str:
    text = os.fspath(named) if isinstance(named, PathLike) else named
    if not isinstance(text, str):
        raise UsageError(f"a place is text or a path, not {type(named).__name__}")
    if "\0" in text:
        raise UsageError("a place holds a NUL, which no path does")
    return text


def output_of(output: Where) -> Place:
    """The one place that an output is. Raises UsageError as `places_of`."""
    places = places_of(output)
    if len(places) != 1:
        raise UsageError(f"output: it is one place, not {len(places)}")
    return places[0]


def settings_of(settings: Settings | None) -> Settings:
    """The settings as given, or by default. Raises UsageError for what are none."""
    if settings is None:
        return Settings()
    if not isinstance(settings, Settings):
        raise UsageError(f"settings: they are a Settings(…), not {type(settings).__name__}")
    return settings


def _opened(output: Where, settings: Settings | None) -> Tree:
    tree = open_tree(output_of(output), settings_of(settings))
    tree.look()
    return tree
