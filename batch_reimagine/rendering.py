"""The process that makes small pictures: as `preparer`, but at the lowest priority.

In: one letter, `t` for a thumbnail or `v` for a view of an original, and the file.
Out: as there.
"""

import io
import os
from collections.abc import Callable

from PIL import Image, ImageOps

from batch_reimagine.preparer import Work, serve
from batch_reimagine.work import Upload

THUMB_EDGE_PX = 480
_QUALITY = 80
_EFFORT = 2  # of 6: as small as 4 within some per cent, in two thirds of the time
_PLAIN = {"PNG", "JPEG", "WEBP"}
_LOWEST = 19

Render = Callable[[bytes, int, Callable[[int], None]], Upload]


def thumbnail(raw: bytes, max_pixels: int, admit: Callable[[int], None]) -> Upload:
    """A WebP of at most 480 px, upright, in sRGB, without metadata, never enlarged.

    Raises Rejected, and whatever a decoder raises for what is damaged.
    """
    from batch_reimagine.prepare import prepare  # noqa: PLC0415 - after the limits are set

    small = _directly(raw, max_pixels, admit)
    if small is None:
        upload = prepare(raw, max_pixels=max_pixels, admit=admit)
        small = Image.open(io.BytesIO(upload.data))
        small.draft(None, (THUMB_EDGE_PX, THUMB_EDGE_PX))
        small.thumbnail((THUMB_EDGE_PX, THUMB_EDGE_PX), reducing_gap=2.0)
    if small.mode not in {"RGB", "RGBA"}:
        small = small.convert("RGBA" if small.has_transparency_data else "RGB")
    small.info.clear()
    out = io.BytesIO()
    small.save(out, "WEBP", quality=_QUALITY, method=_EFFORT)
    return Upload(out.getvalue(), *small.size, None)


def _directly(raw: bytes, max_pixels: int, admit: Callable[[int], None]) -> Image.Image | None:
    """Shrunk and then converted, as that costs least; None for what asks for more care."""
    from batch_reimagine.prepare import colour  # noqa: PLC0415 - after the limits are set

    try:
        im = Image.open(io.BytesIO(raw), formats=sorted(_PLAIN))
        if im.mode not in {"RGB", "RGBA", "L"}:
            return None
        pixels = im.width * im.height
        if pixels > max_pixels:
            return None  # `prepare` says so in words
        im.draft(None, (THUMB_EDGE_PX, THUMB_EDGE_PX))
        admit(pixels)
        im.load()
        profile = colour.profile_of(im)
        im.thumbnail((THUMB_EDGE_PX, THUMB_EDGE_PX), reducing_gap=2.0)
        return ImageOps.exif_transpose(colour.to_srgb(im, profile) if profile else im)
    except Exception:  # noqa: BLE001 - decoders fail with anything; `prepare` may know better
        return None


def view(raw: bytes, max_pixels: int, admit: Callable[[int], None]) -> Upload:
    """An original as it is sent: upright, sRGB, ≤ 1024 px, JPEG or PNG. Raises Rejected."""
    from batch_reimagine.prepare import prepare  # noqa: PLC0415 - after the limits are set

    return prepare(raw, max_pixels=max_pixels, admit=admit)


RENDERS: dict[bytes, Render] = {b"t": thumbnail, b"v": view}


def main(max_pixels: int, cpu_s: int) -> None:
    """Render until the input ends."""
    os.nice(_LOWEST)

    def load() -> Work:
        import batch_reimagine.prepare  # noqa: F401, PLC0415 - now, not with the first picture

        return lambda raw, admit: RENDERS[raw[:1]](raw[1:], max_pixels, admit)

    serve(load, max_pixels, cpu_s)
