"""Image variations as OpenAI shaped them: multipart in, `{"data": [{"b64_json": …}]}` out.

Sources: OpenAI's API reference, "Create image variation" (its own endpoint is retired), and
DeepInfra's page of FLUX.1 Redux [dev] (the path, `n` from 1 to 4, `b64_json` alone, the price).
Errors come in OpenAI's shape, `{"error": {"message", "type", "code"}}`, or as FastAPI has them,
`{"detail": …}`; captures of DeepInfra show both. Rule: judge by `code`, then by `type`, then by
the status, because a 429 may mean that there is no money.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from batch_reimagine.kinds import kind_of
from batch_reimagine.provider.contract import Action, Ask, Option, Provider, Request, Verdict
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
from batch_reimagine.provider.multipart import form
from batch_reimagine.work import Upload

_ACCOUNT = [
    "invalid_api_key",
    "account_deactivated",
    "billing_not_active",
    "billing_hard_limit_reached",
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "unsupported_country_region_territory",
]
_PICTURE = [
    "content_policy_violation",
    "moderation_blocked",
    "image_generation_user_error",
    "invalid_image_file",
    "invalid_image_format",
]

BY_WORD: dict[str, Action] = {
    **dict.fromkeys(_ACCOUNT, Action.STOP_ACCOUNT),
    **dict.fromkeys(_PICTURE, Action.REJECT),
    "rate_limit_exceeded": Action.SLOW_DOWN,
    "model_not_found": Action.STOP_SERVICE,
    "server_error": Action.RETRY,
}

MOST_PICTURES = 10  # that a call may ask for, as OpenAI has it
_DEEPINFRA_MOST = 4
_PHOTO = "photo"  # of the option `size`
_GRID = 16  # pixels; diffusion models work on blocks, and FLUX makes other sizes fit these
_MOST_OBJECTS = 200  # in one answer's JSON; ten pictures need eleven
_NULL = msgspec.Raw(b"null")
_EMPTY: tuple[object, ...] = ("", {}, [], False)  # of an error: there is none
_PICTURES = {"JPEG", "PNG", "WEBP"}


class _Item(msgspec.Struct):
    b64_json: msgspec.Raw = _NULL
    url: msgspec.Raw = _NULL


class _Answer(msgspec.Struct):
    """Both shapes of a body at once; what can be large stays raw."""

    data: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL
    detail: msgspec.Raw = _NULL


_DECODER = msgspec.json.Decoder(_Answer)
_ITEMS = msgspec.json.Decoder(list[_Item])


def build(ask: Ask) -> Request:
    """The photo, the number of pictures and the options as a form; an empty one is left out."""
    texts = {"n": str(ask.count), "response_format": "b64_json"}
    if model := ask.options.get("model"):
        texts["model"] = model
    if size := ask.options.get("size"):
        texts["size"] = _size_of(ask.upload) if size == _PHOTO else size
    return form("image", ask.upload, texts)


def _size_of(upload: Upload) -> str:
    """The photo's own size, on the grid."""
    width, height = (max(1, round(side / _GRID)) * _GRID for side in (upload.width, upload.height))
    return f"{width}x{height}"


def judge(status: int, headers: Mapping[str, str], body: bytes | bytearray) -> Verdict:
    """Decide what an answer means. Never raises: what cannot be read is judged by its status."""
    try:
        # Counted before it is parsed: a small body must not unfold into millions of objects.
        answer = _DECODER.decode(body if body.count(b"{") <= _MOST_OBJECTS else b"")
    except NO_JSON:
        return unreadable(status, headers, body)
    failed = answer.error != _NULL and small(answer.error, object) not in _EMPTY
    if is_success(status):
        found = _pictures(answer.data)
        # What came was paid for, whatever else is said.
        if not failed or any(kind_of(data[:64]) in _PICTURES for data in found.pictures):
            return found
    word, message = _error(answer)
    # A 200 with an error: no status was meant, so without a known word it is a server's fault.
    meant = 500 if is_success(status) else status
    if word is None and message is None and not failed:
        return unreadable(status, headers, body)
    action = BY_WORD.get(word or "") or by_status(meant)
    return Verdict(action, word or f"HTTP_{meant}", message)


