"""The plan beside the account's balance: a note where it falls short, and never a failure."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from batch_reimagine.cli import main
from batch_reimagine.cli.balance import short_of
from batch_reimagine.settings import Settings
from batch_reimagine.work import Plan
from tests.serving import Service, commands_alone  # noqa: F401 - a fixture
from tests.support import KEY, make_photos, scripted

pytestmark = pytest.mark.usefixtures("commands_alone")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


@pytest.fixture
def words(tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    make_photos(tmp_path / "photos", 3)
    monkeypatch.setenv("NOVITA_API_KEY", KEY)
    service.behave(balance=None, latency_s=0.0)
    return ["run", "photos", "-o", "out", "-n", "2", "--base-url", service.url, "--price"]


def balance(service: Service, pictures: int) -> None:
    """So many pictures more can be paid, at 0.01 USD each."""
    assert service.server is not None
    service.behave(balance=service.server.stats()["paid"] + pictures)


def test_a_dry_run_says_that_the_account_cannot_pay_the_plan(
    words: list[str], service: Service, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    balance(service, 4)
    assert main([*words, "0.01", "--dry-run"]) == 0
    said = capfd.readouterr()

    assert (
        "the account has 0.04 USD, which pays about 4 of the 6 pictures to make (0.06" in said.err
    )
    assert "plan: 3 photos" in said.out
    assert not (tmp_path / "out").exists()


def test_a_plan_that_can_be_paid_or_is_bounded_by_a_budget_says_nothing(
    words: list[str], service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    balance(service, 6)
    assert main([*words, "0.01", "--dry-run"]) == 0
    balance(service, 4)
    assert main([*words, "0.01", "--budget", "0.04", "--dry-run"]) == 0
    assert "the account has" not in capfd.readouterr().err


@pytest.mark.parametrize("key", ["", "sk_wrong_0123456789"])
def test_what_cannot_be_told_is_no_matter_for_a_dry_run(
    words: list[str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    key: str,
) -> None:
    monkeypatch.setenv("NOVITA_API_KEY", key)
    assert main([*words, "100", "--dry-run"]) == 0
    words[words.index("--base-url") + 1] = "http://127.0.0.1:9"
    assert main([*words, "100", "--dry-run"]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert said.out.count("plan: 3 photos") == 2


def test_a_run_notes_it_beside_the_work_and_stops_where_the_money_ends(
    words: list[str], service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    balance(service, 4)
    service.behave(latency_s=0.5)  # so that the answer is there before the end
    assert main([*words, "0.01", "--json"]) == 4
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    notes = [event["text"] for event in events if event["event"] == "note"]

    assert events[0]["event"] == "plan"
    assert events[-1]["event"] == "summary"
    assert [note for note in notes if note.startswith("the account has 0.04 USD")]
    assert sum(event["event"] == "item" and event["status"] == "done" for event in events) == 4


@pytest.mark.parametrize(
    ("price", "to_make", "asked"),
    [(None, 0, 0), (None, 6, 1), (Decimal(1), 0, 0), (Decimal(1), 6, 1)],
)
async def test_nobody_is_asked_where_there_is_nothing_to_compare(
    price: Decimal | None, to_make: int, asked: int
) -> None:
    plan = Plan(
        photos=3, variations=2, here=0, held=0, copies=0, to_make=to_make, failed_before=0,
        skipped={}, complete=True, price=None,
    )  # fmt: skip
    async with scripted((200, {"availableBalance": "0"}), gets=True) as api:
        said = await short_of(plan, Settings(base_url=api.url, price=price), lambda: KEY)

    assert len(api.seen) == asked
    assert (said is not None) == bool(asked)
    assert said is None or ("pays none of the 6 pictures" if price else "for no picture") in said


@pytest.mark.parametrize(("units", "says"), [("-5", True), ("0", True), ("1", False)])
async def test_an_empty_account_is_told_without_a_price(units: str, *, says: bool) -> None:
    plan = Plan(
        photos=3, variations=2, here=0, held=0, copies=0, to_make=6, failed_before=0, skipped={},
        complete=True, price=None,
    )  # fmt: skip
    async with scripted((200, {"availableBalance": units}), gets=True) as api:
        said = await short_of(plan, Settings(base_url=api.url), lambda: KEY)

    assert (said is not None and "then the run stops with 4" in said) == says


async def test_the_simulator_within_a_run_has_no_account_and_no_key_is_looked_for() -> None:
    plan = Plan(
        photos=3, variations=2, here=0, held=0, copies=0, to_make=6, failed_before=0, skipped={},
        complete=True, price=None,
    )  # fmt: skip
    settings = Settings(provider="simulator", price=Decimal(1))

    assert await short_of(plan, settings, lambda: pytest.fail("a key was looked for")) is None
