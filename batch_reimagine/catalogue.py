"""What an output shows to whoever chooses: its products, each with all variations. Blocks.

A product is one source. Whatever the manifest says of it is here, failures too: what is not
there must be seen to be missing. `follow` reads on while a run writes.
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import msgspec

from batch_reimagine import manifest
from batch_reimagine.choice import MOST_VARIATION
from batch_reimagine.following import Following
from batch_reimagine.output import MANIFEST, Tree
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
        self._manifest = Following(tree.root / MANIFEST)
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
        with self._turn, self._manifest.more() as (anew, lines):
            old = self._by_id
            taken = self._take(lines, {} if anew else old)
            changed = {id_ for id_, product in taken.items() if old.get(id_) != product}
            if anew:  # as when a run has put a shorter one in its place
                changed |= old.keys() - taken
                self._by_id = taken
            else:
                old.update(taken)
            return changed

    @staticmethod
    def _take(lines: Iterator[bytes], known: dict[str, Product]) -> dict[str, Product]:
        """The products that the lines are about, as they make them of the known ones."""
        taken: dict[str, Product] = {}
        by_source: dict[str, Product] = {}  # a hash a product, not a row
        for line in lines:
            row = manifest.decode(line)
            if not (row and 1 <= row.variation <= MOST_VARIATION and manifest.is_believed(row)):
                continue
            product = by_source.get(row.source)
            if product is None:
                id_ = product_id(row.source)
                before = known.get(id_)
                product = Product(row.source, id_, dict(before.variations) if before else {})
                taken[id_] = by_source[row.source] = product
            _add(product, row)
        return taken

    def path_of(self, variation: Variation) -> Path | None:
        """The picture on the disk; None if it is not there, or is no regular file of this tree."""
        name = variation.output
        if name is None or not self.tree.holds(name):
            return None
        path = self.tree.path(name)
        # The tree remembers which folders were no links; it is asked here for days.
        if os.path.realpath(path) != str(path):
            return None
        return path if os.access(path, os.R_OK) else None


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
