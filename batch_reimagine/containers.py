"""The outer structure of PNG and JPEG files: chunks and segments, without decoding pixels.

Sources: PNG specification (third edition) section 5; ITU-T T.81 annex B.
Every function works on bytes in memory; a broken structure is a ValueError that names the place.
"""

import struct
import zlib
from collections.abc import Iterator

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# What a decoder needs for the right pixels. Everything else is metadata or a thumbnail.
_PNG_KEEP = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"sRGB", b"gAMA", b"cHRM"}

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_JFIF_BYTES, _ADOBE_BYTES = 18, 16  # of their segments, marker and length included
_APP0, _APP14, _APP15, _COM = 0xE0, 0xEE, 0xEF, 0xFE


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, begin, end) of every chunk, whole chunks, CRC checked, up to IEND.

    Raises ValueError when a chunk is cut short, its CRC is wrong, or IEND is missing.
    """
    if not data.startswith(PNG_SIGNATURE):
        raise ValueError("no PNG signature")
    view, at = memoryview(data), len(PNG_SIGNATURE)
    while True:
        if at + 12 > len(data):
            raise ValueError(f"ends within a chunk, at byte {at}")
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if end > len(data):
            raise ValueError(f"ends within a chunk, at byte {at}")
        (crc,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(view[at + 4 : end - 4]) != crc:
            raise ValueError(f"wrong checksum in the chunk at byte {at}")
        kind = data[at + 4 : at + 8]
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, from a PNG's IHDR."""
    if len(data) < 25 or data[12:16] != b"IHDR":  # noqa: PLR2004 - signature, length, type, 2 x 4
        raise ValueError("no IHDR chunk")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def png_bit_depth(data: bytes) -> int:
    """Bits a sample, from a PNG's IHDR: 1 to 16."""
    png_size(data)
    return data[24]


def strip_png(data: bytes) -> bytes:
    """Give the same pixels without metadata: only the chunks that decoding needs."""
    view = memoryview(data)
    kept = [view[begin:end] for kind, begin, end in png_chunks(data) if kind in _PNG_KEEP]
    return b"".join([PNG_SIGNATURE, *kept])


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, begin, end) of each segment before the first scan, then SOS with all the rest.

    Raises ValueError when the structure is broken or no scan follows.
    """
    if data[:2] != b"\xff\xd8":
        raise ValueError("no JPEG signature")
    at = 2
    while True:
        if at + 4 > len(data) or data[at] != 0xFF:  # noqa: PLR2004 - the marker prefix
            raise ValueError(f"no marker at byte {at}")
        marker = data[at + 1]
        if marker == 0xFF:  # noqa: PLR2004 - fill bytes may precede a marker
            at += 1
            continue
        if marker == _SOS:
            yield marker, at, len(data)
            return
        if marker in _STANDALONE or marker == _EOI:
            raise ValueError(f"marker {marker:#x} out of place at byte {at}")
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + length
        if length < 2 or end > len(data):  # noqa: PLR2004 - the length counts itself
            raise ValueError(f"ends within a segment, at byte {at}")
        yield marker, at, end
        at = end


def strip_jpeg(data: bytes) -> bytes:
    """Give the same pixels without metadata: no EXIF, XMP, ICC, comment or thumbnail.

    JFIF (which may hold a thumbnail) is replaced by its minimal form; the Adobe
    segment stays, because it tells how the colours are coded. Bytes after the end
    of the picture, where phones hide further pictures, go too.
    """
    parts = [b"\xff\xd8"]
    for marker, begin, end in jpeg_segments(data):
        if marker == _APP0:
            if data[begin + 4 : begin + 9] == b"JFIF\0" and end - begin >= _JFIF_BYTES:
                density = data[begin + 9 : begin + 16]
                parts.append(b"\xff\xe0\x00\x10JFIF\0" + density + b"\0\0")
        elif marker == _APP14 and data[begin + 4 : begin + 9] == b"Adobe":
            if end - begin >= _ADOBE_BYTES:  # of a longer one only what tells the colours
                parts.append(b"\xff\xee\x00\x0e" + data[begin + 4 : begin + _ADOBE_BYTES])
        elif marker == _SOS:
            parts.append(_scans(data, begin))
        elif not (_APP0 < marker <= _APP15 or marker == _COM):
            parts.append(data[begin:end])
    return b"".join(parts)


def _scans(data: bytes, at: int) -> bytes:
    """All scans from the first SOS to EOI, without comments or application data between them."""
    kept = []
    while True:
        marker = data[at + 1]
        if marker == _EOI:
            kept.append(b"\xff\xd9")
            return b"".join(kept)
        if at + 4 > len(data):
            raise ValueError("ends within a scan")
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + length
        if marker == _SOS:
            end = _entropy_end(data, end)
        if not (_APP0 <= marker <= _APP15 or marker == _COM):
            kept.append(data[at:end])
        at = end
        while data[at : at + 2] == b"\xff\xff":
            at += 1
        if data[at : at + 1] != b"\xff" or at + 2 > len(data):
            raise ValueError("ends within a scan")


def _entropy_end(data: bytes, at: int) -> int:
    """Where coded data ends: the next marker that is neither stuffing nor a restart."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            raise ValueError("ends within a scan")
        follower = data[at + 1]
        if follower == 0 or 0xD0 <= follower <= 0xD7:  # noqa: PLR2004 - stuffing, RST0-RST7
            at += 2
        elif follower == 0xFF:  # noqa: PLR2004 - fill
            at += 1
        else:
            return at
