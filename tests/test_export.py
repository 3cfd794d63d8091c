"""Export: what is chosen gets to the shop's folder, once, whole, and over nothing else."""

import re
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine.catalogue import Catalogue
from batch_reimagine.errors import LocalResource, OutputBusy, UsageError
from batch_reimagine.export import Options, export
from batch_reimagine.export.target import RECORDS, Target
from batch_reimagine.mark import reads_marked
from batch_reimagine.picks import Picks
from tests.exporting import Output, files, picture
from tests.test_marking import signed
from tests.test_output import full_disk


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


def test_picked_pictures_are_copied_byte_for_byte_by_rank(out: Output, shop: Path) -> None:
    done = out.export(shop)

    assert files(shop) == ["hat_01.jpg", "shoes/red_01.png", "shoes/red_02.png"]
    assert (shop / "shoes/red_01.png").read_bytes() == (out.root / "shoes/red_v02.png").read_bytes()
    assert (shop / "shoes/red_02.png").read_bytes() == (out.root / "shoes/red_v01.png").read_bytes()
    assert (done.files, done.there, done.missing, done.warnings) == (3, 0, 0, [])
    assert done.bytes == sum((shop / name).stat().st_size for name in files(shop))
    assert (shop / "hat_01.jpg").stat().st_nlink == 1
    assert (shop / "hat_01.jpg").stat().st_ino != (out.root / "hat_v01.jpg").stat().st_ino


def test_all_brings_the_picked_ones_first_and_then_the_rest_by_number(
    out: Output, shop: Path
) -> None:
    out.pick("shoes/red.jpg", 3)

    done = out.export(shop, all=True, name="{stem}_{rank}_{variation}")

    assert done.names == [
        "hat_1_1.jpg",
        "red_1_3.png",
        "red_2_1.png",
        "red_3_2.png",
        "undecided_1_1.webp",
    ]


def test_with_nothing_picked_it_says_how_to_pick(tmp_path: Path, shop: Path) -> None:
    output = Output(tmp_path / "out")
    output.add("a.jpg", picture())

    with pytest.raises(UsageError, match=r"batch-reimagine pick OUT SOURCE=2,1.*--all"):
        output.export(shop)
    assert not shop.exists()


def test_the_second_time_all_is_there(out: Output, shop: Path) -> None:
    out.export(shop, format="jpeg", csv=True, zip=True)
    before = {path: path.stat().st_mtime_ns for path in shop.rglob("*.*")}

    done = out.export(shop, format="jpeg", csv=True, zip=True)

    assert (done.files, done.there, done.bytes) == (0, 3, 0)
    assert {path: path.stat().st_mtime_ns for path in shop.rglob("*.*")} == before


def test_without_its_records_a_converted_file_is_known_by_its_content(
    out: Output, shop: Path
) -> None:
    out.export(shop, format="jpeg")
    (shop / RECORDS).unlink()

    assert out.export(shop, format="jpeg").there == 3


def test_another_file_of_that_name_stops_it_before_anything_is_written(
    out: Output, shop: Path
) -> None:
    (shop / "shoes").mkdir(parents=True)
    (shop / "shoes/red_02.png").write_bytes(b"theirs")

    with pytest.raises(UsageError, match=r"shoes/red_02\.png"):
        out.export(shop)

    assert files(shop) == ["shoes/red_02.png"]
    assert (shop / "shoes/red_02.png").read_bytes() == b"theirs"


def test_other_options_do_not_take_the_place_of_what_is_there(out: Output, shop: Path) -> None:
    out.export(shop, format="jpeg", quality=90)
    before = (shop / "shoes/red_01.jpg").read_bytes()

    with pytest.raises(UsageError, match="Nothing is overwritten"):
        out.export(shop, format="jpeg", quality=50)

    assert (shop / "shoes/red_01.jpg").read_bytes() == before


def test_a_file_that_appears_while_it_writes_is_not_overwritten(out: Output, shop: Path) -> None:
    target = Target(shop, out.root)
    with target.held():
        (shop / "a.png").write_bytes(b"theirs")
        with pytest.raises(LocalResource, match="File exists"):
            target.write("a.png", b"ours")

    assert (shop / "a.png").read_bytes() == b"theirs"


def test_a_dry_run_tells_the_same_and_writes_nothing(out: Output, shop: Path) -> None:
    would = out.export(shop, dry_run=True)

    assert not shop.exists()
    did = out.export(shop)
    assert (would.files, would.bytes, would.names) == (did.files, did.bytes, did.names)
    assert out.export(shop, dry_run=True).there == 3


def test_a_picture_that_is_gone_or_torn_is_named_and_the_rest_goes(out: Output, shop: Path) -> None:
    (out.root / "hat_v01.jpg").unlink()
    torn = out.root / "shoes/red_v01.png"
    torn.write_bytes(torn.read_bytes()[:-20])

    done = out.export(shop)

    assert files(shop) == ["shoes/red_01.png"]
    assert done.missing == 2
    assert any("not there" in line and "hat.png (1)" in line for line in done.warnings)
    assert any("damaged" in line and "shoes/red_v01.png" in line for line in done.warnings)


