"""Money, in decimals: reserve before a call, settle after it. No I/O."""

from decimal import Decimal
from typing import Literal

from batch_reimagine.errors import LimitReached

#: spent: a picture came. free: the service refused or was never reached.
#: unknown: sent, and whether it is billed nobody has said; counts like spent.
Money = Literal["spent", "free", "unknown"]


class Budget:
    """What may still be spent.

    price: of one picture; None if it is not known, and then nothing is summed.
    limit: most that this output may cost over all its runs; None for no limit.
    spent, at_risk: what earlier runs left behind.
    max_calls: most calls of this run.
    """

    def __init__(
        self,
        price: Decimal | None,
        limit: Decimal | None,
        *,
        max_calls: int | None = None,
        spent: Decimal = Decimal(0),
        at_risk: Decimal = Decimal(0),
    ) -> None:
        self.price = price
        self.limit = limit
        self.spent = spent
        self.at_risk = at_risk
        self.reserved = Decimal(0)
        self.calls = 0
        self._max_calls = max_calls

    def reserve(self, pictures: int = 1) -> int:
        """Take the price of a call for so many pictures out of what is left.

        Returns how many of them fit. 0: none now, but they may when a call in flight turns
        out free. Raises LimitReached when no call can fit any more.
        """
        if self._max_calls is not None and self.calls >= self._max_calls:
            raise LimitReached(f"the {self._max_calls} calls of --max-calls were made")
        price = self.price or Decimal(0)
        gone = self.spent + self.at_risk
        if self.limit is not None and gone + price > self.limit:
            raise LimitReached(
                f"the budget of {self.limit} is used up: {self.spent} spent, {self.at_risk} sent"
                f" and not known; one picture costs {price}. A higher --budget goes on"
            )
        if self.limit is not None and gone + self.reserved + price * pictures > self.limit:
            if self.reserved:
                return 0
            pictures = int((self.limit - gone) / price)
        self.reserved += price * pictures
        self.calls += 1
        return pictures

    def settle(
        self, money: Money, pictures: int = 1, came: int | None = None, lost: int = 0
    ) -> None:
        """Say what became of one reserved call.

        pictures: that it was reserved for. came: of a call that was spent, how many; None: all.
        lost: of the others, those that may be billed too.
        """
        price = self.price or Decimal(0)
        came = pictures if came is None else came
        self.reserved -= price * pictures
        unknown = {"spent": lost, "unknown": pictures, "free": 0}[money]
        if money == "spent":
            self.spent += price * came
        if unknown:
            self.at_risk += price * unknown

    def cancel(self, pictures: int = 1) -> None:
        """Give back one reservation whose call was never begun."""
        self.settle("free", pictures)
        self.calls -= 1
