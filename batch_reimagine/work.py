"""What flows along the line: small frozen values, from a file found to a row kept."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

Status = Literal["done", "rejected", "exhausted", "unknown"]
How = Literal["xmp", "sidecar"]  #: the AI mark is in the file's XMP, or in a .xmp file beside it


@dataclass(frozen=True, slots=True)
class StoreKey:
    """One object in a store, as its listing told it."""

    store: str  #: address of the input that it lies below: "s3://bucket/photos"
    name: str  #: relative to that
    size: int  #: bytes
    modified: datetime  #: UTC, by the store's clock
    etag: str | None

    def __str__(self) -> str:
        return f"{self.store}/{self.name}"


@dataclass(frozen=True, slots=True)
class Photo:
    """One file that claims to be a picture, by its first bytes or by its suffix."""

    path: Path | StoreKey  #: where it is read from
    source: str  #: its name in the manifest: relative, with "/", valid UTF-8
    base: str  #: its outputs are named OUT/<base>_v01.png …; relative, with "/"
    kind: str | None  #: format told by its first bytes; None when only the suffix claims a picture


@dataclass(frozen=True, slots=True)
class Skip:
    """A file or folder that was passed over, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Here:
    """A photo that is as it was, and has all its variations."""

    variations: int


Found = Photo | Skip | Here


@dataclass(slots=True)
class Passed:
    """What a stretch of the inputs held that asks for no work."""

    photos: int = 0  #: that have all they want
    here: int = 0  #: their variations
    skipped: Counter[str] = field(default_factory=Counter)  #: files passed over, by reason


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture that the service accepts, made once for all variations of a photo."""

    data: bytes  #: a whole JPEG or PNG file
    width: int  #: pixels
    height: int  #: pixels
    note: str | None  #: what a reader of the row should know, such as "first of 12 frames"


@dataclass(frozen=True, slots=True)
class Picture:
    """An answer's picture, proven complete."""

    data: bytes
    type: str  #: "png", "webp" or "jpeg", told by the bytes themselves
    width: int  #: pixels
    height: int  #: pixels


@dataclass(frozen=True, slots=True)
class Kept:
    """A picture as it lies on the disk."""

    sha256: str  #: of the file as written
    size: int  #: bytes
    mark: How | None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the manifest: a finished variation, or the reason why there is none.

    A rejection is about the photo, so one row says it for all variations that
    were still to be made; its `variation` is the one that met it.
    Rows from newer versions may hold more fields; readers ignore them.
    """

    v: int = 1
    run: str  #: id of the run that wrote it
    time: str  #: UTC, ISO 8601
    status: Status
    source: str  #: relative path with "/"
    source_sha256: str | None  #: of the file's bytes as read; None if they could not be read
    variation: int  #: 1…, never used twice for one source
    output: str | None = None  #: relative path with "/"; None unless done
    output_sha256: str | None = None  #: of the file as written
    width: int | None = None  #: pixels
    height: int | None = None  #: pixels
    bytes: int | None = None
    type: str | None = None  #: "png", "webp" or "jpeg", by the bytes
    provider: str
    request: str  #: the result-relevant settings, in words
    attempts: int = 0  #: posts begun by this run for this variation
    http: tuple[int | None, ...] = ()  #: a status an attempt; None where no answer came
    seconds: float = 0.0  #: wall time, first attempt to durable file
    cost: str | None = None  #: decimal, in the user's currency; None if the price is not known
    task_id: str | None = None  #: the service's handle, for its support
    reason: str | None = None
    message: str | None = None
    mark: str | None = None  #: AI mark: "xmp" in the file, "sidecar" in a .xmp beside it, None
    copied_from: str | None = None  #: output of the same content that this is a copy of


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is going to do, as far as it is known before the first call."""

    photos: int
    variations: int  #: wanted of each photo
    here: int  #: variations already on disk
    held: int  #: variations that may have been paid for, and are held (--on-unknown hold)
    copies: int  #: to be copied from the same content elsewhere in the output; costs nothing
    to_make: int  #: pictures to be bought
    failed_before: int  #: photos refused by an earlier run; --retry-failed tries them again
    skipped: Mapping[str, int]  #: files passed over, by reason
    complete: bool  #: False: the listing goes on, the counts are lower bounds
    price: str | None  #: of one picture, decimal; None: not known


@dataclass(frozen=True, slots=True)
class Note:
    """Something the user should know while it happens."""

    text: str


@dataclass(slots=True)
class Progress:
    """Counts of a run so far; read it at any time, write it never."""

    photos: int = 0  #: looked at
    photos_total: int | None = None  #: None until the listing is complete
    here: int = 0  #: variations that were on disk already
    held: int = 0  #: variations that may have been paid for, and were left alone
    made: int = 0  #: variations bought and kept
    copied: int = 0
    rejected: int = 0  #: photos refused, in this run
    exhausted: int = 0  #: variations given up, in this run
    unknown: int = 0  #: variations whose outcome this run did not see
    failed_before: int = 0  #: photos refused by an earlier run and left alone
    calls: int = 0  #: posts begun
    in_flight: int = 0
    retrying: int = 0  #: variations that wait for their next attempt
    spent: str | None = None  #: decimal, this output's whole life; None if the price is not known
    at_risk: str | None = None  #: decimal, sent without a seen outcome
    credits_left: int | None = None  #: of the account, where the last answer told
    flying: dict[str, float] = field(default_factory=dict)  #: calls in flight: begun, monotonic s
    per_minute: float | None = None  #: starts a minute that are granted now; None: no limit known
    paused_until: float = 0.0  #: nobody begins before; monotonic s
    limit: int | None = None  #: calls that may be in flight now; None before the first
    outage: bool = False  #: nearly everything fails: single calls probe
    skipped: Counter[str] = field(default_factory=Counter)
    failures: dict[str, int] = field(default_factory=dict)  #: by reason, in this run

    def pass_over(self, passed: Passed) -> None:
        """Count what needs no work."""
        self.photos += passed.photos
        self.here += passed.here
        self.skipped.update(passed.skipped)

    @property
    def unreadable(self) -> int:
        """Folders that could not be listed: photos may be in them."""
        return sum(n for why, n in self.skipped.items() if why.startswith("folder not readable"))

    @property
    def failed(self) -> int:
        """Whatever keeps the run from being "all done"."""
        return self.rejected + self.exhausted + self.failed_before + self.held


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run ended."""

    run: str
    progress: Progress
    seconds: float
    stopped: str | None  #: why it ended early, in words; None if it came to its end


Event = Plan | Note | Record | Summary


def utc_now() -> str:
    """The time as rows hold it: UTC, ISO 8601, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