def test_an_output_that_somebody_edited_is_exported_as_it_is(out: Output, shop: Path) -> None:
    (out.root / "hat_v01.jpg").write_bytes(picture("jpeg", (20, 20)))

    out.export(shop)

    assert (shop / "hat_01.jpg").read_bytes() == picture("jpeg", (20, 20))


@pytest.mark.parametrize("link", ["shoes", "shoes/red_01.png", "hat_01.jpg"])
def test_nothing_is_written_through_a_link(
    out: Output, shop: Path, tmp_path: Path, link: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (shop / link).parent.mkdir(parents=True)
    (shop / link).symlink_to(outside if link == "shoes" else outside / "file")

    with pytest.raises(UsageError, match="link"):
        out.export(shop)

    assert list(outside.iterdir()) == []
    assert files(shop) == [link]


@pytest.mark.parametrize("to", ["out", "out/in/it", "out/.batch-reimagine"])
def test_it_never_writes_into_an_output(out: Output, tmp_path: Path, to: str) -> None:
    before = files(out.root)

    with pytest.raises(UsageError, match="--to"):
        out.export(tmp_path / to)

    assert files(out.root) == before


def test_an_output_inside_the_target_is_left_alone(out: Output, tmp_path: Path) -> None:
    out.add("out/a.jpg", picture(), picked=(1,))

    with pytest.raises(UsageError, match="--to"):
        out.export(tmp_path)

    assert not (tmp_path / "out/a_01.png").exists()


def test_two_exports_at_once_are_one_too_many(out: Output, shop: Path) -> None:
    with Target(shop, out.root).held(), pytest.raises(OutputBusy):
        out.export(shop)


def test_a_full_disk_is_told_and_the_same_call_goes_on(out: Output, shop: Path) -> None:
    size = (out.root / "shoes/red_v02.png").stat().st_size
    with full_disk(size - 1), pytest.raises(LocalResource, match="Make room"):
        out.export(shop)
    left = [path.name for path in shop.rglob("*") if path.name.endswith(".new")]
    assert left == []

    there = len(files(shop))
    done = out.export(shop)

    assert (done.files, done.there) == (3 - there, there)
    assert files(shop) == ["hat_01.jpg", "shoes/red_01.png", "shoes/red_02.png"]


def test_a_torn_line_of_the_records_is_cut_off(out: Output, shop: Path) -> None:
    out.export(shop, format="webp")
    whole = (shop / RECORDS).read_bytes()
    (shop / RECORDS).write_bytes(whole[:-5])
    (shop / "hat_01.webp").unlink()

    done = out.export(shop, format="webp")

    assert (done.files, done.there) == (1, 2)
    lines = (shop / RECORDS).read_text().splitlines()
    known = r"([0-9a-f]{64} - webp None 92|file (hat|shoes/red)_0[12]\.webp) [0-9a-f]{64}"
    assert len(set(lines)) == 6
    assert all(re.fullmatch(known, each) for each in lines)


def test_content_credentials_stay_and_take_the_file_beside_them_along(
    out: Output, shop: Path
) -> None:
    out.add("signed.jpg", signed("jpeg"), picked=(1,))

    done = out.export(shop)

    assert (shop / "signed_01.jpg").read_bytes() == signed("jpeg")
    assert reads_marked((shop / "signed_01.xmp").read_bytes())
    assert done.warnings == []
    (shop / "signed_01.xmp").unlink()
    assert out.export(shop).there == 4
    assert reads_marked((shop / "signed_01.xmp").read_bytes())


def test_another_file_beside_a_picture_stops_it(out: Output, shop: Path) -> None:
    out.add("signed.jpg", signed("jpeg"), picked=(1,))
    shop.mkdir()
    (shop / "signed_01.xmp").write_text("theirs")

    with pytest.raises(UsageError, match=r"signed_01\.xmp"):
        out.export(shop)

    assert files(shop) == ["signed_01.xmp"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"format": "gif"}, "format"),
        ({"quality": 0}, "quality"),
        ({"quality": 101}, "quality"),
        ({"quality": True}, "quality"),
        ({"max_side": 0}, "max_side"),
        ({"max_side": "12"}, "max_side"),
        ({"preset": ""}, "preset"),
        ({"preset": "etsy"}, "known: plain, amazon, shopify"),
        ({"preset": "/nowhere.toml"}, "No such file"),
        ({"name": "\ud800"}, "no text"),
        ({"all": 1}, "all"),
    ],
    ids=str,
)
def test_a_bad_option_is_named(out: Output, shop: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        out.export(shop, **options)
    assert not shop.exists()


def test_options_that_are_none_are_those_of_the_preset() -> None:
    assert Options(Path("shop")) == Options(Path("shop"), "plain", None, None, None, None)


def test_progress_counts_up_to_all_that_is_missing(out: Output, shop: Path) -> None:
    out.export(shop)
    (shop / "hat_01.jpg").unlink()
    (shop / "shoes/red_01.png").unlink()
    tree, told = out.tree, list[tuple[int, int]]()
    catalogue, picks = Catalogue(tree), Picks(tree)
    catalogue.follow()
    picks.follow()

    export(tree, catalogue, picks, Options(shop), progress=lambda *done: told.append(done))

    assert told == [(1, 2), (2, 2)]
