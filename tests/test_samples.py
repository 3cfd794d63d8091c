"""The sample photos: what the demo walks over, small, mixed, and with their licences told."""

import re
from pathlib import Path

import pytest
from PIL import ExifTags, Image

SAMPLES = Path(__file__).parent.parent / "samples"
PHOTOS = sorted(
    path
    for path in SAMPLES.rglob("*")
    if path.is_file() and path.name != "SOURCES.md" and "LICENSES" not in path.parts
)
SOURCES = (SAMPLES / "SOURCES.md").read_text("utf-8")


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.name)
def test_a_sample_is_a_whole_picture_with_a_known_licence(path: Path) -> None:
    with Image.open(path) as picture:
        picture.load()
        assert min(picture.size) >= 300
    assert path.stat().st_size <= 250_000
    assert f"`{path.relative_to(SAMPLES).as_posix()}`" in SOURCES


def test_sources_name_no_photo_that_is_not_there_and_every_licence_is_at_hand() -> None:
    table = [line.split("|")[1].strip(" `") for line in SOURCES.splitlines() if line[:3] == "| `"]
    assert sorted(table) == sorted(path.relative_to(SAMPLES).as_posix() for path in PHOTOS)
    linked = re.findall(r"\((LICENSES/[^)]+)\)", SOURCES)
    assert set(linked) == {f"LICENSES/{path.name}" for path in (SAMPLES / "LICENSES").iterdir()}


def test_the_samples_are_few_small_and_as_mixed_as_a_shops_folder() -> None:
    suffixes = {path.suffix for path in PHOTOS}
    assert 6 <= len(PHOTOS) <= 10
    assert sum(path.stat().st_size for path in PHOTOS) <= 1_200_000
    assert {".jpg", ".JPG", ".jpeg", ".png", ".webp"} <= suffixes
    names = [path.relative_to(SAMPLES).as_posix() for path in PHOTOS]
    assert any(not name.isascii() and " " in name for name in names)
    assert any(name.count("/") > 1 for name in names)


def test_one_is_stored_lying_and_one_is_transparent() -> None:
    lying, clear = [], []
    for path in PHOTOS:
        with Image.open(path) as picture:
            if picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:
                lying.append(path.name)
            if picture.mode == "RGBA" and picture.getchannel("A").getextrema()[0] < 16:
                clear.append(path.name)
    assert lying == ["IMG_0042.JPG"]
    assert clear == ["tulips.png"]
