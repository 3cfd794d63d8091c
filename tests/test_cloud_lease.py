"""Of two runs on one output one is refused, whatever their clocks say and however they end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from batch_reimagine.address import Address
from batch_reimagine.cloud.lease import Lease, live
from batch_reimagine.cloud.objects import Entry, Objects
from batch_reimagine.errors import OutputBusy, ServiceGone
from tests import stores

LEASE = ".batch-reimagine/lease.json"
COARSE_S = 1.0  # added to every life, as S3 tells whole seconds
RACES = 20


@pytest.fixture(scope="module", params=["memory", "moto"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, stores.Store | None]]:
    with stores.serving(request.param, tmp_path_factory.mktemp("store")) as store:
        yield request.param, store


@pytest.fixture
def objects(
    server: tuple[str, stores.Store | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Objects:
    return stores.fresh(*server, tmp_path, monkeypatch)


@pytest.fixture
def in_memory() -> Objects:
    return Objects(MemoryStore(), Address("s3", "bucket", "out"))


def lease(objects: Objects, token: str, *, name: str = "lease", life_s: float = 60.0) -> Lease:
    return Lease(objects, name, f"pid {token}", token, life_s)


def wins(of: Lease) -> bool:
    try:
        of.take()
    except OutputBusy:
        return False
    return True


def test_the_first_takes_it_without_a_note_and_says_who_it_is(objects: Objects) -> None:
    assert lease(objects, "one").take() == []

    said = json.loads(objects.get(LEASE)[0])
    assert (said["holder"], said["token"], said["life_s"]) == ("pid one", "one", 60)
    assert said["since"].startswith("20")
    [(name, holder, left_s)] = live(objects)
    assert (name, holder) == ("lease", "pid one")
    assert 50 < left_s <= 60 + COARSE_S


def test_the_second_is_refused_and_told_who_and_how_long(objects: Objects) -> None:
    lease(objects, "one").take()
    with pytest.raises(
        OutputBusy, match=r"in use by another run \(pid one\).* within (5\d|6[01]) s"
    ):
        lease(objects, "two").take()

    assert b'"token":"one"' in objects.get(LEASE)[0]


def test_what_was_given_back_is_free_at_once(objects: Objects) -> None:
    first = lease(objects, "one")
    first.take()
    first.release()

    assert live(objects) == []
    assert lease(objects, "two").take() == []


def test_the_same_books_take_over_at_once(objects: Objects) -> None:
    lease(objects, "one").take()

    assert lease(objects, "one").take() == []


def test_who_was_taken_over_learns_it_and_takes_nothing_from_the_new_holder(
    objects: Objects,
) -> None:
    first, second = lease(objects, "one"), Lease(objects, "lease", "pid 2 on b", "one")
    first.take()
    second.take()
    with pytest.raises(OutputBusy, match=r"taken over by another run \(pid 2 on b\)"):
        first.renew()
    first.release()

    assert [holder for _, holder, _ in live(objects)] == ["pid 2 on b"]
    second.renew()


def test_who_was_taken_over_unawares_gives_nothing_back(objects: Objects) -> None:
    first, second = lease(objects, "one"), Lease(objects, "lease", "pid 2 on b", "one")
    first.take()
    second.take()
    first.release()

    assert [holder for _, holder, _ in live(objects)] == ["pid 2 on b"]


def test_it_lives_on_while_it_is_renewed(objects: Objects) -> None:
    first = lease(objects, "one", life_s=0.5)
    first.take()
    for _ in range(6):
        time.sleep(0.5)
        first.renew()

    assert not wins(lease(objects, "two"))


def test_each_renewal_gives_it_another_etag(objects: Objects) -> None:
    first = lease(objects, "one")
    first.take()
    etags = set()
    for _ in range(3):
        first.renew()
        etags.add(objects.get(LEASE)[1].etag)

    assert len(etags) == 3


def test_one_that_is_not_renewed_ends_after_its_life_and_not_before(objects: Objects) -> None:
    lease(objects, "one", life_s=2.0).take()
    began = time.monotonic()
    second = lease(objects, "two")
    while not wins(second):
        assert time.monotonic() - began < 2.0 + 2 * COARSE_S + 2
        time.sleep(0.1)

    assert time.monotonic() - began >= 2.0


def test_a_lease_that_somebody_removed_is_lost(objects: Objects) -> None:
    first = lease(objects, "one")
    first.take()
    objects.delete(LEASE)
    with pytest.raises(OutputBusy):
        first.renew()
    first.renew()  # nothing: it is not held any more

    assert live(objects) == []


@pytest.mark.parametrize(
    ("held", "wanted", "refused"),
    [
        ("lease", "lease-1-of-2", True),
        ("lease-1-of-2", "lease", True),
        ("lease-1-of-2", "lease-1-of-3", True),
        ("lease-1-of-2", "lease-1-of-2", True),
        ("lease-01-of-16", "lease-02-of-16", False),
    ],
)
def test_the_whole_and_shards_of_another_number_exclude_each_other(
    objects: Objects, held: str, wanted: str, *, refused: bool
) -> None:
    lease(objects, "one", name=held).take()
    second = lease(objects, "two", name=wanted)
    if not refused:
        assert second.take() == []
        assert len(live(objects)) == 2
        return
    with pytest.raises(OutputBusy, match="pid one"):
        second.take()
    assert [name for name, _, _ in live(objects)] == [held]


@pytest.mark.parametrize("name", ["lease", "lease-2-of-2"])
def test_a_dead_lease_of_another_name_is_in_nobodys_way(in_memory: Objects, name: str) -> None:
    lease(in_memory, "one", name=name, life_s=0.2).take()
    time.sleep(0.3 + COARSE_S)

    assert lease(in_memory, "two", name="lease-1-of-3").take() == []


def test_a_lease_of_the_same_books_is_in_nobodys_way(in_memory: Objects) -> None:
    lease(in_memory, "one").take()

    assert lease(in_memory, "one", name="lease-1-of-3").take() == []


@pytest.mark.parametrize("free", ["there is none", "one is dead"])
def test_of_two_threads_that_race_exactly_one_wins_each_time(objects: Objects, free: str) -> None:
    with ThreadPoolExecutor(2) as threads:
        for number in range(RACES if free == "there is none" else 3):
            if free == "one is dead":
                lease(objects, "dead", name=f"lease-{number}-of-9", life_s=0.1).take()
                time.sleep(0.2 + 2 * COARSE_S)
            start = Barrier(2)

            def race(token: str, number: int = number, start: Barrier = start) -> bool:
                start.wait()
                return wins(lease(objects, token, name=f"lease-{number}-of-9"))

            assert sorted(threads.map(race, ["one", "two"])) == [False, True]


class Shifted(Objects):
    """A store whose clock is apart from this machine's."""

    by = timedelta()

    def get(self, name: str, *, most_bytes: int = 10_000) -> tuple[bytes, Entry]:
        data, entry = super().get(name, most_bytes=most_bytes)
        return data, replace(entry, modified=entry.modified + self.by)

    def about(self, name: str) -> tuple[Entry, dict[str, str]] | None:
        found = super().about(name)
        return found and (replace(found[0], modified=found[0].modified + self.by), found[1])

    def pages(self, prefix: str = "", after: str = "") -> Iterator[list[Entry]]:
        for page in super().pages(prefix, after):
            yield [replace(entry, modified=entry.modified + self.by) for entry in page]


