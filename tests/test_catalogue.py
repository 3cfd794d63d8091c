"""What the manifest says is what is shown: nothing hidden, nothing from outside, as it grows."""

import asyncio
import hashlib
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine import manifest
from batch_reimagine.catalogue import ID_CHARACTERS, Catalogue, product_id
from batch_reimagine.compact import compact_manifest
from batch_reimagine.errors import OutputMismatch
from batch_reimagine.output import MANIFEST, Tree
from batch_reimagine.work import Record
from tests.support import make_photos, png, run

OLD, NEW = "a" * 64, "b" * 64
PICTURE = png()


def record(source: str = "a.jpg", variation: int = 1, status: str = "done", **more: Any) -> Record:
    row: dict[str, Any] = {
        "run": "r",
        "time": "2026-11-22T10:00:00.000Z",
        "source": source,
        "source_sha256": OLD,
        "provider": "novita",
        "request": "novita type=png",
    }
    if status == "done":
        row |= {
            "output": f"{source.rpartition('.')[0]}_v{variation:02d}.png",
            "output_sha256": hashlib.sha256(PICTURE).hexdigest(),
            "width": 16,
            "height": 12,
            "bytes": len(PICTURE),
            "type": "png",
            "mark": "xmp",
        }
    else:
        row |= {"reason": "NSFW", "message": "not this one"}
    return Record(**(row | {"variation": variation, "status": status} | more))


def lines(*records: Record) -> bytes:
    return b"".join(manifest.encode(row) + b"\n" for row in records)


def add(tree: Tree, *records: Record) -> None:
    with (tree.root / MANIFEST).open("ab") as opened:
        opened.write(lines(*records))


def shown(catalogue: Catalogue) -> dict[str, dict[int, str]]:
    return {
        product.source: {number: v.status for number, v in sorted(product.variations.items())}
        for product in catalogue
    }


def fresh(tree: Tree) -> dict[str, dict[int, str]]:
    catalogue = Catalogue(tree)
    catalogue.follow()
    return shown(catalogue)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "out")
    tree.prepare(force=False)
    return tree


@pytest.fixture
def catalogue(tree: Tree) -> Catalogue:
    return Catalogue(tree)


