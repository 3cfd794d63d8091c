"""Read a Retry-After header. Source: RFC 9110, section 10.2.3: seconds, or an HTTP date."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from now; None if the header is absent, unreadable or in the past."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        else:
            zoned = date if date.tzinfo else date.replace(tzinfo=UTC)
            seconds = (zoned - datetime.now(UTC)).total_seconds()
    return seconds if 0 <= seconds < float("inf") else None
