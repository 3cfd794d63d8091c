"""A good picture with broken metadata: the same file with only what decoding needs.

Pillow gives a whole picture up over one bad text chunk, segment or item.
"""

import zlib
from collections.abc import Iterator

from batch_reimagine import containers

_PNG_NEEDED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG_WANTED = frozenset({b"eXIf", b"iCCP"})  # which way is up, and what the colours mean
_SHORTEST_ADOBE = 16  # bytes of the segment
_JPEG_EXIF, _JPEG_ICC, _JPEG_ADOBE, _JPEG_COMMENT = 0xE1, 0xE2, 0xEE, 0xFE


def without_metadata(raw: bytes, kind: str) -> Iterator[bytes]:
    """Yield the file with less and less of what is not needed for its pixels.

    Nothing if there is nothing to try, or if it is the pixels that are broken.
    """
    try:
        if kind == "PNG":
            yield _png(raw, _PNG_NEEDED | _PNG_WANTED)
            yield _png(raw, _PNG_NEEDED)
        elif kind == "JPEG":
            yield _jpeg(raw)
        elif kind in {"AVIF", "HEIC"}:
            yield _isobmff(raw)
    except ValueError:
        return


def _isobmff(raw: bytes) -> bytes:
    """The same boxes with the items of EXIF renamed: one of an unknown type is passed over."""
    at = raw.find(b"meta")
    end = at + int.from_bytes(raw[at - 4 : at], "big")
    if at < 0 or raw.find(b"Exif", at, end) < 0:
        raise ValueError("no EXIF to take out")
    return raw[:at] + raw[at:end].replace(b"Exif", b"skip") + raw[end:]


def _png(raw: bytes, kept: frozenset[bytes]) -> bytes:
    parts, at = [containers.PNG_SIGNATURE], len(containers.PNG_SIGNATURE)
    while at + 12 <= len(raw):
        end = at + 12 + int.from_bytes(raw[at : at + 4], "big")
        name, chunk = raw[at + 4 : at + 8], raw[at:end]
        sound = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
        if name in _PNG_NEEDED and not sound:
            raise ValueError(f"wrong checksum in the chunk at byte {at}")
        if name in kept and sound:
            parts.append(chunk)
        if name == b"IEND":
            return b"".join(parts)
        at = end
    raise ValueError("no IEND chunk")


def _jpeg(raw: bytes) -> bytes:
    parts = [b"\xff\xd8"]
    for marker, begin, end in containers.jpeg_segments(raw):
        told = raw[begin + 4 : begin + 16]
        wanted = (
            (marker == _JPEG_EXIF and told.startswith(b"Exif\0"))
            or (marker == _JPEG_ICC and told.startswith(b"ICC_PROFILE\0"))
            or (marker == _JPEG_ADOBE and end - begin >= _SHORTEST_ADOBE)
        )
        if wanted or not (0xE0 <= marker <= 0xEF or marker == _JPEG_COMMENT):  # noqa: PLR2004
            parts.append(raw[begin:end])
    return b"".join(parts)
