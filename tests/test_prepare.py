"""Any photo becomes an upload that the service takes: upright, sRGB, 8 bit, small, anonymous."""

import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from batch_reimagine.errors import Rejected
from batch_reimagine.prepare import MAX_EDGE_PX, prepare
from tests.pictures import (
    CORNERS,
    alike,
    animation,
    corners,
    encoded,
    exif_with_secrets,
    grey16_png,
    jpeg_segment,
    noisy,
    opened,
    png_chunk,
    quarters,
    raw_png,
    rgb16_png,
    srgb_profile,
    swapped_profile,
    turned,
    with_chunks,
    with_segments,
)

LARGE = (1400, 900)
ORIENTED = ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"]


def bit_depth(data: bytes) -> int:
    """Of a PNG, as its IHDR has it; 8 of a JPEG."""
    return data[24] if data.startswith(b"\x89PNG") else 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ORIENTED)
def test_a_photo_is_upright_whatever_its_orientation(kind: str, orientation: int) -> None:
    upload = prepare(turned(orientation, kind))

    assert alike(corners(upload.data), list(CORNERS))
    assert (upload.width, upload.height) == (96, 64) == opened(upload.data).size


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_a_large_photo_is_upright_too(kind: str, orientation: int) -> None:
    upload = prepare(turned(orientation, kind, LARGE))

    assert alike(corners(upload.data), list(CORNERS))
    assert (upload.width, upload.height) == opened(upload.data).size
    assert upload.width == MAX_EDGE_PX
    assert abs(upload.height - MAX_EDGE_PX * 900 / 1400) <= 1


@pytest.mark.parametrize("orientation", [0, 9, 255, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    assert alike(corners(prepare(turned(orientation, "JPEG")).data), list(CORNERS))


def test_no_upload_asks_to_be_turned_again() -> None:
    assert opened(prepare(turned(6, "JPEG")).data).getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_every_accepted_format_keeps_its_colours(kind: str) -> None:
    assert alike(corners(prepare(encoded(quarters(), kind)).data), list(CORNERS))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA", "CMYK", "I;16", "F", "I"])
@pytest.mark.parametrize("size", [(96, 64), (1200, 40)], ids=["small", "large"])
def test_every_mode_becomes_a_picture_of_eight_bits(mode: str, size: tuple[int, int]) -> None:
    kind = "TIFF" if mode in {"CMYK", "I;16", "F", "I"} else "PNG"
    picture = quarters(size).convert("L").convert(mode) if mode == "I;16" else quarters(size, mode)

    upload = prepare(encoded(picture, kind))

    sent = opened(upload.data)
    assert sent.format in {"JPEG", "PNG"}
    assert max(sent.size) <= MAX_EDGE_PX
    assert bit_depth(upload.data) <= 8


@pytest.mark.parametrize("kind", ["JPEG", "progressive JPEG", "grey JPEG"])
def test_a_jpeg_that_fits_keeps_its_pixels_bit_by_bit(kind: str) -> None:
    picture = noisy().convert("L") if kind.startswith("grey") else noisy()
    raw = encoded(picture, "JPEG", quality=83, progressive=kind.startswith("prog"))

    upload = prepare(raw)

    assert upload.data.startswith(b"\xff\xd8")
    assert opened(upload.data).tobytes() == opened(raw).tobytes()
    assert len(upload.data) <= len(raw)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1"])
def test_a_png_that_fits_keeps_its_pixels_bit_by_bit(mode: str) -> None:
    raw = encoded(noisy().convert(mode), "PNG")

    upload = prepare(raw)

    assert opened(upload.data).convert("RGBA").tobytes() == opened(raw).convert("RGBA").tobytes()


@pytest.mark.parametrize("edge", [MAX_EDGE_PX, MAX_EDGE_PX + 1, 3000])
def test_both_sides_fit_and_small_pictures_are_never_enlarged(edge: int) -> None:
    upload = prepare(encoded(quarters((edge, 30)), "JPEG"))

    assert upload.width == min(edge, MAX_EDGE_PX)
    assert upload.height <= 30


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (1024, 1024), (1025, 1025)])
def test_extreme_shapes_are_prepared(size: tuple[int, int]) -> None:
    upload = prepare(encoded(Image.new("RGB", size, (9, 99, 199)), "PNG"))

    assert 1 <= upload.width <= MAX_EDGE_PX
    assert 1 <= upload.height <= MAX_EDGE_PX


