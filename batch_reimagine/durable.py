"""The few ways in which bytes become durable, and what is told when a disk refuses. All block."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from batch_reimagine.errors import LocalResource
from batch_reimagine.naming import source_name


def no_write(path: Path, error: OSError) -> LocalResource:
    """The error for a write that this machine refused, with the way out."""
    why = error.strerror or str(error)
    return LocalResource(
        f"cannot write {source_name(str(path))}: {why}. Make room or give permission, then type"
        " the same command again; answers that could not be kept are reported then"
    )


def write_new(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Make a file that is not there yet, durably; no link is followed. Raises OSError.

    In few calls: each is a turn of the GIL.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, mode)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def write_once(path: Path, data: bytes, mode: int = 0o666) -> bytes:
    """Make a small file whole, unless another process has just done so; return what it holds.

    Raises OSError.
    """
    temp = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    write_new(temp, data, mode)
    try:
        with suppress(FileExistsError):
            path.hardlink_to(temp)
    finally:
        temp.unlink()
    sync_folder(path.parent)
    return path.read_bytes()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (a rename alone is not)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
