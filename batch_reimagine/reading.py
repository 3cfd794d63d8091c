"""Read a photo whole, and only if it held still meanwhile. Blocks."""

import os
import stat
from pathlib import Path

from batch_reimagine.errors import Exhausted, Rejected

MAX_FILE_BYTES = 2_000_000_000


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
