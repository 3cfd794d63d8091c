"""Keep the books linear in the photos: what later lines have superseded is dropped when a run ends.

A compacted file takes the old one's place whole, by rename, or not at all.
Blocks; only while the lock of these books is held.
"""

from collections.abc import Iterable
from pathlib import Path

from batch_reimagine import journal as journals
from batch_reimagine import manifest
from batch_reimagine.journal import Carry, End, Try
from batch_reimagine.log import read_lines
from batch_reimagine.output import Tree

_JOURNAL_BYTES = 100_000  # a smaller journal is left as it is: it is worth reading
_SUPERSEDED_ROWS = 1000  # likewise for the manifest


def compact_journal(tree: Tree, path: Path) -> None:
    """Sum up all settled attempts in one line; those without an end stay as they are.

    path: of a journal that nobody else writes to.
    """
    if path.stat().st_size < _JOURNAL_BYTES:
        return
    balance, pending = journals.read(path)
    carry: Try | End | Carry = Carry(
        spent=str(balance.spent),
        at_risk=str(balance.at_risk),
        calls=balance.calls - len(pending),
        unpriced=balance.unpriced,
    )
    _replace(tree, path, [journals.encode(line) for line in (carry, *pending.values())])


def compact_manifest(tree: Tree, path: Path, superseded: int, rows: int) -> None:
    """Keep the last row of each variation, if more than half are superseded.

    path: of a file of rows that nobody else writes to. superseded, rows: of all files together.
    Lines that are no rows of ours stay: they may be of a newer version.
    """
    if superseded < _SUPERSEDED_ROWS or superseded * 2 < rows:
        return
    decoded = ((number, manifest.decode(line)) for number, line in read_lines(path))
    kept = manifest.numbers_that_count((number, row) for number, row in decoded if row)
    _replace(
        tree,
        path,
        (line for n, line in read_lines(path) if n in kept or not manifest.decode(line)),
    )


def _replace(tree: Tree, path: Path, lines: Iterable[bytes]) -> None:
    tree.replace(path, (line + b"\n" for line in lines))
