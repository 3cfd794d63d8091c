"""Colours arrive as the file means them: compared with libvips' reading through ICC.

Thresholds are means of 255 over a 32 x 32 thumbnail (tests/vips.py). A right reading was measured
to differ by 0.0 to 0.52 (JPEG at quality 95, rounding, lossy AVIF and HEIC); a profile left out
costs this picture 9 (Display P3), 10 (Adobe RGB), 28 (ProPhoto), 38 (swapped) or 12 to 48 (grey).
"""

import struct
from typing import Any

import pytest
from PIL import Image

from batch_reimagine.prepare import prepare
from tests import gallery, profiles, vips
from tests.pictures import (
    CORNERS,
    alike,
    corners,
    encoded,
    noisy,
    opened,
    quarters,
    srgb_profile,
    swapped_profile,
)
from tests.readings import oracle_of, upload_of
from tests.samples_fetch import Sample
from tests.tiffs import COMPRESSION, ICC, PHOTOMETRIC, SAMPLES, psd, tiff

CLOSE = 1.0
WITH_PROFILE = ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"]
PROFILES = {
    "Adobe RGB": profiles.adobe_rgb(),
    "Display P3": profiles.display_p3(),
    "ProPhoto": profiles.prophoto(),
    "red and green swapped": swapped_profile(),
}


@pytest.fixture(scope="module", autouse=True)
def _heif() -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()


def colourful(size: tuple[int, int] = (128, 96)) -> Image.Image:
    """Every hue at many depths, none of it out of sRGB by much."""
    red = Image.linear_gradient("L").resize(size)
    green = Image.linear_gradient("L").rotate(90).resize(size)
    blue = Image.radial_gradient("L").resize(size)
    return Image.merge("RGB", (red, green, blue)).point(lambda value: 40 + value * 170 // 255)


def lossless(kind: str) -> dict[str, Any]:
    """Options by which a format loses little, so that only colour management can differ."""
    near: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 95, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 95, "subsampling": "4:4:4"},
        "HEIF": {"quality": 95, "chroma": 444},
    }
    return near.get(kind, {})


def differs(raw: bytes, *, like: bytes | None = None) -> float:
    """How far the upload lies from the oracle's reading of raw, or of another file."""
    theirs = vips.look(like or raw)
    return vips.difference(vips.look(prepare(raw).data), theirs)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", WITH_PROFILE)
def test_an_embedded_profile_is_converted_to_srgb(kind: str, profile: str) -> None:
    icc = PROFILES[profile]
    raw = encoded(colourful(), kind, icc_profile=icc, **lossless(kind))

    assert differs(raw) < CLOSE
    left_out = encoded(colourful(), "PNG")
    assert differs(left_out, like=raw) > 4, "the profile matters to this picture"


@pytest.mark.parametrize("profile", PROFILES)
def test_a_large_photo_keeps_its_colours_too(profile: str) -> None:
    size = (1500, 1100)
    raw = encoded(colourful(size), "JPEG", quality=95, icc_profile=PROFILES[profile])

    assert differs(raw) < CLOSE


def test_transparent_colours_go_through_the_profile_too() -> None:
    picture = colourful().convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    raw = encoded(picture, "PNG", icc_profile=profiles.prophoto())

    assert differs(raw) < CLOSE


def test_a_palette_goes_through_the_profile_too() -> None:
    raw = encoded(colourful().quantize(64), "PNG", icc_profile=profiles.prophoto())

    assert differs(raw) < CLOSE


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("gamma", [1.0, 1.8])
def test_grey_goes_through_a_grey_profile(kind: str, gamma: float) -> None:
    grey = Image.linear_gradient("L")
    raw = encoded(grey, kind, icc_profile=profiles.grey(gamma), **lossless(kind))

    assert differs(raw) < CLOSE
    assert differs(encoded(grey, "PNG"), like=raw) > 4, "the profile matters to this picture"


