"""Read a photo whole, as it was at one moment. Blocks."""

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol, Self

from batch_reimagine.errors import Exhausted, Rejected
from batch_reimagine.work import StoreKey

if TYPE_CHECKING:
    from batch_reimagine.cloud import Objects

MAX_FILE_BYTES = 2_000_000_000


class Looks(Protocol):
    """What a file looked like while it was read, as `os.stat_result` has it.

    Of an object in a store: its size, its time, 0 and a number made of its ETag.
    """

    @property
    def st_size(self) -> int: ...
    @property
    def st_mtime_ns(self) -> int: ...
    @property
    def st_ctime_ns(self) -> int: ...
    @property
    def st_ino(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ObjectLooks:
    """The looks of an object."""

    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int
    st_ino: int

    @classmethod
    def of_key(cls, key: StoreKey) -> Self:
        return cls.of(key.size, key.modified, key.etag)

    @classmethod
    def of(cls, size: int, modified: datetime, etag: str | None) -> Self:
        tag = hashlib.sha256((etag or "").encode()).digest()
        return cls(size, int(modified.timestamp() * 1e9), 0, int.from_bytes(tag[:8], "big"))


class Reader:
    """Reads photos, wherever they lie. For several threads at once.

    options: of the object stores, as `--store-option` gives them.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = options
        self._stores: dict[str, Objects] = {}
        self._opening = Lock()

    def read(self, path: Path | StoreKey) -> tuple[bytes, Looks]:
        """Return the bytes and what the file looked like. Raises PhotoError or RunError."""
        if isinstance(path, Path):
            return read_photo(path)
        return self.read_object(path)

    def read_object(self, key: StoreKey) -> tuple[bytes, Looks]:
        """Likewise for an object. What was listed may be another by now: it is as it was got."""
        if key.size > MAX_FILE_BYTES:
            raise Rejected("TOO_LARGE", f"an object of {key.size:,} bytes")
        try:
            data, entry = self._store(key.store).get(key.name, most_bytes=MAX_FILE_BYTES)
        except FileNotFoundError:
            raise Exhausted("NOT_READABLE", "it is not there any more") from None
        if not data:
            raise Exhausted("NOT_READABLE", "the object is empty now")
        return data, ObjectLooks.of(entry.size, entry.modified, entry.etag)

    def _store(self, address: str) -> "Objects":
        with self._opening:
            if address not in self._stores:
                from batch_reimagine.cloud import open_objects  # noqa: PLC0415 - an extra

                self._stores[address] = open_objects(address, self._options)
            return self._stores[address]


def read_photo(path: Path) -> tuple[bytes, os.stat_result]:
    """Return the file's bytes, as they were at one moment, and what it looked like then.

    Raises Exhausted when it cannot be read now (a later run may), Rejected when
    it is larger than any photo.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as opened:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                raise Exhausted("NOT_READABLE", "no longer a regular file")
            if before.st_size > MAX_FILE_BYTES:
                raise Rejected("TOO_LARGE", f"a file of {before.st_size:,} bytes")
            data = opened.read()
            after = os.fstat(handle)
    except OSError as error:
        raise Exhausted("NOT_READABLE", error.strerror or "cannot be read") from None
    if len(data) != after.st_size or before.st_mtime_ns != after.st_mtime_ns:
        raise Exhausted("CHANGING", "it changed while it was read; a later run takes it")
    if not data:
        raise Exhausted("NOT_READABLE", "the file is empty now")
    return data, after
