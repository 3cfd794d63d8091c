"""Decisions of several people about one output in a store: each keeps a log, and none is lost.

Everybody decides in the log beside his own books, durable at once. The store holds the union
of all logs; it is put again only over the version that was read, so that of two who put in the
same moment the second reads again. All methods block.
"""

import hashlib
import time
from threading import Lock
from typing import TYPE_CHECKING

from batch_reimagine.errors import OutputBusy, OutputMismatch, Rejected
from batch_reimagine.output import Tree
from batch_reimagine.picks import CSV_FILE, FILE, Picks
from batch_reimagine.picks_csv import to_csv
from batch_reimagine.picks_line import decoded

if TYPE_CHECKING:
    from batch_reimagine.cloud import Objects

_MOST_BYTES = 100_000_000  # of a log
_TRIES = 8
_PAUSE_S = 0.05  # times the try: who puts at the same time puts once
_TYPES = {FILE: "application/jsonl", CSV_FILE: "text/csv"}


class Sharing:
    """The decisions of one output, and those in its store; of a local output nothing is shared.

    For several threads, one at a time works.
    """

    def __init__(self, tree: Tree, picks: Picks) -> None:
        self._tree = tree
        self._picks = picks
        self._turn = Lock()
        self._same: tuple[str | None, int] | None = None  # ETag and lines when all was the same
        self._csv: tuple[str, str] | None = None  # sha256 and ETag of the table that we put
        self._wrote = False
        self._settled = -1  # lines of ours when all was brought together

    def sync(self, *, table: bool = False) -> list[str]:
        """Take in what others have decided, put what they have not; returns notes for people.

        table: also put picks.csv if nothing of ours was put.
        Raises AccountRefused, UsageError, ServiceGone, OutputMismatch, LocalResource, and
        OutputBusy if others write all the time: what was decided is safe in the books then.
        """
        if not self._tree.remote:
            return []
        from batch_reimagine.cloud.tree import CloudTree  # noqa: PLC0415 - an extra

        assert isinstance(self._tree, CloudTree)  # noqa: S101 - no other is remote
        objects = self._tree.objects
        with self._turn:
            lines = self._merge(objects)
            notes = self._put_table(objects) if table or self._wrote else []
            self._settled = lines
            return notes

    @property
    def is_settled(self) -> bool:
        """Whether the store has all that was decided here, as far as is known without asking it."""
        return not self._tree.remote or self._settled == len(self._picks.lines())

    def _merge(self, objects: "Objects") -> int:
        """Make both logs the same; how many lines they have."""
        from batch_reimagine.cloud.objects import Changed  # noqa: PLC0415 - an extra

        for again in range(_TRIES):
            time.sleep(again * _PAUSE_S)
            ours = self._picks.lines()
            about = objects.about(FILE)
            if self._same == (about[0].etag if about else None, len(ours)):
                return len(ours)
            text, etag = _got(objects) if about else (b"", None)
            theirs = [line for line in text.split(b"\n") if decoded(line)]
            if self._picks.take_in(theirs):
                ours = self._picks.lines()
            known = set(theirs)
            missing = [line for line in ours if line not in known]
            if missing:
                end = b"\n" if text and not text.endswith(b"\n") else b""
                whole = text + end + b"".join(line + b"\n" for line in missing)
                when = "new" if about is None else etag or "always"
                try:
                    etag = objects.put(FILE, whole, content_type=_TYPES[FILE], when=when) or None
                except (Changed, FileExistsError):
                    continue
                self._wrote = True
            self._same = etag, len(ours)
            return len(ours)
        raise OutputBusy(
            f"others write their decisions to {objects.address} all the time: yours are kept in"
            f" {self._tree.root}, and go there with the next command"
        )

    def _put_table(self, objects: "Objects") -> list[str]:
        """Put picks.csv, unless it is there; one that somebody has edited is renamed."""
        self._picks.read_on()
        text = to_csv(self._picks.items()).encode("utf-8-sig")
        sha256 = hashlib.sha256(text).hexdigest()
        if self._csv is not None and self._csv[0] == sha256:
            return []
        about, notes = objects.about(CSV_FILE), list[str]()
        if about is not None and (self._csv is None or about[0].etag != self._csv[1]):
            notes = _set_aside(objects, about[1].get("sha256"), sha256)
        told = {"sha256": sha256}
        etag = objects.put(CSV_FILE, text, about=told, content_type=_TYPES[CSV_FILE])
        self._csv = sha256, etag
        return notes


def _got(objects: "Objects") -> tuple[bytes, str | None]:
    try:
        text, entry = objects.get(FILE, most_bytes=_MOST_BYTES)
    except FileNotFoundError:
        return b"", None
    except Rejected as error:
        raise OutputMismatch(f"{objects.address}/{FILE} is no list of decisions: {error}") from None
    return text, entry.etag


def _set_aside(objects: "Objects", told: str | None, new: str) -> list[str]:
    """Rename the table if its bytes are none of ours: what we put tells its own hash."""
    try:
        found = hashlib.sha256(objects.get(CSV_FILE, most_bytes=_MOST_BYTES)[0]).hexdigest()
    except (FileNotFoundError, Rejected):
        return []
    if found in {told, new}:
        return []
    name = f"picks-edited-{found[:8]}.csv"
    objects.move(CSV_FILE, name)
    return [
        f"{objects.address}/{CSV_FILE} had been edited: it is {name} now;"
        " `batch-reimagine pick OUT --from` takes a copy of it in"
    ]
