"""Every answer that the service is known to give is judged as the API's table says."""

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batch_reimagine.provider import PROVIDERS, novita
from batch_reimagine.provider.contract import Action, Ask, Verdict
from batch_reimagine.work import Upload

PICTURE = bytes(range(256)) * 3
ENCODED = base64.b64encode(PICTURE).decode()


def judge(status: int, body: Any, headers: dict[str, str] | None = None) -> Verdict:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return novita.judge(status, headers or {}, data)


def error(status: int, reason: Any, message: Any = "no", metadata: Any = None) -> dict[str, Any]:
    return {"code": status, "reason": reason, "message": message, "metadata": metadata or {}}


TABLE = [
    (Action.REJECT, 400, "INVALID_REQUEST_BODY"),
    (Action.REJECT, 400, "IMAGE_FILE_EXCEEDS_MAX_SIZE"),
    (Action.REJECT, 400, "IMAGE_EXCEEDS_MAX_RESOLUTION"),
    (Action.REJECT, 400, "INVALID_IMAGE_SIZE"),
    (Action.REJECT, 400, "INVALID_IMAGE_FORMAT"),
    (Action.REJECT, 400, "ILLEGAL_IMAGE_CONTENT"),
    (Action.STOP_ACCOUNT, 400, "MISSING_API_KEY"),
    (Action.STOP_ACCOUNT, 400, "BILLING_BALANCE_NOT_ENOUGH"),
    (Action.STOP_ACCOUNT, 403, "NOT_ENOUGH_BALANCE"),
    (Action.STOP_ACCOUNT, 403, "NOT_ENOUGH_BUDGET"),
    (Action.STOP_ACCOUNT, 403, "MEMBER_BUDGET_NOT_ENOUGH"),
    (Action.STOP_ACCOUNT, 403, "BUDGET_NOT_ENOUGH"),
    (Action.STOP_ACCOUNT, 401, "FAILED_TO_AUTH"),
    (Action.STOP_ACCOUNT, 403, "INVALID_API_KEY"),
    (Action.STOP_ACCOUNT, 401, "BILLING_AUTH_FAILED"),
    (Action.STOP_ACCOUNT, 403, "API_NOT_ALLOWED"),
    (Action.STOP_ACCOUNT, 403, "FEATURE_NOT_ALLOWED"),
    (Action.STOP_ACCOUNT, 403, "NEED_REAL_NAME_VERIFY"),
    (Action.STOP_ACCOUNT, 400, "USER_IS_LOCKED"),
    (Action.STOP_ACCOUNT, 400, "BANNED_USER"),
    (Action.STOP_ACCOUNT, 429, "ANONYMOUS_ACCESS_QUOTA_EXCEEDS"),
    (Action.SLOW_DOWN, 429, "RATE_LIMIT_EXCEEDED"),
    (Action.STOP_SERVICE, 404, "API_NOT_FOUND"),
    (Action.RETRY, 500, "BILLING_FAILED"),
    (Action.RETRY, 500, "CREATE_TASK_FAILED"),
    (Action.RETRY, 500, "GET_RESULT_FAILED"),
    (Action.RETRY, 500, "INTERNAL"),
    (Action.RETRY_TWICE, 500, "TASK_FAILED"),
    (Action.RETRY, 503, "SERVICE_NOT_AVAILABLE"),
]
ROWS = [pytest.param(a, s, r, id=f"{s} {r} → {a.value}") for a, s, r in TABLE]


@pytest.mark.parametrize(("action", "status", "reason"), ROWS)
def test_each_row_of_the_errors_table(action: Action, status: int, reason: str) -> None:
    verdict = judge(status, error(status, reason, "the service's words"))

    assert (verdict.action, verdict.reason) == (action, reason)
    assert "the service's words" in (verdict.message or "")
    assert verdict.pictures == ()


