"""The folder that takes the files: nothing in it is overwritten, and no link is followed. Blocks.

A final name is only ever given to a complete file: temporary name, fsync, a link to the final
name (which fails where something lies), fsync of the folders at the end.
"""

import errno
import fcntl
import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path

from batch_reimagine.durable import sync_folder
from batch_reimagine.errors import LocalResource, OutputBusy, UsageError
from batch_reimagine.export.names import STATE
from batch_reimagine.log import read_lines, repair_tail
from batch_reimagine.naming import STATE_DIR, source_name

RECORDS = f"{STATE}.jsonl"
_TEMP = f"{STATE}-*.new"
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


class Target:
    """Raises UsageError for a folder that cannot take an export.

    output: whose pictures are exported; nothing is written there.
    """

    def __init__(self, folder: Path, output: Path) -> None:
        self.root = Path(os.path.realpath(folder))
        self._count = itertools.count()
        self._lock = threading.Lock()
        self._made: set[Path] = set()  # folders that are there, and are no links
        self._changed: set[Path] = set()  # folders with new names in them
        if self.root.exists() and not self.root.is_dir():
            raise UsageError(f"{_shown(folder)} is a file, not a folder: choose another --to")
        for at in (self.root, *self.root.parents):
            if at == output or (at / STATE_DIR).is_dir():
                raise UsageError(
                    f"{_shown(folder)} lies in {_shown(at)}, where this tool keeps its pictures:"
                    " choose another --to"
                )

    def path(self, name: str) -> Path:
        return self.root.joinpath(*name.split("/"))

    def lies_there(self, name: str) -> bool:
        """Whether a file has this name. Raises UsageError for what may not be written at all."""
        at = self.root
        *folders, _ = name.split("/")
        for part in folders:
            at /= part
            if at.is_symlink() or (at.exists() and not at.is_dir()):
                raise UsageError(f"{_shown(at)} is a link or no folder: remove it first")
            if (at / STATE_DIR).is_dir():
                raise UsageError(f"{_shown(at)} holds pictures of this tool: choose another --to")
        path = self.path(name)
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise UsageError(f"{_shown(path)} is a link or no file: remove it first")
        return path.exists()

    def sha256(self, name: str) -> str:
        """Of a file that lies there. Raises LocalResource."""
        path = self.path(name)
        with _told(path, "read"), path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, and keep other exports out of it.

        Raises LocalResource or OutputBusy.
        """
        self._make(self.root)
        with _told(self.root):
            handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutputBusy(
                    f"another export writes to {_shown(self.root)}: wait for its end"
                ) from None
            except OSError:
                pass  # a file system without locks: what lies there is safe all the same
            self._clear()
            with _told(self.root / RECORDS):
                if self.lies_there(RECORDS):
                    repair_tail(self.root / RECORDS)
            try:
                yield
            finally:
                self._sync()
        finally:
            os.close(handle)

    def _clear(self) -> None:
        """Remove what was half written."""
        with suppress(OSError):
            for leftover in self.root.glob(_TEMP):
                leftover.unlink()

    def _sync(self) -> None:
        for folder in sorted(self._changed):
            with _told(folder):
                sync_folder(folder)
        self._changed.clear()

    def write(self, name: str, data: bytes) -> None:
        """Put a new file under a name, whole. Raises LocalResource, also if there is one."""
        with self._new(name) as (opened, temp):
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
            _link(temp, self.path(name))

    def write_list(self, name: str, words: str, fill: Callable[[BufferedRandom], object]) -> None:
        """Put a list of ours under a name, in the place of an older one. Raises LocalResource.

        words: what it was made of; written down before the file has its name, so that
        whatever happens it is known to be ours.
        """
        with self._new(name) as (opened, temp):
            fill(opened)
            opened.flush()
            os.fsync(opened.fileno())
            opened.seek(0)
            self.record(words, hashlib.file_digest(opened, "sha256").hexdigest())
            temp.rename(self.path(name))

    @contextmanager
    def _new(self, name: str) -> Iterator[tuple[BufferedRandom, Path]]:
        """A temporary file beside nothing of others; gone at the end if it got no name."""
        final = self.path(name)
        temp = self.root / f"{STATE}-{next(self._count)}.new"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with _told(final):
            self._make(final.parent)
            try:
                with os.fdopen(os.open(temp, flags, 0o666), "w+b") as opened:
                    yield opened, temp
            finally:
                temp.unlink(missing_ok=True)
        with self._lock:
            self._changed.add(final.parent)

    def _make(self, folder: Path) -> None:
        with self._lock:
            if folder in self._made:
                return
            with _told(folder):
                missing = [at for at in (folder, *folder.parents) if not at.is_dir()]
                for at in reversed(missing):
                    at.mkdir()
                    self._changed.update({at, at.parent})
                inside = itertools.takewhile(self.root.__ne__, (folder, *folder.parents))
                if any(at.is_symlink() for at in inside):
                    raise OSError(errno.ELOOP, "a link lies on the way")
            self._made.add(folder)

    def records(self) -> dict[str, set[str]]:
        """What earlier exports made: of what, in words → sha256 of the files it became."""
        found: dict[str, set[str]] = {}
        for _, line in read_lines(self.root / RECORDS):
            words, _, sha256 = line.decode("utf-8", "replace").rpartition(" ")
            found.setdefault(words, set()).add(sha256)
        return found

    def still_holds(self, name: str, made: set[str]) -> bool:
        """Whether a file of this name lies there with one of these sha256.

        name: as the records have it, which anybody may have edited: it leads nowhere else.
        """
        if {"", ".", ".."} & set(name.split("/")):
            return False
        with suppress(OSError, ValueError, UsageError, LocalResource):
            return self.lies_there(name) and self.sha256(name) in made
        return False

    def is_same(self, name: str, other: str | None) -> bool:
        """Whether both names are of one file, as "a" and "A" are where case is ignored."""
        if other is None or name == other:
            return other is not None
        with suppress(OSError):
            return self.path(name).samefile(self.path(other))
        return False

    def record(self, words: str, sha256: str) -> None:
        """Note what was made of what. Not synced: if it gets lost, work is done twice."""
        path = self.root / RECORDS
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._lock, _told(path), os.fdopen(os.open(path, flags, 0o666), "wb") as opened:
            opened.write(f"{words} {sha256}\n".encode())


def _link(temp: Path, final: Path) -> None:
    try:
        os.link(temp, final)  # unlike a rename it never takes another's place
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, "a file of that name appeared meanwhile") from None
        temp.rename(final)


@contextmanager
def _told(path: Path, what: str = "write") -> Iterator[None]:
    """Say which file this machine refused."""
    try:
        yield
    except OSError as error:
        raise LocalResource(
            f"cannot {what} {_shown(path)}: {error.strerror or error}. Make room or give"
            " permission, then type the same command again: it writes what is missing"
        ) from None


def _shown(path: Path) -> str:
    return source_name(str(path))
