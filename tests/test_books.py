"""The books over a long life: compaction, repair, a process that was stopped, a bug of ours."""

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from batch_reimagine import compact
from batch_reimagine.simulator import Behaviour, serve
from tests.support import KEY, assert_whole, error, make_photos, pictures, png, rows, run, scripted
from tests.test_cli import ROOT, command, ended, environment, finish, start


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_photos(tmp_path / "photos", 4)
    return tmp_path / "photos"


async def test_a_journal_is_summed_up_and_the_money_stays(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    journal = out / ".batch-reimagine" / "attempts.jsonl"
    async with scripted(error(500, "INTERNAL")) as api:
        await run(photos, out, base_url=api.url, price="0.1", variations=3)
        long = journal.stat().st_size
        monkeypatch.setattr(compact, "_JOURNAL_BYTES", 100)
        await run(photos, out, base_url=api.url, price="0.1", variations=3)

        assert journal.stat().st_size < long / 10
        (line,) = journal.read_text().splitlines()
        assert json.loads(line) == {
            "what": "carry",
            "spent": "1.2",
            "at_risk": "0.1",
            "calls": 13,
            "unpriced": 0,
        }
        ran = await run(photos, out, base_url=api.url, price="0.1", budget="1.45", variations=9)

    assert ran.progress.made == 1  # 1.2 + 0.1 + 0.1 fit into 1.45, one more does not


async def test_a_manifest_of_superseded_rows_is_compacted(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compact, "_SUPERSEDED_ROWS", 8)
    out = tmp_path / "out"
    manifest = out / "manifest.jsonl"
    async with scripted(*[error(500, "INTERNAL")] * 12) as api:
        for _ in range(3):
            await run(photos, out, base_url=api.url, attempts=1)
        assert len(rows(out)) == 4
        monkeypatch.setattr(compact, "_SUPERSEDED_ROWS", 4)
        with manifest.open("a") as opened:
            opened.write('{"v": 2, "from": "the future"}\n')
        await run(photos, out, base_url=api.url, attempts=1)

    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert lines[0] == {"v": 2, "from": "the future"}
    assert [line["status"] for line in lines[1:]] == ["done"] * 4


async def test_repair_makes_again_what_is_torn_and_leaves_what_was_edited(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    async with scripted() as api:
        arguments = ("run", photos, "-o", out, "--base-url", api.url)
        await finish(*arguments)
        first, second, third, _ = (out / name for name in pictures(out))
        first.unlink()
        second.write_bytes(second.read_bytes()[:-7])
        third.write_bytes(png((1, 2, 3)))
        code, _, err = await finish(*arguments, "--repair")

        assert code == 0
        assert "1 torn outputs are set aside" in err
        assert "1 outputs were changed since" in err
        assert len(api.seen) == 6

    assert third.read_bytes() == png((1, 2, 3))
    assert command("verify", out).stdout.startswith(f"changed: {third.name}\n3 good")
    assert_whole(out)


async def test_time_in_which_the_process_was_stopped_does_not_count(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    async with serve(Behaviour(latency_s=0.5, picture_px=32)) as api:
        process = start(
            "run", photos, "-o", out, "--base-url", api.url, "--timeout-s", 2, "--attempts", 1
        )
        while api.stats()["calls"] < 4:
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        # The answers come while it sleeps, and every deadline passes.
        await asyncio.sleep(4)
        process.send_signal(signal.SIGCONT)
        code, _, err = await ended(process)

        assert code == 0, err
        assert api.stats()["calls"] == 4

    assert len(pictures(out)) == 4


def test_a_bug_of_ours_is_one_line_and_exit_code_1(photos: Path, tmp_path: Path) -> None:
    broken = (
        "import sys; from batch_reimagine import batch, cli;"
        f"batch.PLAN_WITHIN_S = None if False else 'no number {KEY}';"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            broken,
            "run",
            str(photos),
            "-o",
            str(tmp_path / "out"),
            "--base-url",
            "http://127.0.0.1:9",
        ],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        cwd=ROOT,
    )

    assert found.returncode == 1
    assert "unexpected TypeError at " in found.stderr
    assert "Traceback" not in found.stderr
    assert KEY not in found.stderr
    assert not (tmp_path / "out" / "manifest.jsonl").read_text()


async def test_a_full_standard_error_loses_no_answer(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with scripted() as api:
        arguments = ["run", str(photos), "-o", str(out), "--base-url", api.url, "-v"]
        with open("/dev/full", "wb") as full:  # noqa: ASYNC230, PTH123 - a device
            process = subprocess.Popen(
                [sys.executable, "-m", "batch_reimagine", *arguments],
                env=environment(),
                stdout=full,
                stderr=full,
            )
            await ended(process)

    assert len(pictures(out)) == len(rows(out)) == 4


async def test_a_reader_who_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 60)
    out = tmp_path / "out"
    reading, writing = os.pipe()
    async with scripted() as api:
        arguments = ["run", str(tmp_path / "photos"), "-o", str(out), "--base-url", api.url]
        process = subprocess.Popen(
            [sys.executable, "-m", "batch_reimagine", *arguments, "-n", "30", "--json"],
            env=environment(),
            stdout=writing,
            stderr=subprocess.PIPE,
        )
        os.close(writing)
        while len(api.seen) < 300:
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        began = asyncio.get_running_loop().time()
        code, _, err = await ended(process)

        assert asyncio.get_running_loop().time() - began < 3
        assert code == 143, err
        assert len(pictures(out)) == len([r for r in rows(out) if r["status"] == "done"])
    os.close(reading)


@pytest.mark.parametrize("closed", ["stdout", "stderr", "both"])
async def test_streams_closed_from_the_start_are_no_failure(
    photos: Path, tmp_path: Path, closed: str
) -> None:
    redirect = {"stdout": ">&-", "stderr": "2>&-", "both": ">&- 2>&-"}[closed]
    out = tmp_path / "out"
    async with scripted() as api:
        words = ["run", str(photos), "-o", str(out), "--base-url", api.url]
        line = shlex.join([sys.executable, "-m", "batch_reimagine", *words])
        process = subprocess.Popen(f"exec {line} {redirect}", env=environment(), shell=True)  # noqa: S602
        code, _, _ = await ended(process)

    assert code == 0
    assert len(pictures(out)) == 4
