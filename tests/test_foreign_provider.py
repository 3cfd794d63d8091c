"""A provider of another package that breaks its word costs one call, and says whose fault it is."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine import ServiceGone, UsageError
from batch_reimagine.provider import PROVIDERS, find_provider, novita
from batch_reimagine.provider.contract import Action, Request, Verdict
from batch_reimagine.provider.guarded import guarded
from tests.support import KEY, Ran, Scripted, make_photos, run, scripted

Register = Callable[..., None]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Register]:
    """Makes an entry point's value of Novita's provider, with something of it changed."""

    def registered(**how: Any) -> None:
        find_provider.cache_clear()
        provider = guarded(replace(novita.PROVIDER, name="foreign", **how), "foreign", "a.b:c")
        monkeypatch.setitem(PROVIDERS, "foreign", provider)

    yield registered
    find_provider.cache_clear()


async def made_with(tmp_path: Path, **settings: Any) -> tuple[Ran, Scripted]:
    make_photos(tmp_path / "photos", 3)
    async with scripted() as api:
        how = {"provider": "foreign", "base_url": api.url, "concurrency": 1, "price": "1"}
        ran = await run(tmp_path / "photos", tmp_path / "out", **how | settings)
    return ran, api


def raises(*_: Any) -> Verdict:
    raise KeyError("data")


BAD_VERDICTS = [
    pytest.param(raises, "KeyError: 'data'", id="an error"),
    pytest.param(lambda *_: None, "no Verdict", id="nothing"),
    pytest.param(lambda *_: Verdict(Action.KEEP, pictures=("x",)), "no Verdict", id="text"),  # type: ignore[arg-type]
    pytest.param(lambda *_: Verdict(Action.KEEP, credits_left="9"), "no Verdict", id="no number"),  # type: ignore[arg-type]
    pytest.param(lambda *_: Verdict(Action.REJECT, message=7), "no Verdict", id="no words"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("judge", "why"), BAD_VERDICTS)
async def test_a_judge_that_breaks_its_word_ends_the_run_after_one_call(
    register: Register, tmp_path: Path, judge: Any, why: str
) -> None:
    register(judge=judge)

    ran, api = await made_with(tmp_path)

    assert isinstance(ran.error, ServiceGone)
    assert "(a.b:c) cannot judge an answer" in str(ran.error)
    assert why in str(ran.error)
    assert len(api.seen) == 1
    assert ran.progress.at_risk == "1", "the answer was a success, so it may be billed"


async def test_a_judge_that_keeps_no_picture_may_have_been_paid_for(
    register: Register, tmp_path: Path
) -> None:
    register(judge=lambda *_: Verdict(Action.KEEP))

    ran, _ = await made_with(tmp_path, attempts=1, limit=1)

    assert [(row.status, row.reason) for row in ran.records] == [("exhausted", "MALFORMED_ANSWER")]
    assert ran.progress.at_risk == "1"


@pytest.mark.parametrize(
    "broken",
    [
        {"build": raises},
        {"build": lambda _: None},
        {"build": lambda _: Request(("text",), "text/plain")},
        {"authorization": raises},
        {"authorization": lambda key: {"Authorization": key.encode()}},
    ],
)
async def test_what_makes_no_call_buys_nothing(
    register: Register, tmp_path: Path, broken: dict[str, Any]
) -> None:
    register(**broken)

    ran, api = await made_with(tmp_path)

    assert isinstance(ran.error, UsageError)
    assert "'foreign' (a.b:c)" in str(ran.error)
    assert KEY not in str(ran.error)
    assert api.seen == []
    assert ran.progress.at_risk in {None, "0"}


@pytest.mark.parametrize(
    "field",
    [
        {"most_pictures": 0},
        {"most_pictures": -1},
        {"path": "v3"},
        {"base_url": "ftp://x"},
        {"types": ("gif",)},
        {"options": {"model": "m"}},
        {"rpm": 0},
        {"key_variable": ""},
        {"judge": None},
    ],
)
def test_a_table_that_cannot_be_is_refused_by_the_field(field: dict[str, Any]) -> None:
    provider = replace(novita.PROVIDER, **field)

    with pytest.raises(UsageError, match=next(iter(field))):
        guarded(provider, "novita", "a.b:c")


def test_a_key_in_the_place_of_a_name_is_not_repeated() -> None:
    with pytest.raises(UsageError, match="known: novita") as refused:
        find_provider(KEY)

    assert KEY[:6] not in str(refused.value)


@pytest.mark.parametrize("value", [None, "novita", novita.PROVIDER])
def test_what_is_no_provider_of_that_name_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="no Provider of that name"):
        guarded(value, "acme", "a.b:c")
