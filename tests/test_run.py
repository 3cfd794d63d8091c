"""The main job against a real server: what is bought, what is kept, what a resume costs."""

import asyncio
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from batch_reimagine import outset
from batch_reimagine.bench import Outcome
from batch_reimagine.engine import Stop
from batch_reimagine.errors import LimitReached, LocalResource, OutputMismatch, UsageError
from batch_reimagine.local_bench import LocalHeld
from batch_reimagine.simulator import Behaviour, serve
from batch_reimagine.tally import verify
from tests.support import (
    KEY,
    assert_whole,
    error,
    good,
    jpeg,
    make_photos,
    pictures,
    png,
    rows,
    run,
    scripted,
)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_photos(tmp_path / "photos", 3)
    make_photos(tmp_path / "photos" / "more", 2, first=10)
    return tmp_path / "photos"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


async def test_every_photo_gets_its_variations_and_their_rows(photos: Path, out: Path) -> None:
    async with scripted() as api:
        ran = await run(photos, out, base_url=api.url, variations=2)

    assert ran.error is None
    assert pictures(out) == sorted(
        f"{folder}photo-{number:03d}_v{variation:02d}.png"
        for folder, numbers in (("", (0, 1, 2)), ("more/", (10, 11)))
        for number in numbers
        for variation in (1, 2)
    )
    assert_whole(out)
    assert len(api.seen) == len(rows(out)) == 10
    row = next(row for row in rows(out) if row["output"] == "more/photo-010_v02.png")
    written = (out / row["output"]).read_bytes()
    assert row["v"] == 1
    assert row["status"] == "done"
    assert row["source"] == "more/photo-010.jpg"
    assert row["source_sha256"] == hashlib.sha256(jpeg(10)).hexdigest()
    assert row["variation"] == 2
    assert row["output_sha256"] == hashlib.sha256(written).hexdigest()
    assert (row["width"], row["height"], row["bytes"]) == (16, 12, len(written))
    assert (row["type"], row["provider"]) == ("png", "novita")
    assert (row["attempts"], row["http"]) == (1, [200])
    assert row["cost"] is None


async def test_the_request_is_what_the_contract_says(photos: Path, out: Path) -> None:
    async with scripted() as api:
        await run(photos / "photo-000.jpg", out, base_url=api.url)

    (seen,) = api.seen
    assert seen.path == "/v3/reimagine"
    assert seen.headers["Authorization"] == f"Bearer {KEY}"
    assert seen.headers["Content-Type"] == "application/json"
    assert set(seen.json) == {"image_file"}
    assert seen.photo.startswith(b"\xff\xd8\xff")


async def test_type_and_enterprise_are_sent_only_when_asked_for(photos: Path, out: Path) -> None:
    async with scripted() as api:
        await run(photos / "photo-000.jpg", out, base_url=api.url, type="webp", enterprise=True)

    assert api.seen[0].json["extra"] == {
        "response_image_type": "webp",
        "enterprise_plan": {"enabled": True},
    }


async def test_the_name_follows_the_bytes_and_not_what_the_service_says(
    photos: Path, out: Path
) -> None:
    async with scripted(good(jpeg(99), "png")) as api:
        await run(photos / "photo-000.jpg", out, base_url=api.url)

    assert pictures(out) == ["photo-000_v01.jpg"]
    assert rows(out)[0]["type"] == "jpeg"


async def test_a_finished_job_sends_nothing_and_needs_no_key(photos: Path, out: Path) -> None:
    async with scripted() as api:
        await run(photos, out, base_url=api.url, variations=2)
        before = (out / "manifest.jsonl").read_bytes()
        ran = await run(photos, out, base_url=api.url, variations=2, key="")

    assert len(api.seen) == 10
    assert ran.error is None
    assert (ran.plans[0].here, ran.plans[0].to_make) == (10, 0)
    assert (ran.progress.here, ran.progress.calls) == (10, 0)
    assert (out / "manifest.jsonl").read_bytes() == before


