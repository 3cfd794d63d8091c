"""Directories → photos: lazily, in a stable order, following nothing and hanging on nothing.

A folder is listed at a time: its files in sorted order, then its folders, each
in the same way. Whatever is passed over is counted under a reason.
"""

import itertools
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from batch_reimagine.address import Address
from batch_reimagine.errors import UsageError
from batch_reimagine.inputs import (
    File,
    Filters,
    Folder,
    StoreRoot,
    identity,
    is_junk,
    roots,
)
from batch_reimagine.kinds import (
    HEAD_BYTES,
    PICTURE_SUFFIXES,
    RAW_SUFFIXES,
    document_of,
    kind_of,
)
from batch_reimagine.naming import STATE_DIR, safe_names, source_name
from batch_reimagine.work import Found, Here, Photo, Skip

UNREADABLE_FOLDER = "folder not readable"  #: how the reason of such a Skip begins
OF_ANOTHER_SHARD = "of another shard"  #: the reason of a photo that another run sees to
_BATCH = 64  # files looked at in one visit to a worker thread

Of = TypeVar("Of")


class Walk:
    """One pass over the inputs.

    output: the run's own output folder; never read as input, nor is any other
    output of this tool that lies below an input.
    here: told a photo's path and source, says how many variations of it are on
    disk if nothing is left to do for it; such a photo is not even opened.
    mine: told a source, says whether its photo is of this run's shard; others are not opened.
    known_base: how a source's outputs are already named, or None; names once
    given stay, whatever is added beside them later.
    stores: opens the pass over an input in a store.
    """

    def __init__(
        self,
        inputs: Sequence[Path | Address],
        output: Path,
        filters: Filters,
        *,
        limit: int | None = None,
        here: Callable[[str, str], int | None] = lambda _, __: None,
        known_base: Callable[[str], str | None] = lambda _: None,
        stores: Callable[[StoreRoot, Filters], Iterable[list[Found]]] = lambda _, __: (),
        mine: Callable[[str], bool] | None = None,
    ) -> None:
        self._mine = mine
        self._here = here
        self._roots = roots(inputs)
        self._filters = filters
        self._limit = limit
        self._known_base = known_base
        # Made now, so that one that must be refused is refused before anything is sent.
        self._stores = [stores(store, filters) for store in self._roots.stores]
        self._output = identity(output)
        inside = Path(os.path.realpath(output))
        files = [file.path for file in self._roots.files]
        for path in [*files, *(folder.path for folder in self._roots.folders)]:
            if self._output is not None and identity(path) == self._output:
                raise UsageError(f"{path} is both input and output: choose another folder for -o")
            if Path(os.path.realpath(path)).is_relative_to(inside):
                raise UsageError(
                    f"{path} lies inside the output {output}: results are no photos to send;"
                    " choose another folder for -o"
                )

    def __iter__(self) -> Iterator[list[Found]]:
        """Yield what is found in small batches. Blocks: use it in a worker thread."""
        left = self._limit
        for batch in self._batches():
            if left is None:
                yield batch
                continue
            kept: list[Found] = []
            for found in batch:
                if left == 0:
                    break
                kept.append(found)
                left -= not isinstance(found, Skip)
            yield kept
            if left == 0:
                return

    def _batches(self) -> Iterator[list[Found]]:
        named = (
            replace(file, base=self._known_base(file.source) or file.base)
            for file in self._roots.files
        )
        for files in _sliced(named):
            wanted = [file for file in files if self._filters.wants(file.source)]
            yield [Skip(file.source, "excluded") for file in files if file not in wanted]
            yield [
                self._look(file)
                if self._mine is None or self._mine(file.source)
                else Skip(file.source, OF_ANOTHER_SHARD)
                for file in wanted
            ]
        pending = list(reversed(self._roots.folders))
        while pending:
            folder = pending.pop()
            listed = self._list(folder)
            if isinstance(listed, Skip):
                yield [listed]
                continue
            photos, skips, folders = listed
            if skips:
                yield skips
            for batch in _sliced(photos):
                yield [self._look(found) if isinstance(found, File) else found for found in batch]
            pending.extend(reversed(folders))
        for store in self._stores:
            yield from map(self._own, store)

    def _own(self, batch: list[Found]) -> list[Found]:
        """The same without the photos of other shards; of a store's nothing was opened yet."""
        mine = self._mine
        if mine is None:
            return batch
        return [
            Skip(found.source, OF_ANOTHER_SHARD)
            if isinstance(found, Photo) and not mine(found.source)
            else found
            for found in batch
        ]

    def _list(
        self, folder: Folder
    ) -> Skip | tuple[Iterator[File | Here | Skip], list[Found], list[Folder]]:
        """One folder's candidates, what is passed over by name or type alone, and its folders."""
        files: list[str] = []
        folders: list[str] = []
        skips: list[Found] = []
        prefix = f"{folder.source}/" if folder.source else ""
        try:
            with os.scandir(folder.path) as entries:
                for entry in entries:
                    source = prefix + source_name(entry.name)
                    is_folder = entry.is_dir(follow_symlinks=False)
                    if reason := self._passes_over(entry, source, is_folder=is_folder):
                        skips.append(Skip(source, reason))
                    else:
                        (folders if is_folder else files).append(entry.name)
        except OSError as error:
            name = folder.source or source_name(folder.path.name)
            return Skip(name, f"{UNREADABLE_FOLDER}: {error.strerror}")
        files.sort()
        folders.sort()
        base = f"{folder.base}/" if folder.base else ""
        _, folder_bases = safe_names((), folders)
        return (
            self._named(folder, prefix, base, files),
            skips,
            [
                Folder(folder.path / name, prefix + source_name(name), base + folder_bases[name])
                for name in folders
            ],
        )

    def _named(
        self, folder: Folder, prefix: str, base: str, files: list[str]
    ) -> Iterator[File | Here | Skip]:
        """A folder's photos one by one: one of 100,000 is held as bare names."""
        place = f"{folder.path}/"
        bases: dict[str, str] | None = None
        for name in files:
            source = prefix + source_name(name)
            if self._mine is not None and not self._mine(source):
                yield Skip(source, OF_ANOTHER_SHARD)
                continue
            if (variations := self._here(place + name, source)) is not None:
                yield Here(variations)
                continue
            if bases is None:  # not before it is needed: most folders of a resumed run are done
                bases, _ = safe_names(files, ())
            yield File(folder.path / name, source, self._known_base(source) or base + bases[name])

    def _passes_over(  # noqa: PLR0911 - a return a reason
        self, entry: os.DirEntry[str], source: str, *, is_folder: bool
    ) -> str | None:
        """Why an entry is left alone by its name or type, or None."""
        if entry.is_symlink():
            return "symbolic link"
        if not is_folder and not entry.is_file(follow_symlinks=False):
            return "not a regular file"
        if is_folder and identity(Path(entry.path)) == self._output:
            return "this run's output"
        name = entry.name.lower()
        if name.startswith("."):
            return "hidden"
        if is_junk(name, folder=is_folder):
            return "system file or folder"
        if not (self._filters.enters(source) if is_folder else self._filters.wants(source)):
            return "excluded"
        if is_folder and (Path(entry.path) / STATE_DIR).is_dir():
            return "another run's output"
        return None

    def _look(self, file: File) -> Found:
        """Tell a picture by its first bytes; a file named like one is kept, for its refusal."""
        suffix = file.path.suffix.lower()
        claims = suffix in PICTURE_SUFFIXES
        try:
            head = _head(file.path)
        except OSError as error:
            if claims:  # reading it will fail again, and then it gets its row
                return Photo(file.path, file.source, file.base, None)
            return Skip(file.source, f"not readable: {error.strerror}")
        if not head:
            return Skip(file.source, "empty file")
        kind = kind_of(head)
        if suffix in RAW_SUFFIXES and kind in {None, "TIFF"}:
            return Skip(file.source, "camera raw")
        if kind or claims:
            return Photo(file.path, file.source, file.base, kind)
        document = document_of(head)
        return Skip(file.source, f"{document} file" if document else "not a picture")


def _head(path: Path) -> bytes:
    """The first bytes of a regular file; never blocks on a FIFO that took its place."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(0, "not a regular file")
        return os.read(handle, HEAD_BYTES)
    finally:
        os.close(handle)


def _sliced(photos: Iterable[Of]) -> Iterator[list[Of]]:
    rest = iter(photos)
    while batch := list(itertools.islice(rest, _BATCH)):
        yield batch
