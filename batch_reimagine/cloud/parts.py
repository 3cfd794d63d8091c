"""The books of an output in a store: rows go there in numbered parts, with an account of money.

A store cannot append. So this machine's manifest file is put in parts of whole lines, the last
of which is put again while it grows (`pulled` brings other machines' parts here). Beside them
an account of what these books have spent, for a budget that holds on whatever machine. Blocks.
"""

import os
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from batch_reimagine.cloud.objects import Entry, Objects
from batch_reimagine.cloud.pulled import ID, pull, pulled_of
from batch_reimagine.durable import no_write, sync_folder, write_new, write_once
from batch_reimagine.errors import LocalResource, Rejected
from batch_reimagine.naming import STATE_DIR
from batch_reimagine.output import PARTS

_ACCOUNTS = f"{STATE_DIR}/accounts/"
_MOST_ACCOUNT_BYTES = 64 << 10
_ID_FILE = "books-id"
_WERE_FILE = "books-were"
_LEASE_FILE = "lease-token"
_PART_BYTES = 1 << 20  # of whole lines; a longer part is closed and the next one begun
_WORD = re.compile(r"[0-9A-Za-z]{16}")


@dataclass(slots=True)
class _Part:
    """A stretch of this machine's file."""

    begin: int
    size: int  #: bytes in the store


class Parts:
    """root: the local books. writer: tag of the shard whose rows these are, "" for the whole."""

    def __init__(self, objects: Objects, root: Path, writer: str) -> None:
        self._objects = objects
        self._root = root
        self._writer = writer
        self._parts: list[_Part] | None = None
        self._account = b""
        self._id: str | None = None
        self.holder = f"pid {os.getpid()} on {socket.gethostname()}"

    @property
    def token(self) -> str:
        """The unguessable word of this machine's books, whatever becomes of them; made once."""
        return self._word_in(_LEASE_FILE)

    @property
    def id(self) -> str:
        """What the parts of these books are named after."""
        if self._id is None:
            word = self._word_in(self._file(_ID_FILE))
            self._id = f"{word}.{self._writer}" if self._writer else word
        return self._id

    def _file(self, name: str) -> str:
        """A file of this writer alone: shards begin and end when they like."""
        return f"{name}.{self._writer}" if self._writer else name

    def _words(self) -> set[str]:
        """The words that the books on this machine are named after."""
        state = self._root / STATE_DIR
        try:
            return {_text(path.read_bytes()) for path in state.glob(f"{_ID_FILE}*")}
        except OSError as error:
            raise no_write(state, error) from None

    def _word_in(self, name: str) -> str:
        path = self._root / STATE_DIR / name
        try:
            if path.exists() and not _WORD.fullmatch(_text(path.read_bytes())):
                path.unlink()
            there = path.read_bytes() if path.exists() else None
            return _text(there or write_once(path, secrets.token_hex(8).encode(), 0o600))
        except OSError as error:
            raise no_write(path, error) from None

    def settle(self, rows: Path) -> None:
        """Become other books if the store's parts are not what this machine's file was put as.

        Then they are taken in as those of another machine; what they had spent until now stays
        known as this machine's. Raises RunError.
        """
        entries = [
            entry
            for page in self._objects.pages(f"{PARTS}/part-{self.id}-")
            for entry in page
            if pulled_of(entry.name)
        ]
        try:
            with rows.open("rb") as opened:
                self._parts = _fitting(entries, opened)
        except FileNotFoundError:
            self._parts = None if entries else [_Part(0, 0)]
        except OSError as error:
            raise _unread(rows, error) from None
        if self._parts is None:
            self._become_others()
            self._parts = [_Part(0, 0)]

    def _become_others(self) -> None:
        path = self._root / STATE_DIR / self._file(_WERE_FILE)
        were = _were(path)
        were[self.id] = self._account_of(self.id).decode("utf-8", "replace")
        temp = path.with_name(f".{path.name}.new")  # which no glob of these names finds
        try:
            temp.unlink(missing_ok=True)
            write_new(temp, msgspec.json.encode(were), 0o600)
            temp.rename(path)
            path.with_name(self._file(_ID_FILE)).unlink(missing_ok=True)
            sync_folder(path.parent)
        except OSError as error:
            raise no_write(path, error) from None
        self._id = None

    def push(self, rows: Path, account: bytes) -> None:
        """Put the lines that the store does not have yet, and the account. Raises RunError.

        For one thread at a time.
        """
        if self._parts is None:
            self.settle(rows)
        try:
            with rows.open("rb") as opened:
                self._push(opened)
        except FileNotFoundError:
            pass  # no row was ever written
        except OSError as error:
            raise _unread(rows, error) from None
        if account != self._account:
            self._objects.put(f"{_ACCOUNTS}{self.id}.json", account)
            self._account = account

    def _push(self, opened: BinaryIO) -> None:
        parts = self._parts or [_Part(0, 0)]
        while True:
            at = parts[-1]
            whole, full = _stretch(opened, at.begin)
            if len(whole) > at.size:
                name = f"{PARTS}/part-{self.id}-{len(parts):06d}.jsonl"
                self._objects.put(name, whole, content_type="application/jsonl")
                at.size = len(whole)
            if not (full and whole):
                return
            parts.append(_Part(at.begin + at.size, 0))

    def pull(self) -> None:
        """Bring other machines' rows up to date here. Raises RunError."""
        own = {self.id.partition(".")[0], *self._words()}
        others: dict[str, list[Entry]] = {}
        for page in self._objects.pages(f"{PARTS}/part-"):
            for entry in page:
                found = pulled_of(entry.name)
                if found and found[0].partition(".")[0] not in own:
                    others.setdefault(found[0], []).append(entry)
        for id_, entries in others.items():
            pull(self._objects, self._root, id_, entries)

    def elsewhere(self) -> list[bytes]:
        """The accounts of all other machines' books. Raises RunError."""
        state, here = self._root / STATE_DIR, {self.id.partition(".")[0], *self._words()}
        for path in state.glob(f"{_WERE_FILE}*"):
            here.update(id_.partition(".")[0] for id_ in _were(path))
        ids = [id_ for id_ in self._accounts() if id_.partition(".")[0] not in here]
        return [self._account_of(id_) for id_ in ids]

    def own(self) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """The accounts of this run's own journal. Raises RunError.

        What it told under its present id; and for each that it had before, what it had told by
        the time that it became another, and what that is now: a copy of these books may have
        gone on with it on another machine.
        """
        were = _were(self._root / STATE_DIR / self._file(_WERE_FILE))
        before = [(text.encode(), self._account_of(id_)) for id_, text in were.items()]
        return self._account_of(self.id), before

    def _accounts(self) -> list[str]:
        """The ids of all books that told what they have spent."""
        names = [
            entry.name.removeprefix(_ACCOUNTS).removesuffix(".json")
            for page in self._objects.pages(_ACCOUNTS)
            for entry in page
        ]
        return [name for name in names if ID.fullmatch(name)]

    def _account_of(self, id_: str) -> bytes:
        """b"" for one that went away, and for one too large to be any."""
        try:
            return self._objects.get(f"{_ACCOUNTS}{id_}.json", most_bytes=_MOST_ACCOUNT_BYTES)[0]
        except (FileNotFoundError, Rejected):
            return b""


