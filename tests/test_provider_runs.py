"""Whole runs of every provider against its own reading on this machine: bought once, kept, told."""

import json
import math
from decimal import Decimal
from pathlib import Path
from time import monotonic

import pytest
from aiohttp import web
from PIL import Image

from batch_reimagine import exchange
from batch_reimagine.cli import exits
from batch_reimagine.errors import (
    AccountRefused,
    OutputMismatch,
    ServiceGone,
)
from batch_reimagine.simulator.behaviour import MALFORMED_KINDS
from batch_reimagine.simulator.contract import Ask, Contract
from batch_reimagine.simulator.log import Call
from batch_reimagine.simulator.making import Order, malformed
from batch_reimagine.simulator.server import CONTRACTS
from tests.providing import FAR, SEVERAL, bought, job, served, spent
from tests.support import assert_whole, jpeg, make_photos, pictures, png, rows, run, scripted

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.mark.parametrize("name", FAR)
async def test_every_provider_makes_n_variations_and_resumes_with_no_call(
    photos: Path, out: Path, name: str
) -> None:
    async with served() as api:
        chosen = job(name, api.url, variations=5, price="0.01")

        ran = await run(photos, out, **chosen)
        calls, paid = bought(api, name)
        again = await run(photos, out, **chosen)

        assert (ran.error, again.error) == (None, None)
        assert ran.statuses == {"done": 10}
        assert (calls, paid) == (2 * math.ceil(5 / SEVERAL.get(name, 1)), 10)
        assert bought(api, name) == (calls, paid)
        assert len(pictures(out)) == 10
        assert len({row["output_sha256"] for row in rows(out)}) == 10
        assert {row["provider"] for row in rows(out)} == {name}
        assert spent(out) == Decimal("0.10")
        assert ran.progress.spent == "0.10"
        assert_whole(out)


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.name)
async def test_a_200_without_a_whole_picture_is_never_kept_and_asked_for_again(
    tmp_path: Path, out: Path, contract: Contract
) -> None:
    (photo,) = make_photos(tmp_path / "photos", 1)
    name = {"reimagine": "novita"}.get(contract.name, contract.name)
    ask = Ask(photo=b"", photo_sha256="", image_type="png")
    order = Order(contract, ask, Image.new("RGB", (9, 9)), Call(0, "", 0.0, contract.name), 9)
    # The error that is tried thrice at most goes first, so that nobody is given up by chance.
    kinds = sorted(MALFORMED_KINDS, key=lambda kind: kind != "no_image")
    answers = []
    for number, kind in enumerate(kinds):
        good = contract.success([png((number, 9, 9))], ask, "t", 9)
        answers += [(200, malformed(order, kind).body), (200, good.body)]

    async with scripted(*answers) as api:
        ran = await run(
            photo,
            out,
            **job(name, api.url, variations=len(kinds), per_call=1, concurrency=1, attempts=20),
        )

    assert (ran.error, ran.statuses) == (None, {"done": len(kinds)})
    assert sum(len(row["http"]) for row in rows(out)) == len(api.seen) == 2 * len(kinds)
    assert_whole(out)


