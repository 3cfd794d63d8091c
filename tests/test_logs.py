"""The log: what an operator finds in it, what must never be in it, and what it may never cost."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine import logs
from batch_reimagine.address import Address
from batch_reimagine.cli import main
from batch_reimagine.cli.watching import refuse_log
from batch_reimagine.errors import AccountRefused, LocalResource, UsageError
from batch_reimagine.log_file import log_file
from batch_reimagine.observing import Everyone, Moment
from batch_reimagine.secret import Secret
from batch_reimagine.settings import Settings
from batch_reimagine.work import Note
from tests.support import KEY, error, make_photos, pictures, run, scripted

ROOT = Path(__file__).parent.parent
LOG = logging.getLogger("batch_reimagine.run")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


async def test_attempts_waits_rows_and_the_end_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_photos(tmp_path / "photos", 1)
    caplog.set_level(logging.DEBUG, "batch_reimagine")
    async with scripted(error(500, "INTERNAL"), error(400, "INVALID_IMAGE_SIZE", "small")) as api:
        await run(tmp_path / "photos", tmp_path / "out", base_url=api.url)

    said = [(record.levelname, record.name.rpartition(".")[2]) for record in caplog.records]
    assert said == [
        ("INFO", "run"),  # begins
        ("INFO", "run"),  # plan
        ("DEBUG", "call"),  # attempt 1 begins
        ("INFO", "call"),  # and ends
        ("DEBUG", "call"),  # waits
        ("DEBUG", "call"),
        ("INFO", "call"),
        ("WARNING", "item"),
        ("INFO", "run"),  # ended
    ]
    ends = [dict(logs.data_of(record)) for record in caplog.records[3:7:3]]
    assert [(end["attempt"], end["status"], end["reason"], end["money"]) for end in ends] == [
        (1, 500, "INTERNAL", "unknown"),
        (2, 400, "INVALID_IMAGE_SIZE", "free"),
    ]
    assert all(0 <= end["ms"] < 5000 for end in ends)
    assert logs.data_of(caplog.records[4])["wait_s"] > 0
    assert "INVALID_IMAGE_SIZE: small" in caplog.records[7].getMessage()


async def test_a_stop_is_logged_when_it_happens_and_with_its_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_photos(tmp_path / "photos", 2)
    caplog.set_level(logging.INFO, "batch_reimagine")
    async with scripted(*[error(403, "INVALID_API_KEY")] * 2) as api:
        ran = await run(tmp_path / "photos", tmp_path / "out", base_url=api.url, concurrency=1)

    stops = [record for record in caplog.records if "stopping" in record.getMessage()]
    assert isinstance(ran.error, AccountRefused)
    assert [logs.data_of(record)["error"] for record in stops] == ["AccountRefused"]
    assert "run ended" in caplog.records[-1].getMessage()


def test_no_log_holds_the_key_whatever_a_server_or_a_logger_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_photos(tmp_path / "photos", 1)
    path = tmp_path / "log.jsonl"

    async def run_one() -> None:
        async with scripted(error(400, f"BAD {KEY}", f"Bearer {KEY}")) as api:
            await run(tmp_path / "photos", tmp_path / "out", base_url=api.url)

    with log_file(path, logging.DEBUG) as written:
        written.hide(Secret("another-key-0123456789"))
        written.hide(Secret(KEY))
        LOG.warning("%s another-key-0123456789", "x" * 290)
        asyncio.run(run_one())
        LOG.warning("told %s", KEY, extra={"data": {KEY: [{"key": KEY}]}})
        try:
            raise ValueError(KEY)
        except ValueError:
            logging.getLogger("asyncio").exception("of others")

    text = path.read_text("utf-8")
    assert "[key]" in text
    assert "of others" in text
    assert "another" not in text
    assert KEY[:12] not in text + caplog.text.partition("told")[0]


def test_each_line_of_a_log_file_is_one_object_whatever_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest-xdist cannot send what pytest would catch of this on to its master.
    monkeypatch.setattr(logging.getLogger("batch_reimagine"), "propagate", False)
    path = tmp_path / "log.jsonl"
    with log_file(path, logging.INFO):
        LOG.info("line\nbreak \udcff \x1b[31m", extra={"data": {"path": Path("a"), "none": None}})
        LOG.debug("beneath the level")
        logging.getLogger("asyncio").info("of others, no warning")

    (line,) = lines(path)
    assert set(line) == {"time", "level", "logger", "message", "path", "none"}
    assert line["message"] == "line break \\udcff  [31m"
    assert line["time"].endswith("Z")
    assert (line["level"], line["path"]) == ("info", "a")


def test_a_key_put_where_its_file_should_be_named_is_in_no_log_and_no_message(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photos(tmp_path / "photos", 1)
    monkeypatch.setenv("NOVITA_API_KEY_FILE", KEY)
    command = ["run", str(tmp_path / "photos"), "-o", str(tmp_path / "out"), "--json", "-v"]

    assert main([*command, "--log-file", str(tmp_path / "log.jsonl")]) == 2
    said = capfd.readouterr()
    text = (tmp_path / "log.jsonl").read_text("utf-8")
    assert "NOVITA_API_KEY_FILE: its value" in text
    assert KEY[:12] not in said.out + said.err + text


def test_a_second_run_goes_on_in_the_same_file_and_a_moved_one_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for text in ("first", "second"):
        with log_file(path, logging.INFO):
            LOG.info(text)
    with log_file(path, logging.INFO):
        path.rename(tmp_path / "rotated.jsonl")
        LOG.info("third")

    rotated = lines(tmp_path / "rotated.jsonl")
    assert [line["message"] for line in rotated] == ["first", "second"]
    assert [line["message"] for line in lines(path)] == ["third"]


def test_an_original_is_never_taken_for_a_log(tmp_path: Path) -> None:
    (photo,) = make_photos(tmp_path, 1)
    before = photo.read_bytes()

    with pytest.raises(UsageError, match="no log of ours"), log_file(photo, logging.INFO):
        pass

    assert photo.read_bytes() == before


@pytest.mark.parametrize(
    "held",
    [b'{"run":"r","time":"2026"}\n', b'{"a":1}', b'{"time":1}\nx', b"[]\n", b"{\n", b"\0" * 9],
)
def test_a_file_of_other_lines_is_never_taken_for_a_log(tmp_path: Path, held: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(held)

    with pytest.raises(UsageError, match="no log of ours"), log_file(path, logging.INFO):
        pass

    assert path.read_bytes() == held


def test_a_log_whose_first_line_a_full_disk_cut_short_is_still_ours(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for held in (b"", b'{"ti', b'{"time":"2026-01'):
        path.write_bytes(held)
        with log_file(path, logging.INFO):
            LOG.info("on")
        assert b'"message":"on"' in path.read_bytes()


def test_a_log_among_the_photos_or_the_books_is_refused_before_anything_is_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_photos(tmp_path / "photos", 1)
    out = tmp_path / "out"
    (out / ".batch-reimagine").mkdir(parents=True)
    (tmp_path / "link").symlink_to(out / ".batch-reimagine")
    named = [
        *("out/manifest.jsonl", "out/.batch-reimagine/attempts.jsonl", "out/manifest/x.jsonl"),
        *("out/picks.jsonl", "link/log.jsonl", "photos/log.jsonl", "photos/photo-000.jpg"),
    ]
    for name in named:
        command = ["run", str(tmp_path / "photos"), "-o", str(out), "--provider", "simulator"]
        assert main([*command, "--log-file", str(tmp_path / name)]) == 2, name
        assert "choose another place" in capfd.readouterr().err

    assert list(out.rglob("*")) == [out / ".batch-reimagine"]
    assert len(list((tmp_path / "photos").iterdir())) == 1
    refuse_log(out / "run.log", [tmp_path / "photos"], out, Settings())
    away, books = Address("s3", "b"), Settings(books=str(tmp_path / "books"))
    refuse_log(out / "run.log", [away], away, books)
    with pytest.raises(UsageError, match="among the books"):
        refuse_log(tmp_path / "books" / "log.jsonl", [away], away, books)


@pytest.mark.parametrize("name", ["nowhere/log.jsonl", ".", "pipe"])
def test_a_log_that_cannot_be_opened_is_told_before_the_run(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")  # that nobody reads

    with (
        pytest.raises(LocalResource, match="cannot be written"),
        log_file(tmp_path / name, logging.INFO),
    ):
        pass


def test_a_full_disk_costs_lines_and_not_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    with log_file(Path("/dev/full"), logging.INFO):
        LOG.info("lost")

    assert capfd.readouterr() == ("", "")


def test_a_pipe_that_nobody_reads_any_more_holds_up_neither_the_run_nor_its_end(
    tmp_path: Path,
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        began = time.monotonic()
        with log_file(pipe, logging.INFO):
            for _ in range(12_000):
                LOG.info("x" * 100)
            logged_s = time.monotonic() - began

        assert logged_s < 3
        assert time.monotonic() - began < logged_s + 5
        assert any("_write_all" in str(thread) for thread in threading.enumerate())
    finally:
        os.close(reader)


def test_a_listener_that_fails_is_dropped_and_the_others_are_told_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[Moment] = []
    calls = 0

    def failing(moment: Moment) -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError(str(moment))

    everyone = Everyone(failing, told.append)
    for _ in range(3):
        everyone(Note("x"))

    assert (calls, len(told)) == (1, 3)
    assert "a listener failed" in caplog.text


def test_a_run_from_the_shell_logs_to_its_file_and_an_unread_flag_costs_nothing(
    tmp_path: Path,
) -> None:
    make_photos(tmp_path / "photos", 2)
    path = tmp_path / "log.jsonl"
    arguments = ["run", str(tmp_path / "photos"), "-o", str(tmp_path / "out"), "-v"]
    script = (
        "import sys; from batch_reimagine.cli import main; code = main(sys.argv[1:]);"
        "extras = {'prometheus_client', 'opentelemetry'} & set(sys.modules);"
        "sys.exit(code if not extras else f'imported: {extras}')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--log-file", path, "--provider", "simulator"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )

    assert ended.returncode == 0, ended.stderr
    messages = [line["message"] for line in lines(path)]
    assert len(pictures(tmp_path / "out")) == 2
    assert messages[0].startswith("run begins")
    assert sum("attempt 1: kept" in message for message in messages) == 2
    assert messages[-1] == "exit 0"


def test_the_library_adds_no_handler_that_writes() -> None:
    for name in ("batch_reimagine", "batch_reimagine.run", "batch_reimagine.call"):
        handlers = logging.getLogger(name).handlers
        assert all(isinstance(handler, logging.NullHandler) for handler in handlers)
