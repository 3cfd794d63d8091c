"""What the page shows: products, their pictures and decisions, as the disk has them now.

The books are read and written in worker threads, one at a time; what they give is put into
values that are replaced, never changed, so that the loop can read them at any moment.
"""

import threading
from dataclasses import dataclass
from pathlib import Path

import msgspec

from batch_reimagine import journal as journals
from batch_reimagine.catalogue import Catalogue, Product, Variation, product_id
from batch_reimagine.last_run import Originals
from batch_reimagine.lock import Holder, holders_of
from batch_reimagine.naming import STATE_DIR
from batch_reimagine.output import Tree
from batch_reimagine.picks import Choice, Picks, Standing
from batch_reimagine.review.flight import Flight
from batch_reimagine.tally import told_by

ETAG_CHARACTERS = 20  # of a sha256 in hex
_LOOKED_AT = 200  # products whose files are looked for again in one turn


class ShownVariation(msgspec.Struct, frozen=True, kw_only=True):
    """One variation, as the page reads it."""

    n: int
    status: str
    reason: str | None
    message: str | None
    width: int | None
    height: int | None
    bytes: int | None
    type: str | None
    missing: bool  #: it was made, and its file is gone
    etag: str | None  #: of its picture as it was written


class ShownChoice(msgspec.Struct, frozen=True, kw_only=True):
    """A decision with nothing left out."""

    picked: tuple[int, ...]
    rejected: tuple[int, ...]
    none: bool
    note: str


class ShownProduct(msgspec.Struct, frozen=True, kw_only=True):
    """One product, likewise."""

    id: str
    source: str
    folder: str
    name: str
    revision: int
    choice: ShownChoice
    variations: list[ShownVariation]
    original: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """A product as it was at one moment."""

    product: Product
    json: msgspec.Raw  #: a ShownProduct


@dataclass(frozen=True, slots=True)
class Turn:
    """What one look at the books found."""

    changed: list[str]  #: ids
    running: bool
    wanted: int | None
    decided: bool  #: somebody has, here or elsewhere


