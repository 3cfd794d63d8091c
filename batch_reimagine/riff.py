"""The outer structure of WebP files: RIFF chunks, without decoding pixels.

Sources: RFC 9649 (WebP) sections 2 and 3; RFC 6386 (VP8) section 9.1.
Every function works on bytes in memory; a broken structure is a ValueError that names the place.
"""

import struct
from collections.abc import Iterator

HEADER_BYTES = 12  #: "RIFF", its size, "WEBP"

#: Flags of a VP8X header that are read or set here.
ALPHA_FLAG, XMP_FLAG = 0x10, 0x04

_VP8X_BYTES = 10
_VP8_START = b"\x9d\x01\x2a"
_VP8L_SIGNATURE = 0x2F
_MOST = 2**32 - 10  # of a RIFF's size field


def riff_end(data: bytes) -> int:
    """Where the WebP ends; what follows is no part of it.

    Raises ValueError when data is no WebP, or ends before its header says.
    """
    if len(data) < HEADER_BYTES or data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise ValueError("no WebP signature")
    (size,) = struct.unpack_from("<I", data, 4)
    end = 8 + size
    if not HEADER_BYTES <= end <= len(data):
        raise ValueError(f"a WebP of {end} bytes in {len(data)} bytes")
    return int(end)


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, begin, end) of every chunk, header and padding included.

    Raises ValueError when a chunk is cut short.
    """
    at, last = HEADER_BYTES, riff_end(data)
    while at < last:
        if at + 8 > last:
            raise ValueError(f"ends within a chunk, at byte {at}")
        (length,) = struct.unpack_from("<I", data, at + 4)
        end = at + 8 + length + length % 2
        if end > last:
            raise ValueError(f"ends within a chunk, at byte {at}")
        yield data[at : at + 4], at, end
        at = end


def payload(data: bytes, begin: int) -> bytes:
    """The content of the chunk at begin, without its padding. Raises ValueError for none."""
    if begin + 8 > len(data):
        raise ValueError(f"no chunk at byte {begin}")
    (length,) = struct.unpack_from("<I", data, begin + 4)
    return data[begin + 8 : begin + 8 + length]


def chunk(kind: bytes, content: bytes) -> bytes:
    """A whole chunk, padded to an even number of bytes."""
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def webp(chunks: list[bytes]) -> bytes:
    """A whole WebP of whole chunks. Raises ValueError when they are too large for one."""
    size = 4 + sum(map(len, chunks))
    if size > _MOST:
        raise ValueError("too large for a WebP")
    return b"".join([b"RIFF", struct.pack("<I", size), b"WEBP", *chunks])


def with_xmp_flag(vp8x: bytes) -> bytes:
    """The same VP8X chunk, saying that the file holds XMP. Raises ValueError for a broken one."""
    if len(vp8x) != 8 + _VP8X_BYTES:
        raise ValueError("a VP8X chunk of a wrong size")
    return vp8x[:8] + bytes([vp8x[8] | XMP_FLAG]) + vp8x[9:]


def vp8x_for(kind: bytes, bitstream: bytes) -> bytes:
    """The VP8X chunk, without flags but alpha, that a file of one such bitstream lacks.

    kind: b"VP8 " or b"VP8L". Raises ValueError for another, or a broken header of the bitstream.
    """
    read = {b"VP8 ": _vp8, b"VP8L": _vp8l}.get(kind)
    if read is None:
        raise ValueError("a WebP that does not begin with a picture")
    width, height, alpha = read(bitstream)
    if not width or not height:
        raise ValueError(f"a picture of {width} x {height} pixels")
    flags = ALPHA_FLAG if alpha else 0
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return chunk(b"VP8X", struct.pack("<I", flags) + canvas)


def _vp8(bitstream: bytes) -> tuple[int, int, bool]:
    if len(bitstream) < _VP8X_BYTES or bitstream[0] & 1 or bitstream[3:6] != _VP8_START:
        raise ValueError("no VP8 key frame")
    width, height = struct.unpack_from("<HH", bitstream, 6)
    return width & 0x3FFF, height & 0x3FFF, False  # the top two bits ask for scaling


def _vp8l(bitstream: bytes) -> tuple[int, int, bool]:
    if len(bitstream) < 5 or bitstream[0] != _VP8L_SIGNATURE:  # noqa: PLR2004 - and 32 bits
        raise ValueError("no VP8L signature")
    (bits,) = struct.unpack_from("<I", bitstream, 1)
    if bits >> 29:
        raise ValueError("a VP8L of an unknown version")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
