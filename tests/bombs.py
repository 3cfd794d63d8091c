"""Small files that want to be gigabytes: one for every format that can lie about its size."""

import struct
import zlib

from tests.pictures import encoded, png_chunk, quarters, raw_png
from tests.stills import STILLS
from tests.tiffs import BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, tiff

HUGE = 30_000  #: pixels a side: 900 million in all
_WHITE_ROWS = 20_000
_ADLER = 65_521


def png_that_inflates() -> bytes:
    """20,000 x 20,000 whole pixels of grey in half a megabyte."""
    squeeze = zlib.compressobj(9, wbits=-15)
    a_hundred_rows = bytes(_WHITE_ROWS + 1) * 100
    # After a full flush nothing refers to what came before: the same piece may follow itself.
    piece = squeeze.compress(a_hundred_rows) + squeeze.flush(zlib.Z_FULL_FLUSH)
    sum_of_zeros = (_WHITE_ROWS * (_WHITE_ROWS + 1) % _ADLER) << 16 | 1  # RFC 1950, section 8.2
    pixels = b"\x78\xda" + piece * (_WHITE_ROWS // 100) + b"\x03\0"
    pixels += sum_of_zeros.to_bytes(4, "big")
    header = struct.pack(">IIBBBBB", _WHITE_ROWS, _WHITE_ROWS, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, part) for kind, part in chunks)


def jpeg(edge: int, *, progressive: bool = False) -> bytes:
    """A whole grey JPEG of edge x edge: every block is the code for "as the one before".

    With the DC table of one code and the AC table of one, a block is two bits.
    """
    tables = b"".join(
        struct.pack(">BBH", 0xFF, 0xC4, 20) + bytes([kind << 4, 1]) + bytes(15) + b"\0"
        for kind in (0, 1)
    )
    table = b"\xff\xdb\x00\x43\x00" + b"\x01" * 64
    start = 0xC2 if progressive else 0xC0
    frame = struct.pack(">BBHBHHBBBB", 0xFF, start, 11, 8, edge, edge, 1, 1, 0x11, 0)
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00" + (b"\0\0" if progressive else b"\x3f\0")
    blocks = ((edge + 7) // 8) ** 2
    bits = blocks * (1 if progressive else 2)
    return b"\xff\xd8" + table + frame + tables + scan + bytes(bits // 8 + 1) + b"\xff\xd9"


def gif(screen: int, frame: int) -> bytes:
    """A logical screen, and a first frame that may reach beyond it."""
    palette = bytes(6)
    head = b"GIF89a" + struct.pack("<HHBBB", screen, screen, 0x80, 0, 0) + palette
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, frame, frame, 0) + b"\x02\x02\x4c\x01\0"
    return head + image + b";"


def webp() -> bytes:
    """An animation with a canvas of 16,383 x 16,383 and one small frame."""
    frame = encoded(quarters((8, 8)), "WEBP", lossless=True)[12:]
    edge = (16_383 - 1).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + edge * 2
    control = b"ANIM" + struct.pack("<I", 6) + bytes(6)
    one = bytes(6) + (7).to_bytes(3, "little") * 2 + b"\x10\0\0\0" + frame
    body = b"WEBP" + extended + control + b"ANMF" + struct.pack("<I", len(one)) + one
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bmp(edge: int, *, compression: int = 0, bits: int = 24) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, edge, edge, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + 100, 0, 0, 54 + 1024) + head + bytes(1124)


def icon(inner: bytes) -> bytes:
    """An icon that says 16 x 16 and holds something else."""
    return b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 24, len(inner), 22) + inner


def patched(raw: bytes, box: bytes, at: int, *sizes: int) -> bytes:
    """The file with other sizes, 32 bit, at bytes behind a box's or marker's name."""
    changed, begin = bytearray(raw), raw.find(box)
    assert begin >= 0
    while begin >= 0:
        struct.pack_into(f">{len(sizes)}I", changed, begin + len(box) + at, *sizes)
        begin = raw.find(box, begin + 1)
    return bytes(changed)


def jpeg_2000() -> bytes:
    sized = patched(STILLS["JPEG 2000"], b"ihdr", 0, HUGE, HUGE)
    return patched(sized, b"\xff\x51", 4, HUGE, HUGE)


def psd(bits: int = 8) -> bytes:
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, HUGE, HUGE, bits, 3)
    return head + bytes(12) + struct.pack(">H", 1) + bytes(6 * HUGE)


def bombs() -> dict[str, bytes]:
    grey = {BITS: 8, PHOTOMETRIC: 1, SAMPLES: 1, COMPRESSION: 8}
    tiles = grey | {322: HUGE, 323: HUGE, 324: 8, 325: 100}
    return {
        "PNG header": raw_png((HUGE, HUGE), 8, 2, [b""]),
        "PNG that inflates": png_that_inflates(),
        "progressive JPEG": jpeg(HUGE, progressive=True),
        "GIF screen": gif(65_535, 4),
        "GIF frame": gif(4, 65_535),
        "TIFF": tiff((HUGE, HUGE), zlib.compress(bytes(100_000)), grey),
        "TIFF tiles": tiff((HUGE, HUGE), zlib.compress(bytes(100_000)), tiles),
        "BMP": bmp(HUGE),
        "run-length BMP": bmp(HUGE, compression=1, bits=8),
        "WebP": webp(),
        "JPEG 2000": jpeg_2000(),
        "JPEG 2000 codestream": patched(STILLS["JPEG 2000 codestream"], b"\xff\x51", 4, HUGE, HUGE),
        "icon of PNG": icon(png_that_inflates()),
        "icon of BMP": icon(bmp(HUGE)[14:]),
        "PSD": psd(),
        "16 bit PSD": psd(16),
        "AVIF": patched(STILLS["AVIF"], b"ispe", 4, 16_000, 16_000),
        "HEIC": patched(STILLS["HEIC"], b"ispe", 4, 16_000, 16_000),
    }


def giants() -> dict[str, bytes]:
    """Not refused by their head alone: what they need of memory is little, or to be found out."""
    small_image_big_tile = {BITS: 8, PHOTOMETRIC: 1, SAMPLES: 1, COMPRESSION: 8}
    small_image_big_tile |= {322: 65_520, 323: 65_520, 324: 8, 325: 100}
    return {
        "baseline JPEG of 400 megapixels": jpeg(20_000),
        "TIFF of one giant tile": tiff((10, 10), zlib.compress(bytes(9)), small_image_big_tile),
    }
