"""What an upload is made of, read by code of the tests' own.

Sources: ITU-T T.81 annex B (JPEG markers) and annex K (tables), PNG third edition section 5.
"""

import struct
import zlib
from dataclasses import dataclass

SOF, DHT, SOS, DQT, EOI = (0xC0, 0xC1, 0xC2), 0xC4, 0xDA, 0xDB, 0xD9

# What an upload may consist of. JFIF and Adobe tell how colours are coded; others tell of people.
JPEG_MAY_HOLD = frozenset({0xC0, 0xC1, 0xC2, DHT, SOS, DQT, 0xDD, 0xE0, 0xEE})
# A chunk's type → its longest payload. IDAT is looked at on its own.
PNG_MAY_HOLD = {
    b"IHDR": 13, b"PLTE": 768, b"tRNS": 256, b"IEND": 0, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32,
}  # fmt: skip

# T.81 table K.1, luminance, row by row.
LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Segment:
    """A JPEG's marker segment; after SOS with the coded data that follows it."""

    marker: int
    payload: bytes
    coded: bytes = b""


def jpeg_parts(data: bytes) -> list[Segment]:
    """Every segment from SOI to EOI; AssertionError when there is anything besides."""
    assert data[:2] == b"\xff\xd8"
    parts, at = [], 2
    while data[at : at + 2] != b"\xff\xd9":
        assert data[at] == 0xFF, f"no marker at {at}"
        marker = data[at + 1]
        (length,) = struct.unpack_from(">H", data, at + 2)
        payload, at = data[at + 4 : at + 2 + length], at + 2 + length
        begin = at
        while marker == SOS and not (data[at] == 0xFF and data[at + 1] not in _WITHIN_SCAN):
            at += 1
        parts.append(Segment(marker, payload, data[begin:at]))
    assert at + 2 == len(data), "nothing follows the end"
    return parts


# Stuffing, restarts and fill bytes.
_WITHIN_SCAN = {0, *range(0xD0, 0xD8), 0xFF}


def png_parts(data: bytes) -> list[tuple[bytes, bytes]]:
    """Every chunk's type and payload; AssertionError for a wrong CRC or anything after IEND."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    parts, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, payload = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (crc,) = struct.unpack_from(">I", data, at + 8 + length)
        assert zlib.crc32(kind + payload) == crc
        parts.append((kind, payload))
        at += 12 + length
    assert parts[-1] == (b"IEND", b"")
    return parts


def pixel_parts(data: bytes) -> list[object]:
    """All that the pixels depend on, in order: equal lists decode to equal pixels."""
    if data.startswith(b"\x89PNG"):
        chunks = png_parts(data)
        idat = b"".join(payload for kind, payload in chunks if kind == b"IDAT")
        return [idat, *(part for part in chunks if part[0] in {b"IHDR", b"PLTE", b"tRNS"})]
    kept = {*SOF, DHT, SOS, DQT, 0xDD, 0xEE}
    return [part for part in jpeg_parts(data) if part.marker in kept]


def assert_anonymous(data: bytes) -> None:
    """Nothing but what decoding needs: a short list of segments or chunks."""
    if data.startswith(b"\x89PNG"):
        seen: set[bytes] = set()
        stream = zlib.decompressobj()
        for kind, payload in png_parts(data):
            if kind == b"IDAT":
                stream.decompress(payload)
                continue
            assert kind not in seen
            assert len(payload) <= PNG_MAY_HOLD.get(kind, -1), f"{kind!r} of {len(payload)} bytes"
            seen.add(kind)
        assert stream.eof
        assert stream.unused_data == b"", "nothing hides behind the pixels"
        return
    parts = jpeg_parts(data)
    for part in parts:
        assert part.marker in JPEG_MAY_HOLD, f"a segment FF{part.marker:02X}"
        if part.marker == 0xE0:  # JFIF without a thumbnail
            assert part.payload[:5] == b"JFIF\0"
            assert part.payload[12:] == b"\0\0"
        elif part.marker == 0xEE:
            assert part.payload[:5] == b"Adobe"
            assert len(part.payload) == 12


def sampling(data: bytes) -> list[int]:
    """Horizontal and vertical sampling factors of a JPEG's components, as one byte each."""
    (frame,) = (part.payload for part in jpeg_parts(data) if part.marker in SOF)
    return [frame[7 + 3 * n] for n in range(frame[5])]


def luminance_table(data: bytes) -> list[int]:
    """A JPEG's quantisation table 0, in the zigzag order of the file."""
    for part in jpeg_parts(data):
        if part.marker == DQT and part.payload[0] == 0:
            return list(part.payload[1:65])
    raise AssertionError("no table 0")


def table_at_quality(quality: int) -> list[int]:
    """The luminance table as the Independent JPEG Group scales it, quality 50 to 100; zigzag."""
    scale = 200 - 2 * quality
    scaled = [max(1, (value * scale + 50) // 100) for value in LUMINANCE]
    order = sorted(
        range(64),
        key=lambda n: (n // 8 + n % 8, n // 8 if (n // 8 + n % 8) % 2 else n % 8),
    )
    return [scaled[n] for n in order]
