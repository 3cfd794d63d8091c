"""Runs from and to an object store: real processes, a real S3 server, the simulator's faults."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine.address import Address
from batch_reimagine.cloud import Objects, open_objects
from batch_reimagine.simulator import Behaviour, serve
from tests import stores
from tests.spoiling import Proxy, always, share
from tests.support import jpeg

NUMBERS = iter(range(1000))


@pytest.fixture(scope="module")
def s3() -> Iterator[stores.Store]:
    with stores.moto() as store:
        yield store


@dataclass
class Shop:
    """A bucket with photos, and what a process needs to work on it."""

    bucket: Address
    photos: Objects
    out: Objects
    home: Path  #: where the books are
    environment: dict[str, str]

    def start(self, *arguments: object, home: Path | None = None, **more: str) -> Any:
        return subprocess.Popen(
            [sys.executable, "-m", "batch_reimagine", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.environment, "HOME": str(home or self.home), **more},
        )

    async def run(self, *arguments: object, **more: Any) -> tuple[int, str, str]:
        process = self.start("run", *arguments, **more)
        out, err = await asyncio.to_thread(process.communicate, timeout=50)
        return process.returncode, out, err

    def through(self, store: stores.Store, proxy: Proxy) -> dict[str, str]:
        """What lets a process reach the store through a proxy."""
        return {
            name: value
            for name, value in store.through(proxy.port).items()
            if value != store.environment[name]
        }

    def pictures(self) -> list[str]:
        names = [entry.name for page in self.out.pages() for entry in page]
        return [name for name in names if "_v" in name]

    def rows(self) -> int:
        """Lines of all manifest parts in the store."""
        parts = [entry.name for page in self.out.pages("manifest/") for entry in page]
        return sum(self.out.get(name)[0].count(b"\n") for name in parts)


class NoPictures(Proxy):
    """Takes all but pictures, for as long as it is told to."""

    refuses = True

    def next_fault(self, method: str, path: str) -> str:
        del method
        return "500" if self.refuses and "_v01." in path else ""


@pytest.fixture
def shop(s3: stores.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    s3.use(monkeypatch)
    bucket = s3.bucket(f"shop-{next(NUMBERS)}")
    environment = {name: value for name, value in os.environ.items() if "REIMAGINE" not in name}
    environment["NOVITA_API_KEY"] = "sk_test_key"
    photos, out = (open_objects(bucket.child(name), {}) for name in ("photos", "out"))
    (tmp_path / "home").mkdir()
    return Shop(bucket, photos, out, tmp_path / "home", environment)


def fill(photos: Objects, count: int) -> None:
    for number in range(count):
        photos.put(f"{'shoes/' if number % 2 else ''}photo {number:03}.jpg", jpeg(number))


async def test_forty_photos_from_store_to_store_with_faults_and_then_nothing_more(
    shop: Shop,
) -> None:
    fill(shop.photos, 40)
    behaviour = Behaviour(latency_s=0.05, picture_px=32, share_503=0.1, retry_after="0")
    async with serve(behaviour) as api:
        command = [shop.photos.address, "-o", shop.out.address, "-n", 3, "--base-url", api.url]
        code, _, err = await shop.run(*command)
        paid = api.stats()["paid"]

        assert (code, paid, len(shop.pictures())) == (0, 120, 120), err
        assert shop.rows() == 120
        again = await shop.run(*command)
        calls = api.stats()["calls"]
        shutil.rmtree(shop.home / ".local")  # another machine
        other = await shop.run(*command)

        assert (again[0], other[0]) == (0, 0), other[2]
        assert "0 calls" in again[1]
        assert api.stats()["calls"] == calls
    assert "photo 000_v01.png" in shop.pictures()
    assert "shoes/photo 001_v03.png" in shop.pictures()


async def test_what_is_in_the_bucket_is_not_bought_even_if_all_books_are_gone(shop: Shop) -> None:
    fill(shop.photos, 6)
    async with serve(Behaviour(picture_px=32)) as api:
        command = [shop.photos.address, "-o", shop.out.address, "-n", 2, "--base-url", api.url]
        command += ["--price", "0.5"]
        assert (await shop.run(*command))[0] == 0
        shutil.rmtree(shop.home / ".local")
        for page in list(shop.out.pages("manifest/")):
            for entry in page:
                shop.out.delete(entry.name)
        code, out, err = await shop.run(*command)

        assert code == 0, err
        assert api.stats()["calls"] == 12
        assert "12 already here" in out
        assert shop.rows() == 12
        # The account of the machine that is gone knew what was spent: nothing counts twice.
        code, _, err = await shop.run(*command[:4], 3, *command[5:], "--budget", "6.5")
        assert (code, api.stats()["calls"]) == (8, 13), err


async def test_killed_five_times_every_variation_is_made_and_each_extra_call_was_in_flight(
    shop: Shop,
) -> None:
    chance = random.Random(3)  # noqa: S311 - moments, not secrets
    fill(shop.photos, 40)
    width = 8
    behaviour = Behaviour(latency_s=0.1, latency_jitter=0.5, picture_px=32)
    async with serve(behaviour) as api:
        command = [shop.photos.address, "-o", shop.out.address, "-n", 3, "--base-url", api.url]
        command += ["--concurrency", width]
        for _ in range(5):
            process = shop.start("run", *command)
            calls = api.stats()["calls"]
            while api.stats()["calls"] == calls and process.poll() is None:
                await asyncio.sleep(0.01)
            await asyncio.sleep(chance.uniform(0.1, 0.5))
            process.kill()
            await asyncio.to_thread(process.communicate)
        code, _, err = await shop.run(*command)
        paid = api.stats()["paid"]
    assert code == 0, err
    assert len(shop.pictures()) == 120
    assert 0 <= paid - 120 <= 5 * width


async def test_a_machine_that_dies_leaves_its_pictures_to_the_next_one(
    shop: Shop, tmp_path: Path
) -> None:
    fill(shop.photos, 10)
    behaviour = Behaviour(latency_s=0.2, picture_px=32)
    async with serve(behaviour) as api:
        command = [shop.photos.address, "-o", shop.out.address, "-n", 4, "--base-url", api.url]
        command += ["--concurrency", 4]
        process = shop.start("run", *command)
        while api.stats()["paid"] < 12:
            await asyncio.sleep(0.02)
        process.kill()  # before the first rows went to the store
        await asyncio.to_thread(process.communicate)
        (elsewhere := tmp_path / "elsewhere").mkdir()
        busy = await shop.run(*command, home=elsewhere)
        assert busy[0] == 11, busy
        assert "pid" in busy[2]
        # Its lease ends by itself; the test does not wait a minute for that.
        shop.out.delete(".batch-reimagine/lease.json")
        code, _, err = await shop.run(*command, home=elsewhere)
        assert code == 0, err
        assert len(shop.pictures()) == 40
        assert api.stats()["paid"] - 40 <= 4


async def test_two_runs_on_one_output_are_refused(shop: Shop, tmp_path: Path) -> None:
    fill(shop.photos, 4)
    async with serve(Behaviour(latency_s=6.0, picture_px=32)) as api:
        command = [shop.photos.address, "-o", shop.out.address, "-n", 2, "--base-url", api.url]
        first = shop.start("run", *command)
        while not api.stats()["calls"]:
            await asyncio.sleep(0.02)
        (elsewhere := tmp_path / "elsewhere").mkdir()
        same, other = await shop.run(*command), await shop.run(*command, home=elsewhere)
        first.send_signal(signal.SIGINT)
        await asyncio.to_thread(first.communicate)
        after = await shop.run(*command, home=elsewhere)
    assert (same[0], other[0]) == (11, 11), (same, other)
    assert first.returncode == 130
    assert after[0] == 0, after[2]  # an orderly end gives the lease back at once
    assert len(shop.pictures()) == 8


async def test_a_picture_that_the_store_does_not_take_waits_here_and_is_not_bought_again(
    shop: Shop, s3: stores.Store
) -> None:
    fill(shop.photos, 3)
    async with serve(Behaviour(picture_px=32)) as api:
        command = [shop.photos.address, "-o", shop.out.address, "--base-url", api.url]
        command += ["--store-option", "retry_timeout=1s", "--store-option", "max_retries=1"]
        with NoPictures(s3.port) as proxy:
            way = shop.through(s3, proxy)
            code, _, err = await shop.run(*command, **way)
            paid = api.stats()["paid"]
            kept = shop.pictures()
            proxy.refuses = False
            again = await shop.run(*command, **way)
        assert (code, kept) == (5, []), err
        assert paid
        assert again[0] == 0, again
        assert "waited for the store" in again[2]
        assert api.stats()["paid"] == 3
    assert len(shop.pictures()) == 3


async def test_local_to_store_and_store_to_local(shop: Shop, tmp_path: Path) -> None:
    fill(shop.photos, 2)
    (here := tmp_path / "here").mkdir()
    (here / "own.jpg").write_bytes(jpeg(77))
    simulated = ["--provider", "simulator"]
    up = await shop.run(here, "-o", shop.out.address, *simulated)
    down = await shop.run(shop.photos.address, here, "-o", tmp_path / "out", *simulated)
    again = await shop.run(shop.photos.address, here, "-o", tmp_path / "out", *simulated)
    assert (up[0], down[0], again[0]) == (0, 0, 0), (up, down)
    assert shop.pictures() == ["own_v01.jpg"] or shop.pictures() == ["own_v01.png"]
    names = sorted(
        path.relative_to(tmp_path / "out").as_posix().rpartition(".")[0]
        for path in (tmp_path / "out").rglob("*_v*")
    )
    assert names == ["here/own_v01", "photos/photo 000_v01", "photos/shoes/photo 001_v01"]
    assert "0 calls" in again[1]


async def test_awkward_keys_are_passed_over_with_a_reason_and_all_others_are_made(
    shop: Shop, s3: stores.Store
) -> None:
    good = ["a b/ü 100%.jpg", "%20.jpg", "c\\d.jpg", "twin.jpg", "twin.png", "UPPER.JPG"]
    for number, name in enumerate(good):
        shop.photos.put(name, jpeg(number))
    client = stores.boto_client(s3)
    for key in ("photos/../x.jpg", "photos//y.jpg", "photos/./z.jpg", "photos/folder/"):
        client.put_object(Bucket=shop.bucket.bucket, Key=key, Body=jpeg(99))
    shop.photos.put("empty.jpg", b"")
    shop.photos.put("notes.txt", b"text")
    command = [shop.photos.address, "-o", shop.out.address, "--provider", "simulator"]
    code, out, err = await shop.run(*command)
    assert code == 0, err
    bases = Counter(name.rpartition("_v")[0] for name in shop.pictures())
    assert set(bases.values()) == {1}
    assert len(bases) == len(good)
    assert {"a b/ü 100%", "%20", "twin-jpg", "twin-png", "UPPER"} <= bases.keys()
    assert "key with empty or dotted parts" in out


@pytest.mark.parametrize(
    ("inputs", "output", "why"),
    [
        (["s3://no-such-bucket-here/x"], None, "no-such-bucket-here"),
        (["{photos}"], "s3://no-such-bucket-here/x", "no-such-bucket-here"),
        (["s3://"], None, "bucket"),
        (["{photos}"], "{photos}", "lies inside the output"),
        (["https://example.com/x"], None, "s3://"),
    ],
)
async def test_what_cannot_be_is_refused_before_any_call(
    shop: Shop, inputs: list[str], output: str | None, why: str
) -> None:
    fill(shop.photos, 1)
    words = [word.format(photos=shop.photos.address) for word in inputs]
    target = (output or str(shop.out.address)).format(photos=shop.photos.address)
    async with serve(Behaviour()) as api:
        code, _, err = await shop.run(*words, "-o", target, "--base-url", api.url)
        assert api.stats()["calls"] == 0
    assert code == 2, err
    assert why in err


async def test_an_output_below_the_photos_is_not_read_as_photos(shop: Shop) -> None:
    fill(shop.photos, 2)
    inside = shop.photos.address.child("out")
    command = [shop.photos.address, "-o", inside, "--provider", "simulator", "-n"]
    first, second = await shop.run(*command, 2), await shop.run(*command, 3)
    assert (first[0], second[0]) == (0, 0), (first, second)
    assert "2 made" in second[1]
    foreign = await shop.run(shop.bucket, "-o", shop.bucket.child("o2"), "--provider", "simulator")
    assert "2 made" in foreign[1], foreign


async def test_reset_and_failing_requests_to_the_store_cost_nothing(
    shop: Shop, s3: stores.Store
) -> None:
    fill(shop.photos, 6)
    async with serve(Behaviour(picture_px=32)) as api:
        command = [shop.photos.address, "-o", shop.out.address, "-n", 2, "--base-url", api.url]
        with Proxy(s3.port, share(0.15, "503", seed=4)) as proxy:
            code, _, err = await shop.run(*command, **shop.through(s3, proxy))
        assert code == 0, err
        assert api.stats()["paid"] == 12
    assert len(shop.pictures()) == 12


async def test_a_store_that_is_not_there_is_named_and_ends_with_5(
    shop: Shop, s3: stores.Store
) -> None:
    with Proxy(s3.port, always("reset")) as proxy:
        code, _, err = await shop.run(
            *(shop.photos.address, "-o", shop.out.address, "--provider", "simulator"),
            *("--store-option", "retry_timeout=1s", "--store-option", "max_retries=1"),
            **shop.through(s3, proxy),
        )
    assert code == 5, err
    assert "Traceback" not in err


async def test_shards_on_two_machines_share_one_output_and_the_whole_finds_all_done(
    shop: Shop, tmp_path: Path
) -> None:
    fill(shop.photos, 12)
    homes = [tmp_path / "one", tmp_path / "two"]
    async with serve(Behaviour(latency_s=0.1, picture_px=32)) as api:
        command = [shop.photos.address, "-o", shop.out.address, "-n", 2, "--base-url", api.url]
        command += ["--price", "0.5"]
        for home in homes:
            home.mkdir()
        both = [
            shop.start("run", *command, "--shard", f"{k}/2", home=home)
            for k, home in enumerate(homes, 1)
        ]
        for process in both:
            _, err = await asyncio.to_thread(process.communicate, timeout=50)
            assert process.returncode == 0, err
        assert api.stats()["calls"] == 24
        whole = await shop.run(*command)  # a third machine
        over = await shop.run(*command[:4], 3, *command[5:], "--budget", "13")

        assert whole[0] == 0, whole
        assert "24 already here" in whole[1]
        assert over[0] == 8, over
        assert api.stats()["calls"] == 26  # 12.00 were spent by the two: two calls more
    assert len(shop.pictures()) == 26


async def test_a_shard_and_the_whole_exclude_each_other_from_two_machines(
    shop: Shop, tmp_path: Path
) -> None:
    fill(shop.photos, 8)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    async with serve(Behaviour(latency_s=6.0, picture_px=32)) as api:
        command = [shop.photos.address, "-o", shop.out.address, "--base-url", api.url]
        first = shop.start("run", *command, "--shard", "1/2")
        while not api.stats()["calls"]:
            await asyncio.sleep(0.02)
        whole = await shop.run(*command, home=elsewhere)
        thirds = await shop.run(*command, "--shard", "2/3", home=elsewhere)
        first.send_signal(signal.SIGINT)
        await asyncio.to_thread(first.communicate)
    assert (whole[0], thirds[0]) == (11, 11), (whole, thirds)


async def test_a_photo_that_becomes_another_between_the_listing_and_its_turn_is_sent_as_it_is(
    shop: Shop, s3: stores.Store
) -> None:
    fill(shop.photos, 2)
    client = stores.boto_client(s3)

    class Late(Proxy):
        """Puts another photo in the place of one, and removes one, just before they are read."""

        def next_fault(self, method: str, path: str) -> str:
            if method == "GET" and "photos/" in path and "list-type" not in path:
                key = "photos/photo%20000.jpg"
                if key in path:
                    bucket = shop.bucket.bucket
                    client.put_object(Bucket=bucket, Key="photos/photo 000.jpg", Body=jpeg(500))
                else:
                    client.delete_object(
                        Bucket=shop.bucket.bucket, Key="photos/shoes/photo 001.jpg"
                    )
            return ""

    async with serve(Behaviour(picture_px=32)) as api:
        command = [shop.photos.address, "-o", shop.out.address, "--base-url", api.url]
        with Late(s3.port) as proxy:
            code, out, err = await shop.run(*command, **shop.through(s3, proxy))
        assert code == 3, err
        assert "NOT_READABLE" in out + err
        again = await shop.run(*command)  # the one that came is known by what was sent
        assert "0 calls" in again[1], again
        assert api.stats()["calls"] == 1
