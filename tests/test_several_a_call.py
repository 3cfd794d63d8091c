"""One call may bring several variations: each is numbered, kept and accounted by itself."""

import base64
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine import client
from batch_reimagine.errors import LimitReached, ReimagineError
from tests.providing import SEVERAL, bought, served, spent
from tests.support import assert_whole, make_photos, pictures, png, rows, run, scripted


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between attempts grow as ever, from a hundredth of their length."""
    monkeypatch.setattr(client, "BACKOFF_S", 0.01)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_photos(tmp_path / "photos", 2)
    return tmp_path / "photos"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (path,) = make_photos(tmp_path / "photos", 1)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.mark.parametrize(("per_call", "calls"), [(None, 2), (3, 3), (1, 7), (99, 2)])
async def test_a_call_brings_as_many_as_it_may(
    photo: Path, out: Path, per_call: int | None, calls: int
) -> None:
    async with served() as api:
        ran = await run(
            photo, out, provider="deepinfra", base_url=api.url, variations=7, per_call=per_call
        )

        assert ran.statuses == {"done": 7}
        assert bought(api, "deepinfra") == (calls, 7)


async def test_a_raised_n_asks_for_what_is_missing_alone(photo: Path, out: Path) -> None:
    async with served() as api:
        job = {"provider": "variations", "base_url": api.url}
        await run(photo, out, variations=3, **job)
        more = await run(photo, out, variations=5, **job)

        assert more.statuses == {"done": 2}
        assert bought(api, "variations") == (2, 5)
    assert sorted(row["variation"] for row in rows(out)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", SEVERAL)
async def test_fewer_than_asked_for_are_completed_and_accounted(
    photos: Path, out: Path, name: str
) -> None:
    async with served(share_fewer=1) as api:
        ran = await run(
            photos, out, provider=name, base_url=api.url, variations=4, price="0.01", budget="9"
        )
        calls, paid = bought(api, name)

    assert (ran.error, ran.statuses) == (None, {"done": 8})
    assert (paid, calls) == (8, ran.progress.calls)
    assert calls > 2
    assert sorted(row["variation"] for row in rows(out)) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert (spent(out), ran.progress.spent) == (Decimal("0.08"), "0.08")


async def test_a_budget_is_not_overspent_by_calls_for_several(photos: Path, out: Path) -> None:
    async with served() as api:
        job = {"provider": "deepinfra", "base_url": api.url, "variations": 4, "price": "0.01"}
        short = await run(photos, out, budget="0.06", **job)
        assert isinstance(short.error, LimitReached)
        assert bought(api, "deepinfra")[1] == len(pictures(out)) == 6

        rest = await run(photos, out, budget="0.08", **job)
        assert rest.error is None
        assert bought(api, "deepinfra")[1] == len(pictures(out)) == 8
        assert rest.progress.spent == "0.08"


def shaped(*made: bytes) -> tuple[int, Any]:
    data = [{"b64_json": base64.b64encode(data).decode()} for data in made]
    return 200, {"created": 1, "data": data}


def asked(body: bytes) -> int:
    return int(body.split(b'name="n"\r\n\r\n')[1].split(b"\r\n")[0])


async def test_a_broken_picture_of_several_costs_the_others_nothing(photo: Path, out: Path) -> None:
    colours = [png((number, 0, 0)) for number in range(4)]
    answers = shaped(colours[0], colours[1][:-9], colours[2]), shaped(colours[3])
    async with scripted(*answers) as api:
        ran = await run(
            photo, out, provider="variations", base_url=api.url, variations=3, price="0.01"
        )

    assert ran.statuses == {"done": 3}
    assert [asked(seen.body) for seen in api.seen] == [3, 1]
    assert len(pictures(out)) == 3
    assert ran.progress.spent == "0.03"
    assert ran.progress.at_risk == "0.01"  # the broken one may have been billed
    assert_whole(out)


async def test_more_pictures_than_were_asked_for_are_not_kept(photo: Path, out: Path) -> None:
    async with scripted(shaped(*(png((number, 0, 0)) for number in range(5)))) as api:
        ran = await run(photo, out, provider="variations", base_url=api.url, variations=2)

    assert ran.statuses == {"done": 2}
    assert (len(api.seen), len(pictures(out))) == (1, 2)


async def test_addresses_in_place_of_pictures_are_paid_for_once_and_no_more(
    photos: Path, out: Path
) -> None:
    answer = 200, {"data": [{"url": "http://127.0.0.1:1/a.png"}]}
    async with scripted(*[answer] * 9) as api:
        ran = await run(photos, out, provider="variations", base_url=api.url, concurrency=1)

    assert isinstance(ran.error, ReimagineError)
    assert "response_format=b64_json" in str(ran.error)
    assert (len(api.seen), rows(out)) == (1, [])