def _pictures(data: msgspec.Raw) -> Verdict:
    try:
        items = _ITEMS.decode(data)
    except NO_JSON:
        return malformed("no pictures in the answer")
    texts = [text_of(item.b64_json) for item in items]
    if not any(texts) and any(text_of(item.url) for item in items):
        # Each such answer is paid for, and none can be kept: asking again costs again.
        return Verdict(
            Action.STOP_SERVICE,
            "URL_ANSWER",
            "the server answers with addresses of pictures where response_format=b64_json was"
            " asked for; make it send the pictures themselves",
        )
    pictures = tuple((decoded(text) if text else None) or b"" for text in texts)
    if not any(pictures):
        return malformed("no picture in the answer that can be read")
    return Verdict(Action.KEEP, pictures=pictures)


def _error(answer: _Answer) -> tuple[str | None, str | None]:
    """The service's word for an error, and its sentence, wherever they stand."""
    for raw in (answer.error, answer.detail):
        said = small(raw, object)
        if isinstance(said, dict) and isinstance(said.get("error"), dict | str):
            said = said["error"]
        if isinstance(said, str) and said:
            return None, said
        if isinstance(said, list):  # FastAPI's, one entry a field at fault
            return None, "; ".join(map(_field, said[:5])) or None
        if isinstance(said, dict):
            return _word(said), _text(said.get("message"))
    return None, None


def _word(said: dict[str, Any]) -> str | None:
    """`code` where it says something, else `type`; a general type is no word."""
    for name in ("code", "type"):
        word = _text(said.get(name))
        if word in BY_WORD or (word and name == "code" and not word.isdigit()):
            return word
    return None


def _field(entry: object) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    where = entry.get("loc")
    names = [str(part) for part in where] if isinstance(where, list) else []
    return f"{'.'.join(names)}: {entry.get('msg')}" if names else str(entry.get("msg"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


_MODEL = re.compile(r"[\w.:/@+-]{0,200}", re.ASCII)
_SIZE = re.compile(rf"{_PHOTO}|[1-9]\d{{1,3}}x[1-9]\d{{1,3}}|", re.ASCII)
_SIZE_MEANS = "1024x1024 as the model knows it, or photo: as large as the photo sent"


def _provider(
    name: str,
    *,
    system: str,
    base_url: str | None,
    path: str,
    key_variable: str,
    key_needed: bool,
    options: Mapping[str, Option],
    most_pictures: int,
    pricing: str,
) -> Provider:
    return Provider(
        name=name,
        system=system,
        base_url=base_url,
        path=path,
        key_variable=key_variable,
        key_needed=key_needed,
        authorization=lambda key: {"Authorization": f"Bearer {key}"},
        build=build,
        judge=judge,
        options=options,
        most_pictures=most_pictures,
        knocks=True,  # image is required
        pricing=pricing,
    )


DEEPINFRA = _provider(
    "deepinfra",
    system="DeepInfra image variations",
    base_url="https://api.deepinfra.com",
    path="/v1/openai/images/variations",
    key_variable="DEEPINFRA_TOKEN",
    key_needed=True,
    options={
        "model": Option(
            "black-forest-labs/FLUX-1-Redux-dev",
            re.compile(r"[\w.:/@+-]{1,200}", re.ASCII),
            "a model's name, as DeepInfra lists it",
        ),
        "size": Option("1024x1024", _SIZE, _SIZE_MEANS),
    },
    most_pictures=_DEEPINFRA_MOST,
    pricing="by pixels: FLUX.1 Redux [dev] $0.012 for 1024 x 1024 in 25 steps",
)

VARIATIONS = _provider(
    "variations",
    system="OpenAI-shaped image variations",
    base_url=None,
    path="/v1/images/variations",
    key_variable="VARIATIONS_API_KEY",
    key_needed=False,
    options={
        "model": Option(
            "", _MODEL, "a model's name, as the server knows it; empty: its own choice"
        ),
        "size": Option("", _SIZE, f"{_SIZE_MEANS}; empty: the server's choice"),
    },
    most_pictures=MOST_PICTURES,
    pricing="a server of your own: whatever it costs you",
)
