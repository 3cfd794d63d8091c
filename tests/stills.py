"""One small whole picture of every format and way of coding that is read."""

import io
import struct
import zlib

import pillow_heif
from PIL import Image, ImageChops

from tests.pictures import encoded, noisy, png_chunk
from tests.tiffs import psd

pillow_heif.register_heif_opener()

SIZE = (160, 120)
# PNG third edition, section 8.1: where the pixels of each Adam7 pass begin, and their steps.
_PASSES = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4),
    (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip


def interlaced_png(picture: Image.Image) -> bytes:
    """An Adam7 PNG; Pillow reads but never writes one."""
    width, height = picture.size
    pixels = picture.convert("RGB").tobytes()
    rows = b""
    for left, top, across, down in _PASSES:
        for y in range(top, height, down):
            row = pixels[3 * width * y : 3 * width * (y + 1)]
            rows += b"\0" + b"".join(row[3 * x : 3 * x + 3] for x in range(left, width, across))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, payload) for kind, payload in chunks)


def _stills() -> dict[str, bytes]:
    picture = noisy(SIZE)
    small = picture.resize((64, 48))
    planes = [band.tobytes() for band in picture.split()]
    return {
        "JPEG": encoded(picture, "JPEG", quality=85),
        "progressive JPEG": encoded(picture, "JPEG", progressive=True),
        "grey JPEG": encoded(picture.convert("L"), "JPEG"),
        "CMYK JPEG": encoded(picture.convert("CMYK"), "JPEG"),
        "PNG": encoded(picture, "PNG"),
        "interlaced PNG": interlaced_png(picture),
        "palette PNG": encoded(picture.quantize(128), "PNG"),
        "GIF": encoded(picture.quantize(128), "GIF"),
        "WebP": encoded(picture, "WEBP"),
        "lossless WebP": encoded(picture, "WEBP", lossless=True),
        "TIFF": encoded(picture, "TIFF"),
        "LZW TIFF": encoded(picture, "TIFF", compression="tiff_lzw"),
        "deflated TIFF": encoded(picture, "TIFF", compression="tiff_adobe_deflate"),
        "JPEG in TIFF": encoded(picture, "TIFF", compression="jpeg"),
        "BMP": encoded(picture, "BMP"),
        "AVIF": encoded(picture, "AVIF"),
        "HEIC": encoded(picture, "HEIF"),
        "icon": encoded(small, "ICO", sizes=[(64, 48)]),
        "bitmap icon": encoded(small, "ICO", sizes=[(64, 48)], bitmap_format="bmp"),
        "JPEG 2000": encoded(picture, "JPEG2000", irreversible=True, quality_layers=[20]),
        "JPEG 2000 codestream": encoded(picture, "JPEG2000", no_jp2=True),
        "PSD": psd(SIZE, planes),
    }


STILLS = _stills()


def _moving() -> dict[str, bytes]:
    pictures = [noisy(SIZE), noisy(SIZE).rotate(180), noisy(SIZE).convert("L").convert("RGB")]
    many = {"save_all": True, "append_images": pictures[1:], "duration": 50}
    return {
        kind: encoded(pictures[0], name, **many)
        for kind, name in (
            ("APNG", "PNG"),
            ("animated GIF", "GIF"),
            ("animated WebP", "WEBP"),
            ("AVIF sequence", "AVIF"),
            ("HEIC of three", "HEIF"),
            ("TIFF of three pages", "TIFF"),
            ("MPO", "MPO"),
        )
    }


MOVING = _moving()


def same_picture(mine: bytes, theirs: bytes) -> bool:
    """Whether two files show the same, but for what coding anew costs, in each of 40 x 30 cells."""
    cells = []
    for data in (mine, theirs):
        with Image.open(io.BytesIO(data)) as opened:
            cells.append(
                (opened.size, opened.convert("RGBA").resize((40, 30), Image.Resampling.BOX))
            )
    (size, one), (other_size, other) = cells
    worst = max(high for _, high in ImageChops.difference(one, other).getextrema())  # type: ignore[misc]
    return size == other_size and worst <= 12
