"""One picture of an export: what lies there already, and how it gets there. Blocks."""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from batch_reimagine import mark
from batch_reimagine.export.convert import NoPictureError, convert
from batch_reimagine.export.lists import LIST, Kept
from batch_reimagine.export.names import fold
from batch_reimagine.export.plan import Item, look_at
from batch_reimagine.export.target import Target
from batch_reimagine.marking import sidecar_name
from batch_reimagine.output import Tree
from batch_reimagine.proof import IncompleteError, prove

FILE = "file"  #: how the records of pictures begin
_MOST_SIDECAR_BYTES = 10_000_000


@dataclass(slots=True)
class Seen:
    """What came out of the look at, or the work on, one picture."""

    item: Item
    there: bool = False  #: a file of its name
    kept: Kept | None = None
    clash: str | None = None  #: a file of that name that is another
    damaged: bool = False
    lost: bool = False  #: Content Credentials
    clear: bool = False
    moved: bool = False


class Pictures:
    """Takes pictures from an output to a target. Its methods may run in several threads."""

    def __init__(self, tree: Tree, target: Target) -> None:
        self._tree, self._target = tree, target
        self._records: dict[str, set[str]] = {}

    def read_records(self) -> None:
        """Take in what earlier exports wrote down."""
        self._records = self._target.records()

    def is_ours(self, name: str, words: str | None = None) -> bool:
        """Whether a list that lies there is as an export wrote it.

        words: what it was made of; None: whatever it was.
        """
        sha256 = self._target.sha256(name)
        if words is not None:
            return sha256 in self._records.get(words, ())
        return any(
            sha256 in made for of, made in self._records.items() if of.startswith(f"{LIST} {name} ")
        )

    def note(self, name: str, sha256: str) -> None:
        """Write down that a picture of this name is ours, for exports to come."""
        if sha256 not in self._records.get(f"{FILE} {name}", ()):
            self._target.record(f"{FILE} {name}", sha256)

    def left(self, items: Iterable[Item]) -> list[str]:
        """Names of pictures that exports wrote, which lie there still and are none of these."""
        asked = {fold(item.file): item.file for item in items}
        found = []
        for words, made in self._records.items():
            kind, _, name = words.partition(" ")
            if kind != FILE or self._target.is_same(name, asked.get(fold(name))):
                continue
            if self._target.still_holds(name, made):
                found.append(name)
        return sorted(found)

    def look(self, item: Item) -> Seen:
        """Compare a picture with what lies there. Raises UsageError for a link in its place."""
        seen = Seen(item, there=self._target.lies_there(item.file))
        beside = self._beside(item)
        if item.copied and beside is not None and self._is_other(item.sidecar, beside):
            seen.clash = item.sidecar
        if not seen.there and (item.copied or item.mark != "sidecar"):
            return seen
        data = self._read(item)
        if data is None:
            seen.damaged = True
            return seen
        seen.lost = not item.copied and mark.has_credentials(data)
        if seen.there:
            found = self._target.sha256(item.file)
            if found in self._made_of(item, data, beside):
                seen.kept = self._kept(item, found, beside)
            else:
                seen.clash = item.file
        return seen

    def _is_other(self, name: str, data: bytes) -> bool:
        return self._target.lies_there(name) and self._target.sha256(name) != sha256_of(data)

    def _made_of(self, item: Item, data: bytes, beside: bytes | None) -> set[str]:
        """The hashes of the files that this picture may have become."""
        if item.copied:
            return {sha256_of(data)}
        known = self._records.get(_words(item, data, beside), set())
        with suppress(NoPictureError):
            known = known or {sha256_of(convert(data, item.wish, beside).data)}
        return known

    def _kept(self, item: Item, sha256: str, beside: bytes | None) -> Kept | None:
        """What lies there; None if the file that belongs beside it does not."""
        look = look_at(self._target.path(item.file))
        if look is None:
            return None
        sidecar = sha256_of(beside) if item.copied and beside is not None else None
        if sidecar and not self._target.lies_there(item.sidecar):
            return None
        return Kept(item, sha256, look.size, look.width, look.height, sidecar)

    def _read(self, item: Item) -> bytes | None:
        """The picture; None if it is no whole one any more."""
        try:
            data = self._tree.read(item.output)
            if sha256_of(data) != item.sha256:
                prove(data)  # somebody edited it; that is his right
        except (OSError, IncompleteError):
            return None
        return data

    def _beside(self, item: Item) -> bytes | None:
        name = sidecar_name(item.output)
        if not self._tree.holds(name):
            return None
        with suppress(OSError):
            return self._tree.read(name) if self._tree.size(name) <= _MOST_SIDECAR_BYTES else None
        return None

    def write(self, seen: Seen) -> Seen:
        """Write one picture; what belongs beside it comes first."""
        item = seen.item
        data, beside = self._read(item), self._beside(item)
        if data is None:
            seen.damaged = True
            return seen
        new = data
        if not item.copied:
            try:
                made = convert(data, item.wish, beside)
            except NoPictureError:
                seen.damaged = True
                return seen
            new = made.data
            seen.lost, seen.clear = made.lost_credentials, made.was_transparent
            seen.moved = made.first_frame
            self._target.record(_words(item, data, beside), sha256_of(new))
        elif beside is not None and not self._target.lies_there(item.sidecar):
            self._target.write(item.sidecar, beside)
        self.note(item.file, sha256_of(new))
        if not seen.there:
            self._target.write(item.file, new)
        seen.kept = self._kept(item, sha256_of(new), beside)
        return seen


def _words(item: Item, data: bytes, beside: bytes | None) -> str:
    return f"{sha256_of(data)} {sha256_of(beside) if beside else '-'} {item.wish.words}"


def sha256_of(data: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(data).hexdigest()
