"""Directories → photos: lazily, in a stable order, following nothing and hanging on nothing.

A folder is listed at a time: its files in sorted order, then its folders, each
in the same way. Whatever is passed over is counted under a reason.
"""

import itertools
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from batch_reimagine.errors import UsageError
from batch_reimagine.inputs import Filters, Folder, identity, roots
from batch_reimagine.kinds import (
    HEAD_BYTES,
    PICTURE_SUFFIXES,
    RAW_SUFFIXES,
    document_of,
    kind_of,
)
from batch_reimagine.output import STATE_DIR, safe_names, source_name
from batch_reimagine.work import Photo

UNREADABLE_FOLDER = "folder not readable"  #: how the reason of such a Skip begins
_BATCH = 64  # files looked at in one visit to a worker thread

_JUNK_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini"}
_JUNK_FOLDERS = {"@eadir", "__macosx", "$recycle.bin", "system volume information", "lost+found"}


@dataclass(frozen=True, slots=True)
class Skip:
    """A file or folder that was passed over, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Here:
    """A photo that is as it was, and has all its variations."""

    variations: int


Found = Photo | Skip | Here
Of = TypeVar("Of")


class Walk:
    """One pass over the inputs.

    output: the run's own output folder; never read as input, nor is any other
    output of this tool that lies below an input.
    here: told a photo's path and source, says how many variations of it are on
    disk if nothing is left to do for it; such a photo is not even opened.
    known_base: how a source's outputs are already named, or None; names once
    given stay, whatever is added beside them later.
    """

    def __init__(
        self,
        inputs: Sequence[Path],
        output: Path,
        filters: Filters,
        *,
        limit: int | None = None,
        here: Callable[[str, str], int | None] = lambda _, __: None,
        known_base: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._here = here
        self._roots = roots(inputs)
        self._filters = filters
        self._limit = limit
        self._known_base = known_base
        self._output = identity(output)
        inside = Path(os.path.realpath(output))
        files = [photo.path for photo in self._roots.files]
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
            replace(photo, base=self._known_base(photo.source) or photo.base)
            for photo in self._roots.files
        )
        for files in _sliced(named):
            wanted = [photo for photo in files if self._filters.wants(photo.source)]
            yield [Skip(photo.source, "excluded") for photo in files if photo not in wanted]
            yield [self._look(photo) for photo in wanted]
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
                yield [found if isinstance(found, Here) else self._look(found) for found in batch]
            pending.extend(reversed(folders))

    def _list(
        self, folder: Folder
    ) -> Skip | tuple[Iterator[Photo | Here], list[Found], list[Folder]]:
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
    ) -> Iterator[Photo | Here]:
        """A folder's photos one by one: one of 100,000 is held as bare names."""
        place = f"{folder.path}/"
        bases: dict[str, str] | None = None
        for name in files:
            source = prefix + source_name(name)
            if (variations := self._here(place + name, source)) is not None:
                yield Here(variations)
                continue
            if bases is None:  # not before it is needed: most folders of a resumed run are done
                bases, _ = safe_names(files, ())
            yield Photo(
                folder.path / name, source, self._known_base(source) or base + bases[name], None
            )

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
        if name in (_JUNK_FOLDERS if is_folder else _JUNK_FILES):
            return "system file or folder"
        if not (self._filters.enters(source) if is_folder else self._filters.wants(source)):
            return "excluded"
        if is_folder and (Path(entry.path) / STATE_DIR).is_dir():
            return "another run's output"
        return None

    def _look(self, photo: Photo) -> Found:
        """Tell a picture by its first bytes; a file named like one is kept, for its refusal."""
        suffix = photo.path.suffix.lower()
        claims = suffix in PICTURE_SUFFIXES
        try:
            head = _head(photo.path)
        except OSError as error:
            if claims:  # reading it will fail again, and then it gets its row
                return photo
            return Skip(photo.source, f"not readable: {error.strerror}")
        if not head:
            return Skip(photo.source, "empty file")
        kind = kind_of(head)
        if suffix in RAW_SUFFIXES and kind in {None, "TIFF"}:
            return Skip(photo.source, "camera raw")
        if kind or claims:
            return Photo(photo.path, photo.source, photo.base, kind)
        document = document_of(head)
        return Skip(photo.source, f"{document} file" if document else "not a picture")


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
