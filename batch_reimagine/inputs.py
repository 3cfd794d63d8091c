"""What the user named: folders and files, filters, and names that do not meet."""

import itertools
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from batch_reimagine.errors import UsageError
from batch_reimagine.output import safe_names, source_name
from batch_reimagine.work import Photo


@dataclass(frozen=True, slots=True)
class Filters:
    """Which sources count; patterns as in .gitignore, on the relative path."""

    include: GitIgnoreSpec | None
    exclude: GitIgnoreSpec | None

    @classmethod
    def of(cls, include: Sequence[str], exclude: Sequence[str]) -> "Filters":
        """Raises UsageError for a pattern that means nothing."""
        try:
            return cls(
                GitIgnoreSpec.from_lines(include) if include else None,
                GitIgnoreSpec.from_lines(exclude) if exclude else None,
            )
        except ValueError as error:
            raise UsageError(f"include/exclude: not a pattern: {error}") from None

    def wants(self, source: str) -> bool:
        if self.include and not self.include.match_file(source):
            return False
        return not (self.exclude and self.exclude.match_file(source))

    def enters(self, folder: str) -> bool:
        return not (self.exclude and self.exclude.match_file(folder + "/"))


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder still to be listed."""

    path: Path
    source: str  #: relative, with "/"; "" for a single input folder itself
    base: str  #: where its outputs go, relative to the output


@dataclass(frozen=True, slots=True)
class Roots:
    """The inputs, named so that no two meet."""

    files: tuple[Photo, ...]  #: kind not yet looked at
    folders: tuple[Folder, ...]


def roots(inputs: Sequence[Path]) -> Roots:
    """Name the inputs: one folder is the top itself, several get a top folder each.

    Raises UsageError when an input does not exist or is neither file nor folder.
    """
    if not inputs:
        raise UsageError("no input: name a folder of photos, or single files")
    files: list[Path] = []
    folders: list[Path] = []
    for path in dict.fromkeys(Path(os.path.abspath(path)) for path in inputs):  # noqa: PTH100 - keeps links
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}: name a folder or a picture") from None
        if stat.S_ISDIR(mode):
            folders.append(path)
        elif stat.S_ISREG(mode):
            files.append(path)
        else:
            raise UsageError(f"{path} is neither a folder nor a regular file")
    if len(folders) == 1 and not files:
        return Roots((), (Folder(folders[0], "", ""),))
    file_names = _numbered([path.name for path in files])
    folder_names = _numbered([path.name or "root" for path in folders])
    bases, folder_bases = safe_names(file_names, folder_names)
    return Roots(
        tuple(
            Photo(Path(os.path.realpath(path)), source_name(name), bases[name], None)
            for path, name in zip(files, file_names, strict=True)
        ),
        tuple(
            Folder(path, source_name(name), folder_bases[name])
            for path, name in zip(folders, folder_names, strict=True)
        ),
    )


def _numbered(names: list[str]) -> list[str]:
    """The names, with a number in those that came before: stable for the same command."""
    given: set[str] = set()
    result = []
    for name in names:
        path = Path(name)
        others = (f"{path.stem}-{count}{path.suffix}" for count in itertools.count(2))
        free = next(n for n in itertools.chain([name], others) if n not in given)
        given.add(free)
        result.append(free)
    return result


def identity(path: Path) -> tuple[int, int] | None:
    """Which folder it is, however it is spelled; None if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
