"""The attempts journal: every call is written down before it is sent, and settled after.

Two kinds of line. A try holds what a crash would otherwise forget; an end says
what became of it. A try without an end was in flight when its run died: it may
have been paid for. Ends need not be durable at once: losing one only makes the
next run more careful.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import msgspec

from batch_reimagine.budget import Money
from batch_reimagine.log import Log, read_lines
from batch_reimagine.work import utc_now

FILE = "attempts.jsonl"


class Try(
    msgspec.Struct, frozen=True, kw_only=True, tag="try", tag_field="what", omit_defaults=True
):
    """One post, about to begin."""

    id: str  #: run id and a number
    time: str
    source: str
    source_sha256: str
    variation: int
    also: tuple[int, ...] = ()  #: more variations that the same call is to bring
    attempt: int  #: 1…, within this run
    base: str  #: what its output will be named after
    provider: str = ""
    request: str = ""
    price: str | None  #: of each of its pictures

    @property
    def numbers(self) -> tuple[int, ...]:
        """All variations that it asks for."""
        return (self.variation, *self.also)


class End(
    msgspec.Struct, frozen=True, kw_only=True, tag="end", tag_field="what", omit_defaults=True
):
    """What became of a try."""

    id: str
    money: Money
    http: int | None = None
    pictures: int | None = None  #: that came, of a try that was spent; None: all
    lost: int = 0  #: of the others, those that may be billed too


class Carry(msgspec.Struct, frozen=True, kw_only=True, tag="carry", tag_field="what"):
    """Sums of all that was settled before; takes the place of the lines it sums up."""

    spent: str
    at_risk: str
    calls: int
    unpriced: int = 0  #: pictures


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What one set of books has spent in all, for those who do not see its journal."""

    run: str  #: that wrote it
    time: str
    spent: str
    at_risk: str  #: open tries too
    calls: int
    unpriced: int
    shard: str | None = None  #: whose, as in the settings; None for the whole


_MOST_MONEY = 10**12  # for one picture; more is no price, and sums must stay exact

_LINE = msgspec.json.Decoder(Try | End | Carry)


@dataclass(slots=True)
class Balance:
    """What the journal of all earlier runs adds up to."""

    spent: Decimal = Decimal(0)
    at_risk: Decimal = Decimal(0)
    calls: int = 0
    unpriced: int = 0  #: pictures that cost, or may have, while no price was set
    damaged: int = 0  #: lines that could not be read

    def add(self, other: "Balance") -> None:
        """Take in what another journal adds up to."""
        self.spent += other.spent
        self.at_risk += other.at_risk
        self.calls += other.calls
        self.unpriced += other.unpriced
        self.damaged += other.damaged

    def risk(self, tries: Iterable[Try]) -> None:
        """Count tries without an end as sent and not known."""
        for attempt in tries:
            self.count("unknown", attempt.price, len(attempt.numbers))

    def count(self, money: Money, price: str | None, pictures: int) -> None:
        """Take in what became of so many pictures of one price. Raises ArithmeticError."""
        amount = _amount(price) * pictures
        if money == "spent":
            self.spent += amount
        elif money == "unknown":
            self.at_risk += amount
        self.unpriced += pictures if price is None and money != "free" else 0


def read(path: Path) -> tuple[Balance, dict[str, Try]]:
    """Sum up a journal; give what was settled, and the tries that have no end, by id."""
    balance = Balance()
    pending: dict[str, Try] = {}
    for _, raw in read_lines(path):
        _take(raw, balance, pending)
    return balance, pending


def _take(raw: bytes, balance: Balance, pending: dict[str, Try]) -> None:
    """Take in one line, or count it as damaged."""
    try:
        _add(_LINE.decode(raw), balance, pending)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
        balance.damaged += 1


def _add(line: Try | End | Carry, balance: Balance, pending: dict[str, Try]) -> None:
    """Take in one line; ArithmeticError, with nothing changed, for money that is none."""
    match line:
        case Try():
            _amount(line.price)
            pending[line.id] = line
            balance.calls += 1
        case Carry():
            spent, at_risk = _amount(line.spent), _amount(line.at_risk)
            balance.spent += spent
            balance.at_risk += at_risk
            balance.calls += line.calls
            balance.unpriced += line.unpriced
        case End() if line.id in pending:
            attempt = pending.pop(line.id)
            asked = len(attempt.numbers)
            came = asked if line.pictures is None else min(max(line.pictures, 0), asked)
            balance.count(line.money, attempt.price, came if line.money == "spent" else asked)
            if line.money == "spent":
                lost = min(max(line.lost, 0), asked - came)
                balance.count("unknown", attempt.price, lost)
            elif line.money == "free" and line.http is None:
                balance.calls -= 1  # never sent


class Summing:
    """What a growing journal adds up to, read on from where it was read last. Blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0  # bytes
        self._balance = Balance()
        self._pending: dict[str, Try] = {}

    def account(self, run: str, shard: str | None = None) -> bytes:
        """The account of these books, as of now; open tries may have been paid for."""
        for _, raw in read_lines(self._path, self._at):
            self._at += len(raw) + 1
            _take(raw, self._balance, self._pending)
        balance = replace(self._balance)
        balance.risk(self._pending.values())
        return msgspec.json.encode(
            Account(
                run=run,
                time=utc_now(),
                spent=str(balance.spent),
                at_risk=str(balance.at_risk),
                calls=balance.calls,
                unpriced=balance.unpriced,
                shard=shard,
            )
        )


def add_account(text: bytes, balance: Balance) -> Account | None:
    """Add what other books have spent; None, with nothing changed, if that is no account."""
    try:
        told = msgspec.json.decode(text, type=Account)
        spent, at_risk = _amount(told.spent), _amount(told.at_risk)
    except (msgspec.DecodeError, UnicodeDecodeError, ArithmeticError):
        return None
    balance.spent += spent
    balance.at_risk += at_risk
    balance.calls += max(0, told.calls)
    balance.unpriced += max(0, told.unpriced)
    return told


def _amount(text: str | None) -> Decimal:
    amount = Decimal(text or 0)
    if not (amount.is_finite() and 0 <= amount <= _MOST_MONEY):
        raise ArithmeticError(f"no amount: {text!r}")
    return amount


class Journal:
    """The writing end, of one run."""

    def __init__(self, log: Log, run: str) -> None:
        self._log = log
        self._run = run
        self._count = 0

    def next_id(self) -> str:
        self._count += 1
        return f"{self._run}.{self._count}"

    async def begin(self, attempt: Try) -> None:
        """Durable when it returns; only then may the call be sent."""
        await self._log.append(encode(attempt))

    def end(self, end: End) -> None:
        """Goes to disk with whatever is written next."""
        self._log.append_soon(encode(end))

    async def flush(self) -> None:
        await self._log.flush()

    @property
    def sound(self) -> bool:
        """Whether every line written so far is on disk as it should be."""
        return self._log.sound

    def close(self) -> None:
        self._log.close()


def end_of(attempt: Try, came: int, http: int | None = None, *, lost: int | None = None) -> End:
    """The end of a try that brought so many pictures.

    lost: how many of the others may be billed too; None: all of them.
    """
    if not came:
        return End(id=attempt.id, money="unknown", http=http)
    lacking = len(attempt.numbers) - came
    return End(
        id=attempt.id,
        money="spent",
        http=http,
        pictures=came if lacking else None,
        lost=lacking if lost is None else lost,
    )


def encode(line: Try | End | Carry) -> bytes:
    """One line, without its end."""
    return msgspec.json.encode(line)
