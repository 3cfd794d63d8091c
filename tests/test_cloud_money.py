"""What is paid for over a store is told right, whoever wrote there and whatever was lost."""

import asyncio
import shutil
from pathlib import Path

import msgspec
import pytest

from batch_reimagine.cloud.rows import packed, unpacked
from batch_reimagine.simulator import Behaviour, serve
from batch_reimagine.work import Record
from tests import stores
from tests.support import jpeg
from tests.test_cloud_run import Shop, fill, s3, shop  # noqa: F401 - fixtures


def row(**other: object) -> Record:
    known = {
        "run": "r",
        "time": "2026-01-02T03:04:05.678Z",
        "status": "done",
        "source": "a.jpg",
        "source_sha256": "0" * 64,
        "variation": 1,
        "output": "a_v01.png",
        "output_sha256": "1" * 64,
        "width": 3,
        "height": 4,
        "bytes": 5,
        "type": "png",
        "provider": "novita",
        "request": "novita type=png",
        "attempts": 1,
        "cost": "0.5",
    }
    return msgspec.convert({**known, **other}, Record)


def test_a_row_comes_back_from_metadata_as_it_was() -> None:
    told = packed(row(), "1" * 64)
    assert unpacked(told, "a_v01.png") == row()
    assert unpacked(told, "b_v01.png") is None
    assert unpacked({**told, "sha256": "2" * 64}, "a_v01.png") is None


@pytest.mark.parametrize(
    "spoilt",
    [
        {"cost": "-1000000"},
        {"cost": "NaN"},
        {"cost": "x"},
        {"cost": "1e999999999"},
        {"attempts": -3},
        {"attempts": 10**9},
        {"type": None},
        {"type": "tiff"},
        {"type": "webp"},
        {"time": "yesterday"},
        {"time": "2026-01-02T03:04:05"},
        {"variation": 0},
        {"width": None},
        {"bytes": -1},
        {"status": "unknown"},
    ],
)
def test_a_row_that_we_would_not_have_written_is_not_believed(spoilt: dict[str, object]) -> None:
    assert unpacked(packed(row(**spoilt), "1" * 64), "a_v01.png") is None


def test_metadata_that_is_no_row_is_not_believed() -> None:
    for text in ("", "AAAA", "!", "e30=", packed(row(), "1" * 64)["row"][:-60]):
        assert unpacked({"row": text, "sha256": "1" * 64}, "a_v01.png") is None


def test_a_long_row_leaves_out_its_message_and_a_longer_one_itself() -> None:
    noise = "".join(chr(0x4E00 + number * 7 % 20_000) for number in range(700))
    assert unpacked(packed(row(message=noise), "1" * 64), "a_v01.png") == row()
    assert packed(row(source=noise), "1" * 64).keys() == {"sha256"}


async def test_what_a_dead_machine_spent_unaccounted_counts_against_the_budget_for_good(
    shop: Shop,  # noqa: F811
    tmp_path: Path,
) -> None:
    fill(shop.photos, 10)
    async with serve(Behaviour(latency_s=0.2, picture_px=32)) as api:
        command = [shop.photos.address, "-o", shop.out.address, "-n", 2, "--base-url", api.url]
        command += ["--price", "0.5", "--concurrency", 2]
        process = shop.start("run", *command)
        while api.stats()["paid"] < 6:
            await asyncio.sleep(0.02)
        process.kill()  # before its first account went to the store
        await asyncio.to_thread(process.communicate)
        shop.out.delete(".batch-reimagine/lease.json")
        paid = api.stats()["paid"]
        lost = paid - len(shop.pictures())
        (elsewhere := tmp_path / "elsewhere").mkdir()
        budget = ["--budget", "5"]  # ten calls in all
        first = await shop.run(*command, *budget, home=elsewhere)
        second = await shop.run(*command, *budget, home=elsewhere)
        shutil.rmtree(elsewhere)
        elsewhere.mkdir()
        third = await shop.run(*command, *budget, home=elsewhere)

        assert (first[0], second[0], third[0]) == (8, 8, 8), (first, second, third)
        # What was in flight when it died nobody can know of; all else is counted once.
        assert api.stats()["paid"] <= 10 + lost
        assert len(shop.pictures()) == 10


async def test_another_photos_picture_under_a_dead_runs_name_is_not_taken_for_its_own(
    shop: Shop,  # noqa: F811
    tmp_path: Path,
) -> None:
    shop.photos.put("p.jpg", jpeg(1))
    async with serve(Behaviour(latency_s=5, picture_px=32)) as api:
        command = [shop.photos.address, "-o", shop.out.address, "--base-url", api.url]
        process = shop.start("run", *command)
        while not api.stats()["calls"]:
            await asyncio.sleep(0.02)
        process.kill()  # in flight for the first photo
        await asyncio.to_thread(process.communicate)
        shop.out.delete(".batch-reimagine/lease.json")
        shop.photos.put("p.jpg", jpeg(2))
        (elsewhere := tmp_path / "elsewhere").mkdir()
        code, _, err = await shop.run(*command, home=elsewhere)
        assert code == 0, err
        shop.photos.put("p.jpg", jpeg(1))
        code, out, err = await shop.run(*command)
        assert code == 0, err
        assert "1 made" in out
    assert shop.pictures() == ["p_v01.png", "p_v02.png"]


async def test_one_buckets_name_at_two_servers_is_two_outputs(
    shop: Shop,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(shop.photos, 2)
    (photos := tmp_path / "photos").mkdir()
    (photos / "a.jpg").write_bytes(jpeg(5))
    command = [photos, "-o", shop.out.address, "--provider", "simulator"]
    first = await shop.run(*command)
    with stores.moto() as other:
        other.use(monkeypatch)
        other.bucket(shop.bucket.bucket)
        second = await shop.run(*command, **other.environment)
    assert "1 made" in first[1], first
    assert "1 made" in second[1], second


async def test_a_picture_that_was_deleted_from_the_store_is_made_again(shop: Shop) -> None:  # noqa: F811
    fill(shop.photos, 2)
    shop.photos.put("twin.jpg", jpeg(0))  # the content of another
    command = [shop.photos.address, "-o", shop.out.address, "--provider", "simulator", "-n", 2]
    assert (await shop.run(*command))[0] == 0
    for name in shop.pictures():
        if "photo 000" in name:
            shop.out.delete(name)
    code, out, err = await shop.run(*command[:5], "-n", 3)
    assert code == 0, err
    assert len(shop.pictures()) == 9
    assert "Traceback" not in out + err
