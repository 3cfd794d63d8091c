"""Novita's Reimagine, and any server with its contract: POST /v3/reimagine.

Source of every rule: the API's facts, "The call" and "Errors". What they leave open is read
strictly, so that a client which passes here relies on nothing that was not stated.
"""

import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import pybase64
from aiohttp import web

from batch_reimagine.simulator import answers
from batch_reimagine.simulator.answers import Answer
from batch_reimagine.simulator.contract import MAX_FILE_BYTES, Ask, bad, bearer, sha256
from batch_reimagine.simulator.reasons import Refusal

IMAGE_TYPES: Final = ("png", "webp", "jpeg")


class Reimagine:
    """JSON with base64, both ways."""

    name = "reimagine"

    def key_of(self, headers: Mapping[str, str]) -> str:
        return bearer(headers)

    async def receive(self, request: web.Request) -> object:
        return await request.read()

    def read(self, received: bytes, content_type: str) -> Ask:
        if content_type != "application/json":
            raise bad("Content-Type", "is not application/json")
        try:
            document = msgspec.json.decode(received)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise bad("body", f"is not JSON: {error}") from None
        fields = _object(document, "body", {"image_file", "extra"})
        image_type = _image_type(fields.get("extra", {}))
        encoded = fields.get("image_file")
        if not isinstance(encoded, str) or not encoded:
            raise bad("image_file", "is required and must be a string")
        if encoded.startswith("data:"):
            raise bad("image_file", "must be bare base64, without a data URI's prefix")
        try:
            photo = pybase64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise bad("image_file", "is not base64") from None
        if len(photo) > MAX_FILE_BYTES:
            raise Refusal("IMAGE_FILE_EXCEEDS_MAX_SIZE", field="image_file")
        return Ask(photo=photo, photo_sha256=sha256(photo), image_type=image_type)

    def words(self, error: Refusal) -> tuple[int, dict[str, Any]]:
        return answers.flat(error)

    def success(
        self, pictures: Sequence[bytes], ask: Ask, task_id: str, left: int, *, spoilt: bool = False
    ) -> Answer:
        del left
        (picture,) = pictures
        return answers.ok(
            {
                "image_file": "?*" * spoilt + pybase64.b64encode_as_string(picture),
                "image_type": ask.image_type,
                "task": {"task_id": task_id, "status": "TASK_STATUS_SUCCEED"},
            }
        )


def _image_type(extra: object) -> str:
    options = _object(extra, "extra", {"response_image_type", "enterprise_plan"})
    plan = _object(options.get("enterprise_plan", {}), "extra.enterprise_plan", {"enabled"})
    if not isinstance(plan.get("enabled", False), bool):
        raise bad("extra.enterprise_plan.enabled", "must be true or false")
    image_type = options.get("response_image_type", "png")
    if image_type not in IMAGE_TYPES:
        raise bad("extra.response_image_type", f"must be one of {', '.join(IMAGE_TYPES)}")
    return str(image_type)


def _object(value: object, name: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise bad(name, "must be an object")
    for unknown in sorted(value.keys() - known):
        raise bad(unknown if name == "body" else f"{name}.{unknown}", "is unknown")
    return value