@pytest.mark.parametrize(("action", "status", "reason"), ROWS)
def test_the_reason_decides_whatever_the_status(action: Action, status: int, reason: str) -> None:
    others = {200, 400, 403, 404, 429, 500, 503} - {status}

    assert {judge(other, error(other, reason)).action for other in others} == {action}


@pytest.mark.parametrize(("action", "status", "reason"), ROWS)
def test_a_200_may_carry_an_error(action: Action, status: int, reason: str) -> None:
    verdict = judge(200, error(status, reason))

    assert (verdict.action, verdict.reason) == (action, reason)


BARE = [
    (Action.REJECT_UNKNOWN, 400),
    (Action.STOP_ACCOUNT, 401),
    (Action.STOP_ACCOUNT, 402),
    (Action.STOP_ACCOUNT, 403),
    (Action.STOP_SERVICE, 404),
    (Action.REJECT, 413),
    (Action.SLOW_DOWN, 429),
    (Action.RETRY, 500),
    (Action.RETRY, 502),
    (Action.RETRY, 503),
    (Action.RETRY, 504),
    (Action.RETRY, 599),
    (Action.STOP_SERVICE, 301),
    (Action.STOP_SERVICE, 307),
]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html><h1>Bad Gateway</h1></html>", id="HTML"),
        pytest.param(b'{"code": 50', id="half of a JSON"),
        pytest.param(b"[1, 2]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b'"error"', id="a string"),
        pytest.param(b"12", id="a number"),
        pytest.param(b"{}", id="an empty object"),
        pytest.param(b"\xff\xfe{", id="no UTF-8"),
    ],
)
@pytest.mark.parametrize(("action", "status"), [pytest.param(a, s, id=str(s)) for a, s in BARE])
def test_an_answer_without_a_readable_error_is_judged_by_its_status(
    action: Action, status: int, body: bytes
) -> None:
    verdict = judge(status, body)

    assert verdict.action is action
    assert verdict.reason == f"HTTP_{status}"


@pytest.mark.parametrize(("action", "status"), [pytest.param(a, s, id=str(s)) for a, s in BARE])
def test_a_reason_that_nobody_knows_is_judged_by_its_status(action: Action, status: int) -> None:
    verdict = judge(status, error(status, "SOMETHING_NEW"))

    assert (verdict.action, verdict.reason) == (action, "SOMETHING_NEW")


@pytest.mark.parametrize("reason", [None, 7, 1.5, True, [], ["INTERNAL"], {"a": 1}, ""])
def test_a_reason_of_a_wrong_type_is_none(reason: Any) -> None:
    verdict = judge(500, error(500, reason))

    assert (verdict.action, verdict.reason) == (Action.RETRY, "HTTP_500")


@pytest.mark.parametrize("message", [None, 7, [], {"en": "no"}])
@pytest.mark.parametrize("metadata", [None, 7, [], "text", {}])
def test_a_message_or_metadata_of_a_wrong_type_hides_no_reason(message: Any, metadata: Any) -> None:
    body = error(400, "INVALID_IMAGE_FORMAT", message) | {"metadata": metadata}

    assert judge(400, body).action is Action.REJECT


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"{}", b"[]", b'{"image_file": null}'])
def test_a_200_without_a_picture_is_no_success(body: bytes) -> None:
    verdict = judge(200, body)

    assert (verdict.action, verdict.reason) == (Action.RETRY, "MALFORMED_ANSWER")


@pytest.mark.parametrize(
    "image", ["", "not base64!", "AAA", "data:image/png;base64,AAAA", "ä", 7, None, [], {}, True]
)
def test_a_200_whose_picture_is_no_base64_is_no_success(image: Any) -> None:
    verdict = judge(200, {"image_file": image, "image_type": "png"})

    assert verdict.action is Action.RETRY
    assert verdict.pictures == ()


def test_a_200_with_a_code_alone_means_that_code() -> None:
    assert judge(200, {"code": 429, "message": "slow"}).action is Action.SLOW_DOWN
    assert judge(200, {"code": 402}).action is Action.STOP_ACCOUNT


