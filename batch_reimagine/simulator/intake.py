"""Reading a call as strictly as the vendor would: no sockets, no sleeping, all in worker threads.

Source of every rule: the API's facts, "The call". What they leave open is read strictly, so that
a client which passes here relies on nothing that was not stated.
"""

import binascii
import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import pybase64
from PIL import Image

from batch_reimagine.simulator.reasons import Refusal

MAX_FILE_BYTES: Final = 30 * 1000 * 1000
MAX_SIDE_PX: Final = 1024
IMAGE_TYPES: Final = ("png", "webp", "jpeg")

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


@dataclass(frozen=True, slots=True)
class Ask:
    """A call whose form is right; whether `photo` is a picture is not known yet."""

    photo: bytes
    photo_sha256: str
    image_type: str


def check_key(authorization: str | None, api_key: str | None) -> None:
    """Accept the key with and without `Bearer`; raise Refusal when it is missing or wrong."""
    given = (authorization or "").strip()
    scheme, _, rest = given.partition(" ")
    if scheme.lower() == "bearer":
        given = rest.strip()
    if not given:
        raise Refusal("MISSING_API_KEY")
    if api_key is not None and given != api_key:
        raise Refusal("INVALID_API_KEY")


def read_ask(body: bytes, content_type: str) -> Ask:
    """Read a request's body; raise Refusal naming the field at fault."""
    if content_type != "application/json":
        raise _bad("Content-Type", "is not application/json")
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _bad("body", f"is not JSON: {error}") from None
    fields = _object(document, "body", {"image_file", "extra"})
    image_type = _image_type(fields.get("extra", {}))
    encoded = fields.get("image_file")
    if not isinstance(encoded, str) or not encoded:
        raise _bad("image_file", "is required and must be a string")
    if encoded.startswith("data:"):
        raise _bad("image_file", "must be bare base64, without a data URI's prefix")
    try:
        photo = pybase64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise _bad("image_file", "is not base64") from None
    if len(photo) > MAX_FILE_BYTES:
        raise Refusal("IMAGE_FILE_EXCEEDS_MAX_SIZE", field="image_file")
    return Ask(photo, hashlib.sha256(photo).hexdigest(), image_type)


def _image_type(extra: object) -> str:
    options = _object(extra, "extra", {"response_image_type", "enterprise_plan"})
    plan = _object(options.get("enterprise_plan", {}), "extra.enterprise_plan", {"enabled"})
    if not isinstance(plan.get("enabled", False), bool):
        raise _bad("extra.enterprise_plan.enabled", "must be true or false")
    image_type = options.get("response_image_type", "png")
    if image_type not in IMAGE_TYPES:
        raise _bad("extra.response_image_type", f"must be one of {', '.join(IMAGE_TYPES)}")
    return str(image_type)


def _object(value: object, name: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _bad(name, "must be an object")
    for unknown in sorted(value.keys() - known):
        raise _bad(unknown if name == "body" else f"{name}.{unknown}", "is unknown")
    return value


def _bad(field: str, what: str) -> Refusal:
    return Refusal("INVALID_REQUEST_BODY", f"{field} {what}", field=field)


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
