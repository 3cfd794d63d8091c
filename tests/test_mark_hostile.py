"""What a foreign server sends costs bounded time and memory, and breaks nothing but itself."""

import contextlib
import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from batch_reimagine import mark, xmp
from batch_reimagine.mark import Mark, embed
from tests.marked import (
    ALL,
    JPEG_ID,
    PACKET,
    PLAIN,
    after_jfif,
    alike_until,
    itxt,
    pixels,
    without_mark,
)
from tests.pictures import jpeg_segment, png_chunk, with_chunks

MARK = Mark("Tool", "System")
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
MOST_PIXELS = 100_000  # of a damaged picture that is decoded; the whole ones have 6,144 at most
Edit = tuple[int, int, bytes]


def rdf(inside: bytes) -> bytes:
    return f'<r:RDF xmlns:r="{RDF}">'.encode() + inside + b"</r:RDF>"


def edited(data: bytes, edits: list[Edit]) -> bytes:
    """Bytes put in at places, and some cut out there; -1: as many, so that no length is wrong."""
    for at, cut, new in edits:
        place = at % (len(data) + 1)
        data = data[:place] + new + data[place + (len(new) if cut < 0 else cut) :]
    return data


def mended(png: bytes) -> bytes:
    """The PNG with right checksums, so that damage goes deeper than the first of them."""
    out, at = png[:8], 8
    while at + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, at)
        content = png[at + 4 : at + 8 + length]
        out += png[at : at + 4] + content + struct.pack(">I", zlib.crc32(content))
        at += 12 + length
    return out


PLACES = st.one_of(st.integers(0, 200), st.integers(0, 5000))
WORDS = [b"XMP ", b"VP8X", b"iTXt", b"\xff\xe1", b"<", b"</rdf:RDF>", b'"', b"\xff\xd8", b"EXIF"]
NEW = st.one_of(st.binary(max_size=4), st.sampled_from(WORDS))
CUTS = st.one_of(st.just(-1), st.just(-1), st.integers(0, 6))
EDITS = st.lists(st.tuples(PLACES, CUTS, NEW), min_size=1, max_size=4)


def assert_nothing_else_changed(data: bytes, marked: bytes) -> None:
    """Found without knowing the format: but for one run of bytes, that of the XMP, all is there."""
    if data.startswith(b"RIFF"):
        if b"XMP " not in data:
            assert without_mark(marked, data) == data
        return
    head = alike_until(data, marked)
    tail = alike_until(data[head:][::-1], marked[head:][::-1])
    gone, new = data[head : len(data) - tail], marked[head : len(marked) - tail]
    assert not gone or any(name in gone for name in (b"XML:com.adobe.xmp", JPEG_ID))
    assert b"Tool" in new


def decoded(data: bytes) -> list[tuple[object, ...]] | None:
    """Its pixels; None if a decoder refuses it, or damage has made it too large to try."""
    with contextlib.suppress(Exception), Image.open(io.BytesIO(data)) as picture:
        if picture.width * picture.height <= MOST_PIXELS:
            return pixels(data)
    return None


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(sorted(ALL)), EDITS)
def test_any_damage_ends_in_a_value_error_or_the_same_pixels(name: str, edits: list[Edit]) -> None:
    data = edited(ALL[name], edits)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        data = mended(data)
    try:
        marked = embed(data, MARK)
    except ValueError:
        return
    assert mark.is_marked(marked)
    assert embed(marked, MARK) is marked
    assert_nothing_else_changed(data, marked)
    before = decoded(data)
    if before is not None:
        assert decoded(marked) == before


@settings(max_examples=600, deadline=None)
@given(EDITS)
def test_any_damage_to_a_packet_ends_in_a_value_error_or_a_packet_that_reads(
    edits: list[Edit],
) -> None:
    packet = edited(PACKET, edits)
    new = xmp.Property("http://example.com/", "e", "thing")
    city = xmp.Property("http://ns.adobe.com/photoshop/1.0/", "photoshop", "City")
    try:
        before = xmp.read(packet, [city])
    except ValueError:
        return
    merged = xmp.merge(packet, {new: "said"})

    assert xmp.read(merged, [city, new]) == {**before, new: ["said"]}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF"]), st.binary(max_size=200))
