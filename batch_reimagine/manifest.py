"""The manifest's rows, and the small index of what they say is done.

Rows are data, not orders: one is believed only if its output has the name that
this tool would give, inside the output folder. Garbage is passed over and its
line number kept.
"""

import itertools
import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from batch_reimagine.log import read_lines
from batch_reimagine.naming import SUFFIXES, output_name
from batch_reimagine.work import Kept, Picture, Record

_OUTPUT = re.compile(r"(.+)_v([0-9]{2,6})\.(png|webp|jpg)", re.DOTALL)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_VARIATIONS = 9999  # as in Settings; a row that claims more would only fill memory
_MOST_NAME_BYTES = 244  # 255 on most file systems, less "_v9999.webp"
_MOST_BYTES = 2**32 - 1
_TYPE_OF_SUFFIX = {suffix[1:]: type_ for type_, suffix in SUFFIXES.items()}

# One byte a variation in the index: what kind of picture, or what kind of failure.
_NOTHING, _REJECTED, _EXHAUSTED, _UNKNOWN = 0, 16, 17, 18
_TYPES = ("png", "webp", "jpeg")
_DONE = {type_: code for code, type_ in enumerate(_TYPES, 1)}
_FAILED = {"rejected": _REJECTED, "exhausted": _EXHAUSTED, "unknown": _UNKNOWN}

_ROW = msgspec.json.Decoder(Record)


@dataclass(slots=True)
class Place:
    """One content at one source: where it shows, and what is known of its variations."""

    source: str
    base: str | None  #: of its outputs; None while there is none
    codes: bytearray = field(default_factory=bytearray)  #: index: variation - 1
    sizes: "array[int]" = field(default_factory=lambda: array("I"))  #: bytes, likewise

    def set(self, variation: int, code: int, size: int) -> None:
        if len(self.codes) < variation:
            self.codes.extend(bytes(variation - len(self.codes)))
            self.sizes.extend([0] * (variation - len(self.sizes)))
        self.codes[variation - 1] = code
        self.sizes[variation - 1] = min(size, _MOST_BYTES)

    def has(self, variation: int) -> bool:
        return len(self.codes) >= variation and self.codes[variation - 1] != _NOTHING

    def done(self, root: str = "") -> Iterator[tuple[int, str, int]]:
        """Yield (variation, output name, bytes) of every picture that the manifest claims.

        root: put before each name.
        """
        if self.base is None:
            return
        base = root + self.base
        for variation, code in enumerate(self.codes, 1):
            if 0 < code <= len(_TYPES):
                name = output_name(base, variation, _TYPES[code - 1])
                yield variation, name, self.sizes[variation - 1]

    def unknown(self) -> list[int]:
        return [variation for variation, code in enumerate(self.codes, 1) if code == _UNKNOWN]

    @property
    def rejected(self) -> bool:
        return _REJECTED in self.codes


