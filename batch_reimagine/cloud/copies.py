"""Local copies of pictures that somebody looks at, of bounded size in all. Blocks.

They lie in the state folder, apart from anything of the user's, under names made of the
object's name and version: a copy is never of an older version, and may be removed at any time.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path, PurePosixPath
from threading import Lock

from batch_reimagine.cloud.objects import Entry, Objects
from batch_reimagine.durable import no_write
from batch_reimagine.errors import Rejected
from batch_reimagine.inside import write_inside
from batch_reimagine.naming import STATE_DIR

FOLDER = f"{STATE_DIR}/copies"
MOST_BYTES = 2_000_000_000  #: of all copies; what was used longest ago goes first
_MOST_PICTURE_BYTES = 500_000_000
_AT_ONCE = 8  # transfers


class Copies:
    """root: the books. For several threads; the same picture is fetched by one of them."""

    def __init__(self, objects: Objects, root: Path, most_bytes: int = MOST_BYTES) -> None:
        self._objects = objects
        self._root = root
        self._most = most_bytes
        self._turns = [Lock() for _ in range(_AT_ONCE)]
        self._lock = Lock()
        self._sizes: dict[str, int] | None = None  # in the order of their last use

    def bring(self, entry: Entry) -> str:
        """Have a copy of this version, or of a later one; its name below the root.

        Raises FileNotFoundError if it is gone, OSError for what is no picture by its size,
        AccountRefused, UsageError, ServiceGone and LocalResource.
        """
        copy = _copy_of(entry)
        with self._turns[hash(copy) % _AT_ONCE]:
            if not self._is_here(copy, entry.size):
                try:
                    data, entry = self._objects.get(entry.name, most_bytes=_MOST_PICTURE_BYTES)
                except Rejected as error:
                    raise OSError(0, str(error)) from None
                copy = _copy_of(entry)
                try:
                    write_inside(self._root, FOLDER, copy, data)
                except OSError as error:
                    raise no_write(self._root / FOLDER, error) from None
            self._used(copy, entry.size)
        return f"{FOLDER}/{copy}"

    def _is_here(self, copy: str, size: int) -> bool:
        with suppress(OSError):
            return (self._root / FOLDER / copy).lstat().st_size == size
        return False

    def _used(self, copy: str, size: int) -> None:
        with self._lock:
            sizes = self._sizes = self._found() if self._sizes is None else self._sizes
            sizes.pop(copy, None)
            sizes[copy] = size
            while sum(sizes.values()) > self._most and len(sizes) > _AT_ONCE:
                oldest = next(iter(sizes))
                del sizes[oldest]
                with suppress(OSError):
                    (self._root / FOLDER / oldest).unlink()

    def _found(self) -> dict[str, int]:
        """What earlier processes have left, the oldest first."""
        found = []
        with suppress(OSError), os.scandir(self._root / FOLDER) as entries:
            for each in entries:
                looks = each.stat(follow_symlinks=False)
                found.append((looks.st_mtime_ns, each.name, looks.st_size))
        return {name: size for _, name, size in sorted(found)}


def _copy_of(entry: Entry) -> str:
    words = f"{entry.name}\0{entry.size}\0{entry.etag or entry.modified}"
    tag = hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:40]
    return tag + PurePosixPath(entry.name).suffix[:5]
