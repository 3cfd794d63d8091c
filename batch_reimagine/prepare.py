"""Make a file acceptable to the service, once for all its variations.

Pure and CPU-bound: call it in a worker thread.
Source of the limits: API reference, Reimagine, `image_file`: 1024 x 1024 pixels, 30 MB;
PNG and JPEG are the two formats that are surely taken.
"""

import io

from PIL import Image, ImageCms

from batch_reimagine import containers
from batch_reimagine.errors import Rejected
from batch_reimagine.kinds import ACCEPTED, HEAD_BYTES, kind_of
from batch_reimagine.work import Upload

MAX_EDGE_PX = 1024
MAX_UPLOAD_BYTES = 30_000_000
MAX_PIXELS = 200_000_000
JPEG_QUALITY = 95
_ORIENTATION = 0x0112
_EIGHT = 8
_SIXTEEN_BIT = {"I;16", "I;16L", "I;16B", "I;16N", "I"}

# EXIF 2.32, tag Orientation: how to turn the stored pixels upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Our own limit below is the one that counts; Pillow's would only warn, and lower.
Image.MAX_IMAGE_PIXELS = None


def prepare(raw: bytes) -> Upload:
    """Make an encoded picture upright, sRGB, 8 bit, both sides ≤ 1024, free of metadata.

    raw: a file in one of the ACCEPTED formats; of several frames the first is taken.
    JPEG or PNG that already is all of that keeps its pixels bit by bit; others
    become JPEG if opaque and PNG if transparent, never enlarged.
    Raises Rejected when the bytes are no picture, damaged, or too large to decode.
    """
    kind = kind_of(raw[:HEAD_BYTES])
    if kind is None:
        raise Rejected("NOT_A_PICTURE", "its name says picture, its content is none")
    if kind not in ACCEPTED:
        raise Rejected(
            "UNSUPPORTED_FORMAT",
            f"{kind} is not read yet; convert it to one of {', '.join(sorted(ACCEPTED))}",
        )
    try:
        with Image.open(io.BytesIO(raw), formats=[kind]) as im:
            return _prepare(im, raw, kind)
    except Rejected:
        raise
    except MemoryError:
        raise Rejected("TOO_LARGE", "there is not enough memory to decode it") from None
    except Exception as error:  # noqa: BLE001 - decoders fail with anything; each is this photo's end
        detail = str(error).split("\n", 1)[0][:200] or type(error).__name__
        raise Rejected("DAMAGED", f"the {kind} cannot be decoded: {detail}") from None


def _prepare(im: Image.Image, raw: bytes, kind: str) -> Upload:
    width, height = im.size
    if width * height > MAX_PIXELS:
        raise Rejected(
            "TOO_LARGE", f"{width} x {height} pixels; at most {MAX_PIXELS:,} are decoded"
        )
    frames = getattr(im, "n_frames", 1) if kind != "JPEG" else 1
    note = f"first of {frames} frames" if frames > 1 else None
    fits = max(width, height) <= MAX_EDGE_PX
    plain = frames == 1 and fits and _orientation(im) == 1 and not im.info.get("icc_profile")
    if not fits:
        im.draft(None, (MAX_EDGE_PX, MAX_EDGE_PX))  # a JPEG decodes at a fraction of its size
    im.load()  # all of it: a truncated file is refused here
    if plain and (stripped := _as_it_is(im, raw, kind)):
        return Upload(stripped, width, height, note)
    orientation = _orientation(im)  # read anew: Pillow turns a TIFF itself while loading
    small = _shrink(_srgb(im))
    if (turn := _TURNS.get(orientation)) is not None:
        small = small.transpose(turn)
    return _encode(small, note)


def _as_it_is(im: Image.Image, raw: bytes, kind: str) -> bytes | None:
    """The file without its metadata, if its pixels need no change; None if they do."""
    try:
        if kind == "JPEG" and im.mode in {"RGB", "L"}:
            stripped = containers.strip_jpeg(raw)
        elif kind == "PNG" and containers.png_bit_depth(raw) <= _EIGHT:
            stripped = containers.strip_png(raw)
        else:
            return None
    except ValueError:  # Pillow read it all the same: so it is written anew
        return None
    return stripped if len(stripped) <= MAX_UPLOAD_BYTES else None


def _orientation(im: Image.Image) -> int:
    try:
        return int(im.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - broken metadata never loses a good picture
        return 1


def _srgb(im: Image.Image) -> Image.Image:
    """Bring to 8 bit and convert to sRGB; the result is RGB or RGBA."""
    profile = im.info.get("icc_profile")
    if im.mode in _SIXTEEN_BIT or im.mode == "F":
        im = _eight_bit(im)
    transparent = im.has_transparency_data
    if im.mode == "P" or (transparent and im.mode not in {"RGBA", "LA"}):
        im = im.convert("RGBA" if transparent else "RGB")
    if profile:
        im = _to_srgb(im, profile)
    wanted = "RGBA" if transparent else "RGB"
    return im if im.mode == wanted else im.convert(wanted)


def _eight_bit(im: Image.Image) -> Image.Image:
    """Scale one band of 16 bit or float to 8 bit; a plain convert("L") would clip it white."""
    low, high = 0.0, 65535.0
    if im.mode in {"I", "F"}:  # these do not say what their white is
        bottom, top = (float(value) for value in im.getextrema())  # type: ignore[arg-type]
        if im.mode == "F":
            low, high = min(0.0, bottom), 1.0 if top <= 1 else max(255.0, top)
        elif top <= 255:  # noqa: PLR2004
            high = 255.0
    factor = 255.0 / (high - low)
    offset = -low * factor
    return im.convert("F").point(lambda value: value * factor + offset).convert("L")


def _to_srgb(im: Image.Image, profile: bytes) -> Image.Image:
    """Apply an embedded profile; one that is damaged or of another colour space is ignored."""
    alpha = im.getchannel("A") if im.mode in {"RGBA", "LA"} else None
    colours = im.convert({"RGBA": "RGB", "LA": "L"}[im.mode]) if alpha else im
    try:
        converted = ImageCms.profileToProfile(
            colours,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return im
    if converted is None:
        return im
    if alpha:
        converted.putalpha(alpha)
    return converted


def _shrink(im: Image.Image) -> Image.Image:
    if max(im.size) > MAX_EDGE_PX:
        im.thumbnail((MAX_EDGE_PX, MAX_EDGE_PX), Image.Resampling.LANCZOS, reducing_gap=1.0)
    return im


def _encode(im: Image.Image, note: str | None) -> Upload:
    """JPEG for opaque pictures, PNG for those whose transparency shows."""
    if im.mode == "RGBA" and im.getchannel("A").getextrema() == (255, 255):
        im = im.convert("RGB")
    im.info.clear()  # no comment, profile or EXIF of the original is written
    out = io.BytesIO()
    if im.mode == "RGBA":
        im.save(out, "PNG", compress_level=6)
    else:
        im.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return Upload(out.getvalue(), *im.size, note)
