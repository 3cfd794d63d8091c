"""What an output took: made, failed, spent, tried in vain, by folder, day or reason. Blocks.

Two passes over the manifest, as `tally` makes them: how a variation stands now is told by the row
that counts; what it took, by all rows that were ever written. What calls cost that brought no
picture stands in the journal alone, as a sum; so it is told for the output, not by group. Tries
that the journal lost the end of are settled by their rows, as the next run will.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Literal

from batch_reimagine import books, manifest
from batch_reimagine.output import Tree
from batch_reimagine.provider.billing import Charge
from batch_reimagine.provider.judging import is_never_billed
from batch_reimagine.reckoning import reckoning_of
from batch_reimagine.work import Record

By = Literal["folder", "day", "reason"]

_HOUR_S = 3600
_LOOKS_BACK_S = 366 * 86_400
_MOST_S = 30 * 86_400  # of one variation; no run tries for so long


@dataclass(slots=True)
class Line:
    """One group, or all."""

    made: int = 0  #: variations that are bought and counted, as their last row tells
    copied: int = 0  #: of the same photo elsewhere; cost nothing
    refused: int = 0
    given_up: int = 0
    unknown: int = 0  #: dropped; may have been paid
    bought: int = 0  #: pictures paid for, those too that were replaced or deleted since
    spent: Decimal = Decimal(0)  #: for these
    unpriced: int = 0  #: of these, bought while no price was set
    attempts: int = 0  #: of each variation; one call for several counts for each
    in_vain: int = 0  #: of these, those that brought no picture
    maybe_paid: int = 0  #: of these, those that may be billed: no answer, a fault, half a picture
    seconds: float = 0.0  #: from a variation's first attempt to its file, summed; they overlap

    @property
    def failed(self) -> int:
        return self.refused + self.given_up + self.unknown

    def take(self, row: Record, *, counts: bool) -> None:
        """Add what a row took and, if it is the last word on its variation, how that stands."""
        copied = row.copied_from is not None
        if counts:
            self.made += row.status == "done" and not copied
            self.copied += row.status == "done" and copied
            self.refused += row.status == "rejected"
            self.given_up += row.status == "exhausted"
            self.unknown += row.status == "unknown"
        if copied:
            return
        done = row.status == "done"
        self.bought += done
        self.unpriced += done and row.cost is None
        self.spent += _money(row.cost) if done else 0
        self.attempts += row.attempts
        self.in_vain += max(0, row.attempts - done)
        tried = row.http[:-1] if done else row.http
        self.maybe_paid += sum(not is_never_billed(status) for status in tried)
        self.seconds += max(0.0, row.seconds)


@dataclass(slots=True)
class Report:
    """An output, in groups and in all."""

    output: str
    by: By | None
    groups: dict[str, Line] = field(default_factory=dict)  #: in the order to be shown
    total: Line = field(default_factory=Line)
    calls: int = 0  #: by the journal: each counts once, however many pictures it brought
    spent: Decimal = Decimal(0)  #: by the journal, which knows more than rows
    at_risk: Decimal = Decimal(0)  #: sent, and whether it is billed nobody has said
    priced: bool = False  #: whether a price was ever set
    open_tries: int = 0  #: calls without an end: being made, or their run died
    first: str | None = None  #: time of the oldest row; UTC, ISO 8601
    last: str | None = None
    providers: list[str] = field(default_factory=list)
    damaged: int = 0  #: lines of the manifest that are no rows
    hours: dict[int, int] = field(default_factory=dict)  #: pictures bought, by Unix hour


def report(tree: Tree, by: By | None = None) -> Report:
    """Sum an output up; safe while a run writes to it. Raises OutputMismatch for none of ours."""
    where = getattr(tree, "place", tree.root)
    found = Report(str(where), by)
    damaged: list[str] = []
    group = _GROUPS[by] if by else None
    providers: set[str] = set()
    money = reckoning_of(tree)
    for counts, row in _rows(tree, damaged):
        if manifest.is_believed(row):
            money.take(row)
        found.total.take(row, counts=counts)
        if group is not None and (counts or row.attempts):
            found.groups.setdefault(group(row), Line()).take(row, counts=counts)
        providers.add(row.provider)
        began = _hour(row)
        if row.status == "done" and row.copied_from is None and began is not None:
            found.hours[began] = found.hours.get(began, 0) + 1
        found.first = min(found.first or row.time, row.time)
        found.last = max(found.last or row.time, row.time)
    found.groups = dict(sorted(found.groups.items()))
    found.providers = sorted(providers)
    found.damaged = len(damaged)
    money.count_elsewhere()
    balance, unsettled = money.balance, money.open_tries
    balance.risk(unsettled)
    found.calls, found.spent, found.at_risk = balance.calls, balance.spent, balance.at_risk
    found.priced = bool(balance.spent or balance.at_risk or found.total.spent)
    found.open_tries = len(unsettled)
    return found


def _rows(tree: Tree, damaged: list[str]) -> Iterator[tuple[bool, Record]]:
    """Yield every row, and whether it is the last word on its variation."""
    files = books.manifest_files(tree.root)
    count = manifest.numbers_that_count(books.numbered_rows(files, tree.root, damaged.append))
    for number, row in books.numbered_rows(files, tree.root, lambda _: None):
        yield number in count, row


def _folder(row: Record) -> str:
    return row.source.rpartition("/")[0] or "."


def _reason(row: Record) -> str:
    if row.status == "done":
        return "made" if row.copied_from is None else "copied"
    return row.reason or row.status


_GROUPS: dict[By, Callable[[Record], str]] = {
    "folder": _folder,
    "day": lambda row: row.time[:10],
    "reason": _reason,
}


def _money(text: str | None) -> Decimal:
    try:
        amount = Decimal(text or 0)
    except InvalidOperation:
        return Decimal(0)
    return amount if amount.is_finite() else Decimal(0)


def _unix_s(time: str) -> float | None:
    """A time of ours, which may be anything in books that somebody wrote; None for none."""
    try:
        at = datetime.fromisoformat(time)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _hour(row: Record) -> int | None:
    """The Unix hour in which its picture came."""
    came_s = _unix_s(row.time)
    return None if came_s is None else int(came_s) // _HOUR_S


@dataclass(frozen=True, slots=True)
class Window:
    """The hours that a bill is asked for."""

    began: int  #: Unix seconds, of a whole hour
    ended: int  #: likewise, excluded
    cut: bool  #: the output is older than a bill is asked for


def window(tree: Tree, now_s: float) -> Window | None:
    """The whole hours in which this output sent calls; None if it sent none.

    None before the last year or after now_s (Unix seconds), whatever the books say.
    """
    times: list[float] = []
    for _, row in _rows(tree, []):
        if row.attempts and (ended := _unix_s(row.time)) is not None:
            began = ended - min(max(row.seconds, 0.0), _MOST_S)
            times = [min([began, *times]), max([ended, *times])]
    for journal in books.read_journals(tree.root, None):
        for attempt in journal.pending.values():
            if (sent := _unix_s(attempt.time)) is not None:
                times = [min([sent, *times]), max([sent, *times])]
    if not times:
        return None
    first, last, now = (int(time) // _HOUR_S * _HOUR_S for time in (*times, now_s))
    oldest = now - _LOOKS_BACK_S
    began_s, ended_s = (min(max(time, oldest), now) for time in (first, last))
    return Window(began_s, ended_s + _HOUR_S, first < oldest)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The books beside the bill, for the hours of one window."""

    window: Window
    products: dict[str, tuple[int | None, Decimal]]  #: units and amount of each that was counted
    named: bool  #: these are our call's products; False: all pictures of the account
    units: int | None  #: pictures on the bill; None if it tells no numbers
    amount: Decimal
    currency: str
    bought: int  #: pictures in our books
    maybe_paid: int  #: attempts of ours that may be on the bill without a picture
    last_hour: int | None  #: end of the newest hour that is on the bill; Unix seconds

    @property
    def extra(self) -> int | None:
        """Pictures on the bill that we do not have; below 0: we have some that are not on it."""
        return None if self.units is None else self.units - self.bought

    @property
    def each(self) -> Decimal | None:
        """What a picture cost, by the bill."""
        return self.amount / self.units if self.units else None


def reconcile(
    found: Report, at: Window, charges: list[Charge], *, product: str, currency: str
) -> Reconciled:
    """Lay a bill beside the books. Pure.

    product: part of the name that our calls have on the bill; where no line has it, all count.
    """
    ours = [line for line in charges if product in line.product.lower()]
    counted = ours or charges
    products: dict[str, tuple[int | None, Decimal]] = {}
    for line in counted:
        units, amount = products.get(line.product, (0, Decimal(0)))
        both = None if units is None or line.units is None else units + line.units
        products[line.product] = both, amount + line.amount
    told = [units for units, _ in products.values() if units is not None]
    first_hour = at.began // _HOUR_S
    return Reconciled(
        window=at,
        products=products,
        named=bool(ours),
        units=sum(told) if len(told) == len(products) else None,
        amount=sum((amount for _, amount in products.values()), Decimal(0)),
        currency=currency,
        bought=sum(count for hour, count in found.hours.items() if hour >= first_hour),
        maybe_paid=found.total.maybe_paid + found.open_tries,
        last_hour=max((line.ended for line in counted), default=None),
    )
