"""Every provider keeps the same promises; what it makes of any answer is one of them."""

import base64
import json
import re
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_reimagine.errors import UsageError
from batch_reimagine.provider import PROVIDERS, ask_of, clipdrop, provider_of, variations
from batch_reimagine.provider.conformance import broken, faults_of
from batch_reimagine.provider.contract import Action, Ask, Option, Provider, Request, Verdict
from batch_reimagine.provider.multipart import form
from batch_reimagine.settings import Settings
from batch_reimagine.work import Upload
from tests.support import jpeg

EVERY = [pytest.param(provider, id=name) for name, provider in PROVIDERS.items()]


@pytest.mark.parametrize("provider", EVERY)
def test_a_provider_keeps_what_all_must_keep(provider: Provider) -> None:
    assert faults_of(provider) == []


def _spoilt(**changes: Any) -> Provider:
    return replace(PROVIDERS["clipdrop"], **changes)


def _keep_all(status: int, headers: Mapping[str, str], body: bytes | bytearray) -> Verdict:
    del status, headers
    return Verdict(Action.KEEP, pictures=(bytes(body),))


def _numbered(ask: Ask) -> Request:
    return form("image", ask.upload, {"n": str(int(ask.options["n"]))})


@pytest.mark.parametrize(
    ("provider", "says"),
    [
        pytest.param(_spoilt(judge=_keep_all), "no success", id="keeps whatever comes"),
        pytest.param(
            _spoilt(judge=lambda *_: Verdict(Action.RETRY)), "needs a reason", id="gives no reason"
        ),
        pytest.param(
            _spoilt(judge=lambda *_: Verdict(Action.RETRY, "X")), "no such status", id="one verdict"
        ),
        pytest.param(_spoilt(judge=lambda *_: json.loads("{")), "raises JSON", id="raises"),
        pytest.param(
            _spoilt(build=lambda *_: Request((b"no photo",), "text/plain")), "not in", id="no photo"
        ),
        pytest.param(_spoilt(authorization=lambda _: {}), "in no header", id="no key"),
        pytest.param(_spoilt(base_url="http://a/"), "base_url", id="not safe on its way"),
        pytest.param(_spoilt(key_variable="my key"), "key_variable", id="no variable"),
        pytest.param(
            _spoilt(options={"size": Option("x", re.compile("y"), "")}), "default", id="default"
        ),
        pytest.param(
            _spoilt(options={"size": Option("512", re.compile(r"\d*"), "")}),
            "size makes no difference",
            id="an option that is not sent",
        ),
        pytest.param(
            _spoilt(options={"size": Option("big", re.compile("big|huge"), "")}),
            "size makes no difference",
            id="a word that is not sent",
        ),
        pytest.param(
            _spoilt(options={"size": Option("big", re.compile("big"), "")}),
            "default 'big' is not in the call",
            id="the one value that is not sent",
        ),
        pytest.param(_spoilt(types=("png", "webp")), "webp makes no", id="a type that is not sent"),
        pytest.param(_spoilt(enterprise=True), "enterprise: it", id="enterprise is not sent"),
        pytest.param(_spoilt(most_pictures=3), "not say how many", id="a number that is not sent"),
        pytest.param(
            _spoilt(options={"n": Option("1", re.compile("[a-z0-9]*"), "")}, build=_numbered),
            "raises ValueError for a lawful",
            id="a pattern that allows too much",
        ),
    ],
)
def test_the_check_finds_what_a_provider_does_not_keep(provider: Provider, says: str) -> None:
    assert any(says in fault for fault in faults_of(provider))


SHAPED_WORDS = ["error", "detail", "data", "b64_json", "url", "code", "type", "message", "loc"]
WORDS = st.sampled_from([*SHAPED_WORDS, "msg", "reason", "image_file", "metadata", "task"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["insufficient_quota", "RATE_LIMIT_EXCEEDED", "AAAA", "%%%"])
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=10,
)
BODIES = st.binary(max_size=60) | st.dictionaries(WORDS, TREES, max_size=4).map(
    lambda body: json.dumps(body).encode()
)
HEADERS = st.dictionaries(
    st.sampled_from(["x-remaining-credits", "Location", "Content-Type"]), st.text(max_size=20)
)


@pytest.mark.parametrize("provider", EVERY)
@settings(max_examples=80)
@given(status=st.integers(100, 599) | st.just(200), body=BODIES, headers=HEADERS)
def test_no_answer_breaks_the_judge(
    provider: Provider, status: int, body: bytes, headers: dict[str, str]
) -> None:
    verdict = provider.judge(status, headers, bytearray(body))

    assert list(broken(verdict, status)) == []
    json.dumps([verdict.reason, verdict.message, verdict.task_id]).encode()


