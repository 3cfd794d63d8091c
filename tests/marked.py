"""Pictures to mark, of every type and oddity, and checks that share no code with ours."""

import struct
import warnings
import zlib
from collections.abc import Callable

from PIL import Image, ImageSequence

from tests.pictures import (
    animation,
    encoded,
    exif_with_secrets,
    grey16_png,
    jpeg_segment,
    noisy,
    opened,
    png_chunk,
    quarters,
    rgb16_png,
    srgb_profile,
    with_chunks,
)

IPTC_EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
CODES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TRAINED = f"{CODES}trainedAlgorithmicMedia"
JPEG_ID = b"http://ns.adobe.com/xap/1.0/\0"

#: As photo editors write it: attributes and elements, padding, a trailer.
PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Editor 1.0">\n'
    ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
    '  <rdf:Description rdf:about="uuid:1234" xmlns:dc="http://purl.org/dc/elements/1.1/"\n'
    '    xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:City="Köln">\n'
    '   <dc:title><rdf:Alt><rdf:li xml:lang="x-default">Kränze &amp; Töpfe</rdf:li></rdf:Alt>'
    "</dc:title>\n"
    "  </rdf:Description>\n"
    " </rdf:RDF>\n"
    "</x:xmpmeta>\n" + (" " * 99 + "\n") * 3 + '<?xpacket end="w"?>'
).encode()

FOREIGN_BOX = b"JP\0\1\0\0\0\1" + struct.pack(">I", 60) + b"jumb" + struct.pack(">I", 40) + b"jumd"
FOREIGN_BOX += bytes.fromhex("6579D6FBDBA2446BB2AC1B82FEEB89D1") + b"\x03other.box\0" + b"\0" * 14


def itxt(packet: bytes, *, compressed: bool = False, words: bytes = b"\0\0") -> bytes:
    text = zlib.compress(packet) if compressed else packet
    return png_chunk(b"iTXt", b"XML:com.adobe.xmp\0" + bytes([compressed, 0]) + words + text)


def interlaced_png(size: tuple[int, int] = (11, 7)) -> bytes:
    """A grey PNG by Adam7: seven small pictures, one after another (PNG, section 8)."""
    width, height = size
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)]
    passes += [(0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b""
    for x, y, step_x, step_y in passes:
        for at_y in range(y, height, step_y):
            row = bytes((at_x * 20 + at_y * 7) % 256 for at_x in range(x, width, step_x))
            rows += b"\0" + row if row else b""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*each) for each in chunks)


def after_jfif(jpeg: bytes, *segments: bytes) -> bytes:
    return jpeg[:20] + b"".join(segments) + jpeg[20:]


def _see_through() -> Image.Image:
    return Image.merge("RGBA", (*noisy().split(), noisy().convert("L")))


def _webp(picture: Image.Image, **options: object) -> bytes:
    return encoded(picture, "WEBP", method=0, **options)


_EXIF, _ICC = exif_with_secrets(), srgb_profile()
_FULL_JPEG = encoded(noisy(), "JPEG", exif=_EXIF, icc_profile=_ICC, comment=b"a comment")

PLAIN: dict[str, bytes] = {
    "PNG": encoded(noisy(), "PNG"),
    "PNG, grey 16 bit": grey16_png(40_000),
    "PNG, RGB 16 bit": rgb16_png((1_000, 40_000, 65_535)),
    "PNG, palette": encoded(quarters().quantize(8), "PNG"),
    "PNG, palette with tRNS": encoded(quarters().quantize(8), "PNG", transparency=1),
    "PNG, RGB with tRNS": encoded(quarters(), "PNG", transparency=(220, 30, 30)),
    "PNG, one bit": encoded(noisy().convert("1"), "PNG"),
    "PNG, interlaced": interlaced_png(),
    "PNG, ICC and EXIF": encoded(noisy(), "PNG", exif=_EXIF, icc_profile=_ICC),
    "PNG, bytes after its end": encoded(noisy(), "PNG") + b"more bytes",
    "APNG": animation("PNG"),
    "JPEG": encoded(noisy(), "JPEG"),
    "JPEG, progressive": encoded(noisy(), "JPEG", progressive=True),
    "JPEG, grey": encoded(noisy().convert("L"), "JPEG"),
    "JPEG, CMYK": encoded(noisy().convert("CMYK"), "JPEG"),
    "JPEG, EXIF, ICC, comment": _FULL_JPEG,
    "JPEG, a foreign box": after_jfif(_FULL_JPEG, jpeg_segment(0xEB, FOREIGN_BOX)),
    "JPEG, bytes after its end": encoded(noisy(), "JPEG") + b"more bytes",
    "WebP, lossy": _webp(noisy()),
    "WebP, lossy, odd size": _webp(noisy((33, 21)), quality=31),
    "WebP, lossless": _webp(noisy(), lossless=True),
    "WebP, lossy with alpha": _webp(_see_through()),
    "WebP, lossless with alpha": _webp(_see_through(), lossless=True),
    "WebP, animated": animation("WEBP"),
    "WebP, ICC and EXIF": _webp(noisy(), exif=_EXIF, icc_profile=_ICC),
    "WebP, EXIF only": _webp(noisy(), exif=_EXIF),
    "WebP, bytes after its end": _webp(noisy()) + b"more bytes",
}

