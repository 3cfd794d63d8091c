"""Novita's Reimagine: POST /v3/reimagine.

Source: the vendor's API reference ("Reimagine", "Error codes") and published
captures of its answers. Rule of this file: judge by `reason` first, by HTTP
status second, because a 400 may mean no money and a 429 no key.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pybase64

from batch_reimagine.provider import billing
from batch_reimagine.provider.contract import Action, Ask, Provider, Request, Verdict
from batch_reimagine.provider.judging import (
    NO_JSON,
    by_status,
    decoded,
    is_success,
    malformed,
    small,
    text_of,
    unreadable,
)

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

_PICTURE_NAME = b'"image_file"'
_PICTURE_FIELD = re.compile(_PICTURE_NAME + rb'\s*:\s*"')
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


def build(ask: Ask) -> Request:
    """Give the JSON body in three parts; an answer holds one picture, whatever is asked for."""
    extra: dict[str, Any] = {}
    if ask.type:
        extra["response_image_type"] = ask.type
    if ask.enterprise:
        extra["enterprise_plan"] = {"enabled": True}
    tail = b'"}' if not extra else b'","extra":' + msgspec.json.encode(extra) + b"}"
    parts = b'{"image_file":"', pybase64.b64encode(ask.upload.data), tail
    return Request(parts, "application/json")


def judge(status: int, headers: Mapping[str, str], body: bytes | bytearray) -> Verdict:
    """Decide what an answer means. Never raises: what cannot be read is judged by its status."""
    try:
        answer, text = _parse(body)
    except NO_JSON:
        return unreadable(status, headers, body)
    task_id = _task_id(answer)
    reason = small(answer.reason, str) or None
    if is_success(status) and reason is None and text:
        picture = decoded(text)
        if picture is None:
            return malformed("image_file is not base64", task_id)
        return Verdict(Action.KEEP, pictures=(picture,), task_id=task_id)
    # A 200 may carry an error: then its own code is the status that was meant.
    meant = status
    if is_success(status):
        coded = small(answer.code, int) or 0
        if reason is None and not 300 <= coded < 600:  # noqa: PLR2004 - an HTTP error status
            return malformed("no picture in the answer", task_id)
        meant = coded if 300 <= coded < 600 else 500  # noqa: PLR2004
    action = BY_REASON.get(reason or "") or by_status(meant)
    return Verdict(action, reason or f"HTTP_{meant}", _message(answer), task_id=task_id)


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
    return answer, text_of(answer.image_file)


def _task_id(answer: _Answer) -> str | None:
    for holder in (small(answer.task, dict), small(answer.metadata, dict)):
        if holder and isinstance(holder.get("task_id"), str):
            return str(holder["task_id"])
    return None


def _message(answer: _Answer) -> str | None:
    """The service's sentence, with the field at fault where it names one."""
    text = small(answer.message, str)
    if metadata := small(answer.metadata, dict):
        plain = {key: value for key, value in metadata.items() if isinstance(value, str | int)}
        fields = ", ".join(f"{key}: {value}" for key, value in plain.items())
        return f"{text or ''} ({fields})" if fields else text
    return text


PROVIDER = Provider(
    name="novita",
    base_url="https://api.novita.ai",
    path="/v3/reimagine",
    system="Novita AI Reimagine",
    key_variable="NOVITA_API_KEY",
    authorization=lambda key: {"Authorization": f"Bearer {key}"},
    build=build,
    judge=judge,
    types=("png", "webp", "jpeg"),
    enterprise=True,
    knocks=True,  # image_file is required
    pricing="a price a picture, stated nowhere; your bill tells it",
    billing=billing.NOVITA,
)
