"""A provider for batch-reimagine: how to ask Acme for a variation, and what its answers mean.

Acme is made up. A call posts the photo as it is, and gets a picture as it is:

    POST /v1/variations   X-Acme-Token: <key>      body: a JPEG or a PNG
    200 image/png | 4xx, 5xx {"error": {"code": "too_dark", "text": "…"}}

Pure functions: no socket, no sleep, no retry. Those are the tool's.
"""

from collections.abc import Mapping

import msgspec

from batch_reimagine.provider.contract import Action, Provider, Request, Verdict
from batch_reimagine.settings import Settings
from batch_reimagine.work import Upload

# Who must act? Every error that the service's reference lists has its line here.
BY_CODE = {
    "bad_token": Action.STOP_ACCOUNT,
    "no_credit": Action.STOP_ACCOUNT,
    "too_dark": Action.REJECT,
    "slow_down": Action.SLOW_DOWN,
    "busy": Action.RETRY,
}
BY_STATUS = {
    401: Action.STOP_ACCOUNT,
    402: Action.STOP_ACCOUNT,
    403: Action.STOP_ACCOUNT,
    404: Action.STOP_SERVICE,
    413: Action.REJECT,
    429: Action.SLOW_DOWN,
}


class _Error(msgspec.Struct):
    code: str = ""
    text: str = ""


class _Errors(msgspec.Struct):
    error: _Error


def build(upload: Upload, settings: Settings, count: int) -> Request:
    """The photo itself is the body."""
    del settings, count  # one picture a call; see `most_pictures`
    png = upload.data.startswith(b"\x89PNG")
    return Request((upload.data,), "image/png" if png else "image/jpeg")


def judge(status: int, headers: Mapping[str, str], body: bytes | bytearray) -> Verdict:
    """Decide what an answer means. Never raises, whatever the bytes are."""
    if status == 200 and headers.get("Content-Type", "").startswith("image/"):  # noqa: PLR2004
        return Verdict(Action.KEEP, pictures=(bytes(body),), task_id=headers.get("X-Request-Id"))
    try:
        error = msgspec.json.decode(body, type=_Errors).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        error = _Error()  # a gateway's page, or nothing
    action = BY_CODE.get(error.code) or BY_STATUS.get(status)
    if action is None:  # one refusal that nobody knows is the picture's; several are not
        action = Action.REJECT_UNKNOWN if 400 <= status < 500 else Action.RETRY  # noqa: PLR2004
    if 300 <= status < 400:  # noqa: PLR2004 - a redirect is never followed
        action = Action.STOP_SERVICE
    return Verdict(action, error.code.upper() or f"HTTP_{status}", error.text or None)


PROVIDER = Provider(
    name="acme",
    system="Acme Variations 2",
    base_url="https://api.acme.example",
    path="/v1/variations",
    key_variable="ACME_TOKEN",
    authorization=lambda key: {"X-Acme-Token": key},
    build=build,
    judge=judge,
    pricing="2 cents a picture",
)
