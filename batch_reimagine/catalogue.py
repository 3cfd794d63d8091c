"""What an output shows to whoever chooses: its products, each with all variations. Blocks.

A product is one source. Whatever the manifest says of it is here, failures too: what is not
there must be seen to be missing. `follow` reads on while a run writes.
"""

import hashlib
import heapq
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from threading import Lock

import msgspec

from batch_reimagine import manifest
from batch_reimagine.books import lines_of, manifest_files, piece_bytes_for
from batch_reimagine.choice import MOST_VARIATION
from batch_reimagine.errors import OutputMismatch
from batch_reimagine.following import Following
from batch_reimagine.output import Tree
from batch_reimagine.work import Record, Status

ID_CHARACTERS = 20  # of a sha256 in hex: no two sources of one output meet by chance


class Variation(msgspec.Struct, frozen=True, gc=False):
    """One row that counts."""

    number: int
    status: Status
    content: str | None  #: sha256 of the photo that it is of
    output: str | None = None  #: relative, with "/"; None unless done
    sha256: str | None = None  #: of the output as it was written
    width: int | None = None  #: pixels
    height: int | None = None  #: pixels
    bytes: int | None = None
    type: str | None = None  #: "png", "webp" or "jpeg"
    mark: str | None = None  #: where its AI mark is: "xmp", "sidecar" or None
    reason: str | None = None
    message: str | None = None


@dataclass(slots=True)
class Product:
    """One source and what was made of it, as of one moment: `follow` makes new ones."""

    source: str  #: relative, with "/"
    id: str  #: stands for the source where a name must not
    variations: dict[int, Variation] = field(default_factory=dict)  #: by number; last row last

    @property
    def done(self) -> list[Variation]:
        """Its pictures, by number."""
        return [v for _, v in sorted(self.variations.items()) if v.status == "done"]

    @property
    def content(self) -> str | None:
        """sha256 of the photo as it was when its last row was written, as far as known."""
        return next((v.content for v in reversed(self.variations.values()) if v.content), None)


def product_id(source: str) -> str:
    """The name of a source in addresses: hexadecimal, of fixed length."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:ID_CHARACTERS]


class Catalogue:
    """The products of an output, by source in order of their names.

    Rows that are no rows, and rows that point outside the output, are passed over.
    One thread may follow while others read.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._files: dict[Path, Following] = {}  # of the manifest, as far as each was read
        self._by_id: dict[str, Product] = {}
        self._turn = Lock()

    def __iter__(self) -> Iterator[Product]:
        return iter(sorted(self._by_id.values(), key=lambda product: product.source))

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, id_: str) -> Product | None:
        return self._by_id.get(id_)

    def of(self, source: str) -> Product | None:
        return self._by_id.get(product_id(source))

    def follow(self) -> set[str]:
        """Take in what was written since the last time; return the ids that changed.

        Call it once to read all. An id that `get` knows no more is of a product that is gone.
        Raises OutputMismatch for a manifest that is no regular file.
        """
        with self._turn:
            files = manifest_files(self.tree.root)
            try:
                if len(files) == 1 and self._files.keys() <= set(files):
                    following = self._files.setdefault(files[0], Following(files[0]))
                    with following.more() as (anew, lines):
                        return self._keep(_rows(lines), anew=anew)
                return self._follow_many(files)
            except OutputMismatch:
                self._files = {}  # what was read of others is not shown: begin again
                raise

    def _follow_many(self, files: list[Path]) -> set[str]:
        """Read on in several files; or read all anew, for then the rows' times order them."""
        known, self._files = self._files, {p: self._files.get(p) or Following(p) for p in files}
        # One that is seen before its first row is read on like the others.
        late = any(p not in known and os.lstat(p).st_size for p in files)
        anew = not known or late or bool(known.keys() - files)
        if anew or any(each.begun and _begins_again(each) for each in self._files.values()):
            anew, self._files = True, {path: Following(path) for path in files}
        piece = piece_bytes_for(len(files))
        streams = [_rows(lines_of(each, piece)) for each in self._files.values()]
        return self._keep(heapq.merge(*streams, key=attrgetter("time")), anew=anew)

    def _keep(self, rows: Iterable[Record], *, anew: bool) -> set[str]:
        old = self._by_id
        taken = _taken(rows, {} if anew else old)
        changed = {id_ for id_, product in taken.items() if old.get(id_) != product}
        if anew:  # as when a run has put a shorter one in its place
            changed |= old.keys() - taken
            self._by_id = taken
        else:
            old.update(taken)
        return changed

    def path_of(self, variation: Variation) -> Path | None:
        """Where the picture lies; None if it is not there, or is no regular file of this tree.

        Of a tree in a store: where its name stands, and nothing lies; `Tree.bring` copies it.
        """
        name = variation.output
        return self.tree.path(name) if name and self.tree.readable(name) else None


def _begins_again(following: Following) -> bool:
    with following.more(0) as (anew, _):
        return anew


def _rows(lines: Iterable[bytes]) -> Iterator[Record]:
    """The lines that are rows to be believed."""
    for line in lines:
        row = manifest.decode(line)
        if row and 1 <= row.variation <= MOST_VARIATION and manifest.is_believed(row):
            yield row


def _taken(rows: Iterable[Record], known: dict[str, Product]) -> dict[str, Product]:
    """The products that the rows are about, as they make them of the known ones."""
    taken: dict[str, Product] = {}
    by_source: dict[str, Product] = {}  # a hash a product, not a row
    for row in rows:
        product = by_source.get(row.source)
        if product is None:
            id_ = product_id(row.source)
            before = known.get(id_)
            product = Product(row.source, id_, dict(before.variations) if before else {})
            taken[id_] = by_source[row.source] = product
        _add(product, row)
    return taken


def _add(product: Product, row: Record) -> None:
    """Take in a row, as `manifest.numbers_that_count` would: the later one wins."""
    known = product.variations.get(row.variation)
    done = row.status == "done"
    content = row.source_sha256
    if known is not None and content != known.content and known.status == "done" and not done:
        return  # a failure never takes the place of another content's picture
    last = next(reversed(product.variations.values()), None)
    if last is not None and last.content == content:
        content = last.content  # held once a product: a million rows are to fit in memory
    product.variations.pop(row.variation, None)  # the last row stands last
    product.variations[row.variation] = Variation(
        row.variation,
        row.status,
        content,
        row.output if done else None,
        row.output_sha256 if done else None,
        row.width,
        row.height,
        row.bytes,
        _shared(row.type),
        _shared(row.mark),
        _shared(row.reason),
        row.message,
    )


def _shared(word: str | None) -> str | None:
    """The same word out of all rows, held once."""
    return word if word is None else sys.intern(word)