@pytest.mark.parametrize("value", [0, 1000, 30_000, 65_535])
def test_sixteen_bit_grey_keeps_its_brightness(value: int) -> None:
    sent = opened(prepare(grey16_png(value)).data).convert("L")

    assert abs(sent.getpixel((10, 6)) - value / 257) <= 2  # type: ignore[operator]


@pytest.mark.parametrize("size", [(20, 12), (1100, 4)], ids=["small", "large"])
def test_sixteen_bit_colour_is_sent_in_eight(size: tuple[int, int]) -> None:
    upload = prepare(rgb16_png((60_000, 30_000, 1000), size))

    assert bit_depth(upload.data) == 8
    assert alike([opened(upload.data).convert("RGB").getpixel((10, 2))], [(233, 117, 4)], within=4)


def test_sixteen_bit_colour_with_alpha_is_sent_in_eight() -> None:
    rows = [struct.pack(">HHHH", 60_000, 30_000, 1000, 32_768) * 20] * 12

    upload = prepare(raw_png((20, 12), 16, 6, rows))

    assert bit_depth(upload.data) == 8


def test_sixteen_bit_grey_with_a_transparent_value_is_prepared() -> None:
    raw = with_chunks(grey16_png(30_000), png_chunk(b"tRNS", b"\xff\xff"))

    sent = opened(prepare(raw).data).convert("RGBA")

    assert sent.getpixel((10, 6))[3] == 255  # type: ignore[index]
    assert abs(sent.getpixel((10, 6))[0] - 117) <= 2  # type: ignore[index]


def test_an_embedded_profile_is_applied() -> None:
    raw = encoded(quarters(), "JPEG", quality=95, icc_profile=swapped_profile())

    top_left = corners(prepare(raw).data)[0]

    assert top_left[1] > top_left[0], "red was stored, but the profile calls it green"


def test_no_profile_is_sent() -> None:
    upload = prepare(encoded(quarters(), "JPEG", icc_profile=srgb_profile()))

    assert "icc_profile" not in opened(upload.data).info
    assert alike(corners(upload.data), list(CORNERS))


@pytest.mark.parametrize(
    "profile", [b"no profile at all", b"\0" * 128], ids=["nonsense", "an empty header"]
)
def test_a_damaged_profile_is_ignored(profile: bytes) -> None:
    upload = prepare(encoded(quarters(), "JPEG", icc_profile=profile))

    assert alike(corners(upload.data), list(CORNERS))


def test_a_profile_of_another_colour_space_is_ignored() -> None:
    raw = encoded(quarters().convert("L"), "PNG", icc_profile=srgb_profile())

    upload = prepare(raw)

    assert alike(corners(upload.data), corners(encoded(quarters().convert("L"), "PNG")))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
@pytest.mark.parametrize(
    ("ink", "seen"),
    [  # as print shops publish the process colours of ISO Coated v2 (FOGRA39) in sRGB
        pytest.param((255, 0, 0, 0), (0, 158, 227), id="cyan"),
        pytest.param((0, 255, 0, 0), (230, 0, 126), id="magenta"),
        pytest.param((0, 0, 255, 0), (255, 237, 0), id="yellow"),
        pytest.param((0, 0, 0, 255), (29, 29, 27), id="black"),
        pytest.param((0, 0, 0, 0), (255, 255, 255), id="paper"),
    ],
)
def test_cmyk_without_a_profile_comes_out_as_in_print(
    ink: tuple[int, ...], seen: tuple[int, ...], kind: str
) -> None:
    raw = encoded(Image.new("CMYK", (32, 32), ink), kind)

    sent = opened(prepare(raw).data).convert("RGB").getpixel((16, 16))

    assert alike([sent], [seen], within=8)


