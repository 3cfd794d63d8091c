"""Where small pictures are kept: `.batch-reimagine/thumbs/`, or in memory if that takes none.

Blocks; may be called from several threads.
"""

import hashlib
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from batch_reimagine.catalogue import Variation
from batch_reimagine.inside import open_inside, read_inside, write_inside
from batch_reimagine.naming import STATE_DIR
from batch_reimagine.output import Tree
from batch_reimagine.work import Upload

FOLDER = "thumbs"
MOST_PICTURE_BYTES = 500_000_000  #: of an output; more is no picture of ours
_MOST_KEPT_BYTES = 30_000_000  # of a thumbnail or a view, as in `prepare`
_MOST_IN_MEMORY_BYTES = 64_000_000  # of those that the disk did not take
_MOST_KNOWN = 100_000  # hashes; forgetting them costs time only
_PIECE_BYTES = 1 << 20
_SUFFIX = {"webp": "webp", "jpeg": "jpg", "png": "png"}


@dataclass(frozen=True, slots=True)
class Rendition:
    """A small picture."""

    data: bytes
    type: str  #: "image/webp", "image/jpeg" or "image/png"
    content: str  #: sha256 of what it shows
    path: Path | None  #: None: the disk did not take it


class Thumbs:
    """The small pictures of one output."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._folder = f"{STATE_DIR}/{FOLDER}"
        self._hashes: dict[tuple[int, int, int, int], str] = {}
        self._memory: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def kept_of(self, variation: Variation) -> Rendition | None:
        """The thumbnail of an output as it is now, if it has been made."""
        if self._tree.remote:  # a transfer only to see whether it was edited costs too much
            return self.kept(variation.sha256, "webp") if variation.sha256 else None
        with suppress(OSError):
            handle = open_inside(self._tree.root, variation.output or "")
            try:
                looks = os.fstat(handle)
            finally:
                os.close(handle)
            content = self._hashes.get(_looks(looks))
            if content is not None:
                return self.kept(content, "webp")
            if variation.sha256 and looks.st_size == variation.bytes:
                return self.kept(variation.sha256, "webp", since_ns=looks.st_mtime_ns)
        return None

    def kept_view(self, content: str) -> Rendition | None:
        return self.kept(f"{content}-view", "jpeg") or self.kept(f"{content}-view", "png")

    def kept(self, stem: str, type_: str, *, since_ns: int = 0) -> Rendition | None:
        """since_ns: only if it was made later than that."""
        name = f"{stem}.{_SUFFIX[type_]}"
        content = stem.removesuffix("-view")
        if (data := self._memory.get(name)) is not None:
            return Rendition(data, f"image/{type_}", content, None)
        path = self._tree.root / self._folder / name
        with suppress(OSError):
            if since_ns and path.lstat().st_mtime_ns < since_ns:
                return None
            data = read_inside(self._tree.root, f"{self._folder}/{name}", _MOST_KEPT_BYTES)
            return Rendition(data, f"image/{type_}", content, path) if data else None
        return None

    def keep(self, content: str, suffix: str, made: Upload) -> Rendition:
        """Write it down, or hold it in memory where the disk takes none."""
        type_ = _type_of(made.data)
        name = f"{content}{suffix.removesuffix('.webp')}.{_SUFFIX[type_]}"
        try:
            write_inside(self._tree.root, self._folder, name, made.data)
        except OSError:
            with self._lock:
                self._memory[name] = made.data
                while sum(map(len, self._memory.values())) > _MOST_IN_MEMORY_BYTES:
                    del self._memory[next(iter(self._memory))]
            return Rendition(made.data, f"image/{type_}", content, None)
        path = self._tree.root / self._folder / name
        return Rendition(made.data, f"image/{type_}", content, path)

    def read(self, name: str) -> tuple[bytes, str]:
        """An output and its sha256. Raises OSError; of a store RunError too."""
        with os.fdopen(open_inside(self._tree.root, self._tree.bring(name)), "rb") as opened:
            looks = os.fstat(opened.fileno())
            if looks.st_size > MOST_PICTURE_BYTES:
                raise OSError(0, "too large to be a picture")
            raw = opened.read(MOST_PICTURE_BYTES)
        return raw, self._remember(looks, hashlib.sha256(raw).hexdigest())

    def content(self, name: str) -> str:
        """Only its sha256, a piece at a time. Raises OSError; of a store RunError too."""
        with os.fdopen(open_inside(self._tree.root, self._tree.bring(name)), "rb") as opened:
            looks = os.fstat(opened.fileno())
            if known := self._hashes.get(_looks(looks)):
                return known
            hashed = hashlib.sha256()
            while piece := opened.read(_PIECE_BYTES):
                hashed.update(piece)
        return self._remember(looks, hashed.hexdigest())

    def _remember(self, looks: os.stat_result, content: str) -> str:
        if len(self._hashes) > _MOST_KNOWN:
            self._hashes.clear()
        self._hashes[_looks(looks)] = content
        return content


def _type_of(data: bytes) -> str:
    if data.startswith(b"\xff\xd8"):
        return "jpeg"
    return "png" if data.startswith(b"\x89PNG") else "webp"


def _looks(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
