"""Presets: what shops want, and what a shop's own file may say."""

import csv
import io
from pathlib import Path

import pytest

from batch_reimagine.errors import UsageError
from batch_reimagine.export import presets
from tests.exporting import Output, files, picture
from tests.pictures import opened


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return tmp_path / "shop"


def test_plain_comes_first_and_every_preset_has_a_title() -> None:
    found = presets()

    assert [preset.name for preset in found] == ["plain", "amazon", "shopify"]
    assert all(preset.title for preset in found)


def test_amazon_names_main_and_parts_in_jpeg(tmp_path: Path, shop: Path) -> None:
    output = Output(tmp_path / "out")
    output.add(
        "in/B000123456.png", *(picture(size=(40 + n, 30)) for n in range(4)), picked=(3, 1, 2)
    )

    done = output.export(shop, preset="amazon")

    assert done.names == ["B000123456.MAIN.jpg", "B000123456.PT01.jpg", "B000123456.PT02.jpg"]
    assert [opened((shop / name).read_bytes()).size[0] for name in done.names] == [42, 40, 41]
    assert {opened((shop / name).read_bytes()).format for name in done.names} == {"JPEG"}
    assert done.warnings == []


def test_amazon_makes_a_side_of_more_than_10000_pixels_smaller(tmp_path: Path, shop: Path) -> None:
    output = Output(tmp_path / "out")
    output.add("B1.png", picture(size=(10_200, 20)), picked=(1,))
    output.add("B2.jpg", picture("jpeg", (10_000, 20)), picked=(1,))
    output.add("B3.jpg", picture("jpeg", (10_001, 20)), picked=(1,))

    output.export(shop, preset="amazon")

    assert opened((shop / "B1.MAIN.jpg").read_bytes()).size[0] == 10_000
    assert opened((shop / "B3.MAIN.jpg").read_bytes()).size[0] == 10_000
    assert (shop / "B2.MAIN.jpg").read_bytes() == (output.root / "B2_v01.jpg").read_bytes()


def test_amazon_warns_of_a_tenth_picture_and_of_names_that_it_does_not_take(
    tmp_path: Path, shop: Path
) -> None:
    output = Output(tmp_path / "out")
    many = tuple(range(1, 11))
    output.add("B1.jpg", *(picture("jpeg", (20 + n, 20)) for n in many), picked=many)
    output.add("red shoe.jpg", picture("jpeg"), picked=(1,))

    done = output.export(shop, preset="amazon")

    assert "B1.PT09.jpg" in files(shop)
    assert any("9 pictures" in line and "B1.jpg" in line for line in done.warnings)
    assert any("letters and digits" in line and "red shoe" in line for line in done.warnings)


def test_shopify_gets_a_table_of_its_columns(tmp_path: Path, shop: Path) -> None:
    output = Output(tmp_path / "out")
    output.add("a/Red Shoe.jpg", picture(), picture(size=(20, 20)), picked=(2, 1))
    output.add("b/Grüße.jpg", picture(), picked=(1,))

    output.export(shop, preset="shopify", url_prefix="https://cdn.example/x/")

    data = (shop / "products.csv").read_bytes()
    assert list(csv.reader(io.StringIO(data.decode(), newline=""))) == [
        ["Handle", "Title", "Image Src", "Image Position", "Image Alt Text"],
        ["red-shoe", "Red Shoe", "https://cdn.example/x/Red%20Shoe_01.png", "1", "Red Shoe"],
        ["red-shoe", "", "https://cdn.example/x/Red%20Shoe_02.png", "2", "Red Shoe"],
        ["grusse", "Grüße", "https://cdn.example/x/Gr%C3%BC%C3%9Fe_01.png", "1", "Grüße"],
    ]


def test_without_a_prefix_the_table_has_file_names_and_it_is_said(
    tmp_path: Path, shop: Path
) -> None:
    output = Output(tmp_path / "out")
    output.add("Red Shoe.jpg", picture(), picked=(1,))

    for dry_run in (True, False, False):
        (warning,) = output.export(shop, preset="shopify", dry_run=dry_run).warnings

        assert "products.csv" in warning
        assert "--url-prefix" in warning
    assert "Red Shoe_01.png" in (shop / "products.csv").read_text()


