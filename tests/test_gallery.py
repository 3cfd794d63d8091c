"""The gallery for a client: whole, safe to open, and nothing of this machine in it."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from batch_reimagine.catalogue import Catalogue
from batch_reimagine.choice import Choice
from batch_reimagine.errors import LocalResource, UsageError
from batch_reimagine.gallery import MARK, PAGE, to_script, write_gallery
from batch_reimagine.last_run import Originals
from batch_reimagine.naming import STATE_DIR
from batch_reimagine.output import MANIFEST, Tree
from batch_reimagine.picks import Picks
from batch_reimagine.work import Record
from tests.support import jpeg, png

HOSTILE = '</script><img src=x onerror="alert(1)">&\u2028\u2029.jpg'


class Output:
    """An output folder with photos and rows as a run leaves them."""

    def __init__(self, folder: Path) -> None:
        self.photos, self.root = folder / "photos", folder / "out"
        for made in (self.photos, self.root / STATE_DIR / "unfinished"):
            made.mkdir(parents=True)
        self.tree = Tree(self.root)
        self._rows: list[Record] = []

    def photo(self, source: str, seed: int = 0) -> None:
        path = self.photos / source
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(seed))

    def row(self, source: str, n: int, colour: int | None, **more: Any) -> Path:
        """A variation of this red; None: one that failed."""
        name = f"{hashlib.sha256(source.encode()).hexdigest()[:8]}_v{n:02d}.png"
        data = png((colour or 0, 0, 0)) if colour is not None else b""
        photo = self.photos / source
        content = hashlib.sha256(photo.read_bytes()).hexdigest() if photo.exists() else "0" * 64
        fields: dict[str, Any] = {"status": "exhausted", "reason": "HTTP_500"}
        if colour is not None:
            (self.root / name).write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            fields = {"status": "done", "output": name, "output_sha256": digest}
            fields |= {"width": 16, "height": 12, "bytes": len(data), "type": "png"}
        fields |= {"run": "r", "time": "2026-11-22T00:00:00Z", "provider": "simulator"}
        fields |= {"request": "simulator", "source": source, "source_sha256": content}
        self._rows.append(Record(variation=n, **(fields | more)))
        lines = b"".join(msgspec.json.encode(row) + b"\n" for row in self._rows)
        (self.root / MANIFEST).write_bytes(lines)
        return self.root / name

    def pick(self, source: str, choice: Choice) -> None:
        Picks(self.tree).decide(source, choice)

    def gallery(self, target: Path) -> int:
        catalogue, picks = Catalogue(self.tree), Picks(self.tree)
        catalogue.follow()
        picks.follow()
        return write_gallery(self.tree, catalogue, picks, Originals([self.photos]), target)


@pytest.fixture
def output(tmp_path: Path) -> Output:
    made = Output(tmp_path)
    made.photo("bags/tote.jpg", 1)
    made.row("bags/tote.jpg", 1, 10)
    made.row("bags/tote.jpg", 2, 20)
    made.row("bags/tote.jpg", 3, None, message="secret of the server")
    made.pick("bags/tote.jpg", Choice(picked=(2, 1), note="secret of the house"))
    return made


def data_of(target: Path) -> dict[str, Any]:
    script = (target / "data.js").read_text("utf-8")
    data: dict[str, Any] = json.loads(script.removeprefix("window.GALLERY = ").rstrip(";\n"))
    return data


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_every_picture_is_there_with_its_thumbnail_and_rank(output: Output, tmp_path: Path) -> None:
    target = tmp_path / "gallery"
    assert output.gallery(target) == 1
    (group,) = data_of(target)["products"]
    assert [(p["n"], p.get("rank", 0)) for p in group["pictures"]] == [(1, 2), (2, 1), (3, 0)]
    for picture in (*group["pictures"][:2], group["original"]):
        for address in (picture["file"], picture["thumb"]):
            with Image.open(target / address) as opened:
                opened.load()


def test_a_picture_is_the_very_bytes_of_the_output(output: Output, tmp_path: Path) -> None:
    target = tmp_path / "gallery"
    output.gallery(target)
    (group,) = data_of(target)["products"]
    assert (target / group["pictures"][1]["file"]).read_bytes() == png((20, 0, 0))


def test_a_variation_that_failed_is_seen_to_be_missing(output: Output, tmp_path: Path) -> None:
    target = tmp_path / "gallery"
    output.gallery(target)
    assert data_of(target)["products"][0]["pictures"][2] == {"n": 3}


def test_an_output_that_is_gone_is_seen_to_be_missing(output: Output, tmp_path: Path) -> None:
    output.row("bags/tote.jpg", 4, 40).unlink()
    target = tmp_path / "gallery"
    output.gallery(target)
    assert data_of(target)["products"][0]["pictures"][3] == {"n": 4}


def test_an_output_that_is_a_link_to_elsewhere_is_not_copied(
    output: Output, tmp_path: Path
) -> None:
    outside = tmp_path / "private.png"
    outside.write_bytes(png((99, 99, 99)))
    path = output.row("bags/tote.jpg", 4, 40)
    path.unlink()
    path.symlink_to(outside)
    target = tmp_path / "gallery"
    output.gallery(target)
    assert outside.read_bytes() not in files(target).values()


def test_no_path_of_this_machine_is_in_it(output: Output, tmp_path: Path) -> None:
    target = tmp_path / "gallery"
    output.gallery(target)
    for name, data in files(target).items():
        assert str(tmp_path).encode() not in data, name


def test_notes_and_messages_of_failures_are_not_in_it(output: Output, tmp_path: Path) -> None:
    target = tmp_path / "gallery"
    output.gallery(target)
    assert b"secret" not in b"".join(files(target).values())


def test_a_hostile_name_cannot_leave_the_script(output: Output, tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "\u2044")
    output.photo(name, 2)
    output.row(name, 1, 50)
    target = tmp_path / "gallery"
    output.gallery(target)
    script = (target / "data.js").read_text("utf-8")
    assert not re.search("[<>&\u2028\u2029]", script)
    assert name in {group["name"] for group in data_of(target)["products"]}


def test_a_hostile_title_cannot_leave_the_script() -> None:
    script = to_script(HOSTILE, [])
    assert not re.search("[<>&\u2028\u2029]", script)
    assert json.loads(script.removeprefix("window.GALLERY = ").rstrip(";\n"))["title"] == HOSTILE


def test_the_page_loads_nothing_from_elsewhere() -> None:
    pages = [path for path in PAGE.iterdir() if path.suffix != ".svg"]  # names its own language
    text = "".join(path.read_text("utf-8") for path in pages)
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|//[a-z]|innerHTML|<style|style=|<script>|\bon\w+=", text)


def test_a_second_call_writes_only_what_is_new(output: Output, tmp_path: Path) -> None:
    target = tmp_path / "gallery"
    output.gallery(target)
    before = {path: path.stat().st_ino for path in (target / "pictures").iterdir()}
    output.row("bags/tote.jpg", 4, 40)
    output.gallery(target)
    after = {path: path.stat().st_ino for path in (target / "pictures").iterdir()}
    assert before.items() < after.items()
    assert len(after) == len(before) + 1


def test_a_picture_cut_short_by_a_crash_is_written_again(output: Output, tmp_path: Path) -> None:
    target = tmp_path / "gallery"
    output.gallery(target)
    path = target / data_of(target)["products"][0]["pictures"][0]["file"]
    path.write_bytes(b"")
    output.gallery(target)
    assert path.read_bytes() == png((10, 0, 0))


def test_a_picture_that_is_no_longer_shown_is_removed(output: Output, tmp_path: Path) -> None:
    target = tmp_path / "gallery"
    output.gallery(target)
    gone = target / data_of(target)["products"][0]["pictures"][0]["file"]
    (output.root / output.row("bags/tote.jpg", 1, 10).name).unlink()
    output.gallery(target)
    assert not gone.exists()


def test_what_somebody_put_beside_it_stays(output: Output, tmp_path: Path) -> None:
    target = tmp_path / "gallery"
    output.gallery(target)
    for name in ("robots.txt", "pictures/logo.png"):
        (target / name).write_bytes(b"mine")
    output.gallery(target)
    assert (target / "robots.txt").read_bytes() == b"mine"
    assert (target / "pictures/logo.png").read_bytes() == b"mine"


def test_a_folder_that_holds_other_things_is_refused_and_named(
    output: Output, tmp_path: Path
) -> None:
    target = tmp_path / "website"
    target.mkdir()
    (target / "index.html").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"website holds other files \(index\.html"):
        output.gallery(target)
    assert files(target) == {"index.html": b"mine"}


@pytest.mark.parametrize("inside", [".", "gallery"])
def test_the_output_itself_is_refused(output: Output, inside: str) -> None:
    before = files(output.root)
    with pytest.raises(UsageError, match="where this tool keeps its pictures"):
        output.gallery(output.root / inside)
    assert files(output.root) == before


def test_a_file_in_place_of_the_folder_is_refused(output: Output, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(UsageError, match="is a file, not a folder"):
        output.gallery(tmp_path / "file")


def test_a_link_in_place_of_the_pictures_is_not_written_through(
    output: Output, tmp_path: Path
) -> None:
    target, outside = tmp_path / "gallery", tmp_path / "outside"
    target.mkdir()
    outside.mkdir()
    (target / MARK).touch()
    (target / "pictures").symlink_to(outside)
    with pytest.raises(LocalResource, match=r"cannot write .*gallery"):
        output.gallery(target)
    assert not any(outside.iterdir())


def test_nothing_is_removed_through_a_link(tmp_path: Path) -> None:
    target, outside = tmp_path / "gallery", tmp_path / "outside"
    target.mkdir()
    outside.mkdir()
    (outside / f"{'0' * 32}.png").write_bytes(b"mine")
    (target / MARK).touch()
    (target / "pictures").symlink_to(outside)
    Output(tmp_path).gallery(target)
    assert len(files(outside)) == 1


def test_a_link_in_place_of_the_page_is_replaced_not_followed(
    output: Output, tmp_path: Path
) -> None:
    target, outside = tmp_path / "gallery", tmp_path / "outside.html"
    target.mkdir()
    outside.write_bytes(b"mine")
    (target / MARK).touch()
    (target / "index.html").symlink_to(outside)
    output.gallery(target)
    assert outside.read_bytes() == b"mine"
    assert not (target / "index.html").is_symlink()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_named_with_the_way_out(
    output: Output, tmp_path: Path
) -> None:
    target = tmp_path / "gallery"
    target.mkdir(mode=0o500)
    with pytest.raises(LocalResource, match="type the same command again"):
        output.gallery(target)


def test_a_gallery_of_nothing_opens_too(tmp_path: Path) -> None:
    target = tmp_path / "gallery"
    assert Output(tmp_path).gallery(target) == 0
    assert data_of(target)["products"] == []
    assert {"index.html", "gallery.js", "gallery.css"} < files(target).keys()
