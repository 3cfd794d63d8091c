"""libvips as the oracle: what another reader makes of a picture, upright and in sRGB.

It is a package of the registry (pyvips with pyvips-binary), so the tests can always have it.
HEIC it cannot decode; there libheif's own program decodes first, where it is installed.
Where the oracle is missing a test is skipped, or fails if REQUIRE_ORACLES is 1.
"""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops, ImageStat

from tests.gallery import missing

try:
    import pyvips  # type: ignore[import-untyped]
except (ImportError, OSError):  # no package, or no library for this machine
    pyvips = None

EDGE = 32  #: of the thumbnails that are compared
_GREY = [128.0] * 3  # what shows through transparent pixels, in both pictures alike

TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Unread(Exception):
    """The oracle cannot read this picture."""


@dataclass(frozen=True, slots=True)
class Look:
    """How the oracle sees a picture."""

    width: int  #: pixels, upright
    height: int  #: pixels, upright
    colours: Image.Image  #: 32 x 32, sRGB, transparent parts over grey
    opacity: Image.Image  #: 32 x 32


def look(data: bytes, *, orientation: int = 1) -> Look:
    """The oracle's reading of an encoded picture; orientation: one that libvips does not know of.

    Raises Unread when it cannot read the picture; without libvips a test is skipped, or fails.
    """
    require()
    try:
        picture = _upright(_loaded(data), orientation)
        width, height = picture.width, picture.height
        small = _srgb(picture).thumbnail_image(EDGE, height=EDGE, size="force")
        opacity = small[small.bands - 1] if small.hasalpha() else small[0].linear(0, 255).cast(0)
        if small.hasalpha():
            small = small.flatten(background=_GREY)
        return Look(width, height, _pillow(small.cast(0), "RGB"), _pillow(opacity.cast(0), "L"))
    except pyvips.Error as error:
        raise Unread(str(error).strip().replace("\n", "; ")) from None


def available() -> bool:
    """Whether the oracle is there."""
    return pyvips is not None


def require() -> None:
    """Skip the test where the oracle is missing, or fail it where every tool must be there."""
    if not available():
        missing("libvips is missing: pip install pyvips pyvips-binary")


def difference(mine: Look, theirs: Look) -> float:
    """Mean absolute difference of the thumbnails, of 255; the worse of colours and opacity."""
    return max(
        _mean(mine.colours, theirs.colours),
        _mean(mine.opacity, theirs.opacity),
    )


def worst_channel(mine: Look, theirs: Look) -> float:
    """As `difference`, of the one channel that differs most."""
    bands = ImageStat.Stat(ImageChops.difference(mine.colours, theirs.colours)).mean
    return max(*bands, _mean(mine.opacity, theirs.opacity))


def closest_turn(mine: Look, theirs: Look) -> int:
    """Of the eight ways to hold mine the EXIF number of the one most like theirs; 1: as it is."""
    differs = {
        number: _mean(
            mine.colours if turn is None else mine.colours.transpose(turn), theirs.colours
        )
        + _mean(mine.opacity if turn is None else mine.opacity.transpose(turn), theirs.opacity)
        for number, turn in TURNS.items()
    }
    return min(differs, key=lambda number: (differs[number], number))


def built_in_profile(name: str) -> bytes:
    """A profile that libvips brings along: "srgb", "p3" or "cmyk"."""
    require()
    return bytes(pyvips.Operation.call("profile_load", name))


def _loaded(data: bytes) -> Any:
    if data[4:8] == b"ftyp" and not _is_avif(data):
        return _decoded_heic(data)
    return pyvips.Image.new_from_buffer(data, "", access="random")


def _is_avif(data: bytes) -> bool:
    return b"avif" in data[8:64] or b"avis" in data[8:64]


def _decoded_heic(data: bytes) -> Any:
    """libheif's program turns a HEIC upright and keeps its profile."""
    program = shutil.which("heif-dec") or shutil.which("heif-convert")
    if program is None:
        raise Unread("heif-convert is missing: install libheif-examples")
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "a.heic")
        source.write_bytes(data)
        number, clear = _primary(source)
        target = Path(scratch, "a.png" if clear else "a.jpg")  # it writes PNG ten times slower
        done = _run(program, "-q", "99", str(source), str(target))
        if not target.exists():  # of several pictures it numbers the files
            target = target.with_stem(f"a-{number}")
        if done.returncode or not target.exists():
            raise Unread("heif-convert: " + done.stderr[:80])
        picture = pyvips.Image.new_from_buffer(target.read_bytes(), "").copy()
        # The program leaves the EXIF orientation in, though it has turned the pixels.
        if "orientation" in picture.get_fields():
            picture.remove("orientation")
        return picture.copy_memory()


def _primary(source: Path) -> tuple[int, bool]:
    """Which of a HEIC's pictures is the one to show, from 1; and whether it has transparency."""
    told = _run("heif-info", str(source)).stdout  # it comes with heif-convert
    for number, picture in enumerate(told.split("\nimage: ")[1:], 1):
        if picture.partition("\n")[0].endswith("primary"):
            return number, "alpha channel: yes" in picture
    return 1, True


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=50, check=False
    )


def _upright(picture: Any, orientation: int) -> Any:
    if orientation != 1:
        picture = picture.copy()
        picture.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return picture.autorot().copy_memory()


def _srgb(picture: Any) -> Any:
    """Through the embedded profile; CMYK without one through the profile libvips falls back to."""
    options = {"intent": "relative", "black_point_compensation": True, "depth": 8}
    if picture.interpretation == "cmyk" or "icc-profile-data" in picture.get_fields():
        try:
            return picture.icc_transform("srgb", embedded=True, **options)
        except pyvips.Error:
            if picture.interpretation == "cmyk":
                return picture.icc_transform("srgb", input_profile="cmyk", **options)
    return picture.colourspace("srgb")


def _pillow(picture: Any, mode: str) -> Image.Image:
    return Image.frombytes(mode, (picture.width, picture.height), picture.write_to_memory())


def _mean(mine: Image.Image, theirs: Image.Image) -> float:
    bands = ImageStat.Stat(ImageChops.difference(mine, theirs)).mean
    return sum(bands) / len(bands)