async def test_raising_n_buys_only_the_difference(photos: Path, out: Path) -> None:
    async with scripted() as api:
        await run(photos, out, base_url=api.url, variations=2)
        ran = await run(photos, out, base_url=api.url, variations=4)

    assert len(api.seen) == 20
    assert ran.progress.made == 10
    assert len(pictures(out)) == 20


async def test_lowering_n_changes_nothing(photos: Path, out: Path) -> None:
    async with scripted() as api:
        await run(photos, out, base_url=api.url, variations=2)
        ran = await run(photos, out, base_url=api.url, variations=1)

    assert len(api.seen) == 10
    assert ran.progress.failed == 0
    assert len(pictures(out)) == 10


async def test_added_and_touched_photos_cost_only_new_content(photos: Path, out: Path) -> None:
    async with scripted() as api:
        await run(photos, out, base_url=api.url)
        os.utime(photos / "photo-000.jpg")
        (photos / "another.jpg").write_bytes(jpeg(50))
        ran = await run(photos, out, base_url=api.url)

    assert len(api.seen) == 6
    assert [record.source for record in ran.records] == ["another.jpg"]


async def test_a_renamed_photo_costs_nothing_and_shows_under_its_new_name(
    photos: Path, out: Path
) -> None:
    async with scripted() as api:
        await run(photos, out, base_url=api.url, variations=2)
        (photos / "photo-000.jpg").rename(photos / "Schuh.jpg")
        ran = await run(photos, out, base_url=api.url, variations=2)

    assert len(api.seen) == 10
    assert [record.output for record in ran.records] == ["Schuh_v01.png", "Schuh_v02.png"]
    assert [record.copied_from for record in ran.records] == [
        "photo-000_v01.png",
        "photo-000_v02.png",
    ]
    assert (out / "Schuh_v01.png").read_bytes() == (out / "photo-000_v01.png").read_bytes()


async def test_an_edited_photo_is_new_work_under_numbers_never_used(
    photos: Path, out: Path
) -> None:
    async with scripted() as api:
        await run(photos, out, base_url=api.url, variations=2)
        before = (out / "photo-000_v01.png").read_bytes()
        (photos / "photo-000.jpg").write_bytes(jpeg(70))
        await run(photos, out, base_url=api.url, variations=2)
        again = await run(photos, out, base_url=api.url, variations=2)

    assert len(api.seen) == 12
    assert again.progress.calls == 0
    assert (out / "photo-000_v01.png").read_bytes() == before
    assert [name for name in pictures(out) if name.startswith("photo-000")] == [
        f"photo-000_v{number:02d}.png" for number in (1, 2, 3, 4)
    ]


async def test_the_same_content_twice_is_bought_once(photos: Path, out: Path) -> None:
    shutil.copy(photos / "photo-000.jpg", photos / "more" / "twin.jpg")
    async with scripted() as api:
        ran = await run(photos, out, base_url=api.url, variations=2, concurrency=8)

    assert len(api.seen) == 10
    assert ran.progress.copied == 2
    assert len(pictures(out)) == 12


async def test_a_twin_of_a_refused_photo_is_refused_without_a_call(photos: Path, out: Path) -> None:
    for path in photos.rglob("photo-*"):
        path.unlink()
    (photos / "a.jpg").write_bytes(jpeg(1))
    (photos / "b.jpg").write_bytes(jpeg(1))
    async with scripted(error(400, "INVALID_IMAGE_SIZE")) as api:
        ran = await run(photos, out, base_url=api.url)

    assert len(api.seen) == 1
    assert {(row["source"], row["status"]) for row in rows(out)} == {
        ("a.jpg", "rejected"),
        ("b.jpg", "rejected"),
    }
    assert ran.progress.failed == 2