@pytest.mark.parametrize("size", [(96, 64), LARGE], ids=["small", "large"])
def test_transparency_is_kept_as_png(size: tuple[int, int]) -> None:
    picture = quarters(size).convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1] // 2))

    sent = opened(prepare(encoded(picture, "PNG")).data)

    assert sent.format == "PNG"
    assert sent.convert("RGBA").getpixel((4, 4))[3] == 0  # type: ignore[index]
    assert sent.convert("RGBA").getpixel((sent.width - 4, 4))[3] == 255  # type: ignore[index]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_alpha_that_hides_nothing_makes_no_large_png(kind: str) -> None:
    upload = prepare(encoded(quarters(LARGE).convert("RGBA"), kind))

    assert upload.data.startswith(b"\xff\xd8")


@pytest.mark.parametrize("size", [(96, 64), (1400, 30)], ids=["small", "large"])
def test_a_palette_with_a_transparent_colour_stays_transparent(size: tuple[int, int]) -> None:
    palette = quarters(size).quantize(8)
    raw = encoded(palette, "PNG", transparency=palette.getpixel((3, 3)))

    sent = opened(prepare(raw).data).convert("RGBA")

    assert sent.getpixel((3, 3))[3] == 0  # type: ignore[index]
    assert sent.getpixel((sent.width - 3, 3))[3] == 255  # type: ignore[index]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_an_animation_the_first_frame_is_sent_and_said_so(kind: str) -> None:
    upload = prepare(animation(kind))

    assert alike([opened(upload.data).convert("RGB").getpixel((12, 8))], [(220, 30, 30)])
    assert upload.note == ("page 1 of 3" if kind == "TIFF" else "first of 3 frames")
    assert getattr(opened(upload.data), "n_frames", 1) == 1


def test_a_still_picture_has_no_note() -> None:
    assert prepare(encoded(quarters(), "GIF")).note is None


