"""Every format that a photographer has: sent within the service's limits, or refused with a reason.

Samples are real files of other projects (tests/samples.toml); what is made here is what they lack.
"""

import io
import struct
import zlib

import pytest
from PIL import Image

from batch_reimagine.errors import Rejected
from batch_reimagine.prepare import MAX_EDGE_PX, MAX_UPLOAD_BYTES, prepare
from tests import gallery
from tests.anatomy import (
    assert_anonymous,
    luminance_table,
    pixel_parts,
    sampling,
    table_at_quality,
)
from tests.pictures import animation, encoded, noisy, opened, png_chunk, quarters
from tests.readings import upload_of
from tests.samples_fetch import Sample
from tests.tiffs import DNG_VERSION, MAKE, PHOTOMETRIC, SUB_IFDS, SUBFILE, Value, tiff

KINDS = ["JPEG", "MPO", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "ICO", "JPEG2000", "HEIF"]


@pytest.fixture(scope="module", autouse=True)
def _heif() -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()


@pytest.mark.parametrize("sample", gallery.SENT, ids=gallery.name_of)
def test_a_good_sample_is_sent_within_the_limits_and_anonymous(sample: Sample) -> None:
    upload = upload_of(sample.name)

    sent = opened(upload.data)
    assert sent.format in {"JPEG", "PNG"}
    assert sent.mode in {"RGB", "L"} or sent.format == "PNG"
    assert sent.size == (upload.width, upload.height)
    assert max(sent.size) <= MAX_EDGE_PX
    assert len(upload.data) <= MAX_UPLOAD_BYTES
    assert_anonymous(upload.data)


@pytest.mark.parametrize("sample", gallery.REFUSED, ids=gallery.name_of)
def test_a_bad_sample_is_refused_with_a_reason(
    sample: Sample, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = gallery.read(sample.name)

    with pytest.raises(Rejected) as refused:
        prepare(raw)

    assert refused.value.reason == sample.refused
    assert 10 < len(refused.value.message) < 400
    assert "\n" not in refused.value.message
    assert capfd.readouterr() == ("", ""), "a reason is a row, and no line on the screen"


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (1023, 700), (1024, 1024), (700, 1024)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_fits_is_never_enlarged_or_shrunk(kind: str, size: tuple[int, int]) -> None:
    if kind == "ICO":
        size = (min(size[0], 256), min(size[1], 256))
    raw = encoded(quarters(size), kind, **({"sizes": [size]} if kind == "ICO" else {}))

    assert opened(prepare(raw).data).size == Image.open(io.BytesIO(raw)).size == size


@pytest.mark.parametrize(
    "size", [(1025, 1025), (1025, 300), (5000, 1), (1, 5000), (4000, 3), (2999, 1777), (1777, 2999)]
)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ICO"])
def test_a_large_picture_keeps_its_aspect_to_within_a_pixel(
    kind: str, size: tuple[int, int]
) -> None:
    if kind == "HEIF" and min(size) == 1:
        pytest.skip("the HEVC encoder makes no picture that thin")
    upload = prepare(encoded(quarters(size), kind))

    scale = MAX_EDGE_PX / max(size)
    assert max(upload.width, upload.height) == MAX_EDGE_PX
    assert abs(upload.width - max(1, size[0] * scale)) <= 1
    assert abs(upload.height - max(1, size[1] * scale)) <= 1
    assert min(upload.width, upload.height) >= 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "JPEG"])
def test_an_opaque_picture_becomes_a_jpeg_of_quality_95_with_full_colour(kind: str) -> None:
    size = (256, 200) if kind == "ICO" else (1400, 900)
    picture = noisy(size)
    upload = prepare(encoded(picture.quantize(200) if kind == "GIF" else picture, kind))
    if upload.data.startswith(b"\x89PNG"):
        assert kind == "ICO", "an icon's mask may leave corners clear"
        return

    assert luminance_table(upload.data) == table_at_quality(95)
    assert sampling(upload.data) == [0x11, 0x11, 0x11]


def test_the_table_of_another_quality_would_be_seen() -> None:
    worse = encoded(noisy(), "JPEG", quality=94)

    assert luminance_table(worse) == table_at_quality(94) != table_at_quality(95)
    assert sampling(worse) != [0x11, 0x11, 0x11]


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("how", ["baseline", "progressive", "optimised", "restarts"])
def test_a_jpeg_that_fits_is_not_coded_again(how: str, mode: str) -> None:
    options = {"progressive": how == "progressive", "optimize": how == "optimised"}
    if how == "restarts":
        options["restart_marker_rows"] = True
    raw = encoded(noisy((640, 480)).convert(mode), "JPEG", quality=71, **options)

    upload = prepare(raw)

    assert pixel_parts(upload.data) == pixel_parts(raw)
    assert_anonymous(upload.data)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1"])
