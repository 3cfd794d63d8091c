"""Which files the books of an output are: those of the whole, and of each shard. All block.

Every writer has files of its own, so that none waits for another, and two machines may write to
one folder. Whoever reads takes all of them for one manifest, in the order of the rows' times.
"""

import heapq
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, Self

from batch_reimagine import journal as journals
from batch_reimagine import manifest
from batch_reimagine.durable import no_write, sync_folder
from batch_reimagine.errors import LocalResource, OutputMismatch
from batch_reimagine.following import Following
from batch_reimagine.journal import Balance, Try
from batch_reimagine.lock import shards_in
from batch_reimagine.naming import STATE_DIR
from batch_reimagine.output import MANIFEST, PARTS, Tree
from batch_reimagine.shard import Shard
from batch_reimagine.work import Record

_SUFFIX = ".jsonl"
_AHEAD_BYTES = 16 << 20  # of rows read before their turn, over all files
_MOST_PIECE_BYTES = 256 << 10
_FILE_BITS = 40  # of a row's number, below those of its file: no file has more lines

Damaged = Callable[[str], None]


class Journalled(NamedTuple):
    """One journal, as it was read."""

    shard: Shard | None
    path: Path
    balance: Balance
    pending: dict[str, Try]


@dataclass(frozen=True, slots=True)
class Books:
    """What one run writes to, and nobody else meanwhile."""

    root: Path
    shard: Shard | None
    state: Path  #: folder of its journal, its lock and what it knows
    manifest: Path
    journal: Path

    @classmethod
    def of(cls, root: Path, shard: Shard | None) -> Self:
        state = root / STATE_DIR
        rows = root / MANIFEST
        if shard is not None:
            state, rows = state / shard.name, root / PARTS / f"{shard.name}{_SUFFIX}"
        return cls(root, shard, state, rows, state / journals.FILE)

    def prepare(self, tree: Tree) -> None:
        """Make its folders, durably. Raises LocalResource."""
        for folder in (self.state, self.manifest.parent):
            tree.check_folder(folder)
            try:
                if not folder.is_dir():
                    folder.mkdir(exist_ok=True)
                    sync_folder(folder.parent)
            except OSError as error:
                raise no_write(folder, error) from None


def manifest_files(root: Path) -> list[Path]:
    """The files that together are the manifest; that of the whole first, if it is there.

    Raises OutputMismatch where their folder is a link, or cannot be listed.
    """
    whole, folder = root / MANIFEST, root / PARTS
    files = [whole] if os.path.lexists(whole) else []
    if folder.is_symlink():
        raise OutputMismatch(f"{folder} is a link, and none is followed: remove it")
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names only
    except (FileNotFoundError, NotADirectoryError):
        return files
    except OSError as error:
        raise OutputMismatch(f"{folder} cannot be listed: {error.strerror}") from None
    return files + [folder / name for name in names if name.endswith(_SUFFIX)]


def looks_of(files: list[Path], root: Path) -> list[tuple[str, int, int, int]]:
    """Name, inode, size and time of change of each file that is there."""
    found = []
    for path in files:
        try:
            looks = os.lstat(path)
        except OSError:
            continue
        name = path.relative_to(root).as_posix()
        found.append((name, looks.st_ino, looks.st_size, looks.st_mtime_ns))
    return found


def read_rows(root: Path, damaged: Damaged) -> Iterator[Record]:
    """Yield the rows of all files, older ones first; damaged is told what line is no row."""
    return (row for _, row in numbered_rows(manifest_files(root), root, damaged))


def numbered_rows(files: list[Path], root: Path, damaged: Damaged) -> Iterator[tuple[int, Record]]:
    """The same with a number each, which is the row's at every reading of the same files.

    The clock of the machine that wrote a row tells its place among those of other files. No
    file is held open between two pieces: 10,000 shards are more than a process may have open.
    """
    if len(files) == 1:
        yield from enumerate(manifest.read_rows(files[0], _naming(files[0], root, damaged)))
        return
    piece = piece_bytes_for(len(files))
    streams = [
        _timed(path, number << _FILE_BITS, piece, _naming(path, root, damaged))
        for number, path in enumerate(files)
    ]
    for _, number, row in heapq.merge(*streams, key=itemgetter(0)):
        yield number, row


def _naming(path: Path, root: Path, damaged: Damaged) -> Callable[[int], None]:
    name = path.relative_to(root).as_posix()
    return lambda line: damaged(f"{name} line {line}")


def _timed(
    path: Path, first: int, piece: int, damaged: Callable[[int], None]
) -> Iterator[tuple[str, int, Record]]:
    for line, raw in enumerate(lines_of(Following(path), piece), 1):
        if row := manifest.decode(raw):
            yield row.time, first + line, row
        else:
            damaged(line)


def lines_of(following: Following, piece_bytes: int) -> Iterator[bytes]:
    """Every line from where it stands to the end; the file is open only while a piece is read."""
    while True:
        with following.more(piece_bytes) as (_, lines):
            some = list(lines)
        if not some:
            return
        yield from some


def read_journals(root: Path, of: Shard | None) -> Iterator[Journalled]:
    """Yield the journals that count for a run: of the whole, all that were ever written there.

    Of a shard its own, and those of runs that divided the job otherwise, the whole too.
    """
    for shard in (None, *shards_in(root / STATE_DIR)):
        if of is None or shard is None or shard == of or shard.n != of.n:
            path = Books.of(root, shard).journal
            yield Journalled(shard, path, *journals.read(path))


def piece_bytes_for(files: int) -> int:
    """How much of each of so many files is read at a time."""
    return max(1, min(_MOST_PIECE_BYTES, _AHEAD_BYTES // max(1, files)))


def refuse_links(books: Books) -> None:
    """Raises LocalResource for books that are links: nothing is written through one."""
    for path in (books.manifest, books.journal):
        if path.is_symlink():
            raise LocalResource(f"{path} is a link, and this tool writes through none")
