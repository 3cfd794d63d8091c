"""A share of a job: stable, exact, and its lock: who may write beside whom."""

import hashlib
import math
import os
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from batch_reimagine.errors import OutputBusy, UsageError
from batch_reimagine.inputs import Filters
from batch_reimagine.journal import Balance
from batch_reimagine.lock import Lock, holder_of, holders_of
from batch_reimagine.provider import request_of
from batch_reimagine.settings import Settings
from batch_reimagine.shard import Shard
from batch_reimagine.tries import share_of
from batch_reimagine.walk import OF_ANOTHER_SHARD, Skip, Walk
from batch_reimagine.work import Photo

SHARDS = st.integers(1, 10_000).flatmap(lambda n: st.builds(Shard, st.integers(1, n), st.just(n)))
FEW = st.integers(1, 40)
MONEY = st.decimals(0, 10**9, allow_nan=False, allow_infinity=False, places=6)
PRICE = st.none() | st.decimals("0.0001", 100, places=4)


def all_of(n: int) -> list[Shard]:
    return [Shard(k, n) for k in range(1, n + 1)]


@settings(deadline=None)
@given(st.text(), FEW)
def test_every_photo_is_of_exactly_one_shard(source: str, n: int) -> None:
    assert sum(shard.has(source) for shard in all_of(n)) == 1


def test_the_shard_of_a_photo_is_the_same_on_every_machine_and_in_every_version() -> None:
    for source in ("a.jpg", "shoes/red sneaker.jpg", "Grüße/ß.png"):
        # The rule, said once more: the first 8 bytes of the sha256, as a number, by n.
        number = int(hashlib.sha256(source.encode()).hexdigest()[:16], 16)
        assert Shard(number % 7 + 1, 7).has(source)


def test_shards_get_about_the_same_number_of_photos() -> None:
    names = [f"photos/{number:05d}.jpg" for number in range(16_000)]

    counts = [sum(map(shard.has, names)) for shard in all_of(16)]

    assert sum(counts) == 16_000
    assert all(850 < count < 1150 for count in counts)  # 1,000 and five standard deviations


@settings(deadline=None)
@given(SHARDS)
def test_a_shard_is_known_by_its_words_and_by_its_books_name(shard: Shard) -> None:
    assert Shard.of(str(shard)) == Shard.named(shard.name) == shard


@settings(deadline=None)
@given(FEW)
def test_books_sort_as_their_numbers_do(n: int) -> None:
    assert sorted(shard.name for shard in all_of(n)) == [shard.name for shard in all_of(n)]


@pytest.mark.parametrize(
    "text",
    ["0/4", "5/4", "1/0", "1/10001", "1", "1/", "/4", "a/b", "1/4/2", "-1/4", "1.5/4", "٣/٤"],
)
def test_a_share_that_is_none_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(UsageError, match=r"shard: .* write 3/16"):
        Settings(shard=text)


@settings(deadline=None)
@given(st.integers(0, 10**6), FEW)
def test_shares_of_calls_add_up_and_differ_by_one_at_most(calls: int, n: int) -> None:
    shares = [Settings(shard=str(s), max_calls=calls).share.max_calls for s in all_of(n)]

    assert sum(filter(None, shares)) == calls
    assert max(filter(None, shares), default=0) - min(share or 0 for share in shares) <= 1


@settings(deadline=None)
@given(MONEY, PRICE, FEW)
def test_shares_of_money_add_up_to_the_last_digit(
    amount: Decimal, price: Decimal | None, n: int
) -> None:
    assert sum(shard.share_of_money(amount, price) for shard in all_of(n)) == amount


@settings(deadline=None)
@given(MONEY, st.decimals("0.001", 100, places=3), FEW)
def test_shares_of_a_budget_buy_as_many_calls_as_the_whole(
    budget: Decimal, price: Decimal, n: int
) -> None:
    shares = [Settings(shard=str(s), budget=budget, price=price).share.budget for s in all_of(n)]

    assert sum(share // price for share in shares if share) == budget // price


@settings(deadline=None)
@given(MONEY, MONEY, MONEY, st.decimals("0.001", 100, places=3), FEW)
def test_what_the_whole_has_spent_leaves_no_shard_more_than_there_is(
    budget: Decimal, spent: Decimal, at_risk: Decimal, price: Decimal, n: int
) -> None:
    assume(spent + at_risk <= budget)
    before = Balance(spent, at_risk)
    left = Decimal(0)
    for shard in all_of(n):
        gone = share_of(before, shard, price)
        left += shard.share_of_money(budget, price) - gone.spent - gone.at_risk
    assert left == budget - spent - at_risk


@settings(deadline=None)
@given(st.floats(0.001, 1e6), FEW)
def test_shares_of_the_pace_add_up(rpm: float, n: int) -> None:
    shares = [Settings(shard=str(shard), rpm=rpm).share.rpm or 0 for shard in all_of(n)]

    assert math.isclose(math.fsum(shares), rpm, rel_tol=1e-12)


def test_the_whole_has_everything() -> None:
    settings = Settings(rpm=60, budget=Decimal(5), price=Decimal("0.1"), max_calls=7)

    assert settings.share is settings


def test_a_shard_is_no_part_of_what_is_bought() -> None:
    assert request_of(Settings(shard="3/16")) == request_of(Settings())


NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12
).filter(lambda name: name not in {".", ".."} and len(name.encode()) < 200)


