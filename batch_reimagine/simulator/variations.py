"""Image variations in OpenAI's shape: POST /v1/images/variations, and below DeepInfra's path.

Sources: OpenAI's reference of "Create image variation" and its error codes (no money is a 429),
DeepInfra's page of FLUX.1 Redux [dev] (`n` up to 4, `b64_json` alone), and published captures of
its errors, `{"detail": {"error": …}}`. DeepInfra's statuses are not stated; 402 and 403 are taken.
"""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pybase64
from aiohttp import web

from batch_reimagine.simulator import answers
from batch_reimagine.simulator.answers import Answer
from batch_reimagine.simulator.contract import Ask, Form, bad, bearer, photo_of, sha256
from batch_reimagine.simulator.reasons import Refusal

_TEXTS: Final = {"model", "n", "response_format", "size", "user"}
_SIZE: Final = re.compile(r"([1-9]\d{1,3})x([1-9]\d{1,3})")

#: Reason → status, type and code, as OpenAI has them.
_OPENAI: Final = {
    "MISSING_API_KEY": (401, "invalid_request_error", None),
    "INVALID_API_KEY": (401, "invalid_request_error", "invalid_api_key"),
    "FAILED_TO_AUTH": (401, "invalid_request_error", "invalid_api_key"),
    "BILLING_BALANCE_NOT_ENOUGH": (429, "insufficient_quota", "insufficient_quota"),
    "NOT_ENOUGH_BALANCE": (429, "insufficient_quota", "credit_balance_exhausted"),
    "NOT_ENOUGH_BUDGET": (400, "invalid_request_error", "billing_hard_limit_reached"),
    "RATE_LIMIT_EXCEEDED": (429, "requests", "rate_limit_exceeded"),
    "ILLEGAL_IMAGE_CONTENT": (400, "invalid_request_error", "content_policy_violation"),
    "INVALID_IMAGE_FORMAT": (400, "invalid_request_error", "invalid_image_file"),
}


class Variations:
    """A form in, base64 in JSON out, several pictures a call."""

    name = "variations"
    most = 10
    image_type = "png"

    def key_of(self, headers: Mapping[str, str]) -> str:
        return bearer(headers)

    async def receive(self, request: web.Request) -> object:
        return await request.post()

    def read(self, received: Form, content_type: str) -> Ask:
        del content_type
        photo = photo_of(received, "image", texts=_TEXTS)
        n, size = str(received.get("n", "1")), received.get("size")
        if not (n.isascii() and n.isdigit() and 1 <= int(n) <= self.most):
            raise bad("n", f"must be from 1 to {self.most}")
        shape = None if size is None else _SIZE.fullmatch(str(size))
        if size is not None and shape is None:
            raise bad("size", "must be WIDTHxHEIGHT")
        self.check(received)
        return Ask(
            photo=photo,
            photo_sha256=sha256(photo),
            image_type=self.image_type,
            count=int(n),
            size=None if shape is None else (int(shape[1]), int(shape[2])),
        )

    def check(self, form: Form) -> None:
        """Refuse what this server alone does."""
        # The default is addresses of pictures, which nobody keeps here.
        if form.get("response_format") != "b64_json":
            raise bad("response_format", "must be b64_json here")

    def words(self, error: Refusal) -> tuple[int, dict[str, Any]]:
        kind = "server_error" if error.status >= 500 else "invalid_request_error"  # noqa: PLR2004
        status, type_, code = _OPENAI.get(error.reason, (error.status, kind, None))
        said = {"message": error.message, "type": type_, "param": None, "code": code}
        return status, {"error": said}

    def success(
        self, pictures: Sequence[bytes], ask: Ask, task_id: str, left: int, *, spoilt: bool = False
    ) -> Answer:
        del ask, task_id, left
        data = [
            {"revised_prompt": None, "b64_json": "?*" * spoilt + pybase64.b64encode_as_string(one)}
            for one in pictures
        ]
        return answers.ok({"created": int(time.time()), "data": data})


class DeepInfra(Variations):
    """The same below another path, with its own limits and error words."""

    name = "deepinfra"
    most = 4
    image_type = "jpeg"

    def check(self, form: Form) -> None:
        if not form.get("model"):
            raise bad("model", "is required")
        if form.get("response_format", "b64_json") != "b64_json":
            raise bad("response_format", "must be b64_json")

    def words(self, error: Refusal) -> tuple[int, dict[str, Any]]:
        status = {"MISSING_API_KEY": 403, "BILLING_BALANCE_NOT_ENOUGH": 402}.get(error.reason)
        return status or error.status, {"detail": {"error": error.message}}