@pytest.mark.parametrize("mode", ["LA", "1"])
def test_a_grey_profile_holds_for_grey_of_any_kind(mode: str) -> None:
    picture = Image.linear_gradient("L").convert(mode)
    raw = encoded(picture, "PNG", icc_profile=profiles.grey(1.0))

    assert differs(raw) < CLOSE


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_read_by_its_own_profile(kind: str) -> None:
    inks = colourful().convert("CMYK")
    raw = encoded(inks, kind, icc_profile=profiles.odd_inks(), **lossless(kind))

    assert differs(raw) < CLOSE
    assert differs(encoded(inks, kind, **lossless(kind)), like=raw) > 30


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_read_by_a_printers_profile(kind: str) -> None:
    inks = colourful().convert("CMYK")
    raw = encoded(inks, kind, icc_profile=vips.built_in_profile("cmyk"), **lossless(kind))

    assert differs(raw) < CLOSE


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_without_a_profile_looks_like_print(kind: str) -> None:
    raw = encoded(colourful().convert("CMYK"), kind, **lossless(kind))

    # Two printing conditions, theirs and ours, lie 14.3 apart in colours as full as these.
    assert differs(raw) < 16


@pytest.mark.parametrize(
    ("inks", "colour"),
    [
        pytest.param((255, 0, 0, 0), (0, 158, 227), id="cyan"),
        pytest.param((0, 255, 0, 0), (230, 0, 126), id="magenta"),
        pytest.param((0, 0, 255, 0), (255, 237, 0), id="yellow"),
        pytest.param((0, 0, 0, 0), (255, 255, 255), id="paper"),
    ],
)
def test_an_ink_without_a_profile_has_the_colour_of_coated_offset(
    inks: tuple[int, ...], colour: tuple[int, int, int]
) -> None:
    """The solids of ISO 12647-2:2004/Amd 1, paper type 1, as sRGB shows them."""
    sent = opened(prepare(encoded(Image.new("CMYK", (16, 16), inks), "TIFF")).data)

    assert alike([sent.getpixel((8, 8))], [colour], within=12)


def test_black_in_print_is_black_on_screen() -> None:
    inks = Image.new("CMYK", (16, 16), (255, 255, 255, 255))
    inks.paste((0, 0, 0, 0), (8, 0, 16, 16))

    sent = opened(prepare(encoded(inks, "TIFF")).data).convert("L")

    assert sent.getpixel((3, 8)) <= 6  # type: ignore[operator]
    assert sent.getpixel((12, 8)) >= 250  # type: ignore[operator]


def test_a_photoshop_file_goes_through_its_profile() -> None:
    picture = colourful((64, 48))
    planes = [band.tobytes() for band in picture.split()]
    icc = profiles.prophoto()
    same = encoded(picture, "PNG", icc_profile=icc)

    assert differs(psd(picture.size, planes, resources={1039: icc}), like=same) < CLOSE


def test_a_jpeg_2000_goes_through_its_profile() -> None:
    plain = encoded(colourful(), "JPEG2000", irreversible=False)
    icc = profiles.prophoto()
    at = plain.index(b"colr") - 4
    size = int.from_bytes(plain[at : at + 4], "big")
    box = (11 + len(icc)).to_bytes(4, "big") + b"colr\x02\0\0" + icc
    head = plain.index(b"jp2h") - 4
    longer = int.from_bytes(plain[head : head + 4], "big") + len(box) - size
    raw = plain[:head] + longer.to_bytes(4, "big") + plain[head + 4 : at] + box + plain[at + size :]

    assert differs(raw, like=encoded(colourful(), "PNG", icc_profile=icc)) < CLOSE


def as_srgb(light: float, a: float, b: float) -> tuple[int, ...]:
    """CIE Lab (D50) as sRGB, by the formulas of CIE 15 and IEC 61966-2-1."""

    def cube(value: float) -> float:
        return value**3 if value > 6 / 29 else 3 * (6 / 29) ** 2 * (value - 4 / 29)

    level = (light + 16) / 116
    x, y, z = 0.9642 * cube(level + a / 500), cube(level), 0.8249 * cube(level - b / 200)
    linear = (
        3.13386 * x - 1.61687 * y - 0.49062 * z,  # D50 to D65 by Bradford, then to primaries
        -0.97877 * x + 1.91614 * y + 0.03345 * z,
        0.07194 * x - 0.22899 * y + 1.40524 * z,
    )
    curved = (
        12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in map(abs, linear)
    )
    return tuple(min(255, round(255 * value)) for value in curved)