async def test_a_deleted_output_is_made_again_under_its_own_name(photos: Path, out: Path) -> None:
    async with scripted() as api:
        await run(photos, out, base_url=api.url, variations=2)
        (out / "photo-001_v01.png").unlink()
        ran = await run(photos, out, base_url=api.url, variations=2)

    assert len(api.seen) == 11
    assert [record.output for record in ran.records] == ["photo-001_v01.png"]


async def test_a_strangers_file_is_never_overwritten(photos: Path, out: Path) -> None:
    async with scripted() as api:
        await run(photos / "photo-000.jpg", out, base_url=api.url)
        (out / "photo-001_v01.png").write_bytes(b"mine")
        await run(photos, out, base_url=api.url)

    assert (out / "photo-001_v01.png").read_bytes() == b"mine"
    assert (out / "photo-001_v02.png").exists()


async def test_another_type_is_refused_and_names_the_difference(photos: Path, out: Path) -> None:
    async with scripted() as api:
        await run(photos, out, base_url=api.url)
        ran = await run(photos, out, base_url=api.url, type="webp")

    assert len(api.seen) == 5
    assert isinstance(ran.error, OutputMismatch)
    assert "type=png" in str(ran.error)
    assert "type=webp" in str(ran.error)


async def test_throughput_knobs_never_change_identity(photos: Path, out: Path) -> None:
    async with scripted() as api, scripted() as gateway:
        await run(photos, out, base_url=api.url, type="png")
        ran = await run(
            photos, out, base_url=gateway.url, concurrency=2, attempts=9, timeout_s=3, rpm=5000
        )

    assert gateway.seen == []
    assert ran.progress.here == 5