@pytest.mark.parametrize("hours", [-1, 1, 24 * 365])
def test_a_clock_that_is_wrong_makes_no_difference(hours: int) -> None:
    store = Shifted(MemoryStore(), Address("s3", "bucket", "out"))
    store.by = timedelta(hours=hours)
    lease(store, "one", life_s=0.5).take()

    assert not wins(lease(store, "two"))
    assert not wins(lease(store, "two", name="lease-1-of-2"))
    assert len(live(store)) == 1
    time.sleep(0.6 + COARSE_S)
    assert live(store) == []
    assert wins(lease(store, "two"))


class Twice(Objects):
    """A store whose first answer to a write is always lost, so that it is sent again."""

    def put(self, name: str, data: bytes, **more: Any) -> str:
        super().put(name, data, **more)
        return super().put(name, data, **more)


def test_a_write_whose_answer_was_lost_is_known_as_ours() -> None:
    store = Twice(MemoryStore(), Address("s3", "bucket", "out"))
    first = lease(store, "one")

    assert first.take() == []
    first.renew()
    assert not wins(lease(store, "two"))
    first.release()
    assert live(store) == []


class Unlisted(Objects):
    """A store that fails when it is asked for a list."""

    def pages(self, prefix: str = "", after: str = "") -> Iterator[list[Entry]]:
        raise ServiceGone(f"no list of {prefix} after {after}")