def test_any_bytes_behind_a_signature_end_in_bytes_or_a_value_error(
    start: bytes, rest: bytes
) -> None:
    for ask in (mark.read, mark.has_credentials, lambda data: embed(data, MARK)):
        with contextlib.suppress(ValueError):
            ask(start + rest)


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WebP, lossy", "WebP, ICC and EXIF"])
def test_a_picture_cut_anywhere_in_its_head_is_a_value_error(name: str) -> None:
    for cut in range(300):
        with pytest.raises(ValueError, match=r"\w"):
            embed(PLAIN[name][:cut], MARK)


def bomb(size: int) -> bytes:
    """A packet of spaces that is a thousand times smaller when compressed."""
    return zlib.compress(rdf(b" " * size), 9)


def webp_of(chunks: bytes) -> bytes:
    whole = PLAIN["WebP, EXIF only"][12:] + chunks
    return b"RIFF" + struct.pack("<I", 4 + len(whole)) + b"WEBP" + whole


BIG = xmp.MAX_BYTES - 200
LAUGHS = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))
COSTLY: dict[str, Callable[[], bytes]] = {
    "a compressed packet that grows a thousandfold": lambda: with_chunks(
        PLAIN["PNG"],
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb(300_000_000)),
    ),
    "entities within entities": lambda: with_chunks(
        PLAIN["PNG"],
        itxt(b'<!DOCTYPE x [<!ENTITY l0 "lol">' + LAUGHS + b"]>" + rdf(b"<a>&l9;</a>")),
    ),
    "elements within elements": lambda: with_chunks(
        PLAIN["PNG"], itxt(rdf(b"<a>" * (BIG // 7) + b"</a>" * (BIG // 7)))
    ),
    "elements that never end": lambda: with_chunks(PLAIN["PNG"], itxt(rdf(b"<a>" * (BIG // 3)))),
    "a tag that never ends": lambda: with_chunks(PLAIN["PNG"], itxt(rdf(b"<a " + b" " * BIG))),
    "many attributes": lambda: with_chunks(
        PLAIN["PNG"],
        itxt(
            rdf(b'<d xmlns:a="a:"' + b"".join(b' a:b%06d=""' % n for n in range(BIG // 13)) + b"/>")
        ),
    ),
    "many namespaces": lambda: with_chunks(
        PLAIN["PNG"],
        itxt(rdf(b"<d" + b"".join(b' xmlns:b%06d="u"' % n for n in range(BIG // 18)) + b"/>")),
    ),
    "many properties": lambda: with_chunks(
        PLAIN["PNG"], itxt(rdf(b"<d>" + b"<a/>" * (BIG // 4 - 10) + b"</d>"))
    ),
    "many source types": lambda: with_chunks(
        PLAIN["PNG"],
        itxt(
            rdf(
                b'<d xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
                + b"<e:DigitalSourceType/>" * (BIG // 23)
                + b"</d>"
            )
        ),
    ),
    "many references": lambda: with_chunks(
        PLAIN["PNG"], itxt(rdf(b"<d><a>" + b"&lt;" * (BIG // 4 - 10) + b"</a></d>"))
    ),
    "many PNG chunks": lambda: with_chunks(PLAIN["PNG"], png_chunk(b"aaAa", b"") * 100_000),
    "many WebP chunks": lambda: webp_of(b"abcd\0\0\0\0" * 100_000),
    "many JPEG segments": lambda: after_jfif(PLAIN["JPEG"], jpeg_segment(0xE5, b"") * 100_000),
    "many boxes": lambda: after_jfif(PLAIN["JPEG"], jpeg_segment(0xEB, b"JP" * 100) * 20_000),
    "many packets": lambda: after_jfif(PLAIN["JPEG"], jpeg_segment(0xE1, JPEG_ID + PACKET) * 5_000),
}


@pytest.mark.parametrize("name", COSTLY)
def test_what_is_made_to_be_costly_costs_little(name: str) -> None:
    data = COSTLY[name]()
    began = perf_counter()
    with contextlib.suppress(ValueError):
        embed(data, MARK)
    took = perf_counter() - began
    tracemalloc.start()
    with contextlib.suppress(ValueError):
        embed(data, MARK)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 5, f"{took:.1f} s"
    assert peak < 100_000_000, f"{peak / 1e6:.0f} MB"


def test_a_packet_that_would_grow_over_what_is_read_is_refused() -> None:
    full = rdf(b" " * (xmp.MAX_BYTES - len(rdf(b"")) - 100))

    with pytest.raises(ValueError, match="more than"):
        embed(with_chunks(PLAIN["PNG"], itxt(full)), MARK)