def test_a_200_with_a_picture_is_kept_with_its_task_id() -> None:
    verdict = judge(
        200,
        {
            "image_file": ENCODED,
            "image_type": "png",
            "task": {"task_id": "t-1", "status": "TASK_STATUS_SUCCEED"},
        },
    )

    assert (verdict.action, verdict.pictures, verdict.task_id) == (Action.KEEP, (PICTURE,), "t-1")


@pytest.mark.parametrize("code", [0, 200, None, "200"])
@pytest.mark.parametrize("reason", [None, ""])
def test_a_picture_beside_an_empty_error_is_kept(code: Any, reason: Any) -> None:
    body = {"image_file": ENCODED, "code": code, "reason": reason, "message": ""}

    assert judge(200, body).pictures == (PICTURE,)


def test_an_error_beside_a_picture_is_an_error() -> None:
    body = error(400, "ILLEGAL_IMAGE_CONTENT") | {"image_file": ENCODED}

    verdict = judge(200, body)

    assert (verdict.action, verdict.pictures) == (Action.REJECT, ())


@pytest.mark.parametrize(
    "escape",
    [
        pytest.param(lambda text: text.replace("/", "\\/"), id="slashes escaped"),
        pytest.param(lambda text: text.replace("+", "\\u002b"), id="plus signs as code points"),
        pytest.param(lambda text: text.replace("A", "\\u0041"), id="letters as code points"),
    ],
)
@pytest.mark.parametrize("space", ["", " ", "\n\t  "])
def test_escapes_and_white_space_of_json_do_not_hurt_the_picture(escape: Any, space: str) -> None:
    picture = b"\xff\xff\xfe\xfb\xef\xbe\0\0\0" * 50
    text = escape(base64.b64encode(picture).decode())
    body = f'{space}{{"image_file"{space}:{space}"{text}"{space}}}{space}'.encode()

    assert judge(200, body).pictures == (picture,)


OTHER = base64.b64encode(b"another picture than the answer's own").decode()


@pytest.mark.parametrize(
    ("body", "picture"),
    [
        (f'{{"task": {{"image_file": "{OTHER}"}}, "image_file": "{ENCODED}"}}', PICTURE),
        (f'{{"image_file": "{ENCODED}", "task": {{"image_file": "{OTHER}"}}}}', PICTURE),
        (f'{{"task": {{"image_file": "{OTHER}"}}}}', None),
        (f'{{"message": "\\"image_file\\": \\"{OTHER}\\"", "image_file": "{ENCODED}"}}', PICTURE),
        (f'{{"task": {{"image_file": "{OTHER}"}}, "image_file": ""}}', None),
        (f'{{"task": ["image_file", "{OTHER}"], "image_file": "{ENCODED}"}}', PICTURE),
        (f'{{"image_file": "{ENCODED}"', None),
        (f'{{"image_file": "{ENCODED}"}} and more', None),
        (f'{{"image_file": "{ENCODED}", "task": ', None),
        (f'["image_file", "{ENCODED}"]', None),
    ],
)
def test_only_the_answers_own_picture_is_its_picture(body: str, picture: bytes | None) -> None:
    assert judge(200, body.encode()).pictures == (() if picture is None else (picture,))


@given(st.binary(min_size=1, max_size=2000))
def test_every_picture_comes_back_as_it_was_sent(picture: bytes) -> None:
    verdict = judge(200, {"image_file": base64.b64encode(picture).decode()})

    assert verdict.pictures == (picture,)


@pytest.mark.parametrize("field", ["task", "metadata"])
def test_an_errors_task_id_is_kept(field: str) -> None:
    assert judge(500, error(500, "TASK_FAILED") | {field: {"task_id": "t-9"}}).task_id == "t-9"


