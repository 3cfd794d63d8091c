"""A stable share of a job, for machines that do not know of each other: pure arithmetic.

Whoever asks gets the same answer, on any machine and in any year: which of n shards a photo is
of, and how much of a whole is a shard's. All shares of a whole add up to it exactly.
"""

import hashlib
import re
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple, Self

MOST = 10_000  #: shards of one job
_WORDS = re.compile(r"([0-9]{1,5})/([0-9]{1,5})")
_NAME = re.compile(r"shard-([0-9]{1,5})-of-([0-9]{1,5})")
_SMALLEST = Decimal("0.000001")  # of money, where the price of a call is not known


class Shard(NamedTuple):
    """Number k of n, 1 ≤ k ≤ n ≤ 10,000."""

    k: int
    n: int

    @classmethod
    def of(cls, words: str) -> Self | None:
        """The shard that "3/16" means; None if it means none."""
        return cls._found(_WORDS.fullmatch(words.strip()))

    @classmethod
    def named(cls, name: str) -> Self | None:
        """The shard whose books bear this name; None if it is no such name."""
        shard = cls._found(_NAME.fullmatch(name))
        return shard if shard is not None and shard.name == name else None

    @classmethod
    def _found(cls, found: re.Match[str] | None) -> Self | None:
        shard = cls(int(found[1]), int(found[2])) if found else None
        return shard if shard is not None and 1 <= shard.k <= shard.n <= MOST else None

    def __str__(self) -> str:
        return f"{self.k}/{self.n}"

    @property
    def tag(self) -> str:
        """What its files that are not finished begin with: 3-of-16."""
        return f"{self.k}-of-{self.n}"

    @property
    def name(self) -> str:
        """What its books are named: shard-03-of-16. These names sort as the numbers do."""
        return f"shard-{self.k:0{len(str(self.n))}d}-of-{self.n}"

    def has(self, source: str) -> bool:
        """Whether the photo of this name is its own. No hash of Python's: those differ by run."""
        digest = hashlib.sha256(source.encode("utf-8", "backslashreplace")).digest()
        return int.from_bytes(digest[:8], "big") % self.n == self.k - 1

    def share_of_calls(self, calls: int) -> int:
        """Its part of so many calls; the first shards get those that do not divide."""
        return calls // self.n + (self.k <= calls % self.n)

    def share_of_money(self, amount: Decimal, price: Decimal | None) -> Decimal:
        """Its part of an amount, in whole calls at this price; the first gets the odd money.

        So no call is lost to a rest that fits nowhere: 1.00 at 0.01 is 100 calls for 16 shards.
        """
        unit = price or _SMALLEST
        units = int(Fraction(amount) // Fraction(unit))
        rest = amount - units * unit if self.k == 1 else Decimal(0)
        return self.share_of_calls(units) * unit + rest
