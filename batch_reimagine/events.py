"""The lines of `run --json`: what a program reads of a run, one JSON object a line.

The classes are what is written and what `schema` describes. Fields are only ever added; a
reader ignores events and fields that it does not know.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from batch_reimagine.work import Note, Plan, Progress, Record, Summary, utc_now

Money = Annotated[str | None, Meta(description="Decimal; null: the price is not known.")]
Counts = Annotated[dict[str, int], Meta(description="Files passed over, by reason.")]


class Line(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """What every line but an item has."""

    time: Annotated[str, Meta(description="When the line was written; UTC, ISO 8601.")]


class PlanLine(Line, frozen=True, tag="plan"):
    """First of all: what the run is going to do. `--dry-run` writes it alone."""

    photos: Annotated[int, Meta(description="Found by now.")]
    variations: Annotated[int, Meta(description="Wanted of each photo.")]
    here: Annotated[int, Meta(description="Variations already on disk.")]
    held: Annotated[int, Meta(description="Variations held, for they may have been paid for.")]
    copies: Annotated[int, Meta(description="Variations to copy from the same photo; free.")]
    to_make: Annotated[int, Meta(description="Pictures to buy if nothing fails.")]
    failed_before: Annotated[int, Meta(description="Photos refused by an earlier run, left alone.")]
    skipped: Counts
    complete: Annotated[bool, Meta(description="False: the listing goes on, counts are the least.")]
    price: Annotated[str | None, Meta(description="Of one picture, decimal; null: not known.")]


class _Counting(Line, frozen=True):
    """The counts of a run, so far or at its end."""

    photos: Annotated[int, Meta(description="Looked at.")]
    photos_total: Annotated[int | None, Meta(description="Null until the listing is complete.")]
    here: Annotated[int, Meta(description="Variations that were on disk already.")]
    held: Annotated[int, Meta(description="Variations left alone, may have been paid for.")]
    made: Annotated[int, Meta(description="Variations bought and kept.")]
    copied: Annotated[int, Meta(description="Variations copied from the same photo.")]
    rejected: Annotated[int, Meta(description="Photos refused, in this run.")]
    exhausted: Annotated[int, Meta(description="Variations given up, in this run.")]
    unknown: Annotated[int, Meta(description="Variations whose outcome was not seen.")]
    failed_before: Annotated[int, Meta(description="Photos refused earlier and left alone.")]
    calls: Annotated[int, Meta(description="Posts begun, retries included.")]
    in_flight: Annotated[int, Meta(description="Calls sent and not answered.")]
    retrying: Annotated[int, Meta(description="Variations that wait for their next attempt.")]
    spent: Money
    at_risk: Annotated[
        str | None, Meta(description="Sent without a seen outcome, decimal; null: no price known.")
    ]
    credits_left: Annotated[
        int | None, Meta(description="Of the account, as the last answer told; null: it did not.")
    ]
    per_minute: Annotated[
        float | None, Meta(description="Starts a minute that are granted; null: no limit known.")
    ]
    skipped: Counts
    failures: Annotated[dict[str, int], Meta(description="Failures of this run, by reason.")]


class ProgressLine(_Counting, frozen=True, tag="progress"):
    """Every five seconds while the run lasts, also while nothing moves."""

    limit: Annotated[int | None, Meta(description="Calls that may be in flight now.")]
    outage: Annotated[bool, Meta(description="Nearly everything fails: single calls probe.")]
    seconds: Annotated[float, Meta(description="Since the run began.")]
    left_s: Annotated[float | None, Meta(description="Estimate to the end; null: not known.")]


class ItemLine(Record, frozen=True, kw_only=True, tag_field="event", tag="item"):
    """One finished variation, or why there is none: the row as the manifest has it."""


class NoteLine(Line, frozen=True, tag="note"):
    """Something to know while it happens: a change of pace, an outage, a recovery."""

    text: Annotated[str, Meta(description="For people; its words may change.")]


class ErrorLine(Line, frozen=True, tag="error"):
    """Why the run ended early. The summary follows, if the run had begun."""

    message: Annotated[str, Meta(description="What, why, and the way out.")]
    exit: Annotated[int, Meta(description="Exit code.")]


class SummaryLine(_Counting, frozen=True, tag="summary"):
    """Last of all, if the run had begun."""

    run: Annotated[str, Meta(description="Id of the run, as in its rows.")]
    seconds: Annotated[float, Meta(description="Wall time of the run.")]
    stopped: Annotated[str | None, Meta(description="Why it ended early, in words.")]
    exit: Annotated[int, Meta(description="Exit code.")]
    next: Annotated[str | None, Meta(description="The command that goes on; null: all done.")]


AnyLine = PlanLine | ProgressLine | ItemLine | NoteLine | ErrorLine | SummaryLine

_PLAN = [name for name in PlanLine.__struct_fields__ if name != "time"]
_COUNTS = [name for name in _Counting.__struct_fields__ if name != "time"]


def line_of(event: Plan | Note | Record) -> AnyLine:
    """The line that tells of an event."""
    match event:
        case Plan():
            return PlanLine(time=utc_now(), **{name: getattr(event, name) for name in _PLAN})
        case Note():
            return NoteLine(time=utc_now(), text=event.text)
        case Record():
            return ItemLine(**msgspec.structs.asdict(event))


def progress_line(progress: Progress, *, seconds: float, left_s: float | None) -> ProgressLine:
    """How far a run is. Both in seconds: since it began, and to its end."""
    return ProgressLine(
        time=utc_now(),
        limit=progress.limit,
        outage=progress.outage,
        seconds=round(seconds, 3),
        left_s=None if left_s is None else round(left_s, 1),
        **_counts(progress),
    )


def error_line(message: str, exit_code: int) -> ErrorLine:
    """Why a run ended early."""
    return ErrorLine(time=utc_now(), message=message, exit=exit_code)


def summary_line(summary: Summary, exit_code: int, next_command: str | None) -> SummaryLine:
    """How a run ended."""
    return SummaryLine(
        time=utc_now(),
        run=summary.run,
        seconds=round(summary.seconds, 3),
        stopped=summary.stopped,
        exit=exit_code,
        next=next_command,
        **_counts(summary.progress),
    )


def encode(line: AnyLine) -> str:
    """One line, without its end."""
    return msgspec.json.encode(line).decode()


def decode(text: str | bytes) -> AnyLine:
    """Read a line again. Raises msgspec.ValidationError for one that is none of ours."""
    line: AnyLine = msgspec.json.decode(text, type=AnyLine)
    return line


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of one line."""
    found = msgspec.json.schema(AnyLine)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _counts(progress: Progress) -> dict[str, Any]:
    return {name: getattr(progress, name) for name in _COUNTS}
