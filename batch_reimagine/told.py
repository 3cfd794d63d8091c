"""What a journal once told of itself to a store, against what it tells now."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import msgspec

from batch_reimagine.journal import Balance, Carry, add_account, read


class Told:
    """The accounts of one journal, under all the names that its books ever had.

    account: under the present one, without what was told before.
    before: for each earlier one, what was told by the time that it was given up, and what that
    is now. It stays the journal's; what came since, a copy of the books spent elsewhere.
    """

    def __init__(self, account: bytes, before: Sequence[tuple[bytes, bytes]]) -> None:
        self.runs: dict[str, str] = {}  #: that wrote an account, and when
        self.grown = Balance()  #: spent by copies elsewhere
        self._before = Balance()
        for text, now in before:
            then, later = self._sum_of(text), Balance()
            self._before.add(then)
            add_account(now, later)
            self.grown.add(_less(later, then))
        self._all = self._sum_of(account)
        self._all.add(self._before)

    def _sum_of(self, text: bytes) -> Balance:
        balance = Balance()
        if told := add_account(text, balance):
            self.runs[told.run] = told.time
        return balance

    def lacking(self, journal: Path) -> Carry | None:
        """What is to be entered in the journal so that it tells as much again; None: nothing.

        A journal never forgets; only what was at risk may be free by now.
        """
        own, pending = read(journal)
        own.risk(pending.values())
        told = self._all
        if told.calls <= own.calls and told.spent <= own.spent + own.at_risk:
            return None
        less = _less(told, own)
        return Carry(
            spent=str(less.spent),
            at_risk=str(less.at_risk),
            calls=less.calls,
            unpriced=less.unpriced,
        )

    def apart(self, account: bytes) -> bytes:
        """The journal's account without what was told under earlier names: that stands there."""
        if self._before == Balance():
            return account
        balance = Balance()
        if (told := add_account(account, balance)) is None:
            return account
        less = _less(balance, self._before)
        # What was at risk then may have been settled since: it must not count in both.
        settled = max(Decimal(0), self._before.at_risk - balance.at_risk)
        return msgspec.json.encode(
            msgspec.structs.replace(
                told,
                spent=str(max(Decimal(0), less.spent - settled)),
                at_risk=str(less.at_risk),
                calls=less.calls,
                unpriced=less.unpriced,
            )
        )


def _less(more: Balance, other: Balance) -> Balance:
    """What one has more than the other; no sum is less than nothing."""
    zero = Decimal(0)
    return Balance(
        spent=max(zero, more.spent - other.spent),
        at_risk=max(zero, more.at_risk - other.at_risk),
        calls=max(0, more.calls - other.calls),
        unpriced=max(0, more.unpriced - other.unpriced),
    )
