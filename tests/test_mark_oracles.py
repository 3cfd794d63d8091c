"""ExifTool and exiv2 read the mark, and find nothing wrong with the file."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from batch_reimagine import mark
from batch_reimagine.mark import Mark, embed, is_marked
from tests.marked import ALL, PLAIN, TRAINED, WITH_XMP, itxt
from tests.oracles import oracle
from tests.pictures import with_chunks

SYSTEM = "System, größer & <besser>"
MARK = Mark("Tool 1.0", SYSTEM)
SUFFIXES = {"PNG": ".png", "APNG": ".png", "JPEG": ".jpg", "WebP": ".webp"}


def written(folder: Path, pictures: dict[str, bytes]) -> dict[str, Path]:
    paths = {}
    for number, (name, data) in enumerate(pictures.items()):
        paths[name] = folder / f"{number:02}{SUFFIXES[name.split(',')[0]]}"
        paths[name].write_bytes(data)
    return paths


def output(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, timeout=50, check=False)
    return done.stdout.decode()


def exiftool(folder: Path, *options: str) -> dict[str, dict[str, object]]:
    """What ExifTool says of every file in a folder, by file name."""
    answer = output(oracle("exiftool"), "-j", "-a", "-G1:4", *options, folder)
    return {Path(each["SourceFile"]).name: each for each in json.loads(answer)}


def complaints(folder: Path) -> dict[str, Counter[str]]:
    """ExifTool's warnings and errors, by file name; copies are told apart by their group."""
    said = exiftool(folder, "-validate", "-warning", "-error")
    return {
        name: Counter(
            str(text) for tag, text in facts.items() if tag.endswith((":Warning", ":Error"))
        )
        for name, facts in said.items()
    }


def test_exiftool_reads_all_of_the_mark_in_every_picture(tmp_path: Path) -> None:
    paths = written(tmp_path, {name: embed(data, MARK) for name, data in ALL.items()})

    said = exiftool(tmp_path, "-xmp:all")

    for name, path in paths.items():
        facts = said[path.name]
        assert facts["XMP-iptcExt:DigitalSourceType"] == TRAINED, name
        assert facts["XMP-xmp:CreatorTool"] == MARK.creator_tool, name
        # Of IPTC 2025.1, and so unknown by name to an older ExifTool, which reads it all the same.
        assert facts["XMP-iptcExt:AISystemUsed"] == SYSTEM, name
        if "with XMP" in name:
            assert facts["XMP-photoshop:City"] == "Köln", name
            assert facts["XMP-dc:Title"] == "Kränze & Töpfe", name


def test_exiftool_finds_nothing_wrong_that_was_not_wrong_before(tmp_path: Path) -> None:
    plain, marked = tmp_path / "plain", tmp_path / "marked"
    plain.mkdir()
    marked.mkdir()
    written(plain, ALL)
    paths = written(marked, {name: embed(data, MARK) for name, data in ALL.items()})

    before, after = complaints(plain), complaints(marked)

    assert len(after) == len(ALL)
    for name, path in paths.items():
        assert after[path.name] <= before[path.name], name


def test_exiftool_would_complain_of_a_mark_after_the_pixels(tmp_path: Path) -> None:
    late = with_chunks(PLAIN["PNG"], itxt(mark.sidecar(MARK)), at_end=True)
    written(tmp_path, {"PNG": late})

    assert complaints(tmp_path)["00.png"].total() == 1


def test_exiv2_reads_all_of_the_mark_in_every_picture(tmp_path: Path) -> None:
    paths = written(tmp_path, {name: embed(data, MARK) for name, data in ALL.items()})

    for name, path in paths.items():
        lines = output(oracle("exiv2"), "-q", "-PXkv", "pr", path).splitlines()
        facts = dict(line.split(maxsplit=1) for line in lines)
        assert facts["Xmp.iptcExt.DigitalSourceType"] == TRAINED, name
        assert facts["Xmp.xmp.CreatorTool"] == MARK.creator_tool, name
        assert facts["Xmp.iptcExt.AISystemUsed"] == SYSTEM, name
        if "with XMP" in name:
            assert facts["Xmp.photoshop.City"] == "Köln", name


def test_a_sidecar_is_read_and_found_sound_by_both(tmp_path: Path) -> None:
    path = tmp_path / "picture.xmp"
    path.write_bytes(mark.sidecar(MARK))

    facts = exiftool(tmp_path, "-validate", "-warning", "-error", "-xmp:all")["picture.xmp"]
    assert facts["ExifTool:Validate"] == "OK"
    assert facts["XMP-iptcExt:DigitalSourceType"] == TRAINED
    lines = output(oracle("exiv2"), "-q", "-PXkv", "pr", path)
    assert TRAINED in lines
    assert SYSTEM in lines


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WebP, lossy"])
@pytest.mark.parametrize("tool", ["exiftool", "exiv2"])
def test_a_mark_that_another_program_wrote_anew_still_stands(
    tool: str, name: str, tmp_path: Path
) -> None:
    path = written(tmp_path, {name: embed(WITH_XMP[name], MARK)})[name]

    if tool == "exiftool":
        output(oracle(tool), "-overwrite_original", "-XMP-dc:Source=here", path)
    else:
        output(oracle(tool), "-M", "set Xmp.dc.source here", "mo", path)

    rewritten = path.read_bytes()
    assert b"here" in rewritten
    assert rewritten != embed(WITH_XMP[name], MARK)
    assert is_marked(rewritten)
    assert embed(rewritten, MARK) is rewritten


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WebP, lossy"])
def test_a_source_type_that_exiftool_wrote_is_read_and_replaced(name: str, tmp_path: Path) -> None:
    camera = TRAINED.replace("trainedAlgorithmicMedia", "digitalCapture")
    path = written(tmp_path, {name: PLAIN[name]})[name]
    tag = f"-XMP-iptcExt:DigitalSourceType={camera}"
    output(oracle("exiftool"), "-overwrite_original", tag, "-XMP-dc:Source=here", path)
    assert mark.read(path.read_bytes()).source_type == camera

    path.write_bytes(embed(path.read_bytes(), MARK))

    facts = exiftool(tmp_path, "-xmp:all")[path.name]
    assert facts["XMP-iptcExt:DigitalSourceType"] == TRAINED
    assert facts["XMP-dc:Source"] == "here"
