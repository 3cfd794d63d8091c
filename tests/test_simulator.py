"""The simulator against real clients over real sockets: what is sent is what its knobs promise."""

import asyncio
import hashlib
import io
import itertools
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pybase64
import pytest
from novita_client import NovitaClient
from PIL import Image, ImageDraw

from batch_reimagine.simulator import Behaviour, Server, serve
from batch_reimagine.simulator.behaviour import MALFORMED_KINDS
from batch_reimagine.simulator.limits import Bucket
from batch_reimagine.simulator.reasons import REASONS, Refusal

Start = Callable[..., Any]  # makes a Client of a new server from a Behaviour's knobs


def photo(
    kind: str = "PNG", size: tuple[int, int] = (48, 40), mode: str = "RGB", **more: Any
) -> bytes:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2), "red")
    image = image.convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(size))
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


PNG, JPEG = photo(), photo("JPEG")
PNG_SHA256 = hashlib.sha256(PNG).hexdigest()
BIG_JPEG = photo("JPEG", (1024, 1024), quality=95)


def ask(picture: bytes = PNG, **extra: Any) -> dict[str, Any]:
    return {"image_file": pybase64.b64encode_as_string(picture), "extra": extra}


class Client:
    """A plain HTTP client of one server; no retries, no opinions."""

    def __init__(self, server: Server, http: aiohttp.ClientSession) -> None:
        self.server, self._http = server, http

    async def post(
        self, body: Any = None, *, path: str = "/v3/reimagine", key: str | None = "Bearer k"
    ) -> tuple[int, dict[str, Any], aiohttp.ClientResponse]:
        headers = {"Content-Type": "application/json"} | ({"Authorization": key} if key else {})
        data = (
            body
            if isinstance(body, bytes)
            else msgspec.json.encode(ask() if body is None else body)
        )
        url = self.server.url + path
        async with self._http.post(url, data=io.BytesIO(data), headers=headers) as response:
            raw = await response.read()
        json = response.content_type == "application/json" and raw
        return response.status, msgspec.json.decode(raw) if json else {}, response

    async def get(self, path: str, key: str = "k") -> bytes:
        headers = {"Authorization": key}
        async with self._http.get(self.server.url + path, headers=headers) as response:
            return await response.read()

    async def settled(self) -> dict[str, Any]:
        """The counts once no call is under way: a client may know the end before the server."""
        async with asyncio.timeout(3):
            while self.server.stats()["in_flight_now"]:
                await asyncio.sleep(0.01)
        return self.server.stats()


@pytest.fixture
async def client() -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start(log: Path | None = None, **knobs: Any) -> Client:
            server = await stack.enter_async_context(serve(Behaviour(**knobs), log=log))
            timeout = aiohttp.ClientTimeout(total=5)
            http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
            return Client(server, http)

        yield start


def picture_in(answer: dict[str, Any]) -> Image.Image:
    image = Image.open(io.BytesIO(pybase64.b64decode(answer["image_file"], validate=True)))
    image.load()
    return image


@pytest.mark.parametrize("image_type", ["png", "webp", "jpeg"])
@pytest.mark.parametrize("sent", [PNG, JPEG, photo(mode="RGBA"), photo(mode="P"), photo(mode="L")])
async def test_any_photo_comes_back_varied_in_the_type_asked_for(
    client: Start, image_type: str, sent: bytes
) -> None:
    api = await client()

    status, answer, _ = await api.post(ask(sent, response_image_type=image_type))
    image = picture_in(answer)

    assert (status, answer["image_type"], image.format) == (200, image_type, image_type.upper())
    assert answer["task"]["task_id"]
    assert answer["task"]["status"] == "TASK_STATUS_SUCCEED"
    assert image.size == (48, 40)
    transparent = image_type != "jpeg" and sent == photo(mode="RGBA")
    assert image.has_transparency_data == transparent


async def test_png_is_the_default_and_says_what_it_is(client: Start) -> None:
    _, answer, _ = await (await client()).post({"image_file": ask()["image_file"]})

    assert picture_in(answer).info["Comment"].startswith("Simulated: no generative model")