class Index:
    """Which variations of which content exist, as the manifest has it; later rows win.

    request: rows of other requests are other work; only their numbers are taken.
    """

    def __init__(self, request: str) -> None:
        self._request = request
        self._by_content: dict[bytes, list[Place]] = {}
        self._by_source: dict[str, list[Place]] = {}
        self._foreign: dict[str, Place] = {}
        self.other_requests: set[str] = set()
        self._reserved: dict[str, set[int]] = {}
        self._reserving = Lock()
        self._last: Place | None = None  # of the last row of a picture
        self._last_sha256: str | None = None
        self.rows = 0
        self.strange = False  #: some rows are no rows, or not of this request
        self.superseded = 0  #: rows that later ones took the place of, or may have

    def __bool__(self) -> bool:
        return self.rows > 0

    def add(self, row: Record) -> bool:
        """Take in one row; False if it is not to be believed."""
        last = self._last  # a photo's rows mostly follow each other: most of the work is done
        if (
            row.status == "done"
            and last is not None
            and row.source == last.source
            and row.source_sha256 == self._last_sha256
            and row.request == self._request
            and row.type in _DONE
            and 1 <= row.variation <= _MOST_VARIATIONS
            and row.output == output_name(last.base or "", row.variation, row.type)
        ):
            self.rows += 1
            self.superseded += last.has(row.variation)
            last.set(row.variation, _DONE[row.type], row.bytes or 0)
            return True
        return self._add(row)

    def _add(self, row: Record) -> bool:
        base, code = None, _FAILED.get(row.status, _NOTHING)
        if row.status == "done":
            named = _named(row)
            if named is None:
                return False
            base, code = named[0], _DONE[named[1]]
        if row.source_sha256 is None:  # a photo that could not be read has no content yet
            self.rows += row.status != "done"
            self.superseded += row.status != "done"
            return row.status != "done"
        if not _SHA256.fullmatch(row.source_sha256) or not 1 <= row.variation <= _MOST_VARIATIONS:
            return False
        self.rows += 1
        content = bytes.fromhex(row.source_sha256)
        if row.request != self._request:
            self.other_requests.add(row.request)
            self.strange = True
            content = b""
        place = self._place(content, row.source)
        place.base = base or place.base
        if content and base:
            self._last, self._last_sha256 = place, row.source_sha256
        self.superseded += place.has(row.variation)
        place.set(row.variation, code, row.bytes or 0)
        return True

    def _place(self, content: bytes, source: str) -> Place:
        if content == b"":
            return self._foreign.setdefault(source, Place(source, None))
        places = self._by_content.setdefault(content, [])
        for place in places:
            if place.source == source:
                return place
        place = Place(source, None)
        places.append(place)
        self._by_source.setdefault(source, []).append(place)
        return place

    def place(self, content: bytes, source: str) -> Place | None:
        """What is known of this content at this source."""
        places = self._by_content.get(content, ())
        return next((place for place in places if place.source == source), None)

    def lines(self) -> Iterator[tuple[bytes, Place]]:
        """Yield every content with each of its places."""
        for content, places in self._by_content.items():
            for place in places:
                yield content, place

    def put(self, content: bytes, place: Place) -> None:
        """Take in a place whole, as `lines` gave it."""
        self._by_content.setdefault(content, []).append(place)
        self._by_source.setdefault(place.source, []).append(place)

    def claims(self, base: str, variation: int) -> bool:
        """Whether some row says that this picture is its own. Looks at all of them."""
        places = itertools.chain.from_iterable(self._by_source.values())
        return any(
            place.base == base and any(number == variation for number, _, _ in place.done())
            for place in itertools.chain(places, self._foreign.values())
        )

    def clear(self) -> None:
        """Know nothing."""
        self._by_content.clear()
        self._by_source.clear()
        self._foreign.clear()
        self._last = None
        self.rows = self.superseded = 0

    def places(self, content: bytes) -> list[Place]:
        """Every source at which this content has rows."""
        return self._by_content.get(content, [])

    def base_of(self, source: str) -> str | None:
        """How this source's outputs are named already."""
        places = [*self._by_source.get(source, ()), *filter(None, [self._foreign.get(source)])]
        return next((place.base for place in reversed(places) if place.base), None)

    def taken_by_others(self, content: bytes, source: str) -> set[int]:
        """Numbers at this source that belong to another content or request."""
        mine = next((p for p in self.places(content) if p.source == source), None)
        others = [p for p in self._by_source.get(source, ()) if p is not mine]
        if foreign := self._foreign.get(source):
            others.append(foreign)
        return {variation for place in others for variation, _, _ in place.done()}

    def free_number(self, source: str) -> int:
        """The first number at a source that no picture has: for a row that says why not."""
        places = [*self._by_source.get(source, ()), *filter(None, [self._foreign.get(source)])]
        taken = {variation for place in places for variation, _, _ in place.done()}
        return next(number for number in itertools.count(1) if number not in taken)

    def reserve(self, base: str, numbers: Iterator[int], count: int) -> list[int]:
        """Take the first numbers that nobody else is about to use under this base.

        Two sources may share a base (one took the other's name), and are looked at
        in two threads. Give them back with `release` when their files are written.
        """
        with self._reserving:
            taken = self._reserved.setdefault(base, set())
            mine = [*itertools.islice((n for n in numbers if n not in taken), count)]
            taken.update(mine)
            return mine

    def release(self, base: str, numbers: Iterable[int]) -> None:
        with self._reserving:
            taken = self._reserved.get(base, set())
            taken.difference_update(numbers)
            if not taken:
                self._reserved.pop(base, None)


def _named(row: Record) -> tuple[str, str] | None:
    """Base and type of a picture's row, by its output; None if that is no name of ours."""
    found = _OUTPUT.fullmatch(row.output or "")
    if not found or not is_inside(found[1]):
        return None
    base, type_ = found[1], _TYPE_OF_SUFFIX[found[3]]
    return (base, type_) if row.output == output_name(base, row.variation, type_) else None


def is_believed(row: Record) -> bool:
    """Whether a row's output, if it claims one, has the name that this tool would give."""
    return row.status != "done" or _named(row) is not None


def is_inside(name: str) -> bool:
    """Whether a relative name stays inside the output, whoever gave it."""
    parts = name.split("/")
    return all(
        part not in {"", ".", ".."}
        and not {"\0", "\\"} & set(part)
        and len(part.encode("utf-8", "replace")) <= _MOST_NAME_BYTES
        for part in parts
    )


def numbers_that_count(rows: Iterable[tuple[int, Record]]) -> set[int]:
    """Which rows, by number, are the last word on their variation.

    The later row wins; but a failure never takes the place of another content's
    picture. Holds a few words a variation in memory.
    """
    last: dict[tuple[str, int], tuple[int, int | None]] = {}
    for number, row in rows:
        key, content = (row.source, row.variation), hash(row.source_sha256)
        known = last.get(key, (0, None))[1]
        if row.status == "done":
            last[key] = number, content
        elif known in {None, content}:
            last[key] = number, None
    return {number for number, _ in last.values()}


def read_rows(path: Path, damaged: Callable[[int], None]) -> Iterator[Record]:
    """Yield the manifest's rows in order; damaged is told the line number of what is none."""
    for number, line in read_lines(path):
        if row := decode(line):
            yield row
        else:
            damaged(number)


def decode(line: bytes) -> Record | None:
    """The row that a line is, or None."""
    try:
        return _ROW.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def done(picture: Picture, output: str, kept: Kept, **rest: Any) -> Record:
    """The row of a picture that is on disk; rest: what the picture itself does not tell."""
    return Record(
        status="done",
        output=output,
        output_sha256=kept.sha256,
        width=picture.width,
        height=picture.height,
        bytes=kept.size,
        type=picture.type,
        mark=kept.mark,
        **rest,
    )


def encode(row: Record) -> bytes:
    """One line, without its end."""
    return msgspec.json.encode(row)
