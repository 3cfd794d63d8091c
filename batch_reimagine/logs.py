"""What an operator needs of a run, through the standard library's loggers.

`batch_reimagine.run`: start, plan, notes (pace, outages, recovery), stop, end. `.call`: attempts
and waits. `.item`: rows. Whoever wants them adds a handler; by itself this package adds none that
writes. Beside its sentence each record has its facts in `record.data`, a dict.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from batch_reimagine.observing import (
    AttemptBegan,
    AttemptEnded,
    Began,
    Moment,
    Stopping,
    Waiting,
)
from batch_reimagine.version import VERSION
from batch_reimagine.work import Note, Plan, Record, Summary

ROOT = "batch_reimagine"
_RUN = logging.getLogger(f"{ROOT}.run")
_CALL = logging.getLogger(f"{ROOT}.call")
_ITEM = logging.getLogger(f"{ROOT}.item")
logging.getLogger(ROOT).addHandler(logging.NullHandler())

_ENDED = ("made", "here", "copied", "rejected", "exhausted", "unknown", "calls", "spent")


def told(moment: Moment) -> None:
    """Log a moment; what is beneath the level that is listened to is not even put together."""
    if (teller := _TELLERS.get(type(moment))) is not None:
        teller(moment)


def _began(moment: Began) -> None:
    settings = moment.settings
    facts = {
        "run": moment.run,
        "version": VERSION,
        "provider": settings.provider,
        "base_url": settings.base_url,
        "variations": settings.variations,
        "concurrency": settings.concurrency,
        "shard": settings.shard,
    }
    _RUN.info("run begins: %s", moment.run, extra={"data": facts})


def _attempt_began(moment: AttemptBegan) -> None:
    if not _CALL.isEnabledFor(logging.DEBUG):
        return
    attempt = moment.attempt
    facts = _about(attempt.source, attempt.numbers) | {"attempt": attempt.attempt, "id": attempt.id}
    text = "%s %s: attempt %d begins"
    words = attempt.source, _hash(attempt.numbers), attempt.attempt
    _CALL.debug(text, *words, extra={"data": facts})


def _attempt_ended(moment: AttemptEnded) -> None:
    attempt, verdict = moment.attempt, moment.verdict
    good = moment.reason is None
    level = logging.DEBUG if good else logging.INFO
    if not _CALL.isEnabledFor(level):
        return
    facts = _about(attempt.source, attempt.numbers) | {
        "attempt": attempt.attempt,
        "id": attempt.id,
        "status": moment.status,
        "ms": round(1000 * moment.seconds),
        "money": moment.money,
        "pictures": moment.came,
        "action": verdict.action.value if verdict else None,
        "reason": moment.reason,
        "task_id": verdict.task_id if verdict else None,
    }
    text = "%s %s: attempt %d: %s after %d ms"
    words = attempt.source, _hash(attempt.numbers), attempt.attempt
    came = "kept" if good else f"{moment.status or 'no answer'} {moment.reason}"
    _CALL.log(level, text, *words, came, facts["ms"], extra={"data": facts})


def _waiting(moment: Waiting) -> None:
    facts = _about(moment.source, (moment.variation,))
    facts |= {"wait_s": round(moment.seconds, 3), "reason": moment.reason}
    text = "%s #%d is tried again in %.1f s (%s)"
    words = moment.source, moment.variation, moment.seconds, moment.reason
    _CALL.debug(text, *words, extra={"data": facts})


def _row(row: Record) -> None:
    done = row.status == "done"
    level = logging.DEBUG if done else logging.WARNING
    if not _ITEM.isEnabledFor(level):
        return
    facts = _about(row.source, (row.variation,)) | {
        "status": row.status,
        "output": row.output,
        "attempts": row.attempts,
        "http": row.http,
        "seconds": row.seconds,
        "reason": row.reason,
    }
    why = row.output if done else f"{row.reason}: {row.message}"
    _ITEM.log(
        level, "%s #%d: %s: %s", row.source, row.variation, row.status, why, extra={"data": facts}
    )


def _about(source: str, numbers: tuple[int, ...]) -> dict[str, Any]:
    return {"source": source, "variations": numbers}


def _hash(numbers: tuple[int, ...]) -> str:
    return ", ".join(f"#{number}" for number in numbers)


def _plan(plan: Plan) -> None:
    facts = {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    text = "plan: %d photos, %d variations to make"
    _RUN.info(text, plan.photos, plan.to_make, extra={"data": facts})


def _note(note: Note) -> None:
    _RUN.info("%s", note.text)


def _stopping(moment: Stopping) -> None:
    kind = type(moment.error).__name__ if moment.error else None
    _RUN.warning("stopping: %s", moment.reason, extra={"data": {"error": kind}})


def _summary(summary: Summary) -> None:
    progress = summary.progress
    facts = {name: getattr(progress, name) for name in _ENDED}
    facts |= {"run": summary.run, "seconds": round(summary.seconds, 3), "stopped": summary.stopped}
    text = "run ended: %d made, %d failed"
    _RUN.info(text, progress.made, progress.failed, extra={"data": facts})


_TELLERS: dict[type, Callable[[Any], None]] = {
    Began: _began,
    Plan: _plan,
    Note: _note,
    AttemptBegan: _attempt_began,
    AttemptEnded: _attempt_ended,
    Waiting: _waiting,
    Record: _row,
    Stopping: _stopping,
    Summary: _summary,
}


def data_of(record: logging.LogRecord) -> Mapping[str, Any]:
    """The facts of a record of ours; none for others'."""
    found = getattr(record, "data", None)
    return found if isinstance(found, dict) else {}
