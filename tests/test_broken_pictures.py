"""What is damaged in its pixels is refused; trouble in metadata alone never loses a picture."""

import struct
import zlib

import pytest
from PIL import Image

from batch_reimagine.errors import Rejected
from batch_reimagine.prepare import prepare
from tests.pictures import (
    encoded,
    jpeg_segment,
    noisy,
    opened,
    png_chunk,
    with_chunks,
    with_segments,
)
from tests.profiles import adobe_rgb
from tests.stills import MOVING, SIZE, STILLS, same_picture
from tests.tiffs import ICC, XMP, psd, tiff

DAMAGED = {"DAMAGED", "NOT_A_PICTURE"}  # of a file cut in its signature nobody knows what it was


def refusal(raw: bytes) -> str:
    """The reason of a refusal, or "sent"."""
    try:
        prepare(raw)
    except Rejected as refused:
        reason, message = refused.reason, refused.message
    else:
        return "sent"
    assert 0 < len(message) < 400
    assert "\n" not in message
    return reason


def end_of(raw: bytes, whole: bytes) -> str:
    """As `refusal`; but "changed" if what is sent looks other than the whole file's upload."""
    if (reason := refusal(raw)) != "sent":
        return reason
    return "sent" if same_picture(prepare(raw).data, prepare(whole).data) else "changed"


@pytest.mark.parametrize("kind", STILLS | MOVING)
def test_the_whole_picture_is_sent(kind: str) -> None:
    assert refusal((STILLS | MOVING)[kind]) == "sent"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", STILLS)
def test_a_picture_that_was_cut_is_refused(kind: str, share: float) -> None:
    raw = STILLS[kind]
    kept = min(int(len(raw) * share), len(raw) - 40)  # more than what ends a PNG

    assert refusal(raw[:kept]) in DAMAGED


@pytest.mark.parametrize("missing", [1, 2, 3, 10])
@pytest.mark.parametrize("kind", STILLS)
def test_a_picture_that_lacks_its_last_bytes_is_refused_or_sent_whole(
    kind: str, missing: int
) -> None:
    """Some formats end with bytes that no pixel needs; then the picture must be the same."""
    raw = STILLS[kind]

    assert end_of(raw[:-missing], raw) in {*DAMAGED, "sent"}


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", MOVING)
def test_of_a_cut_animation_the_first_frame_is_sent_whole_or_not_at_all(
    kind: str, share: float
) -> None:
    raw = MOVING[kind]

    assert end_of(raw[: int(len(raw) * share)], raw) in {*DAMAGED, "sent"}


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_flipped_bit_in_a_pngs_pixels_is_refused(mode: str, level: int) -> None:
    raw = encoded(noisy(SIZE).convert(mode), "PNG", compress_level=level)
    first = raw.index(b"IDAT") + 4

    for at in range(first, len(raw) - 16, (len(raw) - 16 - first) // 23):
        flipped = raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :]
        assert refusal(flipped) == "DAMAGED", f"byte {at}"


@pytest.mark.parametrize("part", [b"IHDR", b"PLTE", b"tRNS"])
def test_a_wrong_checksum_of_what_pixels_need_is_refused(part: bytes) -> None:
    raw = encoded(noisy(SIZE).quantize(16), "PNG", transparency=3)
    at = raw.index(part)
    end = at + 4 + struct.unpack_from(">I", raw, at - 4)[0]

    assert refusal(raw[:end] + b"\0\1\2\3" + raw[end + 4 :]) == "DAMAGED"


def test_a_heic_of_a_foreign_brand_is_refused_in_one_line() -> None:
    raw = STILLS["HEIC"]
    assert raw[4:12] == b"ftypheic"

    assert refusal(raw[:16] + b"xxxxyyyyzzzz" + raw[28:]) in {"DAMAGED", "UNSUPPORTED_FORMAT"}


