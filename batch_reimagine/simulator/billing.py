"""The account's bill, by the hour, the day or the week: every picture that was made is on it.

So an answer that was cut short, or reset in its middle, is billed although nobody has its picture:
that is what a client's unknown attempts are. Source of the shape: the vendor's API reference,
"Query Usage-based Billing". What it leaves open is read strictly: a window of hours may span seven
days, as a client of the sister endpoint found.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from batch_reimagine.simulator.log import Call
from batch_reimagine.simulator.reasons import Refusal

PRODUCT: Final = "Reimagine"
_CYCLES_S: Final = {"Hour": 3600, "Day": 86_400, "Week": 604_800}
_MOST_S: Final = {"Hour": 7 * 86_400, "Day": 31 * 86_400, "Week": 31 * 86_400}
_MADE: Final = {"paid", "truncated", "reset"}


def bill(calls: Iterable[Call], query: Mapping[str, str], price_units: int) -> dict[str, Any]:
    """The answer to GET /openapi/v1/billing/bill/list; raise Refusal naming the field at fault.

    price_units: of one picture, in 1/10000 USD.
    """
    cycle = query.get("cycleType", "")
    if cycle not in _CYCLES_S:
        raise _bad("cycleType", f"must be one of {', '.join(_CYCLES_S)} here")
    category = query.get("productCategory")
    if not category:
        raise _bad("productCategory", "is required")
    start, end = _seconds(query, "startTime"), _seconds(query, "endTime")
    if end < start or end - start > _MOST_S[cycle]:
        raise _bad("endTime", f"spans more than {_MOST_S[cycle] // 86_400} days, or none")
    length = _CYCLES_S[cycle]
    units: dict[int, int] = {}
    for call in calls if category in {"gen_api", "summary"} else ():
        if (
            call.contract != "reimagine"
            or call.outcome not in _MADE
            or call.status != HTTPStatus.OK
        ):
            continue
        at = int(datetime.fromisoformat(call.time).timestamp())
        if start <= at <= end:
            units[at // length] = units.get(at // length, 0) + max(1, call.pictures)
    return {
        "bills": [
            _line(number * length, length, count, price_units)
            for number, count in sorted(units.items())
        ]
    }


def _line(began: int, length: int, count: int, price_units: int) -> dict[str, Any]:
    amount = str(count * price_units)
    return {
        "userId": "simulator",
        "startTime": str(began),
        "endTime": str(began + length - 1),
        "billingMethod": 1,
        "productName": PRODUCT,
        "category": "gen_api",
        "ownerID": "",
        "billNum0": str(count),
        "billNum1": "0",
        "basePrice0": str(price_units),
        "basePrice1": "0",
        "discountPrice0": str(price_units),
        "discountPrice1": "0",
        "amount": amount,
        "voucherAmount": "0",
        "payAmount": amount,
        "payAmountDisplay": 1,
        "pricePrecision": 1,
        "productId": "reimagine",
    }


def _seconds(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    if not text.isascii() or not text.isdigit():
        raise _bad(name, "must be Unix seconds")
    return int(text[:15])


def _bad(field: str, what: str) -> Refusal:
    return Refusal("INVALID_REQUEST_BODY", f"{field} {what}", field=field)
