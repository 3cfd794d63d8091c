"""`batch-reimagine status`: counts, money and failures of an output; safe during a run."""

import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from batch_reimagine.cli.places import Books, Output, StoreOption, open_output
from batch_reimagine.cli.screen import shown, write
from batch_reimagine.places import place_of
from batch_reimagine.tally import Tally, tally

_EVERY_S = 2.0
_WIDEST = 1000  # characters: reasons are somebody else's words


def status(
    output: Output,
    *,
    watch: Annotated[bool, Parameter(negative="", help="Again every two seconds.")] = False,
    json: Annotated[bool, Parameter(negative="", help="One JSON object.")] = False,
    store_option: StoreOption = (),
    books: Books = None,
) -> int:
    """Tell what an output holds: counts, money, failures by reason."""
    tree = open_output(output, store_option, books)
    place = place_of(output)
    while True:
        found = tally(place if isinstance(place, Path) else tree)
        if json:
            write(sys.stdout, msgspec.json.encode(found).decode())
        else:
            write(sys.stdout, "\n".join(shown(line)[:_WIDEST] for line in _lines(found)))
        if not watch:
            return 0
        try:
            time.sleep(_EVERY_S)
        except KeyboardInterrupt:
            return 0
        tree.look()
        if sys.stdout.isatty() and not json:
            write(sys.stdout, "")


def _lines(found: Tally) -> list[str]:
    state = f"running ({found.holder})" if found.running else "not running"
    lines = [
        f"{found.output}: {state}",
        f"{found.done:,} variations of {found.photos:,} photos, {found.bytes / 1e6:,.1f} MB,"
        f" {found.calls:,} calls",
    ]
    if found.wanted is not None and found.per_minute:
        handled = found.done + found.rejected + found.exhausted
        left = timedelta(seconds=round(found.seconds_left or 0))
        lines.append(f"{handled:,}/{found.wanted:,}, {found.per_minute:.1f}/min, {left} left")
    failed = {
        "refused": found.rejected,
        "given up": found.exhausted,
        "outcome unknown": found.unknown,
    }
    if any(failed.values()):
        lines.append(", ".join(f"{count:,} {what}" for what, count in failed.items() if count))
        by_count = sorted(found.reasons.items(), key=lambda item: -item[1])
        lines.append("reasons: " + ", ".join(f"{count:,} {reason}" for reason, count in by_count))
    if found.in_flight:
        what = "in flight" if found.running else "in flight when the last run died"
        lines.append(f"{found.in_flight:,} calls {what}")
    if found.spent is not None:
        lines.append(f"money: {found.spent} spent, {found.at_risk} sent and not known")
    else:
        lines.append("money: price not known")
    if found.damaged:
        lines.append(f"{found.damaged:,} lines of the manifest are no rows")
    return lines
