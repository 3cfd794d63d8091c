"""Pictures of runs that died: which lie there whole without their row, and which are lost."""

from decimal import Decimal
from typing import Any

from batch_reimagine import manifest, marking
from batch_reimagine.journal import Balance, Try
from batch_reimagine.marking import mark_of
from batch_reimagine.naming import output_name
from batch_reimagine.output import Tree
from batch_reimagine.proof import IncompleteError, prove
from batch_reimagine.provider import PROVIDERS
from batch_reimagine.settings import Settings
from batch_reimagine.tries import DIED
from batch_reimagine.work import Picture, Record, utc_now


class Salvage:
    """What became of the attempts that were in flight when their run died. Blocks."""

    def __init__(self, tree: Tree, settings: Settings, run: str) -> None:
        self.recovered = 0  #: pictures found whole
        self.lost: list[Try] = []  #: attempts whose outcome nobody saw
        self._tree = tree
        self._settings = settings
        self._run = run
        self._mark = mark_of(PROVIDERS[settings.provider].system) if settings.mark else None

    def adopted(self, attempts: list[Try]) -> Record | None:
        """The row of a picture that a dead run, not of this shard, kept without one; or None.

        Its money is that run's: it counts as sent and not known until a run of the whole.
        """
        found = self._found(attempts[-1])
        if found is None:
            return None
        self.recovered += 1
        return self._recovered(*found, self._common(attempts))

    def _common(self, attempts: list[Try]) -> dict[str, Any]:
        last = attempts[-1]
        return {
            "run": self._run,
            "time": utc_now(),
            "source": last.source,
            "source_sha256": last.source_sha256,
            "variation": last.variation,
            "provider": last.provider or self._settings.provider,
            "request": last.request or self._settings.request,
            "attempts": len(attempts),
            "http": (None,) * len(attempts),
            "cost": last.price,
        }

    def _recovered(self, name: str, picture: Picture, common: dict[str, Any]) -> Record:
        kept = marking.recovered(self._tree, name, picture.data, self._mark)
        return manifest.done(
            picture, name, kept, **common, message="its run died before this row was written"
        )

    def row(self, attempts: list[Try], balance: Balance) -> Record:
        """The row for a variation that was in flight when its run died; its attempts in order.

        A whole picture under its final name can only be the last attempt's answer:
        a number is only given out while no file has its name.
        """
        common = self._common(attempts)
        prices = [Decimal(attempt.price or 0) for attempt in attempts]
        if found := self._found(attempts[-1]):
            self.recovered += 1
            balance.spent += prices.pop()
            balance.at_risk += sum(prices)
            return self._recovered(*found, common)
        self.lost += attempts
        balance.at_risk += sum(prices)
        return Record(
            status="unknown",
            reason=DIED,
            message="sent, and its run died before the answer was kept: may have been paid",
            **common,
        )

    def _found(self, attempt: Try) -> tuple[str, Picture] | None:
        """The name and the picture that a dead run kept without a row, if it is whole."""
        try:
            type_ = self._tree.taken(attempt.base, attempt.variation)
            if type_ is None:
                return None
            name = output_name(attempt.base, attempt.variation, type_)
            row = self._tree.row_of(name)  # others may have put a picture there meanwhile
            if not self._tree.holds(name) or (row and not attempt.id.startswith(f"{row.run}.")):
                return None
            return name, prove(self._tree.read(name))
        except (IncompleteError, OSError, ValueError):  # ValueError: a base that is none of ours
            return None
