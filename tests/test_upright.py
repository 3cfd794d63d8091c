"""A photo is sent upright, wherever its file says which way is up, and never turned twice."""

import struct

import pytest
from PIL import Image

from batch_reimagine.prepare import prepare
from tests import gallery, vips
from tests.pictures import (
    CORNERS,
    STORED_AS,
    alike,
    corners,
    encoded,
    jpeg_segment,
    opened,
    png_chunk,
    quarters,
    turned,
    with_chunks,
    with_segments,
)
from tests.readings import oracle_of, upload_of
from tests.samples_fetch import Sample

ORIENTATIONS = range(1, 9)
KINDS = ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "MPO"]
SIZES = [(96, 64), (1400, 900)]
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
    b'"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" %s</rdf:Description></rdf:RDF></x:xmpmeta>'
)


@pytest.fixture(scope="module", autouse=True)
def _heif() -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()


def stored(orientation: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """The quarters as a camera stores them that was held this way."""
    picture = quarters(size)
    return picture.transpose(STORED_AS[orientation]) if orientation > 1 else picture


def assert_upright(raw: bytes, *, told: int = 1, size: tuple[int, int] = (96, 64)) -> None:
    """Upright by the corners' colours, and by the oracle's reading of the same file."""
    upload = prepare(raw)
    sent = opened(upload.data)
    assert alike(corners(upload.data), list(CORNERS))
    assert (upload.width, upload.height) == sent.size
    assert sent.size == (size if max(size) <= 1024 else (1024, round(size[1] * 1024 / size[0])))
    assert sent.getexif().get(0x0112, 1) == 1
    theirs, mine = vips.look(raw, orientation=told), vips.look(upload.data)
    assert vips.closest_turn(mine, theirs) == 1
    assert vips.difference(mine, theirs) < 3


@pytest.mark.parametrize("size", SIZES, ids=["small", "large"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_is_upright_as_libvips_turns_it(
    kind: str, orientation: int, size: tuple[int, int]
) -> None:
    assert_upright(turned(orientation, kind, size), size=size)


def with_xmp(kind: str, orientation: int, *, element: bool, exif: bytes = b"") -> bytes:
    """A picture whose XMP says how to turn it, as an attribute or as an element."""
    said = b"><tiff:Orientation>%d</tiff:Orientation>" if element else b'tiff:Orientation="%d">'
    packet = XMP % (said % orientation)
    picture = stored(orientation)
    if kind == "JPEG":
        segment = jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)
        return with_segments(encoded(picture, kind, quality=95, exif=exif), segment)
    if kind == "PNG":
        chunk = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)
        return with_chunks(encoded(picture, kind, exif=exif), chunk)
    return encoded(picture, kind, xmp=packet, exif=exif)


@pytest.mark.parametrize("element", [False, True], ids=["attribute", "element"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_xmp_alone_turns_a_photo_too(kind: str, orientation: int, *, element: bool) -> None:
    assert_upright(with_xmp(kind, orientation, element=element), told=orientation)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_has_the_last_word_when_xmp_says_otherwise(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    lies = with_xmp(kind, 1, element=False, exif=exif.tobytes())
    lies = lies.replace(b'Orientation="1"', b'Orientation="6"')
    if kind == "PNG":  # its chunk's checksum is to be right again
        at = lies.index(b"iTXt") - 4
        size = struct.unpack_from(">I", lies, at)[0]
        chunk = png_chunk(b"iTXt", lies[at + 8 : at + 8 + size])
        lies = lies[:at] + chunk + lies[at + 12 + size :]

    assert_upright(lies)


def exif_says(raw: bytes, orientation: int) -> bytes:
    """The file with an EXIF orientation where tag 0x0113 held 1 (encoders take 0x0112 away)."""
    for pack in ("<HHIH", ">HHIH"):
        entry = struct.pack(pack, 0x0113, 3, 1, 1)
        if raw.count(entry) == 1:
            return raw.replace(entry, struct.pack(pack, 0x0112, 3, 1, orientation))
    raise AssertionError("no orientation to change")


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_a_picture_turned_by_its_boxes_is_not_turned_by_its_exif_again(
    kind: str, orientation: int
) -> None:
    """ISO/IEC 23008-12 and 23000-22: only irot and imir turn; EXIF informs."""
    exif = Image.Exif()
    exif[0x0113] = 1
    raw = exif_says(encoded(quarters(), kind, exif=exif.tobytes()), orientation)

    assert alike(corners(prepare(raw).data), list(CORNERS))


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_a_turning_box_and_the_same_exif_turn_once(kind: str, orientation: int) -> None:
    """So phones write it: the box turns, and EXIF still tells how the phone was held."""
    exif = Image.Exif()
    exif[0x0112], exif[0x0113] = orientation, 1
    raw = encoded(stored(orientation), kind, exif=exif.tobytes())
    assert b"irot" in raw

    assert_upright(exif_says(raw, orientation))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_tiff_of_one_bit_is_turned_once(orientation: int) -> None:
    picture = stored(orientation).convert("L").point(lambda v: 255 * (v > 100)).convert("1")
    raw = encoded(picture, "TIFF", tiffinfo={0x0112: orientation}, compression="group4")

    sent = opened(prepare(raw).data).convert("L")

    assert sent.size == (96, 64)
    marks = [sent.getpixel(at) for at in ((9, 9), (86, 9), (9, 54), (86, 54))]
    light = [quarters().convert("L").getpixel(at) for at in ((9, 9), (86, 9), (9, 54), (86, 54))]
    assert [value > 128 for value in marks] == [value > 100 for value in light]  # type: ignore[operator]


@pytest.mark.parametrize(
    "sample",
    [s for s in gallery.SENT if s.differs is not None],
    ids=gallery.name_of,
)
def test_a_sample_is_as_upright_as_the_oracle_sees_it(sample: Sample) -> None:
    mine = vips.look(upload_of(sample.name).data)

    assert vips.closest_turn(mine, oracle_of(sample)) == 1


@pytest.mark.parametrize("name", ["pug.heic", "arrow.heic"])
def test_a_phones_own_photo_stands_as_its_exif_size_says(name: str) -> None:
    upload = upload_of(f"heif_other/{name}")

    wide, high = {"pug.heic": (4032, 3024), "arrow.heic": (3024, 4032)}[name]
    assert abs(upload.width / upload.height - wide / high) < 0.002
    assert max(upload.width, upload.height) == 1024
