"""What goes beside exported pictures: the list of all, and the ZIP file."""

import csv
import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from batch_reimagine.errors import UsageError
from tests.exporting import Output, files, picture
from tests.test_marking import signed


@pytest.fixture
def out(tmp_path: Path) -> Output:
    output = Output(tmp_path / "out")
    output.add(
        "shoes/red.jpg", *(picture(size=(40 + n, 30)) for n in range(3)), picked=(2, 1), note="=1+1"
    )
    output.add("hat.png", picture("jpeg"), picked=(1,))
    output.add("undecided.jpg", picture("webp"))
    return output


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return tmp_path / "shop"


def test_the_list_names_every_file_and_runs_no_formula(out: Output, shop: Path) -> None:
    out.add("=cmd.jpg", picture(), picked=(1,))
    out.export(shop, csv=True)

    text = (shop / "export.csv").read_text("utf-8-sig")
    rows = {row["source"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}
    assert set(rows) == {"'=cmd.jpg", "hat.png", "shoes/red.jpg"}
    red = next(r for r in csv.DictReader(io.StringIO(text, newline="")) if "red_01" in r["file"])
    data = (shop / "shoes/red_01.png").read_bytes()
    assert red == {
        "file": "shoes/red_01.png",
        "source": "shoes/red.jpg",
        "variation": "2",
        "rank": "1",
        "width": "41",
        "height": "30",
        "sha256": hashlib.sha256(data).hexdigest(),
        "note": "'=1+1",
    }


@pytest.mark.parametrize("begin", ["-", "=", "+", "@", "'"])
def test_every_file_that_a_list_or_table_names_is_there_and_runs_no_formula(
    tmp_path: Path, shop: Path, begin: str
) -> None:
    output = Output(tmp_path / "out")
    output.add(f"{begin}dash.jpg", picture(), picked=(1,), note=f"{begin}note")
    output.add(f"{begin}in/{begin}side.jpg", picture(size=(9, 9)), picked=(1,))
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'title = "Mine"\nmain = "{path}_{rank}"\n[table]\nfile = "mine.csv"\n[table.columns]\n'
        'file = "{file}"\nurl = "{url}"\nnote = "{note}"\nboth = "{note} {file}"\n'
    )

    output.export(shop, preset=str(mine), csv=True)

    listed = (shop / "export.csv").read_text("utf-8-sig")
    table = list(csv.DictReader(io.StringIO((shop / "mine.csv").read_text("utf-8"), newline="")))
    named = [row["file"] for row in csv.DictReader(io.StringIO(listed, newline=""))]
    assert [row["file"] for row in table] == [row["url"] for row in table] == named
    assert sorted([*named, "export.csv", "mine.csv"]) == files(shop)
    assert not [name for name in named if name.startswith(("=", "+", "-", "@"))]
    assert {row["note"] for row in table} == {f"'{begin}note", ""}
    assert {row["both"] for row in table} == {f"'{begin}note {named[0]}", f" {named[1]}"}


def test_a_list_is_written_anew_when_more_is_picked(out: Output, shop: Path) -> None:
    out.export(shop, csv=True, zip=True)
    out.pick("undecided.jpg", 1)

    out.export(shop, csv=True, zip=True)

    assert "undecided" in (shop / "export.csv").read_text("utf-8-sig")
    with zipfile.ZipFile(shop / "export.zip") as packed:
        assert "undecided_01.webp" in packed.namelist()


def test_a_list_that_somebody_edited_is_not_overwritten(out: Output, shop: Path) -> None:
    out.export(shop, csv=True)
    (shop / "export.csv").write_text("mine")

    with pytest.raises(UsageError, match=r"export\.csv"):
        out.export(shop, csv=True)

    assert (shop / "export.csv").read_text() == "mine"


def test_the_zip_file_holds_all_of_it_and_is_always_the_same(
    out: Output, shop: Path, tmp_path: Path
) -> None:
    out.add("Grün/Tür.jpg", signed(), picked=(1,))
    out.export(shop, zip=True, csv=True)
    out.export(tmp_path / "again", zip=True, csv=True)

    with zipfile.ZipFile(shop / "export.zip") as packed:
        assert packed.testzip() is None
        names = packed.namelist()
        assert sorted(names) == [name for name in files(shop) if name != "export.zip"]
        assert "Grün/Tür_01.xmp" in names
        assert {info.compress_type for info in packed.infolist()} == {zipfile.ZIP_STORED}
        for name in names:
            assert packed.read(name) == (shop / name).read_bytes()
    assert (shop / "export.zip").read_bytes() == (tmp_path / "again/export.zip").read_bytes()
