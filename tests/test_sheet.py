"""The contact sheet: real files in, a picture and a page out, whatever the files are."""

import base64
import io
import os
import re
import struct
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from PIL import Image, ImageCms

from batch_reimagine import lettering
from batch_reimagine.sheet import (
    MAX_ROWS_HTML,
    MAX_ROWS_PNG,
    MAX_VARIATIONS_HTML,
    MAX_VARIATIONS_PNG,
    THUMB_EDGE_PX,
    SheetRow,
    write_sheet,
)
from tests.pictures import CORNERS, alike, corners, encoded, noisy, quarters, turned

HOSTILE = "\"><img src=x onerror=alert(1)>&'.png"


class Page(HTMLParser):
    """What a browser would build: tags with attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def thumbs(self) -> list[bytes]:
        return [base64.b64decode((each["src"] or "").partition(",")[2]) for each in self.all("img")]


def drawn(folder: Path, *rows: SheetRow, title: str = "Sheet") -> tuple[Image.Image, Page]:
    """Write a sheet of rows into folder and read both files back."""
    png, html = folder / "sheet.png", folder / "sheet.html"
    write_sheet(rows, png, html, title=title, note="A note.")
    with Image.open(png) as picture:
        picture.load()
    return picture, Page(html.read_text("utf-8"))


def kept(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def row(folder: Path, name: str = "mug.png", variations: int = 2) -> SheetRow:
    original = kept(folder, name, encoded(quarters(), "PNG"))
    made = [
        kept(folder, f"out/{original.stem}_v{n:02}.png", encoded(noisy(), "PNG"))
        for n in range(1, variations + 1)
    ]
    return SheetRow(name, original, tuple(made))


def test_the_page_needs_nothing_from_outside_and_runs_nothing(tmp_path: Path) -> None:
    _, page = drawn(tmp_path, row(tmp_path))

    assert {"content": "default-src 'none'; img-src data:; style-src 'unsafe-inline'"}.items() <= (
        next(meta for meta in page.all("meta") if "http-equiv" in meta).items()
    )
    assert page.all("html") == [{"lang": "en"}]
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    sources = [image["src"] or "" for image in page.all("img")]
    assert len(sources) == 3
    assert all(source.startswith("data:image/webp;base64,") for source in sources)


def test_every_picture_is_linked_and_described(tmp_path: Path) -> None:
    _, page = drawn(tmp_path, row(tmp_path, "cups/mug.png"))

    links = [link["href"] for link in page.all("a")]
    assert links == ["cups/mug.png", "out/mug_v01.png", "out/mug_v02.png"]
    assert [image["alt"] for image in page.all("img")] == [
        "original: cups/mug.png",
        "variation 1: mug_v01.png",
        "variation 2: mug_v02.png",
    ]
    assert {image["loading"] for image in page.all("img")} == {"lazy"}
    assert "1 photo, 2 variations" in page.text


@pytest.mark.parametrize(
    "name",
    [
        HOSTILE,
        "javascript:alert(1).png",
        "sac à main 100% #1?.png",
        "ботинки 水筒 größe.png",
        "u\u0308ber.png",
        "turned\u202egnp.png",
        "two\nlines\x07.png",
        "{title}{0}%s.png",
        "w" * 200 + ".png",
    ],
)
def test_any_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    plain, _ = drawn(tmp_path, row(tmp_path, "plain.png"))
    picture, page = drawn(tmp_path, row(tmp_path, name), title=name)

    assert len(page.all("img")) == 3
    assert not page.all("script")
    assert not [tags for tags in page.tags if "onerror" in tags[1]]
    heading = "".join(page.text)
    assert lettering.legible(name) in heading
    for link in page.all("a"):
        way = link["href"] or ""
        assert re.fullmatch(r"[A-Za-z0-9_.~/%-]+", way)
        assert (tmp_path / os.fsdecode(unquote_to_bytes(way))).is_file()
    assert picture.size == plain.size


def test_a_name_that_is_no_unicode_is_shown_and_linked(tmp_path: Path) -> None:
    name = os.fsdecode(b"sch\xf6n.png")
    _, page = drawn(tmp_path, row(tmp_path, name))

    assert page.all("a")[0]["href"] == "sch%F6n.png"
    assert "sch[U+DCF6]n.png" in page.text


def test_a_picture_elsewhere_is_reached_by_a_relative_path(tmp_path: Path) -> None:
    one = row(tmp_path, "in put/mug.png")
    (tmp_path / "a" / "b").mkdir(parents=True)
    _, page = drawn(tmp_path / "a" / "b", one)

    assert page.all("a")[0]["href"] == "../../in%20put/mug.png"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(None, "missing", id="not there"),
        pytest.param(b"", "cannot be opened", id="empty"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n", "cannot be opened", id="EPS: never run"),
        pytest.param(encoded(noisy(), "PNG")[:-400], "cannot be opened", id="cut PNG"),
        pytest.param(encoded(noisy((300, 300)), "JPEG")[:900], "cannot be opened", id="cut JPEG"),
    ],
)
def test_what_cannot_be_shown_is_a_labelled_tile(
    tmp_path: Path, data: bytes | None, said: str
) -> None:
    whole = row(tmp_path)
    broken = tmp_path / "broken.png"
    if data is not None:
        broken.write_bytes(data)
    picture, page = drawn(tmp_path, SheetRow("b.png", broken, (broken, *whole.variations)), whole)

    assert picture.width <= 2000
    assert len(page.all("img")) == 2 + 3
    assert page.all("div").count({"class": "broken"}) == 2
    assert f"original · {said}" in page.text
    assert "broken.png" not in [link["href"] for link in page.all("a")]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    _, page = drawn(tmp_path, SheetRow("pipe.png", pipe, ()))

    assert "original · missing" in page.text


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    photo = kept(tmp_path, "photo", turned(orientation, kind, (120, 64)))
    _, page = drawn(tmp_path, SheetRow("photo", photo, ()))

    (thumb,) = page.thumbs()
    assert alike(corners(thumb), list(CORNERS), within=40)
    assert "original · 120 × 64 px" in page.text


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_large_pictures_stand_upright_too(tmp_path: Path, kind: str) -> None:
    photo = kept(tmp_path, "photo", turned(6, kind, (1200, 640)))
    _, page = drawn(tmp_path, SheetRow("photo", photo, ()))

    assert alike(corners(page.thumbs()[0]), list(CORNERS), within=40)
    assert "original · 1200 × 640 px" in page.text


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.filterwarnings("ignore:Tag data larger than file")
def test_broken_exif_does_not_hide_a_good_picture(tmp_path: Path) -> None:
    exif = b"Exif\x00\x00II*\x00" + struct.pack("<I", 8) + b"\xff\xff" + b"\x12\x01\x03\x00" * 4
    photo = kept(tmp_path, "a.jpg", encoded(quarters(), "JPEG", exif=exif, quality=95))
    _, page = drawn(tmp_path, SheetRow("a.jpg", photo, ()))

    assert alike(corners(page.thumbs()[0]), list(CORNERS), within=40)


def test_transparency_shows_a_light_checkerboard(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (32, 32, 64, 64))
    photos = {
        "rgba.png": encoded(clear, "PNG"),
        "palette.gif": encoded(clear, "GIF"),
        "grey.png": encoded(clear.convert("LA"), "PNG"),
    }
    for name, data in photos.items():
        _, page = drawn(tmp_path, SheetRow(name, kept(tmp_path, name, data), ()))

        with Image.open(io.BytesIO(page.thumbs()[0])) as thumb:
            assert thumb.mode == "RGB", name
            seen = {thumb.getpixel((4, 4)), thumb.getpixel((12, 4))}
        assert len(seen) == 2, name
        assert all(min(pixel) > 200 for pixel in seen), name


def test_colours_and_depths_are_shown_as_they_look(tmp_path: Path) -> None:
    grey = Image.new("I;16", (64, 64), 128 * 256)
    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photos = {
        "16 bit.png": (encoded(grey, "PNG"), (128, 128, 128)),
        "one bit.png": (encoded(Image.new("1", (64, 64), 1), "PNG"), (255, 255, 255)),
        "cmyk.jpg": (encoded(Image.new("CMYK", (64, 64)), "JPEG"), (255, 255, 255)),
        "icc.png": (
            encoded(Image.new("RGB", (64, 64), (200, 90, 10)), "PNG", icc_profile=linear),
            (200, 90, 10),
        ),
        "broken icc.png": (
            encoded(Image.new("RGB", (64, 64), (200, 90, 10)), "PNG", icc_profile=b"no profile"),
            (200, 90, 10),
        ),
    }
    for name, (data, colour) in photos.items():
        _, page = drawn(tmp_path, SheetRow(name, kept(tmp_path, name, data), ()))

        with Image.open(io.BytesIO(page.thumbs()[0])) as thumb:
            assert alike(thumb.getpixel((30, 30)), colour, within=6), name  # type: ignore[arg-type]


def test_a_large_photo_becomes_a_small_thumb(tmp_path: Path) -> None:
    photo = kept(tmp_path, "a.jpg", encoded(noisy((3000, 2000)), "JPEG"))
    _, page = drawn(tmp_path, SheetRow("a.jpg", photo, ()))

    (image,) = page.all("img")
    assert (image["width"], image["height"]) == (str(THUMB_EDGE_PX), "320")
    assert "original · 3000 × 2000 px" in page.text


def test_the_sheet_shows_the_original_left_of_its_variations(tmp_path: Path) -> None:
    red, blue = Image.new("RGB", (320, 240), (255, 0, 0)), Image.new("RGB", (320, 240), "blue")
    original = kept(tmp_path, "a.png", encoded(red, "PNG"))
    variation = kept(tmp_path, "a_v01.png", encoded(blue, "PNG"))
    picture, _ = drawn(tmp_path, SheetRow("a.png", original, (variation,)))

    across = [picture.getpixel((x, 240)) for x in range(picture.width)]
    assert across.count((255, 0, 0)) == across.count((0, 0, 255)) == 320
    assert across.index((255, 0, 0)) < across.index((0, 0, 255))


def test_a_hundred_photos_are_cut_in_the_picture_and_whole_on_the_page(tmp_path: Path) -> None:
    one = row(tmp_path)
    picture, page = drawn(tmp_path, *[one] * 100)
    forty, _ = drawn(tmp_path, *[one] * MAX_ROWS_PNG)

    assert picture.width <= 2000
    assert 0 < picture.height - forty.height < 200  # the line that says how many more
    assert len(page.all("section")) == 100
    assert not [text for text in page.text if "more photo" in text]


def test_a_long_page_says_how_many_more_there_are(tmp_path: Path) -> None:
    one = row(tmp_path, variations=0)
    _, page = drawn(tmp_path, *[one] * (MAX_ROWS_HTML + 1))

    assert len(page.all("section")) == MAX_ROWS_HTML
    assert "and 1 more photo" in page.text


def test_many_variations_keep_the_width(tmp_path: Path) -> None:
    picture, page = drawn(tmp_path, row(tmp_path, variations=MAX_VARIATIONS_HTML + 6))
    full, _ = drawn(tmp_path, row(tmp_path, variations=MAX_VARIATIONS_PNG))

    assert full.width <= picture.width <= 2000
    assert len(page.all("img")) == 1 + MAX_VARIATIONS_HTML
    assert "and 6 more variations" in page.text


def test_no_photos_is_a_sheet_too(tmp_path: Path) -> None:
    picture, page = drawn(tmp_path)

    assert picture.width <= 2000
    assert "0 photos, 0 variations" in page.text


def test_an_older_sheet_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    png, html = kept(tmp_path, "sheet.png", b"old"), kept(tmp_path, "sheet.html", b"old")
    write_sheet([], png, html, title="new", note="")

    assert png.read_bytes().startswith(b"\x89PNG")
    assert "new" in html.read_text("utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sheet.html", "sheet.png"]


def test_a_sheet_that_cannot_be_written_leaves_the_older_one(tmp_path: Path) -> None:
    html = kept(tmp_path, "sheet.html", b"old")
    with pytest.raises(OSError, match=r"gone"):
        write_sheet([], tmp_path / "gone" / "sheet.png", html, title="new", note="")

    assert html.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [html]


def test_originals_and_outputs_are_only_read(tmp_path: Path) -> None:
    one = row(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (one.original, *one.variations)}
    contents = {path: path.read_bytes() for path in before}
    drawn(tmp_path, one)

    assert {path: path.read_bytes() for path in before} == contents
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_letters_without_a_font_are_still_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "_FAMILIES", ())
    lettering._fonts.cache_clear()
    try:
        pieces = lettering._pieces("größe 3 × 水.png", 15)
    finally:
        lettering._fonts.cache_clear()

    assert "".join(piece for piece, _ in pieces) == "grosse 3 x [U+6C34].png"


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    cut = lettering.fitted("catalogue/" + "x" * 300 + "/mug_v01.png", 15, 300)

    assert cut.startswith("catalogue/")
    assert cut.endswith("/mug_v01.png")
    assert "…" in cut
    assert lettering._width_px(cut, 15) <= 300