def test_a_take_that_fails_half_way_holds_nothing(in_memory: Objects) -> None:
    with pytest.raises(ServiceGone):
        lease(Unlisted(in_memory.store, in_memory.address), "one").take()

    assert live(in_memory) == []


class Overtaken(Objects):
    """A store in which another with the same books comes while the first still looks around."""

    def pages(self, prefix: str = "", after: str = "") -> Iterator[list[Entry]]:
        lease(Objects(self.store, self.address), "one").take()
        return super().pages(prefix, after)


def test_who_is_overtaken_while_it_takes_is_refused(in_memory: Objects) -> None:
    with pytest.raises(OutputBusy, match=r"in use by another run \(pid one\).* within 60 s"):
        lease(Overtaken(in_memory.store, in_memory.address), "one").take()

    assert len(live(in_memory)) == 1


@pytest.mark.parametrize("token", ["", "one"])
@pytest.mark.parametrize("name", ["lease", "lease-1", "lease-x-of-2", "../lease"])
@pytest.mark.parametrize("life_s", [0.0, 1.0, 3_601.0, float("nan")])
def test_what_is_no_lease_cannot_be_made(
    in_memory: Objects, name: str, token: str, life_s: float
) -> None:
    if (name, token, life_s) == ("lease", "one", 1.0):
        return
    with pytest.raises(ValueError, match="no lease"):
        Lease(in_memory, name, "holder", token, life_s)


HUGE = b'{"holder":"me","token":"","since":"","life_s":1,"run":"","beat":1,"x":"%s"}' % (
    b"x" * 20_000
)


@given(
    st.binary(min_size=1)
    | st.sampled_from([b"[" * 9_000, HUGE, b'{"holder":1}', b'{"holder":"\xff"}'])
)
@settings(max_examples=50, deadline=None)
def test_a_lease_that_cannot_be_understood_has_a_holder_too(data: bytes) -> None:
    store = Objects(MemoryStore(), Address("s3", "bucket", "out"))
    store.put(LEASE, data)
    with pytest.raises(OutputBusy, match=r"another run \(unknown\)"):
        lease(store, "one").take()

    assert [holder for _, holder, _ in live(store)] == ["unknown"]


def test_a_holders_words_stay_one_bounded_line(in_memory: Objects) -> None:
    Lease(in_memory, "lease", "pid 1\x1b[2J\n" * 100, "one").take()
    with pytest.raises(OutputBusy) as error:
        lease(in_memory, "two").take()

    assert str(error.value).isprintable()
    assert len(str(error.value)) < 500


CHILD = """
import sys, time
from batch_reimagine.address import address_of
from batch_reimagine.cloud.lease import Lease
from batch_reimagine.cloud.objects import Objects
from batch_reimagine.cloud.opening import open_store
from batch_reimagine.errors import OutputBusy

address = address_of(sys.argv[1])
objects = Objects(open_store(address, {}), address)
print("ready", flush=True)
for line in sys.stdin:
    name, token, life_s, at = line.split()
    lease = Lease(objects, name, "a child", token, float(life_s))
    while time.time() < float(at):
        pass
    try:
        print("won", lease.take(), flush=True)
    except OutputBusy as error:
        print("busy", error, flush=True)
    if sys.stdin.readline() == "release\\n":
        lease.release()
        print("released", flush=True)
"""


