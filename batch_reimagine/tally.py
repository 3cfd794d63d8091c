"""Read an output back: what it holds, and whether the disk agrees with the manifest. Blocks."""

import hashlib
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
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


class Told(msgspec.Struct):
    """What a run says of itself beside its lock."""

    run: str
    wanted: int | None


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
    run: str | None  #: id of the run that is going on
    wanted: int | None  #: variations that it wants in all; None until its listing is complete
    per_minute: float | None  #: variations that it made in its last minutes
    seconds_left: float | None  #: at that rate
    reasons: dict[str, int]
    damaged: int  #: lines of the manifest that are no rows


_MOST_NAME_BYTES = 255
_RECENT_ROWS = 200  # by which the rate of a run is told


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


def rows_that_count(tree: Tree, damaged: list[int]) -> Iterator[Record]:
    """Yield the row that counts of every variation: its last picture, or else its last failure.

    Two passes over the manifest, so that only line numbers are held in memory.
    """
    path = tree.root / MANIFEST
    count = manifest.numbers_that_count(enumerate(manifest.read_rows(path, damaged.append)))
    rows = enumerate(manifest.read_rows(path, lambda _: None))
    yield from (row for number, row in rows if number in count)


def tally(output: Path) -> Tally:
    """Count what an output holds; safe while a run writes to it. Raises OutputMismatch."""
    tree = require_output(output)
    damaged: list[int] = []
    statuses: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    sources: set[str] = set()
    size = 0
    holder = holder_of(tree.root / STATE_DIR)
    run, wanted = _told(holder[1]) if holder else (None, None)
    recent: deque[str] = deque(maxlen=_RECENT_ROWS)
    for row in rows_that_count(tree, damaged):
        if row.run == run and row.status == "done":
            recent.append(row.time)
        statuses[row.status] += 1
        sources.add(row.source)
        size += row.bytes or 0
        if row.reason:
            reasons["".join(c if c.isprintable() else "?" for c in row.reason)[:80]] += 1
    balance, pending = journals.read(tree.root / STATE_DIR / journals.FILE)
    priced = balance.spent or balance.at_risk or any(t.price for t in pending.values())
    at_risk = balance.at_risk + sum(Decimal(t.price or 0) for t in pending.values())
    per_minute = _per_minute(recent)
    left = None if wanted is None else max(0, wanted - sum(statuses.values()))
    return Tally(
        output=str(output),
        photos=len(sources),
        done=statuses["done"],
        rejected=statuses["rejected"],
        exhausted=statuses["exhausted"],
        unknown=statuses["unknown"],
        bytes=size,
        calls=balance.calls,
        spent=str(balance.spent) if priced else None,
        at_risk=str(at_risk) if priced else None,
        in_flight=len(pending),
        running=holder is not None,
        holder=holder and holder[0],
        run=run,
        wanted=wanted,
        per_minute=per_minute,
        seconds_left=left / per_minute * 60 if left is not None and per_minute else None,
        reasons=dict(reasons),
        damaged=len(damaged),
    )


def _told(plan: str) -> tuple[str | None, int | None]:
    """The run's id and how many variations it wants, as its lock tells."""
    try:
        found = msgspec.json.decode(plan, type=Told)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None, None
    return found.run, found.wanted


def _per_minute(times: Sequence[str]) -> float | None:
    """The rate of the last rows, up to now."""
    if len(times) < 2:  # noqa: PLR2004 - one row is no rate
        return None
    with suppress(ValueError):
        began = datetime.fromisoformat(min(times))
        return len(times) * 60 / max(1.0, (datetime.now(UTC) - began).total_seconds())
    return None


def verify(output: Path) -> Verified:
    """Hash every output and compare it with its row. Raises OutputMismatch."""
    return verify_tree(require_output(output))


def verify_tree(tree: Tree) -> Verified:
    """Hash every output of a tree and compare it with its row."""
    found = Verified()
    named: set[str] = set()
    for row in rows_that_count(tree, found.damaged):
        if row.status != "done" or row.output is None:
            continue
        try:
            path = tree.path(row.output)
        except ValueError:
            found.disbelieved.append(row.output)
            continue
        named.add(row.output)
        if len(path.name.encode("utf-8", "replace")) > _MOST_NAME_BYTES:
            found.disbelieved.append(row.output)
        elif not os.path.lexists(path):
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
