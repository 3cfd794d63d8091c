"""The library's door: an async iterator inside somebody else's event loop."""

import asyncio
from pathlib import Path

import pytest

from batch_reimagine import (
    AccountRefused,
    LimitReached,
    Plan,
    Progress,
    Record,
    Settings,
    Summary,
    UsageError,
    reimagine,
)
from tests.support import KEY, error, hang, make_photos, pictures, rows, scripted


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_photos(tmp_path / "photos", 6)
    return tmp_path / "photos"


async def test_records_come_as_they_are_kept(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with scripted() as api:
        settings = Settings(base_url=api.url, variations=2)
        found = []
        async for record in reimagine(photos, out, settings, key=KEY):
            assert (out / str(record.output)).is_file()
            found.append(record)

    assert len(found) == 12
    assert {record.status for record in found} == {"done"}


async def test_events_and_progress_can_be_watched(photos: Path, tmp_path: Path) -> None:
    events: list[object] = []

    async def note(event: object) -> None:
        events.append(event)

    progress = Progress()
    async with scripted() as api:
        settings = Settings(base_url=api.url)
        door = reimagine(
            [photos], tmp_path / "out", settings, key=KEY, on_event=note, progress=progress
        )
        count = len([record async for record in door])

    assert count == progress.made == 6
    assert isinstance(events[0], Plan)
    assert isinstance(events[-1], Summary)
    assert sum(isinstance(event, Record) for event in events) == 6


async def test_errors_are_exceptions(photos: Path, tmp_path: Path) -> None:
    async with scripted(error(403, "INVALID_API_KEY")) as api:
        with pytest.raises(AccountRefused):
            async for _ in reimagine(photos, tmp_path / "o", Settings(base_url=api.url), key=KEY):
                pass
    with pytest.raises(UsageError):
        async for _ in reimagine(tmp_path / "nowhere", tmp_path / "p", Settings(), key=KEY):
            pass


async def test_leaving_early_keeps_what_is_in_flight(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with scripted() as api:
        settings = Settings(base_url=api.url, variations=5, concurrency=2)
        door = reimagine(photos, out, settings, key=KEY)
        async for _ in door:
            break
        await door.aclose()

        kept = len(pictures(out))
        assert kept == len(rows(out)) == len(api.seen) < 30
        remaining = [record async for record in reimagine(photos, out, settings, key=KEY)]

    assert kept + len(remaining) == len(pictures(out)) == len(api.seen) == 30


async def test_a_cancelled_task_writes_its_calls_down_as_unknown(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    async with scripted(*[hang] * 3) as api:
        settings = Settings(base_url=api.url, concurrency=3)

        async def consume() -> None:
            async for _ in reimagine(photos, out, settings, key=KEY):
                pass

        task = asyncio.create_task(consume())
        while len(api.seen) < 3:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert [row["status"] for row in rows(out)] == ["unknown"] * 3


async def test_two_runs_share_one_event_loop(photos: Path, tmp_path: Path) -> None:
    async def count(out: Path, url: str) -> int:
        settings = Settings(base_url=url, variations=2)
        return len([record async for record in reimagine(photos, out, settings, key=KEY)])

    async with scripted() as api:
        counts = await asyncio.gather(
            count(tmp_path / "a", api.url), count(tmp_path / "b", api.url)
        )

    assert counts == [12, 12]


async def test_a_slow_consumer_holds_the_line_back(photos: Path, tmp_path: Path) -> None:
    async with scripted() as api:
        settings = Settings(base_url=api.url, variations=20, concurrency=2)
        door = reimagine(photos, tmp_path / "out", settings, key=KEY)
        await anext(door)
        await asyncio.sleep(0.5)
        ahead = len(api.seen)
        await door.aclose()

    assert ahead < 40


async def test_nothing_is_printed(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(provider="simulator")
    assert len([r async for r in reimagine(photos, tmp_path / "out", settings)]) == 6
    captured = capfd.readouterr()

    assert captured.out == captured.err == ""


async def test_a_limit_ends_the_run_after_its_last_record(photos: Path, tmp_path: Path) -> None:
    found = []
    async with scripted() as api:
        settings = Settings(base_url=api.url, variations=5, max_calls=10, concurrency=4)
        with pytest.raises(LimitReached):  # noqa: PT012 - the loop is the point
            async for record in reimagine(photos, tmp_path / "out", settings, key=KEY):
                await asyncio.sleep(0.01)
                found.append(record)

    assert len(found) == len(rows(tmp_path / "out")) == 10
