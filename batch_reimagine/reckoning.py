"""Money and attempts of all runs before this one: what the journals, the rows and the store tell.

The whole accounts for all journals of an output; a shard for its own, and for its part of
what was paid by runs that divided the job otherwise.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from batch_reimagine import books
from batch_reimagine import journal as journals
from batch_reimagine.books import Books
from batch_reimagine.journal import Balance, End, Try, end_of
from batch_reimagine.log import Log, open_log
from batch_reimagine.output import Tree
from batch_reimagine.provider.judging import is_never_billed
from batch_reimagine.salvaging import Salvage
from batch_reimagine.settings import Settings
from batch_reimagine.shard import Shard
from batch_reimagine.told import Told
from batch_reimagine.tries import append, by_variation, settles, share_of, without
from batch_reimagine.work import Record


class Reckoning:
    """What was spent, and which tries nobody has settled. All methods block."""

    def __init__(self, tree: Tree, own: Books, settings: Settings) -> None:
        self.balance = Balance()  #: as it counts for this run: of a shard, its part
        self.told: Told | None = None
        self.accounts: dict[str, str] = {}  #: of other machines: run, and time of the account
        self._tree = tree
        self._books = own
        self._price = settings.price
        self._journal_of: dict[str, Path] = {}  # of each try without an end
        self._tries: dict[str, Try] = {}  # likewise, as they stand there
        self._pending: dict[str, Try] = {}  # likewise, but for what rows have settled of them
        self._foreign: dict[str, Try] = {}  # of dead runs that divided the job otherwise
        self._awaited: Mapping[tuple[str, int], list[Try]] = {}
        self._came: Counter[str] = Counter()  # pictures of each try that are known to be there
        self._ends: list[End] = []  # that rows tell and the journals lack

    def read(self) -> set[str]:
        """Take in the journals; return the requests of the tries without an end."""
        shard = self._books.shard
        others = Balance()
        for journal in books.read_journals(self._tree.root, shard):
            if shard is None or journal.shard == shard:
                self.balance.add(journal.balance)
                self._tries.update(journal.pending)
                self._journal_of.update(dict.fromkeys(journal.pending, journal.path))
            else:
                others.add(journal.balance)
                others.risk(journal.pending.values())
                mine = {id_: t for id_, t in journal.pending.items() if shard.has(t.source)}
                self._foreign.update(mine)
        if shard is not None:
            self.balance.add(share_of(others, shard, self._price))
        self._pending = dict(self._tries)
        unsettled = [*self._pending.values(), *self._foreign.values()]
        self._awaited = by_variation(unsettled)
        return {attempt.request for attempt in unsettled if attempt.request}

    @property
    def awaits_rows(self) -> bool:
        """Whether rows may tell what became of tries."""
        return bool(self._awaited)

    @property
    def open_tries(self) -> list[Try]:
        """Those that neither an end nor a row has settled, or what is left of them."""
        return list(self._pending.values())

    @property
    def unsettled(self) -> int:
        """Pictures that were asked for, and of which nobody told what became."""
        return sum(len(attempt.numbers) for attempt in self._pending.values())

    def take(self, row: Record) -> None:
        """Account for what a row alone tells of a try."""
        for attempt in self._awaited.get((row.source, row.variation), ()):
            if not settles(row, attempt):
                continue
            if attempt.id in self._foreign:  # the whole settles it, in its own journal
                _strike(self._foreign, attempt.id, row)
            elif row.variation in self._numbers(attempt.id):
                self._settle(row, attempt)

    def _numbers(self, id_: str) -> tuple[int, ...]:
        return self._pending[id_].numbers if id_ in self._pending else ()

    def _settle(self, row: Record, attempt: Try) -> None:
        """With its last variation a try has its end."""
        id_ = attempt.id
        status = row.http[attempt.attempt - 1] if attempt.attempt <= len(row.http) else None
        paid = row.status == "done" and attempt.attempt == row.attempts
        if not paid and is_never_billed(status):
            del self._pending[id_]
            self._ends.append(End(id=id_, money="free", http=status))
            return
        before = len(self._numbers(id_))
        _strike(self._pending, id_, row)
        about = before - len(self._numbers(id_))
        self.balance.count("spent" if paid else "unknown", attempt.price, about)
        self._came[id_] += paid
        if id_ not in self._pending:
            self._ends.append(end_of(attempt, self._came[id_], status))

    def rows_of_the_dead(self, salvage: Salvage) -> list[Record]:
        """A row for each variation that was in flight when its run died."""
        rows = []
        for (_, number), attempts in by_variation(self._pending.values()).items():
            row = salvage.row(number, attempts, self.balance)
            rows.append(row)
            self._came[attempts[-1].id] += row.status == "done"
        self._ends += [end_of(self._tries[id_], self._came[id_]) for id_ in self._pending]
        for (_, number), attempts in by_variation(self._foreign.values()).items():
            if adopted := salvage.adopted(number, attempts):
                rows.append(adopted)
        return rows

    def write_ends(self, log: Log) -> None:
        """Each into the journal that its try is in: of the whole, also those of shards.

        log: of the own journal. Raises LocalResource.
        """
        by_path: dict[Path, list[bytes]] = {}
        for end in self._ends:
            by_path.setdefault(self._journal_of[end.id], []).append(journals.encode(end))
        if lines := by_path.pop(self._books.journal, None):
            log.write_now(lines)
        for path, lines in by_path.items():
            append(path, lines)

    def take_back(self) -> None:
        """Enter in the journal what it once told, and has lost: its account in the store has it."""
        if not self._tree.remote:
            return
        self.told = told = Told(*self._tree.own())
        self.accounts.update(told.runs)
        if carry := told.lacking(self._books.journal):
            open_log(self._books.journal).close()  # it may be gone as a whole
            append(self._books.journal, [journals.encode(carry)])

    def count_elsewhere(self) -> None:
        """Add what other machines have spent; of a shard, as `read` does."""
        shard, others = self._books.shard, Balance()
        if self.told is not None:
            self.balance.add(self.told.grown)
        for text in self._tree.elsewhere():
            theirs = Balance()
            if (told := journals.add_account(text, theirs)) is None:
                continue
            self.accounts[told.run] = told.time
            of = Shard.of(told.shard or "")
            if shard is None or of == shard:
                self.balance.add(theirs)
            elif of is None or of.n != shard.n:
                others.add(theirs)
        if shard is not None:
            self.balance.add(share_of(others, shard, self._price))


def reckoning_of(tree: Tree) -> Reckoning:
    """For who only looks: all journals of an output, read; `take` is to be told its rows."""
    money = Reckoning(tree, Books.of(tree.root, None), Settings())
    money.read()
    return money


def _strike(tries: dict[str, Try], id_: str, row: Record) -> None:
    """Take from a try what a row settles: a rejection is about the photo, so about all of it."""
    left = without(tries.pop(id_), row.variation)
    if left is not None and row.status != "rejected":
        tries[id_] = left
