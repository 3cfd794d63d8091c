"""What an output is known to hold, kept between its runs: resuming a finished job is quick.

Of each photo what it looked like when it was hashed: if its size, its times and its
inode are the same, it need not be read again. And the index over the manifest, as long
as not a byte of the manifest has changed. `--rehash` believes neither.
Losing the file costs time only. All methods block, and may be called from several threads.
"""

import hashlib
import itertools
import os
import struct
import time
from array import array
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from batch_reimagine.books import Books, looks_of, manifest_files
from batch_reimagine.errors import LocalResource
from batch_reimagine.manifest import Index, Place, is_inside
from batch_reimagine.output import MANIFEST, Tree
from batch_reimagine.provider import request_of
from batch_reimagine.reading import Looks, ObjectLooks
from batch_reimagine.settings import Settings

FILE = "known.msgpack"
_VERSION = 1
_LOOKS = struct.Struct("<QqqQ")  # size, time of change of data and of inode, inode
_CONTENT_BYTES = 32
_SETTLED_NS = 2_000_000_000  # a file that changed less ago may change again within one tick
_MOST_PIECE_BYTES = 100_000_000
_LINES_A_PIECE = 1000


class _Head(msgspec.Struct):
    version: int
    request: str
    manifest: tuple[int, int, int]  # inode, size, time of change
    rows: int
    superseded: int


class _Line(msgspec.Struct, array_like=True):
    source: str
    base: str | None
    content: bytes
    codes: bytes
    sizes: bytes
    looks: bytes  # of a photo with this content; empty: not known


class Known:
    """What the last run knew of one output."""

    def __init__(self, tree: Tree, index: Index, settings: Settings) -> None:
        self._tree = tree
        self._index = index
        self._settings = settings
        self._request = request_of(settings)
        self._looks: dict[str, bytes] = {}  # by source: looks, then content
        self._changed = True
        self._restored: tuple[int, int, int] | None = None  # the manifest that it was about
        self._books = Books.of(tree.root, settings.shard_of)
        self._others: list[tuple[str, int, int, int]] = []  # files of other writers, when read

    def restore(self) -> bool:
        """Fill the index; False if the manifest must be read for it. Looks come in either case."""
        # Before any row is read: what others write meanwhile is not known here.
        self._others = self._looks_of_others()
        if self._settings.rehash:
            return False
        try:
            pieces = self._pieces()
            head = msgspec.msgpack.decode(next(pieces, b""), type=_Head)
            if head.version != _VERSION:
                return False
            fresh = head.manifest == self._manifest() and head.request == self._request
            for piece in pieces:
                for line in msgspec.msgpack.decode(piece, type=list[_Line]):
                    self._take(line, index=fresh)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, ValueError):
            self._looks.clear()
            self._index.clear()
            return False
        if fresh:
            self._index.rows, self._index.superseded = head.rows, head.superseded
            self._changed, self._restored = False, head.manifest
        return fresh

    def _take(self, line: _Line, *, index: bool) -> None:
        if line.looks:
            self._looks[line.source] = line.looks + line.content
        if index:
            codes, sizes = bytearray(line.codes), array("I", line.sizes)
            sound = len(sizes) == len(codes) and len(line.content) == _CONTENT_BYTES
            if not sound or not (line.base is None or is_inside(line.base)):
                raise ValueError("no line of ours")
            self._index.put(line.content, Place(line.source, line.base, codes, sizes))

    def content(self, source: str, looks: Looks) -> bytes | None:
        """The sha256 that a photo of these looks had; None if it must be read."""
        known = self._looks.get(source)
        if known is None or not known.startswith(_packed(looks)):
            return None
        return known[_LOOKS.size :]

    def remember(self, source: str, looks: Looks, content: bytes) -> None:
        """Note what a photo looked like while it was read."""
        changed_ns = max(looks.st_mtime_ns, looks.st_ctime_ns)
        if isinstance(looks, ObjectLooks) or time.time_ns() - changed_ns > _SETTLED_NS:
            self._looks[source] = _packed(looks) + content
            self._changed = True

    def here(self, path: str, source: str) -> int | None:
        """How many variations of a photo are on disk, if it is as it was and lacks none.

        None: it must be looked at closely.
        """
        if source not in self._looks:
            return None
        with suppress(OSError, LocalResource, ValueError):
            return self.here_as(os.lstat(path), source)
        return None

    def here_as(self, looks: Looks, source: str) -> int | None:
        """Likewise, for a photo that looks so. Raises OSError, LocalResource or ValueError."""
        content = self.content(source, looks)
        return self._here(source, content) if content else None

    def save(self) -> None:
        """Write it down for the next run. Only while the lock is held and nothing is written."""
        with suppress(OSError):  # a disk that is full has been told of already
            if not self._changed and self._restored == self._manifest():
                return
            self._tree.replace(self._books.state / FILE, self._written())

    def _written(self) -> Iterator[bytes]:
        index = self._index
        # With damaged or foreign rows the manifest is to be read, and told about, each time.
        manifest = (0, 0, 0) if index.strange else self._manifest()
        head = _Head(_VERSION, self._request, manifest, index.rows, index.superseded)
        lines = iter(index.lines())
        yield from _framed(msgspec.msgpack.encode(head))
        while some := list(itertools.islice(lines, _LINES_A_PIECE)):
            piece = [
                _Line(at.source, at.base, content, bytes(at.codes), at.sizes.tobytes(), looks)
                for content, at in some
                for looks in [self._looks_of(at.source, content)]
            ]
            yield from _framed(msgspec.msgpack.encode(piece))

    def _looks_of(self, source: str, content: bytes) -> bytes:
        known = self._looks.get(source, b"")
        return known[: _LOOKS.size] if known[_LOOKS.size :] == content else b""

    def _manifest(self) -> tuple[int, int, int]:
        """What the files of the manifest look like: of many, as one hash of all."""
        root, own = self._tree.root, self._books.manifest
        files = sorted([*self._others, *looks_of([own], root)])
        if [name for name, *_ in files] == [MANIFEST]:
            return files[0][1:]
        digest = hashlib.sha256(repr(files).encode()).digest()
        return int.from_bytes(digest[:7], "big"), sum(size for _, _, size, _ in files), 0

    def _looks_of_others(self) -> list[tuple[str, int, int, int]]:
        own, root = self._books.manifest, self._tree.root
        return looks_of([path for path in manifest_files(root) if path != own], root)

    def _here(self, source: str, content: bytes) -> int | None:
        place = self._index.place(content, source)
        if place is None or place.base is None:
            return None
        count = self._tree.all_here(place.base, place.done)
        return count if count is not None and count >= self._settings.variations else None

    def _pieces(self) -> Iterator[bytes]:
        path = self._books.state / FILE
        if path.is_symlink():
            return
        with path.open("rb") as opened:
            while head := opened.read(4):
                size = int.from_bytes(head, "big")
                piece = opened.read(min(size, _MOST_PIECE_BYTES))
                if len(piece) != size:
                    raise ValueError("cut short")
                yield piece


def _framed(piece: bytes) -> list[bytes]:
    return [len(piece).to_bytes(4, "big"), piece]


def _packed(looks: Looks) -> bytes:
    return _LOOKS.pack(looks.st_size, looks.st_mtime_ns, looks.st_ctime_ns, looks.st_ino)
