"""A picture is believed only when it is complete to its last byte."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from batch_reimagine.proof import IncompleteError, prove
from tests.pictures import (
    animation,
    encoded,
    exif_with_secrets,
    noisy,
    png_chunk,
    quarters,
    with_chunks,
)

SMALL = noisy((48, 32))
WHOLE = {
    "PNG": encoded(SMALL, "PNG"),
    "PNG with alpha": encoded(SMALL.convert("RGBA"), "PNG"),
    "JPEG": encoded(SMALL, "JPEG"),
    "progressive JPEG": encoded(SMALL, "JPEG", progressive=True),
    "JPEG with EXIF": encoded(SMALL, "JPEG", exif=exif_with_secrets()),
    "grey JPEG": encoded(SMALL.convert("L"), "JPEG"),
    "WebP": encoded(SMALL, "WEBP"),
    "lossless WebP": encoded(SMALL, "WEBP", lossless=True),
    "WebP with alpha": encoded(SMALL.convert("RGBA"), "WEBP"),
    "WebP with EXIF behind": encoded(SMALL, "WEBP", exif=exif_with_secrets()),
}
TYPES = {"P": "png", "J": "jpeg", "W": "webp"}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_picture_is_given_back_as_it_is(name: str) -> None:
    picture = prove(WHOLE[name])

    kind = "webp" if "WebP" in name else "png" if "PNG" in name else "jpeg"
    assert (picture.data, picture.type) == (WHOLE[name], kind)
    assert (picture.width, picture.height) == (48, 32)


@pytest.mark.parametrize("name", WHOLE)
def test_every_part_of_a_picture_is_refused(name: str) -> None:
    data = WHOLE[name]
    cuts = {*range(40), *range(40, len(data) - 40, 7), *range(len(data) - 40, len(data))}

    believed = []
    for cut in sorted(cut for cut in cuts if 0 <= cut < len(data)):
        try:
            prove(data[:cut])
        except IncompleteError:
            continue
        believed.append(cut)

    assert believed == [], f"of {len(data)} bytes"


def test_every_part_of_an_animated_webp_is_refused() -> None:
    data = animation("WEBP")
    prove(data)

    for cut in range(len(data)):
        with pytest.raises(IncompleteError):
            prove(data[:cut])


@pytest.mark.parametrize("name", ["PNG", "PNG with alpha"])
def test_a_png_with_any_one_byte_changed_is_refused(name: str) -> None:
    data = WHOLE[name]

    for at in range(0, len(data), 1 if len(data) < 2000 else 3):
        with pytest.raises(IncompleteError):
            prove(data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :])


@settings(max_examples=200)
@given(st.data())
def test_a_png_with_a_hole_is_refused(data: st.DataObject) -> None:
    whole = WHOLE["PNG"]
    begin = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(begin + 1, len(whole)))

    with pytest.raises(IncompleteError):
        prove(whole[:begin] + whole[end:])


@pytest.mark.parametrize("name", ["JPEG", "progressive JPEG", "lossless WebP"])
def test_a_picture_whose_second_half_is_zeros_is_refused(name: str) -> None:
    whole = WHOLE[name]
    half = len(whole) // 2

    with pytest.raises(IncompleteError):
        prove(whole[:half] + bytes(len(whole) - half))


@pytest.mark.parametrize("padding", [1, 60, 300, 5000])
def test_a_complete_jpeg_is_believed_whatever_follows_its_end(padding: int) -> None:
    assert prove(WHOLE["JPEG"] + bytes(padding)).type == "jpeg"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>502 Bad Gateway</html>", id="a page"),
        pytest.param(b'{"code": 500}', id="an error in JSON"),
        pytest.param(encoded(SMALL, "GIF"), id="a GIF"),
        pytest.param(encoded(SMALL, "TIFF"), id="a TIFF"),
        pytest.param(encoded(SMALL, "BMP"), id="a BMP"),
        pytest.param(encoded(SMALL, "AVIF"), id="an AVIF"),
    ],
)
def test_what_the_service_does_not_make_is_refused(data: bytes) -> None:
    with pytest.raises(IncompleteError):
        prove(data)


def test_a_png_without_pixels_is_refused() -> None:
    header, end = WHOLE["PNG"][:33], png_chunk(b"IEND", b"")

    with pytest.raises(IncompleteError):
        prove(header + end)


@pytest.mark.parametrize(
    "size",
    [
        pytest.param((0, 10), id="no width"),
        pytest.param((100_000, 100_000), id="a bomb"),
        pytest.param((2**31, 1), id="a line of two thousand million pixels"),
    ],
)
def test_a_png_of_impossible_size_is_refused_unread(size: tuple[int, int]) -> None:
    header = size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big") + b"\x08\x02\0\0\0"
    rest = WHOLE["PNG"][33:]

    with pytest.raises(IncompleteError, match="pixels"):
        prove(WHOLE["PNG"][:8] + png_chunk(b"IHDR", header) + rest)


def test_a_jpeg_bomb_is_refused_before_it_is_decoded() -> None:
    data = bytearray(encoded(quarters(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"

    with pytest.raises(IncompleteError, match="pixels"):
        prove(bytes(data))


def test_the_type_is_told_by_the_bytes() -> None:
    assert prove(encoded(SMALL, "WEBP")).type == "webp"


def test_further_chunks_of_a_png_are_kept_as_they_came() -> None:
    marked = with_chunks(WHOLE["PNG"], png_chunk(b"caBX", b"content credentials"))

    assert prove(marked).data == marked


@settings(max_examples=150)
@given(st.sampled_from(sorted(WHOLE)), st.integers(0, 5000), st.binary(min_size=1, max_size=16))
def test_damage_ends_in_a_picture_or_an_incomplete_error(name: str, at: int, damage: bytes) -> None:
    data = WHOLE[name]
    at %= len(data)
    try:
        picture = prove(data[:at] + damage + data[at + len(damage) :])
    except IncompleteError:
        return
    assert picture.width * picture.height > 0


def test_proving_leaves_no_global_switch_of_pillow_behind() -> None:
    from PIL import ImageFile  # noqa: PLC0415 - the module's state is what is looked at

    prove(WHOLE["JPEG"])

    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert Image.open is not None
