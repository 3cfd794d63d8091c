"""Open whatever a folder of photos holds, and look at it before a pixel of it is decoded."""

import io
import struct
from collections import deque
from collections.abc import Iterator

from PIL import AvifImagePlugin, Image, UnidentifiedImageError

from batch_reimagine import containers
from batch_reimagine.errors import Rejected
from batch_reimagine.kinds import ACCEPTED

# One decoder a process, one process a core: none makes threads of its own.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

_TIFF_SUBFILE, _TIFF_PHOTOMETRIC, _DNG_VERSION = 254, 262, 50706
_TIFF_COMPRESSION = 259
_TIFF_TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_RARE_COMPRESSIONS = {34887: "LERC", 50001: "WebP", 52546: "JPEG XL"}
_REDUCED = 1  # bit of NewSubfileType: a preview of another picture in the file
_SENSOR_DATA = {32803, 34892}  # colour filter array, linear raw
_PSD_DEPTH, _PSD_WIDTH = 22, 18  # offsets in a PSD's header
_PSD_VERSION_INFO = 1057  # image resource
_SIXTEEN = 16


def open_picture(raw: bytes, kind: str) -> Image.Image:
    """Read a file's head; its pixels are not decoded yet.

    Raises Rejected for what cannot be read, whatever the decoder raises for what is damaged.
    """
    if kind == "HEIC":
        _use_heif()
    elif kind not in ACCEPTED:
        raise unsupported(kind)
    if kind == "PNG":  # Pillow itself looks at no checksum of the pixels
        deque(containers.png_chunks(raw), maxlen=0)
    source = _psd_as_bytes(raw) if is_deep_psd(raw, kind) else raw
    name = {"HEIC": "HEIF"}.get(kind, kind)
    try:
        im = Image.open(io.BytesIO(source), formats=[name])
    except UnidentifiedImageError:
        raise _reason(source, name) from None
    if kind == "TIFF":
        _refuse_rare_tiff(im, raw)
    elif kind == "PSD" and _has_no_composite(raw):
        raise Rejected(
            "UNSUPPORTED_FORMAT",
            "a PSD without its composite; save it with 'Maximize Compatibility' on",
        )
    elif kind == "JPEG2000" and "icc_profile" not in im.info and (found := _jp2_profile(raw)):
        im.info["icc_profile"] = found
    return im


def unsupported(kind: str) -> Rejected:
    """The refusal of a format that is not read, with the way out."""
    return Rejected("UNSUPPORTED_FORMAT", f"{kind} is not read; {_WAYS_OUT.get(kind, _CONVERT)}")


def most_pixels_in_icon(raw: bytes) -> int:
    """The largest picture in an icon, by its own head: the icon's directory may lie.

    Pillow decodes while it opens an icon, so this is asked before.
    """
    most = 0
    for entry in range(6, 6 + 16 * int.from_bytes(raw[4:6], "little"), 16):
        at = int.from_bytes(raw[entry + 12 : entry + 16], "little")
        head = raw[at : at + 25]
        if head.startswith(containers.PNG_SIGNATURE):
            width, height = containers.png_size(head)
        else:  # BITMAPINFOHEADER
            width, height = struct.unpack("<ii", head[4:12].ljust(8, b"\0"))
        most = max(most, abs(width * height))
    return most


def note_of(im: Image.Image, kind: str) -> str | None:
    """What was left out: "first of 12 frames", "page 1 of 3"."""
    if kind in {"JPEG", "PSD", "ICO"}:  # a phone's second picture is its preview or depth
        return None
    try:
        frames = getattr(im, "n_frames", 1)
    except Exception:  # noqa: BLE001 - a later frame is broken: the first need not be
        return "first frame; others are damaged"
    if frames <= 1:
        return None
    return f"page 1 of {frames}" if kind == "TIFF" else f"first of {frames} frames"


_CONVERT = f"convert it to one of {', '.join(sorted(ACCEPTED))}"
_WAYS_OUT = {
    "SVG": "it is a drawing; export it as PNG",
    "EPS": "it is a print file; export it as TIFF, PNG or JPEG",
    "PDF": "it is a document; export its page as TIFF, PNG or JPEG",
    "camera raw": "develop it, and export it as TIFF or JPEG",
    "JXL": "export it as JPEG, PNG or TIFF",
}


def _use_heif() -> None:
    try:
        import pillow_heif  # noqa: PLC0415 - an extra
    except ImportError:
        raise Rejected(
            "UNSUPPORTED_FORMAT",
            "HEIC needs the extra: pip install 'batch-reimagine[heif]'; or export it as JPEG",
        ) from None
    pillow_heif.options.DECODE_THREADS = 1
    pillow_heif.register_heif_opener(thumbnails=False)


