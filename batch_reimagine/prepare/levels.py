"""Any pixel layout that a decoder gives → one that can be shrunk: 8 bit, alpha multiplied in."""

import math
from collections.abc import Callable

from PIL import Image

SIXTEEN_BIT = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_AS_THEY_ARE = frozenset({"L", "RGB", "CMYK", "LAB", "La", "RGBa"})
_WHITE_IS_ZERO = 0
_TIFF_BITS, _TIFF_PHOTOMETRIC = 258, 262

Band = Callable[[Image.Image], Image.Image]


def to_eight_bit(im: Image.Image) -> Band:
    """Give the function that brings a band of rows of im to L, RGB, CMYK, LAB, La or RGBa.

    Values are scaled, never clipped: 16 bit by 65535 (12 bit by 4095), and numbers
    that do not say what their white is by the smallest usual white that holds them.
    """
    if im.mode in SIXTEEN_BIT:
        return _sixteen(im)
    if im.mode in {"I", "F"}:
        return _scaled(im)
    if im.has_transparency_data:
        if im.mode == "RGB":
            _halve_key(im)
        wanted = ("LA", "La") if im.mode in {"LA", "La"} else ("RGBA", "RGBa")
        return lambda band: band.convert(wanted[0]).convert(wanted[1])
    if im.mode in _AS_THEY_ARE:
        return lambda band: band
    if im.mode == "1":
        return lambda band: band.convert("L")
    return lambda band: band.convert("RGB")


def _halve_key(im: Image.Image) -> None:
    """Bring the one transparent colour of a 16 bit RGB PNG to the 8 bits that its pixels now have.

    Pillow keeps the upper byte of the pixels, but the key as it was.
    """
    key = im.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:  # noqa: PLR2004
        im.info["transparency"] = tuple(value >> 8 for value in key)


def _sixteen(im: Image.Image) -> Band:
    white = (1 << _tag(im, _TIFF_BITS, 16)) - 1
    table = [min(255, (value * 255 + white // 2) // white) for value in range(65536)]
    if _is_negative(im):
        table = [255 - value for value in table]
    key = im.info.get("transparency")
    if not isinstance(key, int):
        return lambda band: band.convert("I").point(table, "L")
    mask = [255] * 65536
    mask[key] = 0

    def with_alpha(band: Image.Image) -> Image.Image:
        whole = band.convert("I")
        return Image.merge("LA", (whole.point(table, "L"), whole.point(mask, "L"))).convert("La")

    return with_alpha


def _scaled(im: Image.Image) -> Band:
    bottom, top = (float(value) for value in im.getextrema())  # type: ignore[arg-type]
    low = min(0.0, bottom) if im.mode == "F" and math.isfinite(bottom) else 0.0
    whites = (1.0, 255.0, 65535.0) if im.mode == "F" else (255.0, 65535.0, 2.0**31 - 1)
    # A float picture may overshoot its white a little; another unit would make it black.
    high = next((white for white in whites if top <= white * 1.5), top)
    if not math.isfinite(high):
        high = whites[0]
    factor = 255.0 / (high - low)
    if _is_negative(im):
        factor, low = -factor, high
    offset = -low * factor
    return lambda band: band.convert("F").point(lambda value: value * factor + offset).convert("L")


def _is_negative(im: Image.Image) -> bool:
    """Whether a TIFF counts from white to black; Pillow turns only 1 and 8 bit ones."""
    return _tag(im, _TIFF_PHOTOMETRIC, 1) == _WHITE_IS_ZERO


def _tag(im: Image.Image, tag: int, otherwise: int) -> int:
    """The first value of a TIFF's tag."""
    found = getattr(im, "tag_v2", {}).get(tag, otherwise)
    return int(found[0] if isinstance(found, tuple) else found)