def test_a_png_that_fits_is_not_coded_again(mode: str) -> None:
    raw = encoded(noisy((640, 480)).convert(mode), "PNG", compress_level=1)

    upload = prepare(raw)

    assert pixel_parts(upload.data) == pixel_parts(raw)
    assert_anonymous(upload.data)


@pytest.mark.parametrize(
    "name", ["hopper.jpg", "flower2.jpg", "iptc.jpg", "app13-multiple.jpg", "exif.png"]
)
def test_a_sample_that_fits_is_not_coded_again(name: str) -> None:
    raw = gallery.read(name)
    end = len(raw) if name.endswith("png") else raw.rindex(b"\xff\xd9") + 2

    assert pixel_parts(upload_of(name).data) == pixel_parts(raw[:end])


def test_a_small_picture_in_a_file_too_large_for_the_service_is_coded_anew() -> None:
    """Both files are whole, and mostly air: fill bytes, and stored blocks of nothing."""
    jpeg = encoded(noisy(), "JPEG")
    padded = jpeg[:-2] + b"\xff" * 31_000_000 + jpeg[-2:]
    rows = b"".join(b"\0" + bytes(30) for _ in range(10))
    stored = b"\x01" + struct.pack("<HH", len(rows), len(rows) ^ 0xFFFF) + rows
    air = b"\0\0\0\xff\xff" * 6_200_000
    stream = b"\x78\x01" + air + stored + struct.pack(">I", zlib.adler32(rows))
    png = encoded(Image.new("RGB", (10, 10)), "PNG")
    head, end = png[:33], png[-12:]
    airy = head + png_chunk(b"IDAT", stream) + end
    assert len(padded) > MAX_UPLOAD_BYTES < len(airy)

    for raw in (padded, airy):
        upload = prepare(raw)
        assert len(upload.data) < 20_000
        assert upload.data[:2] == b"\xff\xd8"


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "AVIF", "HEIF", "TIFF"])
def test_of_many_pictures_the_first_is_sent_and_the_row_says_so(kind: str) -> None:
    upload = prepare(animation(kind, 5))

    assert upload.note == ("page 1 of 5" if kind == "TIFF" else "first of 5 frames")
    red, green, blue = opened(upload.data).convert("RGB").getpixel((12, 8))  # type: ignore[misc]
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("iss634.apng", "first of 41 frames"),
        ("iss634.webp", "first of 42 frames"),
        ("avif/star.avifs", "first of 5 frames"),
        ("multipage.tiff", "page 1 of 3"),
        ("frozenpond.mpo", None),
        ("hopper.psd", None),
        ("python.ico", None),
        ("heif_other/pug.heic", None),
    ],
)
def test_a_sample_of_many_pictures_is_noted(name: str, note: str | None) -> None:
    assert upload_of(name).note == note


RAWS: dict[str, tuple[dict[int, Value], bytes]] = {
    "DNG": ({DNG_VERSION: (1, 4, 0, 0), SUBFILE: 1, SUB_IFDS: 8}, b""),
    "DNG whose first picture is the sensor's": ({DNG_VERSION: (1, 4, 0, 0)}, b""),
    "NEF": ({SUBFILE: 1, MAKE: b"NIKON CORPORATION\0", SUB_IFDS: [8, 8]}, b""),
    "CR2": ({MAKE: b"Canon\0"}, b"CR\x02\0\0\0\0\0"),
    "sensor data": ({PHOTOMETRIC: 32803, 277: 1, 258: 8}, b""),
}


@pytest.mark.parametrize("name", RAWS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_camera_raw_in_a_tiffs_clothes_is_refused_not_sent_as_its_preview(
    name: str, order: str
) -> None:
    tags, head = RAWS[name]
    raw = tiff((64, 48), noisy((64, 48)).tobytes(), tags, order=order, head=head)

    with pytest.raises(Rejected) as refused:
        prepare(raw)

    assert refused.value.reason == "UNSUPPORTED_FORMAT"
    assert "raw" in refused.value.message or name == "sensor data"


def test_a_plain_tiff_of_the_same_build_is_no_camera_raw() -> None:
    raw = tiff((64, 48), noisy((64, 48)).tobytes(), {MAKE: b"Canon\0"})

    assert prepare(raw).width == 64
