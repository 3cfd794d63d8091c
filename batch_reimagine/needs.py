"""What one photo still needs: decided from the index and from what is really on disk.

Blocks on the disk: call it in a worker thread.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from batch_reimagine.manifest import Index, Place
from batch_reimagine.output import Tree
from batch_reimagine.proof import IncompleteError, prove
from batch_reimagine.settings import Settings
from batch_reimagine.work import Photo


@dataclass(frozen=True, slots=True)
class Copy:
    """A picture of the same content that was bought for another source."""

    output: str  #: whose copy it is to be
    variation: int  #: its number at the new place


@dataclass(frozen=True, slots=True)
class Needs:
    """What is left to do for one photo."""

    here: int  #: variations on disk, or held as unknown
    copies: tuple[Copy, ...]
    make: tuple[int, ...]  #: numbers of the variations to buy
    refused: bool  #: this content was refused before and is left alone; make is empty then


def needs(index: Index, tree: Tree, photo: Photo, content: bytes, settings: Settings) -> Needs:
    """Compare what is wanted of a photo with what is there.

    content: sha256 of the photo's bytes. A variation is there if the manifest has
    it for this content and its file exists. Bought ones that show at another
    source only are copied: the same content is never paid for twice. New numbers
    are those that no row of another content has and no file on disk bears.
    """
    places = index.places(content)
    mine = next((place for place in places if place.source == photo.source), Place("", None))
    here = {number: name for number, name in mine.done() if tree.holds(name)}
    hold = settings.on_unknown == "hold"
    held = mine.unknown() if hold else []
    # Identity is content: what may have been paid for under another name is held here too.
    most_held = max((len(place.unknown()) for place in places), default=0) if hold else 0
    there = len(here) + most_held
    missing = max(0, settings.variations - there)
    if not missing:
        return Needs(there, (), (), refused=False)
    barred = {*here, *held, *index.taken_by_others(content, photo.source)}
    numbers = (n for n in itertools.count(1) if n not in barred and not tree.taken(photo.base, n))
    others = [place for place in places if place is not mine]
    copies = tuple(
        Copy(name, next(numbers))
        for name in itertools.islice(_elsewhere(tree, others, [*here.values()]), missing)
    )
    missing -= len(copies)
    refused = any(place.rejected for place in places) and not settings.retry_failed
    make = () if refused else tuple(itertools.islice(numbers, missing))
    return Needs(there, copies, make, refused=refused and missing > 0)


def _elsewhere(tree: Tree, places: list[Place], here: list[str]) -> Iterator[str]:
    """Yield the whole pictures of the content that lie at other sources and are not here yet.

    A picture is here if equal bytes are, as often as at that source: a service
    may well give the same answer twice.
    """
    if not places:
        return
    known = Counter(_sha256(tree.path(name).read_bytes()) for name in here)
    for place in places:
        there: Counter[bytes] = Counter()
        for _, name in place.done():
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
                yield name


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
