"""Every row of the API's error table, over a real socket: retried, refused, or the run's end."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from batch_reimagine import refusals
from batch_reimagine.errors import AccountRefused, Halted, ServiceGone
from tests.support import (
    Answer,
    error,
    good,
    hang,
    jpeg,
    make_photos,
    pictures,
    png,
    reset,
    rows,
    run,
    scripted,
)

pytestmark = pytest.mark.usefixtures("short_waits")


def _page(status: int) -> tuple[int, bytes]:
    return status, b"<html>gateway</html>"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(error(500, "INTERNAL"), id="500 INTERNAL"),
        pytest.param(error(500, "BILLING_FAILED"), id="500 BILLING_FAILED"),
        pytest.param(error(500, "CREATE_TASK_FAILED"), id="500 CREATE_TASK_FAILED"),
        pytest.param(error(500, "GET_RESULT_FAILED"), id="500 GET_RESULT_FAILED"),
        pytest.param(error(500, "TASK_FAILED"), id="500 TASK_FAILED"),
        pytest.param(error(503, "SERVICE_NOT_AVAILABLE"), id="503 SERVICE_NOT_AVAILABLE"),
        pytest.param(_page(502), id="502 with a page"),
        pytest.param((503, b""), id="bare 503"),
        pytest.param((504, b""), id="bare 504"),
        pytest.param(error(429, "RATE_LIMIT_EXCEEDED"), id="429"),
        pytest.param((200, b"<html>hello</html>"), id="200 with a page"),
        pytest.param((200, b""), id="200 with nothing"),
        pytest.param((200, {"image_type": "png"}), id="200 without a picture"),
        pytest.param((200, {"image_file": "%%%", "image_type": "png"}), id="200, bad base64"),
        pytest.param(good(png()[:-9]), id="200 with half a PNG"),
        pytest.param(good(jpeg()[:-40], "jpeg"), id="200 with half a JPEG"),
        pytest.param(good(b"GIF89a" + bytes(40)), id="200 with no picture of these types"),
        pytest.param((200, {"code": 500, "reason": "INTERNAL"}), id="200 with an error body"),
        pytest.param(reset, id="connection reset"),
    ],
)
async def test_what_may_pass_is_tried_again(photo: Path, out: Path, answer: Answer) -> None:
    async with scripted(answer) as api:
        ran = await run(photo, out, base_url=api.url)

    assert ran.error is None
    assert len(api.seen) == 2
    assert api.seen[0].body == api.seen[1].body
    (row,) = rows(out)
    assert row["status"] == "done"
    assert row["attempts"] == len(row["http"]) == 2
    assert row["http"][1] == 200
    assert pictures(out) == ["photo-000_v01.png"]


async def test_a_call_that_hangs_is_cut_off_and_tried_again(photo: Path, out: Path) -> None:
    async with scripted(hang) as api:
        ran = await run(photo, out, base_url=api.url, timeout_s=0.2)

    assert ran.error is None
    assert rows(out)[0]["http"] == [None, 200]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(error(400, reason), id=reason)
        for reason in (
            "INVALID_REQUEST_BODY",
            "IMAGE_FILE_EXCEEDS_MAX_SIZE",
            "IMAGE_EXCEEDS_MAX_RESOLUTION",
            "INVALID_IMAGE_SIZE",
            "INVALID_IMAGE_FORMAT",
            "ILLEGAL_IMAGE_CONTENT",
            "SOMETHING_NEW",
        )
    ]
    + [pytest.param((413, b"too large"), id="bare 413"), pytest.param((400, b""), id="bare 400")],
)
async def test_a_refused_picture_is_never_asked_again(
    photo: Path, out: Path, answer: tuple[int, Any]
) -> None:
    async with scripted(answer) as api:
        ran = await run(photo, out, base_url=api.url, concurrency=1, variations=3)
        again = await run(photo, out, base_url=api.url, concurrency=1, variations=3)

    assert len(api.seen) == 1
    (row,) = rows(out)
    assert row["status"] == "rejected"
    assert row["attempts"] == 1
    assert ran.progress.failed == again.progress.failed == 1
    assert again.progress.failed_before == 1


async def test_refused_photos_are_tried_again_when_asked_or_when_they_change(
    photo: Path, out: Path
) -> None:
    async with scripted(*[error(400, "ILLEGAL_IMAGE_CONTENT")] * 2) as api:
        await run(photo, out, base_url=api.url)
        await run(photo, out, base_url=api.url, retry_failed=True)
        assert len(api.seen) == 2
        photo.write_bytes(jpeg(9))
        ran = await run(photo, out, base_url=api.url)

    assert len(api.seen) == 3
    assert ran.progress.made == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(error(status, reason), AccountRefused, id=f"{status} {reason}")
        for status, reason in (
            (400, "MISSING_API_KEY"),
            (400, "BILLING_BALANCE_NOT_ENOUGH"),
            (403, "NOT_ENOUGH_BALANCE"),
            (403, "NOT_ENOUGH_BUDGET"),
            (403, "MEMBER_BUDGET_NOT_ENOUGH"),
            (403, "BUDGET_NOT_ENOUGH"),
            (401, "FAILED_TO_AUTH"),
            (403, "INVALID_API_KEY"),
            (401, "BILLING_AUTH_FAILED"),
            (403, "API_NOT_ALLOWED"),
            (403, "FEATURE_NOT_ALLOWED"),
            (403, "NEED_REAL_NAME_VERIFY"),
            (400, "USER_IS_LOCKED"),
            (403, "BANNED_USER"),
            (429, "ANONYMOUS_ACCESS_QUOTA_EXCEEDS"),
        )
    ]
    + [
        pytest.param((402, b""), AccountRefused, id="bare 402"),
        pytest.param((401, b""), AccountRefused, id="bare 401"),
        pytest.param((403, b"<html>"), AccountRefused, id="bare 403"),
        pytest.param(
            (200, {"code": 403, "reason": "INVALID_API_KEY"}), AccountRefused, id="200, bad key"
        ),
        pytest.param(error(404, "API_NOT_FOUND"), ServiceGone, id="404 API_NOT_FOUND"),
        pytest.param((404, b"<html>"), ServiceGone, id="bare 404"),
    ],
)
async def test_what_only_the_operator_can_mend_stops_the_run(
    tmp_path: Path, out: Path, answer: tuple[int, Any], kind: type[Exception]
) -> None:
    make_photos(tmp_path / "photos", 6)
    async with scripted(good(), answer) as api:
        stopped = await run(tmp_path / "photos", out, base_url=api.url, concurrency=1)

        assert isinstance(stopped.error, kind)
        assert len(api.seen) == 2
        assert [row["status"] for row in rows(out)] == ["done"]
        assert stopped.progress.failed == 0

        resumed = await run(tmp_path / "photos", out, base_url=api.url)

    assert resumed.error is None
    assert len(api.seen) == 7
    assert len(pictures(out)) == 6


async def test_calls_in_flight_at_a_stop_are_finished_and_kept(tmp_path: Path, out: Path) -> None:
    make_photos(tmp_path / "photos", 12)
    gate = asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        await gate.wait()
        return web.json_response(good()[1])

    async def broke(_: web.Request) -> web.StreamResponse:
        asyncio.get_running_loop().call_later(0.1, gate.set)
        status, body = error(400, "BILLING_BALANCE_NOT_ENOUGH")
        return web.json_response(body, status=status)

    async with scripted(slow, slow, slow, broke) as api:
        ran = await run(tmp_path / "photos", out, base_url=api.url, concurrency=4)

    assert isinstance(ran.error, AccountRefused)
    assert len(api.seen) == 4
    assert len(pictures(out)) == len(rows(out)) == 3


async def test_five_photos_in_a_row_with_the_same_unknown_refusal_stop_the_run(
    tmp_path: Path, out: Path
) -> None:
    make_photos(tmp_path / "photos", 12)
    async with scripted(*[error(400, "NEW_RULE")] * 12) as api:
        ran = await run(tmp_path / "photos", out, base_url=api.url, concurrency=1)

    assert isinstance(ran.error, Halted)
    assert len(api.seen) == 5


async def test_attempts_are_bounded_and_a_later_run_tries_again(photo: Path, out: Path) -> None:
    async with scripted(*[error(500, "INTERNAL")] * 3) as api:
        ran = await run(photo, out, base_url=api.url, attempts=3)
        assert len(api.seen) == 3
        again = await run(photo, out, base_url=api.url, attempts=3)

    assert ran.error is None
    assert ran.progress.exhausted == 1
    assert [row["status"] for row in rows(out)] == ["exhausted", "done"]
    assert rows(out)[0]["http"] == [500, 500, 500]
    assert again.progress.made == 1


async def test_a_task_that_fails_on_a_picture_is_tried_three_times(photo: Path, out: Path) -> None:
    async with scripted(*[error(500, "TASK_FAILED")] * 9) as api:
        await run(photo, out, base_url=api.url, attempts=9)

    assert len(api.seen) == 3
    assert rows(out)[0]["reason"] == "TASK_FAILED"


async def test_elapsed_time_bounds_the_attempts_too(photo: Path, out: Path) -> None:
    async with scripted(*[error(429, "RATE_LIMIT_EXCEEDED")] * 99, headers={}) as api:
        ran = await run(photo, out, base_url=api.url, attempts=2, retry_for_s=1.2)

    assert ran.progress.exhausted == 1
    assert 2 <= len(api.seen) < 9


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(lambda: "1", id="seconds"),
        pytest.param(
            lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True),
            id="date",
        ),
    ],
)
async def test_retry_after_is_honoured(photo: Path, out: Path, value: Any) -> None:
    loop = asyncio.get_running_loop()
    times: list[float] = []

    async def refuse(_: web.Request) -> web.StreamResponse:
        times.append(loop.time())
        status, body = error(503, "SERVICE_NOT_AVAILABLE")
        return web.json_response(body, status=status, headers={"Retry-After": value()})

    async def answer(_: web.Request) -> web.StreamResponse:
        times.append(loop.time())
        return web.json_response(good()[1])

    async with scripted(refuse, answer) as api:
        await run(photo, out, base_url=api.url)

    assert 1.0 <= times[1] - times[0] < 3.5
    assert len(api.seen) == 2


@pytest.mark.parametrize("value", ["-5", "soon", "", "nan", "Thu, 01 Jan 1970 00:00:00 GMT"])
async def test_an_absurd_retry_after_does_not_hold_the_run(
    photo: Path, out: Path, value: str
) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        status, body = error(503, "SERVICE_NOT_AVAILABLE")
        return web.json_response(body, status=status, headers={"Retry-After": value})

    async with asyncio.timeout(5), scripted(refuse) as api:
        ran = await run(photo, out, base_url=api.url)

    assert ran.progress.made == 1


async def test_a_retry_after_of_days_ends_the_run(photo: Path, out: Path) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        status, body = error(429, "RATE_LIMIT_EXCEEDED")
        return web.json_response(body, status=status, headers={"Retry-After": "864000"})

    async with scripted(refuse) as api:
        ran = await run(photo, out, base_url=api.url)

    assert isinstance(ran.error, ServiceGone)
    assert rows(out) == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed(photo: Path, out: Path, status: int) -> None:
    async with scripted() as elsewhere:

        async def redirect(_: web.Request) -> web.StreamResponse:
            return web.Response(
                status=status, headers={"Location": elsewhere.url + "/v3/reimagine"}
            )

        async with scripted(redirect) as api:
            ran = await run(photo, out, base_url=api.url)

    assert isinstance(ran.error, ServiceGone)
    assert elsewhere.seen == []
    assert pictures(out) == []


async def test_nobody_there_ends_the_run_and_marks_nothing(
    photo: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "ABSENT_S", 0.5)
    async with scripted() as api:
        url = api.url  # its port is free again now
    ran = await run(photo, out, base_url=url, no_wait=True)

    assert isinstance(ran.error, ServiceGone)
    assert url in str(ran.error)
    assert rows(out) == []


async def test_the_task_id_is_kept_for_the_services_support(photo: Path, out: Path) -> None:
    async with scripted(good(task={"task_id": "t-1", "status": "ok"})) as api:
        await run(photo, out, base_url=api.url)

    assert rows(out)[0]["task_id"] == "t-1"


async def test_a_servers_text_is_bounded_clean_and_without_the_key(photo: Path, out: Path) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        key = request.headers["Authorization"].removeprefix("Bearer ")
        text = f"\x1b[31mno {key} {key[:12]} {base64.b64encode(key.encode()).decode()}" + "x" * 5000
        return web.json_response(
            {"code": 400, "reason": "INVALID_IMAGE_SIZE", "message": text}, status=400
        )

    async with scripted(echo) as api:
        ran = await run(photo, out, base_url=api.url)

    message = rows(out)[0]["message"]
    assert "sk_test" not in message
    assert message.isprintable()
    assert len(message) <= 300
    assert "[key]" in message
    assert "sk_test" not in str(ran)
