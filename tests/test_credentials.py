"""C2PA Content Credentials are seen, and a picture that has them is never changed."""

import struct
from pathlib import Path

import pytest

from batch_reimagine.mark import Mark, embed, has_credentials, is_marked, sidecar
from tests.marked import ALL, FOREIGN_BOX, JPEG_ID, PLAIN, after_jfif, itxt
from tests.pictures import encoded, jpeg_segment, opened, png_chunk, with_chunks

MARK = Mark("Tool", "System")
NAMES = ["signed.jpg", "signed.png", "signed.webp"]
SIGNED = {name: (Path(__file__).parent / "pictures_c2pa" / name).read_bytes() for name in NAMES}

# C2PA 2.4, 11.1.4: the type of a manifest store; ISO 19566-5: boxes, and how JPEG holds them.
STORE = bytes.fromhex("63327061001100108000 00AA00389B71")


def box(kind: bytes, content: bytes, *, long: bool = False) -> bytes:
    if long:
        return struct.pack(">I", 1) + kind + struct.pack(">Q", 16 + len(content)) + content
    return struct.pack(">I", 8 + len(content)) + kind + content


def app11(type_: bytes, *, long: bool = False, inner: bytes = b"") -> bytes:
    described = box(b"jumd", type_ + b"\x03c2pa\0") + inner
    return jpeg_segment(0xEB, b"JP\0\1\0\0\0\1" + box(b"jumb", described, long=long))


@pytest.mark.parametrize("name", NAMES)
def test_credentials_that_a_real_signer_wrote_are_seen(name: str) -> None:
    assert has_credentials(SIGNED[name])
    assert not is_marked(SIGNED[name])


@pytest.mark.parametrize("name", NAMES)
def test_a_signed_picture_is_not_changed(name: str) -> None:
    with pytest.raises(ValueError, match="Content Credentials"):
        embed(SIGNED[name], MARK)


@pytest.mark.parametrize("data", ALL.values(), ids=ALL)
def test_a_picture_without_credentials_is_told_so(data: bytes) -> None:
    assert not has_credentials(data)
    assert not has_credentials(embed(data, MARK))


CARRYING = {
    "PNG": with_chunks(PLAIN["PNG"], png_chunk(b"caBX", b"store")),
    "PNG, after the pixels": with_chunks(PLAIN["PNG"], png_chunk(b"caBX", b"store"), at_end=True),
    "JPEG": after_jfif(PLAIN["JPEG"], app11(STORE)),
    "JPEG, a long box": after_jfif(PLAIN["JPEG"], app11(STORE, long=True)),
    "JPEG, beside a foreign box": after_jfif(
        PLAIN["JPEG"], jpeg_segment(0xEB, FOREIGN_BOX), app11(STORE)
    ),
    "WebP": PLAIN["WebP, EXIF only"][:4]
    + struct.pack("<I", len(PLAIN["WebP, EXIF only"]) + 6)
    + PLAIN["WebP, EXIF only"][8:]
    + b"C2PA\x05\0\0\0store\0",
}


@pytest.mark.parametrize("data", CARRYING.values(), ids=CARRYING)
def test_credentials_are_seen_wherever_the_specification_puts_them(data: bytes) -> None:
    assert has_credentials(data)
    with pytest.raises(ValueError, match="Content Credentials"):
        embed(data, MARK)


OTHERS = {
    "a box of another type": app11(bytes.fromhex("6579D6FBDBA2446BB2AC1B82FEEB89D1")),
    "a long box of another type": app11(b"\x01" * 16, long=True),
    "our type, but within another box": app11(
        b"\x01" * 16, inner=box(b"jumb", box(b"jumd", STORE + b"\x03c2pa\0"))
    ),
    "the word alone": jpeg_segment(0xEB, b"JP\0\1\0\0\0\1 c2pa " + STORE),
    "no JUMBF": jpeg_segment(0xEB, b"HDR" + app11(STORE)[7:]),
    "another segment": jpeg_segment(0xEC, app11(STORE)[4:]),
    "an empty segment": jpeg_segment(0xEB, b""),
    "a comment": jpeg_segment(0xFE, app11(STORE)[4:]),
}


@pytest.mark.parametrize("segment", OTHERS.values(), ids=OTHERS)
def test_what_only_looks_like_credentials_does_not_count(segment: bytes) -> None:
    data = after_jfif(PLAIN["JPEG"], segment)

    assert not has_credentials(data)
    assert is_marked(embed(data, MARK))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    ("address", "counts"),
    [
        ("https://example.com/store.c2pa", True),
        ("http://example.com/store.c2pa", True),
        ("bought from the painter's heirs", False),
        ("self#jumbf=/c2pa/gone", False),
    ],
)
def test_credentials_at_an_address_count_too(kind: str, address: str, *, counts: bool) -> None:
    said = f'xmlns:d="http://purl.org/dc/terms/" d:provenance="{address}" rdf:about='
    packet = sidecar(MARK).replace(b"rdf:about=", said.encode())
    data = {
        "PNG": with_chunks(PLAIN["PNG"], itxt(packet)),
        "JPEG": after_jfif(PLAIN["JPEG"], jpeg_segment(0xE1, JPEG_ID + packet)),
        "WEBP": encoded(opened(PLAIN["PNG"]), "WEBP", xmp=packet),
    }[kind]

    assert has_credentials(data) is counts
    if counts:
        with pytest.raises(ValueError, match="Content Credentials"):
            embed(data, MARK)
    else:
        assert embed(data, MARK) is data


def test_a_packet_that_no_one_can_read_names_no_address() -> None:
    assert not has_credentials(with_chunks(PLAIN["PNG"], itxt(b"<broken")))


@pytest.mark.parametrize("data", CARRYING.values(), ids=CARRYING)
def test_credentials_beside_xmp_that_no_one_can_read_are_seen(data: bytes) -> None:
    if data.startswith(b"\x89PNG"):
        data = with_chunks(data, itxt(b"<broken"), itxt(b"<broken"))
    elif data.startswith(b"\xff\xd8"):
        data = after_jfif(data, jpeg_segment(0xE1, JPEG_ID), jpeg_segment(0xE2, b"MPF\0"))

    assert has_credentials(data)


@pytest.mark.parametrize("data", [PLAIN["PNG"][:-3], b"", b"GIF89a"], ids=["cut", "none", "GIF"])
def test_what_is_no_whole_picture_has_no_credentials(data: bytes) -> None:
    assert not has_credentials(data)
