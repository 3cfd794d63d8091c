"""Prove that an answer's picture is complete to its last byte, by the cheapest proof there is.

Pure and CPU-bound: call it in a worker thread.
"""

import io

from PIL import Image

from batch_reimagine import containers
from batch_reimagine.kinds import kind_of
from batch_reimagine.work import Picture

#: An answer is a variation of a picture of at most 1024 x 1024; this leaves room for upscaled
#: ones (4096 x 4096), and keeps what a decoder may take for a few bytes of input small.
MAX_PIXELS = 17_000_000

_TYPES = {"PNG": "png", "JPEG": "jpeg", "WEBP": "webp"}


class IncompleteError(ValueError):
    """The bytes are no complete picture; the message says what is missing."""


def prove(data: bytes) -> Picture:
    """Return the picture in data, or raise IncompleteError.

    PNG: every chunk's CRC, up to IEND. JPEG and WebP have no checksums: they are
    decoded (JPEG at an eighth of its size, which still reads every byte), and a
    JPEG must hold its end marker.
    """
    kind = kind_of(data[:64])
    if kind not in _TYPES:
        raise IncompleteError(f"{kind or 'not a picture'}, where PNG, WebP or JPEG was expected")
    try:
        if kind == "PNG":
            width, height = containers.png_size(data)
            _check_size(width, height)
            chunks = {name for name, _, _ in containers.png_chunks(data)}
            if b"IDAT" not in chunks:
                raise IncompleteError("a PNG without pixels")
        else:
            width, height = _decode(data, kind)
    except IncompleteError:
        raise
    except Exception as error:  # noqa: BLE001 - decoders fail with anything: all mean "not complete"
        raise IncompleteError(f"broken {kind}: {error}") from None
    return Picture(data, _TYPES[kind], width, height)


def _check_size(width: int, height: int) -> None:
    if not 0 < width * height <= MAX_PIXELS:
        raise IncompleteError(f"{width} x {height} pixels, which no answer can have")


def _decode(data: bytes, kind: str) -> tuple[int, int]:
    with Image.open(io.BytesIO(data), formats=[kind]) as picture:
        width, height = picture.size
        _check_size(width, height)
        if kind == "JPEG":
            containers.strip_jpeg(data)  # walks all segments and scans, to the end marker
            picture.draft(picture.mode, (max(1, width // 8), max(1, height // 8)))
        picture.load()
    return width, height
