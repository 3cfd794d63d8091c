"""Clipdrop's Reimagine: POST /reimagine/v1/reimagine.

Source: the vendor's documentation, "Reimagine API" (clipdrop.co/apis/docs/reimagine): multipart,
the key in `x-api-key`, JPEG bytes back, credits in headers, errors as `{"error": "a sentence"}`
that only the status tells apart. Which statuses there are the page does not say; 400, 401, 402,
403, 406, 429 and 500 are in the vendor's other pages and in public clients.
"""

from collections.abc import Mapping

import msgspec

from batch_reimagine.kinds import kind_of
from batch_reimagine.provider.contract import Action, Ask, Provider, Request, Verdict
from batch_reimagine.provider.judging import (
    NO_JSON,
    by_status,
    is_success,
    malformed,
    small,
    unreadable,
)
from batch_reimagine.provider.multipart import form

_PICTURES = {"JPEG", "PNG", "WEBP"}
_LONGEST_NUMBER = 12  # digits; no account has more credits


class _Error(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw(b"null")


_DECODER = msgspec.json.Decoder(_Error)


def build(ask: Ask) -> Request:
    """The photo as a form; an answer holds one picture, and nothing can be chosen."""
    return form("image_file", ask.upload, {})


def judge(status: int, headers: Mapping[str, str], body: bytes | bytearray) -> Verdict:
    """Decide what an answer means. Never raises."""
    left = _credits(headers)
    if is_success(status):
        if kind_of(bytes(body[:64])) in _PICTURES:
            return Verdict(Action.KEEP, pictures=(bytes(body),), credits_left=left)
        said = _sentence(body)
        return malformed(said or f"{len(body)} bytes that are no picture")
    said = _sentence(body)
    if said is None:
        return unreadable(status, headers, body)
    return Verdict(by_status(status), f"HTTP_{status}", said, credits_left=left)


def _sentence(body: bytes | bytearray) -> str | None:
    try:
        return small(_DECODER.decode(body).error, str)
    except NO_JSON:
        return None


def _credits(headers: Mapping[str, str]) -> int | None:
    text = headers.get("x-remaining-credits", "").strip()
    plain = text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER
    return int(text) if plain else None


PROVIDER = Provider(
    name="clipdrop",
    system="Clipdrop Reimagine",
    base_url="https://clipdrop-api.co",
    path="/reimagine/v1/reimagine",
    key_variable="CLIPDROP_API_KEY",
    authorization=lambda key: {"x-api-key": key},
    build=build,
    judge=judge,
    rpm=60,
    knocks=True,  # image_file is required
    pricing="one credit a picture; what a credit costs depends on the pack that you bought",
)
