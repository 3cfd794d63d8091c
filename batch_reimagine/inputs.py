"""What the user named: folders, files and stores, filters, and names that do not meet."""

import hashlib
import itertools
import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pathspec import GitIgnoreSpec

from batch_reimagine.address import Address
from batch_reimagine.errors import UsageError
from batch_reimagine.kinds import PICTURE_SUFFIXES
from batch_reimagine.naming import is_like_ours, safe_name, safe_names, source_name

_JUNK_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini"}
_JUNK_FOLDERS = {"@eadir", "__macosx", "$recycle.bin", "system volume information", "lost+found"}
_TAGGED = re.compile(r"~[0-9a-f]{16}\Z")


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
class File:
    """One picture that was named by itself."""

    path: Path
    source: str
    base: str


@dataclass(frozen=True, slots=True)
class StoreRoot:
    """A folder in an object store, or what has one name in it."""

    address: Address
    source: str  #: what its sources begin with, or its source; "" for a single input itself
    base: str  #: where its outputs go, relative to the output
    name: str = ""  #: of the one photo in it; "": all that is there


@dataclass(frozen=True, slots=True)
class Roots:
    """The inputs, named so that no two meet."""

    files: tuple[File, ...]
    folders: tuple[Folder, ...]
    stores: tuple[StoreRoot, ...]


def roots(inputs: Sequence[Path | Address]) -> Roots:
    """Name the inputs: one folder is the top itself, several get a top folder each.

    Raises UsageError when an input does not exist or is neither file nor folder.
    """
    if not inputs:
        raise UsageError("no input: name a folder of photos, or single files")
    files: list[Path] = []
    folders: list[Path] = []
    stores = [*dict.fromkeys(place for place in inputs if isinstance(place, Address))]
    local = [place for place in inputs if isinstance(place, Path)]
    for path in dict.fromkeys(Path(os.path.abspath(path)) for path in local):  # noqa: PTH100 - keeps links
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
    photos = [address for address in stores if _is_photo(address)]
    stores = [address for address in stores if address not in photos]
    if len(folders) + len(stores) == 1 and not files and not photos:
        return Roots(
            (),
            tuple(Folder(path, "", "") for path in folders),
            tuple(StoreRoot(address, "", "") for address in stores),
        )
    file_names = _numbered(
        [path.name for path in files] + [_last(address.prefix) for address in photos]
    )
    folder_names = _numbered(
        [path.name or "root" for path in folders]
        + [_last(address.prefix) or address.bucket for address in stores]
    )
    bases, folder_bases = safe_names(file_names, folder_names)
    tops = [(source_name(name), folder_bases[name]) for name in folder_names]
    return Roots(
        tuple(
            File(Path(os.path.realpath(path)), source_name(name), bases[name])
            for path, name in zip(files, file_names, strict=False)
        ),
        tuple(Folder(path, *top) for path, top in zip(folders, tops, strict=False)),
        tuple(
            StoreRoot(address, *top)
            for address, top in zip(stores, tops[len(folders) :], strict=True)
        )
        + tuple(
            StoreRoot(_parent(address), source_name(name), bases[name], _last(address.prefix))
            for address, name in zip(photos, file_names[len(files) :], strict=True)
        ),
    )


def _is_photo(address: Address) -> bool:
    """Whether an address is named as a picture is; a store has no folders that could be told."""
    stem, _, suffix = _last(address.prefix).rpartition(".")
    return bool(stem) and is_picture(suffix)


def _last(prefix: str) -> str:
    return prefix.rpartition("/")[2]


def _parent(address: Address) -> Address:
    return replace(address, prefix=address.prefix.rpartition("/")[0])


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


def is_junk(name: str, *, folder: bool = False) -> bool:
    """Whether a system or a program left a file or folder of this name, and no user did."""
    return name.lower() in (_JUNK_FOLDERS if folder else _JUNK_FILES)


def identity(path: Path) -> tuple[int, int] | None:
    """Which folder it is, however it is spelled; None if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_picture(suffix: str) -> bool:
    """Whether people mean a picture by a suffix ("jpg")."""
    return f".{suffix.lower()}" in PICTURE_SUFFIXES


def base_in_store(name: str, shares: Callable[[], bool]) -> str:
    """What a picture's outputs are named after, where its folder is never known as a whole.

    name: with the suffix of a picture. shares: whether another file of the folder has its stem.
    The base is one of three, and no two pictures of one folder have the same: its stem ("a"), if
    no other has that; stem and suffix ("a-jpg"), if one has; and, where the stem could be taken
    for one of the others ("a-jpg.png") or is not safe on every system, a name of its own with a
    hash, whoever is beside it. "A" and "a" are two names in a store.
    """
    stem, _, suffix = name.rpartition(".")
    before, _, end = stem.rpartition("-")
    if not _is_free(stem) or (before and is_picture(end)):
        return tagged(stem, name)
    if not shares():
        return stem
    both = f"{stem}-{suffix}"
    return both if safe_name(both) == both else tagged(stem, name)


def folder_in_store(name: str) -> str:
    """Likewise, where the outputs of a folder's photos go."""
    return name if _is_free(name) and not is_like_ours(name) else tagged(name)


def tagged(name: str, exact: str = "") -> str:
    """A safe name of at most 177 bytes that has the hash of the exact one."""
    return f"{safe_name(name)}~{hashlib.sha256((exact or name).encode()).hexdigest()[:16]}"


def _is_free(name: str) -> bool:
    """Whether a name is safe as it is, and does not look as if it were tagged."""
    return safe_name(name) == name and not _TAGGED.search(name)