def test_a_body_of_many_objects_is_not_unfolded() -> None:
    body = b'{"data": [' + b"{}," * 300_000 + b"{}]}"

    tracemalloc.start()
    try:
        verdict = variations.judge(200, {}, body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert verdict.reason == "MALFORMED_ANSWER"
    assert peak < 1_000_000


def test_a_call_is_built_from_all_options_those_that_were_not_given_too() -> None:
    chosen = Settings(provider="deepinfra", provider_option=("size=512x512",))
    ask = ask_of(Upload(jpeg(), 48, 36, None), chosen, 3)

    assert ask.options == {"model": "black-forest-labs/FLUX-1-Redux-dev", "size": "512x512"}
    assert (ask.count, ask.type, ask.enterprise) == (3, None, False)


# What is refused before anything is sent.


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"provider": "clipdrop", "type": "png"}, "clipdrop gives no png on demand; it chooses"),
        ({"provider": "deepinfra", "type": "jpeg"}, "deepinfra gives no jpeg on demand"),
        ({"provider": "clipdrop", "enterprise": True}, "clipdrop has no Dedicated Endpoints"),
        ({"provider": "reimagine"}, "reimagine is a server of your own; say which"),
        ({"provider": "variations"}, "variations is a server of your own; say which"),
        ({"provider": "clipdrop", "provider_option": ["model=x"]}, "it has none"),
        ({"provider": "deepinfra", "provider_option": ["seed=1"]}, "known: model, size"),
        ({"provider": "deepinfra", "provider_option": ["size=big"]}, "1024x1024 as the model"),
        ({"provider": "deepinfra", "provider_option": ["model="]}, "a model's name"),
        ({"provider": "deepinfra", "provider_option": ["model=a\r\nb"]}, "is not possible"),
        ({"provider": "clip"}, "did you mean clipdrop?"),
    ],
)
def test_what_a_provider_does_not_know_is_refused_with_words(
    chosen: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        provider_of(Settings(**chosen))


# What its answers mean.

Judge = Callable[[int, Mapping[str, str], bytes], Verdict]
CLIPDROP, SHAPED = clipdrop.judge, variations.judge


def openai(code: Any, type_: Any = "invalid_request_error", message: str = "no") -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


@pytest.mark.parametrize(
    ("judge", "status", "body", "action", "reason"),
    [
        (CLIPDROP, 400, {"error": "bad input"}, Action.REJECT_UNKNOWN, "HTTP_400"),
        (CLIPDROP, 401, {"error": "No api key provided"}, Action.STOP_ACCOUNT, "HTTP_401"),
        (CLIPDROP, 402, {"error": "no credits"}, Action.STOP_ACCOUNT, "HTTP_402"),
        (CLIPDROP, 403, {"error": "wrong key"}, Action.STOP_ACCOUNT, "HTTP_403"),
        (CLIPDROP, 406, {"error": "unsupported"}, Action.REJECT_UNKNOWN, "HTTP_406"),
        (CLIPDROP, 413, {"error": "too large"}, Action.REJECT, "HTTP_413"),
        (CLIPDROP, 429, {"error": "too many"}, Action.SLOW_DOWN, "HTTP_429"),
        (CLIPDROP, 500, {"error": "internal"}, Action.RETRY, "HTTP_500"),
        (CLIPDROP, 200, {"error": "internal"}, Action.RETRY, "MALFORMED_ANSWER"),
        (SHAPED, 401, openai("invalid_api_key"), Action.STOP_ACCOUNT, "invalid_api_key"),
        (SHAPED, 401, openai(None), Action.STOP_ACCOUNT, "HTTP_401"),
        (SHAPED, 429, openai("insufficient_quota"), Action.STOP_ACCOUNT, "insufficient_quota"),
        (
            SHAPED,
            429,
            openai(None, "insufficient_quota"),
            Action.STOP_ACCOUNT,
            "insufficient_quota",
        ),
        (
            SHAPED,
            429,
            openai("credit_balance_exhausted", "insufficient_quota"),
            Action.STOP_ACCOUNT,
            "credit_balance_exhausted",
        ),
        (
            SHAPED,
            400,
            openai("billing_hard_limit_reached"),
            Action.STOP_ACCOUNT,
            "billing_hard_limit_reached",
        ),
        (SHAPED, 429, openai("rate_limit_exceeded"), Action.SLOW_DOWN, "rate_limit_exceeded"),
        (
            SHAPED,
            400,
            openai("content_policy_violation"),
            Action.REJECT,
            "content_policy_violation",
        ),
        (SHAPED, 400, openai("moderation_blocked"), Action.REJECT, "moderation_blocked"),
        (SHAPED, 400, openai("something_new"), Action.REJECT_UNKNOWN, "something_new"),
        (SHAPED, 400, openai(None), Action.REJECT_UNKNOWN, "HTTP_400"),
        (SHAPED, 400, openai(400), Action.REJECT_UNKNOWN, "HTTP_400"),
        (SHAPED, 404, openai("model_not_found"), Action.STOP_SERVICE, "model_not_found"),
        (SHAPED, 500, openai(None, "server_error"), Action.RETRY, "server_error"),
        (SHAPED, 503, openai(None), Action.RETRY, "HTTP_503"),
        (SHAPED, 200, openai("insufficient_quota"), Action.STOP_ACCOUNT, "insufficient_quota"),
        (SHAPED, 200, openai(None), Action.RETRY, "HTTP_500"),
        (SHAPED, 403, {"detail": {"error": "Not authenticated"}}, Action.STOP_ACCOUNT, "HTTP_403"),
        (SHAPED, 402, {"detail": {"error": "no balance"}}, Action.STOP_ACCOUNT, "HTTP_402"),
        (SHAPED, 429, {"detail": "too many"}, Action.SLOW_DOWN, "HTTP_429"),
        (
            SHAPED,
            422,
            {"detail": [{"loc": ["body", "size"], "msg": "not known"}]},
            Action.REJECT_UNKNOWN,
            "HTTP_422",
        ),
        (SHAPED, 200, {"data": []}, Action.RETRY, "MALFORMED_ANSWER"),
        (SHAPED, 200, {"data": [{"b64_json": "%%%"}]}, Action.RETRY, "MALFORMED_ANSWER"),
        (SHAPED, 200, {"data": [{"url": "http://a/b.png"}]}, Action.STOP_SERVICE, "URL_ANSWER"),
    ],
)
def test_each_row_of_the_errors_tables(
    judge: Judge, status: int, body: Any, action: Action, reason: str
) -> None:
    verdict = judge(status, {}, json.dumps(body).encode())

    assert (verdict.action, verdict.reason, verdict.pictures) == (action, reason, ())


@pytest.mark.parametrize(
    ("judge", "body", "says"),
    [
        (CLIPDROP, {"error": "no credits"}, "no credits"),
        (SHAPED, openai("x", message="no money"), "no money"),
        (SHAPED, {"detail": {"error": "no balance"}}, "no balance"),
        (SHAPED, {"error": "no luck"}, "no luck"),
        (SHAPED, {"detail": [{"loc": ["body", "size"], "msg": "unknown"}]}, "body.size: unknown"),
    ],
)
def test_the_services_own_sentence_is_told(judge: Judge, body: Any, says: str) -> None:
    assert judge(402, {}, json.dumps(body).encode()).message == says


def test_clipdrops_picture_is_kept_with_the_credits_that_are_left() -> None:
    verdict = CLIPDROP(200, {"x-remaining-credits": " 41 "}, jpeg())

    assert (verdict.action, verdict.pictures, verdict.credits_left) == (Action.KEEP, (jpeg(),), 41)


@pytest.mark.parametrize("said", ["", {}, [], False, None, {"code": "odd", "message": "late"}])
def test_pictures_that_were_paid_for_are_kept_whatever_is_said_beside_them(said: Any) -> None:
    data = [{"b64_json": base64.b64encode(jpeg()).decode()}]

    verdict = SHAPED(200, {}, json.dumps({"error": said, "data": data}).encode())

    assert (verdict.action, verdict.pictures) == (Action.KEEP, (jpeg(),))


def test_an_error_beside_what_is_no_picture_is_an_error() -> None:
    body = openai("insufficient_quota") | {"data": [{"b64_json": "AAAA"}]}
    said_nothing = {"error": {}, "data": []}

    assert SHAPED(200, {}, json.dumps(body).encode()).action is Action.STOP_ACCOUNT
    assert SHAPED(200, {}, json.dumps(said_nothing).encode()).reason == "MALFORMED_ANSWER"


def test_of_several_pictures_one_that_cannot_be_read_is_told_apart() -> None:
    one, two = (base64.b64encode(data).decode() for data in (jpeg(1), jpeg(2)))
    data = [{"b64_json": one}, {"b64_json": "%%%"}, {"revised_prompt": None}, {"b64_json": two}]

    verdict = SHAPED(200, {}, json.dumps({"created": 1, "data": data, "error": None}).encode())

    assert verdict.pictures == (jpeg(1), b"", b"", jpeg(2))
