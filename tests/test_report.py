"""What an output took, and what the vendor's bill makes of it."""

import asyncio
import codecs
import csv
import io
import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine import client, journal, manifest
from batch_reimagine.account import Account
from batch_reimagine.cli import main
from batch_reimagine.cli.report import _bill_lines
from batch_reimagine.naming import STATE_DIR
from batch_reimagine.output import Tree
from batch_reimagine.provider.billing import Charge
from batch_reimagine.report import Reconciled, reconcile, report, window
from batch_reimagine.secret import Secret
from batch_reimagine.settings import Settings
from batch_reimagine.simulator import Behaviour, serve
from batch_reimagine.tally import tally
from batch_reimagine.work import Record
from tests.serving import commands_alone  # noqa: F401 - a fixture
from tests.support import KEY, make_photos, rows, run

pytestmark = pytest.mark.usefixtures("commands_alone")

HOUR = 3600
NOON = 1_790_000_000 // HOUR * HOUR  # a whole hour


def row(
    status: str = "done", source: str = "shoes/a.jpg", variation: int = 1, **more: Any
) -> Record:
    """A row as a run writes it: one picture at the first attempt, for 0.10."""
    base: dict[str, Any] = {
        "run": "r1", "time": "2026-11-20T12:00:10.000Z", "status": status, "source": source,
        "source_sha256": "aa", "variation": variation, "provider": "novita",
        "request": "novita type=png", "attempts": 1, "http": (200,), "seconds": 2.0,
    }  # fmt: skip
    if status == "done":
        base |= {"output": f"{source}_v{variation:02}.png", "cost": "0.10", "bytes": 10}
    return Record(**(base | more))


@pytest.fixture
def output(tmp_path: Path) -> Callable[..., Path]:
    def made(*written: Record, tries: tuple[Any, ...] = ()) -> Path:
        out = tmp_path / "out"
        (out / STATE_DIR).mkdir(parents=True)
        lines = b"".join(manifest.encode(one) + b"\n" for one in written)
        (out / "manifest.jsonl").write_bytes(lines)
        lines = b"".join(journal.encode(one) + b"\n" for one in tries)
        (out / STATE_DIR / journal.FILE).write_bytes(lines)
        return out

    return made


def call(id_: str, **more: Any) -> journal.Try:
    base: dict[str, Any] = {
        "id": id_, "time": "2026-11-20T12:00:08.000Z", "source": "shoes/a.jpg",
        "source_sha256": "aa", "variation": 1, "attempt": 1, "base": "shoes/a", "price": "0.10",
    }  # fmt: skip
    return journal.Try(**(base | more))


WRITTEN = (
    row(),
    row(variation=2, attempts=4, http=(200, 503, None, 200), seconds=9.5),
    row("exhausted", "shoes/b.jpg", attempts=5, http=(500,) * 5, reason="INTERNAL"),
    row("rejected", "bags/c.jpg", http=(400,), reason="INVALID_IMAGE_SIZE"),
    row("unknown", "bags/d.jpg", http=(None,), reason="DROPPED", time="2026-11-21T00:00:00.000Z"),
    row(source="e.jpg", copied_from="shoes/a.jpg_v01.png", cost="0", attempts=0, http=()),
    row(source="shoes/b.jpg", time="2026-11-21T09:00:00.000Z", attempts=2, http=(429, 200)),
)


def test_a_variation_stands_as_its_last_row_tells_and_money_counts_all_rows(
    output: Callable[..., Path],
) -> None:
    later = call("2", time="2026-11-22T00:00:00.000Z")
    out = output(*WRITTEN, tries=(call("1"), journal.End(id="1", money="spent"), later))
    found = report(Tree(out), "folder")
    total = found.total

    assert (total.made, total.copied, total.refused, total.given_up, total.unknown) == (
        3, 1, 1, 0, 1
    )  # fmt: skip
    assert (total.bought, total.spent) == (3, Decimal("0.30"))
    assert (total.attempts, total.in_vain) == (1 + 4 + 5 + 1 + 1 + 2, 3 + 5 + 1 + 1 + 1)
    assert total.maybe_paid == 3 + 5 + 1, (
        "a 200 without a picture, 503, no answer, five times 500, and a drop; not 400, 429"
    )
    assert total.seconds == pytest.approx(2 + 9.5 + 2 + 2 + 2 + 2)
    assert list(found.groups) == [".", "bags", "shoes"]
    assert found.groups["shoes"].made == 3
    assert found.groups["shoes"].given_up == 0
    assert found.groups["bags"].refused == found.groups["bags"].unknown == 1
    assert (found.calls, found.spent, found.at_risk) == (2, Decimal("0.10"), Decimal("0.10"))
    assert found.open_tries == 1


