"""The one pass over the inputs: first it counts what a run is going to do, then it feeds the run.

The plan is told before the first call, in bounded time; what was found by then is
not lost, the run begins with it.
"""

import hashlib
import time
from collections.abc import AsyncGenerator, Callable, Iterator

import anyio
from anyio import to_thread

from batch_reimagine.errors import PhotoError
from batch_reimagine.ledger import Ledger
from batch_reimagine.needs import needs
from batch_reimagine.reading import ObjectLooks, read_photo
from batch_reimagine.settings import Settings
from batch_reimagine.walk import Walk
from batch_reimagine.work import Found, Here, Passed, Photo, Plan, Skip, StoreKey

_MOST_AHEAD = 20_000  # photos with work to do, held until the run takes them


class Survey:
    """What a walk finds, looked at from ahead."""

    def __init__(
        self, walk: Walk, ledger: Ledger, settings: Settings, only: bytes | None = None
    ) -> None:
        """only: the sha256 of the one photo that the walk can find, if it is known already."""
        self._only = only
        self._batches: Iterator[list[Found]] = iter(walk)
        self._ledger = ledger
        self._settings = settings
        self._seen: set[bytes] = set()
        self._passed = Passed()
        self._ahead: list[Photo] = []
        self._holds = True
        self.has_work = anyio.Event()  #: set when the first photo with work to do goes to the run
        self._looked = True  # into every photo that was counted
        self.photos = self.here = self.held = self.copies = self.to_make = self.failed_before = 0

    def plan(self, within_s: float | None, go_on: Callable[[], bool] = lambda: True) -> Plan:
        """Count for so many seconds (None: to the end), and on, until there is something to do.

        go_on: asked between batches; the plan is not complete if it says no.
        Blocks: call it in a worker thread.
        """
        until = None if within_s is None else time.monotonic() + within_s
        self._holds = until is not None  # a plan to the end is no run's: it holds no photo
        complete = False
        while go_on() and (until is None or not self._ahead or time.monotonic() < until):
            batch = next(self._batches, None)
            if batch is None:
                complete = True
                break
            for found in batch:
                self._count(found, look=until is None or time.monotonic() < until)
            if until is not None and len(self._ahead) >= _MOST_AHEAD:
                break
        price = self._settings.price
        return Plan(
            photos=self.photos,
            variations=self._settings.variations,
            here=self.here,
            held=self.held,
            copies=self.copies,
            to_make=self.to_make,
            failed_before=self.failed_before,
            skipped=dict(self._passed.skipped),
            complete=complete and self._looked,
            price=None if price is None else str(price),
        )

    async def found(self) -> AsyncGenerator[Photo | Passed, None]:
        """Yield the photos with work to do, and between them what was passed over meanwhile."""
        yield self._passed
        for photo in self._ahead:
            self.has_work.set()
            yield photo
        self._ahead = []
        while (batch := await to_thread.run_sync(next, self._batches, None)) is not None:
            passed = Passed()
            for found in batch:
                if isinstance(found, Photo):
                    self.has_work.set()
                    yield found
                else:
                    _pass(passed, found)
            yield passed

    def _count(self, found: Found, *, look: bool) -> None:
        if not isinstance(found, Photo):
            _pass(self._passed, found)
            self.photos += isinstance(found, Here)
            self.here += found.variations if isinstance(found, Here) else 0
            return
        if self._holds:
            self._ahead.append(found)
        self.photos += 1
        if not self._ledger.index:  # nothing is here: no need to look into the photos
            self.to_make += self._settings.variations
        elif look:
            self._look_into(found)
        else:
            self._looked = False

    def _look_into(self, photo: Photo) -> None:
        content = self._content(photo)
        if content is None:
            return
        index = self._ledger.index
        wants = needs(index, self._ledger.tree, photo, content, self._settings)
        index.release(wants.base or photo.base, wants.numbers)  # a plan takes nothing
        self.here += wants.here + len(wants.found) + len(wants.late)
        self.held += wants.held
        self.failed_before += wants.refused
        if content in self._seen:  # bought once, copied to the other places
            self.copies += len(wants.copies) + len(wants.make)
        else:
            self._seen.add(content)
            self.copies += len(wants.copies)
            self.to_make += len(wants.make)

    def _content(self, photo: Photo) -> bytes | None:
        """The photo's sha256; None if it cannot be told here."""
        known = self._ledger.known
        if isinstance(photo.path, StoreKey):  # fetched once, and not for a plan
            content = self._only or known.content(photo.source, ObjectLooks.of_key(photo.path))
            self._looked = self._looked and content is not None
            return content
        try:
            raw, looks = read_photo(photo.path)
        except PhotoError:
            return None  # gets its row when its turn comes
        content = hashlib.sha256(raw).digest()
        known.remember(photo.source, looks, content)
        return content


def count_photos(walk: Walk, go_on: Callable[[], bool]) -> int | None:
    """Count all photos of a walk; None if told to end. Blocks."""
    photos = 0
    for batch in walk:
        photos += sum(not isinstance(found, Skip) for found in batch)
        if not go_on():
            return None
    return photos


def _pass(passed: Passed, found: Skip | Here) -> None:
    if isinstance(found, Skip):
        passed.skipped[found.reason] += 1
    else:
        passed.photos += 1
        passed.here += found.variations
