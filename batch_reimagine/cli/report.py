"""`batch-reimagine report`: what an output took, and the vendor's bill beside it."""

import asyncio
import csv
import io
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter

from batch_reimagine import report as reports
from batch_reimagine.cli import exits
from batch_reimagine.cli.places import Books, Output, StoreOption, open_output
from batch_reimagine.cli.screen import shown, write
from batch_reimagine.errors import UsageError
from batch_reimagine.picks_csv import cell
from batch_reimagine.report import By, Line, Reconciled, Report
from batch_reimagine.settings import Settings, describe

if TYPE_CHECKING:
    from batch_reimagine.output import Tree

_COLUMNS = (
    "made", "copied", "refused", "given_up", "unknown", "bought", "spent", "attempts", "in_vain",
    "maybe_paid", "seconds",
)  # fmt: skip
_WIDEST = 60  # characters of a group's name on a terminal
_TIMEOUT_S = 30.0


def report(
    output: Output,
    *,
    by: Annotated[By | None, Parameter(help="A line for each of these. Days are of UTC.")] = None,
    csv: Annotated[bool, Parameter(negative="", help="For spreadsheets; UTF-8 with BOM.")] = False,
    json: Annotated[bool, Parameter(negative="", help="One JSON object.")] = False,
    md: Annotated[bool, Parameter(negative="", help="A Markdown table.")] = False,
    reconcile: Annotated[
        bool,
        Parameter(negative="", help="Ask the vendor for the bill of these hours, and compare."),
    ] = False,
    base_url: Annotated[str | None, Parameter(help=describe("base_url"))] = None,
    store_option: StoreOption = (),
    books: Books = None,
) -> int:
    """Tell what an output took: made, failed, spent, tried in vain, time; safe during a run.

    A variation stands as its last row tells; money, attempts and seconds are of all rows.
    --reconcile needs the key, and a provider that tells its bill.
    """
    if csv + json + md > 1:
        raise UsageError("report: --csv, --json and --md exclude one another")
    tree = open_output(output, store_option, books)
    found = reports.report(tree, by)
    bill = _bill(tree, found, base_url) if reconcile else None
    if json:
        write(sys.stdout, msgspec.json.encode(_object(found, bill)).decode())
    elif csv:
        _write_csv(found)
    else:
        table = _markdown if md else _table
        lines = [*table(found), *([""] if md else []), *_facts(found), *_bill_lines(bill)]
        write(sys.stdout, "\n".join(map(shown, lines)))
    if csv and bill is not None:
        write(sys.stderr, "\n".join(map(shown, _bill_lines(bill))))
    return exits.DONE


def _bill(tree: "Tree", found: Report, base_url: str | None) -> Reconciled:
    """Ask for the bill. Raises UsageError, AccountRefused or ServiceGone."""
    from batch_reimagine.account import Account  # noqa: PLC0415 - heavy
    from batch_reimagine.keys import key_of  # noqa: PLC0415
    from batch_reimagine.provider import find_provider  # noqa: PLC0415
    from batch_reimagine.secret import Secret  # noqa: PLC0415

    tells = [
        name
        for name in found.providers
        if name != "simulator" and find_provider(name).billing is not None
    ]
    if len(tells) != 1:
        made_by = ", ".join(found.providers) or "nobody"
        raise UsageError(
            f"reconcile: {found.output} was made by {made_by};"
            + (" several tell a bill" if tells else " none tells a bill")
        )
    at = reports.window(tree, time.time())
    if at is None:
        raise UsageError(f"reconcile: {found.output} holds no call that could be on a bill")
    settings = Settings(provider=tells[0], base_url=base_url)
    account = Account(settings, Secret(key_of(settings, os.environ)), timeout_s=_TIMEOUT_S)
    billing = account.provider.billing
    assert billing is not None  # noqa: S101 - chosen so
    charges = asyncio.run(account.charges(at.began, at.ended))
    return reports.reconcile(found, at, charges, product=billing.product, currency=billing.currency)


def _cells(name: str, line: Line, *, priced: bool) -> list[str]:
    """One line of a table; money that is not known is empty, never 0."""
    spent = format(line.spent, "f") if priced and not (line.unpriced and not line.spent) else ""
    values = asdict(line) | {"spent": spent, "seconds": f"{line.seconds:.1f}"}
    return [name, *(str(values[column]) for column in _COLUMNS)]


def _grid(found: Report) -> Iterator[list[str]]:
    yield [found.by or "", *(column.replace("_", " ") for column in _COLUMNS)]
    for name, line in found.groups.items():
        yield _cells(name, line, priced=found.priced)
    yield _cells("total", found.total, priced=found.priced)


