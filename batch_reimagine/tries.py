"""Attempts of runs that died: which row tells what became of one, and whose money it was."""

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from msgspec import structs

from batch_reimagine.durable import no_write
from batch_reimagine.journal import Balance, Try
from batch_reimagine.log import open_log, repair_tail
from batch_reimagine.shard import Shard
from batch_reimagine.work import Record

DIED = "RUN_DIED"  #: the reason of a row for what a dead run had in flight


def share_of(balance: Balance, shard: Shard, price: Decimal | None) -> Balance:
    """A shard's part of what is nobody's alone: all parts together are the whole."""
    return Balance(
        shard.share_of_money(balance.spent, price),
        shard.share_of_money(balance.at_risk, price),
        shard.share_of_calls(balance.calls),
        shard.share_of_calls(balance.unpriced),
        balance.damaged,
    )


def by_variation(tries: Iterable[Try]) -> dict[tuple[str, int], list[Try]]:
    """The tries of each variation, by source and number, in order."""
    found: dict[tuple[str, int], list[Try]] = {}
    for attempt in tries:
        for number in attempt.numbers:
            found.setdefault((attempt.source, number), []).append(attempt)
    return found


def without(attempt: Try, number: int) -> Try | None:
    """What is left of a try when it is known what became of one of its variations."""
    left = [other for other in attempt.numbers if other != number]
    if not left:
        return None
    return structs.replace(attempt, variation=left[0], also=tuple(left[1:]))


def settles(row: Record, attempt: Try) -> bool:
    """Whether a row tells what became of a try that has no end.

    Its run's own row does, written after the answer; so does a picture's row that
    a later run wrote for it, for a number is never given out while its file is there.
    A row that only says that a run died settles nothing that was begun since. A rejection is
    about the photo: one row settles all variations of its try.
    """
    if row.source_sha256 != attempt.source_sha256 or row.reason == DIED:
        return False
    own = attempt.id.startswith(f"{row.run}.")
    return own or (row.status == "done" and row.time >= attempt.time)


def append(path: Path, lines: list[bytes]) -> None:
    """Add lines to a journal that no run writes to now, durably. Raises LocalResource."""
    try:
        repair_tail(path)
    except OSError as error:
        raise no_write(path, error) from None
    log = open_log(path)
    try:
        log.write_now(lines)
    finally:
        log.close()
