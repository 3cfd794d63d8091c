"""What somebody chose: one line a decision, append-only beside the manifest.

The latest one by its time counts, wherever its line stands: logs of two machines are brought
together by appending to each what it lacks (`take_in`). `picks.csv` says the same for people and
their spreadsheets, is written from it, and can be edited and read back. All functions block.
"""

import errno
import fcntl
import hashlib
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

import msgspec

from batch_reimagine.choice import MOST_NOTE, UNDECIDED, Choice
from batch_reimagine.durable import no_write, sync_folder
from batch_reimagine.errors import OutputBusy, OutputMismatch, PhotoError
from batch_reimagine.following import Following
from batch_reimagine.log import repair_tail
from batch_reimagine.naming import STATE_DIR
from batch_reimagine.output import Tree
from batch_reimagine.picks_csv import from_csv, to_csv
from batch_reimagine.picks_line import Line, after, decoded
from batch_reimagine.reading import read_photo
from batch_reimagine.work import utc_now

__all__ = [
    "CSV_FILE",
    "FILE",
    "MOST_NOTE",
    "UNDECIDED",
    "Choice",
    "Picks",
    "StaleError",
    "Standing",
    "from_csv",
    "to_csv",
]

FILE = "picks.jsonl"
CSV_FILE = "picks.csv"
_PATIENCE_S = 10.0  # for others who write: each holds the log for one fsync
_LOOK_EVERY_S = 0.001
_TRIES = 3
_NO_FILE = {errno.ELOOP, errno.ENXIO, errno.EISDIR}  # a link, a pipe, a folder


@dataclass(frozen=True, slots=True)
class Standing:
    """A decision that counts, and its number among all that were made about the same product."""

    choice: Choice = UNDECIDED
    revision: int = 0  #: 0: nobody has decided anything
    time: str = field(default="", compare=False)  #: as its line tells; UTC ISO 8601


class StaleError(Exception):
    """Somebody else decided meanwhile; holds what counts now."""

    def __init__(self, standing: Standing) -> None:
        super().__init__("changed meanwhile")
        self.standing = standing


