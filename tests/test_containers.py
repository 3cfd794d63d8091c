"""PNG and JPEG are stripped to what decoding needs, pixel for pixel."""

import contextlib
import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from batch_reimagine import containers
from tests.pictures import (
    encoded,
    exif_with_secrets,
    jpeg_segment,
    noisy,
    opened,
    png_chunk,
    quarters,
    with_chunks,
    with_segments,
)

JPEGS = {
    "baseline": encoded(noisy(), "JPEG", quality=90),
    "progressive, many scans": encoded(noisy(), "JPEG", quality=90, progressive=True),
    "with restart markers": encoded(noisy(), "JPEG", quality=90, restart_marker_blocks=2),
    "grey": encoded(noisy().convert("L"), "JPEG"),
    "RGB by its Adobe segment": encoded(noisy(), "JPEG", quality=90, keep_rgb=True),
    "chroma halved": encoded(noisy(), "JPEG", subsampling=2),
    "optimised": encoded(noisy(), "JPEG", optimize=True),
    "one pixel": encoded(noisy((1, 1)), "JPEG"),
}
PNGS = {
    "RGB": encoded(noisy(), "PNG"),
    "RGBA": encoded(noisy().convert("RGBA"), "PNG"),
    "grey": encoded(noisy().convert("L"), "PNG"),
    "palette": encoded(quarters().quantize(8), "PNG"),
    "palette with tRNS": encoded(quarters().quantize(8), "PNG", transparency=1),
    "one bit": encoded(noisy().convert("1"), "PNG"),
}
SECRET = b"SECRET-"
XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>SECRET-XMP</x:xmpmeta>"


def laden_jpeg(plain: bytes) -> bytes:
    """The JPEG with all that cameras and editors hang onto one, thumbnails included."""
    thumbnail = jpeg_segment(0xE0, b"JFXX\0\x10" + b"SECRET-THUMBNAIL")
    return with_segments(
        plain,
        jpeg_segment(0xE1, b"Exif\0\0" + exif_with_secrets().removeprefix(b"Exif\0\0")),
        jpeg_segment(0xE1, XMP),
        jpeg_segment(0xED, b"Photoshop 3.0\0SECRET-IPTC"),
        jpeg_segment(0xEF, b"SECRET-APP15"),
        jpeg_segment(0xFE, b"SECRET-COMMENT"),
        thumbnail,
    )


@pytest.mark.parametrize("plain", JPEGS.values(), ids=JPEGS)
def test_a_stripped_jpeg_has_the_same_pixels(plain: bytes) -> None:
    stripped = containers.strip_jpeg(laden_jpeg(plain))

    assert opened(stripped).tobytes() == opened(plain).tobytes()


@pytest.mark.parametrize("plain", JPEGS.values(), ids=JPEGS)
def test_a_stripped_jpeg_tells_nothing_but_its_picture(plain: bytes) -> None:
    laden = laden_jpeg(plain)
    assert SECRET in laden

    stripped = containers.strip_jpeg(laden)

    assert SECRET not in stripped
    assert b"Exif" not in stripped
    assert b"ns.adobe.com" not in stripped


@pytest.mark.parametrize("plain", JPEGS.values(), ids=JPEGS)
def test_stripping_twice_changes_nothing_more(plain: bytes) -> None:
    once = containers.strip_jpeg(laden_jpeg(plain))

    assert containers.strip_jpeg(once) == once


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(b"SECRET-TAIL", id="text"),
        pytest.param(b"\xff\xd9SECRET-TAIL\xff\xd9", id="a second end marker"),
        pytest.param(JPEGS["baseline"] + b"SECRET-TAIL", id="a second picture"),
        pytest.param(b"\0" * 5000 + b"SECRET-TAIL", id="padding"),
    ],
)
def test_what_a_phone_hides_behind_the_picture_goes(tail: bytes) -> None:
    stripped = containers.strip_jpeg(JPEGS["baseline"] + tail)

    assert SECRET not in stripped
    assert stripped.endswith(b"\xff\xd9")
    assert stripped == containers.strip_jpeg(JPEGS["baseline"])


def test_a_comment_between_two_scans_goes() -> None:
    plain = JPEGS["progressive, many scans"]
    second_scan = plain.index(b"\xff\xda", plain.index(b"\xff\xda") + 2)
    laden = plain[:second_scan] + jpeg_segment(0xFE, b"SECRET-MIDST") + plain[second_scan:]

    stripped = containers.strip_jpeg(laden)

    assert SECRET not in stripped
    assert opened(stripped).tobytes() == opened(plain).tobytes()


def test_fill_bytes_before_a_marker_are_no_damage() -> None:
    plain = JPEGS["baseline"]

    stripped = containers.strip_jpeg(plain[:2] + b"\xff\xff\xff" + plain[2:])

    assert opened(stripped).tobytes() == opened(plain).tobytes()


