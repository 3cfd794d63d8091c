"""Make the small ICC profile by which CMYK pictures without a profile of their own are read.

    python tools/cmyk_profile.py FOGRA39L.ti3 batch_reimagine/prepare/fogra39.icc

FOGRA39L.ti3 holds the measured colours of 1,617 patches of coated offset print
(ISO 12647-2:2004/Amd 1, Fogra, December 2006); Debian's package icc-profiles-free
has it, under the zlib licence. Format: ICC.1:2001-04 (version 2), lut16Type.
"""

import bisect
import itertools
import struct
import sys
from pathlib import Path

Lab = tuple[float, float, float]
Ink = tuple[float, ...]

# Where the patches lie: these ink values, in per cent, become the nodes of the table.
_CMY = (0.0, 10.0, 20.0, 40.0, 70.0, 100.0)
_K = (0.0, 20.0, 40.0, 60.0, 80.0, 100.0)
_AXES = (_CMY, _CMY, _CMY, _K)
_D50 = (0.9642, 1.0, 0.8249)
_CURVE_ENTRIES = 256
_KNEE = 6 / 29  # of CIE L*a*b*


def read_patches(path: Path) -> dict[Ink, Lab]:
    """CMYK in per cent → CIE Lab (D50, 2 degrees), as measured."""
    lines = path.read_text(encoding="ascii").splitlines()
    data = lines[lines.index("BEGIN_DATA") + 1 : lines.index("END_DATA")]
    patches = {}
    for line in data:
        values = [float(word) for word in line.split()]
        patches[tuple(values[1:5])] = (values[8], values[9], values[10])
    return patches


def filled(patches: dict[Ink, Lab]) -> dict[Ink, Lab]:
    """Every node: measured, or linear between the measured ones of the same black."""
    nodes: dict[Ink, Lab] = {}
    for black in _K:
        # With more black the patches are sparser: the finest grid that is whole.
        grids = (
            values
            for size in range(len(_CMY), 1, -1)
            for values in itertools.combinations(_CMY, size)
            if values[0] == _CMY[0] and values[-1] == _CMY[-1]
        )
        grid = next(
            values
            for values in grids
            if all((*ink, black) in patches for ink in itertools.product(values, repeat=3))
        )
        for ink in itertools.product(_CMY, repeat=3):
            nodes[*ink, black] = _between(patches, grid, ink, black)
    return nodes


def _between(patches: dict[Ink, Lab], grid: Ink, ink: Ink, black: float) -> Lab:
    sides = []
    for value in ink:
        upper = min(max(1, bisect.bisect_left(grid, value)), len(grid) - 1)
        low, high = grid[upper - 1], grid[upper]
        share = (value - low) / (high - low)
        sides.append(((low, 1 - share), (high, share)))
    total = [0.0, 0.0, 0.0]
    for corner in itertools.product(*sides):
        weight = corner[0][1] * corner[1][1] * corner[2][1]
        if weight:
            lab = patches[*(value for value, _ in corner), black]
            total = [have + weight * part for have, part in zip(total, lab, strict=True)]
    return total[0], total[1], total[2]


def to_xyz(lab: Lab) -> list[float]:
    """CIE 15: relative to D50."""
    light = (lab[0] + 16) / 116
    parts = (light + lab[1] / 500, light, light - lab[2] / 200)
    return [
        white * (part**3 if part > _KNEE else 3 * _KNEE**2 * (part - 4 / 29))
        for white, part in zip(_D50, parts, strict=True)
    ]


def to_lab(xyz: list[float]) -> Lab:
    """The way back."""
    x, y, z = (
        ratio ** (1 / 3) if (ratio := value / white) > _KNEE**3 else ratio / (3 * _KNEE**2) + 4 / 29
        for value, white in zip(xyz, _D50, strict=True)
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def curve(nodes: Ink) -> bytes:
    """Input table: ink → position between the nodes, which lie closer where the eye sees more."""
    entries = []
    for index in range(_CURVE_ENTRIES):
        ink = 100 * index / (_CURVE_ENTRIES - 1)
        upper = min(max(1, bisect.bisect_left(nodes, ink)), len(nodes) - 1)
        low, high = nodes[upper - 1], nodes[upper]
        place = (upper - 1 + (ink - low) / (high - low)) / (len(nodes) - 1)
        entries.append(round(place * 65535))
    return struct.pack(f">{_CURVE_ENTRIES}H", *entries)


def table(nodes: dict[Ink, Lab]) -> bytes:
    """lut16Type from CMYK to Lab relative to the paper, in version 2's 16 bit coding."""
    paper = to_xyz(nodes[0.0, 0.0, 0.0, 0.0])
    coded = []
    for ink in itertools.product(*_AXES):
        xyz = [
            value * white / sheet
            for value, white, sheet in zip(to_xyz(nodes[ink]), _D50, paper, strict=True)
        ]
        light, a, b = to_lab(xyz)
        coded += [light * 652.8, (a + 128) * 256, (b + 128) * 256]
    size = len(_CMY)
    head = b"mft2\0\0\0\0" + bytes((4, 3, size, 0))
    head += struct.pack(">9i", *(65536 if n % 4 == 0 else 0 for n in range(9)))
    head += struct.pack(">HH", _CURVE_ENTRIES, 2)
    values = [min(65535, max(0, round(value))) for value in coded]
    output_curves = struct.pack(">6H", *(0, 65535) * 3)
    grid = struct.pack(f">{len(values)}H", *values)
    return head + b"".join(map(curve, _AXES)) + grid + output_curves


def profile(nodes: dict[Ink, Lab]) -> bytes:
    """Class "scnr": it only says what a CMYK value looks like, not how to print a colour."""
    name = b"Coated offset print, from FOGRA39L data\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(4 + 4 + 2 + 1 + 67),
        b"cprt": b"text\0\0\0\0zlib licence; made from FOGRA39L characterisation data\0",
        b"wtpt": b"XYZ \0\0\0\0" + _xyz(to_xyz(nodes[0.0, 0.0, 0.0, 0.0])),
        b"A2B0": (colours := table(nodes)),
        b"A2B1": colours,  # the same: black point compensation asks for the intent's own
    }
    directory, body = struct.pack(">I", len(tags)), b""
    begin = 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        if data not in body:
            body += data + bytes(-len(data) % 4)
        directory += tag + struct.pack(">II", begin + body.index(data), len(data))
    head = struct.pack(">I4xI4s4s4s", begin + len(body), 0x02100000, b"scnr", b"CMYK", b"Lab ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _xyz(list(_D50))
    return head + bytes(128 - len(head)) + directory + body


def _xyz(values: list[float]) -> bytes:
    return struct.pack(">3i", *(round(value * 65536) for value in values))


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(profile(filled(read_patches(Path(sys.argv[1])))))
