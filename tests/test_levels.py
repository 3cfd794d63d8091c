"""Deep, float and transparent pixels: scaled and not clipped, clear where they were clear."""

import struct
from itertools import product
from typing import Any

import pytest
from PIL import Image, ImageStat

from batch_reimagine.prepare import prepare
from tests import vips
from tests.pictures import encoded, opened, png_chunk, raw_png, with_chunks
from tests.tiffs import (
    BITS,
    EXTRA,
    FORMAT,
    PHOTOMETRIC,
    SAMPLES,
    Value,
    is_rising,
    psd,
    ramp16,
    tiff,
)

SIZES = [(256, 8), (2048, 16)]
IDS = ["small", "large"]


def levels(data: bytes, band: int = 0) -> list[int]:
    """One band of an upload's middle row, from left to right."""
    picture = opened(data).convert("RGBA")
    row = picture.crop((0, picture.height // 2, picture.width, picture.height // 2 + 1))
    return list(row.getchannel(band).tobytes())


def assert_ramp(data: bytes, band: int = 0) -> None:
    """Black to white in even steps: a clipped one is white early, a wrapped one falls."""
    values = levels(data, band)
    width = len(values)
    assert is_rising(values)
    assert values[0] <= 3
    assert values[-1] >= 252
    for tenth in range(1, 10):
        assert abs(values[width * tenth // 10] - 255 * tenth / 10) <= 3


def png_ramp(size: tuple[int, int], colour: int, step: int) -> bytes:
    row = ramp16((size[0], 1), order=">", step=step)
    return raw_png(size, 16, colour, [row] * size[1])


@pytest.mark.parametrize("size", SIZES, ids=IDS)
@pytest.mark.parametrize(("colour", "step"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_a_png_of_sixteen_bits_is_scaled(colour: int, step: int, size: tuple[int, int]) -> None:
    raw = png_ramp(size, colour, step)

    upload = prepare(raw)

    if colour in {4, 6}:
        assert_ramp(upload.data, band=3)
        assert upload.data.startswith(b"\x89PNG")
    else:
        assert_ramp(upload.data)
    assert vips.difference(vips.look(upload.data), vips.look(raw)) < 1.0


@pytest.mark.parametrize("size", SIZES, ids=IDS)
@pytest.mark.parametrize("order", ["<", ">"], ids=["little end first", "big end first"])
@pytest.mark.parametrize(("photometric", "step"), [(1, 1), (2, 3)], ids=["grey", "colour"])
def test_a_tiff_of_sixteen_bits_is_scaled(
    photometric: int, step: int, order: str, size: tuple[int, int]
) -> None:
    tags: dict[int, Value] = {BITS: [16] * step, PHOTOMETRIC: photometric, SAMPLES: step}
    raw = tiff(size, ramp16(size, order=order, step=step), tags, order=order)

    upload = prepare(raw)

    assert_ramp(upload.data)
    assert vips.difference(vips.look(upload.data), vips.look(raw)) < 1.0


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_a_tiff_that_counts_from_white_is_turned_round(bits: int) -> None:
    size = (256, 8)
    grey = Image.linear_gradient("L").rotate(90).resize(size)
    if bits == 1:
        pixels = grey.convert("1", dither=Image.Dither.NONE).tobytes()
    else:
        pixels = grey.tobytes() if bits == 8 else ramp16(size)
    rising = tiff(size, pixels, {BITS: bits, PHOTOMETRIC: 1, SAMPLES: 1})
    falling = tiff(size, pixels, {BITS: bits, PHOTOMETRIC: 0, SAMPLES: 1})

    plain, turned = prepare(rising).data, prepare(falling).data

    assert all(
        abs(one + other - 255) <= 3
        for one, other in zip(levels(plain), levels(turned), strict=True)
    )
    assert levels(plain)[0] != levels(plain)[-1]
    assert vips.difference(vips.look(turned), vips.look(falling)) < 1.0


def test_a_tiff_of_twelve_bits_is_scaled_by_its_own_white() -> None:
    width = 256
    row = [round(x * 4095 / (width - 1)) for x in range(width)]
    packed = b"".join(
        ((one << 12) | other).to_bytes(3, "big")
        for one, other in zip(row[::2], row[1::2], strict=True)
    )

    assert_ramp(prepare(tiff((width, 8), packed * 8, {BITS: 12, PHOTOMETRIC: 1, SAMPLES: 1})).data)


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
@pytest.mark.parametrize("size", SIZES, ids=IDS)
def test_a_float_tiff_is_scaled_by_the_white_it_holds(size: tuple[int, int], white: float) -> None:
    row = struct.pack(f"<{size[0]}f", *(white * x / (size[0] - 1) for x in range(size[0])))
    tags = {BITS: 32, PHOTOMETRIC: 1, SAMPLES: 1, FORMAT: 3}

    assert_ramp(prepare(tiff(size, row * size[1], tags)).data)


@pytest.mark.parametrize(
    "odd", [float("nan"), float("inf"), -float("inf")], ids=["nan", "inf", "minus inf"]
)
def test_a_float_tiff_with_a_value_that_is_none_ends_in_an_upload(odd: float) -> None:
    row = struct.pack("<64f", *([odd] + [x / 63 for x in range(1, 64)]))
    tags = {BITS: 32, PHOTOMETRIC: 1, SAMPLES: 1, FORMAT: 3}

    values = levels(prepare(tiff((64, 8), row * 8, tags)).data)

    assert values[-1] >= 250
    assert abs(values[32] - 130) <= 6


@pytest.mark.parametrize("size", SIZES, ids=IDS)
def test_a_jpeg_2000_of_sixteen_bits_is_scaled(size: tuple[int, int]) -> None:
    deep = Image.frombytes("I;16", size, ramp16(size))

    assert_ramp(prepare(encoded(deep, "JPEG2000", irreversible=False)).data)


@pytest.mark.parametrize("size", SIZES, ids=IDS)
@pytest.mark.parametrize("mode", [1, 3])
def test_a_photoshop_file_of_sixteen_bits_is_scaled(mode: int, size: tuple[int, int]) -> None:
    plane = ramp16(size, order=">")

    assert_ramp(prepare(psd(size, [plane] * mode, depth=16, mode=mode)).data)


# Colour type and depth → two pixel values, and the tRNS chunk that makes the first clear.
KEYED = {
    (0, 8): ([b"\x40", b"\xc0"], struct.pack(">H", 0x40)),
    (0, 16): ([b"\x40\x41", b"\x40\x42"], struct.pack(">H", 0x4041)),
    (2, 8): ([b"\x40\x50\x60", b"\xc0\x50\x60"], struct.pack(">3H", 0x40, 0x50, 0x60)),
    (2, 16): (
        [struct.pack(">3H", 0x4041, 0x5051, 0x6061), struct.pack(">3H", 0xC0C1, 0x5051, 0x6061)],
        struct.pack(">3H", 0x4041, 0x5051, 0x6061),
    ),
    (3, 8): ([b"\0", b"\1"], b"\0"),
}


@pytest.mark.parametrize("wide", [8, 1100], ids=IDS)
@pytest.mark.parametrize(("colour", "depth"), KEYED)
def test_the_transparent_colour_of_a_png_and_no_other_is_clear(
    colour: int, depth: int, wide: int
) -> None:
    (clear, solid), key = KEYED[colour, depth]
    palette = png_chunk(b"PLTE", b"\x40\x50\x60\xc0\x50\x60") if colour == 3 else b""
    row = clear * wide + solid * wide
    raw = with_chunks(
        raw_png((2 * wide, 16), depth, colour, [row] * 16), palette, png_chunk(b"tRNS", key)
    )

    upload = prepare(raw)

    alpha = levels(upload.data, band=3)
    assert alpha[: len(alpha) // 2 - 2] == [0] * (len(alpha) // 2 - 2)
    assert alpha[len(alpha) // 2 + 2 :] == [255] * (len(alpha) // 2 - 2)
    assert vips.difference(vips.look(upload.data), vips.look(raw)) < 1.0


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF", "JPEG2000"])
def test_shrinking_leaves_no_dark_fringe(kind: str) -> None:
    """Clear pixels are black underneath; if they bled, the edge would be darker than the ball."""
    size = (2400, 1800)
    picture = Image.new("RGBA", size, (0, 0, 0, 0))
    for column, line in product(range(0, size[0], 40), range(0, size[1], 40)):
        picture.paste((240, 200, 160, 255), (column, line, column + 19, line + 19))
    options: dict[str, dict[str, Any]] = {
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
        "WEBP": {"lossless": True},
    }

    sent = opened(prepare(encoded(picture, kind, **options.get(kind, {}))).data)

    assert sent.mode == "RGBA"
    edge = sent.getchannel("A").point(lambda value: 255 * (40 < value < 215))
    assert ImageStat.Stat(edge).sum[0] > 0, "there are edges to look at"
    for band, wanted in zip("RGB", (240, 200, 160), strict=True):
        assert abs(ImageStat.Stat(sent.getchannel(band), edge).mean[0] - wanted) <= 6


@pytest.mark.parametrize("extra", [1, 2], ids=["multiplied in", "on its own"])
def test_a_tiff_says_how_its_alpha_is_stored(extra: int) -> None:
    pixel = (120, 90, 60, 128) if extra == 1 else (240, 180, 120, 128)
    tags: dict[int, Value] = {BITS: [8] * 4, SAMPLES: 4, EXTRA: [extra]}

    sent = opened(prepare(tiff((24, 16), bytes(pixel) * 24 * 16, tags)).data)

    assert sent.mode == "RGBA"
    seen = sent.getpixel((12, 8))
    assert isinstance(seen, tuple)
    assert all(
        abs(value - wanted) <= 3 for value, wanted in zip(seen, (240, 180, 120, 128), strict=True)
    )
