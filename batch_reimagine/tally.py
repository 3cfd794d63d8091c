"""Read an output back: what it holds, and whether the disk agrees with the manifest. Blocks."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import msgspec

from batch_reimagine import journal as journals
from batch_reimagine import manifest
from batch_reimagine.errors import OutputMismatch
from batch_reimagine.lock import holder_of
from batch_reimagine.output import MANIFEST, STATE_DIR, Tree
from batch_reimagine.proof import IncompleteError, prove
from batch_reimagine.work import Record


class Tally(msgspec.Struct, kw_only=True):
    """An output in figures: the last row of each variation counts."""

    output: str
    photos: int
    done: int
    rejected: int
    exhausted: int
    unknown: int
    bytes: int
    calls: int
    spent: str | None  #: decimal; None if no price was ever set
    at_risk: str | None
    in_flight: int  #: attempts without an outcome: being made, or their run died
    running: bool
    holder: str | None
    reasons: dict[str, int]
    damaged: int  #: lines of the manifest that are no rows


@dataclass(slots=True)
class Verified:
    """Names relative to the output, by what is wrong with them."""

    good: int = 0
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)  #: whole, but not the bytes that were kept
    torn: list[str] = field(default_factory=list)  #: no complete picture any more
    extra: list[str] = field(default_factory=list)  #: no row names it
    disbelieved: list[str] = field(default_factory=list)  #: rows that point outside, or at a link
    damaged: list[int] = field(default_factory=list)  #: line numbers of the manifest

    @property
    def sound(self) -> bool:
        return not (
            self.missing or self.changed or self.torn or self.extra or self.disbelieved
            or self.damaged
        )  # fmt: skip


def require_output(output: Path) -> Tree:
    """Raise OutputMismatch unless the folder is an output of this tool."""
    tree = Tree(output)
    if not tree.is_ours():
        raise OutputMismatch(f"{output} is no output folder: it holds no manifest.jsonl")
    return tree


def rows_by_variation(tree: Tree, damaged: list[int]) -> dict[tuple[str, int], Record]:
    """The row that counts of every variation, by (source, variation)."""
    rows = manifest.read_rows(tree.root / MANIFEST, damaged.append)
    return {(row.source, row.variation): row for row in rows}


def tally(output: Path) -> Tally:
    """Count what an output holds; safe while a run writes to it. Raises OutputMismatch."""
    tree = require_output(output)
    damaged: list[int] = []
    rows = rows_by_variation(tree, damaged)
    balance, pending = journals.read(tree.root / STATE_DIR / journals.FILE)
    statuses = Counter(row.status for row in rows.values())
    priced = balance.spent or balance.at_risk or any(t.price for t in pending.values())
    at_risk = balance.at_risk + sum(Decimal(t.price or 0) for t in pending.values())
    holder = holder_of(tree.root / STATE_DIR)
    return Tally(
        output=str(output),
        photos=len({source for source, _ in rows}),
        done=statuses["done"],
        rejected=statuses["rejected"],
        exhausted=statuses["exhausted"],
        unknown=statuses["unknown"],
        bytes=sum(row.bytes or 0 for row in rows.values() if row.status == "done"),
        calls=balance.calls,
        spent=str(balance.spent) if priced else None,
        at_risk=str(at_risk) if priced else None,
        in_flight=len(pending),
        running=holder is not None,
        holder=holder,
        reasons=dict(Counter(row.reason for row in rows.values() if row.reason)),
        damaged=len(damaged),
    )


def verify(output: Path) -> Verified:
    """Hash every output and compare it with its row. Raises OutputMismatch."""
    return verify_tree(require_output(output))


def verify_tree(tree: Tree) -> Verified:
    """Hash every output of a tree and compare it with its row."""
    found = Verified()
    named: set[str] = set()
    for row in rows_by_variation(tree, found.damaged).values():
        if row.status != "done" or row.output is None:
            continue
        try:
            path = tree.path(row.output)
        except ValueError:
            found.disbelieved.append(row.output)
            continue
        named.add(row.output)
        if not path.exists() and not path.is_symlink():
            found.missing.append(row.output)
        elif not tree.holds(row.output):
            found.disbelieved.append(row.output)
        else:
            _compare(path, row, found)
    found.extra.extend(sorted(_pictures(tree.root) - named))
    return found


def _compare(path: Path, row: Record, found: Verified) -> None:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() == row.output_sha256:
        found.good += 1
        return
    try:
        prove(data)
    except IncompleteError:
        found.torn.append(row.output or "")
    else:
        found.changed.append(row.output or "")


def _pictures(root: Path) -> set[str]:
    """Every file below root that is named like a picture of ours."""
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*_v[0-9]*")
        if path.suffix in {".png", ".webp", ".jpg"}
        and path.relative_to(root).parts[0] != STATE_DIR
        and not path.is_dir()
    }
