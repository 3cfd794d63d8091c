"""A provider for batch-reimagine: how to ask Acme for a variation, and what its answers mean.

Acme is made up. A call posts the photo as it is, and gets a picture as it is:

    POST /v1/variations   X-Acme-Token: <key>      body: a JPEG or a PNG
    200 image/png | 4xx, 5xx {"error": {"code": "too_dark", "text": "…"}}

Pure functions: no socket, no sleep, no retry. Those are the tool's.
"""

from collections.abc import Mapping

import msgspec

from batch_reimagine.providers import Action, Ask, Provider, Request, Verdict, by_status

# Who must act? Every error that the service's reference lists has its line here.
BY_CODE = {
    "bad_token": Action.STOP_ACCOUNT,
    "no_credit": Action.STOP_ACCOUNT,
    "too_dark": Action.REJECT,
    "slow_down": Action.SLOW_DOWN,
    "busy": Action.RETRY,
}


class _Error(msgspec.Struct):
    code: str = ""
    text: str = ""


class _Errors(msgspec.Struct):
    error: _Error


def build(ask: Ask) -> Request:
    """The photo itself is the body; nothing can be chosen, and a call brings one picture."""
    png = ask.upload.data.startswith(b"\x89PNG")
    return Request((ask.upload.data,), "image/png" if png else "image/jpeg")


def judge(status: int, headers: Mapping[str, str], body: bytes | bytearray) -> Verdict:
    """Decide what an answer means. Never raises, whatever the bytes are."""
    if status == 200 and headers.get("Content-Type", "").startswith("image/"):  # noqa: PLR2004
        return Verdict(Action.KEEP, pictures=(bytes(body),), task_id=headers.get("X-Request-Id"))
    try:
        error = msgspec.json.decode(body, type=_Errors).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        error = _Error()  # a gateway's page, or nothing
    action = BY_CODE.get(error.code) or by_status(status)
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