class Picks:
    """The decisions of one output.

    Several processes may write, and several threads may share one Picks; each sees what the
    others wrote.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._path = tree.root / FILE
        self._log = Following(self._path)
        self._standing: dict[str, Standing] = {}
        self._changed: set[str] = set()  # not yet told by `follow`
        self._turn = RLock()
        self._seal = tree.root / STATE_DIR / f"{CSV_FILE}.sha256"  # of the one that we wrote last
        self.set_aside: Path | None = None  #: picks.csv as somebody had edited it
        self.patience_s = _PATIENCE_S  #: how long one who holds the log is waited for

    def follow(self) -> set[str]:
        """Take in what was written since the last time; return the sources whose decision changed.

        Those of this object's own `decide` are among them, once.
        Raises OutputMismatch for a log that is no regular file.
        """
        with self._turn:
            self._read_on()
            changed, self._changed = self._changed, set()
            return changed

    def read_on(self) -> None:
        """Take in what was written since; `follow` tells of it later. Raises as it does."""
        with self._turn:
            self._read_on()

    def _read_on(self) -> None:
        with self._log.more() as (anew, lines):
            before = self._standing
            now = {} if anew else before
            for line in lines:
                if (row := decoded(line)) is None:
                    continue
                known = now.get(row.source, Standing())
                wins = row if row.time >= known.time else known
                now[row.source] = Standing(wins.choice, known.revision + 1, wins.time)
                if not anew:
                    self._changed.add(row.source)
            if anew:
                self._changed.update(s for s in before.keys() | now if before.get(s) != now.get(s))
            self._standing = now

    def of(self, source: str) -> Standing:
        return self._standing.get(source, Standing())

    def items(self) -> Iterator[tuple[str, Choice]]:
        """Every source that somebody decided about, in order, also one that is undecided again."""
        with self._turn:
            known = sorted(self._standing.items(), key=lambda item: item[0])
        for source, standing in known:
            yield source, standing.choice

    def decide(self, source: str, choice: Choice, *, revision: int | None = None) -> Standing:
        """Write a decision down; durable when it returns.

        revision: what it was made on; None: whatever was decided before.
        Raises StaleError, with nothing written, if that is not the last one; LocalResource when
        the disk refuses, OutputBusy when others hold the log for more than ten seconds, and
        OutputMismatch for a log that is no regular file.
        """
        revisions = {} if revision is None else {source: revision}
        return self.decide_all({source: choice}, revisions)[source]

    def decide_all(
        self, choices: Mapping[str, Choice], revisions: Mapping[str, int] | None = None
    ) -> dict[str, Standing]:
        """Write several down with one fsync, as `decide` does; whatever is refused, none.

        Only a machine that dies meanwhile may leave the first of them.
        """
        with self._locked() as handle:
            self._read_on()
            for source, revision in (revisions or {}).items():
                if (standing := self.of(source)).revision != revision:
                    raise StaleError(standing)
            now = utc_now()
            lines = [
                msgspec.json.encode(Line(time=time_, source=source, choice=choice)) + b"\n"
                for source, choice in choices.items()
                if choice != (standing := self.of(source)).choice
                and (time_ := after(now, standing.time))
            ]
            if lines:
                _append(handle, b"".join(lines))
                self._read_on()
            return {source: self.of(source) for source in choices}

    def lines(self) -> list[bytes]:
        """Every line that decides something, without its end, as it stands in the log.

        Raises OutputMismatch for a log that is no regular file.
        """
        with Following(self._path).more() as (_, lines):
            return [line for line in lines if decoded(line)]

    def take_in(self, lines: Iterable[bytes]) -> int:
        """Append what another machine has decided and is not here; how many lines it was.

        Raises as `decide` does.
        """
        others = [line for line in dict.fromkeys(lines) if decoded(line)]
        if not set(others) - set(self.lines()):
            return 0
        with self._locked() as handle:
            here = set(self.lines())
            new = [line for line in others if line not in here]
            _append(handle, b"".join(line + b"\n" for line in new))
            self._read_on()
            return len(new)

    def write_csv(self, *, taken_in: bool = False) -> Path:
        """Write picks.csv anew from what counts, whole or not at all. Raises as `decide` does.

        One that somebody has edited is not lost: it is renamed, and `set_aside` tells where to;
        taken_in: what it says has been decided already.
        """
        path = self._tree.root / CSV_FILE
        with self._locked():  # so that an older state never takes a newer one's place
            self._read_on()
            text = to_csv(self.items()).encode("utf-8-sig")
            try:
                if not taken_in:
                    self._keep_edits(path, text)
                self._replace(path, text)
                self._replace(self._seal, hashlib.sha256(text).hexdigest().encode())
            except OSError as error:
                raise no_write(path, error) from None
        return path

    def _keep_edits(self, path: Path, text: bytes) -> None:
        found = _bytes(path)
        if not found or found == text:
            return
        if hashlib.sha256(found).hexdigest().encode() == _bytes(self._seal):
            return
        free = (path.with_name(f"picks-edited-{n}.csv") for n in itertools.count(1))
        self.set_aside = next(name for name in free if not os.path.lexists(name))
        path.rename(self.set_aside)

    def _replace(self, path: Path, text: bytes) -> None:
        for _ in range(_TRIES):
            try:
                return self._tree.replace(path, [text])
            except FileNotFoundError:
                # There is no state folder in a copy; and a run that begins empties it.
                self._tree.prepare(force=True)
        return self._tree.replace(path, [text])

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The log, opened and held against other writers; a torn last line is cut off."""
        with self._turn:
            handle = self._held()
            try:
                if os.fstat(handle).st_size == 0:
                    sync_folder(self._path.parent)
                else:
                    repair_tail(self._path)
                yield handle
            except OSError as error:
                raise no_write(self._path, error) from None
            finally:
                os.close(handle)

    def _held(self) -> int:
        began = time.monotonic()  # the kernel itself would let us wait for ever
        while True:
            handle = self._opened()
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)  # another file may have its name by the next look
                if time.monotonic() - began >= self.patience_s:
                    break
                time.sleep(_LOOK_EVERY_S)
            except OSError as error:
                os.close(handle)
                raise no_write(self._path, error) from None
            else:
                return handle
        raise OutputBusy(f"{self._path} is held by another process: end that, and try again")

    def _opened(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            return os.open(self._path, flags | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno in _NO_FILE:
                raise OutputMismatch(f"{self._path} is no regular file: remove it") from None
            raise no_write(self._path, error) from None


def _bytes(path: Path) -> bytes:
    """What a file holds; nothing if there is none."""
    try:
        return read_photo(path)[0]  # it follows no link, and hangs on no pipe
    except PhotoError:
        return b""


def _append(handle: int, data: bytes) -> None:
    """All of it, durably, or, should the disk refuse, nothing. Raises OSError."""
    size = os.fstat(handle).st_size
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, size)
        raise
