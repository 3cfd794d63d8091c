"""The bytes of every answer, good and bad; nothing here sends them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from batch_reimagine.simulator.log import Outcome
from batch_reimagine.simulator.reasons import Refusal

_GATEWAY_PAGE = (
    b"<html>\r\n<head><title>504 Gateway Time-out</title></head>\r\n"
    b"<body>\r\n<center><h1>504 Gateway Time-out</h1></center>\r\n</body>\r\n</html>\r\n"
)
_TEXT = "text/html"
_JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer; `outcome` is what it counts as once it is written."""

    status: int
    body: bytes
    outcome: Outcome
    content_type: str = _JSON
    reason: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def flat(error: Refusal) -> tuple[int, dict[str, Any]]:
    """The status and the flat error body of Novita's API."""
    return error.status, {
        "code": error.status,
        "reason": error.reason,
        "message": error.message,
        "metadata": {name: str(value) for name, value in error.metadata.items()},
    }


def refusal(
    error: Refusal,
    retry_after: str | None,
    words: Callable[[Refusal], tuple[int, dict[str, Any]]] = flat,
) -> Answer:
    """An error in a contract's own words; Retry-After goes with what is a 429 or 503 by reason."""
    status, document = words(error)
    throttles = error.status in {429, 503} and retry_after is not None
    return Answer(
        status=status,
        body=msgspec.json.encode(document),
        outcome=_outcome(error),
        reason=error.reason,
        headers={"Retry-After": str(retry_after)} if throttles else {},
    )


def _outcome(error: Refusal) -> Outcome:
    if error.reason == "RATE_LIMIT_EXCEEDED":
        return "throttled"
    return "fault" if error.status >= 500 else "refused"  # noqa: PLR2004  HTTP's own border


def gateway_timeout() -> Answer:
    """504 as a gateway says it: in HTML."""
    return Answer(status=504, body=_GATEWAY_PAGE, outcome="fault", content_type=_TEXT)


def ok(document: dict[str, Any]) -> Answer:
    """200 with a document."""
    return Answer(status=200, body=msgspec.json.encode(document), outcome="paid")


def welcome() -> Answer:
    """200 with the page of a web server that knows nothing of the call."""
    page = b"<!doctype html><title>Welcome</title><h1>It works!</h1>\n"
    return Answer(status=200, body=page, outcome="malformed", content_type=_TEXT)