@pytest.mark.parametrize("task_id", [7, None, [], {}])
def test_a_task_id_of_a_wrong_type_is_none(task_id: Any) -> None:
    assert judge(200, {"image_file": ENCODED, "task": {"task_id": task_id}}).task_id is None


def test_the_field_at_fault_is_told() -> None:
    verdict = judge(400, error(400, "INVALID_REQUEST_BODY", "bad", {"image_file": "too wide"}))

    assert verdict.message == "bad (image_file: too wide)"


def test_a_redirect_tells_where_it_pointed() -> None:
    verdict = judge(307, b"", {"Location": "http://elsewhere/"})

    assert verdict.action is Action.STOP_SERVICE
    assert "http://elsewhere/" in (verdict.message or "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
KNOWN = st.sampled_from(["image_file", "task", "code", "reason", "message", "metadata", "task_id"])
HUGE = b"9" * 5000
DEEP = b"[" * 100_000 + b"]" * 100_000


@settings(max_examples=400)
@given(
    st.integers(100, 599) | st.integers(),
    st.binary(max_size=60)
    | st.dictionaries(KNOWN | st.text(max_size=4), JSON).map(
        lambda body: json.dumps(body).encode()
    ),
)
@example(200, b'{"code": ' + HUGE + b"}")
@example(400, b'{"metadata": {"a": ' + HUGE + b"}}")
@example(200, b'{"image_file": ' + HUGE + b"}")
@example(200, b'{"image_file": "\\ud800"}')
@example(400, b'{"message": "\\udfff", "reason": "\\ud800"}')
@example(500, b'{"reason": "\xff"}')
@example(200, b'{"image_file": "\xff\xfe"}')
@example(200, b'{"code": 1e400}')
@example(200, b'{"code": NaN}')
def test_no_answer_breaks_the_judge(status: int, body: bytes) -> None:
    verdict = novita.judge(status, {}, body)

    assert isinstance(verdict.action, Action)
    assert bool(verdict.pictures) == (verdict.action is Action.KEEP)
    assert verdict.action is Action.KEEP or verdict.reason
    assert verdict.action is not Action.KEEP or 200 <= status < 300
    json.dumps([verdict.reason, verdict.message, verdict.task_id]).encode()


@pytest.mark.parametrize("field", ["task", "metadata", "image_file", "message", "anything"])
def test_an_answer_nested_a_hundred_thousand_deep_is_a_fault_like_others(field: str) -> None:
    verdict = novita.judge(500, {}, b'{"' + field.encode() + b'": ' + DEEP + b"}")

    assert verdict.action is Action.RETRY


UPLOAD = Upload(PICTURE, 3, 4, None)


@pytest.mark.parametrize(
    ("chosen", "extra"),
    [
        pytest.param({}, None, id="nothing chosen"),
        pytest.param({"type": "webp"}, {"response_image_type": "webp"}, id="type"),
        pytest.param({"enterprise": True}, {"enterprise_plan": {"enabled": True}}, id="enterprise"),
        pytest.param(
            {"type": "jpeg", "enterprise": True},
            {"response_image_type": "jpeg", "enterprise_plan": {"enabled": True}},
            id="both",
        ),
    ],
)
def test_the_body_is_the_documented_one(
    chosen: dict[str, Any], extra: dict[str, Any] | None
) -> None:
    request = novita.build(Ask(upload=UPLOAD, **chosen))
    body = json.loads(b"".join(request.parts))

    assert base64.b64decode(body.pop("image_file"), validate=True) == PICTURE
    assert body == ({} if extra is None else {"extra": extra})


def test_two_variations_are_identical_requests() -> None:
    assert novita.build(Ask(upload=UPLOAD)) == novita.build(Ask(upload=UPLOAD, count=9))


def test_the_key_stands_in_the_header_and_nowhere_else() -> None:
    provider = PROVIDERS["novita"]

    assert provider.authorization("k") == {"Authorization": "Bearer k"}
    assert (provider.base_url, provider.path) == ("https://api.novita.ai", "/v3/reimagine")