class Rival:
    """Another process with the same store, on what might be another machine."""

    def __init__(self, address: Address) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(address)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=os.environ,
        )
        assert self.told() == "ready"

    def tell(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")

    def told(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=10)


@contextmanager
def rivals(address: Address, count: int) -> Iterator[list[Rival]]:
    started: list[Rival] = []
    try:
        for _ in range(count):
            started.append(Rival(address))  # noqa: PERF401 each is to be ended if the next fails
        yield started
    finally:
        for each in started:
            each.kill()


@pytest.fixture(scope="module")
def moto() -> Iterator[stores.Store]:
    with stores.moto() as store:
        yield store


@pytest.fixture
def bucket(moto: stores.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Objects:
    return stores.fresh("moto", moto, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "names", [("lease", "lease"), ("lease", "lease-1-of-2"), ("lease-1-of-3", "lease-1-of-2")]
)
def test_two_processes_that_race_never_both_win(bucket: Objects, names: tuple[str, str]) -> None:
    won = 0
    with rivals(bucket.address, 2) as both:
        for _ in range(RACES):
            at = time.time() + 0.02
            for token, (rival, name) in enumerate(zip(both, names, strict=True)):
                rival.tell(f"{name} token-{token} 60 {at}")
            answers = [rival.told().split(maxsplit=1) for rival in both]
            wins_now = [answer for how, answer in answers if how == "won"]
            assert len(wins_now) <= 1
            assert wins_now in ([], ["[]"])
            won += len(wins_now)
            for rival in both:
                rival.tell("release")
                assert rival.told() == "released"

    if names[0] == names[1]:
        assert won == RACES


def test_a_killed_holder_blocks_another_machine_for_its_life_and_its_own_books_not_at_all(
    bucket: Objects,
) -> None:
    with rivals(bucket.address, 1) as [holder]:
        holder.tell("lease books-of-one 2 0")
        assert holder.told() == "won []"
        holder.kill()
    began = time.monotonic()

    assert not wins(lease(bucket, "another machine"))
    own = lease(bucket, "books-of-one", life_s=2.0)
    assert own.take() == []
    while not wins(lease(bucket, "another machine")):
        assert time.monotonic() - began < 2.0 + 2 * COARSE_S + 2
        time.sleep(0.1)
    assert time.monotonic() - began >= 2.0
    with pytest.raises(OutputBusy, match="another machine"):
        own.renew()


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stores.Store]:
    with stores.rclone(tmp_path_factory.mktemp("rclone")) as store:
        yield store


def test_a_store_that_ignores_conditions_is_told_and_a_visible_run_refused_all_the_same(
    rclone: stores.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = stores.fresh("rclone", rclone, tmp_path, monkeypatch)
    first, other = lease(objects, "one"), lease(objects, "one")

    [note] = first.take()
    assert "ignores conditional writes" in note
    first.renew()
    assert not wins(lease(objects, "two"))
    other.take()
    with pytest.raises(OutputBusy, match="taken over"):
        first.renew()
    first.release()
    assert len(live(objects)) == 1
    other.release()
    assert live(objects) == []


class Reads(Objects):
    """A real store that counts what it is asked to read, and lists all as older than it is."""

    reads = 0
    older = timedelta()

    def get(self, name: str, *, most_bytes: int = 10_000) -> tuple[bytes, Entry]:
        self.reads += 1
        return super().get(name, most_bytes=most_bytes)

    def pages(self, prefix: str = "", after: str = "") -> Iterator[list[Entry]]:
        for page in super().pages(prefix, after):
            yield [replace(entry, modified=entry.modified - self.older) for entry in page]


@pytest.mark.parametrize("case", ["fellows", "given back", "long dead"])
def test_leases_that_cannot_be_in_the_way_are_not_even_read(case: str) -> None:
    store = Reads(MemoryStore(), Address("s3", "bucket", "out"))
    for number in range(50):
        shard = lease(store, f"{number}", name=f"lease-{number}-of-99")
        shard.take()
        if case == "given back":
            shard.release()
    store.reads, store.older = 0, timedelta(hours=2 * (case == "long dead"))
    lease(store, "last", name="lease-50-of-99" if case == "fellows" else "lease").take()

    assert store.reads <= 2
