"""One decision as a line of the log; what makes it later than another."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec

from batch_reimagine.choice import Choice


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """time: UTC, ISO 8601, milliseconds. source: as the manifest names it."""

    v: int = 1
    time: str
    source: str
    choice: Choice


_LINE = msgspec.json.Decoder(Line)


def decoded(line: bytes) -> Line | None:
    """None for what cannot be read: it decides nothing."""
    try:
        return _LINE.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def after(now: str, before: str) -> str:
    """Now, or just after another decision, where the clock of who made that was ahead of ours."""
    if now > before:
        return now
    with suppress(ValueError, OverflowError):
        later = datetime.fromisoformat(before).astimezone(UTC) + timedelta(milliseconds=1)
        text = later.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if text > before:
            return text
    return f"{before}1"
