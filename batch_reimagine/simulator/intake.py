"""Looking at a key and a photo as strictly as a vendor would: no sockets, no sleeping."""

import io
import struct
import zlib
from typing import Final

from PIL import Image

from batch_reimagine.simulator.behaviour import Behaviour
from batch_reimagine.simulator.reasons import Refusal

MAX_SIDE_PX: Final = 1024

#: All that Pillow raises for a broken file; a warning counts, as it may be made an error.
_BROKEN: Final = (
    OSError,
    ValueError,
    RuntimeError,
    SyntaxError,
    EOFError,
    TypeError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def check_key(given: str, behaviour: Behaviour) -> None:
    """Raise Refusal when the key is missing or wrong; given: the bare key that came."""
    if behaviour.keyless:
        return
    if not given:
        raise Refusal("MISSING_API_KEY")
    if behaviour.api_key is not None and given != behaviour.api_key:
        raise Refusal("INVALID_API_KEY")


def open_photo(photo: bytes, most_px: int | None) -> Image.Image:
    """Decode a photo to its last byte, upright or not as it comes: RGB, or RGBA with transparency.

    most_px: the longest side that the caller can use, or None; a larger picture is shrunk.
    Raises Refusal for anything but a whole PNG or JPEG within 1024 x 1024.
    """
    try:
        # The header first: a bomb is refused before it takes memory.
        with Image.open(io.BytesIO(photo), formats=("PNG", "JPEG")) as header:
            size, is_png = header.size, header.format == "PNG"
            if max(size) <= MAX_SIDE_PX and is_png:
                header.verify()  # every chunk's CRC, and that the file ends as a PNG does
        if max(size) > MAX_SIDE_PX:
            width, height = size
            raise Refusal("IMAGE_EXCEEDS_MAX_RESOLUTION", width=width, height=height)
        with Image.open(io.BytesIO(photo), formats=("PNG", "JPEG")) as image:
            if most_px is not None:
                image.draft("RGB", (most_px, most_px))  # cheaper, and still reads to the end
            image.load()
            return _shrunk(_plain(image), most_px)
    except _BROKEN as error:
        raise Refusal("INVALID_IMAGE_FORMAT", field="image_file", detail=str(error)) from None


def _plain(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bit grey: convert() alone would clip it to white
        return image.convert("I").point(lambda value: value / 256).convert("L").convert("RGB")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _shrunk(image: Image.Image, most_px: int | None) -> Image.Image:
    if most_px is not None and max(image.size) > most_px:
        image.thumbnail((most_px, most_px), Image.Resampling.BILINEAR)
    return image
