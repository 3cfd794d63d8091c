"""What can be asked without a run: plans, manifests, figures and picks, as plain functions."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine import (
    Choice,
    OutputMismatch,
    Settings,
    UsageError,
    plan,
    read_manifest,
    read_picks,
    reimagine,
    reimagine_sync,
    status,
    verify,
)
from batch_reimagine.manifest import encode
from batch_reimagine.output import Tree
from batch_reimagine.picks import Picks
from tests.support import make_photos, rows

SIMULATED = Settings(provider="simulator", variations=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, and an output of them that nobody changes."""
    folder = tmp_path_factory.mktemp("made")
    make_photos(folder / "photos", 3)
    list(reimagine_sync(folder / "photos", folder / "out", SIMULATED))
    return folder


def copy_of(made: Path, tmp_path: Path) -> Path:
    """Its manifest alone, to be spoilt."""
    out = tmp_path / "out"
    (out / ".batch-reimagine").mkdir(parents=True)
    (out / "manifest.jsonl").write_bytes((made / "out" / "manifest.jsonl").read_bytes())
    return out


def test_a_plan_counts_and_touches_nothing(made: Path, tmp_path: Path) -> None:
    more = Settings(provider="simulator", variations=5)

    anew = plan(str(made / "photos"), tmp_path / "new", SIMULATED)
    rest = plan([made / "photos"], made / "out", more)

    assert (anew.photos, anew.here, anew.to_make) == (3, 0, 6)
    assert (rest.photos, rest.here, rest.to_make) == (3, 6, 9)
    assert os.listdir(tmp_path) == []  # noqa: PTH208
    with pytest.raises(UsageError, match="No such file"):
        plan(tmp_path / "nowhere", tmp_path / "new")


def test_the_manifest_is_read_as_records(made: Path) -> None:
    found = list(read_manifest(made / "out"))

    assert [row.output for row in found] == [row["output"] for row in rows(made / "out")]
    assert {(row.status, row.type) for row in found} == {("done", "png")}


def test_only_the_row_that_counts_is_read_unless_every_one_is_asked_for(
    made: Path, tmp_path: Path
) -> None:
    out = copy_of(made, tmp_path)
    text = (out / "manifest.jsonl").read_bytes()
    (out / "manifest.jsonl").write_bytes(text + text.splitlines(keepends=True)[0])

    assert len(list(read_manifest(out))) == 6
    assert len(list(read_manifest(out, every=True))) == 7


def test_a_row_that_names_a_file_elsewhere_is_no_record(made: Path, tmp_path: Path) -> None:
    out = copy_of(made, tmp_path)
    good = next(read_manifest(out))
    for name in ("../../secret_v01.png", "/etc/passwd", "secret.txt"):
        row = encode(good).replace(str(good.output).encode(), name.encode())
        with (out / "manifest.jsonl").open("ab") as opened:
            opened.write(row + b"\nno row\n")

    for every in (False, True):
        names = [row.output for row in read_manifest(out, every=every)]
        assert len(names) >= 5
        assert all(name and name.startswith("photo-") for name in names)


def test_figures_and_the_proof_of_an_output(made: Path) -> None:
    told = status(made / "out")
    proven = verify(str(made / "out"))

    assert (told.photos, told.done, told.running) == (3, 6, False)
    assert (proven.good, proven.sound) == (6, True)


def test_picks_are_read_by_source(made: Path) -> None:
    picks = Picks(Tree(made / "out"))
    picks.decide("photo-000.jpg", Choice(picked=(2, 1)))
    picks.decide("photo-001.jpg", Choice(none=True, note="blurred"))
    picks.decide("photo-002.jpg", Choice(picked=(1,)))
    picks.decide("photo-002.jpg", Choice())  # undecided again

    assert read_picks(made / "out") == {
        "photo-000.jpg": Choice(picked=(2, 1)),
        "photo-001.jpg": Choice(none=True, note="blurred"),
    }


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"inputs": None}, "text or a path, not NoneType"),
        ({"inputs": ["in8", 3]}, "text or a path, not int"),
        ({"inputs": b"in8"}, "text or a path, not bytes"),
        ({"inputs": "a\0b"}, "NUL"),
        ({"output": None}, "text or a path, not NoneType"),
        ({"output": []}, "one place, not 0"),
        ({"output": ["a", "b"]}, "one place, not 2"),
        ({"settings": {}}, "not dict"),
        ({"settings": {"variations": 2}}, "not dict"),
        ({"settings": Settings}, "not type"),
        ({"key": None}, "key: it is text, not NoneType"),
        ({"key": b"x"}, "key: it is text, not bytes"),
    ],
)
async def test_what_no_door_takes_is_a_usage_error_at_all_of_them(
    made: Path, tmp_path: Path, given: dict[str, Any], says: str
) -> None:
    """Of a caller whose code no type checker has seen."""
    arguments: dict[str, Any] = {
        "inputs": made / "photos",
        "output": tmp_path / "out",
        "settings": SIMULATED,
    }
    arguments |= given

    with pytest.raises(UsageError, match=says):
        await asyncio.to_thread(lambda: list(reimagine_sync(bar=False, **arguments)))
    with pytest.raises(UsageError, match=says):
        async for _ in reimagine(**arguments):
            pass
    if "key" not in given:
        with pytest.raises(UsageError, match=says):
            await asyncio.to_thread(lambda: plan(**arguments))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_output_is_refused_at_once(tmp_path: Path) -> None:
    for ask in (read_manifest, read_picks, status, verify):
        with pytest.raises(OutputMismatch, match=r"holds no manifest\.jsonl"):
            ask(tmp_path)  # before anything is iterated over
    with pytest.raises(UsageError, match="no object store"):
        status("ftp://somewhere/out")
