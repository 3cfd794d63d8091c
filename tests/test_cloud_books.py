"""The books of an output in a store: its lease, its parts, its money, and how a run leaves them."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine import holding
from batch_reimagine.cloud import Objects
from batch_reimagine.cloud.parts import Parts
from batch_reimagine.simulator import Behaviour, serve
from tests import stores
from tests import test_cloud_run as runs
from tests.spoiling import Proxy
from tests.test_cloud_run import Shop, fill

s3, shop = runs.s3, runs.shop  # fixtures

LEASE = ".batch-reimagine/lease.json"
ACCOUNTS = ".batch-reimagine/accounts/"
LIFE_S = 2.0  # of a lease, in tests


class Spoiled(Proxy):
    """Does `fault` to what has a method and a word of its path, from the time that it is on."""

    SLOW_S = 45.0

    def __init__(self, upstream: int, fault: str, method: str = "", word: str = "") -> None:
        super().__init__(upstream)
        self.fault, self.method, self.word, self.on = fault, method, word, True
        self.met = 0

    def next_fault(self, method: str, path: str) -> str:
        if not self.on or self.method not in {"", method} or self.word not in path:
            return ""
        self.met += 1
        return self.fault


def through(shop: Shop, s3: stores.Store, proxy: Proxy) -> Any:
    return shop.through(s3, proxy)


def rows_of(numbers: range, width: int = 300) -> bytes:
    return b"".join(
        json.dumps({"n": f"{n:06}", "x": "y" * width}).encode() + b"\n" for n in numbers
    )


def numbers_in(data: bytes) -> list[int]:
    """The rows of a manifest, in order; fails where one is damaged."""
    return [int(json.loads(line)["n"]) for line in data.splitlines()]


def parts_in(out: Objects, word: str = "") -> list[str]:
    names = [entry.name for page in out.pages("manifest/part-") for entry in page]
    return [name for name in names if word in name]


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """A folder of books, and in it the rows of this machine."""
    for name in ("books", "other"):
        (tmp_path / name / ".batch-reimagine" / "unfinished").mkdir(parents=True)
    return tmp_path / "books"


async def wait_for(what: Callable[[], object], seconds: float = 20.0) -> None:
    """Until it tells so, or fail."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.05)


# The lease


async def test_the_lease_is_renewed_while_old_pictures_are_hashed(
    shop: Shop, s3: stores.Store
) -> None:
    fill(shop.photos, 1)
    command = [shop.photos.address, "-o", shop.out.address, "--provider", "simulator"]
    assert (await shop.run(*command))[0] == 0

    class Late(Proxy):
        def next_fault(self, method: str, path: str) -> str:
            if method == "GET" and "_v01." in path:
                self.ended.wait(25)
            return ""

    def beat() -> int:
        data = shop.out.get(LEASE)[0]
        return int(json.loads(data)["beat"]) if data else 0

    with Late(s3.port) as proxy:
        process = shop.start("run", *command, "--repair", **through(shop, s3, proxy))
        await wait_for(beat)
        await asyncio.sleep(1)
        at_first = beat()
        await asyncio.sleep(17)
        later = beat()
        proxy.ended.set()
        _, err = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 0, err
    assert later > at_first


#: A run whose lease has a short life, and that waits for it as long as it is told.
SHORT = """
import sys
from batch_reimagine import holding
from batch_reimagine.cli import main
from batch_reimagine.cloud.tree import CloudTree
CloudTree.life_s, holding.PATIENCE_S = (float(sys.argv.pop(1)) for _ in range(2))
sys.exit(main())
"""