def test_groups_add_up_to_the_total_whatever_they_are_made_by(output: Callable[..., Path]) -> None:
    out = output(*WRITTEN)
    for by in ("folder", "day", "reason"):
        found = report(Tree(out), by)
        for column in ("made", "copied", "bought", "attempts", "in_vain", "maybe_paid", "spent"):
            assert sum(getattr(line, column) for line in found.groups.values()) == getattr(
                found.total, column
            ), (by, column)
    assert list(report(Tree(out), "day").groups) == ["2026-11-20", "2026-11-21"]
    assert report(Tree(out), "reason").groups["DROPPED"].unknown == 1


def test_a_replaced_picture_was_paid_twice_and_is_there_once(output: Callable[..., Path]) -> None:
    found = report(Tree(output(row(), row(time="2026-11-22T00:00:00.000Z"))))

    assert (found.total.made, found.total.bought, found.total.spent) == (1, 2, Decimal("0.20"))


def test_money_that_is_not_known_is_empty_never_0(
    output: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    out = output(row(cost=None))
    assert main(["report", str(out), "--csv"]) == 0
    (total,) = csv.DictReader(io.StringIO(capfd.readouterr().out.lstrip("\ufeff")))
    assert (total["made"], total["spent"]) == ("1", "")
    assert main(["report", str(out)]) == 0
    assert "money: price not known" in capfd.readouterr().out
    assert main(["report", str(out), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["spent"], told["at_risk"], told["total"]["unpriced"]) == (None, None, 1)


def test_the_csv_opens_in_spreadsheets_and_runs_nothing_there(
    output: Callable[..., Path], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    out = output(row(source='=HYPERLINK("http://x")/é,1.jpg'), row(source="ok/a.jpg"))
    assert main(["report", str(out), "--by", "folder", "--csv"]) == 0
    data = capfdbinary.readouterr().out

    assert data.startswith(codecs.BOM_UTF8)
    assert data.count(b"\r\n") == data.count(b"\n") == 4
    lines = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert lines[0][:3] == ["folder", "made", "copied"]
    assert lines[1][0] == '\'=HYPERLINK("http://x")'
    assert {len(line) for line in lines} == {12}
    assert lines[-1][0] == "total"
    assert lines[-1][7] == "0.20"


def test_markdown_is_one_table_whatever_folders_are_called(
    output: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    out = output(row(source="a|b\\/x.jpg"), row(source="\x1b[2Jc/x.jpg"))
    assert main(["report", str(out), "--by", "folder", "--md"]) == 0
    said = capfd.readouterr().out

    table = [line for line in said.splitlines() if line.startswith("|")]
    assert len(table) == 5
    assert {line.replace("\\|", "").count("|") for line in table} == {13}
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--csv", "--json"], "exclude one another"),
        (["--by", "hour"], "hour"),
    ],
)
def test_a_wrong_call_of_report_is_a_usage_error(
    output: Callable[..., Path], capfd: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["report", str(output(row())), *arguments]) == 2
    assert says in capfd.readouterr().err


def test_a_folder_that_is_no_output_is_10(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    assert main(["report", str(tmp_path / "x")]) == 10


def test_a_bill_is_not_asked_of_a_provider_that_tells_none(
    output: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    out = output(row(provider="clipdrop"), row(provider="simulator", source="b.jpg"))
    assert main(["report", str(out), "--reconcile"]) == 2
    assert "made by clipdrop, simulator; none tells a bill" in capfd.readouterr().err


def test_the_window_of_a_bill_holds_every_call_in_whole_hours(output: Callable[..., Path]) -> None:
    begun_the_hour_before = row(time="2026-11-20T12:00:10.000Z", seconds=30.0)
    later = call("9", time="2026-11-20T14:59:59.000Z")
    found = window(Tree(output(begun_the_hour_before, tries=(later,))), 1_800_000_000)

    assert found is not None
    assert (found.ended - found.began) / HOUR == 4  # from 11:00 to 15:00
    assert found.began % HOUR == found.ended % HOUR == 0
    assert not found.cut


def test_a_call_whose_end_the_disk_refused_is_settled_by_its_row(
    output: Callable[..., Path],
) -> None:
    bought = row(source="b.jpg", run="r1", output="b_v01.png", source_sha256="bb")
    refused = row("rejected", "c.jpg", http=(400,), reason="INVALID_IMAGE", source_sha256="cc")
    out = output(
        bought,
        refused,
        tries=(
            call("r1.1", source="b.jpg", source_sha256="bb", base="b"),
            call("r1.2", source="c.jpg", source_sha256="cc", base="c"),
            call("r1.3", source="d.jpg", source_sha256="dd", base="d"),
        ),
    )
    found, status = report(Tree(out)), tally(out)

    assert (found.spent, found.at_risk) == (Decimal("0.10"), Decimal("0.10"))
    assert (found.calls, found.open_tries) == (3, 1)
    assert (status.spent, status.at_risk) == ("0.10", "0.10")
    assert (status.calls, status.in_flight) == (3, 1)


@pytest.mark.parametrize(
    "hostile",
    [
        {"time": "9999-12-31T23:59:59.000Z"},
        {"time": "9999-12-31T23:59:59-23:00"},
        {"time": "0001-01-01T00:00:00"},
        {"time": "0001-01-01T00:00:00+14:00"},
        {"seconds": 1e12},
        {"seconds": -1e12},
        {"seconds": 1e300},
    ],
)
def test_no_row_makes_the_window_of_a_bill_longer_than_a_year_or_end_after_now(
    output: Callable[..., Path], hostile: dict[str, Any]
) -> None:
    tree, now = Tree(output(row(**hostile), tries=(call("x", time="9999-01-01"),))), NOON + 5
    found = window(tree, now)

    assert found is not None
    assert NOON - 367 * 86_400 < found.began < found.ended == NOON + HOUR
    assert found.began % HOUR == found.ended % HOUR == 0
    assert report(tree).total.bought == 1


def compared(units: int | None, maybe_paid: int = 3, product: str = "Reimagine v1") -> Reconciled:
    from batch_reimagine.report import Line, Report, Window  # noqa: PLC0415

    books = Report("out", None, total=Line(maybe_paid=maybe_paid), hours={NOON // HOUR: 10})
    amount = Decimal(units or 0) / 100
    lines = [
        Charge(NOON, NOON + HOUR, product, units, amount),
        Charge(NOON, NOON + HOUR, "Something else", 1000, Decimal(99)),
    ]
    at = Window(NOON, NOON + 2 * HOUR, cut=False)
    return reconcile(books, at, lines, product="reimagine", currency="USD")


@pytest.mark.parametrize(
    ("units", "says"),
    [
        (10, "they agree: none of the 3 unknown attempts was billed"),
        (12, "2 of the 3 unknown attempts were billed: 0.02 USD"),
        (13, "3 of the 3 unknown attempts were billed: 0.03 USD"),
        (15, "5 pictures more on the bill than here: 0.05 USD; at least 2 of them are another"),
        (8, "2 of our pictures are not on the bill (yet): 0.02 USD"),
        (None, "the bill tells no number of pictures"),
    ],
)
def test_the_bill_says_what_the_unknown_attempts_cost(units: int | None, says: str) -> None:
    bill = compared(units)
    said = list(_bill_lines(bill))

    assert any(line.startswith(says) for line in said), said
    assert bill.named
    assert list(bill.products) == ["Reimagine v1"]
    assert any("later ones may follow" in line for line in said)


def test_where_no_line_names_our_call_all_count_and_that_is_said() -> None:
    bill = compared(10, product="Image thing")

    assert not bill.named
    assert bill.units == 1010
    assert any("all pictures of the account" in line for line in _bill_lines(bill))


async def test_a_run_with_lost_answers_is_reconciled_to_the_last_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that bills what it made, and a network that loses a part of it."""
    monkeypatch.setattr(client, "BACKOFF_S", 0.01)
    make_photos(tmp_path / "photos", 8)
    out = tmp_path / "out"
    async with serve(Behaviour(api_key=KEY, share_truncated=0.3, seed=1)) as service:
        ran = await run(
            tmp_path / "photos", out, base_url=service.url, variations=2, price=Decimal("0.01"),
            attempts=20,
        )  # fmt: skip
        stats = service.stats()
        tree = await asyncio.to_thread(Tree, out)
        found = await asyncio.to_thread(report, tree)
        at = await asyncio.to_thread(window, tree, time.time())
        assert at is not None
        asked = Account(Settings(base_url=service.url), Secret(KEY))
        charges = await asked.charges(at.began, at.ended)

    lost = stats["by_outcome"]["truncated"]
    bill = reconcile(found, at, charges, product="reimagine", currency="USD")
    assert ran.error is None
    assert lost > 0
    assert (bill.bought, bill.maybe_paid, bill.extra) == (16, lost, lost)
    assert bill.amount == (16 + lost) * Decimal("0.01") == found.spent + found.at_risk
    assert found.total.in_vain == lost
    assert len(rows(out)) == found.total.made == 16