def test_a_real_run_shows_every_product_with_its_pictures(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos" / "d", 3)
    ran = asyncio.run(
        run(tmp_path / "photos", tmp_path / "out", provider="simulator", variations=2)
    )
    assert ran.error is None
    catalogue = Catalogue(Tree(tmp_path / "out"))

    catalogue.follow()

    assert [product.source for product in catalogue] == [f"d/photo-00{n}.jpg" for n in range(3)]
    for product in catalogue:
        for variation in product.done:
            path = catalogue.path_of(variation)
            assert path is not None
            assert hashlib.sha256(path.read_bytes()).hexdigest() == variation.sha256
        assert [v.number for v in product.done] == [1, 2]


def test_failures_are_shown_with_their_reason(tree: Tree, catalogue: Catalogue) -> None:
    statuses = ("done", "rejected", "exhausted", "unknown")
    add(tree, *(record(variation=n, status=status) for n, status in enumerate(statuses, 1)))

    catalogue.follow()

    product = catalogue.of("a.jpg")
    assert product is not None
    assert [v.status for v in product.variations.values()] == [*statuses]
    assert product.variations[2].reason == "NSFW"
    assert product.variations[2].message == "not this one"
    assert [v.number for v in product.done] == [1]


def test_a_failure_never_hides_the_picture_of_another_content(
    tree: Tree, catalogue: Catalogue
) -> None:
    add(tree, record(variation=1), record(variation=1, status="rejected", source_sha256=NEW))
    add(tree, record(variation=2), record(variation=2, status="rejected", source_sha256=None))

    catalogue.follow()

    assert shown(catalogue) == {"a.jpg": {1: "done", 2: "done"}}


def test_an_edited_photo_still_shows_what_was_made_before(tree: Tree, catalogue: Catalogue) -> None:
    add(tree, record(variation=1), record(variation=2))
    add(tree, record(variation=3, source_sha256=NEW))

    catalogue.follow()

    product = catalogue.of("a.jpg")
    assert product is not None
    assert [v.number for v in product.done] == [1, 2, 3]
    assert product.content == NEW
    assert product.variations[1].content == OLD


def test_the_same_rows_count_as_for_the_tally(tree: Tree) -> None:
    chance = [
        record(variation=n % 3 + 1, status=status, source_sha256=content)
        for n in range(7)
        for status in ("done", "rejected", "exhausted")
        for content in (OLD, NEW, None)
        if status != "done" or content
    ]
    for begin in range(len(chance)):
        rows = chance[begin:] + chance[:begin]
        (tree.root / MANIFEST).write_bytes(lines(*rows))
        count = manifest.numbers_that_count(enumerate(rows))
        expected = {rows[n].variation: rows[n].status for n in count}

        assert fresh(tree) == {"a.jpg": dict(sorted(expected.items()))}


def test_a_later_picture_takes_the_place_of_a_failure(tree: Tree, catalogue: Catalogue) -> None:
    add(tree, record(status="exhausted"))
    catalogue.follow()
    add(tree, record())

    assert catalogue.follow() == {product_id("a.jpg")}
    assert shown(catalogue) == {"a.jpg": {1: "done"}}


def test_follow_reads_on_and_tells_what_changed(tree: Tree, catalogue: Catalogue) -> None:
    assert catalogue.follow() == set()
    add(tree, record("b.jpg"), record("a.jpg"))
    assert catalogue.follow() == {product_id("a.jpg"), product_id("b.jpg")}
    assert catalogue.follow() == set()
    add(tree, record("b.jpg", 2))
    assert catalogue.follow() == {product_id("b.jpg")}
    add(tree, record("b.jpg", 2))
    assert catalogue.follow() == set(), "nothing is new of it"

    assert [product.source for product in catalogue] == ["a.jpg", "b.jpg"]
    assert shown(catalogue) == fresh(tree)


def test_a_product_that_somebody_holds_does_not_change_under_him(
    tree: Tree, catalogue: Catalogue
) -> None:
    add(tree, record())
    catalogue.follow()
    held = catalogue.of("a.jpg")
    add(tree, record(variation=2))
    catalogue.follow()

    assert held is not None
    assert list(held.variations) == [1]


def test_one_thread_may_read_while_another_follows(tree: Tree, catalogue: Catalogue) -> None:
    add(tree, *(record(f"{n}.jpg") for n in range(500)))
    catalogue.follow()
    faults: list[Exception] = []
    over = threading.Event()

    def look() -> None:
        try:
            while not over.is_set():
                for product in catalogue:
                    assert all(v.number for v in product.variations.values())
        except Exception as error:  # noqa: BLE001 - told by the test itself
            faults.append(error)

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(2, 40):
        add(tree, *(record(f"{n}.jpg", number) for n in range(number % 7, 500 + number, 7)))
        catalogue.follow()
    over.set()
    reader.join(20)

    assert not faults


def test_a_row_written_in_pieces_is_taken_once_it_is_whole(
    tree: Tree, catalogue: Catalogue
) -> None:
    first, second = lines(record("é.jpg")), lines(record("b.jpg"))
    whole = first + second
    path = tree.root / MANIFEST
    for cut in range(len(whole) + 1):
        with path.open("ab") as opened:
            opened.write(whole[max(0, cut - 1) : cut])
        catalogue.follow()

        sources = {product.source for product in catalogue}
        assert len(sources) == (cut >= len(first)) + (cut >= len(whole))
    assert shown(catalogue) == fresh(tree)


def test_a_torn_tail_that_is_cut_off_and_written_over_is_not_misread(
    tree: Tree, catalogue: Catalogue
) -> None:
    add(tree, record("a.jpg"))
    with (tree.root / MANIFEST).open("ab") as opened:
        opened.write(lines(record("torn.jpg"))[:-40])
    catalogue.follow()
    os.truncate(tree.root / MANIFEST, len(lines(record("a.jpg"))))
    add(tree, record("b.jpg"), record("c.jpg"))

    assert catalogue.follow() == {product_id("b.jpg"), product_id("c.jpg")}
    assert set(shown(catalogue)) == {"a.jpg", "b.jpg", "c.jpg"}


def test_an_editors_mark_before_the_first_row_does_no_harm(
    tree: Tree, catalogue: Catalogue
) -> None:
    (tree.root / MANIFEST).write_bytes(b"\xef\xbb\xbf" + lines(record("a.jpg")))
    catalogue.follow()
    add(tree, record("b.jpg"))

    assert catalogue.follow() == {product_id("b.jpg")}
    assert set(shown(catalogue)) == {"a.jpg", "b.jpg"}


def test_a_compacted_manifest_changes_nothing_that_is_shown(
    tree: Tree, catalogue: Catalogue
) -> None:
    for _ in range(6):
        add(tree, *(record(f"{n}.jpg", status="exhausted") for n in range(250)))
    add(tree, record("a.jpg"))
    catalogue.follow()
    before, size = shown(catalogue), (tree.root / MANIFEST).stat().st_size
    compact_manifest(tree, tree.root / MANIFEST, 1250, 1501)
    assert (tree.root / MANIFEST).stat().st_size < size

    assert catalogue.follow() == set()
    assert shown(catalogue) == before
    add(tree, record("b.jpg"))
    assert catalogue.follow() == {product_id("b.jpg")}


def test_another_manifest_of_the_same_inode_and_more_bytes_is_read_from_its_begin(
    tree: Tree, catalogue: Catalogue
) -> None:
    add(tree, record("a.jpg"), record("b.jpg"))
    catalogue.follow()
    others = [record(f"{n}.jpg") for n in range(4)]
    (tree.root / MANIFEST).write_bytes(lines(*others, record("b.jpg", 2)))

    assert {product_id("a.jpg"), product_id("3.jpg")} < catalogue.follow()
    assert catalogue.of("a.jpg") is None
    assert shown(catalogue)["b.jpg"] == {2: "done"}
    assert shown(catalogue) == fresh(tree)


def test_a_manifest_that_is_gone_shows_nothing(tree: Tree, catalogue: Catalogue) -> None:
    add(tree, record())
    catalogue.follow()
    (tree.root / MANIFEST).unlink()

    assert catalogue.follow() == {product_id("a.jpg")}
    assert len(catalogue) == 0


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder"])
def test_a_manifest_that_is_no_file_is_refused_without_hanging(
    tree: Tree, catalogue: Catalogue, tmp_path: Path, kind: str
) -> None:
    path = tree.root / MANIFEST
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        if kind == "link":
            (tmp_path / "elsewhere").write_bytes(lines(record()))
        path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OutputMismatch):
        catalogue.follow()


