"""What needs no HTTP client runs under trio's rules too: the pool, the walk, the questions."""

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest
import trio

from batch_reimagine import (
    Settings,
    UsageError,
    plan,
    read_manifest,
    reimagine,
    reimagine_sync,
    status,
)
from batch_reimagine import engine as pool
from batch_reimagine.engine import Stop
from batch_reimagine.ledger import read_ledger
from batch_reimagine.outset import walk_of
from batch_reimagine.survey import Survey
from batch_reimagine.work import Passed, Photo
from tests.support import make_photos

BACKENDS = ["asyncio", "trio"]


async def numbers(count: int) -> AsyncGenerator[int, None]:
    for number in range(count):
        await anyio.lowlevel.checkpoint()
        yield number


async def twice(number: int) -> AsyncGenerator[int, None]:
    yield number
    yield -number


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_pool_works_on_everything_once(backend: str) -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        await anyio.lowlevel.checkpoint()
        done.append(number)

    async def main() -> None:
        await pool.run(numbers(20), twice, work, wideners=2, workers=5, stop=Stop())

    anyio.run(main, backend=backend)

    assert sorted(done) == sorted([*range(20), *(-n for n in range(20))])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stop_finishes_what_is_under_way(backend: str) -> None:
    begun, finished, stop = list[int](), list[int](), Stop()

    async def work(number: int) -> None:
        begun.append(number)
        if len(begun) == 3:
            stop.request("enough")
        await anyio.sleep(0.01)
        finished.append(number)

    async def main() -> None:
        await pool.run(numbers(100), twice, work, wideners=1, workers=3, stop=stop)

    anyio.run(main, backend=backend)

    assert sorted(begun) == sorted(finished)
    assert 3 <= len(begun) < 10


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cancelled_pool_leaves_nothing_running(backend: str) -> None:
    open_ones = 0

    async def work(_: int) -> None:
        nonlocal open_ones
        open_ones += 1
        try:
            await anyio.sleep_forever()
        finally:
            open_ones -= 1

    async def main() -> bool:
        with anyio.move_on_after(0.05) as scope:
            await pool.run(numbers(9), twice, work, wideners=2, workers=4, stop=Stop())
        return scope.cancelled_caught

    assert anyio.run(main, backend=backend)
    assert open_ones == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_folders_are_walked_and_planned(backend: str, tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 7)
    settings = Settings(provider="simulator")

    async def main() -> int:
        def survey() -> Survey:
            ledger = read_ledger(tmp_path / "out", settings)
            walk = walk_of([tmp_path / "photos"], tmp_path / "out", settings, ledger)
            return Survey(walk, ledger, settings)

        survey_ = await anyio.to_thread.run_sync(survey)
        found = [each async for each in survey_.found() if not isinstance(each, Passed)]
        assert all(isinstance(each, Photo) for each in found)
        return len(found)

    assert anyio.run(main, backend=backend) == 7


def test_a_run_in_a_worker_thread_leaves_trio_free(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 2)
    photos, out = tmp_path / "photos", tmp_path / "out"
    settings = Settings(provider="simulator", variations=2)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await trio.sleep(0.01)
            ticks += 1

    async def main() -> None:
        planned = await trio.to_thread.run_sync(plan, photos, out, settings)
        assert planned.to_make == 4
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick)
            made = await trio.to_thread.run_sync(
                lambda: list(reimagine_sync(photos, out, settings))
            )
            nursery.cancel_scope.cancel()
        rows = await trio.to_thread.run_sync(lambda: list(read_manifest(out)))
        told = await trio.to_thread.run_sync(status, out)
        assert len(made) == len(rows) == told.done == 4

    trio.run(main)

    assert ticks > 5


def test_who_runs_it_under_trio_is_told_what_to_call(tmp_path: Path) -> None:
    async def main() -> None:
        async for _ in reimagine(tmp_path, tmp_path / "out"):
            pass

    with pytest.raises(UsageError, match="reimagine_sync"):
        trio.run(main)