def test_a_thumbnail_inside_jfif_goes() -> None:
    rgb = b"SECRET-PIXELS" + b"\0" * 14
    jfif = jpeg_segment(0xE0, b"JFIF\0\x01\x02\x01\0\x48\0\x48\x03\x03" + rgb)
    plain = JPEGS["baseline"]
    own_jfif_end = 2 + 2 + struct.unpack_from(">H", plain, 4)[0]

    stripped = containers.strip_jpeg(plain[:2] + jfif + plain[own_jfif_end:])

    assert SECRET not in stripped
    assert opened(stripped).tobytes() == opened(plain).tobytes()


def test_an_adobe_segment_longer_than_usual_does_not_break_the_picture() -> None:
    plain = JPEGS["RGB by its Adobe segment"]
    adobe = plain.index(b"\xff\xee")
    (length,) = struct.unpack_from(">H", plain, adobe + 2)
    payload = plain[adobe + 4 : adobe + 2 + length] + b"SECRET-MORE"
    longer = plain[:adobe] + jpeg_segment(0xEE, payload) + plain[adobe + 2 + length :]
    assert opened(longer).tobytes() == opened(plain).tobytes()

    stripped = containers.strip_jpeg(longer)

    assert SECRET not in stripped
    assert opened(stripped).tobytes() == opened(plain).tobytes()


@pytest.mark.parametrize("name", ["baseline", "progressive, many scans", "with restart markers"])
def test_a_jpeg_cut_anywhere_is_refused_with_a_value_error(name: str) -> None:
    plain = JPEGS[name]

    for cut in range(len(plain)):
        with pytest.raises(ValueError, match=r"."):
            containers.strip_jpeg(plain[:cut])


@pytest.mark.parametrize("plain", PNGS.values(), ids=PNGS)
def test_a_stripped_png_has_the_same_pixels(plain: bytes) -> None:
    stripped = opened(containers.strip_png(plain))

    assert stripped.convert("RGBA").tobytes() == opened(plain).convert("RGBA").tobytes()


@pytest.mark.parametrize("at_end", [False, True], ids=["before the pixels", "after the pixels"])
def test_a_stripped_png_tells_nothing_but_its_picture(*, at_end: bool) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "SECRET-TEXT")
    text.add_itxt("XML:com.adobe.xmp", "SECRET-XMP", zip=False)
    plain = encoded(noisy(), "PNG", pnginfo=text, dpi=(300, 300))
    laden = with_chunks(
        plain,
        png_chunk(b"eXIf", exif_with_secrets().removeprefix(b"Exif\0\0")),
        png_chunk(b"tIME", b"\x07\xea\x01\x01\0\0\0"),
        png_chunk(b"caBX", b"SECRET-C2PA"),
        at_end=at_end,
    )

    stripped = containers.strip_png(laden + b"SECRET-TAIL")

    kinds = {kind for kind, _, _ in containers.png_chunks(stripped)}
    assert kinds == {b"IHDR", b"IDAT", b"IEND"}
    assert SECRET not in stripped
    assert opened(stripped).tobytes() == opened(plain).tobytes()


@pytest.mark.parametrize("plain", PNGS.values(), ids=PNGS)
def test_a_png_cut_anywhere_is_refused_with_a_value_error(plain: bytes) -> None:
    for cut in range(len(plain)):
        with pytest.raises(ValueError, match=r"."):
            list(containers.png_chunks(plain[:cut]))


def test_a_png_with_one_byte_changed_is_refused() -> None:
    plain = encoded(quarters((8, 8)), "PNG")

    for at in range(len(plain)):
        with pytest.raises(ValueError, match=r"."):
            list(containers.png_chunks(plain[:at] + bytes([plain[at] ^ 0x40]) + plain[at + 1 :]))


def test_the_size_of_a_png_is_read_from_its_header() -> None:
    assert containers.png_size(encoded(quarters((37, 21)), "PNG")) == (37, 21)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_behind_a_jpeg_start_end_in_bytes_or_a_value_error(rest: bytes) -> None:
    try:
        stripped = containers.strip_jpeg(b"\xff\xd8" + rest)
    except ValueError:
        return
    assert stripped.startswith(b"\xff\xd8")
    assert stripped.endswith(b"\xff\xd9")


@settings(max_examples=300)
@given(st.integers(0, len(JPEGS["baseline"]) - 1), st.binary(min_size=1, max_size=8))
def test_a_damaged_jpeg_ends_in_bytes_or_a_value_error(at: int, damage: bytes) -> None:
    plain = JPEGS["progressive, many scans"]
    damaged = plain[:at] + damage + plain[at + len(damage) :]
    with contextlib.suppress(ValueError):
        containers.strip_jpeg(damaged)


@given(st.binary(max_size=100))
def test_any_bytes_behind_a_png_signature_end_in_a_value_error(rest: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        containers.strip_png(b"\x89PNG\r\n\x1a\n" + rest)


def test_a_stripped_jpeg_keeps_its_density() -> None:
    plain = encoded(noisy(), "JPEG", dpi=(240, 240))

    with Image.open(io.BytesIO(containers.strip_jpeg(plain))) as picture:
        assert picture.info["dpi"] == (240, 240)