@pytest.mark.parametrize(
    "row",
    [
        record(output="../a_v01.png"),
        record(output="/etc/a_v01.png"),
        record(output="a_v02.png"),
        record(output=None),
        record(output=".batch-reimagine/last-run.json"),
        record(variation=0, status="rejected"),
        record(variation=-1, status="rejected"),
        record(variation=10_000, status="rejected"),
        record(variation=10_000),
    ],
)
def test_a_row_that_no_run_would_write_is_passed_over(
    tree: Tree, catalogue: Catalogue, row: Record
) -> None:
    add(tree, row)
    with (tree.root / MANIFEST).open("ab") as opened:
        opened.write(b"no row\n\n\xff\n" + b"[" * 100_000 + b"\n" + b"x" * 3_000_000 + b"\n")
    add(tree, record("b.jpg"))

    assert catalogue.follow() == {product_id("b.jpg")}


def test_a_failure_that_claims_a_file_has_no_picture(tree: Tree, catalogue: Catalogue) -> None:
    (tree.root / ".batch-reimagine" / "last-run.json").write_text("secret")
    add(tree, record(status="rejected", output=".batch-reimagine/last-run.json"))
    catalogue.follow()
    product = catalogue.of("a.jpg")

    assert product is not None
    assert product.variations[1].output is None
    assert catalogue.path_of(product.variations[1]) is None


def test_a_picture_is_given_only_while_a_real_file_of_the_output_lies_there(
    tree: Tree, catalogue: Catalogue, tmp_path: Path
) -> None:
    add(tree, record("d/e/a.jpg"))
    catalogue.follow()
    product = catalogue.of("d/e/a.jpg")
    assert product is not None
    variation = product.variations[1]
    assert catalogue.path_of(variation) is None
    tree.write("d/e/a_v01.png", PICTURE)
    assert catalogue.path_of(variation) == tree.root / "d/e/a_v01.png"

    (tree.root / "d").rename(tmp_path / "elsewhere")  # after it was seen to be no link
    (tree.root / "d").symlink_to(tmp_path / "elsewhere")
    assert catalogue.path_of(variation) is None
    (tree.root / "d").unlink()
    (tree.root / "d" / "e").mkdir(parents=True)
    (tree.root / "d/e/a_v01.png").symlink_to(tmp_path / "elsewhere/e/a_v01.png")
    assert catalogue.path_of(variation) is None
    (tree.root / "d/e/a_v01.png").unlink()
    os.mkfifo(tree.root / "d/e/a_v01.png")
    assert catalogue.path_of(variation) is None


def test_an_id_is_hexadecimal_of_one_length_whatever_the_source(catalogue: Catalogue) -> None:
    for source in ("a.jpg", "", "../x", '"><img src=x>.png', "😀" * 200, "\udcff"):
        assert len(product_id(source)) == ID_CHARACTERS
        assert set(product_id(source)) <= set("0123456789abcdef")
        assert catalogue.get(source) is None


def test_2500_rows_are_read_in_a_part_of_a_second_and_one_more_in_a_part_of_that(
    tree: Tree, catalogue: Catalogue
) -> None:
    add(tree, *(record(f"{n // 4}.jpg", n % 4 + 1) for n in range(2500)))
    began = time.perf_counter()
    assert len(catalogue.follow()) == 625
    whole = time.perf_counter() - began
    took = []
    for number in range(5, 25):
        add(tree, record("0.jpg", number))
        began = time.perf_counter()
        assert len(catalogue.follow()) == 1
        took.append(time.perf_counter() - began)

    assert whole < 0.5
    assert sorted(took)[10] < whole / 10