def start_short(shop: Shop, proxy: Spoiled, s3: stores.Store, url: str, patience_s: float) -> Any:
    fill(shop.photos, 40)
    return subprocess.Popen(
        [
            *(sys.executable, "-c", SHORT, str(LIFE_S), str(patience_s), "run"),
            *(str(shop.photos.address), "-o", str(shop.out.address), "--base-url", url),
            *("--concurrency", "2", "--store-option", "max_retries=1"),
            *("--store-option", "retry_timeout=1s"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**shop.environment, "HOME": str(shop.home), **shop.through(s3, proxy)},
    )


async def test_no_call_begins_while_the_lease_may_be_anothers_and_then_the_run_goes_on(
    shop: Shop, s3: stores.Store
) -> None:
    async with serve(Behaviour(latency_s=0.3, picture_px=32)) as api:
        with Spoiled(s3.port, "500", "PUT", "lease.json") as proxy:
            proxy.on = False
            run = start_short(shop, proxy, s3, api.url, 60)
            await wait_for(lambda: api.stats()["calls"] >= 4)
            proxy.on = True
            await asyncio.sleep(LIFE_S + 1)  # the last renewal may be LIFE_S old by now
            calls = api.stats()["calls"]
            await asyncio.sleep(2)
            later = api.stats()["calls"]
            proxy.on = False
            _, err = await asyncio.to_thread(run.communicate, timeout=30)
        assert calls == later < 40
        assert run.returncode == 0, err
        assert api.stats()["calls"] == len(shop.pictures()) == 40


async def test_a_store_that_does_not_renew_the_lease_ends_the_run(
    shop: Shop, s3: stores.Store
) -> None:
    async with serve(Behaviour(latency_s=0.3, picture_px=32)) as api:
        with Spoiled(s3.port, "500", "PUT", "lease.json") as proxy:
            proxy.on = False
            run = start_short(shop, proxy, s3, api.url, 1)
            await wait_for(lambda: api.stats()["calls"] >= 4)
            proxy.on = True
            _, err = await asyncio.to_thread(run.communicate, timeout=30)
        stats = api.stats()
    assert run.returncode == 5, err
    assert "another run may have this output" in err
    assert stats["calls"] == stats["paid"] == len(shop.pictures()) < 40


# The parts


def test_the_parts_hold_every_row_once_and_a_second_look_puts_nothing(
    shop: Shop, books: Path
) -> None:
    rows = books / "manifest.jsonl"
    rows.write_bytes(rows_of(range(9000)))
    Parts(shop.out, books, "").push(rows, b"{}")
    names = parts_in(shop.out)
    with rows.open("ab") as opened:
        opened.write(rows_of(range(9000, 9010)))
    parts = Parts(shop.out, books, "")
    parts.settle(rows)
    parts.push(rows, b"{}")
    assert parts_in(shop.out) == names
    assert len(names) > 2
    data = b"".join(shop.out.get(name)[0] for name in names)
    assert numbers_in(data) == list(range(9010))


@pytest.mark.parametrize("harm", ["first gone", "middle gone", "middle shortened", "last longer"])
def test_parts_that_are_not_as_they_were_put_are_left_and_all_rows_are_put_under_a_new_name(
    shop: Shop, books: Path, harm: str
) -> None:
    rows = books / "manifest.jsonl"
    rows.write_bytes(rows_of(range(12000)))
    before = Parts(shop.out, books, "")
    before.push(rows, b"{}")
    names = parts_in(shop.out)
    if harm == "middle shortened":  # by whole lines, all of which are alike in length
        data = shop.out.get(names[1])[0]
        shop.out.put(names[1], data[: data.rstrip().rfind(b"\n") + 1])
    elif harm == "last longer":
        shop.out.put(names[-1], shop.out.get(names[-1])[0] + b'{"n": "1"}\n' * 3)
    else:
        shop.out.delete(names[0 if harm == "first gone" else 1])
    with rows.open("ab") as opened:
        opened.write(rows_of(range(12000, 12001)))
    parts = Parts(shop.out, books, "")
    parts.settle(rows)
    parts.push(rows, b"{}")
    assert parts.id != before.id
    data = b"".join(shop.out.get(name)[0] for name in parts_in(shop.out, parts.id))
    assert numbers_in(data) == list(range(12001))


def test_a_line_longer_than_a_part_is_one_by_itself(shop: Shop, books: Path) -> None:
    rows = books / "manifest.jsonl"
    long = rows_of(range(10, 11), width=1_300_000)
    rows.write_bytes(rows_of(range(10)) + long + rows_of(range(11, 20)))
    Parts(shop.out, books, "").push(rows, b"{}")
    data = b"".join(shop.out.get(name)[0] for name in parts_in(shop.out))
    assert numbers_in(data) == list(range(20))
    parts = Parts(shop.out, books, "")
    parts.settle(rows)
    with rows.open("ab") as opened:
        opened.write(rows_of(range(20, 21)))
    parts.push(rows, b"{}")
    data = b"".join(shop.out.get(name)[0] for name in parts_in(shop.out))
    assert numbers_in(data) == list(range(21))


@pytest.fixture
def pulled(shop: Shop, books: Path) -> tuple[Parts, Path, list[str]]:
    """Another machine's view of these books: it has pulled all parts; the file, their names."""
    (books / "manifest.jsonl").write_bytes(rows_of(range(9000)))
    mine = Parts(shop.out, books, "")
    mine.push(books / "manifest.jsonl", b"{}")
    other = books.parent / "other"
    parts = Parts(shop.out, other, "")
    parts.pull()
    path = other / "manifest" / f"pulled-{mine.id}.jsonl"
    assert numbers_in(path.read_bytes()) == list(range(9000))
    return parts, path, parts_in(shop.out)


def test_what_is_pulled_grows_with_the_last_part_and_with_new_ones(
    shop: Shop, books: Path, pulled: tuple[Parts, Path, list[str]]
) -> None:
    parts, path, _ = pulled
    inode = path.stat().st_ino
    for end in (9100, 14000):
        (books / "manifest.jsonl").write_bytes(rows_of(range(end)))
        mine = Parts(shop.out, books, "")
        mine.push(books / "manifest.jsonl", b"{}")
        parts.pull()
        assert numbers_in(path.read_bytes()) == list(range(end))
    assert path.stat().st_ino == inode  # added to, not made anew


@pytest.mark.parametrize("which", [0, 1])
def test_rows_of_a_part_that_the_store_has_lost_stay_and_none_is_glued_to_another(
    shop: Shop, pulled: tuple[Parts, Path, list[str]], which: int
) -> None:
    parts, path, names = pulled
    shop.out.delete(names[which])
    shop.out.put(names[-1], shop.out.get(names[-1])[0] + rows_of(range(9000, 9001)))
    parts.pull()
    assert numbers_in(path.read_bytes()) == list(range(9001))
    shutil.rmtree(path.parent)
    parts.pull()  # who never had them has the others, each whole
    assert set(range(9001)) > set(numbers_in(path.read_bytes()))


def test_a_shortened_part_is_brought_anew_and_no_reader_sees_a_file_in_the_making(
    shop: Shop, pulled: tuple[Parts, Path, list[str]]
) -> None:
    parts, path, names = pulled
    data = shop.out.get(names[0])[0]
    shop.out.put(names[0], data[:1000])  # in the middle of a line
    with path.open("rb") as reader:
        parts.pull()
        assert numbers_in(reader.read()) == list(range(9000))
    lines = path.read_bytes().splitlines()
    good = [line for line in lines if line.endswith(b"}")]
    assert len(lines) - len(good) == 1  # the half line, by itself
    first = numbers_in(data)[-1] + 1
    assert numbers_in(b"\n".join(good))[-(9000 - first) :] == list(range(first, 9000))


def test_a_pulled_file_without_its_note_is_brought_anew(
    pulled: tuple[Parts, Path, list[str]],
) -> None:
    parts, path, _ = pulled
    with path.open("ab") as opened:
        opened.write(b'{"n": "0000')  # a machine died in the middle of it
    parts.pull()
    assert numbers_in(path.read_bytes()) == list(range(9000))


def test_what_is_too_large_for_a_part_or_an_account_is_not_read(shop: Shop, books: Path) -> None:
    shop.out.put("manifest/part-0123456789abcdef-000001.jsonl", b" " * (8 << 20) + b"\n")
    shop.out.put(f"{ACCOUNTS}0123456789abcdef.json", b'"' + b" " * (64 << 10) + b'"')
    parts = Parts(shop.out, books, "")
    parts.pull()
    assert (books / "manifest" / "pulled-0123456789abcdef.jsonl").stat().st_size == 0
    assert parts.elsewhere() == [b""]


# The money


def found(home: Path, name: str) -> Path:
    """A file of the books of the one output that this home knows."""
    return next(path for path in home.rglob(name) if ".local" in path.parts)


def accounts(out: Objects) -> dict[str, str]:
    """What each account in the store says was spent."""
    names = [entry.name for page in out.pages(ACCOUNTS) for entry in page]
    texts = {name.removeprefix(ACCOUNTS): out.get(name)[0] for name in names}
    return {name: json.loads(text)["spent"] for name, text in texts.items() if text}


async def test_a_budget_holds_when_the_attempts_journal_is_gone(shop: Shop) -> None:
    fill(shop.photos, 10)
    async with serve(Behaviour(picture_px=32)) as api:
        command = [shop.photos.address, "-o", shop.out.address, "--base-url", api.url]
        command += ["--price", "1", "--budget", "4"]
        assert (await shop.run(*command))[0] == 8
        found(shop.home, "attempts.jsonl").unlink()
        for _ in range(2):
            code, _, err = await shop.run(*command)
            assert (code, api.stats()["calls"]) == (8, 4), err
        assert list(accounts(shop.out).values()) == ["4"]


async def test_what_was_spent_counts_once_when_the_manifest_is_gone(
    shop: Shop, tmp_path: Path
) -> None:
    fill(shop.photos, 20)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    async with serve(Behaviour(picture_px=32, latency_s=0.5)) as api:
        command = [shop.photos.address, "-o", shop.out.address, "--base-url", api.url]
        command += ["--price", "1", "--budget"]
        assert (await shop.run(*command, "4"))[0] == 8
        process = shop.start("run", *command, "8", "--concurrency", "2")
        await wait_for(lambda: api.stats()["calls"] > 4)
        process.kill()  # its lease stays, and is of these books whatever they are called
        await asyncio.to_thread(process.communicate)
        found(shop.home, "manifest.jsonl").unlink()
        calls = []
        for home in (shop.home, shop.home, elsewhere):
            code, _, err = await shop.run(*command, "8", home=home)
            assert code == 8, err
            calls.append(api.stats()["calls"])
    # A call that was written down and not yet sent when the process was killed counts too.
    assert calls[0] in {7, 8}
    assert set(calls) == {calls[0]}


async def test_what_a_copy_of_the_books_spends_elsewhere_is_counted_here_too(
    shop: Shop, tmp_path: Path
) -> None:
    fill(shop.photos, 30)
    copy = tmp_path / "copy"
    async with serve(Behaviour(picture_px=32)) as api:
        command = [shop.photos.address, "-o", shop.out.address, "--base-url", api.url]
        command += ["--price", "1", "--budget"]
        assert (await shop.run(*command, "4"))[0] == 8
        shutil.copytree(shop.home, copy)
        for budget, home in ((6, shop.home), (8, copy), (10, shop.home), (12, copy)):
            code, _, err = await shop.run(*command, str(budget), home=home)
            assert code == 8, err
            assert api.stats()["calls"] == budget


# The end


async def test_a_second_ctrl_c_leaves_the_picture_in_hand_here_and_does_not_wait_for_the_store(
    shop: Shop, s3: stores.Store
) -> None:
    fill(shop.photos, 6)
    async with serve(Behaviour(picture_px=32)) as api:
        command = [shop.photos.address, "-o", shop.out.address, "--base-url", api.url]
        with Spoiled(s3.port, "slow", "PUT", "_v01.") as proxy:
            process = shop.start("run", *command, **through(shop, s3, proxy))
            await wait_for(lambda: proxy.met)
            proxy.method = proxy.word = ""  # by now the store answers nothing at all
            process.send_signal(signal.SIGINT)
            await asyncio.sleep(0.5)
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            _, err = await asyncio.to_thread(process.communicate, timeout=30)
            took_s = time.monotonic() - began
            paid = api.stats()["paid"]
            waiting = list(shop.home.rglob("unsent/*.json"))
            proxy.on = False
            again = await shop.run(*command, **through(shop, s3, proxy))
        assert process.returncode == 130, err
        assert took_s < 15
        assert len(waiting) == paid > 0
        assert again[0] == 0, again
        assert api.stats()["paid"] == 6
    assert len(shop.pictures()) == 6


async def test_the_first_ctrl_c_ends_within_its_time_though_the_store_is_dead(
    shop: Shop, s3: stores.Store
) -> None:
    fill(shop.photos, 6)
    async with serve(Behaviour(picture_px=32)) as api:
        command = [shop.photos.address, "-o", shop.out.address, "--base-url", api.url]
        with Spoiled(s3.port, "slow", "PUT", "_v01.") as proxy:
            process = shop.start("run", *command, "--timeout-s", "8", **through(shop, s3, proxy))
            await wait_for(lambda: proxy.met)
            proxy.method = proxy.word = ""
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            _, err = await asyncio.to_thread(process.communicate, timeout=40)
            took_s = time.monotonic() - began
            proxy.on = False
            again = await shop.run(*command, **through(shop, s3, proxy))
        assert process.returncode == 5, err  # who comes back reads why
        assert took_s < 8 + 2 * holding.END_S
        assert again[0] == 0, again
        assert api.stats()["paid"] == 6
    assert len(shop.pictures()) == 6
