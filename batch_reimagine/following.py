"""Read on in a growing file of lines, from where the last look at it ended. Blocks.

Whatever was done to the file meanwhile is seen: put in another's place, cut shorter, or
written anew under the same name. Only then is it read from its begin again.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from batch_reimagine.errors import OutputMismatch

_BOM = b"\xef\xbb\xbf"  # an editor's gift; without it the first row would be lost
_MOST_LINE_BYTES = 1 << 20  # no row of ours comes near; a longer line would only fill memory
_REMEMBERED_BYTES = 4096  # of the last line: what tells another file of the same length


class Following:
    """How far one file has been read. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tuple[int, int] | None = None  # device and inode
        self._at = 0  # bytes read: whole lines only
        self._last = b""  # bytes just before

    @contextmanager
    def more(self, most_bytes: int | None = None) -> Iterator[tuple[bool, Iterator[bytes]]]:
        """Give (whether it is read from its begin, the whole lines from there, without their ends).

        most_bytes: end with the line that passes so many; the next time goes on behind it.
        A file that is not there has no lines; a torn tail is left for the next time, a line
        of more than 1 MiB passed over. Raises OutputMismatch for what is no regular file:
        links and pipes are not followed.
        """
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(self._path, flags)
        except FileNotFoundError:
            self._begin(None)
            yield True, iter(())
            return
        except OSError as error:
            raise OutputMismatch(
                f"{self._path} cannot be read as a file: {error.strerror}"
            ) from None
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            os.close(handle)
            raise OutputMismatch(f"{self._path} is no regular file: remove it")
        with os.fdopen(handle, "rb") as opened:
            file = found.st_dev, found.st_ino
            anew = file != self._file or not self._is_as_it_was(handle)
            if anew:
                self._begin(file)
            yield anew, self._lines(opened, most_bytes)

    def _begin(self, file: tuple[int, int] | None) -> None:
        self._file, self._at, self._last = file, 0, b""

    def _is_as_it_was(self, handle: int) -> bool:
        # The size alone does not tell: a writer takes back what the disk refused and goes on,
        # and a file system gives the inode of a file that is gone to the next one.
        begin = self._at - len(self._last)
        return os.pread(handle, len(self._last), begin) == self._last

    @property
    def begun(self) -> bool:
        """Whether anything of it was read."""
        return self._at > 0

    def _lines(self, opened: BinaryIO, most_bytes: int | None) -> Iterator[bytes]:
        opened.seek(self._at)
        end = None if most_bytes is None else self._at + most_bytes
        passed = 0  # bytes of a line that is too long
        while piece := opened.readline(_MOST_LINE_BYTES):
            if not piece.endswith(b"\n"):
                passed += len(piece)
                continue
            first = self._at == 0
            self._at += passed + len(piece)
            self._last = piece[-_REMEMBERED_BYTES:]
            if passed:
                passed = 0
                continue
            yield piece.removeprefix(_BOM)[:-1] if first else piece[:-1]
            if end is not None and self._at >= end:
                return