@settings(deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=8, unique=True), st.integers(1, 5))
def test_outputs_are_named_alike_whether_sharded_or_not(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], n: int
) -> None:
    folder = tmp_path_factory.mktemp("in")
    for name in names:
        for suffix in ("jpg", "png"):  # of one stem: each must be told of the other
            (folder / f"{name}.{suffix}").write_bytes(b"\xff\xd8\xff\xe0 no more is looked at")
    whole = bases(folder, None)

    parts = [bases(folder, shard) for shard in all_of(n)]

    assert {source: base for part in parts for source, base in part.items()} == whole
    assert sum(map(len, parts)) == len(whole)


def bases(folder: Path, shard: Shard | None) -> dict[str, str]:
    walk = Walk([folder], folder / "out", Filters.of((), ()), mine=shard.has if shard else None)
    return {f.source: f.base for batch in walk for f in batch if isinstance(f, Photo)}


def test_photos_of_others_are_not_opened_and_do_not_count_for_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        (tmp_path / f"{number}.jpg").write_bytes(b"\xff\xd8\xff")
    shard, opened = Shard(2, 4), []
    real = os.open

    def watch(path: str, *args: int, **kwargs: int) -> int:
        opened.append(Path(path).name)
        return real(path, *args, **kwargs)

    monkeypatch.setattr("batch_reimagine.walk.os.open", watch)
    walk = Walk([tmp_path], tmp_path / "o", Filters.of((), ()), limit=5, mine=shard.has)
    found = [found for batch in walk for found in batch]

    mine = [found.source for found in found if isinstance(found, Photo)]
    assert len(mine) == 5
    assert all(map(shard.has, mine))
    assert {skip.reason for skip in found if isinstance(skip, Skip)} == {OF_ANOTHER_SHARD}
    assert {name for name in opened if name.endswith(".jpg")} <= {
        f"{number}.jpg" for number in range(40) if shard.has(f"{number}.jpg")
    }


def test_a_photo_that_is_named_itself_is_of_one_shard_too(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.jpg" for number in range(12)]
    for file in files:
        file.write_bytes(b"\xff\xd8\xff")

    found = [
        {f.source for batch in Walk(files, tmp_path / "o", Filters.of((), ()), mine=s.has)
         for f in batch if isinstance(f, Photo)}
        for s in all_of(3)
    ]  # fmt: skip

    assert sorted(source for part in found for source in part) == sorted(f.name for f in files)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    for shard in (Shard(1, 4), Shard(2, 4), Shard(1, 2)):
        (tmp_path / "out" / "state" / shard.name).mkdir(parents=True)
    return tmp_path / "out" / "state"


@pytest.fixture
def locks() -> Iterator[list[Lock]]:
    taken: list[Lock] = []
    yield taken
    for lock in taken:
        lock.release()


@pytest.mark.parametrize(
    ("first", "then", "refused_for"),
    [
        pytest.param(None, None, "pid", id="whole, whole"),
        pytest.param(None, Shard(1, 4), "pid", id="whole, shard"),
        pytest.param(Shard(1, 4), None, "shard 1/4, pid", id="shard, whole"),
        pytest.param(Shard(1, 4), Shard(1, 4), "shard 1/4, pid", id="the same shard twice"),
        pytest.param(Shard(1, 4), Shard(1, 2), "shard 1/4, pid", id="of another n"),
        pytest.param(Shard(1, 4), Shard(2, 4), None, id="two of one n"),
    ],
)
def test_who_may_write_beside_whom(
    state: Path,
    locks: list[Lock],
    first: Shard | None,
    then: Shard | None,
    refused_for: str | None,
) -> None:
    locks += [Lock(state, first), Lock(state, then)]
    locks[0].take()

    if refused_for is None:
        locks[1].take()
        return
    with pytest.raises(OutputBusy, match=rf"in use by another run \({refused_for} {os.getpid()}"):
        locks[1].take()
    # Who was refused holds nothing back: what he waited for is free when it ends.
    locks[0].release()
    locks[1].take()


def test_all_who_hold_an_output_are_told(state: Path, locks: list[Lock]) -> None:
    assert holder_of(state) is None
    for shard in (Shard(1, 4), Shard(2, 4)):
        locks.append(Lock(state, shard))
        locks[-1].take()
        locks[-1].tell(f"plan {shard}")

    assert [(held.shard, held.plan) for held in holders_of(state)] == [
        (Shard(1, 4), "plan 1/4"),
        (Shard(2, 4), "plan 2/4"),
    ]
    words, _ = holder_of(state) or ("", "")
    assert words.startswith("shard 1/4, pid")
    assert "; shard 2/4, pid" in words


def test_whoever_only_looks_keeps_nobody_out(state: Path, locks: list[Lock]) -> None:
    end = time.monotonic() + 1.0
    looking = os.fork()
    if looking == 0:  # a `status --watch` without a pause
        while time.monotonic() < end:
            holders_of(state)
        os._exit(0)
    taken = 0
    while time.monotonic() < end - 0.2:
        for shard in (None, Shard(1, 4)):
            lock = Lock(state, shard)
            locks.append(lock)
            lock.take()
            taken += 1
            lock.release()
    assert os.waitpid(looking, 0)[1] == 0
    assert taken > 20
