"""The pool by itself, with numbers flowing through it, in the event loop's own time."""

from collections.abc import AsyncGenerator

import anyio
import anyio.lowlevel
import pytest

from batch_reimagine import engine
from batch_reimagine.engine import Stop, Stopped


class Source:
    """Counts how far the pool has read ahead."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.given = 0
        self.closed = False

    async def items(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(self.count):
                self.given = number + 1
                yield number
        finally:
            self.closed = True


async def twice(number: int) -> AsyncGenerator[int, None]:
    yield number
    yield -number


async def test_everything_is_worked_on_once() -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        await anyio.lowlevel.checkpoint()
        done.append(number)

    source = Source(50)
    await engine.run(source.items(), twice, work, wideners=2, workers=5, stop=Stop())

    assert sorted(done) == sorted([*range(50), *(-n for n in range(50))])
    assert source.closed


async def test_never_more_at_once_than_workers_and_little_is_read_ahead() -> None:
    source = Source(1000)
    at_once = most = ahead = done = 0

    async def work(_: int) -> None:
        nonlocal at_once, most, ahead, done
        at_once += 1
        most = max(most, at_once)
        await anyio.sleep(0.001)
        ahead = max(ahead, source.given - done // 2)
        done += 1
        at_once -= 1

    await engine.run(source.items(), twice, work, wideners=2, workers=4, stop=Stop())

    assert most == 4
    assert ahead <= 8


async def test_a_stop_begins_nothing_new_and_finishes_what_is_under_way() -> None:
    stop = Stop()
    began: list[int] = []
    finished: list[int] = []

    async def work(number: int) -> None:
        if stop.requested:
            return
        began.append(number)
        if len(began) == 3:
            stop.request("enough")
        await anyio.sleep(0.01)
        finished.append(number)

    source = Source(1000)
    await engine.run(source.items(), twice, work, wideners=2, workers=3, stop=stop)

    assert sorted(began) == sorted(finished)
    assert len(began) == 3
    assert source.closed
    assert stop.reason == "enough"


async def test_an_error_stops_the_pool_in_order_and_is_kept() -> None:
    stop = Stop()
    finished: list[int] = []

    async def work(number: int) -> None:
        if number == 3:
            raise LookupError("broken")
        await anyio.sleep(0.01)
        finished.append(number)

    await engine.run(Source(1000).items(), twice, work, wideners=1, workers=4, stop=stop)

    assert isinstance(stop.error, LookupError)
    assert 0 < len(finished) < 20


async def test_drop_cancels_what_is_under_way() -> None:
    stop = Stop()
    cancelled = 0

    async def work(_: int) -> None:
        nonlocal cancelled
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            cancelled += 1
            raise

    async def drop() -> None:
        await anyio.sleep(0.02)
        stop.drop("now")

    with anyio.fail_after(2):
        await engine.run(
            Source(9).items(), twice, work, wideners=1, workers=3, stop=stop, beside=[drop]
        )

    assert cancelled == 3


async def test_an_interruptible_wait_ends_with_the_stop() -> None:
    stop = Stop()
    stopped = False

    async def wait() -> None:
        nonlocal stopped
        with pytest.raises(Stopped), stop.interruptible():
            await anyio.sleep_forever()
        stopped = True

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(0.01)
        stop.request("enough")

    assert stopped
    with pytest.raises(Stopped), stop.interruptible():
        pass


async def test_what_was_handed_over_is_never_taken_back_by_a_stop() -> None:
    """A worker takes what its sender, cancelled a moment before, still holds out."""

    async def stopped_after(ticks: int) -> None:
        stop = Stop()
        worked: list[int] = []
        taken_back: list[int] = []

        async def widen(number: int) -> AsyncGenerator[int, None]:
            try:
                yield number
            except GeneratorExit:
                taken_back.append(number)
                raise

        async def work(number: int) -> None:
            worked.append(number)
            for _ in range(5 + number % 3):  # slower than what brings them
                await anyio.lowlevel.checkpoint()

        async def end() -> None:
            for _ in range(ticks):
                await anyio.lowlevel.checkpoint()
            stop.request("enough")

        await engine.run(
            Source(50).items(), widen, work, wideners=4, workers=3, stop=stop, beside=[end]
        )
        assert not set(worked) & set(taken_back)

    for ticks in range(60):
        await stopped_after(ticks)
