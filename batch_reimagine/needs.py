"""What one photo still needs: decided from the index and from what is really on disk.

Blocks on the disk: call it in a worker thread.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from msgspec import structs

from batch_reimagine.manifest import Index, Place
from batch_reimagine.naming import output_name
from batch_reimagine.output import Tree
from batch_reimagine.proof import IncompleteError, prove
from batch_reimagine.provider import request_of
from batch_reimagine.settings import Settings
from batch_reimagine.work import Photo, Record


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
    found: tuple[Record, ...] = ()  #: rows of pictures that lie there, and that no book has
    late: tuple[tuple[int, str], ...] = ()  #: that came after their call was dropped: number, name
    make: tuple[int, ...] = ()  #: numbers of the variations to buy
    base: str | None = None  #: what its pictures are named after; None: the photo's own base
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
        if tree.holds(name) and (whole := _is_whole(tree, name, size)) is not None:
            (here if whole else torn)[number] = name
    hold = settings.on_unknown == "hold"
    # Identity is content: what may have been paid for under another name is held here too.
    # In a store a picture bears its row: `_told` finds it.
    late = {} if tree.remote else _late(index, tree, photo, mine)
    held = max((len(place.unknown()) for place in places), default=0) - len(late) if hold else 0
    found = _told(tree, photo, content, settings, {*here, *torn}) if tree.remote else []
    base = None
    if found and not here and not torn and (output := found[0].output):
        base = output.rpartition("_v")[0]  # all of a photo's pictures are named alike
        photo = replace(photo, base=base)
    missing = max(0, settings.variations - len(here) - len(found) - len(late) - held)
    if not missing:
        return Needs(len(here), held, found=tuple(found), late=tuple(late.items()), base=base)
    barred = {
        *here,
        *late,
        *(row.variation for row in found),
        *index.taken_by_others(content, photo.source),
    }
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
        tuple(found),
        tuple(late.items()),
        () if refused else tuple(make),
        base=base,
        refused=refused and bool(make),
    )


def _late(index: Index, tree: Tree, photo: Photo, mine: Place) -> dict[int, str]:
    """Pictures that were on their way to the disk when their call was written off as dropped."""
    found = {}
    base = mine.base or photo.base
    for number in mine.unknown():
        if (type_ := tree.taken(base, number)) is None:
            continue
        name = output_name(base, number, type_)
        if tree.holds(name) and not index.claims(base, number):
            with suppress(IncompleteError, OSError):
                prove(tree.read(name))
                found[number] = name
    return found


def _told(
    tree: Tree, photo: Photo, content: bytes, settings: Settings, known: set[int]
) -> list[Record]:
    """The rows that pictures of this content bear themselves, where the books have none.

    A machine that died may have put pictures into a store whose rows went down with it, and a
    photo may have been named otherwise then: the files beside it were others.
    """
    found: dict[int, Record] = {}
    request = request_of(settings)
    for base in filter(None, [photo.base, _other_base(photo)]):
        if base != photo.base and len(known) + len(found) >= settings.variations:
            break  # not worth a look
        for number, name in tree.numbered(base):
            row = tree.row_of(name) if number not in known and number not in found else None
            if (
                row is not None
                and row.variation == number
                and row.source_sha256 == content.hex()
                and row.request == request
                and (base == photo.base or row.source == photo.source)
            ):
                found[number] = structs.replace(row, source=photo.source)
    return [*found.values()]


def _other_base(photo: Photo) -> str | None:
    """What it is named after where it does, or does not, share its stem; None: never otherwise."""
    folder, slash, last = photo.base.rpartition("/")
    stem, _, suffix = photo.source.rpartition("/")[2].rpartition(".")
    both = f"{stem}-{suffix}"
    other = {stem: both, both: stem}.get(last)
    return f"{folder}{slash}{other}" if stem and other else None


def _is_whole(tree: Tree, name: str, size: int) -> bool | None:
    """Whether an output still is a picture; of the size that was written, it is believed.

    None: it went away this moment.
    """
    try:
        if not size or tree.size(name) == size:
            return True
        prove(tree.read(name))
    except FileNotFoundError:
        return None
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
            with suppress(OSError):
                found[_sha256(tree.read(name))] = number
    return found


def _elsewhere(tree: Tree, places: list[Place], here: list[str]) -> Iterator[tuple[bytes, str]]:
    """Yield (hash, name) of whole pictures of the content at other sources that are not here yet.

    A picture is here if equal bytes are, as often as at that source: a service
    may well give the same answer twice.
    """
    if not places:
        return
    known = Counter[bytes]()
    for name in here:
        with suppress(OSError):
            known[_sha256(tree.read(name))] += 1
    for place in places:
        there: Counter[bytes] = Counter()
        for _, name, _ in place.done():
            if not tree.holds(name):
                continue
            try:
                data = tree.read(name)
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