def _reason(source: bytes, name: str) -> Exception:
    """Why no decoder took the file: Pillow itself keeps it back."""
    Image.init()
    try:
        Image.OPEN[name][0](io.BytesIO(source), "")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason
        whole = name != "TIFF" or _holds_its_directory(source)
        if whole and ("unknown" in str(error) or "unsupported" in str(error).lower()):
            why = str(error).split("\n", 1)[0][:200]
            return Rejected("UNSUPPORTED_FORMAT", f"a {name} of a rare kind ({why}); {_CONVERT}")
        return error
    return ValueError("it cannot be opened")


def _refuse_rare_tiff(im: Image.Image, raw: bytes) -> None:
    """Refuse camera raw, a TIFF whose first picture is a small preview, and rare compressions."""
    tags = im.tag_v2  # type: ignore[attr-defined]
    if packed := _RARE_COMPRESSIONS.get(tags.get(_TIFF_COMPRESSION)):
        raise Rejected(
            "UNSUPPORTED_FORMAT", f"a TIFF with {packed} compression; save it with LZW or ZIP"
        )
    preview = isinstance(found := tags.get(_TIFF_SUBFILE, 0), int) and found & _REDUCED
    sensor = tags.get(_TIFF_PHOTOMETRIC) in _SENSOR_DATA
    if preview or sensor or _DNG_VERSION in tags or raw[8:10] == b"CR":
        raise unsupported("camera raw")


def _holds_its_directory(raw: bytes) -> bool:
    """Whether a TIFF's first directory, and what it points at, lies inside the file."""
    order = "<" if raw[:2] == b"II" else ">"
    try:
        (at,) = struct.unpack_from(f"{order}I", raw, 4)
        (count,) = struct.unpack_from(f"{order}H", raw, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            _, kind, values, offset = struct.unpack_from(f"{order}HHII", raw, entry)
            size = values * _TIFF_TYPE_BYTES.get(kind, 1)
            if size > 4 and offset + size > len(raw):  # noqa: PLR2004 - shorter ones lie in place
                return False
    except struct.error:
        return False
    return True


def is_deep_psd(raw: bytes, kind: str) -> bool:
    """Whether it is a 16 bit PSD, which opens at twice its width: see `upper_bytes`."""
    depth = int.from_bytes(raw[_PSD_DEPTH : _PSD_DEPTH + 2], "big")
    return kind == "PSD" and depth == _SIXTEEN


def _psd_as_bytes(raw: bytes) -> bytes:
    """A 16 bit PSD as an 8 bit one of twice the width: upper and lower bytes in turn.

    Pillow reads 8 bit only; rows are packed as bytes in both (Adobe Photoshop File
    Formats Specification, "Image Data").
    """
    (width,) = struct.unpack_from(">I", raw, _PSD_WIDTH)
    return raw[:_PSD_WIDTH] + struct.pack(">IH", width * 2, 8) + raw[_PSD_DEPTH + 2 :]


def upper_bytes(im: Image.Image) -> Image.Image:
    """Every other column, from the first: the upper bytes of a 16 bit PSD."""
    width, height = im.size[0] // 2, im.size[1]
    # The middle of column x of the result lies at 2x + 1 of the source: shift it into 2x.
    half = im.transform(
        (width, height), Image.Transform.AFFINE, (2, 0, -0.75, 0, 1, 0), Image.Resampling.NEAREST
    )
    half.info = dict(im.info)
    return half


def _has_no_composite(raw: bytes) -> bool:
    """Whether a PSD says that its flat picture is a blank."""
    at = 26
    at += 4 + int.from_bytes(raw[at : at + 4], "big")  # colour mode data
    end = at + 4 + int.from_bytes(raw[at : at + 4], "big")
    at += 4
    while at + 12 <= end and raw[at : at + 4] == b"8BIM":
        number = int.from_bytes(raw[at + 4 : at + 6], "big")
        at += 6 + (raw[at + 6] + 2) // 2 * 2  # its name, padded with its length byte to be even
        size = int.from_bytes(raw[at : at + 4], "big")
        if number == _PSD_VERSION_INFO and size >= 5:  # noqa: PLR2004 - version, then the flag
            return raw[at + 8] == 0
        at += 4 + (size + 1) // 2 * 2
    return False


def _jp2_profile(raw: bytes) -> bytes | None:
    """The ICC profile of a JP2 (ISO/IEC 15444-1, annex I.5.3): jp2h → colr, method 2."""
    for box, begin, end in _boxes(raw, 0, len(raw)):
        if box == b"jp2h":
            for inner, first, last in _boxes(raw, begin, end):
                if inner == b"colr" and raw[first : first + 1] == b"\x02":
                    return raw[first + 3 : last]
    return None


def _boxes(raw: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= end:
        size, begin = int.from_bytes(raw[at : at + 4], "big"), at + 8
        if size == 1:
            size, begin = int.from_bytes(raw[at + 8 : at + 16], "big"), at + 16
        stop = end if size == 0 else at + size
        if stop < begin or stop > end:
            return
        yield raw[at + 4 : at + 8], begin, stop
        at = stop