@pytest.mark.parametrize("size", [(96, 64), LARGE], ids=["small", "large"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_nothing_of_the_owner_is_sent(kind: str, size: tuple[int, int]) -> None:
    options = {"exif": exif_with_secrets()}
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", "SECRET-TEXT")
        raw = encoded(quarters(size), kind, pnginfo=text, **options)
    elif kind == "JPEG":
        raw = encoded(quarters(size), kind, comment=b"SECRET-COMMENT", **options)
        raw = with_segments(raw, jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0SECRET-XMP"))
    elif kind == "WEBP":
        raw = encoded(quarters(size), kind, xmp=b"<x>SECRET-XMP</x>", **options)
    else:
        raw = encoded(quarters(size), kind, description="SECRET-DESCRIPTION")
    assert b"SECRET-" in raw

    sent = prepare(raw).data

    assert b"SECRET-" not in sent
    assert b"Exif" not in sent
    assert b"eXIf" not in sent


@pytest.mark.parametrize("size", [(96, 64), LARGE], ids=["small", "large"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_a_jpeg_that_was_cut_is_refused(size: tuple[int, int], options: dict[str, bool]) -> None:
    raw = encoded(noisy(size), "JPEG", quality=80, **options)

    for eighth in range(8):
        with pytest.raises(Rejected):
            prepare(raw[: len(raw) * eighth // 8])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "AVIF"])
def test_a_picture_that_was_cut_is_refused(kind: str) -> None:
    raw = encoded(noisy(), kind)

    for sixteenth in range(16):
        with pytest.raises(Rejected):
            prepare(raw[: len(raw) * sixteenth // 16])


def test_a_cut_gif_is_refused() -> None:
    raw = encoded(noisy().quantize(64), "GIF")

    with pytest.raises(Rejected):
        prepare(raw[: len(raw) // 2])


def test_a_jpeg_with_junk_between_segments_is_no_reason_to_refuse_it() -> None:
    plain = encoded(quarters(), "JPEG", quality=95)
    table = plain.index(b"\xff\xdb")
    raw = plain[:table] + b"\0\0" + plain[table:]
    assert alike(corners(raw), list(CORNERS)), "decoders take it"

    assert alike(corners(prepare(raw).data), list(CORNERS))


def test_an_adobe_segment_longer_than_usual_is_sent_whole() -> None:
    plain = encoded(quarters(), "JPEG", quality=95, keep_rgb=True)
    adobe = plain.index(b"\xff\xee")
    (length,) = struct.unpack_from(">H", plain, adobe + 2)
    payload = plain[adobe + 4 : adobe + 2 + length] + b"more"
    raw = plain[:adobe] + jpeg_segment(0xEE, payload) + plain[adobe + 2 + length :]

    assert alike(corners(prepare(raw).data), list(CORNERS))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param(b"", "NOT_A_PICTURE", id="nothing"),
        pytest.param(b"just text", "NOT_A_PICTURE", id="text"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n", "UNSUPPORTED_FORMAT", id="PostScript"),
        pytest.param(b"%PDF-1.7\n", "UNSUPPORTED_FORMAT", id="PDF"),
        pytest.param(b"\xef\xbb\xbf<?xml version='1.0'?><svg/>", "UNSUPPORTED_FORMAT", id="SVG"),
        pytest.param(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "DAMAGED", id="HEIC"),
        pytest.param(b"\xff\x0a\x10\x10", "UNSUPPORTED_FORMAT", id="JPEG XL"),
        pytest.param(b"8BPS\0\x01" + b"\0" * 60, "DAMAGED", id="Photoshop"),
        pytest.param(b"\xff\xd8\xff\xe0 and no more", "DAMAGED", id="a JPEG's start"),
        pytest.param(b"II*\0\xff\xff\xff\xff", "DAMAGED", id="a TIFF that points nowhere"),
        pytest.param(b"GIF89a", "DAMAGED", id="a GIF's start"),
        pytest.param(raw_png((20_000, 20_000), 8, 2, [b""]), "TOO_LARGE", id="a bomb"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(raw: bytes, reason: str) -> None:
    with pytest.raises(Rejected) as refused:
        prepare(raw)

    assert refused.value.reason == reason
    assert 0 < len(refused.value.message) < 400
    assert "\n" not in refused.value.message


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_never_loses_a_good_picture() -> None:
    broken = jpeg_segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f\x01\x02\x03")

    upload = prepare(with_segments(encoded(quarters(), "JPEG", quality=95), broken))

    assert alike(corners(upload.data), list(CORNERS))


def test_a_phones_multi_picture_file_is_sent_as_its_first_picture() -> None:
    first, second = quarters(), Image.new("RGB", (96, 64), (1, 2, 3))
    raw = encoded(first, "MPO", save_all=True, append_images=[second])
    assert raw.count(b"\xff\xd8\xff") >= 2

    upload = prepare(raw)

    assert alike(corners(upload.data), list(CORNERS))
    assert upload.data.count(b"\xff\xd8\xff") == 1


def test_the_size_told_is_the_size_sent() -> None:
    upload = prepare(encoded(quarters((333, 77)), "WEBP"))

    assert (upload.width, upload.height) == Image.open(io.BytesIO(upload.data)).size == (333, 77)


def test_the_same_photo_makes_the_same_upload() -> None:
    raw = encoded(quarters(LARGE), "PNG")

    assert prepare(raw) == prepare(raw)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"]),
    st.integers(0, 100_000),
    st.binary(min_size=1, max_size=12),
)
def test_damage_ends_in_an_upload_or_a_refusal(kind: str, at: int, damage: bytes) -> None:
    raw = DAMAGEABLE[kind]
    at %= len(raw)
    try:
        upload = prepare(raw[:at] + damage + raw[at + len(damage) :])
    except Rejected as refused:
        seen = refused.reason
    else:
        seen = "SENT" if max(opened(upload.data).size) <= MAX_EDGE_PX else "TOO WIDE"
    assert seen in {"SENT", "DAMAGED", "NOT_A_PICTURE", "TOO_LARGE", "UNSUPPORTED_FORMAT"}


DAMAGEABLE = {
    kind: encoded(quarters((40, 30)), kind)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF")
}
