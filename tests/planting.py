"""Pictures with a secret in every place where a format can hold one."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise

from PIL import Image

from tests.pictures import encoded, jpeg_segment, noisy, png_chunk, with_chunks, with_segments
from tests.profiles import adobe_rgb
from tests.tiffs import EXTRA, ICC, SAMPLES, XMP, psd, tiff

NAME = "Qx7-Anna-Owner"
#: The name in texts of 8 and 16 bit, as cameras and programs write them; and in EBCDIC.
ENCODED = tuple(NAME.encode(code) for code in ("utf-8", "utf-16-le", "utf-16-be", "cp037"))
SECRET = b"\0\0".join(ENCODED)

Plant = Callable[[Image.Image], bytes]


def exif_block() -> bytes:
    """EXIF with an owner, a place, a maker note, a comment in 16 bit and a thumbnail."""
    exif = Image.Exif()
    for tag in (0x010E, 0x013B, 0x8298, 0x9C9B):  # description, artist, copyright, Windows' title
        exif[tag] = NAME
    inner = exif.get_ifd(0x8769)
    inner[0x927C], inner[0x9286] = SECRET, b"UNICODE\0" + SECRET
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[29], gps[27] = "N", (52.0, 31.0, 12.0), NAME, SECRET
    block = exif.tobytes()
    assert all(text in block for text in ENCODED)
    return block


XMP_PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/'
    b'22-rdf-syntax-ns#"><rdf:Description rdf:about="'
    + NAME.encode()
    + b'"/></rdf:RDF></x:xmpmeta>'
)
IPTC = b"\x1c\x02\x50" + struct.pack(">H", len(SECRET)) + SECRET
PHOTOSHOP = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC + bytes(len(IPTC) % 2)
_PIXELS = (SECRET * 3)[: 13 * 9 * 3]

# Segments of a JPEG, by marker.
SEGMENTS: dict[str, tuple[int, bytes]] = {
    "EXIF": (0xE1, exif_block()),
    "XMP": (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP_PACKET),
    "extended XMP": (0xE1, b"http://ns.adobe.com/xmp/extension/\0" + SECRET),
    "ICC description": (0xE2, b"ICC_PROFILE\0\1\1" + adobe_rgb(NAME)),
    "multi-picture index": (0xE2, b"MPF\0II*\0" + SECRET),
    "FlashPix": (0xE2, b"FPXR\0" + SECRET),
    "Photoshop": (0xED, b"Photoshop 3.0\0" + PHOTOSHOP),
    "comment": (0xFE, SECRET),
    "JFXX thumbnail": (0xE0, b"JFXX\0\x13\x0d\x09" + _PIXELS),
    "JFIF thumbnail": (0xE0, b"JFIF\0\1\2\0\0\1\0\1\x0d\x09" + _PIXELS),
    "content credentials": (0xEB, b"JP\0\1" + SECRET),
    "long Adobe": (0xEE, b"Adobe\0\x64\0\0\0\0\1" + SECRET),
} | {f"APP{n}": (0xE0 + n, SECRET) for n in range(16)}


def jpeg(picture: Image.Image) -> bytes:
    return encoded(picture, "JPEG", quality=88)


def junk(begin: bytes) -> Plant:
    """A JPEG with bytes between its segments that are no segment; decoders pass over them."""

    def make(picture: Image.Image) -> bytes:
        plain = jpeg(picture)
        table = plain.index(b"\xff\xdb")
        return plain[:table] + begin + SECRET + plain[table:]

    return make


def between_scans(picture: Image.Image) -> bytes:
    plain = encoded(picture, "JPEG", progressive=True)
    second = plain.index(b"\xff\xda", plain.index(b"\xff\xda") + 2)
    parts = (plain[:second], jpeg_segment(0xFE, SECRET), jpeg_segment(0xE1, SECRET), plain[second:])
    return b"".join(parts)


CHUNKS: dict[str, tuple[bytes, bytes]] = {
    "tEXt": (b"tEXt", b"Author\0" + SECRET),
    "zTXt": (b"zTXt", b"Author\0\0" + zlib.compress(SECRET)),
    "iTXt": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP_PACKET),
    "zipped iTXt": (b"iTXt", b"Author\0\1\0\0\0" + zlib.compress(SECRET)),
    "eXIf": (b"eXIf", exif_block()[6:]),
    "iCCP": (b"iCCP", NAME.encode() + b"\0\0" + zlib.compress(adobe_rgb(NAME))),
    "sPLT": (b"sPLT", SECRET.replace(b"\0", b"") + b"\0\x08" + SECRET[:6]),
    "private": (b"anNa", SECRET),
    "content credentials": (b"caBX", SECRET),
    "long gAMA": (b"gAMA", b"\0\0\xb1\x8f" + SECRET),
    "long sRGB": (b"sRGB", b"\0" + SECRET),
    "long cHRM": (b"cHRM", struct.pack(">8I", 31270, 32900, *[30000] * 6) + SECRET),
    "long pHYs": (b"pHYs", b"\0\0\x0b\x13\0\0\x0b\x13\1" + SECRET),
    "tIME": (b"tIME", SECRET[:7]),
}  # fmt: skip


def behind_the_deflate_stream(picture: Image.Image) -> bytes:
    """A PNG whose last IDAT goes on when all pixels are there."""
    plain = encoded(picture, "PNG")
    return with_chunks(plain, png_chunk(b"IDAT", SECRET), at_end=True)


def apng(picture: Image.Image) -> bytes:
    other = picture.copy()
    other.paste((9, 99, 199), (0, 0, 20, 20))
    plain = encoded(picture, "PNG", save_all=True, append_images=[other], duration=9)
    return with_chunks(plain, png_chunk(b"fdAT", b"\0\0\0\x09" + SECRET), at_end=True)


def webp(picture: Image.Image) -> bytes:
    options = {"exif": exif_block(), "xmp": XMP_PACKET, "icc_profile": adobe_rgb(NAME)}
    plain = encoded(picture, "WEBP", lossless=True, **options)
    chunk = b"aNNa" + struct.pack("<I", len(SECRET)) + SECRET + bytes(len(SECRET) % 2)
    body = plain[8:] + chunk
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif(picture: Image.Image) -> bytes:
    plain = encoded(picture.quantize(100), "GIF")
    first = 13 + 3 * 2 ** ((plain[10] & 7) + 1)  # behind the palette that all frames share
    block = bytes([len(SECRET)]) + SECRET + b"\0"
    comment, application = b"\x21\xfe" + block, b"\x21\xff\x0bANNAOWNER01" + block
    blocks = comment + application + b"\x21\x01\x0c" + bytes(12) + block
    return plain[:first] + blocks + plain[first:-1] + comment + b";"


def tiff_tags(picture: Image.Image) -> bytes:
    texts = dict.fromkeys((270, 272, 305, 315, 316, 33432), SECRET)
    blocks = {XMP: XMP_PACKET, 33723: IPTC, 34377: PHOTOSHOP, 65000: SECRET, ICC: adobe_rgb(NAME)}
    alpha = picture.convert("RGBA").tobytes()
    tags = {258: [8] * 4, SAMPLES: 4, EXTRA: [2]} | texts | blocks
    return tiff(picture.size, alpha, tags, head=SECRET) + SECRET  # type: ignore[arg-type]


def tiff_exif(picture: Image.Image) -> bytes:
    exif = Image.Exif()
    exif.load(exif_block())
    return encoded(picture, "TIFF", exif=exif, icc_profile=adobe_rgb(NAME))


def bmp(picture: Image.Image) -> bytes:
    plain = bytearray(encoded(picture, "BMP"))
    gap = SECRET + bytes(-len(SECRET) % 4)
    struct.pack_into("<II", plain, 2, len(plain) + len(gap), 0)
    struct.pack_into("<I", plain, 10, 54 + len(gap))
    return bytes(plain[:54]) + gap + bytes(plain[54:])


def box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", 8 + len(payload)) + kind + payload


def isobmff(kind: str) -> Plant:
    """An AVIF or HEIC with EXIF, XMP, a profile's name, and boxes that nobody asked for."""

    def make(picture: Image.Image) -> bytes:
        plain = encoded(
            picture, kind, exif=exif_block(), xmp=XMP_PACKET, icc_profile=adobe_rgb(NAME)
        )
        return plain + box(b"free", SECRET) + box(b"uuid", bytes(16) + SECRET)

    return make


