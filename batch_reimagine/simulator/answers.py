"""The bytes of every answer, good and bad; nothing here sends them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pybase64
from PIL import Image

from batch_reimagine.simulator.behaviour import MalformedKind
from batch_reimagine.simulator.log import Outcome
from batch_reimagine.simulator.pictures import encode
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


def refusal(error: Refusal, retry_after: str | None) -> Answer:
    """The flat error body; Retry-After goes with 429 and 503 only."""
    document = {
        "code": error.status,
        "reason": error.reason,
        "message": error.message,
        "metadata": {name: str(value) for name, value in error.metadata.items()},
    }
    throttles = error.status in {429, 503} and retry_after is not None
    return Answer(
        status=error.status,
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


def picture(image: Image.Image, image_type: str, task_id: str) -> Answer:
    """200 with a whole picture; CPU-bound."""
    return _answer_200(_document(encode(image, image_type, task_id), image_type, task_id), "paid")


def malformed(kind: MalformedKind, image: Image.Image, image_type: str, task_id: str) -> Answer:
    """200 with anything but a picture; CPU-bound."""
    whole = encode(image, image_type, task_id)
    match kind:
        case "half_picture":
            body = _document(whole[: len(whole) // 2], image_type, task_id)
        case "bad_base64":
            body = _with_image("?*" + pybase64.b64encode_as_string(whole), image_type, task_id)
        case "no_image":
            # Seen in the wild: an error that calls itself a success.
            body = refusal(Refusal("TASK_FAILED", task_id=task_id), None).body
        case "not_json":
            body = _document(whole, image_type, task_id)[:-2]
        case "html":
            page = b"<!doctype html><title>Welcome</title><h1>It works!</h1>\n"
            return _answer_200(page, "malformed", _TEXT)
        case "empty":
            body = b""
    return _answer_200(body, "malformed")


def _answer_200(body: bytes, outcome: Outcome, content_type: str = _JSON) -> Answer:
    return Answer(status=200, body=body, outcome=outcome, content_type=content_type)


def _document(picture_bytes: bytes, image_type: str, task_id: str) -> bytes:
    return _with_image(pybase64.b64encode_as_string(picture_bytes), image_type, task_id)


def _with_image(encoded: str, image_type: str, task_id: str) -> bytes:
    document: dict[str, Any] = {
        "image_file": encoded,
        "image_type": image_type,
        "task": {"task_id": task_id, "status": "TASK_STATUS_SUCCEED"},
    }
    return msgspec.json.encode(document)
