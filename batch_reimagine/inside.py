"""Open and write files below a folder without ever passing through a link. All functions block.

Every folder on the way is opened by itself, so a link that takes one's place meanwhile
is met as a link, not followed.
"""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def open_inside(root: Path, name: str) -> int:
    """A descriptor for reading the regular file of this relative name, with "/".

    Raises OSError for what is none, and for a name that would leave the root.
    """
    *folders, last = _parts(name)
    at = _enter(root, folders)
    try:
        handle = os.open(last, _FILE, dir_fd=at)
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise FileNotFoundError(f"{name} is no regular file")
    return handle


def read_inside(root: Path, name: str, most: int) -> bytes:
    """The whole file. Raises OSError, also for one of more than `most` bytes."""
    with os.fdopen(open_inside(root, name), "rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        if size > most:
            raise OSError(0, f"more than {most:,} bytes")
        return opened.read(size)


def write_inside(root: Path, folder: str, name: str, data: bytes) -> None:
    """Put data under a name, whole or not at all; the folder is made if it is missing.

    Not durable: for what can be made again. Raises OSError.
    """
    *above, own = _parts(folder)
    at = _enter(root, above)
    try:
        with suppress(FileExistsError):
            os.mkdir(own, dir_fd=at)
        there = os.open(own, _FOLDER, dir_fd=at)
    finally:
        os.close(at)
    try:
        _write(there, name, data)
    finally:
        os.close(there)


def _write(folder: int, name: str, data: bytes) -> None:
    temp = f".{secrets.token_hex(8)}"
    handle = os.open(temp, _NEW, 0o644, dir_fd=folder)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
        finally:
            os.close(handle)
        os.rename(temp, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(temp, dir_fd=folder)
        raise


def _parts(name: str) -> list[str]:
    parts = name.split("/")
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise FileNotFoundError(f"no name inside a folder: {name!r}")
    return parts


def _enter(root: Path, folders: list[str]) -> int:
    at = os.open(root, _FOLDER)
    try:
        for folder in folders:
            deeper = os.open(folder, _FOLDER, dir_fd=at)
            os.close(at)
            at = deeper
    except OSError:
        os.close(at)
        raise
    return at
