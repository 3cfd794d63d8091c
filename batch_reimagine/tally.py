"""Read an output back: what it holds, and whether the disk agrees with the manifest. Blocks."""

import hashlib
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path

import msgspec

from batch_reimagine import books, manifest
from batch_reimagine.errors import OutputMismatch
from batch_reimagine.lock import Holder, holders_of, in_words
from batch_reimagine.naming import STATE_DIR
from batch_reimagine.output import Tree
from batch_reimagine.proof import IncompleteError, prove
from batch_reimagine.reckoning import reckoning_of
from batch_reimagine.work import Record


class Announced(msgspec.Struct):
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
    run: str | None  #: id of the run that is going on; of shards all, in one line
    wanted: int | None  #: variations that it wants in all; None until its listing is complete
    per_minute: float | None  #: variations that it made in its last minutes
    seconds_left: float | None  #: at that rate
    reasons: dict[str, int]
    damaged: int  #: lines of the manifest that are no rows


_MOST_NAME_BYTES = 255
_AT_ONCE = 64  # pictures to be hashed that wait for a thread
_TRANSFERS = 8  # at once, from a store
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
    damaged: list[str] = field(default_factory=list)  #: "manifest.jsonl line 7": no row

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


def rows_that_count(tree: Tree, damaged: list[str]) -> Iterator[Record]:
    """Yield the row that counts of every variation: its last picture, or else its last failure.

    damaged: takes the lines that are no rows.
    Two passes over the manifest, so that only line numbers are held in memory.
    """
    files = books.manifest_files(tree.root)
    read = books.numbered_rows(files, tree.root, damaged.append)
    count = manifest.numbers_that_count(read)
    rows = books.numbered_rows(files, tree.root, lambda _: None)
    yield from (row for number, row in rows if number in count)


@dataclass(frozen=True, slots=True)
class _Going:
    """The runs that go on: one of the whole, or some shards."""

    holders: list[Holder]
    runs: set[str]
    wanted: int | None  # by all of them; None if one does not know yet

    @classmethod
    def on(cls, tree: Tree) -> "_Going":
        holders = holders_of(tree.root / STATE_DIR)
        told = [plan for holder in holders if (plan := told_by(holder.plan)) is not None]
        wants = [plan.wanted for plan in told if plan.wanted is not None]
        known = holders and len(wants) == len(holders)
        return cls(holders, {plan.run for plan in told}, sum(wants) if known else None)

    def sees_to(self, source: str) -> bool:
        """Whether a photo is in what they want."""
        return any(holder.shard is None or holder.shard.has(source) for holder in self.holders)


def tally(output: Path | Tree) -> Tally:
    """Count what an output holds; safe while a run writes to it.

    Raises OutputMismatch; of a tree in a store AccountRefused, UsageError and ServiceGone too.
    """
    tree = output if isinstance(output, Tree) else require_output(output)
    where = str(tree.place if isinstance(output, Tree) else output)
    damaged: list[str] = []
    statuses: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    sources: set[str] = set()
    size = handled = 0
    going = _Going.on(tree)
    recent: deque[str] = deque(maxlen=_RECENT_ROWS)
    money = reckoning_of(tree)
    for row in rows_that_count(tree, damaged):
        money.take(row)
        if row.run in going.runs and row.status == "done":
            recent.append(row.time)
        statuses[row.status] += 1
        sources.add(row.source)
        size += row.bytes or 0
        handled += going.wanted is not None and going.sees_to(row.source)
        if row.reason:
            reasons["".join(c if c.isprintable() else "?" for c in row.reason)[:80]] += 1
    balance, in_flight = money.balance, len(money.open_tries)
    balance.risk(money.open_tries)
    money.count_elsewhere()
    live = tree.live()
    priced = balance.spent or balance.at_risk
    per_minute = _per_minute(recent)
    left = None if going.wanted is None else max(0, going.wanted - handled)
    return Tally(
        output=where,
        photos=len(sources),
        done=statuses["done"],
        rejected=statuses["rejected"],
        exhausted=statuses["exhausted"],
        unknown=statuses["unknown"],
        bytes=size,
        calls=balance.calls,
        spent=str(balance.spent) if priced else None,
        at_risk=str(balance.at_risk) if priced else None,
        in_flight=in_flight,
        running=bool(going.holders or live),
        holder="; ".join(live) or (in_words(going.holders) if going.holders else None),
        run=", ".join(sorted(going.runs)) or None,
        wanted=going.wanted,
        per_minute=per_minute,
        seconds_left=left / per_minute * 60 if left is not None and per_minute else None,
        reasons=dict(reasons),
        damaged=len(damaged),
    )


def told_by(plan: str) -> Announced | None:
    """What a run's lock tells; None if that cannot be read, or nothing yet."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode(plan, type=Announced)
    return None


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
    """Hash every output of a tree and compare it with its row.

    Of a tree in a store: pictures pass through memory, some at a time, and stay nowhere; raises
    AccountRefused, UsageError and ServiceGone.
    """
    found = Verified()
    listed = frozenset[str]()
    if tree.remote:
        listed = frozenset(tree.pictures())
        tree.look()  # a picture is put before its row, so rows are read after pictures are listed
    with ThreadPoolExecutor(_TRANSFERS if tree.remote else 1, "verify") as pool:
        rows = _to_compare(tree, listed, found)
        while some := list(islice(rows, _AT_ONCE)):
            for row, what in zip(some, pool.map(partial(_compared, tree), some), strict=True):
                name = row.output or ""
                match what:
                    case "good":
                        found.good += 1
                    case "missing":
                        found.missing.append(name)
                    case "torn":
                        found.torn.append(name)
                    case _:
                        found.changed.append(name)
    return found


def _to_compare(tree: Tree, listed: frozenset[str], found: Verified) -> Iterator[Record]:
    """The rows whose pictures are there; what is wrong with others is noted at once."""
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
        elif not (row.output in listed or tree.exists(row.output)):
            found.missing.append(row.output)
        elif not (row.output in listed or tree.holds(row.output)):
            found.disbelieved.append(row.output)
        else:
            yield row
    found.extra.extend(sorted((listed or frozenset(tree.pictures())) - named))


def _compared(tree: Tree, row: Record) -> str:
    """What a picture is beside its row: good, torn, changed or missing. Raises OSError."""
    try:
        data = tree.read(row.output or "")
    except FileNotFoundError:  # this moment
        return "missing"
    if hashlib.sha256(data).hexdigest() == row.output_sha256:
        return "good"
    try:
        prove(data)
    except IncompleteError:
        return "torn"
    return "changed"
