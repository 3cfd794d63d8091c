"""What an output folder knows: opened under its lock, recovered, and written to by one run."""

import secrets
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from batch_reimagine import journal as journals
from batch_reimagine import manifest, marking
from batch_reimagine.budget import Money
from batch_reimagine.compact import compact_journal, compact_manifest
from batch_reimagine.errors import LocalResource, OutputMismatch
from batch_reimagine.journal import Balance, End, Journal, Try
from batch_reimagine.known import Known
from batch_reimagine.lock import Lock
from batch_reimagine.log import Log, open_log, repair_tail
from batch_reimagine.manifest import Index
from batch_reimagine.marking import mark_of
from batch_reimagine.output import MANIFEST, STATE_DIR, Tree, no_write, output_name
from batch_reimagine.proof import IncompleteError, prove
from batch_reimagine.provider import PROVIDERS
from batch_reimagine.settings import Settings
from batch_reimagine.work import Picture, Record, utc_now

DIED = "RUN_DIED"  #: the reason of a row for what a dead run had in flight


def new_run_id() -> str:
    """Sorts by time, and no two are alike."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def _settles(row: Record, attempt: Try) -> bool:
    """Whether a row tells what became of a try that has no end.

    Its run's own row does, written after the answer; so does a picture's row that
    a later run wrote for it, for a number is never given out while its file is there.
    A row that only says that a run died settles nothing that was begun since.
    """
    if row.source_sha256 != attempt.source_sha256 or row.reason == DIED:
        return False
    own = attempt.id.startswith(f"{row.run}.")
    return own or (row.status == "done" and row.time >= attempt.time)


class Ledger:
    """The manifest, the journal and the index over them. Reading and opening block."""

    def __init__(self, tree: Tree, settings: Settings, run: str) -> None:
        self.tree = tree
        self.run = run
        self.index = Index(settings.request)
        self.known = Known(tree, self.index, settings)
        self.balance = Balance()
        self.damaged: list[int] = []  #: line numbers of the manifest that are no rows
        self.disbelieved = 0  #: rows that name an output as this tool never would
        self.recovered = 0  #: pictures found whole after a crash, without their row
        self.lost: list[Try] = []  #: attempts of dead runs whose outcome nobody saw
        self._settings = settings
        self._mark = mark_of(PROVIDERS[settings.provider].system) if settings.mark else None
        self._ends: list[End] = []  # that rows tell and the journal lacks
        self.lock: Lock | None = None
        self._log: Log | None = None
        self._journal_log: Log | None = None
        self.journal: Journal | None = None

    def read(self) -> dict[str, Try]:
        """Take in the journal and the manifest; return the tries that have no end.

        Tries that the manifest settles (a row of the same run) are accounted by it.
        """
        state = self.tree.root / STATE_DIR
        self.balance, pending = journals.read(state / journals.FILE)
        asked = {t.request for t in pending.values() if t.request}
        self.index.other_requests |= asked - {self._settings.request}
        awaited: dict[tuple[str, int], list[Try]] = {}
        for attempt in pending.values():
            awaited.setdefault((attempt.source, attempt.variation), []).append(attempt)
        if self.known.restore() and not pending:
            return pending
        self.index.clear()
        for row in manifest.read_rows(self.tree.root / MANIFEST, self.damaged.append):
            if not self.index.add(row):
                self.disbelieved += 1
                continue
            if not awaited:
                continue
            for attempt in awaited.get((row.source, row.variation), ()):
                if attempt.id in pending and _settles(row, attempt):
                    del pending[attempt.id]
                    self._ends.append(self._settle(row, attempt))
        self.index.strange |= bool(self.damaged or self.disbelieved)
        return pending

    def _settle(self, row: Record, attempt: Try) -> End:
        """Account for a try whose outcome only its row tells; return the end that it lacks."""
        price = Decimal(attempt.price or 0)
        status = row.http[attempt.attempt - 1] if attempt.attempt <= len(row.http) else None
        paid = row.status == "done" and attempt.attempt == row.attempts
        if not paid and status is not None and 300 <= status < 500:  # noqa: PLR2004 - never billed
            return End(id=attempt.id, money="free", http=status)
        self.balance.unpriced += attempt.price is None
        if paid:
            self.balance.spent += price
            return End(id=attempt.id, money="spent", http=status)
        self.balance.at_risk += price
        return End(id=attempt.id, money="unknown", http=status)

    def check_request(self) -> None:
        """Refuse an output made with other settings. Raises OutputMismatch that names them."""
        others = self.index.other_requests
        if others:
            words = " / ".join(sorted(others))
            told = "".join(c if c.isprintable() else "?" for c in words)[:200]
            raise OutputMismatch(
                f"{self.tree.root} was made with other settings: {told}; this"
                f" run asks for: {self._settings.request}. Choose another -o for these, or go back"
                " to those: nothing was overwritten and nothing sent"
            )

    def open(self) -> None:
        """Make ready to write: repair what a crash left, and account for it durably.

        Raises OutputMismatch or LocalResource. Only while the lock is held.
        """
        state = self.tree.root / STATE_DIR
        try:
            for path in (self.tree.root / MANIFEST, state / journals.FILE):
                if path.is_symlink():
                    raise LocalResource(f"{path} is a link, and this tool writes through none")
                if path.exists():
                    repair_tail(path)
            self.tree.clear_temp()
        except OSError as error:
            raise no_write(state, error) from None
        pending = self.read()
        self.check_request()
        self._log = open_log(self.tree.root / MANIFEST)
        self._journal_log = journal_log = open_log(state / journals.FILE)
        self.journal = Journal(journal_log, self.run)
        by_variation: dict[tuple[str, int], list[Try]] = {}
        for attempt in pending.values():
            by_variation.setdefault((attempt.source, attempt.variation), []).append(attempt)
        rows, ends = [], self._ends
        for attempts in by_variation.values():
            row = self._account(attempts)
            rows.append(row)
            self.index.add(row)
            money: list[Money] = ["unknown"] * len(attempts)
            if row.status == "done":
                money[-1] = "spent"
            ends += [End(id=t.id, money=m) for t, m in zip(attempts, money, strict=True)]
        if rows:
            self._log.write_now([manifest.encode(row) for row in rows])
        if ends:
            journal_log.write_now([journals.encode(end) for end in ends])

    def _account(self, attempts: list[Try]) -> Record:
        """The row for a variation that was in flight when its run died; its attempts in order.

        A whole picture under its final name can only be the last attempt's answer:
        a number is only given out while no file has its name.
        """
        last = attempts[-1]
        common: dict[str, Any] = {
            "run": self.run,
            "time": utc_now(),
            "source": last.source,
            "source_sha256": last.source_sha256,
            "variation": last.variation,
            "provider": last.provider or self._settings.provider,
            "request": last.request or self._settings.request,
            "attempts": len(attempts),
            "http": (None,) * len(attempts),
            "cost": last.price,
        }
        prices = [Decimal(attempt.price or 0) for attempt in attempts]
        if found := self._found(last):
            name, picture = found
            self.recovered += 1
            self.balance.spent += prices.pop()
            self.balance.at_risk += sum(prices)
            kept = marking.recovered(self.tree, name, picture.data, self._mark)
            return manifest.done(
                picture, name, kept, **common, message="its run died before this row was written"
            )
        self.lost += attempts
        self.balance.at_risk += sum(prices)
        return Record(
            status="unknown",
            reason=DIED,
            message="sent, and its run died before the answer was kept: may have been paid",
            **common,
        )

    def _found(self, attempt: Try) -> tuple[str, Picture] | None:
        """The name and the picture that a dead run kept without a row, if it is whole."""
        try:
            type_ = self.tree.taken(attempt.base, attempt.variation)
            if type_ is None:
                return None
            name = output_name(attempt.base, attempt.variation, type_)
            return (
                (name, prove(self.tree.path(name).read_bytes())) if self.tree.holds(name) else None
            )
        except (IncompleteError, OSError, ValueError):  # ValueError: a base that is none of ours
            return None

    async def append(self, row: Record) -> None:
        """Durable when it returns. Raises LocalResource."""
        assert self._log is not None  # noqa: S101 - opened before anything is made
        await self._log.append(manifest.encode(row))
        self.index.add(row)

    def tell(self, wanted: int | None) -> None:
        """Say for `status` which run this is, and how many variations it wants. Blocks."""
        if self.lock is not None:
            self.lock.tell(msgspec.json.encode({"run": self.run, "wanted": wanted}).decode())

    @property
    def refused(self) -> bool:
        """Whether the disk has refused a write: known here before the error has travelled."""
        logs = (self._log, self._journal_log)
        return self.tree.refused or any(log.refused for log in logs if log is not None)

    def recovery(self) -> list[str]:
        """What the last run left behind, and what may have been paid for nothing."""
        notes = []
        if self.damaged:
            lines = ", ".join(map(str, self.damaged[:10]))
            notes.append(f"manifest.jsonl: {len(self.damaged)} lines are no rows (line {lines} …)")
        if self.balance.damaged:
            notes.append(
                f"attempts journal: {self.balance.damaged} lines cannot be read; what they cost is"
                " not in the sums"
            )
        if self.disbelieved:
            notes.append(
                f"manifest.jsonl: {self.disbelieved} rows are not believed: no output of ours"
            )
        if self.recovered:
            notes.append(f"{self.recovered} pictures of a run that died were whole, and are kept")
        if self.lost:
            price, count = self._settings.price, len(self.lost)
            most = "price not known" if price is None else f"at most {price * count}"
            held = self._settings.on_unknown == "hold"
            what = "held, for --on-unknown hold" if held else "they are made again"
            notes.append(
                f"{count} calls of a run before this one brought nothing that was kept, and may"
                f" have been paid ({most}); {what}"
            )
        return notes

    def compact(self) -> None:
        """Drop from the books what later lines superseded. A disk that refuses is no failure."""
        with suppress(OSError):
            compact_journal(self.tree)
            compact_manifest(self.tree, self.index.superseded, self.index.rows)

    def close(self) -> None:
        for log in (self._log, self.journal):
            if log is not None:
                log.close()
        if self.journal is not None and self.journal.sound:  # opened wholly, so ours to tidy
            self.compact()
            self.known.save()
        if self.lock is not None:
            self.lock.release()


def open_ledger(output: Path, settings: Settings, *, force: bool) -> Ledger:
    """Open an output for writing, under its lock; make it if it is not there. Blocks.

    Raises OutputMismatch, OutputBusy or LocalResource.
    """
    tree = Tree(output)
    tree.prepare(force=force)
    ledger = Ledger(tree, settings, new_run_id())
    ledger.lock = Lock(tree.root / STATE_DIR)
    ledger.lock.take()
    try:
        ledger.open()
    except BaseException:
        ledger.close()
        raise
    return ledger


def read_ledger(output: Path, settings: Settings) -> Ledger:
    """Look at an output without touching it; one that does not exist is empty. Blocks.

    Raises OutputMismatch.
    """
    ledger = Ledger(Tree(output), settings, new_run_id())
    ledger.lost = [*ledger.read().values()]
    ledger.check_request()
    return ledger