def jp2(picture: Image.Image) -> bytes:
    plain = encoded(picture, "JPEG2000", comment=NAME)
    stream = plain.index(b"jp2c") - 4
    boxes = box(b"xml ", XMP_PACKET) + box(b"uuid", bytes(16) + exif_block()) + box(b"free", SECRET)
    return plain[:stream] + boxes + plain[stream:]


def photoshop(picture: Image.Image) -> bytes:
    small = struct.pack(">IIIIIIHH", 1, 13, 9, 40, 360, len(_PIXELS), 24, 1) + _PIXELS
    resources = {0x0404: IPTC, 0x0424: XMP_PACKET, 0x0422: exif_block()[6:], 0x040C: small}
    planes = [band.tobytes() for band in picture.split()]
    return psd(picture.size, planes, resources=resources | {1039: adobe_rgb(NAME), 4000: SECRET})


def ico(picture: Image.Image) -> bytes:
    small = picture.resize((64, 48))
    inner = with_chunks(encoded(small, "PNG"), png_chunk(b"tEXt", b"Author\0" + SECRET))
    entry = struct.pack("<BBBBHHII", 64, 48, 0, 0, 1, 24, len(inner), 22)
    return b"\0\0\1\0\1\0" + entry + inner


def second_picture(picture: Image.Image) -> bytes:
    other = io.BytesIO(with_segments(jpeg(noisy((60, 40))), jpeg_segment(0xFE, SECRET)))
    return encoded(picture, "MPO", save_all=True, append_images=[Image.open(other)]) + SECRET


