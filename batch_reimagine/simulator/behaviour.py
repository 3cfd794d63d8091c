"""How the simulated service behaves: every knob, its unit, its range, its default (all well)."""

import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

import msgspec

from batch_reimagine.simulator.reasons import REASONS

OverConcurrency = Literal["429", "503", "queue"]
OutageKind = Literal["503", "reset"]
MalformedKind = Literal["not_json", "no_image", "bad_base64", "half_picture", "empty", "html"]

MALFORMED_KINDS: tuple[MalformedKind, ...] = get_args(MalformedKind)

#: These exclude one another, so together they are at most 1.
_SHARES = (
    "share_500",
    "share_503",
    "share_504",
    "share_429",
    "share_refused",
    "share_hang",
    "share_reset",
    "share_truncated",
    "share_malformed",
)
_HEX_PREFIX = re.compile(r"[0-9a-f]{4,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What goes wrong, how often and when; checked on construction.

    A share is the part of otherwise acceptable calls that meet that fate; the rest get pictures.
    Raises ValueError naming the field, its value and what is allowed.
    """

    latency_s: float = 0.0
    """Mean seconds between a whole request and the first byte of its answer."""
    latency_jitter: float = 0.0
    """Spread around the mean, 0..1: 0.3 draws evenly from 0.7 to 1.3 of latency_s."""
    latency_sigma: float = 0.0
    """Lognormal latency of this sigma, with latency_s as its median; 0 keeps it even."""
    share_stalled: float = 0.0
    """Calls whose latency is stall_s instead, 0..1; whatever fate they meet."""
    stall_s: float = 20.0
    """Seconds of a stall."""

    share_500: float = 0.0
    """A back-end fault: INTERNAL, BILLING_FAILED, CREATE_TASK_FAILED or GET_RESULT_FAILED."""
    share_503: float = 0.0
    """SERVICE_NOT_AVAILABLE, with retry_after."""
    share_504: float = 0.0
    """A gateway's timeout: status 504 and a page of HTML."""
    share_429: float = 0.0
    """RATE_LIMIT_EXCEEDED out of the blue, with retry_after."""
    share_refused: float = 0.0
    """reason_refused, with that reason's own status."""
    share_hang: float = 0.0
    """No answer at all, until the client goes."""
    share_reset: float = 0.0
    """The connection is reset: one half before the answer begins, one half in its middle."""
    share_truncated: float = 0.0
    """A 200 whose body ends before its Content-Length does."""
    share_malformed: float = 0.0
    """A 200 that holds no picture; see malformed_kind."""
    share_fewer: float = 0.0
    """Of good answers to calls for several pictures: those that bring fewer, at least one."""

    reason_refused: str = "INVALID_IMAGE_FORMAT"
    """The reason of share_refused and refuse_photo, any that the API has."""
    retry_after: str | None = None
    """Sent as it is in every 429 and 503, e.g. "3", "-5", "soon", an HTTP date; None sends none."""
    malformed_kind: MalformedKind | None = None
    """What a malformed answer holds; None draws one of the six."""

    refuse_photo: tuple[str, ...] = ()
    """Photos always refused with reason_refused: SHA-256 prefixes, 4 to 64 lower-case hex digits
    of the bytes uploaded."""
    fail_photo: tuple[str, ...] = ()
    """Photos that always end in 500 TASK_FAILED; prefixes as in refuse_photo."""

    images_per_minute: float | None = None
    """Above it 429 RATE_LIMIT_EXCEEDED; None is no limit."""
    burst: int = 1
    """Calls that images_per_minute lets through at once after a pause."""
    max_concurrent: int | None = None
    """Calls worked on at once; None is no limit."""
    over_concurrency: OverConcurrency = "429"
    """What meets a call above max_concurrent: an answer at once, or a wait for its turn."""

    outage: tuple[float, float] | None = None
    """(start_s, length_s), in seconds since the server's start; then every path fails but the
    simulator's own."""
    outage_kind: OutageKind = "503"
    """How it fails: SERVICE_NOT_AVAILABLE, or a reset of every connection that sends a request."""

    balance: int | None = None
    """Pictures (Clipdrop: credits) the account can pay, counted from the server's start; then
    BILLING_BALANCE_NOT_ENOUGH. None never ends."""
    api_key: str | None = None
    """The only right key; None takes any that is not empty."""
    keyless: bool = False
    """No key is asked for, and any is taken, as on a server of one's own."""

    picture_px: int | None = None
    """Longest side of the pictures answered; None keeps the photo's own size."""
    seed: int = 0
    """The nth call with the same photo meets the same fate on every server with this seed."""

    def __post_init__(self) -> None:
        for name in (*_SHARES, "latency_jitter", "share_stalled", "share_fewer"):
            self._check(name, 0 <= getattr(self, name) <= 1, "from 0 to 1")
        together = sum(getattr(self, name) for name in _SHARES)
        if together > 1 + 1e-9:  # a tenth ten times is a hair above 1
            raise ValueError(f"the shares are {together:g} together; at most 1 is allowed")
        for name in ("latency_s", "latency_sigma", "stall_s"):
            self._check(name, 0 <= getattr(self, name) < float("inf"), "0 or more, finite")
        self._check("reason_refused", self.reason_refused in REASONS, "/".join(REASONS))
        self._check(
            "retry_after",
            self.retry_after is None or self.retry_after.isprintable(),
            "one line of printable characters, or None",
        )
        for name in ("refuse_photo", "fail_photo"):
            good = all(_HEX_PREFIX.fullmatch(prefix) for prefix in getattr(self, name))
            self._check(name, good, "SHA-256 prefixes of 4 to 64 lower-case hex digits")
        self._check(
            "malformed_kind",
            self.malformed_kind in {None, *MALFORMED_KINDS},
            "/".join(MALFORMED_KINDS) + " or None",
        )
        self._check(
            "over_concurrency",
            self.over_concurrency in get_args(OverConcurrency),
            "/".join(get_args(OverConcurrency)),
        )
        self._check(
            "outage_kind",
            self.outage_kind in get_args(OutageKind),
            "/".join(get_args(OutageKind)),
        )
        rate = self.images_per_minute
        self._check(
            "images_per_minute",
            rate is None or 0 < rate < float("inf"),
            "above 0, or None",
        )
        self._check("burst", self.burst >= 1, "1 or more")
        for name, least in (("max_concurrent", 1), ("picture_px", 1), ("balance", 0)):
            value = getattr(self, name)
            self._check(name, value is None or value >= least, f"{least} or more, or None")
        self._check("api_key", self.api_key != "", "a key, or None")
        good_outage = self.outage is None or all(value >= 0 for value in self.outage)
        self._check("outage", good_outage, "(start_s, length_s), both 0 or more, or None")

    def _check(self, name: str, good: bool, allowed: str) -> None:  # noqa: FBT001  it is the point
        if not good:
            value = "(a key)" if name == "api_key" else repr(getattr(self, name))
            raise ValueError(f"{name} is {value}; allowed: {allowed}")

    def replaced(self, changes: dict[str, Any]) -> Self:
        """The same behaviour but for `changes`, as they come from JSON.

        Raises ValueError for a field that does not exist, a wrong type or a value out of range.
        """
        unknown = sorted(changes.keys() - {field.name for field in fields(self)})
        if unknown:
            raise ValueError(f"unknown fields: {', '.join(unknown)}")
        try:
            return msgspec.convert(asdict(self) | changes, type(self))
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from error

    def in_outage(self, uptime_s: float) -> bool:
        if self.outage is None:
            return False
        start_s, length_s = self.outage
        return start_s <= uptime_s < start_s + length_s
