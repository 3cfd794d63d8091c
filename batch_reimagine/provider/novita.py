"""Novita's Reimagine: POST /v3/reimagine.

Source: the vendor's API reference ("Reimagine", "Error codes") and published
captures of its answers. Rule of this file: judge by `reason` first, by HTTP
status second, because a 400 may mean no money and a 429 no key.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
import pybase64

from batch_reimagine.provider.contract import Action, Provider, Verdict
from batch_reimagine.settings import Settings
from batch_reimagine.work import Upload

T = TypeVar("T")

_ACCOUNT = [
    "MISSING_API_KEY",
    "FAILED_TO_AUTH",
    "INVALID_API_KEY",
    "BILLING_AUTH_FAILED",
    "API_NOT_ALLOWED",
    "FEATURE_NOT_ALLOWED",
    "NEED_REAL_NAME_VERIFY",
    "USER_IS_LOCKED",
    "BANNED_USER",
    "ANONYMOUS_ACCESS_QUOTA_EXCEEDS",
    "BILLING_BALANCE_NOT_ENOUGH",
    "NOT_ENOUGH_BALANCE",
    "NOT_ENOUGH_BUDGET",
    "MEMBER_BUDGET_NOT_ENOUGH",
    "BUDGET_NOT_ENOUGH",
]
_PICTURE = [
    "INVALID_REQUEST_BODY",
    "IMAGE_FILE_EXCEEDS_MAX_SIZE",
    "IMAGE_EXCEEDS_MAX_RESOLUTION",
    "INVALID_IMAGE_SIZE",
    "INVALID_IMAGE_FORMAT",
    "ILLEGAL_IMAGE_CONTENT",
]
_FAULT = [
    "BILLING_FAILED",
    "CREATE_TASK_FAILED",
    "GET_RESULT_FAILED",
    "INTERNAL",
    "SERVICE_NOT_AVAILABLE",
]

BY_REASON: dict[str, Action] = {
    **dict.fromkeys(_ACCOUNT, Action.STOP_ACCOUNT),
    **dict.fromkeys(_PICTURE, Action.REJECT),
    **dict.fromkeys(_FAULT, Action.RETRY),
    "TASK_FAILED": Action.RETRY_TWICE,
    "RATE_LIMIT_EXCEEDED": Action.SLOW_DOWN,
    "API_NOT_FOUND": Action.STOP_SERVICE,
}

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


_PICTURE_NAME = b'"image_file"'
_PICTURE_FIELD = re.compile(_PICTURE_NAME + rb'\s*:\s*"')
_MOST_TEXT = 20_000  # bytes of JSON; no error says more
_NULL = msgspec.Raw(b"null")


class _Answer(msgspec.Struct):
    """Both shapes of a body at once, all of it raw JSON.

    The picture is never made a str, and a small body cannot unfold into millions of objects.
    """

    image_file: msgspec.Raw = _NULL
    task: msgspec.Raw = _NULL
    code: msgspec.Raw = _NULL
    reason: msgspec.Raw = _NULL
    message: msgspec.Raw = _NULL
    metadata: msgspec.Raw = _NULL


_DECODER = msgspec.json.Decoder(_Answer)


def build(upload: Upload, settings: Settings) -> tuple[bytes, ...]:
    """Give the JSON body in three parts, so that megabytes of base64 are never copied."""
    extra: dict[str, Any] = {}
    if settings.type:
        extra["response_image_type"] = settings.type
    if settings.enterprise:
        extra["enterprise_plan"] = {"enabled": True}
    tail = b'"}' if not extra else b'","extra":' + msgspec.json.encode(extra) + b"}"
    return b'{"image_file":"', pybase64.b64encode(upload.data), tail


def judge(status: int, headers: Mapping[str, str], body: bytes | bytearray) -> Verdict:
    """Decide what an answer means. Never raises: what cannot be read is judged by its status."""
    try:
        answer, text = _parse(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _unreadable(status, headers, body)
    task_id = _task_id(answer)
    reason = _small(answer.reason, str) or None
    if _is_success(status) and reason is None and text:
        picture = _decode(text)
        if picture is None:
            return Verdict(
                Action.RETRY, "MALFORMED_ANSWER", "image_file is not base64", task_id=task_id
            )
        return Verdict(Action.KEEP, picture=picture, task_id=task_id)
    # A 200 may carry an error: then its own code is the status that was meant.
    meant = status
    if _is_success(status):
        coded = _small(answer.code, int) or 0
        if reason is None and not 300 <= coded < 600:  # noqa: PLR2004 - an HTTP error status
            return Verdict(
                Action.RETRY, "MALFORMED_ANSWER", "no picture in the answer", task_id=task_id
            )
        meant = coded if 300 <= coded < 600 else 500  # noqa: PLR2004
    action = BY_REASON.get(reason or "") or _by_status(meant)
    return Verdict(action, reason or f"HTTP_{meant}", _message(answer), task_id=task_id)


def _small(raw: msgspec.Raw, kind: type[T]) -> T | None:
    """The value of a field if it is of this kind and of a size that means something."""
    if len(memoryview(raw)) > _MOST_TEXT:
        return None
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _by_status(status: int) -> Action:
    if status in BY_STATUS:
        return BY_STATUS[status]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Action.RETRY
    if status >= HTTPStatus.BAD_REQUEST:
        return Action.REJECT_UNKNOWN
    # A redirect is never followed: whoever answers so is not the endpoint that we were told.
    return Action.STOP_SERVICE if status >= HTTPStatus.MULTIPLE_CHOICES else Action.RETRY


def _unreadable(status: int, headers: Mapping[str, str], body: bytes | bytearray) -> Verdict:
    """A gateway's page, half an answer, or nothing."""
    if _is_success(status):
        return Verdict(Action.RETRY, "MALFORMED_ANSWER", f"{len(body)} bytes that are no JSON")
    message = f"HTTP {status} without a readable error"
    if 300 <= status < 400:  # noqa: PLR2004 - redirects
        message = f"HTTP {status}, a redirect to {headers.get('Location', 'nowhere')}"
    return Verdict(_by_status(status), f"HTTP_{status}", message)


