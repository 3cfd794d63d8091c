"""The library's door: an async iterator inside somebody else's event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import anyio
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
    reimagine,
    reimagine_sync,
)
from tests.support import (
    KEY,
    Scripted,
    error,
    good,
    hang,
    make_photos,
    pictures,
    rows,
    scripted,
)


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

    assert list(counts) == [12, 12]


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


async def _timeout(consume: Callable[[], Awaitable[None]], api: Scripted) -> None:
    async with asyncio.timeout(None) as scope:
        asyncio.get_running_loop().create_task(_expire(scope, api))
        await consume()


async def _expire(scope: asyncio.Timeout, api: Scripted) -> None:
    while len(api.seen) < 3:
        await asyncio.sleep(0.01)
    scope.reschedule(asyncio.get_running_loop().time())


async def _scope(consume: Callable[[], Awaitable[None]], api: Scripted) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel, scope, api)
            await consume()
    if scope.cancelled_caught:
        raise TimeoutError


async def _cancel(scope: anyio.CancelScope, api: Scripted) -> None:
    while len(api.seen) < 3:
        await anyio.sleep(0.01)
    scope.cancel()


async def _sibling(consume: Callable[[], Awaitable[None]], api: Scripted) -> None:
    async def fail() -> None:
        while len(api.seen) < 3:
            await asyncio.sleep(0.01)
        raise LookupError

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the group is the point
        async with asyncio.TaskGroup() as group:
            group.create_task(consume())  # type: ignore[arg-type]
            group.create_task(fail())
    assert caught.group_contains(LookupError)
    raise TimeoutError


async def _cancelled_twice(consume: Callable[[], Awaitable[None]], api: Scripted) -> None:
    task = asyncio.ensure_future(consume())
    while len(api.seen) < 3:
        await asyncio.sleep(0.01)
    for _ in range(5):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    raise TimeoutError


@pytest.mark.parametrize("how", [_timeout, _scope, _sibling, _cancelled_twice])
async def test_a_cancelled_run_has_ended_before_its_consumer_goes_on(
    how: Callable[..., Awaitable[None]], photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    async with scripted(*[hang] * 3) as api:
        settings = Settings(base_url=api.url, concurrency=3, ramp="off")

        async def consume() -> None:
            async for _ in reimagine(photos, out, settings, key=KEY):
                pass

        with pytest.raises(TimeoutError):
            await how(consume, api)

        # Written down by the time that the cancelled scope is left, not some time later.
        assert [row["status"] for row in rows(out)] == ["unknown"] * 3
        assert reimagine_tasks() == []


def reimagine_tasks() -> list[str]:
    tasks = (str(task.get_coro()) for task in asyncio.all_tasks())
    return [name for name in tasks if "reimagine.<locals>" in name]


async def test_cancelling_a_consumer_that_holds_a_record_drops_calls_too(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    async with scripted(good(), hang, hang) as api:
        settings = Settings(base_url=api.url, concurrency=3, ramp="off", limit=3)

        async def consume() -> None:
            async with aclosing(reimagine(photos, out, settings, key=KEY)) as records:
                async for _ in records:
                    await asyncio.Event().wait()

        task = asyncio.create_task(consume())
        while len(api.seen) < 3:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert sorted(row["status"] for row in rows(out)) == ["done", "unknown", "unknown"]


async def test_a_cancelling_that_was_long_since_survived_drops_nothing(
    photos: Path, tmp_path: Path
) -> None:
    async def slow(_: web.Request) -> Any:
        await asyncio.sleep(0.5)
        return web.json_response(good()[1])

    out = tmp_path / "out"
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)  # swallowed, and never taken back
    async with scripted(good(), slow, slow) as api:
        settings = Settings(base_url=api.url, concurrency=3, ramp="off", limit=3)
        async with aclosing(reimagine(photos, out, settings, key=KEY)) as records:
            async for _ in records:
                while len(api.seen) < 3:
                    await asyncio.sleep(0.01)
                break
        task.uncancel()

        assert {row["status"] for row in rows(out)} == {"done"}
        assert len(api.seen) == len(rows(out))


async def test_a_stop_from_elsewhere_is_the_same_stop(photos: Path, tmp_path: Path) -> None:
    stop, out, summaries = Stop(), tmp_path / "out", []

    async def note(event: object) -> None:
        if isinstance(event, Summary):
            summaries.append(event)

    async with scripted() as api:
        settings = Settings(base_url=api.url, variations=5, concurrency=2)
        found = []
        door = reimagine(photos, out, settings, key=KEY, stop=stop, on_event=note)
        async for record in door:
            found.append(record)
            stop.request("enough")

        assert len(found) == len(rows(out)) == len(pictures(out)) == len(api.seen) < 30
    assert [summary.stopped for summary in summaries] == ["enough"]


async def test_what_a_hook_raises_ends_the_run_in_order(photos: Path, tmp_path: Path) -> None:
    async def refuse(event: object) -> None:
        if isinstance(event, Record):
            raise LookupError("the caller's own")  # noqa: TRY004 - it is

    out = tmp_path / "out"
    async with scripted() as api:
        settings = Settings(base_url=api.url, variations=5, concurrency=2)
        with pytest.raises(LookupError, match="own"):
            async for _ in reimagine(photos, out, settings, key=KEY, on_event=refuse):
                pass

        assert len(pictures(out)) == len(rows(out)) == len(api.seen) < 30


async def _left_open(photos: Path, out: Path, settings: Settings) -> None:
    async for _ in reimagine(photos, out, settings, key=KEY):
        return  # without `aclosing`: asyncio.run cancels what it finds


def test_a_loop_that_ends_with_an_open_run_writes_down_what_it_drops(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    settings = Settings(provider="simulator", variations=5, concurrency=2)

    asyncio.run(_left_open(photos, out, settings))

    told = [row["status"] for row in rows(out)]
    assert set(told) <= {"done", "unknown"}
    assert 0 < told.count("done") <= len(pictures(out))
    lying = len(pictures(out))
    again = list(reimagine_sync(photos, out, settings, bar=False))
    assert len(again) == 30 - lying, "what came late is not bought again"
    assert len(pictures(out)) == 30
