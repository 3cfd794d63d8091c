"""One call that brings several variations: what came is kept, what did not is asked for again."""

import asyncio
import hashlib
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_reimagine import LimitReached, journal, manifest
from batch_reimagine.engine import Stop
from batch_reimagine.journal import Balance, End, Try, end_of
from batch_reimagine.provider import request_of
from batch_reimagine.settings import Settings
from batch_reimagine.work import Record
from tests.support import Scripted, hang, make_photos, pictures, png, rows, run, scripted, several

PRICE = Decimal("0.01")
ASKED = re.compile(rb'name="n"\r\n(?:[^\r\n]+\r\n)*\r\n(\d+)\r\n')


def asked(api: Scripted) -> list[int]:
    """How many pictures each call asked for."""
    found = [ASKED.search(call.body) for call in api.seen]
    return [int(match[1]) for match in found if match]


def how(api: Scripted, **more: Any) -> dict[str, Any]:
    settings = {"provider": "variations", "base_url": api.url, "price": PRICE, "mark": False}
    return {**settings, "variations": 4, "per_call": 4, "concurrency": 1} | more


def balance(out: Path) -> tuple[Decimal, Decimal, int]:
    """Spent and not known, in pictures, and calls, as the journal alone has it."""
    found, pending = journal.read(out / ".batch-reimagine" / journal.FILE)
    found.risk(pending.values())
    return found.spent / PRICE, found.at_risk / PRICE, found.calls


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_photos(tmp_path / "photos", 1)
    return tmp_path / "photos"


async def test_as_few_calls_are_made_as_bring_all(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 3)
    out = tmp_path / "out"
    async with scripted(*[several(4), several(1)] * 3) as api:
        ran = await run(tmp_path / "photos", out, **how(api, variations=5))
        again = await run(tmp_path / "photos", out, **how(api, variations=5))

    assert asked(api) == [4, 1] * 3
    assert ran.statuses == {"done": 15}
    assert (ran.progress.spent, ran.progress.at_risk) == ("0.15", "0")
    assert balance(out) == (15, 0, 6)
    assert [(row["cost"], row["attempts"]) for row in rows(out)] == [("0.01", 1)] * 15
    assert (again.progress.calls, again.progress.spent) == (0, None)


async def test_what_an_answer_lacks_is_asked_for_again(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with scripted(several(1), several(2), several(1)) as api:
        ran = await run(photos, out, **how(api))

    assert asked(api) == [4, 3, 1]
    assert sorted(row["variation"] for row in rows(out)) == [1, 2, 3, 4]
    assert [row["attempts"] for row in rows(out)] == [1, 2, 2, 3]
    assert balance(out) == (4, 4, 3), "nobody says what pictures cost that did not come"
    assert (ran.progress.spent, ran.progress.at_risk) == ("0.04", "0.04")


async def test_one_torn_picture_costs_none_of_the_others(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with scripted(several(4, torn=1), several(1)) as api:
        await run(photos, out, **how(api))

    assert asked(api) == [4, 1]
    assert [row["variation"] for row in rows(out)] == [1, 3, 4, 2]
    assert balance(out) == (4, 1, 2)


async def test_more_than_was_asked_for_has_no_number(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with scripted(several(6)) as api:
        await run(photos, out, **how(api))

    assert len(pictures(out)) == len(rows(out)) == 4
    assert balance(out) == (4, 0, 1)


async def test_a_budget_is_used_to_its_last_picture(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with scripted(several(4), several(2)) as api:
        ran = await run(photos, out, **how(api, variations=8, budget=6 * PRICE))

    assert asked(api) == [4, 2]
    assert isinstance(ran.error, LimitReached)
    assert balance(out) == (6, 0, 2)


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


async def test_a_dropped_call_may_have_cost_all_its_pictures(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
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
    photos: Path, tmp_path: Path, left: str, came: int
) -> None:
    out = tmp_path / "out"
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


@given(st.integers(1, 9), st.data())
def test_the_end_of_a_try_accounts_for_all_it_asked_for(count: int, data: st.DataObject) -> None:
    came = data.draw(st.integers(0, count))
    numbers = tuple(range(1, count + 1))
    attempt = Try(
        id="r.1",
        time="t",
        source="a",
        source_sha256="0",
        variation=1,
        also=numbers[1:],
        attempt=1,
        base="a",
        price="0.01",
    )
    found, pending = Balance(), {}
    for line in (attempt, end_of(attempt, came)):
        journal._take(journal.encode(line), found, pending)

    assert not pending
    assert (found.spent, found.at_risk) == (came * PRICE, (count - came) * PRICE)
    assert found.damaged == 0


@given(st.integers(-5, 99))
def test_an_end_that_claims_more_than_was_asked_for_is_cut(claimed: int) -> None:
    attempt = Try(
        id="r.1",
        time="t",
        source="a",
        source_sha256="0",
        variation=1,
        also=(2,),
        attempt=1,
        base="a",
        price="0.01",
    )
    found, pending = Balance(), {}
    for line in (attempt, End(id="r.1", money="spent", pictures=claimed)):
        journal._take(journal.encode(line), found, pending)

    assert found.spent + found.at_risk == 2 * PRICE
    assert found.spent >= 0