def _table(found: Report) -> Iterator[str]:
    rows = [[shown(row[0])[:_WIDEST], *row[1:]] for row in _grid(found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *rest = (text.ljust(widths[0]) if not at else text.rjust(widths[at])
                        for at, text in enumerate(row))  # fmt: skip
        yield "  ".join([first, *rest])


def _markdown(found: Report) -> Iterator[str]:
    for number, row in enumerate(_grid(found)):
        safe = (text.replace("\\", "\\\\").replace("|", "\\|") for text in row)
        yield f"| {' | '.join(safe)} |"
        if not number:
            yield "| --- |" + " ---: |" * len(_COLUMNS)


def _write_csv(found: Report) -> None:
    """As spreadsheets read it: a BOM, CRLF, and no cell that one would run. Source: OWASP."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    for number, (name, *rest) in enumerate(_grid(found)):
        writer.writerow([cell(name), *rest] if number else [found.by or "group", *_COLUMNS])
    data = text.getvalue().encode("utf-8-sig", "replace")
    if sys.stdout is None:
        return
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]


def _facts(found: Report) -> Iterator[str]:
    """What belongs to the output as a whole."""
    if found.first and found.last:
        yield f"rows from {found.first} to {found.last}, {', '.join(found.providers)}"
    calls = f"{found.calls:,} calls, {found.total.in_vain:,} attempts brought no picture"
    if found.open_tries:
        calls += f", {found.open_tries:,} calls have no outcome"
    yield calls
    if found.priced:
        yield f"money: {found.spent} spent, {found.at_risk} sent and not known"
    else:
        yield "money: price not known"
    if found.total.unpriced and found.priced:
        yield f"{found.total.unpriced:,} pictures were bought while no price was set"
    if found.damaged:
        yield f"{found.damaged:,} lines of the manifest are no rows"


def _bill_lines(bill: Reconciled | None) -> Iterator[str]:
    """What the bill says, and what that makes of what we did not know."""
    if bill is None:
        return
    at = bill.window
    yield f"the bill from {_clock(at.began)} to {_clock(at.ended)}, by the hour:"
    for name, (units, amount) in bill.products.items():
        count = "" if units is None else f"{units:,} pictures, "
        yield f"  {name}: {count}{_amount(amount)} {bill.currency}"
    if not bill.products:
        yield "  nothing"
    if bill.products and not bill.named:
        yield "  no line names our call: all pictures of the account are in this"
    if bill.each is not None:
        yield f"  {_amount(bill.each)} {bill.currency} a picture"
    yield (
        f"our books: {bill.bought:,} pictures bought, {bill.maybe_paid:,} attempts without a"
        " picture that may be billed"
    )
    yield _verdict(bill)
    if bill.last_hour is not None and bill.last_hour < at.ended:
        yield f"the newest hour on the bill ends {_clock(bill.last_hour)}: later ones may follow"
    if at.cut:
        yield "the output is older than a year: older hours were not asked for"


def _verdict(bill: Reconciled) -> str:
    extra, each = bill.extra, bill.each
    if extra is None:
        return "the bill tells no number of pictures: only its sum can be compared"
    cost = "" if each is None else f": {_amount(abs(extra) * each)} {bill.currency}"
    if extra < 0:
        return f"{-extra:,} of our pictures are not on the bill (yet){cost}"
    if extra == 0:
        return f"they agree: none of the {bill.maybe_paid:,} unknown attempts was billed"
    if extra <= bill.maybe_paid:
        return f"{extra:,} of the {bill.maybe_paid:,} unknown attempts were billed{cost}"
    rest = extra - bill.maybe_paid
    return (
        f"{extra:,} pictures more on the bill than here{cost}; at least {rest:,} of them are"
        " another program's, or another output's, of the same account"
    )


def _amount(amount: Decimal) -> str:
    """To a millionth, which is less than any picture costs."""
    return format(amount.quantize(Decimal("0.000001")).normalize(), "f")


def _clock(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _object(found: Report, bill: Reconciled | None) -> Mapping[str, Any]:
    """The report as JSON has it: money as decimal strings."""
    told = asdict(found) | {
        "groups": {name: _line(line) for name, line in found.groups.items()},
        "total": _line(found.total),
        "spent": str(found.spent) if found.priced else None,
        "at_risk": str(found.at_risk) if found.priced else None,
    }
    del told["priced"], told["hours"]
    return told | {"bill": None if bill is None else _bill_object(bill)}


def _line(line: Line) -> dict[str, Any]:
    return asdict(line) | {"spent": str(line.spent), "seconds": round(line.seconds, 3)}


def _bill_object(bill: Reconciled) -> dict[str, Any]:
    return {
        "began": _clock(bill.window.began),
        "ended": _clock(bill.window.ended),
        "products": {
            name: {"units": units, "amount": str(amount)}
            for name, (units, amount) in bill.products.items()
        },
        "named": bill.named,
        "units": bill.units,
        "amount": str(bill.amount),
        "currency": bill.currency,
        "bought": bill.bought,
        "maybe_paid": bill.maybe_paid,
        "extra": bill.extra,
        "extra_amount": None if bill.each is None else _amount((bill.extra or 0) * bill.each),
        "newest_hour": None if bill.last_hour is None else _clock(bill.last_hour),
    }
