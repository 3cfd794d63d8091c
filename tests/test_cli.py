"""The command as a stranger types it: messages, exit codes, streams, signals."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batch_reimagine.simulator import Behaviour, serve
from tests.support import KEY, error, hang, jpeg, make_photos, pictures, rows, scripted

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "batch_reimagine"]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "NOVITA" not in name}
    # aiohttp reads every authority of the system at its import, and no test talks TLS to the world.
    kept["SSL_CERT_FILE"] = os.devnull
    return kept | {"PYTHONPATH": str(ROOT), "NOVITA_API_KEY": KEY} | more


def command(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environment(**env),
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def start(*arguments: object, **env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = await asyncio.to_thread(process.communicate, timeout=50)
    return process.returncode, (out or b"").decode(), (err or b"").decode()


async def finish(*arguments: object, **env: str) -> tuple[int, str, str]:
    return await ended(start(*arguments, **env))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_photos(tmp_path / "photos", 4)
    return tmp_path / "photos"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        pytest.param(["run", "{nowhere}", "-o", "{out}"], 2, "No such file", id="no such input"),
        pytest.param(["run", "{empty}", "-o", "{out}"], 2, "no photos in", id="empty folder"),
        pytest.param(["run", "-o", "{out}"], 2, "no input", id="no input at all"),
        pytest.param(["run", "{photos}"], 2, "--output", id="no output"),
        pytest.param(["run", "{photos}", "-o", "{photos}"], 2, "both input and output", id="same"),
        pytest.param(["run", "{photos}", "-o", "{file}"], 10, "is a file", id="output is a file"),
        pytest.param(["run", "{photos}", "-o", "/proc/out"], 9, "cannot write", id="not writable"),
        pytest.param(
            ["run", "{photos}", "-o", "{out}", "-n", "0"], 2, "variations: '0'", id="N = 0"
        ),
        pytest.param(
            ["run", "{photos}", "-o", "{out}", "-n", "1.5"], 2, "variations: '1.5'", id="N = 1.5"
        ),
        pytest.param(["run", "{photos}", "-o", "{out}", "--typo"], 2, "--typo", id="unknown flag"),
        pytest.param(["run", "{photos}", "-o", "{out}", "--type", "gif"], 2, "gif", id="type gif"),
        pytest.param(
            ["run", "{photos}", "-o", "{out}", "--base-url", "nonsense"], 2, "base_url", id="no URL"
        ),
        pytest.param(
            ["run", "{photos}", "-o", "{out}", "--budget", "5"], 2, "--price", id="no price"
        ),
        pytest.param(
            ["run", "{photos}", "-o", "{out}", "--config", "{toml}"], 2, "variatons", id="TOML typo"
        ),
        pytest.param(
            ["run", "{photos}", "-o", "{out}", "--config", "{broken}"],
            2,
            "not valid TOML",
            id="TOML",
        ),
        pytest.param(["runn"], 2, "runn", id="unknown command"),
        pytest.param(["status", "{photos}"], 10, "no output folder", id="status of no output"),
        pytest.param(["verify", "{photos}"], 10, "no output folder", id="verify of no output"),
        pytest.param(["simulate", "--share-500", "2"], 2, "share_500", id="simulate, bad share"),
    ],
)
def test_bad_input_is_told_what_why_and_the_way_out(  # noqa: PLR0917
    tmp_path: Path, photos: Path, out: Path, arguments: list[str], code: int, says: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "typo.toml").write_text("variatons = 3\n")
    (tmp_path / "broken.toml").write_text("variations = = 3\n")
    places = {
        "nowhere": tmp_path / "nowhere",
        "empty": tmp_path / "empty",
        "out": out,
        "photos": photos,
        "file": tmp_path / "file",
        "toml": tmp_path / "typo.toml",
        "broken": tmp_path / "broken.toml",
    }
    ended = command(*[argument.format(**places) for argument in arguments])

    assert ended.returncode == code, ended.stderr
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    assert not list(out.rglob("*_v*"))


async def test_without_a_key_nothing_is_sent(photos: Path, out: Path) -> None:
    async with scripted() as api:
        code, _, err = await finish(
            "run", photos, "-o", out, "--base-url", api.url, NOVITA_API_KEY=""
        )

    assert code == 4
    assert "NOVITA_API_KEY" in err
    assert api.seen == []


async def test_the_key_may_come_from_a_file(photos: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    async with scripted() as api:
        code, _, _ = await finish(
            "run",
            photos,
            "-o",
            out,
            "--base-url",
            api.url,
            NOVITA_API_KEY="",
            NOVITA_API_KEY_FILE=str(tmp_path / "key"),
        )

    assert code == 0
    assert {seen.headers["Authorization"] for seen in api.seen} == {f"Bearer {KEY}"}


async def test_a_wrong_key_ends_with_4_and_the_next_command(photos: Path, out: Path) -> None:
    async with scripted(*[error(403, "INVALID_API_KEY", "bad key")] * 9) as api:
        code, stdout, err = await finish(
            "run", photos, "-o", out, "--base-url", api.url, "--concurrency", 1
        )

    assert code == 4
    assert "INVALID_API_KEY" in err
    assert "next: batch-reimagine run" in stdout
    assert KEY not in stdout + err
    assert len(api.seen) == 1


async def test_failures_end_with_3_grouped_by_reason(photos: Path, out: Path) -> None:
    async with scripted(error(400, "INVALID_IMAGE_SIZE")) as api:
        code, stdout, _ = await finish("run", photos, "-o", out, "--base-url", api.url)

    assert code == 3
    assert "3 made, 1 photos refused" in stdout
    assert "failures: 1 INVALID_IMAGE_SIZE" in stdout
    assert "--retry-failed" in stdout


async def test_the_plan_comes_first_and_the_summary_last(photos: Path, out: Path) -> None:
    (photos / "notes.txt").write_text("x")
    (photos / "empty.jpg").touch()
    async with scripted() as api:
        code, stdout, err = await finish(
            "run", photos, "-o", out, "--base-url", api.url, "-n", 2, "--price", "0.01"
        )

    assert code == 0
    assert err.splitlines()[0] == (
        "plan: 4 photos × 2 = 8 variations; 0 already here, 8 to make; 0.08 if no call fails"
    )
    assert "1 empty file, 1 not a picture" in err
    assert stdout.splitlines()[0].startswith("8 made: 4 photos, 8 calls")
    assert "money, all runs: 0.08 spent, 0 sent and not known" in stdout
    assert "\x1b" not in stdout + err


async def test_a_finished_job_says_so(photos: Path, out: Path) -> None:
    async with scripted() as api:
        arguments = ("run", photos, "-o", out, "--base-url", api.url)
        await finish(*arguments)
        code, stdout, err = await finish(*arguments)

    assert code == 0
    assert "4 already here, 0 to make" in err
    assert "everything is here; nothing was sent" in stdout
    assert len(api.seen) == 4


def test_a_dry_run_needs_no_key_and_writes_nothing(photos: Path, out: Path) -> None:
    ended = command("run", photos, "-o", out, "-n", 3, "--dry-run", NOVITA_API_KEY="")

    assert ended.returncode == 0
    assert "4 photos × 3 = 12 variations; 0 already here, 12 to make" in ended.stdout
    assert not out.exists()


async def test_json_lines_are_data_on_stdout_alone(photos: Path, out: Path) -> None:
    async with scripted(error(400, "INVALID_IMAGE_SIZE")) as api:
        code, stdout, err = await finish("run", photos, "-o", out, "--base-url", api.url, "--json")

    events = [json.loads(line) for line in stdout.splitlines()]
    assert code == 3
    assert err == ""
    assert [event["event"] for event in events] == ["plan", *["item"] * 4, "summary"]
    assert events[-1]["exit"] == 3
    assert events[-1]["made"] == 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_first_signal_keeps_what_is_in_flight(
    tmp_path: Path, out: Path, number: int, code: int
) -> None:
    make_photos(tmp_path / "photos", 40)
    async with serve(Behaviour(latency_s=0.4, picture_px=16)) as api:
        arguments = (
            "run",
            tmp_path / "photos",
            "-o",
            out,
            "--base-url",
            api.url,
            "--concurrency",
            4,
        )
        process = start(*arguments)
        while api.stats()["calls"] < 6:
            await asyncio.sleep(0.02)
        process.send_signal(number)
        stopped, stdout, _ = await ended(process)
        stats = api.stats()

        assert stopped == code
        assert "next: batch-reimagine run" in stdout
        assert stats["calls"] <= 10
        assert len(pictures(out)) == len(rows(out)) == stats["calls"]

        resumed, _, _ = await finish(*arguments)
        assert resumed == 0
        assert api.stats()["calls"] == 40


async def test_a_second_signal_drops_them_and_writes_them_down(photos: Path, out: Path) -> None:
    async with scripted(*[hang] * 4) as api:
        process = start("run", photos, "-o", out, "--base-url", api.url, "--price", "0.5")
        while len(api.seen) < 4:
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.2)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        code, stdout, _ = await ended(process)

        assert time.monotonic() - began < 1.0
        assert code == 130
        assert [row["status"] for row in rows(out)] == ["unknown"] * 4
        assert "2.0 sent and not known" in stdout
        code, _, _ = await finish("run", photos, "-o", out, "--base-url", api.url)

    assert code == 0
    assert len(pictures(out)) == 4


async def test_a_second_run_on_the_same_output_is_refused(photos: Path, out: Path) -> None:
    async with scripted(hang) as api:
        first = start("run", photos, "-o", out, "--base-url", api.url, "--concurrency", 1)
        while not api.seen:
            await asyncio.sleep(0.02)
        code, _, err = await finish("run", photos, "-o", out, "--base-url", api.url)
        first.kill()
        await ended(first)

        assert code == 11
        assert f"pid {first.pid}" in err
        assert len(api.seen) == 1
        code, _, _ = await finish("run", photos, "-o", out, "--base-url", api.url)

    assert code == 0


async def test_a_closed_stdout_loses_no_answer(photos: Path, out: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    async with scripted() as api:
        arguments = ["run", str(photos), "-o", str(out), "--base-url", api.url, "--json"]
        process = subprocess.Popen(
            [*COMMAND, *arguments], env=environment(), stdout=writing, stderr=subprocess.PIPE
        )
        os.close(writing)
        code, _, err = await ended(process)

    assert "Traceback" not in err
    assert code == 0
    assert len(pictures(out)) == 4


async def test_an_absent_server_ends_with_5(photos: Path, out: Path) -> None:
    async with scripted() as api:
        url = api.url
    code, _, err = await finish("run", photos, "-o", out, "--base-url", url, "--no-wait")

    assert code == 5
    assert "cannot be reached" in err
    assert rows(out) == []


async def test_a_budget_is_never_overdrawn_and_ends_with_8(photos: Path, out: Path) -> None:
    async with scripted() as api:
        arguments = (
            "run",
            photos,
            "-o",
            out,
            "--base-url",
            api.url,
            "-n",
            5,
            "--price",
            "0.1",
            "--budget",
            "0.75",
        )
        code, stdout, err = await finish(*arguments)
        again, _, _ = await finish(*arguments)

    assert code == again == 8
    assert "budget of 0.75" in err
    assert "next: " in stdout
    assert len(api.seen) == 7
    assert len(pictures(out)) == 7


async def test_max_calls_counts_retries(photos: Path, out: Path) -> None:
    async with scripted(error(500, "INTERNAL")) as api:
        code, _, _ = await finish(
            "run", photos, "-o", out, "--base-url", api.url, "-n", 5, "--max-calls", 3
        )

    assert code == 8
    assert len(api.seen) == 3


async def test_max_duration_ends_with_8(tmp_path: Path, out: Path) -> None:
    make_photos(tmp_path / "photos", 30)
    async with serve(Behaviour(latency_s=0.3, picture_px=16)) as api:
        code, _, _ = await finish(
            "run",
            tmp_path / "photos",
            "-o",
            out,
            "--base-url",
            api.url,
            "--concurrency",
            2,
            "--max-duration",
            "1s",
        )

    assert code == 8
    assert 2 <= len(pictures(out)) < 30


async def test_a_halt_rule_ends_with_6(tmp_path: Path, out: Path) -> None:
    make_photos(tmp_path / "photos", 30)
    async with scripted(*[error(400, "INVALID_IMAGE_SIZE")] * 30) as api:
        code, _, err = await finish(
            "run",
            tmp_path / "photos",
            "-o",
            out,
            "--base-url",
            api.url,
            "--concurrency",
            1,
            "--halt",
            "soon,fail=3",
        )

    assert code == 6
    assert "3 of 3 failed" in err
    assert len(api.seen) == 3


async def test_status_and_verify_tell_what_is_there(photos: Path, out: Path) -> None:
    async with scripted(error(400, "INVALID_IMAGE_SIZE")) as api:
        await finish("run", photos, "-o", out, "--base-url", api.url, "--price", "0.02")
    status = command("status", out, "--json")
    found = json.loads(status.stdout)
    assert (found["done"], found["rejected"], found["calls"]) == (3, 1, 4)
    assert (found["spent"], found["running"]) == ("0.06", False)
    assert "3 variations of 4 photos" in command("status", out).stdout
    assert command("verify", out).returncode == 0

    first, second, third = pictures(out)
    (out / first).unlink()
    (out / second).write_bytes((out / second).read_bytes()[:-5])
    (out / "stray_v01.png").write_bytes((out / third).read_bytes())
    (out / third).write_bytes((out / third).read_bytes() + b"x")
    ended = command("verify", out)

    assert ended.returncode == 3
    assert set(ended.stdout.splitlines()[:4]) == {
        f"missing: {first}",
        f"torn: {second}",
        f"changed: {third}",
        "extra: stray_v01.png",
    }


def test_the_simulator_provider_says_that_nothing_was_paid(photos: Path, out: Path) -> None:
    ended = command("run", photos, "-o", out, "--provider", "simulator", NOVITA_API_KEY="")

    assert ended.returncode == 0, ended.stderr
    assert "nothing is sent anywhere, nothing is paid" in ended.stderr
    assert "nothing was sent anywhere, nothing was paid" in ended.stdout
    assert len(pictures(out)) == 4
    assert rows(out)[0]["provider"] == "simulator"


@pytest.fixture
def awkward(tmp_path: Path) -> Path:
    folder = tmp_path / "awkward"
    names = [
        "new\nline.jpg",
        "quo\"te's.jpg",
        "per%cent.jpg",
        "\u202eright.jpg",
        "🥿.jpg",
        "CON.jpg",
        "dot..jpg",
        "x" * 250 + ".jpg",
        "ботинки чёрные.jpg",
        "水筒.jpg",
    ]
    folder.mkdir()
    for number, name in enumerate(names):
        (folder / name).write_bytes(jpeg(number))
    (folder / os.fsdecode(b"caf\xe9.jpg")).write_bytes(jpeg(90))
    (folder / ".hidden.jpg").write_bytes(jpeg(91))
    (folder / "._photo.jpg").write_bytes(b"\0\5\x16\7")
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "loop").symlink_to(folder)
    (folder / "link.jpg").symlink_to(folder / "🥿.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "empty.png").touch()
    (folder / "lies.png").write_bytes(jpeg(92))
    (folder / "no suffix").write_bytes(jpeg(93))
    return folder


async def test_an_awkward_folder_is_done_wholly(awkward: Path, out: Path) -> None:
    async with scripted() as api:
        code, stdout, err = await finish("run", awkward, "-o", out, "--base-url", api.url)
        again, _, _ = await finish("run", awkward, "-o", out, "--base-url", api.url)

    assert (code, again) == (0, 0), err
    assert len(api.seen) == len(pictures(out)) == 13
    assert "3 hidden, 2 symbolic link, 1 empty file, 1 not a regular file" in stdout
    assert "1 system file or folder" in stdout
    for name in pictures(out):
        assert len(Path(name).name.encode()) <= 200
        name.encode("utf-8")
    assert all(row["source"].encode("utf-8") for row in rows(out))
