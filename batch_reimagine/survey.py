"""The plan: what a run is going to do, counted before its first call, in bounded time.

A listing that is not complete by then goes on beside the run, so that totals
become exact. Blocks: call it in a worker thread.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator

from batch_reimagine.errors import PhotoError
from batch_reimagine.ledger import Ledger
from batch_reimagine.needs import needs
from batch_reimagine.reading import read_photo
from batch_reimagine.settings import Settings
from batch_reimagine.walk import Skip, Walk
from batch_reimagine.work import Photo, Plan


class Survey:
    """One pass over the inputs that only counts."""

    def __init__(self, walk: Walk, ledger: Ledger, settings: Settings) -> None:
        self._found: Iterator[Photo | Skip] = (found for batch in walk for found in batch)
        self._ledger = ledger
        self._settings = settings
        self._seen: set[bytes] = set()
        self.photos = self.here = self.held = self.copies = self.to_make = self.failed_before = 0
        self.skipped: Counter[str] = Counter()

    def plan(self, within_s: float | None) -> Plan:
        """Count for so many seconds at most (None: to the end)."""
        until = None if within_s is None else time.monotonic() + within_s
        complete = False
        while until is None or time.monotonic() < until:
            found = next(self._found, None)
            if found is None:
                complete = True
                break
            self._count(found)
        price = self._settings.price
        return Plan(
            photos=self.photos,
            variations=self._settings.variations,
            here=self.here,
            held=self.held,
            copies=self.copies,
            to_make=self.to_make,
            failed_before=self.failed_before,
            skipped=dict(self.skipped),
            complete=complete,
            price=None if price is None else str(price),
        )

    def rest(self, go_on: Callable[[], bool]) -> int | None:
        """Count the photos that `plan` left, without looking into them; None if told to end."""
        for found in self._found:
            self.photos += isinstance(found, Photo)
            if not go_on():
                return None
        return self.photos

    def _count(self, found: Photo | Skip) -> None:
        if isinstance(found, Skip):
            self.skipped[found.reason] += 1
            return
        self.photos += 1
        if not self._ledger.index:  # nothing is here: no need to look into the photos
            self.to_make += self._settings.variations
            return
        try:
            content = hashlib.sha256(read_photo(found.path)).digest()
        except PhotoError:
            return  # gets its row when its turn comes
        index = self._ledger.index
        wants = needs(index, self._ledger.tree, found, content, self._settings)
        index.release(found.base, wants.numbers)  # a plan takes nothing
        self.here += wants.here
        self.held += wants.held
        self.failed_before += wants.refused
        if content in self._seen:  # bought once, copied to the other places
            self.copies += len(wants.copies) + len(wants.make)
        else:
            self._seen.add(content)
            self.copies += len(wants.copies)
            self.to_make += len(wants.make)
