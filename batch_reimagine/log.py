"""An append-only file of JSON lines that loses nothing and survives being cut anywhere.

One process writes (the output's lock sees to that). A row is durable when
`append` returns; rows that wait at the same time share one fsync.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import anyio
from aiofiles.os import wrap

from batch_reimagine.durable import no_write
from batch_reimagine.errors import LocalResource, OutputMismatch

_BOM = b"\xef\xbb\xbf"  # an editor's gift; without it the first row would be lost
_CHUNK_BYTES = 1 << 20


def read_lines(path: Path, begin: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line without its end) of all whole lines; a torn tail is left out.

    begin: the byte where to begin, and the first line there is number 1.
    A file that does not exist has no lines. Memory is bounded by the longest line.
    Raises OutputMismatch for what is no regular file: links and pipes are not followed.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputMismatch(f"{path} cannot be read as a file: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OutputMismatch(f"{path} is no regular file: remove it, or choose another output")
    with os.fdopen(handle, "rb") as opened:
        opened.seek(begin)
        for number, line in enumerate(opened, 1):
            if line.endswith(b"\n"):
                yield number, line.removeprefix(_BOM)[:-1] if number == 1 else line[:-1]


def repair_tail(path: Path) -> int:
    """Cut off what follows the last line end, durably; return how many bytes that were.

    Truncate, do not skip: a half line joined to the next row would lose both.
    """
    with path.open("r+b") as opened:
        size = opened.seek(0, os.SEEK_END)
        keep, at = 0, size
        while at > 0:
            begin = max(0, at - _CHUNK_BYTES)
            opened.seek(begin)
            found = opened.read(at - begin).rfind(b"\n")
            if found >= 0:
                keep = begin + found + 1
                break
            at = begin
        if keep < size:
            opened.truncate(keep)
            os.fsync(opened.fileno())
        return size - keep


class _Batch:
    """Rows that become durable together."""

    __slots__ = ("error", "rows", "written")

    def __init__(self) -> None:
        self.rows: list[bytes] = []
        self.written = False
        self.error: LocalResource | None = None


class Log:
    """The writing end of one such file. Make it with `open_log`."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle
        self._size = os.fstat(handle).st_size
        self._turn = anyio.Lock(fast_acquire=True)
        self._filling = _Batch()
        self._broken: LocalResource | None = None
        self._write_off_loop = wrap(self._write_and_sync)  # one hop to a worker thread
        self.refused = False  #: the disk did not take a row

    async def append(self, row: bytes) -> None:
        """Add one line; it is on disk when this returns. Raises LocalResource if it cannot be.

        Not interruptible: a caller that is cancelled meanwhile still leaves a whole row.
        """
        self.append_soon(row)
        await self.flush()

    def append_soon(self, row: bytes) -> None:
        """Add one line that becomes durable with the next `append` or `flush`."""
        self._filling.rows.append(row)

    async def flush(self) -> None:
        """Return when every line added so far is on disk. Raises as `append` does."""
        batch = self._filling
        with anyio.CancelScope(shield=True):
            async with self._turn:  # whoever is first writes for all who came meanwhile
                if not batch.written and batch.rows:
                    self._filling = _Batch()
                    await self._write(batch)
        if error := batch.error or self._broken:
            raise error

    async def _write(self, batch: _Batch) -> None:
        data = b"".join(row + b"\n" for row in batch.rows)
        try:
            if self._broken:
                raise self._broken
            await self._write_off_loop(data)
            self._size += len(data)
        except LocalResource as error:
            batch.error = error
        except OSError as error:
            # After a failed fsync nobody knows what is on disk: no further row may claim to be.
            self._broken = batch.error = no_write(self.path, error)
        batch.written = True

    def _write_and_sync(self, data: bytes) -> None:
        """Append and fsync; on failure take back what was written of it. Blocks."""
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._handle, rest) :]
            os.fsync(self._handle)
        except OSError:
            self.refused = True  # in the thread: nobody waits for the loop to hear of it
            os.ftruncate(self._handle, self._size)
            raise

    def write_now(self, rows: list[bytes]) -> None:
        """Add lines before the event loop needs the file; blocks. Raises LocalResource."""
        data = b"".join(row + b"\n" for row in rows)
        try:
            self._write_and_sync(data)
        except OSError as error:
            raise no_write(self.path, error) from None
        self._size += len(data)

    @property
    def sound(self) -> bool:
        return self._broken is None and not self._filling.rows

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def open_log(path: Path) -> Log:
    """Open for appending; make it, durably, if it is not there. Raises LocalResource."""
    try:
        handle = os.open(
            path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644
        )
        if os.fstat(handle).st_size == 0:
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise no_write(path, error) from None
    return Log(path, handle)
