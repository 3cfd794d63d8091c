"""Clipdrop's Reimagine: POST /reimagine/v1/reimagine.

Source: the vendor's page "Reimagine API". A form in, JPEG out, credits in headers. It shows one
error, `{"error": "No api key provided"}`; the statuses are those of the API's facts, the other
sentences are made up.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pybase64
from aiohttp import web

from batch_reimagine.simulator.answers import Answer
from batch_reimagine.simulator.contract import Ask, Form, photo_of, sha256
from batch_reimagine.simulator.reasons import Refusal

#: Where it is not the status of the reasons' own table.
_STATUS: Final = {
    "MISSING_API_KEY": 401,
    "FAILED_TO_AUTH": 401,
    "BILLING_BALANCE_NOT_ENOUGH": 402,
    "NOT_ENOUGH_BALANCE": 402,
    "INVALID_IMAGE_FORMAT": 406,
}
_SENTENCES: Final = {
    "MISSING_API_KEY": "No api key provided",
    "INVALID_API_KEY": "Invalid api key",
    "BILLING_BALANCE_NOT_ENOUGH": "Not enough credits",
    "RATE_LIMIT_EXCEEDED": "Too many requests",
}


class Clipdrop:
    """A form in, a picture out."""

    name = "clipdrop"

    def key_of(self, headers: Mapping[str, str]) -> str:
        return headers.get("x-api-key", "").strip()

    async def receive(self, request: web.Request) -> object:
        return await request.post()

    def read(self, received: Form, content_type: str) -> Ask:
        del content_type
        photo = photo_of(received, "image_file", texts=set())
        return Ask(photo=photo, photo_sha256=sha256(photo), image_type="jpeg")

    def words(self, error: Refusal) -> tuple[int, dict[str, Any]]:
        said = _SENTENCES.get(error.reason, error.message)
        return _STATUS.get(error.reason, error.status), {"error": said}

    def success(
        self, pictures: Sequence[bytes], ask: Ask, task_id: str, left: int, *, spoilt: bool = False
    ) -> Answer:
        del ask, task_id
        (picture,) = pictures
        return Answer(
            status=200,
            body=pybase64.b64encode(picture) if spoilt else picture,
            outcome="paid",
            content_type="image/jpeg",
            headers={"x-remaining-credits": str(left), "x-credits-consumed": "1"},
        )
