"""Pictures of runs that died: which lie there whole without their row, and which are lost."""

from typing import Any

from batch_reimagine import manifest, marking
from batch_reimagine.journal import Balance, Try
from batch_reimagine.marking import mark_of
from batch_reimagine.naming import output_name
from batch_reimagine.output import Tree
from batch_reimagine.proof import IncompleteError, prove
from batch_reimagine.provider import find_provider, request_of
from batch_reimagine.settings import Settings
from batch_reimagine.tries import DIED
from batch_reimagine.work import Picture, Record, utc_now


class Salvage:
    """What became of the attempts that were in flight when their run died. Blocks."""

    def __init__(self, tree: Tree, settings: Settings, run: str) -> None:
        self.recovered = 0  #: pictures found whole
        self.lost = 0  #: pictures that were asked for, and nobody saw come
        self._tree = tree
        self._settings = settings
        self._run = run
        self._mark = mark_of(find_provider(settings.provider).system) if settings.mark else None

    def adopted(self, number: int, attempts: list[Try]) -> Record | None:
        """The row of a picture that a dead run, not of this shard, kept without one; or None.

        Its money is that run's: it counts as sent and not known until a run of the whole.
        """
        found = self._found(number, attempts[-1])
        if found is None:
            return None
        self.recovered += 1
        return self._recovered(*found, self._common(number, attempts))

    def _common(self, number: int, attempts: list[Try]) -> dict[str, Any]:
        last = attempts[-1]
        return {
            "run": self._run,
            "time": utc_now(),
            "source": last.source,
            "source_sha256": last.source_sha256,
            "variation": number,
            "provider": last.provider or self._settings.provider,
            "request": last.request or request_of(self._settings),
            "attempts": len(attempts),
            "http": (None,) * len(attempts),
            "cost": last.price,
        }

    def _recovered(self, name: str, picture: Picture, common: dict[str, Any]) -> Record:
        kept = marking.recovered(self._tree, name, picture.data, self._mark)
        return manifest.done(
            picture, name, kept, **common, message="its run died before this row was written"
        )

    def row(self, number: int, attempts: list[Try], balance: Balance) -> Record:
        """The row for a variation that was in flight when its run died; its attempts in order.

        balance: takes in what they cost, or may have.

        A whole picture under its final name can only be the last attempt's answer:
        a number is only given out while no file has its name.
        """
        common = self._common(number, attempts)
        prices = [attempt.price for attempt in attempts]
        found = self._found(number, attempts[-1])
        if found:
            balance.count("spent", prices.pop(), 1)
        for price in prices:
            balance.count("unknown", price, 1)
        if found:
            self.recovered += 1
            return self._recovered(*found, common)
        self.lost += len(attempts)
        return Record(
            status="unknown",
            reason=DIED,
            message="sent, and its run died before the answer was kept: may have been paid",
            **common,
        )

    def _found(self, number: int, attempt: Try) -> tuple[str, Picture] | None:
        """The name and the picture that a dead run kept without a row, if it is whole."""
        try:
            type_ = self._tree.taken(attempt.base, number)
            if type_ is None:
                return None
            name = output_name(attempt.base, number, type_)
            row = self._tree.row_of(name)  # others may have put a picture there meanwhile
            if not self._tree.holds(name) or (row and not attempt.id.startswith(f"{row.run}.")):
                return None
            return name, prove(self._tree.read(name))
        except (IncompleteError, OSError, ValueError):  # ValueError: a base that is none of ours
            return None