class Shelf:
    """`products` may be read at any time; the methods block: call them in a worker thread."""

    def __init__(self, tree: Tree, originals: Originals) -> None:
        self.tree = tree
        self.products: dict[str, Shown] = {}  #: by id, in the order of their sources
        self.done = 0  #: pictures
        self.gone: frozenset[str] = frozenset()  #: outputs that a store was seen not to hold
        self.elsewhere = False  #: whether other machines write to the same output
        self._catalogue = Catalogue(tree)
        self.picks = Picks(tree)
        self.originals = originals
        self._lock = threading.Lock()
        self._at = 0  # of the products whose files are looked for
        self._making: dict[str, set[int]] = {}
        self._owing: set[str] = set()  # read from the books, and not yet shown
        self._owed: dict[str, None] = {}  # shown, and not yet told by `look`
        self._flight = Flight()

    def look(self) -> Turn:
        """Read on. Raises OutputMismatch for books that are no files."""
        with self._lock:
            holders = holders_of(self.tree.root / STATE_DIR)
            # Books are read on once: what they tell is held until it is shown, whatever is raised.
            self._owing |= self._catalogue.follow()
            decided = self.picks.follow()
            self._owing |= {product_id(source) for source in decided}
            making = self._in_flight(holders) if holders else {}
            self._owing |= {
                id_
                for id_ in making.keys() | self._making.keys()
                if making.get(id_) != self._making.get(id_)
            }
            self._making = making
            self._owed.update(dict.fromkeys(self._show(self._owing | self._next_to_look_for())))
            self._owing.clear()
            self._sort()
            told, self._owed = list(self._owed), {}
            plans = [told_by(holder.plan) for holder in holders]
            wants = [plan.wanted for plan in plans if plan is not None and plan.wanted is not None]
            wanted = sum(wants) if holders and len(wants) == len(holders) else None
            return Turn(told, bool(holders) or self.elsewhere, wanted, bool(decided))

    def decide(self, id_: str, choice: Choice, revision: int) -> Standing:
        """Raises KeyError, ValueError (no such variation), and what Picks.decide raises."""
        with self._lock:
            product = self.products[id_].product
            before = self.picks.of(product.source).choice  # what stands may stay
            for number in {*choice.picked, *choice.rejected} - {*before.picked, *before.rejected}:
                if number not in product.variations:
                    raise ValueError(f"there is no variation {number}")
            for number in set(choice.picked) - set(before.picked):
                if product.variations[number].status != "done":
                    raise ValueError(f"variation {number} has no picture to pick")
            try:
                return self.picks.decide(product.source, choice, revision=revision)
            finally:
                # Whoever loads the page now sees it; who has it open is told by the next look.
                self._owed.update(dict.fromkeys(self._show({id_})))

    def write_csv(self) -> Path | None:
        """Return where one went that somebody had edited. Raises as Picks.write_csv."""
        self.picks.write_csv()
        aside, self.picks.set_aside = self.picks.set_aside, None
        return aside

    def give_up(self) -> None:
        """Wait for nobody who holds the decisions any more."""
        self.picks.patience_s = 0.0

    def _next_to_look_for(self) -> set[str]:
        """Some products at a time, whose files may have gone."""
        known = list(self.products)
        self._at = 0 if self._at >= len(known) else self._at
        some = known[self._at : self._at + _LOOKED_AT]
        self._at += _LOOKED_AT
        return set(some)

    def _show(self, ids: set[str]) -> list[str]:
        """Build these anew; return those whose JSON is another now."""
        products = dict(self.products)
        told = []
        for id_ in ids:
            product = self._catalogue.get(id_)
            if product is None:
                if products.pop(id_, None):
                    told.append(id_)
                continue
            shown = self._shown(product)
            before = products.get(id_)
            if before is None or shown.json != before.json:
                products[id_] = shown
                told.append(id_)
        if told:
            self.products = products
        return told

    def _sort(self) -> None:
        order = sorted(self.products.values(), key=lambda shown: shown.product.source)
        self.products = {shown.product.id: shown for shown in order}
        self.done = sum(len(shown.product.done) for shown in order)

    def _shown(self, product: Product) -> Shown:
        standing = self.picks.of(product.source)
        folder, _, name = product.source.rpartition("/")
        making = self._making.get(product.id, set())
        variations = {n: self._variation(v) for n, v in product.variations.items()}
        for number in making:
            if number not in variations or variations[number].status != "done":
                variations[number] = _being_made(number)
        shown = ShownProduct(
            id=product.id,
            source=product.source,
            folder=folder,
            name=name,
            revision=standing.revision,
            choice=as_shown(standing.choice),
            variations=[v for _, v in sorted(variations.items())],
            original=bool(product.content) and self.originals.may_have(product.source),
        )
        return Shown(product, msgspec.Raw(msgspec.json.encode(shown)))

    def _variation(self, v: Variation) -> ShownVariation:
        return ShownVariation(
            n=v.number,
            status=v.status,
            reason=v.reason,
            message=v.message,
            width=v.width,
            height=v.height,
            bytes=v.bytes,
            type=v.type,
            missing=v.status == "done" and self._is_gone(v),
            etag=v.sha256[:ETAG_CHARACTERS] if v.sha256 else None,
        )

    def _is_gone(self, v: Variation) -> bool:
        # A store is asked elsewhere: nobody who decides is to wait for it.
        return v.output in self.gone if self.tree.remote else self._catalogue.path_of(v) is None

    def _in_flight(self, holders: list[Holder]) -> dict[str, set[int]]:
        """What is being made, by product."""
        making: dict[str, set[int]] = {}
        for attempt in self._flight.follow(holder.state / journals.FILE for holder in holders):
            product = self._catalogue.of(attempt.source)
            if product is not None:
                making.setdefault(product.id, set()).update(attempt.numbers)
        return making


def as_shown(choice: Choice) -> ShownChoice:
    """A decision as the page reads it."""
    return ShownChoice(
        picked=choice.picked, rejected=choice.rejected, none=choice.none, note=choice.note
    )


def _being_made(number: int) -> ShownVariation:
    return ShownVariation(
        n=number, status="making", reason=None, message=None, width=None, height=None, bytes=None,
        type=None, missing=False, etag=None,
    )  # fmt: skip
