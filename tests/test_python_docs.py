"""The public names: all described, all documented, all there."""

import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import batch_reimagine
from batch_reimagine import observing, providers, work

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
PUBLIC = batch_reimagine.__all__
CALLS = [name for name in PUBLIC if inspect.isroutine(getattr(batch_reimagine, name))]


def test_the_page_describes_every_public_name_and_no_other() -> None:
    assert list(SECTIONS) == list(dict.fromkeys(SECTIONS))
    assert sorted(SECTIONS) == sorted(PUBLIC)
    assert all(text.strip() for text in SECTIONS.values())


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "Event"])
def test_every_public_name_has_a_docstring_of_its_own(name: str) -> None:
    thing = getattr(batch_reimagine, name)

    assert inspect.getdoc(thing)
    assert not str(thing.__doc__).startswith(f"{name}(")  # as a dataclass makes one up


@pytest.mark.parametrize("name", CALLS)
def test_the_page_has_the_arguments_and_the_defaults_of_every_function(name: str) -> None:
    found = re.search(r"```text\n(.*?)```", SECTIONS[name], re.DOTALL)
    assert found is not None
    parts = []
    star = False
    for argument in inspect.signature(getattr(batch_reimagine, name)).parameters.values():
        if argument.kind is argument.KEYWORD_ONLY and not star:
            star = True
            parts.append("*")
        default = "" if argument.default is argument.empty else f"={argument.default!r}"
        parts.append(f"{argument.name}{default}".replace("''", '""'))

    told = " ".join(found[1].split())
    assert told.partition(" -> ")[0] == f"{name}({', '.join(parts)})"


def test_the_two_doors_take_the_same_but_for_the_bar() -> None:
    doors = batch_reimagine.reimagine, batch_reimagine.reimagine_sync
    one, other = (set(inspect.signature(door).parameters) for door in doors)

    assert other - one == {"bar"}
    assert one <= other
    told = set(re.findall(r"^\| `(\w+)` \|", SECTIONS["reimagine"], re.MULTILINE))
    assert told == one


@pytest.mark.parametrize("name", ["Plan", "Summary", "Verified", "Choice", "Tally", "Record"])
def test_the_page_names_fields_that_exist(name: str) -> None:
    kind: Any = getattr(batch_reimagine, name)
    fields = (
        {field.name for field in dataclasses.fields(kind)}
        if dataclasses.is_dataclass(kind)
        else {field.name for field in msgspec.structs.fields(kind)}
    )
    extra = {"done", "rejected", "exhausted", "unknown", "None"}  # words of theirs
    told = set(re.findall(r"`(\w+)`", SECTIONS[name])) - extra
    properties = {key for key, value in vars(kind).items() if isinstance(value, property)}

    assert told
    assert told <= fields | properties


def test_the_events_of_the_page_are_those_of_the_type() -> None:
    told = re.search(r"`([\w |]+)`", SECTIONS["Event"])
    assert told is not None

    assert told[1] == " | ".join(kind.__name__ for kind in work.Event.__args__)


def _table(heading: str) -> list[tuple[str, str]]:
    """First and last cells of the rows below a heading."""
    text = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|(?:.*\|)? (.*?) ?\|$", text, re.MULTILINE)
    assert rows
    return rows


def test_the_page_has_every_name_that_a_provider_is_made_of() -> None:
    told = [name for names, _ in _table("Providers") for name in re.findall(r"`(\w+)`", names)]

    assert sorted(told) == sorted(providers.__all__)
    values = {"GROUP", "NO_JSON", "ImageType"}
    assert all(inspect.getdoc(getattr(providers, name)) for name in {*told} - values)


def test_the_page_has_every_moment_with_its_fields() -> None:
    told = {name.strip("`"): set(re.findall(r"\w+", fields)) for name, fields in _table("Watching")}
    moments = set(observing.Moment.__args__) - set(work.Event.__args__)

    assert told.keys() - {"Watch", "Moment"} == {moment.__name__ for moment in moments}
    for moment in moments:
        fields = {field.name for field in dataclasses.fields(moment)}
        own = {name for name, value in vars(moment).items() if isinstance(value, property)}
        assert told[moment.__name__] == fields | own


def test_every_public_name_is_completed_and_imported_late() -> None:
    assert set(PUBLIC) <= set(dir(batch_reimagine))
    with pytest.raises(AttributeError, match="reimagin"):
        batch_reimagine.reimagin  # noqa: B018 - the name is not there
    script = "import sys, batch_reimagine; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    ).stdout.split()

    assert "batch_reimagine" in loaded
    assert {"aiohttp", "anyio", "PIL", "msgspec"} & set(loaded) == set()
