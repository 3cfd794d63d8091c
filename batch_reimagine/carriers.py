"""Where PNG, JPEG and WebP keep an XMP packet and Content Credentials.

Sources: ISO 16684-3 (XMP specification part 3) for JPEG and PNG; RFC 9649 section 2.7 for WebP;
C2PA Technical Specification 2.4 annex A.3 for Content Credentials; ISO 19566-5 annex D for
the boxes in JPEG; CIPA DC-007 for the Multi-Picture index.
Every function works on bytes in memory; a broken structure is a ValueError that names the place.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from batch_reimagine import containers, riff, xmp
from batch_reimagine.kinds import HEAD_BYTES, kind_of

MOST_IN_JPEG = 65_502  #: bytes of a packet in a JPEG

_PNG_KEYWORD = b"XML:com.adobe.xmp\0"
_NO_LANGUAGE = b"\0\0"  # and no translated keyword: XMP in a PNG has neither
_PNG_TEXTS = {b"iTXt", b"tEXt", b"zTXt"}

_APP0, _APP1, _APP2, _APP11 = 0xE0, 0xE1, 0xE2, 0xEB
_LOWEST_MARKER = 0xC0  # with a length; those below are reserved
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_C2PA_STORE = bytes.fromhex(
    "63327061 0011 0010 8000 00AA00389B71"
)  # JUMBF type of a manifest store

# What stands before XMP in a WebP that has a VP8X header; without one, nothing but one picture.
_WEBP_ORDERED = {b"ICCP", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L", b"EXIF"}


@dataclass(frozen=True, slots=True)
class Carrier:
    """What a picture's file carries beside its pixels, and how it takes another packet."""

    credentials: bool  #: whether it holds a C2PA manifest store
    seen: bool  #: False: its XMP is written so that common readers pass it over
    take: Callable[[], bytes | None]  #: its XMP packet, or None; ValueError if broken or two
    put: Callable[
        [bytes], bytes
    ]  #: the same file with this packet; ValueError if it cannot hold it


def carrier_of(data: bytes) -> Carrier:
    """Open a PNG, JPEG or WebP.

    PNG checksums are not computed, but that of the packet, and pixels are not looked at:
    whether the picture is complete is another question.
    Raises ValueError for another format or a broken structure.
    """
    kind = kind_of(data[:HEAD_BYTES])
    if kind == "PNG":
        return _png(data)
    if kind == "JPEG":
        return _jpeg(data)
    if kind == "WEBP":
        return _webp(data)
    raise ValueError(f"{kind or 'not a picture'}, where PNG, JPEG or WebP was expected")


class _Places:
    """Where a file holds XMP: there may be one packet only."""

    def __init__(self) -> None:
        self._place: tuple[int, int] | None = None
        self._two = False

    def add(self, begin: int, end: int) -> None:
        self._two = self._place is not None
        self._place = (begin, end)

    def one(self) -> tuple[int, int] | None:
        if self._two:
            raise ValueError("two XMP packets")
        return self._place


def _png(data: bytes) -> Carrier:
    places, credentials, first, seen = _Places(), False, 0, True
    for kind, begin, end in containers.png_chunks(data, check_crc=False):
        if not first:
            containers.png_size(data)
            first = end
        if kind in _PNG_TEXTS and data.startswith(_PNG_KEYWORD, begin + 8):
            places.add(begin, end)
            seen = data.startswith(_NO_LANGUAGE, begin + 10 + len(_PNG_KEYWORD))
        credentials |= kind == b"caBX"

    def take() -> bytes | None:
        place = places.one()
        return _png_text(data[slice(*place)]) if place else None

    def put(packet: bytes) -> bytes:
        # Before the pixels, as readers like it, and before all else, where none has to search.
        begin, end = places.one() or (first, first)
        content = b"iTXt" + _PNG_KEYWORD + b"\0\0" + _NO_LANGUAGE + packet
        crc = struct.pack(">I", zlib.crc32(content))
        length = struct.pack(">I", len(content) - 4)
        return b"".join([data[:begin], length, content, crc, data[end:]])

    return Carrier(credentials, seen, take, put)


