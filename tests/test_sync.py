"""The synchronous door: in scripts, in threads, and where an event loop runs already."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from batch_reimagine import (
    AccountRefused,
    LimitReached,
    Plan,
    Progress,
    Record,
    Settings,
    Stop,
    Summary,
    UsageError,
    reimagine_sync,
)
from batch_reimagine.bar import Bar
from tests.support import (
    KEY,
    Answer,
    Scripted,
    assert_whole,
    error,
    good,
    hang,
    make_photos,
    pictures,
    rows,
    scripted,
)


@contextmanager
def serving(*answers: Answer) -> Iterator[Scripted]:
    """A scripted server in a thread of its own."""
    ready: list[Scripted] = []
    up, down = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with scripted(*answers) as api:
            ready.append(api)
            up.set()
            await down.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert up.wait(10)
    try:
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(down.set)
        thread.join()
        loop.close()


@contextmanager
def ctrl_c(when: Scripted, calls: int, *, times: int = 1) -> Iterator[None]:
    """Send this process SIGINT once the server has seen so many calls, as a terminal would."""

    def send() -> None:
        while len(when.seen) < calls:
            time.sleep(0.01)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_photos(tmp_path / "photos", 3)
    return tmp_path / "photos"


def test_a_script_gets_each_record_when_it_is_kept(photos: Path, tmp_path: Path) -> None:
    out, events, progress = tmp_path / "out", list[object](), Progress()
    with serving() as api:
        settings = Settings(base_url=api.url, variations=2)
        run = reimagine_sync(
            photos, out, settings, key=KEY, on_event=events.append, progress=progress
        )
        found = []
        for record in run:
            assert (out / str(record.output)).is_file()
            found.append(record)

    assert len(found) == progress.made == 6
    assert isinstance(events[0], Plan)
    assert [event for event in events if isinstance(event, Record)] == found
    assert isinstance(events[-1], Summary)
    assert run.summary == events[-1]
    assert list(run) == []


async def test_it_works_where_an_event_loop_runs_already(photos: Path, tmp_path: Path) -> None:
    found = list(reimagine_sync(photos, tmp_path / "out", Settings(provider="simulator")))

    assert [record.status for record in found] == ["done"] * 3
    assert asyncio.get_running_loop().is_running()


def test_calls_go_on_while_the_caller_is_busy(photos: Path, tmp_path: Path) -> None:
    with serving() as api:
        settings = Settings(base_url=api.url, variations=4, concurrency=2)
        with reimagine_sync(photos, tmp_path / "out", settings, key=KEY) as run:
            next(run)
            until = time.monotonic() + 10
            while len(api.seen) < 12 and time.monotonic() < until:
                time.sleep(0.01)  # busy with something else

            assert len(api.seen) == 12


def test_a_slow_caller_holds_the_line_back(photos: Path, tmp_path: Path) -> None:
    with serving() as api:
        settings = Settings(base_url=api.url, variations=30, concurrency=2)
        with reimagine_sync(photos, tmp_path / "out", settings, key=KEY) as run:
            next(run)
            time.sleep(0.7)
            ahead = len(api.seen)

    assert 10 < ahead < 40


def test_a_stop_may_be_asked_for_from_any_thread_and_keeps_what_is_in_flight(
    photos: Path, tmp_path: Path
) -> None:
    out, stop = tmp_path / "out", Stop()
    with serving() as api:
        settings = Settings(base_url=api.url, variations=30, concurrency=2)
        run = reimagine_sync(photos, out, settings, key=KEY, stop=stop)
        next(run)
        stop.request("enough")
        assert stop.requested
        rest = list(run)

        assert len(rows(out)) == 1 + len(rest) == len(api.seen) < 90
    assert run.summary is not None
    assert run.summary.stopped == "enough"


def test_a_drop_from_another_thread_ends_what_waits_at_once(photos: Path, tmp_path: Path) -> None:
    out, stop = tmp_path / "out", Stop()
    with serving(*[hang] * 3) as api:

        def drop() -> None:
            until = time.monotonic() + 10
            while len(api.seen) < 3 and time.monotonic() < until:
                time.sleep(0.01)
            stop.drop("enough")

        thread = threading.Thread(target=drop)
        thread.start()
        settings = Settings(base_url=api.url, concurrency=3, ramp="off", timeout_s=8, attempts=1)
        list(reimagine_sync(photos, out, settings, key=KEY, stop=stop))
        thread.join()

    assert [row["status"] for row in rows(out)] == ["unknown"] * 3


def test_watches_are_told_in_the_runs_own_thread(photos: Path, tmp_path: Path) -> None:
    told = list[tuple[str, bool]]()
    mine = threading.current_thread()

    def watch(moment: object) -> None:
        told.append((type(moment).__name__, threading.current_thread() is mine))

    settings = Settings(provider="simulator")
    list(reimagine_sync(photos, tmp_path / "out", settings, watches=[watch]))

    assert [name for name, _ in told].count("AttemptEnded") == 3
    assert {where for _, where in told} == {False}


def test_leaving_the_loop_keeps_what_is_in_flight(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving() as api:
        settings = Settings(base_url=api.url, variations=5, concurrency=2)
        for _ in reimagine_sync(photos, out, settings, key=KEY):
            break

        kept = len(pictures(out))
        assert kept == len(rows(out)) == len(api.seen) < 15
        remaining = list(reimagine_sync(photos, out, settings, key=KEY))

        assert kept + len(remaining) == len(pictures(out)) == len(api.seen) == 15


def test_errors_are_exceptions_of_the_callers_thread(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        list(reimagine_sync(tmp_path / "nowhere", tmp_path / "p", Settings(), key=KEY))
    with serving(error(403, "INVALID_API_KEY")) as api, pytest.raises(AccountRefused):
        list(reimagine_sync(photos, tmp_path / "o", Settings(base_url=api.url), key=KEY))


def test_a_limit_is_raised_after_the_last_record(photos: Path, tmp_path: Path) -> None:
    found = list[Record]()
    with serving() as api:
        settings = Settings(base_url=api.url, variations=5, max_calls=4, concurrency=2)
        run = reimagine_sync(photos, tmp_path / "out", settings, key=KEY)
        with pytest.raises(LimitReached):
            found.extend(run)

    assert run.summary is not None
    assert len(rows(tmp_path / "out")) == 4


def test_what_a_hook_raises_ends_the_run_in_order(photos: Path, tmp_path: Path) -> None:
    def refuse(event: object) -> None:
        if isinstance(event, Record):
            raise LookupError("the caller's own")  # noqa: TRY004 - it is

    out = tmp_path / "out"
    with serving() as api:
        settings = Settings(base_url=api.url, variations=5, concurrency=2)
        with pytest.raises(LookupError, match="own"):
            list(reimagine_sync(photos, out, settings, key=KEY, on_event=refuse))

        assert len(pictures(out)) == len(rows(out)) == len(api.seen) < 15


def test_the_first_ctrl_c_keeps_what_is_in_flight(photos: Path, tmp_path: Path) -> None:
    async def slow(_: object) -> Any:
        await asyncio.sleep(0.5)
        return web.json_response(good()[1])

    out = tmp_path / "out"
    with serving(*[slow] * 3) as api:
        settings = Settings(base_url=api.url, variations=5, concurrency=3, ramp="off")
        run = reimagine_sync(photos, out, settings, key=KEY)
        with ctrl_c(api, 3), pytest.raises(KeyboardInterrupt):
            list(run)

        assert [row["status"] for row in rows(out)] == ["done"] * 3
        assert len(api.seen) == 3
    assert run.summary is not None


def test_the_second_ctrl_c_writes_calls_down_as_unknown(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(*[hang] * 3) as api:
        settings = Settings(base_url=api.url, concurrency=3, ramp="off")
        with ctrl_c(api, 3, times=2), pytest.raises(KeyboardInterrupt):
            list(reimagine_sync(photos, out, settings, key=KEY))

    assert [row["status"] for row in rows(out)] == ["unknown"] * 3


def test_who_never_iterates_is_told_that_nothing_was_made(photos: Path, tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="nothing was made"):
        reimagine_sync(photos, tmp_path / "out", Settings(provider="simulator"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reimagine_sync(photos, tmp_path / "out", Settings(provider="simulator")).close()
        gc.collect()

    assert not (tmp_path / "out").exists()


SCRIPT = """
import sys
from batch_reimagine import Settings, reimagine_sync
settings = Settings(provider="simulator", variations=9, concurrency=3)
run = reimagine_sync(sys.argv[1], sys.argv[2], settings)
next(run)
{end}
"""


@pytest.mark.parametrize("end", ["", "raise SystemExit(7)"])
def test_a_program_that_ends_with_an_open_run_keeps_its_calls_in_flight(
    end: str, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(end=end), photos, out],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert (ended.returncode, ended.stderr) == (7 if end else 0, "")
    assert {row["status"] for row in rows(out)} == {"done"}
    # Python 3.12 starts no thread any more at this point: a row may wait for the next run.
    assert len(rows(out)) <= len(pictures(out)) < 27
    journal = (out / ".batch-reimagine" / "attempts.jsonl").read_text(encoding="utf-8")
    assert "unknown" not in journal
    assert_whole(out)
    list(reimagine_sync(photos, out, Settings(provider="simulator", variations=9), bar=False))
    assert len(pictures(out)) == 27


def test_a_bar_tells_how_far_it_is(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(provider="simulator", variations=2)
    found = list(reimagine_sync(photos, tmp_path / "a", settings, bar=True))
    told = capsys.readouterr()
    list(reimagine_sync(photos, tmp_path / "b", settings))
    silent = capsys.readouterr()

    assert len(found) == 6
    assert "6/6" in told.err
    assert told.out == silent.out == silent.err == ""


class Paper:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def show(self, done: int, total: int | None, words: str) -> None:
        self.lines.append(f"{done} of {total}: {words}")

    def close(self) -> None:
        self.lines.append("closed")


def test_the_bar_counts_what_failed_and_what_is_not_known_yet() -> None:
    paper, progress = Paper(), Progress(made=3, in_flight=2, spent="0.03", at_risk="0")
    bar = Bar(progress, Settings(variations=2), paper)
    bar.draw()
    bar.draw()  # too soon
    progress.photos_total, progress.rejected = 5, 1
    progress.made = progress.here = 4
    bar.close()

    assert len(paper.lines) == 3
    assert paper.lines[0].startswith("3 of None: 3 (still listing) · 2 in flight")
    assert paper.lines[1].startswith("10 of 10: 10/10 · 1 failed")
    assert paper.lines[1].endswith("spent 0.03, not known 0")
