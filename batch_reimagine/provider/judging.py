"""What the judges of several services share: statuses, and safe pieces of hostile JSON.

Nothing here raises for what a server sends.
"""

from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import TypeVar

import msgspec
import pybase64

from batch_reimagine.provider.contract import Action, Verdict

T = TypeVar("T")

#: What a status means where no word of the service says more.
BY_STATUS: dict[int, Action] = {
    401: Action.STOP_ACCOUNT,
    402: Action.STOP_ACCOUNT,
    403: Action.STOP_ACCOUNT,
    404: Action.STOP_SERVICE,
    405: Action.STOP_SERVICE,
    408: Action.RETRY,
    410: Action.STOP_SERVICE,
    413: Action.REJECT,
    425: Action.RETRY,
    429: Action.SLOW_DOWN,
}

#: What msgspec raises for bytes that are no JSON, or not of the shape asked for.
NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_MOST_TEXT = 20_000  # bytes of JSON; no error says more


def is_success(status: int) -> bool:
    """Whether a status says that it went well; the body may still say otherwise."""
    return 200 <= status < 300  # noqa: PLR2004


def by_status(status: int) -> Action:
    """What a status alone means."""
    if status in BY_STATUS:
        return BY_STATUS[status]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Action.RETRY
    if status >= HTTPStatus.BAD_REQUEST:
        return Action.REJECT_UNKNOWN
    # A redirect is never followed: whoever answers so is not the endpoint that we were told.
    return Action.STOP_SERVICE if status >= HTTPStatus.MULTIPLE_CHOICES else Action.RETRY


def is_never_billed(status: int | None) -> bool:
    """Whether an attempt that ended so cost nothing; None: no answer came, so nobody knows.

    Not stated by any vendor: what was refused was not made; a fault, or a time that ran out on
    their side, may have been.
    """
    refused = status is not None and 300 <= status < HTTPStatus.INTERNAL_SERVER_ERROR  # noqa: PLR2004
    return refused and by_status(status or 0) is not Action.RETRY


def malformed(message: str, task_id: str | None = None) -> Verdict:
    """A success without a picture in it; it may have been paid for."""
    return Verdict(Action.RETRY, "MALFORMED_ANSWER", message, task_id=task_id)


def unreadable(status: int, headers: Mapping[str, str], body: bytes | bytearray) -> Verdict:
    """A gateway's page, half an answer, or nothing."""
    if is_success(status):
        return malformed(f"{len(body)} bytes that are no JSON")
    message = f"HTTP {status} without a readable error"
    if 300 <= status < 400:  # noqa: PLR2004 - redirects
        message = f"HTTP {status}, a redirect to {headers.get('Location', 'nowhere')}"
    return Verdict(by_status(status), f"HTTP_{status}", message)


def small(raw: msgspec.Raw, kind: type[T]) -> T | None:
    """The value of a field if it is of this kind and of a size that means something."""
    if len(memoryview(raw)) > _MOST_TEXT:
        return None
    try:
        return msgspec.json.decode(raw, type=kind)
    except NO_JSON:
        return None


def text_of(raw: msgspec.Raw) -> bytes | None:
    """The characters of a JSON string; None if it is none. For base64: megabytes are no str."""
    if bytes(memoryview(raw)[:1]) != b'"':
        return None
    text = bytes(memoryview(raw)[1:-1])
    if b"\\" in text:  # some encoders write "\/"
        with suppress(ValueError, msgspec.DecodeError):
            return msgspec.json.decode(raw, type=str).encode()
    return text


def decoded(text: bytes | memoryview) -> bytes | None:
    """The bytes that base64 stands for; None if it is none."""
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        return None
