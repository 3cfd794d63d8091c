"""A review of an output in a store: what other machines write comes here, decisions go there."""

import time
from itertools import islice

from batch_reimagine.output import Tree
from batch_reimagine.review.shelf import Shelf
from batch_reimagine.sharing import Sharing

EVERY_S = 2.0
_LEASES_S = 10.0
_LOOKED_AT = 500  # products whose pictures are looked for in one turn


class Far:
    """Its methods block, for the network too: call them in a worker thread, one at a time."""

    def __init__(self, tree: Tree, shelf: Shelf) -> None:
        self._tree = tree
        self._shelf = shelf
        self._sharing = Sharing(tree, shelf.picks)
        self._at = 0  # of the products that are looked for
        self._gone: set[str] = set()
        self._leases_at = 0.0

    def share(self) -> list[str]:
        """Decisions only; returns notes for people. Raises as `Sharing.sync`."""
        return self._sharing.sync()

    def finish(self) -> list[str]:
        """As `share`, unless nothing is left to give: a store that is away keeps nobody."""
        return [] if self._sharing.is_settled else self._sharing.sync()

    def turn(self) -> list[str]:
        """Rows, decisions, runs, and some of the pictures. Raises RunError and UsageError too."""
        self._tree.look()
        notes = self._sharing.sync()
        if (now := time.monotonic()) >= self._leases_at:
            self._leases_at = now + _LEASES_S
            self._shelf.elsewhere = bool(self._tree.live())
        self._look_for_some()
        return notes

    def _look_for_some(self) -> None:
        """Which pictures of the next products are there; those that are not are gone."""
        products = self._shelf.products
        self._at = 0 if self._at >= len(products) else self._at
        for shown in islice(products.values(), self._at, self._at + _LOOKED_AT):
            for variation in shown.product.done:
                if name := variation.output:
                    (self._gone.discard if self._tree.readable(name) else self._gone.add)(name)
        self._at += _LOOKED_AT
        if self._gone != self._shelf.gone:
            self._shelf.gone = frozenset(self._gone)
