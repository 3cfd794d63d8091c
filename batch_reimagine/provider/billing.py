"""What a vendor tells of an account's money: where to ask, and how to read the answer.

Pure, as all of `provider` is. A provider without such endpoints has no `Billing`; nothing is
made up for it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import msgspec

_AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")  # in a vendor's units; more is no amount
_TIMES = range(946_684_800, 7_258_118_400)  # of the years 2000 to 2199; others are no calls'


@dataclass(frozen=True, slots=True)
class Funds:
    """What an account has."""

    available: Decimal  #: that calls can still cost; below 0 for one in debt
    currency: str  #: as ISO 4217 has it


@dataclass(frozen=True, slots=True)
class Charge:
    """One line of a bill."""

    began: int  #: of its hour: Unix seconds
    ended: int  #: excluded
    product: str  #: the vendor's name for it, as it came
    units: int | None  #: for pictures their number; None where the line tells none
    amount: Decimal  #: before vouchers


@dataclass(frozen=True, slots=True, kw_only=True)
class Billing:
    """An account's endpoints below the base URL; both are asked with GET and the key."""

    currency: str
    balance_path: str
    funds: Callable[[bytes], Funds]  #: raises ValueError for a body that is no balance
    bill_path: Callable[[int, int], str]  #: of the hours in these Unix seconds, the end excluded
    charges: Callable[[bytes], list[Charge]]  #: raises ValueError for a body that is no bill
    most_days: int  #: that one question may span
    product: str  #: found, in any case, in the product names of our calls


# Novita. Sources: its API reference, "Query User Balance" (strings in 1/10000 USD) and "Query
# Usage-based Billing": GET, the window in Unix seconds, no pages, at most 31 days; `amount` is the
# total price, of which `voucherAmount` and `payAmount` are parts. A client of the vendor's billing
# (`nv`) says that windows of Hour bills are held to 7 days, and reads amounts as 1/10000 USD.
# Not stated anywhere: whether `amount` has the balance's unit (`pricePrecision`, always 1 in the
# vendor's examples, is not explained); what `billNum0` counts for pictures (we take their number);
# which `productName` Reimagine has; in which zone an hour begins (we take UTC); how long after a
# call its hour is complete; whether a bill can be had for one key in hours (it is the account's).
_UNIT = Decimal(10_000)


def _novita_funds(body: bytes) -> Funds:
    return Funds(_amount(_object(_decoded(body)), "availableBalance") / _UNIT, "USD")


def _novita_bill_path(began: int, ended: int) -> str:
    asked = {
        "cycleType": "Hour",
        "productCategory": "gen_api",
        "startTime": began,
        "endTime": ended - 1,
    }
    return "/openapi/v1/billing/bill/list?" + urlencode(asked)


def _novita_charges(body: bytes) -> list[Charge]:
    fields = _object(_decoded(body))
    bills = fields.get("bills")
    if bills is None and not fields.keys() - {"bills"}:  # as some encoders write an empty list
        return []
    if not isinstance(bills, list):
        raise ValueError("bills: is no list")  # noqa: TRY004 - the one error of a body
    return [_novita_charge(_object(line)) for line in bills]


def _novita_charge(line: Mapping[str, Any]) -> Charge:
    units = _amount(line, "billNum0") if "billNum0" in line else None
    whole = units is not None and units >= 0 and units == units.to_integral_value()
    product = line.get("productName")
    return Charge(
        began=_time(line, "startTime"),
        ended=_time(line, "endTime") + 1,  # the vendor's examples end at the last second
        product=product if isinstance(product, str) and product else "?",
        units=int(units) if units is not None and whole else None,
        amount=_amount(line, "amount") / _UNIT,
    )


NOVITA = Billing(
    currency="USD",
    balance_path="/openapi/v1/billing/balance/detail",
    funds=_novita_funds,
    bill_path=_novita_bill_path,
    charges=_novita_charges,
    most_days=7,
    product="reimagine",
)


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("it is no JSON") from error


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - the one error of a body
    return value


def _amount(fields: Mapping[str, Any], name: str) -> Decimal:
    """A number, which the vendor writes as a string. Raises ValueError."""
    value = fields.get(name)
    text = str(value) if isinstance(value, str | int | float) else ""
    if not _AMOUNT.fullmatch(text):
        raise ValueError(f"{name}: is no number")
    return Decimal(text)


def _time(fields: Mapping[str, Any], name: str) -> int:
    """Unix seconds. Raises ValueError."""
    time = int(_amount(fields, name))
    if time not in _TIMES:
        raise ValueError(f"{name}: is no time of a call")
    return time
