"""The simulator's other contracts, asked by a plain HTTP client: strict, and in their own words."""

import base64
import io
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from PIL import Image

from batch_reimagine.simulator import Server
from batch_reimagine.simulator.reasons import REASONS
from tests.providing import served
from tests.support import jpeg, png

CLIPDROP = "/reimagine/v1/reimagine"
DEEPINFRA = "/v1/openai/images/variations"
SHAPED = "/v1/images/variations"
KEYS = {CLIPDROP: {"x-api-key": "k"}, DEEPINFRA: {"Authorization": "Bearer k"}}
MODEL = {"model": "m", "response_format": "b64_json"}


async def ask(
    api: Server,
    path: str,
    texts: Mapping[str, str] | None = None,
    *,
    photo: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    file_type: str | None = None,
) -> tuple[int, Any, Mapping[str, str]]:
    """Post a form as aiohttp writes one; the answer's JSON, or its bytes."""
    form = aiohttp.FormData()
    field = "image_file" if path == CLIPDROP else "image"
    data = jpeg() if photo is None else photo
    form.add_field(field, data, filename="a.jpg", content_type=file_type or "image/jpeg")
    for name, text in (({} if path == CLIPDROP else MODEL) | dict(texts or {})).items():
        form.add_field(name, text)
    key = KEYS.get(path, KEYS[DEEPINFRA]) if headers is None else headers
    async with (
        aiohttp.ClientSession() as http,
        http.post(api.url + path, data=form, headers=key) as response,
    ):
        json = response.content_type == "application/json"
        return (
            response.status,
            await (response.json() if json else response.read()),
            response.headers,
        )


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


async def test_clipdrop_answers_jpeg_and_counts_credits_down() -> None:
    async with served(balance=2) as api:
        first, second, third = [await ask(api, CLIPDROP) for _ in range(3)]

    assert [first[0], second[0], third[0]] == [200, 200, 402]
    assert opened(first[1]).format == "JPEG"
    assert first[2]["Content-Type"] == "image/jpeg"
    credits_ = [answer[2].get("x-remaining-credits") for answer in (first, second, third)]
    assert credits_ == ["1", "0", None]
    assert first[2]["x-credits-consumed"] == "1"
    assert third[1] == {"error": "Not enough credits"}


@pytest.mark.parametrize(("path", "kind"), [(DEEPINFRA, "JPEG"), (SHAPED, "PNG")])
async def test_variations_come_as_many_and_as_large_as_asked_for(path: str, kind: str) -> None:
    async with served(picture_px=None) as api:
        status, body, _ = await ask(api, path, {"n": "3", "size": "64x32"})
        stats = api.stats()

    pictures = [opened(base64.b64decode(one["b64_json"], validate=True)) for one in body["data"]]
    assert (status, [(one.format, one.size) for one in pictures]) == (200, [(kind, (64, 32))] * 3)
    assert len({one["b64_json"] for one in body["data"]}) == 3
    assert (stats["calls"], stats["paid"], sum(stats["paid_by_photo"].values())) == (1, 3, 3)


@pytest.mark.parametrize(
    ("path", "texts", "field"),
    [
        pytest.param(CLIPDROP, {"n": "1"}, "n", id="clipdrop knows no other field"),
        pytest.param(DEEPINFRA, {"n": "5"}, "n", id="more than DeepInfra gives"),
        pytest.param(SHAPED, {"n": "11"}, "n", id="more than OpenAI gave"),
        pytest.param(SHAPED, {"n": "0"}, "n", id="none"),
        pytest.param(SHAPED, {"n": "two"}, "n", id="no number"),
        pytest.param(SHAPED, {"size": "large"}, "size", id="no size"),
        pytest.param(SHAPED, {"response_format": "url"}, "response_format", id="addresses"),
        pytest.param(DEEPINFRA, {"response_format": "url"}, "response_format", id="likewise"),
        pytest.param(DEEPINFRA, {"model": ""}, "model", id="no model"),
        pytest.param(SHAPED, {"seed": "1"}, "seed", id="unknown field"),
    ],
)
async def test_a_wrong_form_is_refused_by_its_field(
    path: str, texts: dict[str, str], field: str
) -> None:
    async with served() as api:
        status, body, _ = await ask(api, path, texts)
        assert api.stats()["by_outcome"] == {"refused": 1}

    assert status == 400
    assert field in str(body)