def _were(path: Path) -> dict[str, str]:
    """What books were named before: the ids, and the account of each as it was then."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _stretch(opened: BinaryIO, begin: int) -> tuple[bytes, bool]:
    """The whole lines of the part that begins there, and whether lines after it are another's.

    A line that is longer than a part is one by itself.
    """
    opened.seek(begin)
    read = opened.read(_PART_BYTES)
    full = len(read) == _PART_BYTES
    if full and b"\n" not in read:
        read += opened.readline()
    return read[: read.rfind(b"\n") + 1], full


def _fitting(entries: list[Entry], opened: BinaryIO) -> list[_Part] | None:
    """What the store has of a file, or None: these are not the parts that it was put as."""
    parts, begin, end = list[_Part](), 0, opened.seek(0, os.SEEK_END)
    for number, entry in enumerate(entries, 1):
        found = pulled_of(entry.name)
        behind = begin + entry.size
        if found is None or found[1] != number or not begin < behind <= end:
            return None
        opened.seek(behind - 1)
        if opened.read(1) != b"\n":
            return None
        if number < len(entries):  # closed: no line more had room in it
            room = begin + _PART_BYTES - behind
            if begin + _PART_BYTES > end or b"\n" in opened.read(max(0, room)):
                return None
        parts.append(_Part(begin, entry.size))
        begin = behind
    return parts or [_Part(0, 0)]


def _unread(rows: Path, error: OSError) -> LocalResource:
    return LocalResource(f"{rows} cannot be read: {error.strerror}")


def _text(data: bytes) -> str:
    return data.decode("ascii", "replace").strip()
