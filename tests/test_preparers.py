"""Decoding happens in processes of its own: one that dies costs its own photo, and nothing else."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path

import psutil
import pytest
from PIL import Image

from batch_reimagine.deadline import Deadlines
from batch_reimagine.errors import Exhausted, Rejected
from batch_reimagine.prepare import prepare
from batch_reimagine.preparers import PixelBudget, Preparers
from tests.pictures import encoded, quarters
from tests.support import jpeg, make_photos, pictures, rows, run, scripted


@lru_cache(maxsize=1)
def slow() -> bytes:
    """196 megapixels: time enough to do something meanwhile."""
    return encoded(Image.new("L", (14_000, 14_000)), "PNG", compress_level=1)


@asynccontextmanager
async def opened(most: int = 1, **limits: int) -> AsyncIterator[Preparers]:
    with Deadlines() as deadlines:
        async with Preparers(most, 200_000_000, deadlines, **limits) as preparers:
            yield preparers


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.status() != "zombie"]


async def until(is_so: Callable[[], object]) -> None:
    for _ in range(500):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to that")


async def while_it_decodes(preparers: Preparers, hit: Callable[[psutil.Process], None]) -> None:
    """Prepare a slow photo, and do something to its process half-way."""
    task = asyncio.create_task(preparers.prepare(slow()))
    await until(lambda: any(child.memory_info().rss > 100_000_000 for child in children()))
    hit(children()[0])
    await task


async def test_a_process_gives_what_prepare_gives() -> None:
    raw = encoded(quarters((3000, 2000)), "JPEG")

    async with opened() as preparers:
        assert await preparers.prepare(raw) == prepare(raw)


async def test_one_process_serves_many_photos_and_refuses_one_between() -> None:
    async with opened() as preparers:
        first = await preparers.prepare(jpeg(1))
        (process,) = children()
        with pytest.raises(Rejected) as refused:
            await preparers.prepare(jpeg(2)[:-20])
        assert refused.value.reason == "DAMAGED"
        assert await preparers.prepare(jpeg(1)) == first
        assert children() == [process]


async def test_no_more_processes_than_asked_for() -> None:
    async with opened(2) as preparers:
        most = 0

        async def one(seed: int) -> None:
            nonlocal most
            await preparers.prepare(jpeg(seed, (2000, 1500)))
            most = max(most, len(children()))

        await asyncio.gather(*map(one, range(8)))
        assert most == 2


async def test_none_is_left_when_it_ends() -> None:
    async with opened(2) as preparers:
        await asyncio.gather(*(preparers.prepare(jpeg(n, (2000, 1500))) for n in range(4)))

    assert children() == []


async def test_a_decoder_that_crashes_costs_its_photo_only() -> None:
    async with opened() as preparers:
        with pytest.raises(Rejected, match=r"crashed.*SIGSEGV"):
            await while_it_decodes(preparers, lambda process: process.send_signal(signal.SIGSEGV))
        assert await preparers.prepare(jpeg(1)) == prepare(jpeg(1))


async def test_a_decoder_that_the_machine_killed_is_no_fault_of_the_photo() -> None:
    async with opened() as preparers:
        with pytest.raises(Exhausted) as given_up:
            await while_it_decodes(preparers, lambda process: process.kill())
        assert given_up.value.reason == "DECODER_KILLED"
        assert await preparers.prepare(jpeg(1)) == prepare(jpeg(1))


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_signal_to_all_processes_of_a_service_costs_no_photo(told: signal.Signals) -> None:
    """As systemd sends it when it stops a unit."""
    async with opened() as preparers:
        await preparers.prepare(jpeg(1))
        await while_it_decodes(preparers, lambda process: process.send_signal(told))
        assert await preparers.prepare(jpeg(1)) == prepare(jpeg(1))


async def test_a_decode_that_does_not_end_is_ended() -> None:
    whole = encoded(Image.new("RGB", (6000, 6000)), "JPEG", progressive=True)
    last_scan = whole[whole.rindex(b"\xff\xda") : -2]
    endless = whole[:-2] + last_scan * 3000 + whole[-2:]  # each costs the decoder a pass

    async with opened(cpu_s=0) as preparers:  # the kernel counts whole seconds: one is left
        with pytest.raises(Rejected, match="did not end within 0 s of CPU time"):
            await preparers.prepare(endless)
        assert await preparers.prepare(jpeg(1)) == prepare(jpeg(1))


async def test_a_photo_that_is_dropped_ends_its_process() -> None:
    async with opened() as preparers:
        task = asyncio.create_task(preparers.prepare(slow()))
        await until(lambda: any(child.memory_info().rss > 100_000_000 for child in children()))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert children() == []
        assert await preparers.prepare(jpeg(1)) == prepare(jpeg(1))


async def test_a_process_knows_no_key_and_hears_no_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOVITA_API_KEY", "sk_not_for_decoders")

    async with opened() as preparers:
        await preparers.prepare(jpeg(1))
        (process,) = children()
        assert process.environ() == {} or "NOVITA_API_KEY" not in process.environ()
        assert os.getsid(process.pid) != os.getsid(0)


async def test_large_pictures_wait_for_each_other_and_small_ones_do_not() -> None:
    budget = PixelBudget(100)
    running: list[int] = []
    most = 0

    async def one(pixels: int) -> None:
        nonlocal most
        async with budget.hold(pixels):
            running.append(pixels)
            most = max(most, sum(running))
            await asyncio.sleep(0.01)
            running.remove(pixels)

    await asyncio.wait_for(asyncio.gather(*map(one, [90, 90, 30, 30, 30, 10])), 2)
    assert most <= 100
    began = time.monotonic()
    await asyncio.gather(*map(one, [30, 30, 30]))
    assert most >= 90
    assert time.monotonic() - began < 1


async def test_a_picture_larger_than_the_budget_goes_alone() -> None:
    budget = PixelBudget(100)

    async with asyncio.timeout(2), budget.hold(500):
        waiting = asyncio.create_task(budget.hold(1).__aenter__())
        await asyncio.sleep(0.02)
        assert not waiting.done()
    await waiting


async def test_a_run_goes_on_after_a_decoder_crashed(tmp_path: Path) -> None:
    make_photos(tmp_path / "in", 6)
    (tmp_path / "in" / "photo-000.png").write_bytes(slow())

    async def crash() -> None:
        await until(lambda: any(child.memory_info().rss > 100_000_000 for child in children()))
        biggest = max(children(), key=lambda child: child.memory_info().rss)
        biggest.send_signal(signal.SIGSEGV)

    async with scripted() as server:
        hit = asyncio.create_task(crash())
        ran = await run(tmp_path / "in", tmp_path / "out", base_url=server.url)
        await hit
    assert ran.error is None
    assert len(pictures(tmp_path / "out")) == 6
    (refused,) = [row for row in rows(tmp_path / "out") if row["status"] == "rejected"]
    assert refused["source"] == "photo-000.png"
    assert refused["reason"] == "DAMAGED"
