"""One job on many machines: real processes into one output, and what the server saw of them."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine.catalogue import Catalogue
from batch_reimagine.lock import holders_of
from batch_reimagine.output import Tree
from batch_reimagine.shard import Shard
from batch_reimagine.simulator import Behaviour, serve
from batch_reimagine.simulator.server import Server
from tests.support import assert_whole, make_photos, pictures
from tests.test_cli import command, ended, finish, start

FOUR = ["1/4", "2/4", "3/4", "4/4"]
STATE = ".batch-reimagine"


class Job:
    """A folder of photos, an output, and the server that is paid."""

    def __init__(self, folder: Path, api: Server) -> None:
        self.photos, self.out, self.api = folder / "photos", folder / "out", api

    def words(self, *more: object, shard: str | None = None, n: int = 3) -> list[object]:
        words = ["run", self.photos, "-o", self.out, "-n", n, "--base-url", self.api.url, *more]
        return words + (["--shard", shard] if shard else [])

    async def together(self, *more: object, shards: list[str] = FOUR, n: int = 3) -> list[int]:
        """Run these shards at the same time; their exit codes."""
        going = [start(*self.words(*more, shard=shard, n=n)) for shard in shards]
        return [code for code, _, _ in await asyncio.gather(*map(ended, going))]

    async def whole(self, *more: object, n: int = 3) -> tuple[int, str, str]:
        return await finish(*self.words(*more, n=n))

    async def shard(self, shard: str, *more: object, n: int = 3) -> tuple[int, str, str]:
        return await finish(*self.words(*more, shard=shard, n=n))

    @property
    def calls(self) -> int:
        return int(self.api.stats()["calls"])

    @property
    def rows(self) -> list[dict[str, Any]]:
        files = [self.out / "manifest.jsonl", *sorted((self.out / "manifest").glob("*.jsonl"))]
        texts = [path.read_text() for path in files if path.exists()]
        return [json.loads(line) for text in texts for line in text.splitlines()]

    @property
    def done(self) -> Counter[str]:
        """Pictures by photo."""
        return Counter(row["source"] for row in self.rows if row["status"] == "done")

    def status(self) -> dict[str, Any]:
        return dict(json.loads(command("status", self.out, "--json").stdout))


@asynccontextmanager
async def job(folder: Path, photos: int = 24, **behaviour: Any) -> AsyncIterator[Job]:
    make_photos(folder / "photos", photos)
    async with serve(Behaviour(picture_px=32, **behaviour)) as api:
        yield Job(folder, api)


async def until_running(out: Path, *shards: str | None) -> None:
    for _ in range(1000):
        held = await asyncio.to_thread(holders_of, out / STATE)
        if {str(holder.shard) if holder.shard else None for holder in held} >= set(shards):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{shards} never ran")


async def test_four_shards_at_the_same_time_make_each_variation_once(tmp_path: Path) -> None:
    async with job(tmp_path, latency_s=0.02, latency_jitter=0.5) as four:
        assert await four.together() == [0] * 4

        names = sorted(path.name for path in four.photos.iterdir())
        assert four.calls == four.api.stats()["paid"] == 72
        assert set(four.api.stats()["paid_by_photo"].values()) == {3}
        assert four.done == dict.fromkeys(names, 3)
        assert len(pictures(four.out)) == 72
        assert_whole(four.out)
        assert not (four.out / "manifest.jsonl").exists()
        for name in FOUR:  # each wrote of its own photos alone
            shard = Shard.of(name)
            assert shard
            rows = (four.out / "manifest" / f"{shard.name}.jsonl").read_text().splitlines()
            assert all(shard.has(json.loads(row)["source"]) for row in rows)

        assert await four.together() == [0] * 4
        assert (await four.whole())[0] == 0  # the whole finds all there
        assert await four.together(shards=["1/3", "2/3", "3/3"]) == [0] * 3  # so do other shares
        assert four.calls == 72

        assert command("verify", four.out).returncode == 0
        assert (await four.shard("2/4", n=4))[0] == 0
        mine = sum(map(Shard(2, 4).has, names))
        assert four.calls == 72 + mine  # one more of each of its own


async def test_a_whole_run_is_gone_on_with_in_shards_and_back(tmp_path: Path) -> None:
    async with job(tmp_path, photos=12) as mixed:
        assert (await mixed.whole("--limit", 5))[0] == 0
        assert mixed.calls == 15
        assert await mixed.together() == [0] * 4
        assert mixed.calls == 36
        assert await mixed.together("--type", "png", n=4) == [0] * 4
        assert (await mixed.whole(n=5))[0] == 0
        assert (await mixed.whole(n=5))[0] == 0
        assert mixed.calls == 60
        assert set(mixed.done.values()) == {5}
        assert command("verify", mixed.out).returncode == 0
        refused = await mixed.shard("1/4", "--type", "webp")
        assert (refused[0], "made with other settings" in refused[2]) == (10, True)


async def test_names_of_outputs_are_those_of_a_whole_run(tmp_path: Path) -> None:
    async with job(tmp_path, photos=8) as sharded:
        (sharded.photos / "photo-000.jpeg").write_bytes(
            (sharded.photos / "photo-001.jpg").read_bytes() + b"\0"
        )
        assert await sharded.together(n=1) == [0] * 4
        other = Job(tmp_path, sharded.api)
        other.out = tmp_path / "other"
        assert (await other.whole(n=1))[0] == 0
        assert pictures(sharded.out) == pictures(other.out)
        assert "photo-000-jpeg_v01.png" in pictures(sharded.out)


async def test_a_shard_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    async with job(tmp_path, latency_s=0.1, latency_jitter=0.5) as killed:
        going = [start(*killed.words("--concurrency", 4, shard=shard)) for shard in FOUR]
        while killed.calls < 20:
            await asyncio.sleep(0.01)
        going[1].kill()
        codes = [code for code, _, _ in await asyncio.gather(*map(ended, going))]
        assert codes == [0, -9, 0, 0]
        extra = killed.status()["in_flight"]
        assert extra <= 4  # none, if it fell between two answers and the next calls
        made = Counter(row["source"] for row in killed.rows)
        assert all(made[name] == 3 for name in made if not Shard(2, 4).has(name))

        assert (await killed.shard("2/4"))[0] == 0

        assert set(killed.done.values()) == {3}
        assert len(killed.done) == 24
        assert len(pictures(killed.out)) == 72
        assert 72 <= killed.api.stats()["paid"] <= killed.calls <= 72 + extra
        assert command("verify", killed.out).returncode == 0
        unknown = [row["status"] for row in killed.rows].count("unknown")
        assert killed.calls - 72 <= unknown + 1
        calls = killed.calls
        assert await killed.together() == [0] * 4
        assert killed.calls == calls


async def test_what_a_dead_shard_had_in_flight_the_whole_accounts_for_once(tmp_path: Path) -> None:
    async with job(tmp_path, photos=8, share_hang=1.0) as dead:
        process = start(*dead.words("--price", "0.5", "--concurrency", 2, shard="1/2", n=1))
        while dead.calls < 2:
            await asyncio.sleep(0.01)
        process.kill()
        await ended(process)
        await dead.api.change(share_hang=0.0)
        status = dead.status()
        assert (status["in_flight"], status["at_risk"], status["running"]) == (2, "1.0", False)

        for _ in range(2):
            assert (await dead.whole("--price", "0.5", n=1))[0] == 0
            assert dead.calls == 10
            status = dead.status()
            assert (status["in_flight"], status["spent"], status["at_risk"]) == (0, "4.0", "1.0")
        assert (await dead.shard("1/2", "--price", "0.5", n=1))[0] == 0
        assert (dead.calls, dead.status()["at_risk"]) == (10, "1.0")


async def test_a_picture_that_a_dead_whole_run_kept_without_its_row_is_no_shards_to_buy(
    tmp_path: Path,
) -> None:
    async with job(tmp_path, photos=6) as torn:
        assert (await torn.whole(n=1))[0] == 0
        journal = torn.out / STATE / "attempts.jsonl"
        tries = [
            line for line in journal.read_bytes().splitlines(keepends=True) if b'"try"' in line
        ]
        journal.write_bytes(b"".join(tries))
        (torn.out / "manifest.jsonl").write_bytes(b"")

        assert await torn.together(shards=["1/2", "2/2"], n=1) == [0, 0]
        assert await torn.together(shards=["1/2", "2/2"], n=1) == [0, 0]
        assert (await torn.whole(n=1))[0] == 0

        assert torn.calls == 6
        assert len(torn.rows) == len(pictures(torn.out)) == 6
        assert torn.status()["in_flight"] == 0


async def test_status_sums_all_shards_while_they_run_and_after(tmp_path: Path) -> None:
    async with job(tmp_path, latency_s=0.3) as watched:
        more = ("--price", "0.25", "--concurrency", 2)
        going = [start(*watched.words(*more, shard=shard, n=2)) for shard in FOUR]
        seen: dict[str, Any] = {}
        for _ in range(200):
            if watched.calls > 16:
                seen = watched.status()
                if seen["wanted"] is not None and seen["done"]:
                    break
            await asyncio.sleep(0.02)
        assert seen["running"] is True
        assert all(f"shard {shard}, pid" in seen["holder"] for shard in FOUR[:3])
        assert "and 1 more" in seen["holder"]
        assert seen["wanted"] == 48
        assert seen["run"].count(",") == 3
        assert [code for code, _, _ in await asyncio.gather(*map(ended, going))] == [0] * 4

        after = watched.status()
        told = {name: after[name] for name in ("photos", "done", "calls", "spent", "running")}
        assert told == {"photos": 24, "done": 48, "calls": 48, "spent": "12.00", "running": False}
        assert (after["holder"], after["damaged"]) == (None, 0)


async def test_one_running_shard_tells_what_is_left_of_its_own(tmp_path: Path) -> None:
    async with job(tmp_path, photos=16) as one:
        assert await one.together(shards=FOUR[1:], n=1) == [0, 0, 0]
        mine = sum(Shard(1, 4).has(f"photo-{n:03d}.jpg") for n in range(16))
        await one.api.change(latency_s=0.6)
        process = start(*one.words("--concurrency", 1, shard="1/4", n=1))
        seen: dict[str, Any] = {}
        for _ in range(100):
            seen = one.status()
            if seen["seconds_left"] is not None:
                break
            await asyncio.sleep(0.02)
        assert seen["wanted"] == mine
        made = seen["done"] - (16 - mine)
        left = seen["seconds_left"] * seen["per_minute"] / 60
        assert round(left, 3) == mine - made  # and not what the others have made
        assert (await ended(process))[0] == 0


@pytest.mark.parametrize(
    ("first", "then"),
    [("1/4", "1/4"), ("1/4", None), (None, "1/4"), ("1/4", "1/3"), (None, None)],
)
async def test_a_second_writer_where_none_may_be_ends_with_11(
    tmp_path: Path, first: str | None, then: str | None
) -> None:
    async with job(tmp_path, photos=12, share_hang=1.0) as held:
        process = start(*held.words(shard=first))
        try:
            await until_running(held.out, first)
            while not held.calls:
                await asyncio.sleep(0.01)
            calls = held.calls
            code, _, err = await finish(*held.words("--max-duration", "1s", shard=then))
            assert code == 11, err
            assert f"pid {process.pid} " in err
            if first:
                assert "shard 1/4" in err
            assert held.calls <= calls + 32  # of the first alone
            assert process.poll() is None
        finally:
            process.kill()
            await ended(process)


async def test_a_shard_that_starts_leaves_what_another_is_writing(tmp_path: Path) -> None:
    async with job(tmp_path, photos=8) as shared:
        assert (await shared.shard("1/2", n=1))[0] == 0
        unfinished = shared.out / STATE / "unfinished"
        theirs, own = unfinished / "2-of-2~0123-7", unfinished / "1-of-2~0123-7"
        for path in (theirs, own):
            path.write_bytes(b"half a picture")

        assert (await shared.shard("1/2", n=1))[0] == 0
        assert (theirs.exists(), own.exists()) == (True, False)
        assert (await shared.whole(n=1))[0] == 0
        assert not theirs.exists()


async def test_a_photo_renamed_into_another_shard_is_copied(tmp_path: Path) -> None:
    async with job(tmp_path, photos=6) as renamed:
        assert await renamed.together(n=2) == [0] * 4
        old = renamed.photos / "photo-000.jpg"
        home = next(shard for shard in FOUR if (Shard.of(shard) or Shard(1, 1)).has(old.name))
        new = next(
            name
            for name in map("moved-{}.jpg".format, range(100))
            if not (Shard.of(home) or Shard(1, 1)).has(name)
        )
        old.rename(renamed.photos / new)

        assert await renamed.together(n=2) == [0] * 4

        assert renamed.calls == 12
        assert renamed.done[new] == 2
        assert all(row["copied_from"] for row in renamed.rows if row["source"] == new)


async def test_limits_of_the_shards_add_up_to_the_given_ones(tmp_path: Path) -> None:
    async with job(tmp_path, photos=40, latency_s=0.01) as limited:
        codes = await limited.together("--max-calls", 10, n=3)
        assert codes == [8] * 4
        assert limited.calls == 10
        codes = await limited.together("--price", "0.1", "--budget", "3.05", n=3)
        assert codes == [8] * 4
        # The ten calls before, of no price, count at today's.
        assert limited.calls == 30


async def test_money_that_the_whole_has_spent_is_no_shards_to_spend(tmp_path: Path) -> None:
    async with job(tmp_path, photos=40) as spent:
        price = ("--price", "0.1", "--budget", "2.1")
        code, _, _ = await spent.whole(*price, "--max-calls", 11)
        assert (code, spent.calls) == (8, 11)
        assert await spent.together(*price) == [8] * 4
        assert spent.calls == 21
        assert (await spent.whole(*price))[0] == 8
        assert spent.calls == 21
        assert spent.status()["spent"] == "2.1"


async def test_the_pace_is_shared(tmp_path: Path) -> None:
    async with job(tmp_path, photos=24) as paced:
        going = [start(*paced.words("--rpm", 600, shard=shard, n=2)) for shard in FOUR]
        codes = [code for code, _, _ in await asyncio.gather(*map(ended, going))]
        assert codes == [0] * 4
        # Ten a second, whoever begins them; a process may begin one at once.
        seconds = paced.api.stats()["starts_per_second"]
        assert paced.calls == 48
        assert max(seconds.values()) <= 10 + 4 + 1


async def test_a_shard_without_photos_is_done(tmp_path: Path) -> None:
    async with job(tmp_path, photos=1) as small:
        assert await small.together(n=1) == [0] * 4
        assert small.calls == 1
        code, stdout, _ = await small.shard("1/4", "--json", n=1)
        summary = json.loads(stdout.splitlines()[-1])
        assert (code, summary["event"]) == (0, "summary")


async def test_a_dry_run_of_a_shard_plans_its_own_photos(tmp_path: Path) -> None:
    async with job(tmp_path) as planned:
        plans = []
        for shard in FOUR:
            code, stdout, _ = await planned.shard(shard, "--dry-run", "--json")
            assert code == 0
            plans.append(json.loads(stdout.splitlines()[0]))
        assert sum(plan["photos"] for plan in plans) == 24
        assert sum(plan["to_make"] for plan in plans) == 72
        assert all(plan["skipped"]["of another shard"] == 24 - plan["photos"] for plan in plans)
        assert not planned.out.exists()


async def test_every_reader_sees_all_shards(tmp_path: Path) -> None:
    async with job(tmp_path, photos=8) as read:
        assert await read.together(n=2) == [0] * 4
        catalogue = Catalogue(await asyncio.to_thread(Tree, read.out))
        await asyncio.to_thread(catalogue.follow)
        assert {product.source: len(product.done) for product in catalogue} == read.done

        exported = command("export", read.out, "--to", tmp_path / "shop", "--all")
        assert exported.returncode == 0, exported.stderr
        assert len(pictures(tmp_path / "shop")) == 16
        assert "16" in command("mark", "check", read.out).stdout
        assert command("pick", read.out, "photo-003.jpg=2").returncode == 0
        last = json.loads((read.out / STATE / "last-run.json").read_text())
        assert last["settings"]["shard"] is None  # the page makes more of any photo

        shard = Shard.of("2/4")
        assert shard
        book = read.out / "manifest" / f"{shard.name}.jsonl"
        book.write_text(f"{book.read_text()}no row\n")
        line = f"manifest/{shard.name}.jsonl line {len(book.read_text().splitlines())}"
        told = command("verify", read.out)
        assert (told.returncode, f"damaged: {line}" in told.stdout) == (3, True)
        code, _, err = await read.whole(n=2)
        assert (code, line in err) == (0, True)
        assert read.calls == 16
