"""Where the heavy part is done: photos are fetched, prepared and sent, their pictures kept.

The line decides what is done and writes the books; a bench holds the bytes. So a bench may
as well stand on another machine: `local_bench` is this process', `cluster` has the others.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

from batch_reimagine.errors import RunError
from batch_reimagine.exchange import Answer
from batch_reimagine.output import Tree
from batch_reimagine.reading import Looks
from batch_reimagine.secret import Secret
from batch_reimagine.settings import Settings
from batch_reimagine.work import Kept, Photo, Picture, Record


@dataclass(frozen=True, slots=True)
class Made:
    """A bought picture as it lies in the output."""

    name: str  #: relative, with "/"
    variation: int  #: its number: the one asked for, or the next that was free
    picture: Picture  #: without its bytes
    kept: Kept


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one call."""

    answer: Answer  #: without the pictures' bytes
    #: in the order of the variations that were asked for; None for one that did not come whole
    made: tuple[Made | None, ...] = ()
    error: RunError | None = None  #: pictures came that could not be kept
    not_kept: int = 0  #: so many
    posted: bool = True  #: False: a call that was lost had brought it, so nothing was sent

    @property
    def came(self) -> int:
        """How many whole pictures came, kept or not."""
        return sum(made is not None for made in self.made) + self.not_kept

    @property
    def torn(self) -> int:
        """How many came that are no whole pictures."""
        return sum(made is None for made in self.made)

    def lacking(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the variations asked for that are not kept."""
        pairs = zip_longest(numbers, self.made)
        return tuple(number for number, made in pairs if number is not None and made is None)


class Held(Protocol):
    """One photo on a bench, until it is released."""

    content: bytes  #: sha256 of the file
    looks: Looks  #: of the file while it was read

    async def prepare(self) -> str | None:
        """Make it ready for its calls; return what a reader of its rows should know.

        Raises PhotoError if it is not acceptable, or RunError.
        """
        ...

    async def buy(self, base: str, numbers: tuple[int, ...], about: Record | None) -> Outcome:
        """Post one call and keep its pictures as `<base>_v<number>`; never raises for either.

        about: their row, but for what only a picture tells; a store keeps it with the picture.
        """
        ...

    async def release(self) -> None:
        """Its bytes are not needed any more."""
        ...


class Bench(Protocol):
    """Whoever holds photos."""

    url: str  #: where calls are posted to
    width: int  #: photos that may be under way to their calls at once

    async def fetch(self, photo: Photo) -> Held:
        """Read a photo, once for whatever is done with it. Raises PhotoError or RunError."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """What a bench must know of the run that it works for."""

    settings: Settings
    key: Secret
    base_url: str  #: of the service
    far: bool = False  #: photos come over a network, so that fetching one is mostly waiting


class Benches(Protocol):
    """Opens the bench of a run."""

    def __call__(
        self, task: Task, tree: Tree, *, note: Callable[[str], None], warm: bool
    ) -> AbstractAsyncContextManager[Bench]:
        """note: tells people. warm: there is work, so make ready."""
        ...