def absurd_exif() -> dict[str, bytes]:
    """EXIF blocks (as they follow "Exif\\0\\0") that send a reader astray."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)  # an IFD within itself
    loop = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + entry + struct.pack("<I", 8)
    return {
        "nothing": b"",
        "noise": bytes(range(256)) * 4,
        "offset out of the file": b"II*\0\xff\xff\xff\x7f\1\2\3",
        "offset into itself": loop,
        "65535 entries": b"MM\0*\0\0\0\x08\xff\xff" + b"\0\1" * 40,
        "a string of 4 GB": b"II*\0\x08\0\0\0\1\0\x0e\1\2\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0",
        "an orientation of text": b"II*\0\x08\0\0\0\1\0\x12\1\2\0\4\0\0\0abc\0\0\0\0\0",
        "an orientation of no values": b"II*\0\x08\0\0\0\1\0\x12\1\3\0\0\0\0\0\0\0\0\0\0\0\0\0",
        "an orientation by zero": b"II*\0\x08\0\0\0\1\0\x12\1\5\0\1\0\0\0\x1a\0\0\0\0\0\0\0"
        + bytes(8),
    }


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("exif", absurd_exif())
def test_absurd_exif_loses_no_picture(exif: str, kind: str) -> None:
    block = absurd_exif()[exif]
    plain = encoded(noisy(SIZE), kind)
    if kind == "JPEG":
        raw = with_segments(plain, jpeg_segment(0xE1, b"Exif\0\0" + block))
    elif kind == "PNG":
        raw = with_chunks(plain, png_chunk(b"eXIf", block))
    else:  # the encoders read what they are given: so it is put in their place afterwards
        block = block.ljust(40, b"\0")
        harmless = b"II*\0\x08\0\0\0\0\0".ljust(len(block), b"\x7f")
        plain = encoded(noisy(SIZE), kind, exif=b"Exif\0\0" + harmless)
        assert plain.count(harmless) == 1
        raw = plain.replace(harmless, block)

    assert same_picture(prepare(raw).data, prepare(plain).data)


# 300 kB that want to be 300 MB: after a full flush the same piece may follow itself.
_SQUEEZE = zlib.compressobj(9, wbits=-15)
_PIECE = _SQUEEZE.compress(bytes(3_000_000)) + _SQUEEZE.flush(zlib.Z_FULL_FLUSH)
_SUM_OF_ZEROS = (300_000_000 % 65_521) << 16 | 1  # RFC 1950, section 8.2
BOMB = b"\x78\xda" + _PIECE * 100 + b"\x03\0" + _SUM_OF_ZEROS.to_bytes(4, "big")

BAD_SEGMENTS = {
    "broken XMP": (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta <<<&&& \xff\xfe\0"),
    "XMP of entities": (
        0xE1,
        b"http://ns.adobe.com/xap/1.0/\0<!DOCTYPE a [<!ENTITY b 'bb'><!ENTITY c '&b;&b;'>]>&c;",
    ),
    "broken profile": (0xE2, b"ICC_PROFILE\0\1\1 not a profile"),
    "profile in parts that are missing": (0xE2, b"ICC_PROFILE\0\2\5" + adobe_rgb()[:100]),
    "bad multi-picture index": (0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
    "multi-picture index of noise": (0xE2, b"MPF\0" + bytes(range(200))),
    "short multi-picture index": (0xE2, b"MPF\0MM\0*\0\0\0\x08\0\3\xb0\0"),
    "broken Photoshop resources": (0xED, b"Photoshop 3.0\x008BIM\x03\xed\xff\xff\xff\xff\xff\xff"),
    "short JFIF": (0xE0, b"JFIF\0\1"),
    "short Adobe": (0xEE, b"Adobe"),
}


@pytest.mark.parametrize("name", BAD_SEGMENTS)
def test_a_bad_segment_loses_no_jpeg(name: str) -> None:
    plain = STILLS["JPEG"]
    raw = with_segments(plain, jpeg_segment(*BAD_SEGMENTS[name]))

    assert same_picture(prepare(raw).data, plain)


BAD_CHUNKS = {
    "text bomb": png_chunk(b"zTXt", b"Comment\0\0" + BOMB),
    "international text bomb": png_chunk(b"iTXt", b"Comment\0\1\0\0\0" + BOMB),
    "profile bomb": png_chunk(b"iCCP", b"profile\0\0" + BOMB),
    "64 MB of text": b"".join(png_chunk(b"tEXt", b"K%d\0" % n + b"x" * 900_000) for n in range(75)),
    "broken deflate stream": png_chunk(b"zTXt", b"Comment\0\0 nothing of the kind"),
    "bad checksum": png_chunk(b"tEXt", b"Comment\0hello")[:-4] + b"\0\0\0\0",
    "bad checksum of EXIF": png_chunk(b"eXIf", b"II*\0\x08\0\0\0")[:-4] + b"\0\0\0\0",
    "bad checksum of a profile": png_chunk(b"iCCP", b"p\0\0")[:-4] + b"\0\0\0\0",
    "short pHYs": png_chunk(b"pHYs", b"\0"),
    "short gAMA": png_chunk(b"gAMA", b"\0"),
    "short cHRM": png_chunk(b"cHRM", b"\0\0\0"),
    "empty sRGB": png_chunk(b"sRGB", b""),
    "empty tIME": png_chunk(b"tIME", b""),
    "broken XMP": png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<<<&"),
    "bad animation control": png_chunk(b"acTL", b"\0"),
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
@pytest.mark.parametrize("at_end", [False, True], ids=["before the pixels", "behind the pixels"])
def test_a_bad_chunk_loses_no_png(name: str, *, at_end: bool) -> None:
    plain = STILLS["PNG"]
    raw = with_chunks(plain, BAD_CHUNKS[name], at_end=at_end)

    assert same_picture(prepare(raw).data, plain)


@pytest.mark.parametrize("tag", [XMP, ICC, 33723, 34377, 37500, 50341, 65000])
def test_noise_in_a_tiffs_tag_loses_no_picture(tag: int) -> None:
    picture = noisy(SIZE)

    sent = opened(prepare(tiff(SIZE, picture.tobytes(), {tag: bytes(range(256))})).data)

    assert same_picture(encoded(sent, "PNG"), prepare(encoded(picture, "TIFF")).data)


@pytest.mark.parametrize("number", [1028, 1036, 1039, 1058, 1060])
def test_noise_in_a_photoshop_resource_loses_no_picture(number: int) -> None:
    planes = [band.tobytes() for band in noisy(SIZE).split()]

    sent = prepare(psd(SIZE, planes, resources={number: b"\xff" * 40})).data

    assert same_picture(sent, prepare(psd(SIZE, planes)).data)


def test_a_broken_second_picture_loses_no_mpo() -> None:
    raw = MOVING["MPO"]
    second = raw.index(b"\xff\xd8\xff", 4)
    broken = raw[: second + 40] + Image.new("L", (50, 50)).tobytes()

    assert same_picture(prepare(broken).data, prepare(raw).data)