@pytest.mark.parametrize("name", FAR)
async def test_an_answer_of_more_bytes_than_any_picture_is_not_read_on(
    tmp_path: Path, out: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MAX_ANSWER_BYTES", 10_000)
    (photo,) = make_photos(tmp_path / "photos", 1)
    async with scripted(*[(200, b"\xff\xd8\xff" + bytes(90_000))] * 2) as api:
        ran = await run(photo, out, **job(name, api.url, attempts=2))

    assert ran.statuses == {"exhausted": 1}
    assert rows(out)[0]["reason"] == "OVERSIZED_ANSWER"


@pytest.mark.parametrize("name", FAR)
async def test_no_money_stops_with_4_marks_nothing_and_resumes(
    photos: Path, out: Path, name: str
) -> None:
    async with served(balance=4) as api:
        chosen = job(name, api.url, variations=4, concurrency=1)

        stopped = await run(photos, out, **chosen)
        assert isinstance(stopped.error, AccountRefused)
        assert exits.code_of(stopped.error) == 4
        assert stopped.progress.failed == 0
        assert [row["status"] for row in rows(out)] == ["done"] * 4

        await api.change(balance=None)
        assert (await run(photos, out, **chosen)).error is None
        assert bought(api, name)[1] == len(pictures(out)) == 8


@pytest.mark.parametrize("name", FAR)
async def test_the_wrong_key_stops_the_run_at_its_first_answer(
    photos: Path, out: Path, name: str
) -> None:
    async with served(api_key="another") as api:
        ran = await run(photos, out, **job(name, api.url, concurrency=1))

        assert isinstance(ran.error, AccountRefused)
        assert (bought(api, name), rows(out)) == ((1, 0), [])


@pytest.mark.parametrize("name", FAR)
async def test_a_limit_slows_the_run_down_and_gives_nothing_up(
    photos: Path, out: Path, name: str
) -> None:
    async with served(max_concurrent=1, latency_s=0.3, retry_after="0") as api:
        ran = await run(
            photos,
            out,
            **job(name, api.url, variations=2, per_call=1, attempts=1, ramp="off", concurrency=4),
        )

        assert ran.statuses == {"done": 4}
        assert api.stats()["by_outcome"]["throttled"] >= 1


async def test_the_limit_that_a_vendor_states_is_held_unasked(photos: Path, out: Path) -> None:
    began = monotonic()
    async with served() as api:
        ran = await run(photos, out, provider="clipdrop", base_url=api.url)

    assert ran.statuses == {"done": 2}
    assert any("60 calls a minute; --rpm" in note for note in ran.notes)
    assert monotonic() - began >= 0.95  # two calls


@pytest.mark.parametrize("name", FAR)
async def test_a_redirect_is_not_followed(photos: Path, out: Path, name: str) -> None:
    async with scripted() as elsewhere:

        async def redirect(request: web.Request) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": elsewhere.url + request.path})

        async with scripted(redirect) as api:
            ran = await run(photos, out, **job(name, api.url, concurrency=1))

    assert isinstance(ran.error, ServiceGone)
    assert (len(api.seen), elsewhere.seen) == (1, [])


async def test_what_is_bought_by_default_is_said_in_the_call(photos: Path, out: Path) -> None:
    async with scripted((401, b"")) as api:
        await run(photos, out, **job("deepinfra", api.url, concurrency=1))

    assert b"black-forest-labs/FLUX-1-Redux-dev" in api.seen[0].body
    assert b"1024x1024" in api.seen[0].body


@pytest.mark.parametrize("name", ["reimagine", "variations"])
async def test_a_server_of_ones_own_may_want_no_key(photos: Path, out: Path, name: str) -> None:
    async with served(keyless=True) as api:
        ran = await run(photos, out, **job(name, api.url, key=""))

        assert ran.statuses == {"done": 2}

        async with scripted((401, b"")) as strict:
            await run(photos, out.with_name("other"), **job(name, strict.url, key=""))
        assert not {"Authorization", "x-api-key"} & strict.seen[0].headers.keys()


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("novita", "NOVITA_API_KEY"),
        ("clipdrop", "CLIPDROP_API_KEY"),
        ("deepinfra", "DEEPINFRA_TOKEN"),
    ],
)
async def test_a_service_that_wants_a_key_is_not_asked_without_one(
    photos: Path, out: Path, name: str, variable: str
) -> None:
    async with scripted() as api:
        ran = await run(photos, out, **job(name, api.url, key=""))

    assert isinstance(ran.error, AccountRefused)
    assert variable in str(ran.error)
    assert (api.seen, out.exists()) == ([], False)


async def test_another_provider_on_the_same_output_is_refused_by_name(
    photos: Path, out: Path
) -> None:
    async with served() as api:
        await run(photos, out, **job("clipdrop", api.url))

        other = await run(photos, out, **job("deepinfra", api.url))

        assert isinstance(other.error, OutputMismatch)
        assert exits.code_of(other.error) == 10
        assert "clipdrop" in str(other.error)
        assert "deepinfra" in str(other.error)
        assert (bought(api, "clipdrop"), len(pictures(out))) == ((2, 2), 2)


async def test_other_options_are_other_work_and_are_refused(photos: Path, out: Path) -> None:
    async with served() as api:
        chosen = job("deepinfra", api.url)
        await run(photos, out, **chosen)

        other = await run(photos, out, provider_option=("size=512x512",), **chosen)

        assert isinstance(other.error, OutputMismatch)
        assert "size=512x512" in str(other.error)
        assert bought(api, "deepinfra") == (2, 2)


async def test_the_credits_that_are_left_are_told(photos: Path, out: Path) -> None:
    async with served(balance=5) as api:
        ran = await run(photos, out, **job("clipdrop", api.url))

    assert ran.progress.credits_left == 3


async def test_the_words_of_a_service_never_show_the_key(photos: Path, out: Path) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        key = request.headers["x-api-key"]
        return web.json_response({"error": f"no {key}"}, status=400)

    async with scripted(echo, (200, jpeg()), (200, jpeg())) as api:
        await run(photos, out, **job("clipdrop", api.url, concurrency=1))

    assert json.dumps(rows(out)).count("no [key]") == 1