async def test_successive_pictures_of_a_photo_all_differ_visibly(client: Start) -> None:
    api = await client()
    answers = [(await api.post())[1] for _ in range(8)]

    assert len({answer["image_file"] for answer in answers}) == 8
    thumbnails = [picture_in(answer).resize((8, 8)).tobytes() for answer in answers[:4]]
    thumbnails.append(Image.open(io.BytesIO(PNG)).resize((8, 8)).tobytes())
    for one, other in itertools.combinations(thumbnails, 2):
        assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one) > 4


@pytest.mark.parametrize(
    ("body", "reason", "field"),
    [
        pytest.param(b"", "INVALID_REQUEST_BODY", "body", id="empty body"),
        pytest.param(b"{", "INVALID_REQUEST_BODY", "body", id="not JSON"),
        pytest.param([], "INVALID_REQUEST_BODY", "body", id="no object"),
        pytest.param({"a": 1}, "INVALID_REQUEST_BODY", "a", id="unknown field"),
        pytest.param({}, "INVALID_REQUEST_BODY", "image_file", id="no image"),
        pytest.param({"image_file": 3}, "INVALID_REQUEST_BODY", "image_file", id="a number"),
        pytest.param({"image_file": "a?b="}, "INVALID_REQUEST_BODY", "image_file", id="base64"),
        pytest.param({"image_file": "YWJ"}, "INVALID_REQUEST_BODY", "image_file", id="padding"),
        pytest.param(
            {"image_file": "data:image/png;base64," + ask()["image_file"]},
            "INVALID_REQUEST_BODY", "image_file", id="data URI",
        ),
        pytest.param(
            ask(response_image_type="gif"),
            "INVALID_REQUEST_BODY", "extra.response_image_type", id="type",
        ),
        pytest.param(
            ask(response_image_type=["png"]),
            "INVALID_REQUEST_BODY", "extra.response_image_type", id="type is a list",
        ),
        pytest.param(
            ask(enterprise_plan={"enabled": "yes"}),
            "INVALID_REQUEST_BODY", "extra.enterprise_plan.enabled", id="enterprise",
        ),
        pytest.param(ask(seed=1), "INVALID_REQUEST_BODY", "extra.seed", id="unknown extra"),
        pytest.param(ask(b"hello"), "INVALID_IMAGE_FORMAT", "image_file", id="no picture"),
        pytest.param(ask(photo("WEBP")), "INVALID_IMAGE_FORMAT", "image_file", id="WebP"),
        pytest.param(ask(photo("GIF")), "INVALID_IMAGE_FORMAT", "image_file", id="GIF"),
        pytest.param(ask(PNG[:-12]), "INVALID_IMAGE_FORMAT", "image_file", id="PNG cut"),
        pytest.param(
            ask(BIG_JPEG[: len(BIG_JPEG) // 2]), "INVALID_IMAGE_FORMAT", "image_file", id="JPEG cut"
        ),
        pytest.param(
            ask(photo(size=(1025, 8))), "IMAGE_EXCEEDS_MAX_RESOLUTION", None, id="too wide"
        ),
        pytest.param(
            ask(PNG + bytes(30_000_001)), "IMAGE_FILE_EXCEEDS_MAX_SIZE", "image_file", id="30 MB"
        ),
    ],
)  # fmt: skip
async def test_a_wrong_request_is_refused_by_name(
    client: Start, body: Any, reason: str, field: str | None
) -> None:
    api = await client(images_per_minute=600, burst=10)

    status, answer, _ = await api.post(body)
    stats = await api.settled()

    assert (status, answer["code"], answer["reason"]) == (400, 400, reason)
    assert answer["metadata"].get("field") == field
    assert (stats["by_outcome"], stats["paid"]) == ({"refused": 1}, 0)


async def test_an_absurd_body_is_413(client: Start) -> None:
    status, answer, _ = await (await client()).post(b" " * 64_000_001)
    assert (status, answer["code"]) == (413, 413)


async def test_a_body_that_does_not_call_itself_json_is_refused(client: Start) -> None:
    api = await client()
    async with api._http.post(api.server.url + "/v3/reimagine", data=b"{}",
                              headers={"Authorization": "k"}) as response:  # fmt: skip
        assert (await response.json())["metadata"] == {"field": "Content-Type"}


@pytest.mark.parametrize(
    ("key", "status", "reason"),
    [("Bearer right", 200, None), ("right", 200, None), ("Bearer wrong", 403, "INVALID_API_KEY"),
     ("", 400, "MISSING_API_KEY"), ("Bearer ", 400, "MISSING_API_KEY")],
)  # fmt: skip
async def test_the_key_counts_with_and_without_bearer(
    client: Start, key: str, status: int, reason: str
) -> None:
    got, answer, _ = await (await client(api_key="right")).post(key=key)
    assert (got, answer.get("reason")) == (status, reason)


async def test_slashes_may_double_but_other_paths_do_not_exist(client: Start) -> None:
    api = await client()

    assert (await api.post(path="//v3/reimagine"))[0] == 200
    for path in ("/v3/reimagin", "/", "/v4/reimagine", "/v3/reimagine/"):
        status, answer, _ = await api.post(path=path)
        assert (status, answer["reason"]) == (404, "API_NOT_FOUND")
    assert msgspec.json.decode(await api.get("/v3/reimagine"))["reason"] == "API_NOT_FOUND"


async def test_the_official_client_gets_a_picture(client: Start) -> None:
    api = await client()
    novita = NovitaClient("k", api.server.url)
    try:
        answer = await asyncio.to_thread(novita.reimagine, image=Image.open(io.BytesIO(PNG)))
    finally:
        novita.session.close()

    assert picture_in({"image_file": answer.image_file}).format == "JPEG"
    assert (answer.image_type, (await api.settled())["paid"]) == ("jpeg", 1)


@pytest.mark.parametrize("reason", REASONS)
async def test_every_reason_comes_with_its_own_status(client: Start, reason: str) -> None:
    status, answer, response = await (
        await client(share_refused=1, reason_refused=reason, retry_after="soon")
    ).post()

    assert (status, answer["code"], answer["reason"]) == (REASONS[reason][0],) * 2 + (reason,)
    assert response.headers.get("Retry-After") == ("soon" if status in {429, 503} else None)


@pytest.mark.parametrize(
    ("share", "status", "outcome"),
    [("share_500", 500, "fault"), ("share_503", 503, "fault"), ("share_504", 504, "fault"),
     ("share_429", 429, "throttled")],
)  # fmt: skip
async def test_a_fault_is_answered_and_not_paid(
    client: Start, share: str, status: int, outcome: str
) -> None:
    api = await client(**{share: 1})

    assert (await api.post())[0] == status
    stats = await api.settled()
    assert (stats["by_outcome"], stats["by_status"]) == ({outcome: 1}, {str(status): 1})


@pytest.mark.parametrize("kind", MALFORMED_KINDS)
async def test_a_malformed_200_holds_no_picture(client: Start, kind: Any) -> None:
    api = await client(share_malformed=1, malformed_kind=kind)

    with pytest.raises((ValueError, KeyError, OSError)):  # noqa: PT012  each kind fails elsewhere
        status, answer, _ = await api.post()
        assert status == 200
        picture_in(answer)
    assert (await api.settled())["by_outcome"] == {"malformed": 1}


async def test_a_truncated_answer_ends_before_its_length(client: Start) -> None:
    api = await client(share_truncated=1)
    with pytest.raises(aiohttp.ClientPayloadError):
        await api.post()
    stats = await api.settled()
    assert (stats["by_outcome"], stats["paid"]) == ({"truncated": 1}, 0)


async def test_resets_come_before_the_answer_and_in_its_middle(client: Start) -> None:
    api = await client(share_reset=1)
    for _ in range(12):
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
            await api.post()
    stats = await api.settled()
    assert stats["by_outcome"] == {"reset": 12}
    assert set(stats["by_status"]) == {"None", "200"}


async def test_a_hang_ends_when_the_client_goes(client: Start) -> None:
    api = await client(share_hang=1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(api.post(), 0.1)
    assert (await api.settled())["by_outcome"] == {"hang": 1}


async def test_a_client_that_goes_before_its_answer_pays_nothing(client: Start) -> None:
    api = await client(latency_s=5)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(api.post(), 0.1)
    stats = await api.settled()
    assert (stats["by_outcome"], stats["paid"]) == ({"gone": 1}, 0)


async def test_a_client_that_never_reads_a_big_answer_pays_nothing(client: Start) -> None:
    api = await client()
    noisy = Image.effect_noise((1024, 1024), 90).convert("RGB")
    buffer = io.BytesIO()
    noisy.save(buffer, "JPEG")
    body = msgspec.json.encode(ask(buffer.getvalue()))
    narrow = socket.socket()  # else the kernel may take all of the answer for the client
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.settimeout(0)
    await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", api.server.port))
    _, writer = await asyncio.open_connection(sock=narrow, limit=1024)
    head = (f"POST /v3/reimagine HTTP/1.1\r\nHost: x\r\nAuthorization: k\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n")  # fmt: skip
    writer.write(head.encode() + body)
    await writer.drain()
    writer.transport.pause_reading()
    await asyncio.sleep(0.8)
    writer.transport.abort()
    stats = await api.settled()
    assert stats["by_outcome"] == {"gone": 1}


async def test_poison_photos_fail_whatever_is_drawn_and_others_do_not(client: Start) -> None:
    api = await client(refuse_photo=(PNG_SHA256[:12],), reason_refused="ILLEGAL_IMAGE_CONTENT")
    assert (await api.post())[1]["reason"] == "ILLEGAL_IMAGE_CONTENT"
    assert (await api.post(ask(JPEG)))[0] == 200

    await api.server.change(refuse_photo=[], fail_photo=[PNG_SHA256], share_hang=1)
    assert (await api.post())[1]["reason"] == "TASK_FAILED"


def test_a_bucket_of_ten_a_minute_lets_a_burst_and_then_one_in_six_seconds() -> None:
    now_s = 100.0
    bucket = Bucket(lambda: now_s)
    taken = 0
    for _ in range(601):  # a minute in tenths of a second
        try:
            bucket.take(10, 3)
            taken += 1
        except Refusal as error:
            assert error.reason == "RATE_LIMIT_EXCEEDED"  # noqa: PT017
        now_s += 0.1
    assert taken in {12, 13}  # three at once, then a token each six seconds


async def test_images_per_minute_throttle_until_lifted(client: Start) -> None:
    api = await client(images_per_minute=1, burst=2, retry_after="3")
    answers = [await api.post() for _ in range(4)]
    assert [status for status, _, _ in answers] == [200, 200, 429, 429]
    assert answers[3][2].headers["Retry-After"] == "3"

    status, shown, _ = await api.post({"images_per_minute": None}, path="/_control")
    assert (status, shown["images_per_minute"], "api_key" in shown) == (200, None, False)
    assert (await api.post())[0] == 200


@pytest.mark.parametrize(("over", "expected"), [("429", {200, 429}), ("503", {200, 503}),
                                                ("queue", {200})])  # fmt: skip
async def test_no_more_calls_at_once_than_allowed(
    client: Start, over: str, expected: set[int]
) -> None:
    api = await client(max_concurrent=2, over_concurrency=over, latency_s=0.1)
    began_s = time.monotonic()
    answers = await asyncio.gather(*(api.post() for _ in range(6)))

    assert {status for status, _, _ in answers} == expected
    if over == "queue":
        assert time.monotonic() - began_s > 0.29  # three pairs
        assert (await api.settled())["paid"] == 6


async def test_the_balance_is_never_overdrawn_by_calls_at_once(client: Start) -> None:
    api = await client(balance=5, latency_s=0.02, max_concurrent=3, over_concurrency="queue")
    answers = await asyncio.gather(*(api.post() for _ in range(20)))
    reasons = [answer["reason"] for status, answer, _ in answers if status == 400]

    assert (len(reasons), set(reasons)) == (15, {"BILLING_BALANCE_NOT_ENOUGH"})
    assert (await api.settled())["paid"] == 5
    detail = msgspec.json.decode(await api.get("/openapi/v1/billing/balance/detail"))
    assert detail["availableBalance"] == "0"
    assert msgspec.json.decode(await api.get("/v3/user"))["credit_balance"] == 0


@pytest.mark.parametrize("kind", ["503", "reset"])
async def test_an_outage_spares_only_the_simulators_own_paths(client: Start, kind: Any) -> None:
    api = await client(outage=(0, 1e9), outage_kind=kind)
    for attempt in (api.post, lambda: api.get("/v3/user")):
        if kind == "reset":
            with pytest.raises(aiohttp.ClientOSError):
                await attempt()
        else:
            assert b"SERVICE_NOT_AVAILABLE" in msgspec.json.encode(str(await attempt()))
    assert (await api.post({"outage": None}, path="/_control"))[0] == 200
    assert (await api.post())[0] == 200


@pytest.mark.parametrize(
    "wrong",
    [{"latency": 1}, {"share_500": 2}, {"share_500": "a"}, {"share_500": 0.6, "share_503": 0.6},
     {"burst": 0}, {"outage": [1]}, {"reason_refused": "X"}, {"refuse_photo": ["XYZ"]},
     {"retry_after": "a\r\nb"}, {"api_key": ""}, {"over_concurrency": "drop"}, []],
)  # fmt: skip
async def test_control_is_strict_and_changes_all_or_nothing(client: Start, wrong: Any) -> None:
    api = await client()
    body = wrong | {"latency_s": 0.5} if isinstance(wrong, dict) else wrong
    status, answer, _ = await api.post(body, path="/_control")

    assert (status, answer["reason"]) == (400, "INVALID_REQUEST_BODY")
    assert api.server.behaviour == Behaviour()


def test_a_wrong_knob_says_which_its_value_and_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"share_429 is 1\.5; allowed: from 0 to 1"):
        Behaviour(share_429=1.5)


async def test_stats_calls_and_log_tell_the_same_story(client: Start, tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    api = await client(log=log, share_500=0.5, seed=3)
    for body in (ask(), ask(), ask(JPEG), ask(), ask(b"no")):
        await api.post(body)
    stats = await api.settled()
    rows = [msgspec.json.decode(line) for line in log.read_bytes().splitlines()]

    assert stats == msgspec.json.decode(await api.get("/_stats")) | {"uptime_s": stats["uptime_s"]}
    assert log.read_bytes() == await api.get("/_calls")
    assert [row["index"] for row in rows] == [0, 1, 2, 3, 4]
    paid = [row for row in rows if row["paid"]]
    assert stats["paid"] == len(paid) == sum(stats["paid_by_photo"].values())
    assert {row["photo_sha256"] for row in paid} == set(stats["paid_by_photo"])
    assert (stats["calls"], stats["distinct_photos"], stats["max_in_flight"]) == (5, 3, 1)
    assert sum(stats["starts_per_second"].values()) == 5
    assert all(row["status"] and row["seconds"] and row["time"] for row in rows)


async def test_the_same_seed_meets_a_photo_with_the_same_fates(client: Start) -> None:
    shares = {"share_500": 0.3, "share_429": 0.3, "picture_px": 8}
    first, again, other = [
        [(await api.post())[0] for _ in range(16)]
        for api in [await client(**shares, seed=seed) for seed in (1, 1, 2)]
    ]
    assert first == again != other
    assert set(first) == {200, 429, 500}


async def test_latency_keeps_to_its_spread(client: Start) -> None:
    api = await client(latency_s=0.1, latency_jitter=0.5, picture_px=8)
    await asyncio.gather(*(api.post() for _ in range(12)))
    rows = [
        msgspec.json.decode(line)["seconds"] for line in (await api.get("/_calls")).splitlines()
    ]
    assert min(rows) >= 0.049
    assert max(rows) - min(rows) > 0.02


async def test_the_stop_is_quick_under_hanging_calls(tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    async with aiohttp.ClientSession() as http, serve(Behaviour(share_hang=1), log=log) as server:
        client = Client(server, http)
        calls = [asyncio.create_task(client.post()) for _ in range(20)]
        while server.stats()["calls"] < 20:
            await asyncio.sleep(0.01)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 1
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, aiohttp.ClientError) for end in ends)
    assert log.read_bytes().count(b'"outcome":"hang"') == 20