@pytest.mark.parametrize("lab", [(60, 20, 30), (40, -30, 20), (75, 5, -25), (50, 0, 0)])
def test_lab_arrives_in_its_colours(lab: tuple[int, int, int]) -> None:
    pixel = bytes([round(lab[0] * 2.55), lab[1] & 255, lab[2] & 255])

    upload = prepare(tiff((20, 12), pixel * 240, {PHOTOMETRIC: 8, SAMPLES: 3}))

    assert alike([opened(upload.data).getpixel((10, 6))], [as_srgb(*lab)], within=5)


@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(b"no profile at all", id="nonsense"),
        pytest.param(b"\0" * 128, id="an empty header"),
        pytest.param(profiles.adobe_rgb()[:200], id="cut short"),
        pytest.param(
            profiles.adobe_rgb()[:128] + b"\xff\xff\xff\xff" + profiles.adobe_rgb()[132:],
            id="four billion tags",
        ),
        pytest.param(profiles.grey(1.0), id="of grey"),
        pytest.param(profiles.odd_inks(), id="of CMYK"),
    ],
)
@pytest.mark.parametrize("kind", WITH_PROFILE)
def test_a_profile_that_cannot_be_meant_is_ignored(kind: str, profile: bytes) -> None:
    raw = encoded(quarters(), kind, icc_profile=profile, **lossless(kind))

    assert alike(corners(prepare(raw).data), list(CORNERS), within=6)


@pytest.mark.parametrize("profile", [b"nonsense", srgb_profile()], ids=["nonsense", "of RGB"])
def test_cmyk_with_a_useless_profile_is_read_as_without_one(profile: bytes) -> None:
    inks = colourful().convert("CMYK")
    without = encoded(inks, "TIFF")
    raw = encoded(inks, "TIFF", icc_profile=profile)

    assert prepare(raw).data == prepare(without).data


def test_a_camera_that_says_adobe_rgb_in_its_exif_is_believed() -> None:
    """EXIF's interoperability index R03, without a profile: how cameras write their JPEGs."""
    inner, interop = 26, 56
    exif = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x8769, 4, 1, inner, 0)
    exif += struct.pack("<HHHII", 2, 0xA001, 3, 1, 0xFFFF)  # uncalibrated
    exif += struct.pack("<HHIII", 0xA005, 4, 1, interop, 0)
    exif += struct.pack("<HHHI4sI", 1, 1, 2, 4, b"R03\0", 0)
    raw = encoded(colourful(), "JPEG", exif=b"Exif\0\0" + exif, **lossless("JPEG"))
    same = encoded(colourful(), "PNG", icc_profile=profiles.adobe_rgb())

    assert differs(raw, like=same) < CLOSE


def test_a_tiffs_profile_is_found_when_it_is_compressed_as_jpeg() -> None:
    raw = encoded(colourful(), "TIFF", compression="jpeg", icc_profile=profiles.prophoto())
    assert opened(raw).tag_v2[COMPRESSION] == 7  # type: ignore[attr-defined]
    assert ICC in opened(raw).tag_v2  # type: ignore[attr-defined]

    assert differs(raw) < CLOSE


def test_detail_survives_as_well_as_colour() -> None:
    assert differs(encoded(noisy((400, 300)), "PNG", icc_profile=profiles.display_p3())) < CLOSE


@pytest.mark.parametrize(
    "sample", [s for s in gallery.SENT if s.differs is not None], ids=gallery.name_of
)
def test_a_sample_has_the_colours_that_the_oracle_sees(sample: Sample) -> None:
    assert sample.differs is not None

    mine = vips.look(upload_of(sample.name).data)

    assert vips.difference(mine, oracle_of(sample)) <= sample.differs