def test_with_a_prefix_or_without_addresses_there_is_nothing_to_say(
    tmp_path: Path, shop: Path
) -> None:
    output = Output(tmp_path / "out")
    output.add("a.jpg", picture(), picked=(1,))
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'title = "Mine"\nmain = "{stem}"\n[table]\nfile = "mine.csv"\n'
        '[table.columns]\nA = "{file}"\n'
    )

    one = output.export(shop, preset="shopify", url_prefix="https://cdn.example/")
    other = output.export(tmp_path / "other", preset=str(mine))

    assert (one.warnings, other.warnings) == ([], [])


def test_two_products_never_share_a_handle(tmp_path: Path, shop: Path) -> None:
    output = Output(tmp_path / "out")
    for source in ("a/shoe.jpg", "b/shoe.jpg", "b-shoe.jpg", "名.jpg", "前.jpg"):
        output.add(source, picture(), picked=(1,))

    output.export(shop, preset="shopify")

    rows = list(csv.DictReader(io.StringIO((shop / "products.csv").read_text("utf-8"))))
    assert len({row["Handle"] for row in rows}) == len(rows) == 5
    assert all(row["Handle"] for row in rows)


def test_a_shops_own_preset_is_a_file(tmp_path: Path, shop: Path) -> None:
    output = Output(tmp_path / "out")
    output.add("a.jpg", picture(size=(60, 40)), picture(size=(60, 40)), picked=(1, 2))
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'title = "Mine"\nmain = "{stem}-front"\nothers = "{stem}-{other}"\nformat = "webp"\n'
        'max_side = 30\n[table]\nfile = "mine.csv"\n[table.columns]\n"File" = "{file}"\n'
        '"Wide" = "{width}"\n'
    )

    output.export(shop, preset=str(mine))

    assert files(shop) == ["a-1.webp", "a-front.webp", "mine.csv"]
    assert (shop / "mine.csv").read_text() == "File,Wide\na-front.webp,30\na-1.webp,30\n"


def test_an_option_wins_over_the_preset(tmp_path: Path, shop: Path) -> None:
    output = Output(tmp_path / "out")
    output.add("B1.jpg", picture(), picked=(1,))

    output.export(shop, preset="amazon", format="png", name="{stem}")

    assert files(shop) == ["B1.png"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("title = ", "not valid TOML"),
        ('title = "x"', "main"),
        ('title = "x"\nmain = "{stem}"\nformt = "png"', "formt"),
        ('title = "x"\nmain = "{stem.__class__}"', "no field"),
        ('title = "x"\nmain = "{stem}"\nothers = "{x}"', "no field"),
        ('title = "x"\nmain = "{stem}"\nformat = "gif"', "gif"),
        ('title = "x"\nmain = "{stem}"\nquality = 101', "100"),
        ('title = "x"\nmain = "{stem}"\nmax_side = 0', "max_side"),
        ('title = "x"\nmain = "{stem}"\n[table]\nfile = "../a.csv"\ncolumns = {a="b"}', "plain"),
        ('title = "x"\nmain = "{stem}"\n[table]\nfile = "a.csv"\ncolumns = {a="{b}"}', "no field"),
        ('title = "x"\nmain = "{stem}"\n[table]\nfile = "a.csv"\ncolumns = {}', "no columns"),
        ("\xff", "UTF-8"),
        ("#" * 200_000, "too large"),
    ],
    ids=range(13),
)
def test_a_bad_preset_is_refused_with_the_reason(
    tmp_path: Path, shop: Path, text: str, says: str
) -> None:
    output = Output(tmp_path / "out")
    output.add("a.jpg", picture(), picked=(1,))
    (tmp_path / "bad.toml").write_bytes(text.encode("latin-1"))

    with pytest.raises(UsageError, match=says):
        output.export(shop, preset=str(tmp_path / "bad.toml"))
    assert not shop.exists()