#: How each type takes a packet by hands other than ours: an independent writer to compare with.
WRITERS: dict[str, Callable[[bytes], bytes]] = {
    "PNG": lambda packet: with_chunks(PLAIN["PNG"], itxt(packet)),
    "PNG, after the pixels": lambda packet: with_chunks(PLAIN["PNG"], itxt(packet), at_end=True),
    "JPEG": lambda packet: encoded(noisy(), "JPEG", xmp=packet),
    "JPEG, all there is": lambda packet: after_jfif(
        _FULL_JPEG,
        jpeg_segment(0xEB, FOREIGN_BOX),
        jpeg_segment(0xE1, JPEG_ID + packet),
        jpeg_segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40 + b"<more/>"),
    ),
    "WebP, lossy": lambda packet: _webp(noisy(), xmp=packet),
    "WebP, lossy, odd size": lambda packet: _webp(noisy((33, 21)), quality=31, xmp=packet),
    "WebP, lossless": lambda packet: _webp(noisy(), lossless=True, xmp=packet),
    "WebP, lossy with alpha": lambda packet: _webp(_see_through(), xmp=packet),
    "WebP, lossless with alpha": lambda packet: _webp(_see_through(), lossless=True, xmp=packet),
    "WebP, EXIF only": lambda packet: _webp(noisy(), exif=_EXIF, xmp=packet),
    "WebP, ICC and EXIF": lambda packet: _webp(noisy(), exif=_EXIF, icc_profile=_ICC, xmp=packet),
}
WITH_XMP = {name: write(PACKET) for name, write in WRITERS.items()}
IN_ENGLISH = with_chunks(PLAIN["PNG"], itxt(PACKET, words=b"en\0XMP\0"))
COMPRESSED = with_chunks(PLAIN["PNG"], itxt(PACKET, compressed=True))
ALL = {
    **PLAIN,
    **{f"{name}, with XMP": data for name, data in WITH_XMP.items()},
    "PNG, compressed, with XMP": COMPRESSED,
    "PNG, with a language, with XMP": IN_ENGLISH,
}


def packet_of(data: bytes) -> bytes:
    """The packet in a file of ours or of an editor, found by its wrapper."""
    begin, end = data.index(b"<?xpacket begin"), data.index(b"<?xpacket end")
    return data[begin : end + 19]


def pixels(data: bytes) -> list[tuple[object, ...]]:
    """All that a decoder gives: every frame's mode, size, bytes, palette, transparency, time."""
    with warnings.catch_warnings(), opened(data) as picture:
        warnings.simplefilter("ignore")
        return [
            (
                frame.mode,
                frame.size,
                frame.tobytes(),
                frame.palette and frame.palette.tobytes(),
                frame.info.get("transparency"),
                frame.info.get("duration"),
                frame.info.get("icc_profile"),
            )
            for frame in ImageSequence.Iterator(picture)
        ]


def alike_until(one: bytes, other: bytes) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def taken_out(long: bytes, short: bytes) -> bytes:
    """What is in long and not in short, if one run of bytes is the only difference."""
    same, more = alike_until(long, short), len(long) - len(short)
    assert long[:same] + long[same + more :] == short, "more than one run of bytes differs"
    return long[same : same + more]


def without_mark(webp: bytes, original: bytes) -> bytes:
    """A marked WebP brought back: our chunk out, the header as it was."""
    (size,) = struct.unpack_from("<I", webp, 4)
    tail = webp[8 + size :]
    at = webp.index(b"XMP ", 30)
    (length,) = struct.unpack_from("<I", webp, at + 4)
    assert size % 2 == 0
    assert webp[12:20] == b"VP8X\x0a\0\0\0"
    assert webp[20] & 4
    head = webp[12:30]
    head = head[:8] + original[20:21] + head[9:] if original[12:16] == b"VP8X" else b""
    rest = webp[30:at] + webp[at + 8 + length + length % 2 : 8 + size]
    return b"RIFF" + struct.pack("<I", 4 + len(head + rest)) + b"WEBP" + head + rest + tail
