"""What an output folder knows: opened under its lock, recovered, and written to by one run."""

import secrets
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec

from batch_reimagine import books, manifest
from batch_reimagine import journal as journals
from batch_reimagine.books import Books
from batch_reimagine.budget import Money
from batch_reimagine.compact import compact_journal, compact_manifest
from batch_reimagine.durable import no_write
from batch_reimagine.errors import OutputMismatch
from batch_reimagine.journal import Balance, Carry, End, Journal, Try
from batch_reimagine.known import Known
from batch_reimagine.lock import Lock
from batch_reimagine.log import Log, open_log, repair_tail
from batch_reimagine.manifest import Index
from batch_reimagine.naming import STATE_DIR
from batch_reimagine.output import Tree
from batch_reimagine.places import Place, open_tree
from batch_reimagine.salvaging import Salvage
from batch_reimagine.settings import Settings
from batch_reimagine.shard import Shard
from batch_reimagine.told import Told
from batch_reimagine.tries import append, by_variation, settles, share_of
from batch_reimagine.work import Record


def new_run_id() -> str:
    """Sorts by time, and no two are alike."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


class Ledger:
    """The manifest, the journal and the index over them. Reading and opening block."""

    def __init__(self, tree: Tree, settings: Settings, run: str) -> None:
        self.tree = tree
        self.run = run
        self.books = Books.of(tree.root, settings.shard_of)
        self.index = Index(settings.request)
        self.known = Known(tree, self.index, settings)
        self.balance = Balance()  #: as it counts for this run: of a shard, its part
        self.damaged: list[str] = []  #: lines of the manifest that are no rows
        self.disbelieved = 0  #: rows that name an output as this tool never would
        self.salvage = Salvage(tree, settings, run)
        self._settings = settings
        self._journal_of: dict[str, Path] = {}  # of each try without an end
        self._ends: list[End] = []  # that rows tell and the journals lack
        self._foreign: dict[str, Try] = {}  # of dead runs that divided the job otherwise
        self.notes: list[str] = []  #: of the output's opening, for people
        self._summing: journals.Summing | None = None
        self._told: Told | None = None
        self._accounts: dict[str, str] = {}  # of other machines: run, and time of the account
        self.lock: Lock | None = None
        self._log: Log | None = None
        self._journal_log: Log | None = None
        self.journal: Journal | None = None

    def read(self) -> dict[str, Try]:
        """Take in the journals and the manifest; return the tries that have no end.

        Tries that the manifest settles (a row of the same run) are accounted by it. The whole
        accounts for all journals; a shard for its own, and for its part of what was paid by
        runs that divided the job otherwise.
        """
        pending = self._read_journals()
        asked = {t.request for t in (*pending.values(), *self._foreign.values()) if t.request}
        self.index.other_requests |= asked - {self._settings.request}
        awaited: dict[tuple[str, int], list[Try]] = {}
        for attempt in (*pending.values(), *self._foreign.values()):
            awaited.setdefault((attempt.source, attempt.variation), []).append(attempt)
        if self.known.restore() and not awaited:
            return pending
        self.index.clear()
        for row in books.read_rows(self.tree.root, self.damaged.append):
            if not self.index.add(row):
                self.disbelieved += 1
                continue
            if not awaited:
                continue
            for attempt in awaited.get((row.source, row.variation), ()):
                if attempt.id in pending and settles(row, attempt):
                    del pending[attempt.id]
                    self._ends.append(self._settle(row, attempt))
                elif attempt.id in self._foreign and settles(row, attempt):
                    del self._foreign[attempt.id]  # the whole settles it, in its own journal
        self.index.strange |= bool(self.damaged or self.disbelieved)
        return pending

    def _read_journals(self) -> dict[str, Try]:
        """Sum up what counts for this run; return the tries that are its own to account for."""
        shard = self.books.shard
        others, own = Balance(), {}
        for journal in books.read_journals(self.tree.root, shard):
            if shard is None or journal.shard == shard:
                self.balance.add(journal.balance)
                own.update(journal.pending)
                self._journal_of.update(dict.fromkeys(journal.pending, journal.path))
            else:
                others.add(journal.balance)
                others.risk(journal.pending.values())
                mine = {id_: t for id_, t in journal.pending.items() if shard.has(t.source)}
                self._foreign.update(mine)
        if shard is not None:
            self.balance.add(share_of(others, shard, self._settings.price))
        return own

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
        own = self.books
        try:
            books.refuse_links(own)
            for path in (own.manifest, own.journal):
                if path.exists():
                    repair_tail(path)
            self.tree.clear_temp()
        except OSError as error:
            raise no_write(own.state, error) from None
        self._take_back()
        pending = self.read()
        self.check_request()
        self._count_elsewhere()
        self._summing = journals.Summing(own.journal)
        self._log = open_log(own.manifest)
        self._journal_log = journal_log = open_log(own.journal)
        self.journal = Journal(journal_log, self.run)
        rows, ends = [], self._ends
        for attempts in by_variation(pending):
            row = self.salvage.row(attempts, self.balance)
            rows.append(row)
            money: list[Money] = ["unknown"] * len(attempts)
            if row.status == "done":
                money[-1] = "spent"
            ends += [End(id=t.id, money=m) for t, m in zip(attempts, money, strict=True)]
        rows += filter(None, map(self.salvage.adopted, by_variation(self._foreign)))
        for row in rows:
            self.index.add(row)
        if rows:
            self._log.write_now([manifest.encode(row) for row in rows])
        self._write_ends(ends)

    def _write_ends(self, ends: list[End]) -> None:
        """Each into the journal that its try is in: of the whole, also those of shards."""
        by_path: dict[Path, list[bytes]] = {}
        for end in ends:
            by_path.setdefault(self._journal_of[end.id], []).append(journals.encode(end))
        assert self._journal_log is not None  # noqa: S101 - opened before
        if lines := by_path.pop(self.books.journal, None):
            self._journal_log.write_now(lines)
        for path, lines in by_path.items():
            append(path, lines)

    def _take_back(self) -> None:
        """Enter in the journal what it once told, and has lost: its account in the store has it."""
        if not self.tree.remote:
            return
        from batch_reimagine.cloud.tree import CloudTree  # noqa: PLC0415 - an extra

        assert isinstance(self.tree, CloudTree)  # noqa: S101 - no other is remote
        self._told = told = Told(*self.tree.own())
        self._accounts.update(told.runs)
        if carry := told.lacking(self.books.journal):
            open_log(self.books.journal).close()  # it may be gone as a whole
            append(self.books.journal, [journals.encode(carry)])

    def _count_elsewhere(self) -> None:
        """Add what other machines have spent; of a shard, as `_read_journals` does."""
        shard, others = self.books.shard, Balance()
        if self._told is not None:
            self.balance.add(self._told.grown)
        for text in self.tree.elsewhere():
            theirs = Balance()
            if (told := journals.add_account(text, theirs)) is None:
                continue
            self._accounts[told.run] = told.time
            of = Shard.of(told.shard or "")
            if shard is None or of == shard:
                self.balance.add(theirs)
            elif of is None or of.n != shard.n:
                others.add(theirs)
        if shard is not None:
            self.balance.add(share_of(others, shard, self._settings.price))

    async def append(self, row: Record) -> None:
        """Durable when it returns. Raises LocalResource."""
        assert self._log is not None  # noqa: S101 - opened before anything is made
        await self._log.append(manifest.encode(row))
        self.index.add(row)

    async def adopt(self, row: Record) -> None:
        """Enter a picture that lies there whole, bought by a run whose row of it was lost."""
        assert self._journal_log is not None  # noqa: S101 - opened before anything is made
        if row.time > self._accounts.get(row.run, ""):  # else its cost is in that account
            carry = Carry(
                spent=row.cost or "0",
                at_risk="0",
                calls=row.attempts,
                unpriced=int(row.cost is None),
            )
            self._journal_log.append_soon(journals.encode(carry))
        await self.append(row)

    def sync(self) -> None:
        """Bring what is new to where other machines see it. Blocks. Raises RunError."""
        if self.tree.remote and self._summing is not None:
            account = self._summing.account(self.run, self._settings.shard)
            if self._told is not None:
                account = self._told.apart(account)
            self.tree.sync(self.books.manifest, account)

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
        notes = [*self.notes]
        if self.damaged:
            lines = ", ".join(self.damaged[:10])
            notes.append(f"the manifest: {len(self.damaged)} lines are no rows ({lines} …)")
        if self.balance.damaged:
            notes.append(
                f"attempts journal: {self.balance.damaged} lines cannot be read; what they cost is"
                " not in the sums"
            )
        if self.disbelieved:
            notes.append(
                f"the manifest: {self.disbelieved} rows are not believed: no output of ours"
            )
        if self.salvage.recovered:
            notes.append(
                f"{self.salvage.recovered} pictures of a run that died were whole, and are kept"
            )
        if self.salvage.lost:
            price, count = self._settings.price, len(self.salvage.lost)
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
            compact_journal(self.tree, self.books.journal)
            if not self.tree.remote:  # its parts are in the store as they are
                rows = self.books.manifest
                compact_manifest(self.tree, rows, self.index.superseded, self.index.rows)

    def close(self) -> None:
        for log in (self._log, self.journal):
            if log is not None:
                log.close()
        if self.journal is not None and self.journal.sound:  # opened wholly, so ours to tidy
            self.compact()
            self.known.save()
        if self.lock is not None:
            self.tree.end()
            self.lock.release()


def open_ledger(output: Place, settings: Settings, *, force: bool) -> Ledger:
    """Open an output for writing, under its lock; make it if it is not there. Blocks.

    Raises OutputMismatch, OutputBusy or LocalResource.
    """
    shard = settings.shard_of
    tree = open_tree(output, settings, shard.tag if shard else "")
    tree.prepare(force=force)
    ledger = Ledger(tree, settings, new_run_id())
    ledger.books.prepare(tree)
    ledger.lock = Lock(tree.root / STATE_DIR, shard)
    ledger.lock.take()
    try:
        ledger.notes = tree.begin(ledger.run, ledger.books.manifest)
        ledger.open()
    except BaseException:
        ledger.close()
        raise
    return ledger


def read_ledger(output: Place, settings: Settings) -> Ledger:
    """Look at an output without touching it; one that does not exist is empty. Blocks.

    Raises OutputMismatch.
    """
    tree = open_tree(output, settings)
    if tree.remote and tree.is_ours():
        tree.look()
    ledger = Ledger(tree, settings, new_run_id())
    ledger.salvage.lost = [*ledger.read().values()]
    ledger.check_request()
    return ledger