async def test_sources_whose_outputs_would_meet_get_names_of_their_own(
    tmp_path: Path, out: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, name in enumerate(["a.jpg", "a.png", "B.jpg", "b.jpg", "Å.jpg", "A\u030a.jpg"]):
        (folder / name).write_bytes(jpeg(number))
    async with scripted() as api:
        await run(folder, out, base_url=api.url)
        again = await run(folder, out, base_url=api.url)

    names = pictures(out)
    assert len({name.casefold() for name in names}) == 6
    assert {"a-jpg_v01.png", "a-png_v01.png"} <= set(names)
    assert again.progress.calls == 0


async def test_a_name_once_given_stays_when_a_twin_comes(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg(1))
    async with scripted() as api:
        await run(folder, out, base_url=api.url)
        (folder / "a.png").write_bytes(png())
        await run(folder, out, base_url=api.url, variations=2)

    assert pictures(out) == ["a-png_v01.png", "a-png_v02.png", "a_v01.png", "a_v02.png"]


async def test_several_inputs_get_a_folder_each(tmp_path: Path, out: Path) -> None:
    make_photos(tmp_path / "x" / "shoes", 1)
    make_photos(tmp_path / "y" / "shoes", 1, first=1)
    (tmp_path / "one.jpg").write_bytes(jpeg(5))
    inputs = [tmp_path / "x" / "shoes", tmp_path / "y" / "shoes", tmp_path / "one.jpg"]
    async with scripted() as api:
        await run(inputs, out, base_url=api.url)

    assert pictures(out) == [
        "one_v01.png",
        "shoes-2/photo-001_v01.png",
        "shoes/photo-000_v01.png",
    ]


async def test_an_output_inside_the_input_is_never_read(photos: Path) -> None:
    out = photos / "results"
    async with scripted() as api:
        await run(photos, out, base_url=api.url)
        ran = await run(photos, out, base_url=api.url)
        other = await run(photos, photos.parent / "elsewhere", base_url=api.url)

    assert len(api.seen) == 10
    assert ran.progress.photos == 5
    assert other.progress.skipped["another run's output"] == 1


async def test_originals_stay_as_they_were(photos: Path, out: Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in photos.rglob("*.jpg")}
    async with scripted() as api:
        await run(photos, out, base_url=api.url, variations=3)

    after = {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in photos.rglob("*")
        if path.is_file()
    }
    assert after == before


async def test_a_folder_of_other_files_is_not_taken_for_an_output(photos: Path, out: Path) -> None:
    out.mkdir()
    (out / "holiday.jpg").write_bytes(b"mine")
    async with scripted() as api:
        ran = await run(photos, out, base_url=api.url)

    assert isinstance(ran.error, OutputMismatch)
    assert api.seen == []
    assert [path.name for path in out.iterdir()] == ["holiday.jpg"]


async def test_a_photo_is_prepared_once_for_all_its_variations(photos: Path, out: Path) -> None:
    async with scripted() as api:
        await run(photos / "photo-000.jpg", out, base_url=api.url, variations=12)

    assert len({seen.body for seen in api.seen}) == 1
    assert len(pictures(out)) == 12


async def test_never_more_calls_in_flight_than_allowed(tmp_path: Path, out: Path) -> None:
    make_photos(tmp_path / "photos", 12)
    async with serve(Behaviour(latency_s=0.02, picture_px=16)) as api:
        ran = await run(tmp_path / "photos", out, base_url=api.url, variations=4, concurrency=5)
        stats = api.stats()

    assert ran.progress.made == 48
    assert stats["max_in_flight"] <= 5
    assert stats["max_in_flight"] >= 4


async def test_two_photos_that_take_turns_under_one_name_never_meet(
    tmp_path: Path, out: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(png((1, 1, 1)))
    async with scripted() as api:
        await run(folder, out, base_url=api.url)
        (folder / "a.png").unlink()
        (folder / "a.jpg").write_bytes(jpeg(1))
        await run(folder, out, base_url=api.url)
        (folder / "a.png").write_bytes(png((1, 1, 1)))
        ran = await run(folder, out, base_url=api.url, variations=5)

    assert ran.error is None
    assert len(api.seen) == len(pictures(out)) == 10
    assert len({row["output"] for row in rows(out)}) == 10


async def test_a_refusal_of_another_content_hides_no_picture(photos: Path, out: Path) -> None:
    photo = photos / "photo-000.jpg"
    async with scripted() as api:
        await run(photos, out, base_url=api.url, variations=2)
        content = photo.read_bytes()
        async with scripted(*[error(400, "INVALID_IMAGE_SIZE")] * 2) as other:
            photo.write_bytes(jpeg(80))  # edited, and refused
            await run(photos, out, base_url=other.url, variations=2)
        photo.write_bytes(content)
        ran = await run(photos, out, base_url=api.url, variations=2)

    assert ran.progress.here == 10
    assert ran.progress.calls == 0
    found = await asyncio.to_thread(verify, out)
    assert (found.good, found.sound) == (10, True)


async def test_a_torn_output_is_noticed_set_aside_and_made_again(photos: Path, out: Path) -> None:
    async with scripted() as api:
        await run(photos, out, base_url=api.url)
        torn = out / "photo-001_v01.png"
        torn.write_bytes(torn.read_bytes()[:-9])
        ran = await run(photos, out, base_url=api.url)

    assert [record.output for record in ran.records] == ["photo-001_v01.png"]
    assert_whole(out)
    assert len(api.seen) == 6


async def test_an_output_that_was_edited_is_left_alone(photos: Path, out: Path) -> None:
    async with scripted() as api:
        await run(photos, out, base_url=api.url)
        (out / "photo-001_v01.png").write_bytes(png((9, 9, 9), (40, 40)))
        ran = await run(photos, out, base_url=api.url)

    assert ran.progress.calls == 0
    assert (out / "photo-001_v01.png").read_bytes() == png((9, 9, 9), (40, 40))


async def test_results_are_no_photos_to_send(photos: Path, out: Path) -> None:
    async with scripted() as api:
        await run(photos, out, base_url=api.url)
        folder = await run(out / "more", out, base_url=api.url)
        file = await run(out / "photo-000_v01.png", out, base_url=api.url)

    assert isinstance(folder.error, UsageError)
    assert isinstance(file.error, UsageError)
    assert len(api.seen) == 5


async def test_calls_from_before_a_price_was_set_count_against_the_budget(
    photos: Path, out: Path
) -> None:
    async with scripted() as api:
        await run(photos, out, base_url=api.url)
        ran = await run(photos, out, base_url=api.url, variations=3, price=1, budget=7)

    assert isinstance(ran.error, LimitReached)
    assert len(api.seen) == 7


async def test_an_answer_that_could_not_be_kept_is_found_or_stated_by_the_next_run(
    photos: Path, out: Path
) -> None:
    async with scripted() as api:

        async def spoil(_: web.Request) -> web.StreamResponse:
            shutil.rmtree(out / ".batch-reimagine" / "unfinished")  # nothing can be written now
            return web.json_response(good()[1])

        api.answers.append(spoil)
        ran = await run(photos / "photo-000.jpg", out, base_url=api.url, price=1)

        assert isinstance(ran.error, LocalResource)
        assert ran.progress.at_risk == "1"
        again = await run(photos / "photo-000.jpg", out, base_url=api.url, price=1)

    assert any("may have been paid" in note for note in again.notes)
    assert [row["status"] for row in rows(out)] == ["unknown", "done"]


async def test_what_appears_under_an_answers_name_is_left_alone_and_ends_the_run(
    photos: Path, out: Path
) -> None:
    async with scripted() as api:

        async def plant(_: web.Request) -> web.StreamResponse:
            (out / "photo-000_v01.png").write_bytes(b"mine")
            return web.json_response(good()[1])

        api.answers.append(plant)
        ran = await run(photos / "photo-000.jpg", out, base_url=api.url, price=1)
        again = await run(photos / "photo-000.jpg", out, base_url=api.url, price=1)

    assert isinstance(ran.error, LocalResource)
    assert any("may have been paid" in note for note in again.notes)
    assert [row["status"] for row in rows(out)] == ["unknown", "done"]
    assert (out / "photo-000_v01.png").read_bytes() == b"mine"


async def test_an_error_after_an_orderly_stop_is_not_lost(photos: Path, out: Path) -> None:
    stop = Stop()
    async with scripted() as api:

        async def answer(_: web.Request) -> web.StreamResponse:
            stop.request("interrupted")
            shutil.rmtree(out / ".batch-reimagine" / "unfinished")
            return web.json_response(good()[1])

        api.answers.append(answer)
        ran = await run(photos, out, base_url=api.url, concurrency=1, stop=stop)

    assert isinstance(ran.error, LocalResource)


async def test_a_disk_without_room_for_one_call_ends_the_run_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outset, "PICTURE_BYTES", 10**18)
    make_photos(tmp_path / "photos", 1)
    async with scripted() as api:
        ran = await run(tmp_path / "photos", tmp_path / "out", base_url=api.url)

    assert isinstance(ran.error, LocalResource)
    assert "make room, and the same command goes on" in str(ran.error)
    assert api.seen == []


async def test_a_bug_after_a_picture_was_written_does_not_buy_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photos(tmp_path / "photos", 1)
    buy = LocalHeld.buy

    async def fails_at_its_end(held: LocalHeld, *arguments: Any) -> Outcome:
        await buy(held, *arguments)
        raise RuntimeError("can't start new thread")

    async with scripted() as api:
        with monkeypatch.context() as patch:
            patch.setattr(LocalHeld, "buy", fails_at_its_end)
            ran = await run(tmp_path / "photos", tmp_path / "out", base_url=api.url, price="1")
        assert isinstance(ran.error, RuntimeError)
        assert (ran.progress.unknown, ran.progress.at_risk) == (1, "1")
        again = await run(tmp_path / "photos", tmp_path / "out", base_url=api.url, price="1")

    assert len(api.seen) == len(pictures(tmp_path / "out")) == 1
    assert (again.progress.calls, again.progress.here) == (0, 1)
