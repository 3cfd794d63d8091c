"""What an output folder knows: opened under its lock, recovered, and written to by one run."""

import secrets
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from batch_reimagine import books, manifest
from batch_reimagine import journal as journals
from batch_reimagine.books import Books
from batch_reimagine.compact import compact_journal, compact_manifest
from batch_reimagine.durable import no_write
from batch_reimagine.errors import OutputMismatch
from batch_reimagine.journal import Carry, Journal
from batch_reimagine.known import Known
from batch_reimagine.lock import Lock
from batch_reimagine.log import Log, open_log, repair_tail
from batch_reimagine.manifest import Index
from batch_reimagine.naming import STATE_DIR
from batch_reimagine.output import Tree
from batch_reimagine.places import Place, open_tree
from batch_reimagine.provider import request_of
from batch_reimagine.reckoning import Reckoning
from batch_reimagine.salvaging import Salvage
from batch_reimagine.settings import Settings
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
        self.request = request_of(settings)
        self.index = Index(self.request)
        self.known = Known(tree, self.index, settings)
        self.money = Reckoning(tree, self.books, settings)
        self.damaged: list[str] = []  #: lines of the manifest that are no rows
        self.disbelieved = 0  #: rows that name an output as this tool never would
        self.salvage = Salvage(tree, settings, run)
        self._settings = settings
        self.notes: list[str] = []  #: of the output's opening, for people
        self._summing: journals.Summing | None = None
        self.lock: Lock | None = None
        self._log: Log | None = None
        self._journal_log: Log | None = None
        self.journal: Journal | None = None

    def read(self) -> None:
        """Take in the journals and the manifest."""
        self.index.other_requests |= self.money.read() - {self.request}
        awaited = self.money.awaits_rows
        if self.known.restore() and not awaited:
            return
        self.index.clear()
        for row in books.read_rows(self.tree.root, self.damaged.append):
            if not self.index.add(row):
                self.disbelieved += 1
            elif awaited:
                self.money.take(row)
        self.index.strange |= bool(self.damaged or self.disbelieved)

    def check_request(self) -> None:
        """Refuse an output made with other settings. Raises OutputMismatch that names them."""
        others = self.index.other_requests
        if others:
            words = " / ".join(sorted(others))
            told = "".join(c if c.isprintable() else "?" for c in words)[:200]
            raise OutputMismatch(
                f"{self.tree.root} was made with other settings: {told}; this"
                f" run asks for: {self.request}. Choose another -o for these, or go back"
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
        self.money.take_back()
        self.read()
        self.check_request()
        self.money.count_elsewhere()
        self._summing = journals.Summing(own.journal)
        self._log = open_log(own.manifest)
        self._journal_log = open_log(own.journal)
        self.journal = Journal(self._journal_log, self.run)
        rows = self.money.rows_of_the_dead(self.salvage)
        for row in rows:
            self.index.add(row)
        if rows:
            self._log.write_now([manifest.encode(row) for row in rows])
        self.money.write_ends(self._journal_log)

    async def append(self, row: Record) -> None:
        """Durable when it returns. Raises LocalResource."""
        assert self._log is not None  # noqa: S101 - opened before anything is made
        await self._log.append(manifest.encode(row))
        self.index.add(row)

    async def adopt(self, row: Record) -> None:
        """Enter a picture that lies there whole, bought by a run whose row of it was lost."""
        assert self._journal_log is not None  # noqa: S101 - opened before anything is made
        if row.time > self.money.accounts.get(row.run, ""):  # else its cost is in that account
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
            if self.money.told is not None:
                account = self.money.told.apart(account)
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
        if lost := self.money.balance.damaged:
            notes.append(
                f"attempts journal: {lost} lines cannot be read; what they cost is not in the sums"
            )
        if self.disbelieved:
            notes.append(
                f"the manifest: {self.disbelieved} rows are not believed: no output of ours"
            )
        if self.salvage.recovered:
            notes.append(
                f"{self.salvage.recovered} pictures of a run that died were whole, and are kept"
            )
        if count := self.salvage.lost:
            price = self._settings.price
            most = "price not known" if price is None else f"at most {price * count}"
            held = self._settings.on_unknown == "hold"
            what = "held, for --on-unknown hold" if held else "they are made again"
            notes.append(
                f"{count} pictures that a run before this one asked for were not kept, and may have"
                f" been paid ({most}); {what}"
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
    ledger.read()
    ledger.salvage.lost = ledger.money.unsettled
    ledger.check_request()
    return ledger
