"""TIFF and PSD files of any layout; Pillow itself writes only some.

Sources: TIFF 6.0 (Adobe, 1992); Adobe Photoshop File Formats Specification (2019).
"""

import struct
from collections.abc import Mapping, Sequence
from itertools import pairwise

Value = int | bytes | Sequence[int]

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
ORIENTATION, SAMPLES, EXTRA, FORMAT, ICC, XMP = 274, 277, 338, 339, 34675, 700
SUBFILE, SUB_IFDS, DNG_VERSION, MAKE = 254, 330, 50706, 271
_STRIP_AT, _ROWS, _STRIP_BYTES = 273, 278, 279
_BYTES, _ASCII, _SHORT, _LONG, _UNDEFINED = 1, 2, 3, 4, 7
_ASCII_TAGS = frozenset({270, MAKE, 272, 305, 306, 315, 316, 33432})
_LONG_TAGS = frozenset({WIDTH, LENGTH, _STRIP_AT, _ROWS, _STRIP_BYTES, SUB_IFDS, 34665, 34853})


def tiff(
    size: tuple[int, int],
    pixels: bytes,
    tags: Mapping[int, Value] | None = None,
    *,
    order: str = "<",
    head: bytes = b"",
) -> bytes:
    """A one-strip TIFF; tags: what differs from 8 bit RGB; head: what follows the header."""
    entries: dict[int, Value] = {
        WIDTH: size[0], LENGTH: size[1], BITS: [8, 8, 8], COMPRESSION: 1, PHOTOMETRIC: 2,
        SAMPLES: 3, _ROWS: size[1], _STRIP_AT: 8 + len(head), _STRIP_BYTES: len(pixels),
    }  # fmt: skip
    entries |= tags or {}
    at = 8 + len(head) + len(pixels) + len(pixels) % 2
    mark = b"II*\0" if order == "<" else b"MM\0*"
    begin = mark + struct.pack(order + "I", at) + head + pixels + bytes(len(pixels) % 2)
    return begin + _directory(entries, at, order)


def _directory(entries: Mapping[int, Value], at: int, order: str) -> bytes:
    table = struct.pack(order + "H", len(entries))
    beyond, free = b"", at + 2 + 12 * len(entries) + 4
    for tag in sorted(entries):
        kind, count, data = _field(tag, entries[tag], order)
        table += struct.pack(order + "HHI", tag, kind, count)
        if len(data) <= 4:
            table += data.ljust(4, b"\0")
        else:
            table += struct.pack(order + "I", free + len(beyond))
            beyond += data + bytes(len(data) % 2)
    return table + bytes(4) + beyond


def _field(tag: int, value: Value, order: str) -> tuple[int, int, bytes]:
    if isinstance(value, bytes):
        return (_ASCII if tag in _ASCII_TAGS else _UNDEFINED), len(value), value
    values = [value] if isinstance(value, int) else list(value)
    if tag == DNG_VERSION:
        return _BYTES, len(values), bytes(values)
    long = tag in _LONG_TAGS
    data = struct.pack(f"{order}{len(values)}{'I' if long else 'H'}", *values)
    return (_LONG if long else _SHORT), len(values), data


def ramp16(size: tuple[int, int], *, order: str = "<", step: int = 1) -> bytes:
    """16 bit values from 0 to 65535 along each row, step samples a pixel."""
    width, height = size
    row = [round(x * 65535 / (width - 1)) for x in range(width) for _ in range(step)]
    return struct.pack(f"{order}{len(row)}H", *row) * height


def psd(
    size: tuple[int, int],
    planes: Sequence[bytes],
    *,
    depth: int = 8,
    mode: int = 3,
    resources: Mapping[int, bytes] | None = None,
) -> bytes:
    """A flat PSD, its planes stored raw; mode 1: grey, 3: RGB, 4: CMYK, 9: Lab."""
    blocks = b""
    for number, data in (resources or {}).items():
        blocks += b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + bytes(len(data) % 2)
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, len(planes), size[1], size[0], depth, mode)
    empty = struct.pack(">I", 0)
    middle = empty + struct.pack(">I", len(blocks)) + blocks + empty
    return head + middle + struct.pack(">H", 0) + b"".join(planes)


def is_rising(values: Sequence[float]) -> bool:
    """Whether a ramp stays one: no value clipped, wrapped or turned round."""
    return all(left <= right + 1 for left, right in pairwise(values))
