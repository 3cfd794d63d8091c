"""What an earlier export left in the shop's folder is told, and never removed."""

from pathlib import Path
from typing import Any

import pytest

from batch_reimagine.export import Exported
from batch_reimagine.export.target import RECORDS
from tests.exporting import Output, files, picture
from tests.test_cli import command as ran

SAID = "earlier exports left pictures that are not asked for now: "


@pytest.fixture
def out(tmp_path: Path) -> Output:
    output = Output(tmp_path / "out")
    output.add("shoe.jpg", *(picture(size=(40 + n, 30)) for n in range(3)), picked=(1, 2, 3))
    return output


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return tmp_path / "shop"


def left(done: Exported) -> list[str]:
    """The names that are told as left."""
    said = [line.removeprefix(SAID) for line in done.warnings if line.startswith(SAID)]
    return said[0].split(", ") if said else []


@pytest.mark.parametrize("how", [{"preset": "amazon"}, {}], ids=["converted", "copied"])
def test_pictures_that_are_picked_no_more_stay_and_are_named(
    out: Output, shop: Path, how: dict[str, Any]
) -> None:
    first = out.export(shop, **how)
    before = {name: (shop / name).read_bytes() for name in first.names}
    out.pick("shoe.jpg", 1)

    for dry_run in (True, False, False):
        done = out.export(shop, dry_run=dry_run, **how)

        assert (done.files, done.there) == (0, 1)
        assert left(done) == first.names[1:]
    assert first.warnings == []
    assert {name: (shop / name).read_bytes() for name in files(shop)} == before


def test_the_command_shows_what_is_left_as_a_warning(out: Output, shop: Path) -> None:
    out.export(shop)
    out.pick("shoe.jpg", 1)

    done = ran("export", out.root, "--to", shop)

    assert done.returncode == 0
    assert f"warning: {SAID}shoe_02.png, shoe_03.png" in done.stderr


def test_other_names_leave_the_old_ones_and_say_so(out: Output, shop: Path) -> None:
    out.export(shop)

    done = out.export(shop, name="{folder}new {stem} {rank}")

    assert left(done) == ["shoe_01.png", "shoe_02.png", "shoe_03.png"]


def test_what_is_removed_changed_or_not_ours_is_not_told(out: Output, shop: Path) -> None:
    out.export(shop)
    (shop / "shoe_02.png").unlink()
    (shop / "shoe_03.png").write_bytes(b"theirs")
    (shop / "theirs.png").write_bytes(picture())
    out.pick("shoe.jpg", 1)

    assert left(out.export(shop)) == []


def test_a_name_that_differs_in_case_is_left_unless_it_is_the_same_file(
    out: Output, shop: Path
) -> None:
    first = out.export(shop)

    assert left(out.export(shop, name="SHOE_{rank:02}")) == first.names
    for name in first.names:  # as it looks where case is ignored
        (shop / name).unlink()
        (shop / name).hardlink_to(shop / name.replace("shoe", "SHOE"))
    assert left(out.export(shop, name="SHOE_{rank:02}")) == []


def test_what_is_asked_for_again_is_told_no_more(out: Output, shop: Path) -> None:
    out.export(shop)
    out.pick("shoe.jpg", 1)
    out.export(shop)
    out.pick("shoe.jpg", 1, 2)

    assert left(out.export(shop)) == ["shoe_03.png"]


def test_pictures_of_an_export_without_records_are_written_down_by_the_next(
    out: Output, shop: Path
) -> None:
    out.export(shop)
    (shop / RECORDS).unlink()
    out.export(shop)
    out.pick("shoe.jpg", 1)

    assert left(out.export(shop)) == ["shoe_02.png", "shoe_03.png"]


@pytest.mark.parametrize("name", ["../secret.png", "sub/../../secret.png", "{outside}", "link.png"])
def test_records_that_somebody_forged_lead_nowhere_else(
    out: Output, shop: Path, tmp_path: Path, name: str
) -> None:
    out.export(shop)
    (tmp_path / "secret.png").write_bytes((shop / "shoe_01.png").read_bytes())
    (shop / "sub").mkdir()
    (shop / "link.png").symlink_to(tmp_path / "secret.png")
    lines = (shop / RECORDS).read_text().splitlines()
    sha256 = next(line for line in lines if line.startswith("file shoe_01.png ")).split()[-1]
    forged = name.format(outside=tmp_path / "secret.png")
    (shop / RECORDS).write_text("\n".join([*lines, f"file {forged} {sha256}", ""]))

    assert left(out.export(shop)) == []
