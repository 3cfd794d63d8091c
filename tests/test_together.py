"""One call that brings several variations: what came is kept, what did not is asked for again."""

import asyncio
import base64
import hashlib
import io
import re
import resource
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batch_reimagine import LimitReached, LocalResource, ReimagineError, journal, manifest
from batch_reimagine.engine import Stop
from batch_reimagine.journal import Try
from batch_reimagine.provider import request_of
from batch_reimagine.refusals import Trail
from batch_reimagine.settings import Settings
from batch_reimagine.work import Record
from tests.providing import PRICE, balance, bought, served
from tests.support import (
    Scripted,
    assert_whole,
    hang,
    make_photos,
    pictures,
    png,
    rows,
    run,
    scripted,
    several,
)

pytestmark = pytest.mark.usefixtures("short_waits")

ASKED = re.compile(rb'name="n"\r\n(?:[^\r\n]+\r\n)*\r\n(\d+)\r\n')


def asked(api: Scripted) -> list[int]:
    """How many pictures each call asked for."""
    found = [ASKED.search(call.body) for call in api.seen]
    return [int(match[1]) for match in found if match]


def how(api: Scripted, **more: Any) -> dict[str, Any]:
    settings = {"provider": "variations", "base_url": api.url, "price": PRICE, "mark": False}
    return {**settings, "variations": 4, "per_call": 4, "concurrency": 1} | more


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_photos(tmp_path / "photos", 1)
    return tmp_path / "photos"


@pytest.mark.parametrize(("per_call", "calls"), [(None, 2), (3, 3), (1, 7), (99, 2)])
async def test_a_call_brings_as_many_as_it_may(
    photos: Path, out: Path, per_call: int | None, calls: int
) -> None:
    async with served() as api:
        ran = await run(
            photos, out, provider="deepinfra", base_url=api.url, variations=7, per_call=per_call
        )

        assert ran.statuses == {"done": 7}
        assert bought(api, "deepinfra") == (calls, 7)


async def test_a_raised_n_asks_for_what_is_missing_alone(photos: Path, out: Path) -> None:
    async with scripted(several(3), several(2)) as api:
        await run(photos, out, **how(api, variations=3))
        more = await run(photos, out, **how(api, variations=5))

    assert more.statuses == {"done": 2}
    assert asked(api) == [3, 2]
    assert sorted(row["variation"] for row in rows(out)) == [1, 2, 3, 4, 5]


async def test_as_few_calls_are_made_as_bring_all(tmp_path: Path, out: Path) -> None:
    make_photos(tmp_path / "photos", 3)
    async with scripted(*[several(4), several(1)] * 3) as api:
        ran = await run(tmp_path / "photos", out, **how(api, variations=5))
        again = await run(tmp_path / "photos", out, **how(api, variations=5))

    assert asked(api) == [4, 1] * 3
    assert ran.statuses == {"done": 15}
    assert (ran.progress.spent, ran.progress.at_risk) == ("0.15", "0")
    assert balance(out) == (15, 0, 6)
    assert [(row["cost"], row["attempts"]) for row in rows(out)] == [("0.01", 1)] * 15
    assert (again.progress.calls, again.progress.spent) == (0, None)


async def test_what_an_answer_lacks_is_asked_for_again(photos: Path, out: Path) -> None:
    async with scripted(several(1), several(2), several(1)) as api:
        ran = await run(photos, out, **how(api))

    assert asked(api) == [4, 3, 1]
    assert sorted(row["variation"] for row in rows(out)) == [1, 2, 3, 4]
    assert [row["attempts"] for row in rows(out)] == [1, 2, 2, 3]
    assert balance(out) == (4, 0, 3), "what an answer does not have was not made"
    assert (ran.progress.spent, ran.progress.at_risk) == ("0.04", "0")


async def test_one_torn_picture_costs_none_of_the_others(photos: Path, out: Path) -> None:
    async with scripted(several(4, torn=1), several(1)) as api:
        await run(photos, out, **how(api))

    assert asked(api) == [4, 1]
    assert [row["variation"] for row in rows(out)] == [1, 3, 4, 2]
    assert balance(out) == (4, 1, 2)
    assert_whole(out)


def test_the_rest_of_a_good_answer_is_no_repetition() -> None:
    trail = Trail("a.jpg", "00", (1, 2), "a")
    assert trail.is_no_burden
    trail.statuses.append(200)
    assert not trail.is_no_burden
    trail.brought = True
    assert trail.is_no_burden


async def test_what_the_disk_refuses_stays_open_and_what_it_took_is_paid(
    photos: Path, out: Path
) -> None:
    large = io.BytesIO()
    Image.effect_noise((400, 400), 90).save(large, "PNG")
    answer = several(4)
    answer[1]["data"][1]["b64_json"] = base64.b64encode(large.getvalue()).decode()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with scripted(answer) as api:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        try:
            ran = await run(photos, out, **how(api))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert isinstance(ran.error, LocalResource)
        told = ran.progress
        assert (told.made, told.unknown, told.spent, told.at_risk) == (1, 3, "0.01", "0.03")

        api.answers.append(several(3))
        again = await run(photos, out, **how(api))

    assert asked(api) == [4, 3]
    assert (again.progress.made, balance(out)) == (3, (4, 3, 2))


