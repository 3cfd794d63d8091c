"""A picture in another type or size: its colours, its transparency and its AI mark are kept.

Pure and CPU-bound: call it in a worker thread.
"""

import io
import struct
from contextlib import suppress
from dataclasses import dataclass, replace

from PIL import Image

from batch_reimagine import carriers, mark
from batch_reimagine.export.plan import Wish
from batch_reimagine.kinds import HEAD_BYTES, kind_of
from batch_reimagine.mark import SOURCE_TYPE, Declared, Mark
from batch_reimagine.marking import mark_of
from batch_reimagine.prepare import ORIENTATION, TURNS
from batch_reimagine.prepare.colour import profile_of, to_srgb
from batch_reimagine.prepare.levels import to_eight_bit
from batch_reimagine.proof import MAX_PIXELS

_SPACES = {"L": b"GRAY", "RGB": b"RGB ", "RGBA": b"RGB ", "CMYK": b"CMYK"}  # ICC.1, 7.2.6
_KEEPS = {
    "jpeg": {"L", "RGB", "RGBA", "CMYK"},  # RGBA: it is laid on white later
    "png": {"L", "RGB", "RGBA"},
    "webp": {"RGB", "RGBA"},
}
_REDUCING_GAP = 3.0  # Pillow: the result cannot be told from that of the slow way
_OPAQUE = 255


class NoPictureError(ValueError):
    """The bytes cannot be decoded, or not be written in the other type; the message says why."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A whole file, and what it has no more."""

    data: bytes
    was_transparent: bool = False  #: white is now where it was clear
    lost_credentials: bool = False  #: its Content Credentials were true of the old bytes only
    first_frame: bool = False  #: it moved


def convert(data: bytes, wish: Wish, sidecar: bytes | None = None) -> Converted:
    """Give the picture as it is wished, upright, marked as it was.

    sidecar: the .xmp file beside it, which may hold its mark. The embedded ICC profile stays,
    or the colours become sRGB where the new file cannot hold them. EXIF is left out. One that
    only its Content Credentials marked is marked in words.
    The same input gives the same bytes. Raises NoPictureError.
    """
    try:
        picture, moved = _decoded(data, wish.max_side)
        picture, profile = _in_space(picture, wish.type)
        clear = wish.type == "jpeg" and _is_clear(picture)
        encoded = _encoded(picture, profile, wish)
    except NoPictureError:
        raise
    except Exception as error:  # noqa: BLE001 - decoders fail with anything: all mean "no picture"
        raise NoPictureError(f"{type(error).__name__}: {error}") from None
    marked = _marked(encoded, _declared(data, encoded, sidecar))
    return Converted(marked, clear, mark.has_credentials(data), moved)


def _decoded(data: bytes, max_side: int | None) -> tuple[Image.Image, bool]:
    """The picture in 8 bit, upright and no larger than asked for, and whether it moved."""
    kind = kind_of(data[:HEAD_BYTES])
    if kind not in {"PNG", "JPEG", "WEBP"}:
        raise NoPictureError(f"{kind or 'not a picture'}, where PNG, JPEG or WebP was expected")
    with Image.open(io.BytesIO(data), formats=[kind]) as opened:
        if not 0 < opened.width * opened.height <= MAX_PIXELS:
            raise NoPictureError(f"{opened.width} x {opened.height} pixels are too many")
        moved = kind != "JPEG" and getattr(opened, "n_frames", 1) > 1
        opened.load()
        picture = to_eight_bit(opened)(opened)
        profile = opened.info.get("icc_profile")
        if profile is None and opened.mode == "RGB":  # EXIF may tell of Adobe RGB, and is lost
            profile = profile_of(opened)
        orientation = 1
        with suppress(Exception):  # broken metadata never loses a good picture
            orientation = opened.getexif().get(ORIENTATION, 1)
    if max_side is not None:  # with alpha multiplied in, so that clear pixels give no colour
        picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS, _REDUCING_GAP)
    if picture.mode in {"La", "RGBa"}:
        picture = picture.convert("RGBA" if picture.mode == "RGBa" else "LA")
    if orientation in TURNS:
        picture = picture.transpose(TURNS[orientation])
    picture.info = {} if profile is None else {"icc_profile": profile}
    return picture, moved


def _in_space(picture: Image.Image, type_: str) -> tuple[Image.Image, bytes | None]:
    """The picture in a mode that the type can hold with its profile; or in sRGB, without one."""
    mode, profile = picture.mode, picture.info.get("icc_profile")
    space = None if profile is None else bytes(profile[16:20])
    wanted = "RGBA" if mode == "LA" else mode
    if wanted not in _KEEPS[type_]:
        wanted = "RGB"
    if space == _SPACES[wanted] and mode in {wanted, "L", "LA"}:
        return picture.convert(wanted), profile
    if mode == wanted:  # a profile of another kind of colours says nothing of these
        return picture, None
    if space is None and mode != "CMYK":
        return picture.convert(wanted), None
    return to_srgb(picture, profile_of(picture)), None


def _is_clear(picture: Image.Image) -> bool:
    if picture.mode != "RGBA":
        return False
    lowest, _ = picture.getchannel("A").getextrema()
    return isinstance(lowest, int) and lowest < _OPAQUE


def _encoded(picture: Image.Image, profile: bytes | None, wish: Wish) -> bytes:
    if wish.type == "jpeg" and picture.mode == "RGBA":
        ground = Image.new("RGB", picture.size, "white")
        ground.paste(picture, mask=picture.getchannel("A"))
        picture = ground
    picture.info = {}  # writers would take what they like from it
    out = io.BytesIO()
    match wish.type:
        case "jpeg":  # 4:4:4
            picture.save(out, "JPEG", quality=wish.quality, subsampling=0, icc_profile=profile)
        case "webp":
            picture.save(out, "WEBP", quality=wish.quality, method=4, icc_profile=profile)
        case _:
            picture.save(out, "PNG", icc_profile=profile)
    return out.getvalue()


def _declared(data: bytes, encoded: bytes, sidecar: bytes | None) -> Declared:
    """What the picture says of itself, or else what the file beside it says.

    Credentials may have been all that told of AI, and they go: every picture of an output is
    made by it.
    """
    said = Declared()
    with suppress(ValueError):
        said = mark.read(data)
    if said.by_ai:
        return said
    if sidecar is not None and mark.reads_marked(sidecar):
        with suppress(ValueError, struct.error):
            return mark.read(carriers.carrier_of(encoded).put(sidecar))
        return Declared(SOURCE_TYPE)  # it is too long to be read in a picture
    return replace(said, source_type=SOURCE_TYPE) if mark.has_credentials(data) else Declared()


def _marked(encoded: bytes, said: Declared) -> bytes:
    """The picture with the mark that it had; one without any gets none."""
    if said.source_type is None:
        return encoded
    tool = said.creator_tool if _is_fit(said.creator_tool) else None
    system = said.system if _is_fit(said.system) else None
    marked = mark.embed(encoded, Mark(tool or mark_of(None).creator_tool, system))
    if said.source_type == SOURCE_TYPE:
        return marked
    carrier = carriers.carrier_of(marked)  # edited with AI, and not made by it
    packet = carrier.take() or b""
    return carrier.put(packet.replace(SOURCE_TYPE.encode(), said.source_type.encode()))


def _is_fit(text: str | None) -> bool:
    try:
        Mark("x", text)
    except ValueError:
        return False
    return True
