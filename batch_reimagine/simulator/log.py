"""What the simulator saw: the one account of it that no client can colour.

Every number is counted from calls whose whole body arrived. A paid call is the strictest thing
that can be known here: the answer was 200 with whole pictures, and the kernel took its last byte
while the connection stood. What then lay in the kernel's buffers of a client that died is beyond
our sight.
"""

import os
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

Outcome = Literal[
    "paid",  # 200, a whole picture, all of it written
    "refused",  # this request, this picture, this key or this account
    "throttled",  # RATE_LIMIT_EXCEEDED
    "fault",  # 5xx
    "hang",
    "reset",
    "truncated",
    "malformed",
    "gone",  # the client went before its answer was written
]

HISTOGRAM_S: Final = 600
KEPT_CALLS: Final = 100_000


@dataclass(slots=True)
class Call:
    """One POST to an endpoint, from its last byte on; filled in as it goes."""

    index: int
    time: str
    """UTC, ISO 8601."""
    monotonic_s: float
    contract: str
    photo_sha256: str | None = None
    image_type: str | None = None
    asked: int | None = None
    """Pictures asked for."""
    pictures: int = 0
    """Pictures in its answer, whole or not."""
    status: int | None = None
    """What was answered, at least in part; None when nothing was."""
    reason: str | None = None
    outcome: Outcome = "gone"
    paid: bool = False
    seconds: float | None = None
    task_id: str | None = None


@dataclass(slots=True)
class _Counts:
    """Sums over the calls that ended."""

    by_status: Counter[str] = field(default_factory=Counter)
    by_outcome: Counter[str] = field(default_factory=Counter)
    by_reason: Counter[str] = field(default_factory=Counter)
    paid_by_photo: Counter[str] = field(default_factory=Counter)
    by_contract: dict[str, Counter[str]] = field(default_factory=dict)
    paid: int = 0


class Ledger:
    """Counts calls and writes them down, one JSON line each as it ends.

    A line is one write() to a file opened for appending, so it outlives this process at once. The
    folder of `log` must exist.
    In memory the last 100,000 calls are kept, and one counter a photo.
    """

    def __init__(self, log: Path | None = None) -> None:
        self._began_s = time.monotonic()
        self._counts = _Counts()
        self._calls = 0
        self._ended: deque[Call] = deque(maxlen=KEPT_CALLS)
        self._starts: deque[list[int]] = deque()  # [second since the start, calls]
        self._photos: Counter[str] = Counter()
        self._pictures: Counter[str] = Counter()
        self.in_flight_now = 0
        self._max_in_flight = 0
        self._file = None if log is None else _open(log)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @property
    def uptime_s(self) -> float:
        return time.monotonic() - self._began_s

    @property
    def paid(self) -> int:
        """Pictures paid for."""
        return self._counts.paid

    def begin(self, contract: str) -> Call:
        """Count a call whose body is whole."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        call = Call(self._calls, now, time.monotonic(), contract)
        self._calls += 1
        self.in_flight_now += 1
        self._max_in_flight = max(self._max_in_flight, self.in_flight_now)
        second = int(self.uptime_s)
        if not self._starts or self._starts[-1][0] != second:
            self._starts.append([second, 0])
        self._starts[-1][1] += 1
        while self._starts[0][0] <= second - HISTOGRAM_S:
            self._starts.popleft()
        return call

    def saw_photo(self, call: Call, photo_sha256: str) -> int:
        """Note which photo a call brings; return how many calls brought it before."""
        call.photo_sha256 = photo_sha256
        before = self._photos[photo_sha256]
        self._photos[photo_sha256] += 1
        return before

    def next_pictures(self, photo_sha256: str, count: int) -> range:
        """Begin so many pictures of this photo; return their numbers, from 0 for its first."""
        before = self._pictures[photo_sha256]
        self._pictures[photo_sha256] += count
        return range(before, before + count)

    def end(self, call: Call) -> None:
        """Count how a call ended, and write its line."""
        call.seconds = round(time.monotonic() - call.monotonic_s, 6)
        call.paid = call.outcome == "paid"
        self.in_flight_now -= 1
        counts = self._counts
        counts.by_status[str(call.status)] += 1
        counts.by_outcome[call.outcome] += 1
        if call.reason is not None:
            counts.by_reason[call.reason] += 1
        of_contract = counts.by_contract.setdefault(call.contract, Counter(calls=0, paid=0))
        of_contract["calls"] += 1
        if call.paid and call.photo_sha256 is not None:
            counts.paid_by_photo[call.photo_sha256] += call.pictures
            of_contract["paid"] += call.pictures
            counts.paid += call.pictures
        self._ended.append(call)
        if self._file is not None:
            os.write(self._file, _line(call))

    def ended(self) -> list[Call]:
        """The calls that ended, oldest first."""
        return list(self._ended)

    def lines(self) -> bytes:
        """The calls that ended, as JSON lines, oldest first."""
        return b"".join(map(_line, self._ended))

    def stats(self) -> dict[str, Any]:
        """All counts as plain JSON values; by_status has "None" for calls never answered.

        paid, paid_by_photo and by_contract's paid count pictures, all others calls.
        """
        return {
            "uptime_s": round(self.uptime_s, 3),
            "calls": self._calls,
            "paid": self.paid,
            "in_flight_now": self.in_flight_now,
            "max_in_flight": self._max_in_flight,
            "distinct_photos": len(self._photos),
            "starts_per_second": {str(second): calls for second, calls in self._starts},
            "by_status": dict(self._counts.by_status),
            "by_outcome": dict(self._counts.by_outcome),
            "by_reason": dict(self._counts.by_reason),
            "paid_by_photo": dict(self._counts.paid_by_photo),
            "by_contract": {name: dict(of) for name, of in self._counts.by_contract.items()},
        }


def _open(log: Path) -> int:
    # O_NONBLOCK changes nothing for a file; it tells the watchers of the event loop that a line
    # into the page cache, a few microseconds, is meant to be written there.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(log, flags, 0o644)


def _line(call: Call) -> bytes:
    return msgspec.json.encode(call) + b"\n"
