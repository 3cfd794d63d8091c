"""Real pictures for the tests: every format and oddity that a folder of photos holds."""

import io
import struct
import zlib
from typing import Any

from PIL import Image, ImageCms

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 40), (40, 50, 210), (245, 245, 245)
CORNERS = (RED, GREEN, BLUE, WHITE)  # top left, top right, bottom left, bottom right

# How an upright picture is stored when its EXIF orientation says 2 … 8.
STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def quarters(size: tuple[int, int] = (96, 64), mode: str = "RGB") -> Image.Image:
    """Four quarters in four colours, so that a turn or a mirror shows in the corners."""
    width, height = size
    picture = Image.new("RGB", size, WHITE)
    half = (width // 2, height // 2)
    picture.paste(RED, (0, 0, *half))
    picture.paste(GREEN, (half[0], 0, width, half[1]))
    picture.paste(BLUE, (0, half[1], half[0], height))
    return picture if mode == "RGB" else picture.convert(mode)


def noisy(size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Much coded data in few pixels; always the same."""
    return Image.effect_mandelbrot(size, (-2.0, -1.2, 1.0, 1.2), 60).convert("RGB")


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def corners(data: bytes) -> list[tuple[int, int, int]]:
    """Colours a few pixels inside the four corners, in the order of CORNERS."""
    picture = opened(data).convert("RGB")
    width, height = picture.size
    inset_x, inset_y = width // 8, height // 8
    at = [
        (inset_x, inset_y),
        (width - 1 - inset_x, inset_y),
        (inset_x, height - 1 - inset_y),
        (width - 1 - inset_x, height - 1 - inset_y),
    ]
    return [picture.getpixel(point) for point in at]  # type: ignore[misc]


def alike(
    mine: tuple[int, ...] | list[Any], theirs: tuple[int, ...] | list[Any], *, within: int = 24
) -> bool:
    """Whether colours are the same but for what a lossy format does to them."""
    flat_mine = [v for c in mine for v in (c if isinstance(c, tuple) else (c,))]
    flat_theirs = [v for c in theirs for v in (c if isinstance(c, tuple) else (c,))]
    return len(flat_mine) == len(flat_theirs) and all(
        abs(a - b) <= within for a, b in zip(flat_mine, flat_theirs, strict=True)
    )


def turned(orientation: int, kind: str, size: tuple[int, int] = (96, 64)) -> bytes:
    """A picture that is upright only for who reads its EXIF orientation."""
    picture = quarters(size)
    if orientation in STORED_AS:
        picture = picture.transpose(STORED_AS[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture, kind, exif=exif.tobytes() if kind != "TIFF" else exif)


def exif_with_secrets() -> bytes:
    """EXIF with a camera's owner and a place."""
    exif = Image.Exif()
    exif[0x010E] = "SECRET-DESCRIPTION"
    exif[0x013B] = "SECRET-ARTIST"
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2] = "N", (52.0, 31.0, 12.0)
    gps[29] = "SECRET-GPSDATE"
    return exif.tobytes()


def jpeg_segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """The JPEG with segments put in right after SOI."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    crc = zlib.crc32(kind + payload)
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", crc)


def with_chunks(png: bytes, *chunks: bytes, at_end: bool = False) -> bytes:
    """The PNG with chunks put in after IHDR, or before IEND."""
    at = len(png) - 12 if at_end else 33
    return png[:at] + b"".join(chunks) + png[at:]


def raw_png(size: tuple[int, int], depth: int, colour: int, rows: list[bytes]) -> bytes:
    """A PNG of any bit depth and colour type; Pillow itself writes only some."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", pixels)
        + png_chunk(b"IEND", b"")
    )


def grey16_png(value: int, size: tuple[int, int] = (20, 12)) -> bytes:
    return raw_png(size, 16, 0, [struct.pack(">H", value) * size[0]] * size[1])


def rgb16_png(colour: tuple[int, int, int], size: tuple[int, int] = (20, 12)) -> bytes:
    return raw_png(size, 16, 2, [struct.pack(">HHH", *colour) * size[0]] * size[1])


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """An RGB profile whose red and green are swapped: who ignores it shows wrong colours."""
    profile = bytearray(srgb_profile())
    count = struct.unpack_from(">I", profile, 128)[0]
    at = {bytes(profile[132 + 12 * n : 136 + 12 * n]): 132 + 12 * n for n in range(count)}
    red, green = at[b"rXYZ"], at[b"gXYZ"]
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


def animation(kind: str, frames: int = 3) -> bytes:
    colours = (RED, GREEN, BLUE)
    pictures = [Image.new("RGB", (24, 16), colours[n % 3]) for n in range(frames)]
    return encoded(pictures[0], kind, save_all=True, append_images=pictures[1:], duration=50)
