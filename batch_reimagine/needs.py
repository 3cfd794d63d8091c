"""What one photo still needs: decided from the index and from what is really on disk.

Blocks on the disk: call it in a worker thread.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from batch_reimagine.manifest import Index, Place
from batch_reimagine.output import Tree, output_name
from batch_reimagine.proof import IncompleteError, prove
from batch_reimagine.settings import Settings
from batch_reimagine.work import Photo


@dataclass(frozen=True, slots=True)
class Copy:
    """A picture of the same content that was bought for another source."""

    output: str  #: whose copy it is to be
    variation: int  #: its number at the new place
    lies_there: bool = False  #: a run that died wrote it, but not its row


@dataclass(frozen=True, slots=True)
class Needs:
    """What is left to do for one photo. Its numbers are reserved: `release` them when done."""

    here: int  #: variations on disk
    held: int = 0  #: variations that may have been paid for, and are not made again
    torn: tuple[str, ...] = ()  #: outputs that are no whole pictures any more: to be set aside
    copies: tuple[Copy, ...] = ()
    make: tuple[int, ...] = ()  #: numbers of the variations to buy
    refused: bool = False  #: this content was refused before and is left alone; make is empty then

    @property
    def numbers(self) -> list[int]:
        return [*self.make, *(copy.variation for copy in self.copies)]


def needs(index: Index, tree: Tree, photo: Photo, content: bytes, settings: Settings) -> Needs:
    """Compare what is wanted of a photo with what is there.

    content: sha256 of the photo's bytes. A variation is there if the manifest has
    it for this content and its file is whole. Bought ones that show at another
    source only are copied: the same content is never paid for twice. New numbers
    are those that no row of another content has and no file on disk bears.
    """
    places = index.places(content)
    mine = next((place for place in places if place.source == photo.source), Place("", None))
    here: dict[int, str] = {}
    torn: dict[int, str] = {}
    for number, name, size in mine.done():
        if tree.holds(name):
            (here if _is_whole(tree, name, size) else torn)[number] = name
    hold = settings.on_unknown == "hold"
    # Identity is content: what may have been paid for under another name is held here too.
    held = max((len(place.unknown()) for place in places), default=0) if hold else 0
    missing = max(0, settings.variations - len(here) - held)
    if not missing:
        return Needs(len(here), held)
    barred = {*here, *index.taken_by_others(content, photo.source)}
    barred.update(mine.unknown() if hold else ())
    free = (
        number
        for number in itertools.count(1)
        if number not in barred and (number in torn or not tree.taken(photo.base, number))
    )
    others = [place for place in places if place is not mine]
    elsewhere = [*itertools.islice(_elsewhere(tree, others, [*here.values()]), missing)]
    orphans = _orphans(tree, photo.base, barred) if elsewhere else {}
    numbers = index.reserve(photo.base, free, missing)
    rest = iter(numbers)
    copies = tuple(
        Copy(name, orphans.pop(sha256), lies_there=True)
        if sha256 in orphans
        else Copy(name, next(rest))
        for sha256, name in elsewhere
    )
    make = [*rest][: missing - len(copies)]
    index.release(photo.base, set(numbers) - {*make, *(copy.variation for copy in copies)})
    refused = any(place.rejected for place in places) and not settings.retry_failed
    if refused:
        index.release(photo.base, make)
    return Needs(
        len(here),
        held,
        tuple(torn.values()),
        copies,
        () if refused else tuple(make),
        refused=refused and bool(make),
    )


def _is_whole(tree: Tree, name: str, size: int) -> bool:
    """Whether an output still is a picture; of the size that was written, it is believed."""
    path = tree.path(name)
    if not size or path.stat().st_size == size:
        return True
    try:
        prove(path.read_bytes())
    except (IncompleteError, OSError):
        return False
    return True  # somebody edited it; that is his right


def _orphans(tree: Tree, base: str, barred: set[int]) -> dict[bytes, int]:
    """The files under this base that have no row, by their hash: numbers in an unbroken line."""
    found: dict[bytes, int] = {}
    for number in itertools.count(1):
        type_ = tree.taken(base, number)
        if type_ is None and number not in barred:
            return found
        name = output_name(base, number, type_ or "png")
        if number not in barred and tree.holds(name):
            found[_sha256(tree.path(name).read_bytes())] = number
    return found


def _elsewhere(tree: Tree, places: list[Place], here: list[str]) -> Iterator[tuple[bytes, str]]:
    """Yield (hash, name) of whole pictures of the content at other sources that are not here yet.

    A picture is here if equal bytes are, as often as at that source: a service
    may well give the same answer twice.
    """
    if not places:
        return
    known = Counter(_sha256(tree.path(name).read_bytes()) for name in here)
    for place in places:
        there: Counter[bytes] = Counter()
        for _, name, _ in place.done():
            if not tree.holds(name):
                continue
            try:
                data = tree.path(name).read_bytes()
                prove(data)
            except (IncompleteError, OSError):
                continue
            sha256 = _sha256(data)
            there[sha256] += 1
            if there[sha256] > known[sha256]:
                known[sha256] += 1
                yield sha256, name


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