async def test_more_than_was_asked_for_has_no_number(photos: Path, out: Path) -> None:
    async with scripted(several(6)) as api:
        await run(photos, out, **how(api))

    assert len(pictures(out)) == len(rows(out)) == 4
    assert balance(out) == (4, 0, 1)


async def test_a_budget_is_used_to_its_last_picture(photos: Path, out: Path) -> None:
    async with scripted(several(4), several(2)) as api:
        ran = await run(photos, out, **how(api, variations=8, budget=6 * PRICE))

        assert asked(api) == [4, 2]
        assert isinstance(ran.error, LimitReached)
        assert balance(out) == (6, 0, 2)

        api.answers.append(several(2))
        rest = await run(photos, out, **how(api, variations=8, budget=8 * PRICE))

    assert (rest.error, rest.progress.spent) == (None, "0.08")
    assert asked(api) == [4, 2, 2]


async def test_addresses_in_place_of_pictures_are_paid_for_once_and_no_more(
    tmp_path: Path, out: Path
) -> None:
    make_photos(tmp_path / "photos", 2)
    answer = 200, {"data": [{"url": "http://127.0.0.1:1/a.png"}]}
    async with scripted(*[answer] * 9) as api:
        ran = await run(tmp_path / "photos", out, **how(api))

    assert isinstance(ran.error, ReimagineError)
    assert "response_format=b64_json" in str(ran.error)
    assert (len(api.seen), rows(out)) == (1, [])


async def test_a_refused_photo_has_one_row_and_a_failing_one_a_row_a_variation(
    photos: Path, tmp_path: Path
) -> None:
    refused = 400, {"error": {"message": "no", "code": "content_policy_violation"}}
    async with scripted(refused) as api:
        await run(photos, tmp_path / "refused", **how(api))
    async with scripted(*[(500, {})] * 9) as api:
        await run(photos, tmp_path / "failing", **how(api, attempts=1))

    assert [row["status"] for row in rows(tmp_path / "refused")] == ["rejected"]
    assert balance(tmp_path / "refused") == (0, 0, 1)
    failing = [(row["variation"], row["status"]) for row in rows(tmp_path / "failing")]
    assert failing == [(number, "exhausted") for number in (1, 2, 3, 4)]
    assert balance(tmp_path / "failing") == (0, 4, 1)


async def test_a_dropped_call_may_have_cost_all_its_pictures(photos: Path, out: Path) -> None:
    stop = Stop()
    async with scripted(hang) as api:
        going = asyncio.create_task(run(photos, out, stop=stop, **how(api)))
        while not api.in_flight:
            await asyncio.sleep(0.01)
        stop.drop("twice")
        await going
        assert balance(out) == (0, 4, 1)
        assert [row["variation"] for row in rows(out)] == [1, 2, 3, 4]
        assert {row["status"] for row in rows(out)} == {"unknown"}

        api.answers.append(several(4))
        again = await run(photos, out, **how(api))

    assert (again.progress.made, again.progress.spent) == (4, "0.04")
    assert again.progress.at_risk == "0.04"


#: by its variations: with its row, only its file, or nothing
DIED = [("rf-", 2), ("---", 0), ("fff", 3), ("r--", 1), ("rrr", 3), ("-f-", 1)]


@pytest.mark.parametrize(("left", "came"), DIED, ids=[left for left, _ in DIED])
async def test_of_a_run_that_died_each_picture_is_accounted_for_by_itself(
    photos: Path, out: Path, left: str, came: int
) -> None:
    async with scripted() as api:
        settings = how(api, variations=3)
        await run(photos, out, **settings | {"max_calls": 0})
        _leave(out, photos, left, request_of(Settings(**settings)))

        api.answers += [several(3 - came)]
        ran = await run(photos, out, **settings)

    assert ran.error is None
    assert asked(api) == ([3 - came] if came < 3 else [])
    assert len(pictures(out)) == 3
    assert balance(out) == (3, 3 - came, 1 + (came < 3))
    done = [row["variation"] for row in rows(out) if row["status"] == "done"]
    assert sorted(done) == [1, 2, 3]


def _leave(out: Path, photos: Path, left: str, request: str) -> None:
    """What a run leaves that was killed while it kept the three pictures of its only call."""
    (photo,) = photos.iterdir()
    about: dict[str, Any] = {
        "source": photo.name,
        "source_sha256": hashlib.sha256(photo.read_bytes()).hexdigest(),
        "provider": "variations",
        "request": request,
    }
    common = about | {"time": "2026-01-01T00:00:00.000Z"}
    attempt = Try(
        **common, id="dead.1", variation=1, also=(2, 3), attempt=1, base=photo.stem, price="0.01"
    )
    with (out / ".batch-reimagine" / journal.FILE).open("ab") as file:
        file.write(journal.encode(attempt) + b"\n")
    data = png()
    for number, state in enumerate(left, 1):
        if state == "-":
            continue
        name = f"{photo.stem}_v{number:02}.png"
        (out / name).write_bytes(data)
        row = Record(
            **common,
            run="dead",
            status="done",
            variation=number,
            output=name,
            output_sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
            type="png",
            attempts=1,
            http=(200,),
            cost="0.01",
        )
        if state == "r":
            with (out / "manifest.jsonl").open("ab") as file:
                file.write(manifest.encode(row) + b"\n")
