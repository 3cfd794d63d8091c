"""A file that cannot take a mark losslessly is refused, and told why."""

import struct
import zlib

import pytest

from batch_reimagine.mark import Mark, embed, is_marked
from tests.marked import (
    JPEG_ID,
    PACKET,
    PLAIN,
    WITH_XMP,
    after_jfif,
    itxt,
    packet_of,
    pixels,
)
from tests.pictures import encoded, jpeg_segment, opened, png_chunk, with_chunks

MARK = Mark("Tool 1.0", "System")
SMALL = zlib.compress(PACKET)


def text(kind: bytes, content: bytes) -> bytes:
    return with_chunks(PLAIN["PNG"], png_chunk(kind, b"XML:com.adobe.xmp\0" + content))


def webp(*chunks: bytes, of: str = "WebP, lossy") -> bytes:
    """A WebP with chunks put in before its end."""
    whole = PLAIN[of][12:] + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(whole)) + b"WEBP" + whole


def altered(name: str, at: int, new: bytes) -> bytes:
    return PLAIN[name][:at] + new + PLAIN[name][at + len(new) :]


VP8, VP8L, VP8X = "WebP, lossy", "WebP, lossless", "WebP, EXIF only"  # their streams begin at 20
REFUSED = {
    "two packets in a PNG": (with_chunks(PLAIN["PNG"], itxt(PACKET), itxt(PACKET)), "two XMP"),
    "two packets in a JPEG": (
        after_jfif(WITH_XMP["JPEG"], jpeg_segment(0xE1, JPEG_ID + PACKET)),
        "two XMP",
    ),
    "two packets in a WebP": (
        webp(*[b"XMP " + struct.pack("<I", len(PACKET)) + PACKET] * 2, of=VP8X),
        "two XMP",
    ),
    "malformed XMP": (with_chunks(PLAIN["PNG"], itxt(PACKET[:300])), "malformed XMP"),
    "an empty packet": (with_chunks(PLAIN["PNG"], itxt(b"")), "malformed XMP"),
    "a packet in a tEXt chunk": (text(b"tEXt", PACKET), "in a tEXt chunk"),
    "a packet in a zTXt chunk": (text(b"zTXt", b"\0" + SMALL), "in a zTXt chunk"),
    "an unknown compression": (text(b"iTXt", b"\1\1\0\0" + SMALL), "no specification"),
    "an unknown flag": (text(b"iTXt", b"\2\0\0\0" + SMALL), "no specification"),
    "an iTXt chunk without a text": (text(b"iTXt", b"\0\0\0"), "not found"),
    "a compressed packet, cut": (text(b"iTXt", b"\1\0\0\0" + SMALL[:-4]), "cut short"),
    "a compressed packet and more": (text(b"iTXt", b"\1\0\0\0" + SMALL + b"?"), "after its end"),
    "a compressed packet, damaged": (text(b"iTXt", b"\1\0\0\0" + b"?" + SMALL), "not inflate"),
    "a Multi-Picture index": (
        after_jfif(PLAIN["JPEG"], jpeg_segment(0xE2, b"MPF\0MM\0*")),
        "Multi-Picture",
    ),
    "a reserved marker": (after_jfif(PLAIN["JPEG"], jpeg_segment(0x02, b"")), "out of place"),
    "a WebP with a second picture": (webp(PLAIN[VP8][12:]), "VP8  chunk out of place"),
    "a simple WebP with EXIF": (webp(b"EXIF\2\0\0\0MM"), "EXIF chunk out of place"),
    "a WebP with two headers": (webp(PLAIN[VP8X][12:30], of=VP8X), "VP8X chunk out of place"),
    "a WebP with a longer header": (
        b"RIFF\x18\0\0\0WEBPVP8X\x0c\0\0\0" + b"\0" * 12,
        "wrong size",
    ),
    "a WebP of no picture": (altered(VP8, 12, b"VP9 "), "does not begin with a picture"),
    "a WebP of nothing": (b"RIFF\4\0\0\0WEBP", "no chunk"),
    "VP8, no key frame": (altered(VP8, 20, bytes([PLAIN[VP8][20] | 1])), "no VP8 key frame"),
    "VP8, no start code": (altered(VP8, 23, b"???"), "no VP8 key frame"),
    "VP8 of no width": (altered(VP8, 26, b"\0\0"), "of 0 x 64 pixels"),
    "VP8L without its signature": (altered(VP8L, 20, b"?"), "no VP8L signature"),
    "VP8L of another version": (altered(VP8L, 24, b"\xff"), "unknown version"),
    "a cut PNG": (PLAIN["PNG"][:-5], "ends within a chunk"),
    "a cut JPEG": (PLAIN["JPEG"][:100], "ends within a segment"),
    "a cut WebP": (PLAIN[VP8][:-5], "a WebP of"),
    "a WebP with a cut chunk": (webp(b"abcd\x0a\0\0\0"), "ends within a chunk"),
    "a WebP with a cut chunk header": (webp(b"abcd"), "ends within a chunk"),
    "a WebP without the last padding": (
        webp(b"abcd\1\0\0\0x", of=VP8X),
        "ends within a chunk",
    ),
    "a GIF": (encoded(opened(PLAIN["PNG"]), "GIF"), "GIF, where"),
    "plain text": (b"no picture at all", "not a picture"),
    "nothing": (b"", "not a picture"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_marked_losslessly_is_refused_with_the_reason(
    data: bytes, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        embed(data, MARK)
    assert not is_marked(data)


def test_scaling_that_a_vp8_header_asks_for_is_no_part_of_its_size() -> None:
    width = struct.unpack_from("<H", PLAIN[VP8], 26)[0]
    marked = embed(altered(VP8, 26, struct.pack("<H", width | 0x4000)), MARK)

    assert int.from_bytes(marked[24:27], "little") + 1 == width


def test_what_a_jpeg_may_hold_at_most_is_held_and_one_byte_more_is_refused() -> None:
    def padded(size: int) -> bytes:
        room = size - len(PACKET) - (len(packet_of(embed(WITH_XMP["JPEG"], MARK))) - len(PACKET))
        packet = PACKET.replace(b"\n<?xpacket end", b"\n" + b" " * room + b"<?xpacket end")
        return after_jfif(PLAIN["JPEG"], jpeg_segment(0xE1, JPEG_ID + packet))

    marked = embed(padded(65_502), MARK)
    assert len(packet_of(marked)) == 65_502
    assert pixels(marked) == pixels(PLAIN["JPEG"])
    with pytest.raises(ValueError, match="65503 bytes, too long"):
        embed(padded(65_503), MARK)


def test_a_packet_with_a_wrong_checksum_is_refused_instead_of_made_right() -> None:
    plain = WITH_XMP["PNG"]
    at = plain.index(b"Editor")

    with pytest.raises(ValueError, match="checksum"):
        embed(plain[:at] + b"eDITOR" + plain[at + 6 :], MARK)
