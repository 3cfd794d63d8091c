"""What was sent is on disk before it is sent, and adds up afterwards."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from hypothesis import given
from hypothesis import strategies as st

from batch_reimagine import journal
from batch_reimagine.budget import Money
from batch_reimagine.journal import Balance, Carry, End, Journal, Try, end_of
from batch_reimagine.log import open_log, read_lines, repair_tail

MONEY: tuple[Money, ...] = ("spent", "free", "unknown")


def a_try(id_: str = "r1.1", **changes: Any) -> Try:
    columns: dict[str, Any] = {
        "id": id_,
        "time": "2026-01-01T00:00:00.000Z",
        "source": "a.jpg",
        "source_sha256": "00" * 32,
        "variation": 1,
        "attempt": 1,
        "base": "a",
        "price": "0.01",
    }
    return Try(**columns | changes)


def written(path: Path, *lines: Try | End | Carry | bytes) -> Path:
    path.write_bytes(
        b"".join((x if isinstance(x, bytes) else journal.encode(x)) + b"\n" for x in lines)
    )
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / journal.FILE


@pytest.fixture
async def writing(path: Path) -> AsyncIterator[Journal]:
    opened = Journal(await to_thread.run_sync(open_log, path), "r1")
    yield opened
    opened.close()


async def test_a_try_is_on_disk_before_the_call_is_sent(writing: Journal, path: Path) -> None:
    attempt = a_try(writing.next_id())

    await writing.begin(attempt)

    assert [line for _, line in read_lines(path)] == [journal.encode(attempt)]


async def test_ids_are_never_given_twice(writing: Journal) -> None:
    assert len({writing.next_id() for _ in range(100)}) == 100


async def test_a_settled_try_is_not_pending(writing: Journal, path: Path) -> None:
    await writing.begin(a_try())
    writing.end(end("r1.1", "spent", 200))
    await writing.flush()

    balance, pending = journal.read(path)

    assert pending == {}
    assert (balance.spent, balance.at_risk, balance.calls) == (Decimal("0.01"), Decimal(0), 1)


def test_a_try_without_an_end_was_in_flight(path: Path) -> None:
    balance, pending = journal.read(written(path, a_try("r1.1"), a_try("r1.2"), end("r1.1")))

    assert pending == {"r1.2": a_try("r1.2")}
    assert balance.spent == Decimal("0.01")


def end(id_: str, money: Money = "spent", http: int | None = None) -> End:
    return End(id=id_, money=money, http=http)


@pytest.mark.parametrize(
    ("money", "spent", "at_risk"),
    [("spent", "0.01", "0"), ("free", "0", "0"), ("unknown", "0", "0.01")],
)
def test_each_kind_of_end_has_its_sum(path: Path, money: Money, spent: str, at_risk: str) -> None:
    balance, _ = journal.read(written(path, a_try(), end("r1.1", money)))

    assert (balance.spent, balance.at_risk) == (Decimal(spent), Decimal(at_risk))


def test_an_end_counts_once(path: Path) -> None:
    balance, _ = journal.read(written(path, a_try(), end("r1.1"), end("r1.1")))

    assert balance.spent == Decimal("0.01")


def test_an_end_of_nothing_counts_nothing(path: Path) -> None:
    balance, pending = journal.read(written(path, end("r9.9")))

    assert (balance.spent, balance.calls) == (Decimal(0), 0)
    assert pending == {}


def test_an_unknown_price_is_not_summed(path: Path) -> None:
    balance, _ = journal.read(written(path, a_try(price=None), end("r1.1")))

    assert (balance.spent, balance.calls) == (Decimal(0), 1)


def test_carried_sums_are_added(path: Path) -> None:
    carry = Carry(spent="1.50", at_risk="0.25", calls=9)

    balance, _ = journal.read(written(path, carry, a_try(), end("r1.1")))

    assert (balance.spent, balance.at_risk, balance.calls) == (Decimal("1.51"), Decimal("0.25"), 10)


def test_a_journal_that_is_not_there_is_empty(path: Path) -> None:
    balance, pending = journal.read(path)

    assert (balance.calls, pending) == (0, {})


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"garbage", id="no JSON"),
        pytest.param(b"", id="an empty line"),
        pytest.param(b"\xff\xfe\0", id="no UTF-8"),
        pytest.param(b'{"what":"dance"}', id="another kind of line"),
        pytest.param(b'{"what":"end","id":"r1.1","money":"lots"}', id="another kind of money"),
        pytest.param(b'{"what":"try","id":"r1.7"}', id="a try without its columns"),
        pytest.param(journal.encode(a_try("r1.7", price="free")), id="a price that is no number"),
        pytest.param(
            journal.encode(Carry(spent="x", at_risk="0", calls=1)), id="a sum that is no number"
        ),
        pytest.param(
            journal.encode(Carry(spent="NaN", at_risk="0", calls=1)), id="a sum called NaN"
        ),
        pytest.param(b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", id="deeply nested"),
    ],
)
def test_a_damaged_line_is_counted_and_loses_no_other(path: Path, line: bytes) -> None:
    balance, pending = journal.read(
        written(path, a_try("r1.1"), line, end("r1.1"), end("r1.7"), a_try("r1.2"))
    )

    assert balance.damaged == 1
    assert balance.spent == Decimal("0.01")
    assert list(pending) == ["r1.2"]


def test_a_journal_torn_at_any_byte_only_makes_the_next_run_more_careful(path: Path) -> None:
    whole = written(path, a_try("r1.1"), end("r1.1"), a_try("r1.2"), end("r1.2")).read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        repair_tail(path)

        balance, pending = journal.read(path)

        assert balance.damaged == 0
        lines = whole[:cut].count(b"\n")
        assert balance.calls == (lines + 1) // 2
        assert len(pending) == lines % 2


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([*MONEY, None])), max_size=30))
def test_the_sums_and_what_is_pending_account_for_every_call(
    story: list[tuple[int, Money | None]],
) -> None:
    from tempfile import TemporaryDirectory  # noqa: PLC0415 - tmp_path is shared by examples

    lines: list[Try | End] = []
    for number, (price, money) in enumerate(story):
        lines.append(a_try(f"r1.{number}", price=f"0.{price}"))
        if money:
            lines.append(end(f"r1.{number}", money, http=200))
    with TemporaryDirectory() as folder:
        balance, pending = journal.read(written(Path(folder) / "j", *lines))

    def total(of: Money | None) -> Decimal:
        return sum((Decimal(f"0.{price}") for price, money in story if money == of), Decimal(0))

    assert balance.spent == total("spent")
    assert balance.at_risk == total("unknown")
    assert sum((Decimal(t.price or 0) for t in pending.values()), Decimal(0)) == total(None)
    assert balance.calls == len(story)


def added(*lines: Try | End) -> tuple[Balance, dict[str, Try]]:
    found, pending = Balance(), dict[str, Try]()
    for line in lines:
        journal._take(journal.encode(line), found, pending)
    return found, pending


@given(st.integers(1, 9), st.data())
def test_the_end_of_a_try_accounts_for_all_it_asked_for(count: int, data: st.DataObject) -> None:
    came = data.draw(st.integers(0, count))
    attempt = a_try(also=tuple(range(2, count + 1)))

    found, pending = added(attempt, end_of(attempt, came))

    assert not pending
    cent = Decimal("0.01")
    assert (found.spent, found.at_risk) == (came * cent, (count - came) * cent)
    assert found.damaged == 0


@given(st.integers(-5, 99))
def test_an_end_that_claims_more_than_was_asked_for_is_cut(claimed: int) -> None:
    found, _ = added(a_try(also=(2,)), End(id="r1.1", money="spent", pictures=claimed))

    assert 0 <= found.spent + found.at_risk <= Decimal("0.02")
    assert found.spent == Decimal("0.01") * min(max(claimed, 0), 2)