def _png_text(chunk: bytes) -> bytes:
    """The text of a whole iTXt chunk that holds XMP."""
    if chunk[4:8] != b"iTXt":
        raise ValueError(f"an XMP packet in a {chunk[4:8].decode()} chunk")
    if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        raise ValueError("wrong checksum in the XMP chunk")
    content = chunk[8 + len(_PNG_KEYWORD) : -4]
    if content[:2] not in (b"\0\0", b"\1\0"):  # plain, or by zlib
        raise ValueError("an XMP chunk in a form that no specification knows")
    at = content.index(b"\0", content.index(b"\0", 2) + 1) + 1
    return _inflated(content[at:]) if content[0] else content[at:]


def _inflated(text: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        packet = stream.decompress(text, xmp.MAX_BYTES + 1)
    except zlib.error as error:
        raise ValueError(f"an XMP chunk that does not inflate: {error}") from None
    if not stream.eof or stream.unused_data:
        raise ValueError("an XMP chunk that is cut short, too large, or goes on after its end")
    return packet


def _jpeg(data: bytes) -> Carrier:
    places, credentials, head_end, in_head, index = _Places(), False, 2, True, False
    for marker, begin, end in containers.jpeg_segments(data):
        if marker < _LOWEST_MARKER:
            raise ValueError(f"marker {marker:#x} out of place at byte {begin}")
        exif = marker == _APP1 and data.startswith(b"Exif\0", begin + 4)
        in_head = in_head and (marker == _APP0 or exif)
        if in_head:
            head_end = end
        if marker == _APP1 and data.startswith(_JPEG_XMP, begin + 4):
            places.add(begin, end)
        index |= marker == _APP2 and data.startswith(b"MPF\0", begin + 4)
        credentials |= marker == _APP11 and _is_store(data[begin + 4 : end])

    def take() -> bytes | None:
        place = places.one()
        return data[place[0] + 4 + len(_JPEG_XMP) : place[1]] if place else None

    def put(packet: bytes) -> bytes:
        if index:
            raise ValueError("a JPEG with a Multi-Picture index, whose sizes would be wrong")
        if len(packet) > MOST_IN_JPEG:
            raise ValueError(f"an XMP packet of {len(packet)} bytes, too long for a JPEG")
        begin, end = places.one() or (head_end, head_end)
        content = _JPEG_XMP + packet
        length = struct.pack(">H", len(content) + 2)
        return b"".join([data[:begin], b"\xff\xe1", length, content, data[end:]])

    return Carrier(credentials, seen=True, take=take, put=put)


def _is_store(content: bytes) -> bool:
    """Whether an APP11 segment begins a C2PA manifest store, and no other JUMBF box.

    Layout: "JP", box instance (2 bytes), sequence number (4), then the box: length (4), "jumb",
    a longer length (8) if the first is 1, and its description: length (4), "jumd", type (16).
    """
    if content[:2] != b"JP" or content[12:16] != b"jumb":
        return False
    at = 24 if content[8:12] == b"\0\0\0\1" else 16
    return content[at + 4 : at + 24] == b"jumd" + _C2PA_STORE


def _webp(data: bytes) -> Carrier:
    places, credentials, first, first_end, last = _Places(), False, b"", 0, 0
    for kind, begin, end in riff.webp_chunks(data):
        in_order = kind in _WEBP_ORDERED
        if not first:
            first, first_end, last = kind, end, end
        elif kind == b"VP8X" or (in_order and first != b"VP8X"):
            raise ValueError(f"a {kind.decode()} chunk out of place at byte {begin}")
        if in_order:
            last = end
        if kind == b"XMP ":
            places.add(begin, end)
        credentials |= kind == b"C2PA"
    if first == b"VP8X":
        header, body = data[riff.HEADER_BYTES : first_end], first_end
    else:
        header = riff.vp8x_for(first, riff.payload(data, riff.HEADER_BYTES))
        body = riff.HEADER_BYTES
    announced = riff.with_xmp_flag(header)

    def take() -> bytes | None:
        place = places.one()
        return riff.payload(data, place[0]) if place else None

    def put(packet: bytes) -> bytes:
        # After pixels and EXIF, which is the order of RFC 9649, and before what others added.
        begin, end = places.one() or (last, last)
        stop = riff.riff_end(data)
        parts = [announced, data[body:begin], riff.chunk(b"XMP ", packet), data[end:stop]]
        return riff.webp(parts) + data[stop:]

    return Carrier(credentials, first == b"VP8X" and announced == header, take, put)
