"""SIGKILL at random moments: what was paid is on disk, but for what was in flight."""

import asyncio
import gc
import random
from collections import Counter
from pathlib import Path

import pytest

from batch_reimagine.simulator import Behaviour, serve
from tests.providing import PRICE, balance
from tests.support import assert_whole, make_photos, pictures, rows
from tests.test_cli import command, ended, start
from tests.torture import books

CONCURRENCY = 8


async def test_killed_five_times_every_variation_is_made_and_each_extra_call_explained(
    tmp_path: Path,
) -> None:
    chance = random.Random(7)  # noqa: S311 - moments, not secrets
    make_photos(tmp_path / "photos", 40)
    out = tmp_path / "out"
    arguments = ["run", tmp_path / "photos", "-o", out, "-n", 3, "--concurrency", CONCURRENCY]
    behaviour = Behaviour(latency_s=0.08, latency_jitter=0.5, picture_px=32, share_503=0.05)
    unknown = 0
    async with serve(behaviour) as api:
        arguments += ["--base-url", api.url]
        for _ in range(5):
            process = start(*arguments)
            calls = api.stats()["calls"]
            while api.stats()["calls"] == calls and process.poll() is None:
                await asyncio.sleep(0.01)
            await asyncio.sleep(chance.uniform(0.0, 0.4))
            process.kill()
            await ended(process)
            assert_whole(out)
        code, _, err = await ended(start(*arguments))
        paid = api.stats()["paid"]

        assert code == 0, err
        assert len(pictures(out)) == 120
        assert paid - 120 <= 5 * CONCURRENCY

    done = Counter(
        (row["source"], row["variation"]) for row in rows(out) if row["status"] == "done"
    )
    assert len(done) == 120
    assert set(done.values()) == {1}
    unknown = sum(row["status"] == "unknown" for row in rows(out))
    assert paid - 120 <= unknown  # every answer that was lost is written down as maybe paid
    assert command("verify", out).returncode == 0


# An upload that a kill cuts short: aiohttp leaves its file, which is in memory, to the collector.
@pytest.mark.filterwarnings("ignore:Unclosed file <tempfile.Spooled:ResourceWarning")
async def test_killed_while_calls_bring_several_pictures_each_is_kept_and_accounted_for(
    tmp_path: Path,
) -> None:
    chance = random.Random(11)  # noqa: S311 - moments, not secrets
    kills, per_call, workers, wanted = 5, 4, 4, 24 * 5
    make_photos(tmp_path / "photos", 24)
    out = tmp_path / "out"
    behaviour = Behaviour(
        latency_s=0.12,
        latency_jitter=0.6,
        picture_px=24,
        share_fewer=0.3,
        keyless=True,
    )
    async with serve(behaviour) as api:
        arguments = ["run", tmp_path / "photos", "-o", out, "-n", 5, "--per-call", per_call]
        arguments += ["--provider", "variations", "--base-url", api.url, "--concurrency", workers]
        arguments += ["--price", PRICE]
        for _ in range(kills):
            process = start(*arguments)
            calls = api.stats()["calls"]
            while api.stats()["calls"] == calls and process.poll() is None:
                await asyncio.sleep(0.01)
            await asyncio.sleep(chance.uniform(0.0, 0.5))
            process.kill()
            code, _, err = await ended(process)
            assert code < 0, err
            assert books.read(out, may_be_torn=True).findings == []
        code, _, err = await ended(start(*arguments))
        stats = api.stats()

    assert code == 0, err
    found = books.read(out, may_be_torn=False)
    assert found.findings == []
    made = Counter((row["source"], row["variation"]) for row in found.done)
    assert (len(made), len(found.files), set(made.values())) == (wanted, wanted, {1})
    assert any(0 < end.get("pictures", 0) < per_call for end in found.ends.values())
    kept, not_known, calls = balance(out)
    assert kept == wanted
    assert kept <= stats["paid"] <= kept + not_known
    assert not_known <= kills * workers * per_call
    assert stats["calls"] <= calls <= stats["calls"] + kills * workers
    assert not_known <= found.unknown_by_photo().total()
    assert command("verify", out).returncode == 0
    gc.collect()  # now, that the warning meets no other test


async def test_a_picture_kept_before_the_kill_but_without_its_row_is_not_bought_again(
    tmp_path: Path,
) -> None:
    make_photos(tmp_path / "photos", 3)
    out = tmp_path / "out"
    async with serve(Behaviour(picture_px=32)) as api:
        arguments = ["run", tmp_path / "photos", "-o", out, "--base-url", api.url]
        await ended(start(*arguments))
        # What a kill between the rename and the row, or within the row, leaves behind.
        manifest = out / "manifest.jsonl"
        whole = manifest.read_bytes()
        last_row = whole.rindex(b"\n", 0, -1) + 1
        journal = out / ".batch-reimagine" / "attempts.jsonl"
        tries = [
            line for line in journal.read_bytes().splitlines(keepends=True) if b'"try"' in line
        ]
        for cut in (last_row, last_row + 10, len(whole) - 1):
            manifest.write_bytes(whole[:cut])
            journal.write_bytes(b"".join(tries))
            code, _, err = await ended(start(*arguments))

            assert code == 0
            assert "1 pictures of a run that died were whole" in err
            assert len(rows(out)) == 3
        assert api.stats()["calls"] == 3


async def test_unknown_attempts_can_be_held(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 2)
    out = tmp_path / "out"
    async with serve(Behaviour(share_hang=1.0)) as api:
        arguments = [
            "run",
            tmp_path / "photos",
            "-o",
            out,
            "--base-url",
            api.url,
            "--price",
            "0.25",
        ]
        process = start(*arguments)
        while api.stats()["calls"] < 2:
            await asyncio.sleep(0.01)
        process.kill()
        await ended(process)
        await api.change(share_hang=0.0)
        code, stdout, err = await ended(start(*arguments, "--on-unknown", "hold"))

        assert code == 3
        assert "2 held (may have been paid)" in stdout
        assert "2 pictures that a run before this one asked for were not kept" in err
        assert "at most 0.50" in err
        assert api.stats()["calls"] == 2
        assert {row["status"] for row in rows(out)} == {"unknown"}

        code, stdout, _ = await ended(start(*arguments))
        assert code == 0
        assert "0.50 spent, 0.50 sent and not known" in stdout
        assert len(pictures(out)) == 2


async def test_a_budget_holds_across_faults_and_a_kill(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 60)
    out = tmp_path / "out"
    behaviour = Behaviour(latency_s=0.05, latency_jitter=0.5, share_500=0.1, picture_px=16)
    async with serve(behaviour) as api:
        arguments = ["run", tmp_path / "photos", "-o", out, "-n", 3, "--concurrency", 32]
        arguments += ["--base-url", api.url, "--price", "0.25", "--budget", "25"]
        process = start(*arguments)
        while api.stats()["paid"] < 50:
            await asyncio.sleep(0.01)
        process.kill()
        await ended(process)
        code, _, err = await ended(start(*arguments))
        stats = api.stats()

    assert code == 8
    assert "the budget of 25 is used up" in err
    assert stats["paid"] <= stats["calls"] <= 100  # 25 / 0.25, retries and lost ones included
    assert stats["calls"] > 100 - 32  # what was in flight at the kill may never have been sent
    assert len(pictures(out)) <= stats["paid"]
