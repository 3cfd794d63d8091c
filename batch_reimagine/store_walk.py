"""A folder in an object store → photos: a listing that is read as it is used, and held nowhere.

A store has no folders, only keys in order. So names that would meet are told from what stands
next to each other: files of one stem ("a.jpg", "a.png") stand in one stretch of the listing.
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from batch_reimagine.address import Address, is_plain
from batch_reimagine.cloud import Entry, Objects
from batch_reimagine.errors import UsageError
from batch_reimagine.inputs import (
    Filters,
    StoreRoot,
    base_in_store,
    folder_in_store,
    is_junk,
    is_picture,
    tagged,
)
from batch_reimagine.kinds import RAW_SUFFIXES
from batch_reimagine.naming import STATE_DIR, source_name
from batch_reimagine.reading import Looks, ObjectLooks
from batch_reimagine.work import Found, Here, Photo, Skip, StoreKey

_MOST_AHEAD = 1000  # keys looked ahead; where that is too few, a name is made its own
_BATCH = 64
_LAST = "\U0010fffd"  # follows every name that begins with what stands before it


class StoreWalk:
    """One pass over one input in a store.

    objects: of the root's address. output: names below it are never read as input, nor are
    those of any other output of this tool. here: told an object's looks and source, says how
    many variations of it are there, if nothing is left to do for it. known_base: as for `Walk`.

    Raises UsageError, then or while it is read, for an input that is, or lies in, an output,
    and for a photo that is not there. Beside the listing it asks once for a root that is named
    as a photo is, and once for a folder in which more than 1,000 keys stand before ".b".
    """

    def __init__(
        self,
        root: StoreRoot,
        objects: Objects,
        output: Address | None,
        *,
        filters: Filters,
        here: Callable[[Looks, str], int | None],
        known_base: Callable[[str], str | None],
    ) -> None:
        self._root = root
        self._objects = objects
        self._filters = filters
        self._here = here
        self._known_base = known_base
        self._within = ""  # what all keys of the listing begin with, and names here do not
        self._photo: Entry | None = None
        address = root.address.child(root.name) if root.name else root.address
        self._output = _part_of(address, output)
        self._sound: set[str] = set()  # folders around the last photo, none an output's
        if root.name:
            self._find(address)

    def _find(self, address: Address) -> None:
        """See whether what is named as a photo is one, or a folder."""
        if about := self._objects.about(self._root.name):
            self._photo = about[0]
            return
        self._within = f"{self._root.name}/"
        if next(self._objects.pages(self._within), None) is None:
            raise UsageError(
                f"{address}: nothing is there: name a photo, or a folder that holds some"
            )
        # Its outputs' folder is none that another input may have.
        self._root = StoreRoot(address, self._root.source, tagged(self._root.name, str(address)))

    def __iter__(self) -> Iterator[list[Found]]:
        """Yield what is found in small batches. Blocks."""
        entries = self._entries() if self._photo is None else iter([self._look(self._photo, None)])
        while batch := list(itertools.islice(entries, _BATCH)):
            yield batch

    def _entries(self) -> Iterator[Found]:
        listed = _Listed(self._objects, self._within)
        self._sound = set()
        for entry in listed:
            output = self._output_of(entry.name)
            if output is None:
                found = self._look(entry, listed)
                if isinstance(found, Photo):
                    output = self._output_around(entry.name, listed)
                if output is None:
                    yield found
                    continue
            if not output:
                raise UsageError(
                    f"{self._root.address} is an output of this tool: results are no photos to send"
                )
            own = output == self._output
            reason = "this run's output" if own else "another run's output"
            yield Skip(self._source(output.removesuffix("/")), reason)
            listed.pass_by(output)

    def _output_of(self, name: str) -> str | None:
        """The folder of the output that an object belongs to by its name alone; "": all."""
        if self._output is not None and name.startswith(self._output):
            return self._output
        head, found, _ = f"/{name}".partition(f"/{STATE_DIR}/")
        return f"{head}/"[1:] if found else None

    def _output_around(self, name: str, listed: "_Listed") -> str | None:
        """The folder of the output that a photo lies in, of which nothing else was met yet."""
        ends = [0, *(found.end() for found in re.finditer("/", name))]
        folders = [name[:end] for end in ends]
        for folder in folders:
            if folder not in self._sound and self._is_output(folder, listed):
                return folder
        self._sound = set(folders)
        return None

    def _is_output(self, folder: str, listed: "_Listed") -> bool:
        mark = f"{folder}{STATE_DIR}/"
        for entry in listed.ahead():
            if entry.name >= mark or not entry.name.startswith(folder):
                return entry.name.startswith(mark)
        if not listed.goes_on:
            return False
        return next(self._objects.pages(self._within + mark), None) is not None

    def _look(self, entry: Entry, listed: "_Listed | None") -> Found:
        """listed: where it stands; None for the one photo that the root is."""
        source = self._source(entry.name) if listed else self._root.source
        if reason := self._leaves(entry, source):
            return Skip(source, reason)
        looks = ObjectLooks.of(entry.size, entry.modified, entry.etag)
        if (variations := self._here(looks, source)) is not None:
            return Here(variations)
        key = StoreKey(str(self._root.address), entry.name, entry.size, entry.modified, entry.etag)
        base = self._known_base(source)
        if not base:
            base = self._base(entry.name, listed) if listed else self._root.base
        return Photo(key, source, base, None)

    def _source(self, name: str) -> str:
        source = source_name(name)
        return f"{self._root.source}/{source}" if self._root.source else source

    def _leaves(self, entry: Entry, source: str) -> str | None:  # noqa: PLR0911 - a return a reason
        """Why an object is passed over, by its name and size alone."""
        *folders, name = entry.name.split("/")
        if not all(part not in {"", ".", ".."} for part in [*folders, name]):
            return "folder mark" if not name else "key with empty or dotted parts"
        if not is_plain(entry.name):
            return "key with control characters"
        if any(part.startswith(".") for part in (*folders, name)):
            return "hidden"
        if is_junk(name) or any(is_junk(folder, folder=True) for folder in folders):
            return "system file or folder"
        if not self._filters.wants(source):
            return "excluded"
        if not entry.size:
            return "empty file"
        suffix = name.rpartition(".")[2] if "." in name else ""
        if f".{suffix.lower()}" in RAW_SUFFIXES:
            return "camera raw"
        # Its first bytes are not looked at: that would be a request a key.
        if not is_picture(suffix):
            return "not named as a picture"
        return None

    def _base(self, key: str, listed: "_Listed") -> str:
        """What the outputs of a key are named after."""
        *folders, name = key.split("/")
        base = base_in_store(name, lambda: listed.shares(key))
        folders = [folder_in_store(folder) for folder in folders]
        return "/".join(filter(None, [self._root.base, *folders, base]))


class _Listed:
    """A listing that knows what came just before, and looks at what comes next.

    within: what all keys begin with, and the names that are given do not.
    """

    def __init__(self, objects: Objects, within: str) -> None:
        self._objects = objects
        self._within = within
        self._pages = objects.pages(within)
        self._read: list[Entry] = []
        self._next = 0  # of those: not given out yet
        self._met: Counter[str] = Counter()  # what stems that are still near begin with

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._at(0)) is not None:
            self._next += 1
            for passed in [start for start in self._met if not entry.name.startswith(start)]:
                del self._met[passed]
            self._met[_start(entry.name)] += 1
            yield entry

    def ahead(self) -> Iterator[Entry]:
        """What follows the one given last; not all, if it then `goes_on`."""
        for number in range(_MOST_AHEAD):
            if (entry := self._at(number)) is None:
                return
            yield entry

    @property
    def goes_on(self) -> bool:
        """Whether there is more than `ahead` gives."""
        return self._at(_MOST_AHEAD) is not None

    def pass_by(self, folder: str) -> None:
        """Go on behind a folder, without reading what is in it if that is much."""
        while self._next < len(self._read) or self._objects.address.scheme == "az":
            entry = self._at(0)
            if entry is None or not entry.name.startswith(folder):
                return
            self._next += 1
        self._pages = self._objects.pages(self._within, f"{self._within}{folder}{_LAST}")

    def shares(self, key: str) -> bool:
        """Whether another file of the same folder has the stem of this one, the one given last."""
        start = _start(key)
        if self._met[start] > 1:
            return True
        for entry in self.ahead():
            if not entry.name.startswith(start):
                return False
            if _start(entry.name) == start:
                return True
        return self.goes_on  # nobody knows; a name of its own does no harm

    def _at(self, number: int) -> Entry | None:
        """What comes so many after the next one."""
        while self._next + number >= len(self._read):
            page = next(self._pages, None)
            if page is None:
                return None
            if self._within:
                page = [replace(e, name=e.name.removeprefix(self._within)) for e in page]
            self._read = [*self._read[self._next :], *page]
            self._next = 0
        return self._read[self._next + number]


def _part_of(address: Address, output: Address | None) -> str | None:
    """How the names below an output begin for an input; None if none of them can be met.

    Raises UsageError if all of them would be.
    """
    if output is None or (output.scheme, output.bucket) != (address.scheme, address.bucket):
        return None
    inside, outer = _names_below(output), _names_below(address)
    if outer.startswith(inside):
        raise UsageError(
            f"{address} lies inside the output {output}: results are no photos to send;"
            " choose another folder for -o"
        )
    return inside.removeprefix(outer) if inside.startswith(outer) else None


def _names_below(address: Address) -> str:
    return f"{address.prefix}/" if address.prefix else ""


def _start(key: str) -> str:
    """What all files of one folder with the stem of this one begin with: "a/b." of "a/b.jpg".

    A name without a suffix is far from those that have one, and is no picture's: it counts not.
    """
    folder, _, name = key.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    start = f"{stem}." if dot else f"{name}/"
    return f"{folder}/{start}" if folder else start