@pytest.mark.parametrize(
    ("photo", "file_type"),
    [
        pytest.param(b"hello", None, id="no picture"),
        pytest.param(jpeg()[:200], None, id="half a JPEG"),
        pytest.param(png(), "image/jpeg", id="a PNG that calls itself JPEG"),
        pytest.param(png(size=(1025, 8)), "image/png", id="too wide"),
    ],
)
@pytest.mark.parametrize("path", [CLIPDROP, SHAPED])
async def test_a_wrong_file_is_refused(path: str, photo: bytes, file_type: str | None) -> None:
    async with served() as api:
        status, _, _ = await ask(api, path, photo=photo, file_type=file_type)
        assert (status in {400, 406}, api.stats()["paid"]) == (True, 0)


@pytest.mark.parametrize("path", [CLIPDROP, SHAPED])
async def test_what_is_no_form_is_refused_and_counted(path: str) -> None:
    async with served() as api, aiohttp.ClientSession() as http:
        for content_type in ("application/json", "multipart/form-data", "text/plain"):
            headers = {"Content-Type": content_type, "Authorization": "k", "x-api-key": "k"}
            async with http.post(api.url + path, data=b'{"a": 1}', headers=headers) as response:
                assert response.status == 400
        assert api.stats()["by_outcome"] == {"refused": 3}


@pytest.mark.parametrize(
    ("path", "missing", "wrong"),
    [
        (CLIPDROP, (401, {"error": "No api key provided"}), 403),
        (DEEPINFRA, (403, {"detail": {"error": "api key is missing"}}), 403),
        (SHAPED, (401, None), 401),
    ],
)
async def test_a_key_is_looked_for_where_the_service_has_it(
    path: str, missing: tuple[int, Any], wrong: int
) -> None:
    async with served(api_key="right") as api:
        status, body, _ = await ask(api, path, headers={"x-other": "right"})
        assert (status, missing[1] and body) == missing
        assert (await ask(api, path))[0] == wrong
        right = {"x-api-key": "right"} if path == CLIPDROP else {"Authorization": "Bearer right"}
        assert (await ask(api, path, headers=right))[0] == 200


@pytest.mark.parametrize(("path", "shape"), [(CLIPDROP, "error"), (DEEPINFRA, "detail"),
                                             (SHAPED, "error")])  # fmt: skip
async def test_every_refusal_has_the_services_own_shape(path: str, shape: str) -> None:
    async with served(share_refused=1, retry_after="7") as api:
        for reason, (status, _) in REASONS.items():
            await api.change(reason_refused=reason)
            got, body, headers = await ask(api, path)
            assert list(body) == [shape]
            assert 400 <= got < 600
            assert (got >= 500) == (status >= 500)
            assert ("Retry-After" in headers) == (status in {429, 503})


async def test_no_money_is_a_429_of_openai_and_says_so() -> None:
    async with served(balance=3) as api:
        assert (await ask(api, SHAPED, {"n": "2"}))[0] == 200
        status, body, _ = await ask(api, SHAPED, {"n": "2"})

        assert (status, body["error"]["code"]) == (429, "insufficient_quota")
        assert api.stats()["paid"] == 2


async def test_fewer_come_than_were_asked_for_and_only_those_are_paid() -> None:
    async with served(share_fewer=1, picture_px=8) as api:
        came = [len((await ask(api, SHAPED, {"n": "5"}))[1]["data"]) for _ in range(6)]
        alone = len((await ask(api, SHAPED))[1]["data"])
        stats = api.stats()

    assert alone == 1
    assert all(1 <= count < 5 for count in came)
    assert len(set(came)) > 1
    assert stats["paid"] == sum(came) + 1


async def test_every_contract_is_counted_by_itself() -> None:
    async with served() as api:
        for path in (CLIPDROP, SHAPED, SHAPED, DEEPINFRA):
            await ask(api, path, {} if path == CLIPDROP else {"n": "2"})
        stats = api.stats()

    assert stats["by_contract"] == {
        "clipdrop": {"calls": 1, "paid": 1},
        "variations": {"calls": 2, "paid": 4},
        "deepinfra": {"calls": 1, "paid": 2},
    }
    assert (stats["calls"], stats["paid"]) == (4, 7)


async def test_a_keyless_server_asks_for_no_key() -> None:
    async with served(keyless=True) as api:
        assert (await ask(api, SHAPED, headers={}))[0] == 200
