"""ICC profiles for the tests, written byte by byte: no registry holds the well-known ones.

Format: ICC.1:2001-04 (version 2). Figures: the D50-adapted primaries that the standards' own
profiles hold (Adobe RGB (1998), SMPTE RP 431-2 with D65 as Display P3, ROMM RGB as ProPhoto).
"""

import struct

XYZ = tuple[float, float, float]

_D50: XYZ = (0.9642, 1.0, 0.8249)
_ADOBE: tuple[XYZ, ...] = (
    (0.60974, 0.31111, 0.01947),
    (0.20528, 0.62567, 0.06087),
    (0.14919, 0.06322, 0.74457),
)
_P3: tuple[XYZ, ...] = (
    (0.51512, 0.24120, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.15710, 0.06657, 0.78407),
)
_PROPHOTO: tuple[XYZ, ...] = (
    (0.79767, 0.28804, 0.0),
    (0.13519, 0.71188, 0.0),
    (0.03134, 0.00009, 0.82491),
)


def adobe_rgb(description: str = "wide") -> bytes:
    """Colours of Adobe RGB (1998)."""
    return _colours(_ADOBE, 563 / 256, description)


def display_p3() -> bytes:
    """Colours of Display P3, with a plain exponent for sRGB's curve."""
    return _colours(_P3, 2.2, "wide")


def prophoto() -> bytes:
    """Colours of ProPhoto RGB."""
    return _colours(_PROPHOTO, 1.8, "wide")


def grey(gamma: float) -> bytes:
    """Grey of any exponent: 1.0 is far lighter than sRGB in the middle."""
    tags = [(b"desc", _text("grey")), (b"wtpt", _xyz(_D50)), (b"kTRC", _curve(gamma))]
    return _profile(b"mntr", b"GRAY", b"XYZ ", tags)


def odd_inks() -> bytes:
    """CMYK whose four inks print red, green, blue and black: nobody guesses these colours.

    A table of two nodes an ink; what lies between is linear in Lab.
    """
    paper, black = (100.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    inks = ((54.0, 81.0, 70.0), (88.0, -79.0, 81.0), (30.0, 68.0, -112.0))
    nodes = b""
    for number in range(16):
        laid = [inks[n] for n in range(3) if number >> (3 - n) & 1]
        colour = laid[0] if laid else paper
        if number & 1 or len(laid) > 1:
            colour = black
        light, a, b = colour
        nodes += bytes([round(light * 2.55), round(a) + 128, round(b) + 128])
    straight = bytes(range(256))
    identity = b"".join(
        struct.pack(">i", 65536 if n % 4 == 0 else 0) for n in range(9)
    )  # the matrix that lut8Type has, used for XYZ only
    head = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity
    table = head + straight * 4 + nodes + straight * 3
    tags = [(b"desc", _text("odd inks")), (b"wtpt", _xyz(_D50)), (b"A2B0", table)]
    return _profile(b"prtr", b"CMYK", b"Lab ", tags)


def _colours(primaries: tuple[XYZ, ...], gamma: float, description: str) -> bytes:
    tags = [(b"desc", _text(description)), (b"wtpt", _xyz(_D50))]
    for letter, primary in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags += [(letter + b"XYZ", _xyz(primary)), (letter + b"TRC", _curve(gamma))]
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def _profile(
    kind: bytes, space: bytes, connection: bytes, tags: list[tuple[bytes, bytes]]
) -> bytes:
    table, body = struct.pack(">I", len(tags)), b""
    begin = 128 + 4 + 12 * len(tags)
    for name, data in tags:
        table += struct.pack(">4sII", name, begin + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(
        ">II I 4s4s4s 12s 4s 28x 3i 48x",
        begin + len(body), 0, 0x02400000, kind, space, connection,
        struct.pack(">6H", 2001, 4, 1, 0, 0, 0), b"acsp", *(round(v * 65536) for v in _D50),
    )  # fmt: skip
    return head.ljust(128, b"\0") + table + body


def _text(words: str) -> bytes:
    """A textDescriptionType with its ASCII part only."""
    ascii_part = words.encode("ascii") + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(ascii_part)) + ascii_part + bytes(78)


def _xyz(value: XYZ) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(part * 65536) for part in value))


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
