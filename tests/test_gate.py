"""The pace against real servers with limits, outages and a poison picture; the clock."""

import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from batch_reimagine.cli.reporter import Reporter
from batch_reimagine.prepare import prepare
from batch_reimagine.settings import Settings
from batch_reimagine.simulator import Behaviour, serve
from tests.support import hang, make_photos, pictures, rows, run, scripted
from tests.test_cli import command, ended, start


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_photos(tmp_path / "photos", 40)
    return tmp_path / "photos"


async def test_an_images_per_minute_limit_is_learned_and_nothing_fails(
    photos: Path, tmp_path: Path
) -> None:
    behaviour = Behaviour(images_per_minute=1200, burst=5, latency_s=0.02, picture_px=16)
    async with serve(behaviour) as api:
        ran = await run(photos, tmp_path / "out", base_url=api.url, variations=4)
        stats = api.stats()

    assert ran.progress.made == 160
    assert ran.progress.failed == 0
    assert stats["by_outcome"].get("throttled", 0) < 80  # a client that only retries: hundreds


async def test_a_limit_on_calls_at_once_is_found(photos: Path, tmp_path: Path) -> None:
    behaviour = Behaviour(max_concurrent=3, over_concurrency="503", latency_s=0.1, picture_px=16)
    async with serve(behaviour) as api:
        ran = await run(photos, tmp_path / "out", base_url=api.url, variations=3, concurrency=16)
        stats = api.stats()

    assert ran.progress.made == 120
    assert ran.progress.failed == 0
    assert stats["by_outcome"]["fault"] < 20


@pytest.mark.parametrize("kind", ["503", "reset"])
async def test_an_outage_costs_no_photo_its_place(photos: Path, tmp_path: Path, kind: str) -> None:
    behaviour = Behaviour(
        outage=(0.6, 6.0), outage_kind=kind, latency_s=0.1, picture_px=16,
    )  # fmt: skip
    async with serve(behaviour) as api:
        ran = await run(photos, tmp_path / "out", base_url=api.url, variations=4, concurrency=8)
        stats = api.stats()

    assert ran.progress.made == 160
    assert ran.progress.failed == 0
    assert stats["calls"] - 160 < 40  # eight met it in flight, then a probe now and then
    if kind == "reset":  # a burst of 503s is first of all a request for less
        assert any("one probe at a time" in note for note in ran.notes)
        assert any("answers again" in note for note in ran.notes)


async def test_a_poison_photo_is_given_up_and_slows_nobody(photos: Path, tmp_path: Path) -> None:
    poison = hashlib.sha256(prepare((photos / "photo-003.jpg").read_bytes()).data).hexdigest()
    async with serve(Behaviour(fail_photo=(poison,), latency_s=0.02, picture_px=16)) as api:
        ran = await run(photos, tmp_path / "out", base_url=api.url, variations=2)

    assert ran.progress.made == 78
    assert ran.progress.exhausted == 2
    failed = [row for row in rows(tmp_path / "out") if row["status"] != "done"]
    assert {(row["source"], row["attempts"]) for row in failed} == {("photo-003.jpg", 3)}


async def test_starts_keep_to_rpm(photos: Path, tmp_path: Path) -> None:
    async with serve(Behaviour(picture_px=16)) as api:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await run(photos, tmp_path / "out", base_url=api.url, rpm=1200)
        took = loop.time() - began

    assert took >= 39 * 0.05  # forty starts, a twentieth of a second apart


async def test_status_tells_of_a_run_from_outside(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with serve(Behaviour(latency_s=0.3, picture_px=16)) as api:
        process = start(
            "run", photos, "-o", out, "--base-url", api.url, "--concurrency", 2, "--ramp", "off"
        )
        while api.stats()["paid"] < 8:
            await asyncio.sleep(0.02)
        during = json.loads((await asyncio.to_thread(command, "status", out, "--json")).stdout)
        lines = (await asyncio.to_thread(command, "status", out)).stdout
        process.terminate()
        await ended(process)
    after = json.loads(command("status", out, "--json").stdout)

    assert (during["running"], during["wanted"]) == (True, 40)
    assert f"pid {process.pid}" in during["holder"]
    assert during["in_flight"] <= 2
    assert during["seconds_left"] > 1
    assert "/40, " in lines
    assert (after["running"], after["in_flight"]) == (False, 0)
    assert after["done"] == len(pictures(out))


async def test_a_late_call_is_shown_by_name(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 1)
    settings = Settings(timeout_s=2)
    reporter = Reporter(json=False, quiet=True, verbose=False, settings=settings)
    seen = set()

    async def look() -> None:
        while True:
            await asyncio.sleep(0.02)
            seen.add("for photo-000.jpg #1" in reporter.line())

    async with scripted(hang) as api:
        watching = asyncio.create_task(look())
        await run(
            tmp_path / "photos", tmp_path / "out", base_url=api.url, timeout_s=2,
            progress=reporter.progress,
        )  # fmt: skip
        watching.cancel()
    await asyncio.to_thread(reporter.close)

    assert seen == {False, True}, "late in the end, not at once"