def trailing(kind: str) -> Plant:
    return lambda picture: encoded(picture, kind) + SECRET


def segment(marker: int, payload: bytes) -> Plant:
    return lambda picture: with_segments(jpeg(picture), jpeg_segment(marker, payload))


def chunk(kind: bytes, payload: bytes, *, at_end: bool) -> Plant:
    return lambda picture: with_chunks(
        encoded(picture, "PNG"), png_chunk(kind, payload), at_end=at_end
    )


def plants() -> Iterator[tuple[str, Plant]]:
    """(what is planted where, how): everything above."""
    for name, (marker, payload) in SEGMENTS.items():
        yield f"JPEG {name}", segment(marker, payload)
    yield "JPEG junk", junk(b"")
    yield "JPEG junk after FF00", junk(b"\xff\0")
    yield "JPEG junk after FF00 and a length", junk(b"\xff\0" + struct.pack(">H", len(SECRET) + 2))
    yield "JPEG between scans", between_scans
    for name, (chunk_type, payload) in CHUNKS.items():
        yield f"PNG {name}", chunk(chunk_type, payload, at_end=False)
        yield f"PNG {name} behind the pixels", chunk(chunk_type, payload, at_end=True)
    yield "PNG behind the deflate stream", behind_the_deflate_stream
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "HEIF"):
        yield f"{kind} trailing bytes", trailing(kind)
    whole = (apng, webp, gif, tiff_tags, tiff_exif, bmp, jp2, photoshop, ico, second_picture)
    for plant in whole:
        yield plant.__name__.replace("_", " "), plant
    for kind in ("AVIF", "HEIF"):
        yield f"{kind} boxes", isobmff(kind)


def assert_absent(data: bytes) -> None:
    """No encoding of the name is in data, nor any word of it in the order that a word is stored."""
    for text in ENCODED:
        assert text not in data
    for one, other in pairwise(NAME.split("-")):
        assert f"{one}-{other}".encode() not in data