def _is_success(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004


def _parse(body: bytes | bytearray) -> tuple[_Answer, bytes | memoryview | None]:
    """The fields of an answer, and the characters of its picture if it has that field.

    A parser looks at each character of a megabyte; a search for the next quote does not. So the
    picture is cut out first, where that gives what a parser would give. Raises as the decoder.
    """
    found = _PICTURE_FIELD.search(body)
    end = body.find(b'"', found.end()) if found else -1
    if found and end > 0 and body.find(b"\\", found.end(), end) < 0:
        rest = body[: found.end()] + body[end:]
        answer = _DECODER.decode(rest)
        if answer.image_file == b'""' and rest.count(_PICTURE_NAME) == 1:  # its own, no other's
            return answer, memoryview(body)[found.end() : end]
    answer = _DECODER.decode(body)
    return answer, _text(answer.image_file)


def _text(raw: msgspec.Raw) -> bytes | None:
    """The characters of a JSON string; None if it is none."""
    if bytes(memoryview(raw)[:1]) != b'"':
        return None
    text = bytes(memoryview(raw)[1:-1])
    if b"\\" in text:  # some encoders write "\/"
        with suppress(ValueError, msgspec.DecodeError):
            return msgspec.json.decode(raw, type=str).encode()
    return text


def _decode(text: bytes | memoryview) -> bytes | None:
    """The bytes that base64 stands for; None if it is none."""
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        return None


def _task_id(answer: _Answer) -> str | None:
    for holder in (_small(answer.task, dict), _small(answer.metadata, dict)):
        if holder and isinstance(holder.get("task_id"), str):
            return str(holder["task_id"])
    return None


def _message(answer: _Answer) -> str | None:
    """The service's sentence, with the field at fault where it names one."""
    text = _small(answer.message, str)
    if metadata := _small(answer.metadata, dict):
        plain = {key: value for key, value in metadata.items() if isinstance(value, str | int)}
        fields = ", ".join(f"{key}: {value}" for key, value in plain.items())
        return f"{text or ''} ({fields})" if fields else text
    return text


PROVIDER = Provider(
    base_url="https://api.novita.ai",
    path="/v3/reimagine",
    system="Novita AI Reimagine",
    key_variable="NOVITA_API_KEY",
    authorization=lambda key: {"Authorization": f"Bearer {key}"},
    build=build,
    content_type="application/json",
    judge=judge,
)
