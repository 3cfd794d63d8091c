"""The outer structure of PNG and JPEG files: chunks and segments, without decoding pixels.

Sources: PNG specification (third edition) section 5; ITU-T T.81 annex B.
Every function works on bytes in memory; a broken structure is a ValueError that names the place.
"""

import re
import struct
import zlib
from collections.abc import Iterator

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# What a decoder needs for the pixels. Everything else is metadata or a thumbnail.
_PNG_KEEP = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# Section 8.1: first column and row, and their steps, of each pass of an interlaced picture.
_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
_ADAM7 += [(0, 1, 1, 2)]

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
# Frame headers, tables, restart interval. Decoders pass over any other marker, reserved ones too,
# and so anything can hide behind it.
_JPEG_NEEDED = frozenset({*range(0xC0, 0xD0), 0xDB, 0xDD}) - {0xC8}
_FILL = re.compile(rb"\xff+(?=\xff)")
# Not stuffing, a restart (RST0-RST7) or fill: the end of coded data.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JFIF_BYTES, _ADOBE_BYTES = 18, 16  # of their segments, marker and length included
_APP0, _APP14 = 0xE0, 0xEE


def png_chunks(data: bytes, *, check_crc: bool = True) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, begin, end) of every chunk, whole chunks, CRC checked, up to IEND.

    check_crc: False for data that was proven before; the walk then reads the headers only.
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
        if check_crc:
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
    """Give the same pixels without metadata: only the chunks that decoding needs.

    Raises ValueError as `png_chunks`, and when the pixel data holds more than the pixels:
    what was cropped away may still lie there.
    """
    view = memoryview(data)
    found = [place for place in png_chunks(data) if place[0] in _PNG_KEEP]
    stream = zlib.decompressobj()
    left = _png_raw_bytes(data)
    for kind, begin, end in found:
        if kind == b"IDAT" and left >= 0:
            left -= len(stream.decompress(view[begin + 8 : end - 4], left + 1))
    if left or not stream.eof or stream.unused_data or stream.unconsumed_tail:
        raise ValueError("the pixel data holds more, or less, than the pixels")
    return b"".join([PNG_SIGNATURE, *(view[begin:end] for _, begin, end in found)])


def _png_raw_bytes(data: bytes) -> int:
    """How long the pixel data is when it is inflated: filter bytes and rows of all passes."""
    width, height = png_size(data)
    bits = data[24] * _PNG_CHANNELS.get(data[25], 0)
    total = 0
    for column, row, across, down in _ADAM7 if data[28] else [(0, 0, 1, 1)]:
        columns, rows = -(-(width - column) // across), -(-(height - row) // down)
        if columns > 0:
            total += max(0, rows) * (1 + -(-columns * bits // 8))
    return total


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
            at = _past_fill(data, at)
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
        elif marker in _JPEG_NEEDED:
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
        if marker == _SOS or marker in _JPEG_NEEDED:
            kept.append(data[at:end])
        at = _past_fill(data, end)
        if data[at : at + 1] != b"\xff" or at + 2 > len(data):
            raise ValueError("ends within a scan")


def _past_fill(data: bytes, at: int) -> int:
    found = _FILL.match(data, at)
    return found.end() if found else at


def _entropy_end(data: bytes, at: int) -> int:
    """Where coded data ends: the next marker that is neither stuffing nor a restart."""
    found = _MARKER.search(data, at)
    if found is None:
        raise ValueError("ends within a scan")
    return found.start()
