"""A mark goes into a PNG, JPEG or WebP, and nothing else changes."""

import re
import struct
from time import perf_counter
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from batch_reimagine import mark
from batch_reimagine.mark import Mark, embed, is_marked, read
from tests.marked import (
    ALL,
    CODES,
    COMPRESSED,
    IN_ENGLISH,
    IPTC_EXT,
    JPEG_ID,
    PACKET,
    PLAIN,
    TRAINED,
    WITH_XMP,
    WRITERS,
    after_jfif,
    itxt,
    packet_of,
    pixels,
    taken_out,
    without_mark,
)
from tests.pictures import encoded, jpeg_segment, opened, with_chunks

MARK = Mark("Tool 1.0", "System, größer & <besser>")
OTHER = Mark("Other tool", "Other system")


@pytest.mark.parametrize("plain", ALL.values(), ids=ALL)
def test_a_marked_picture_says_so(plain: bytes) -> None:
    assert not is_marked(plain)

    marked = embed(plain, MARK)

    assert is_marked(marked)
    assert read(marked) == mark.Declared(TRAINED, MARK.creator_tool, MARK.system)


@pytest.mark.parametrize("plain", ALL.values(), ids=ALL)
def test_a_marked_picture_has_the_same_pixels(plain: bytes) -> None:
    assert pixels(embed(plain, MARK)) == pixels(plain)


@pytest.mark.parametrize("plain", ALL.values(), ids=ALL)
def test_marking_twice_gives_the_very_same_object(plain: bytes) -> None:
    marked = embed(plain, MARK)

    assert embed(marked, MARK) is marked
    assert embed(marked, OTHER) is marked


@pytest.mark.parametrize("plain", ALL.values(), ids=ALL)
def test_marking_is_deterministic(plain: bytes) -> None:
    assert embed(plain, MARK) == embed(
        bytes(bytearray(plain)), Mark(MARK.creator_tool, MARK.system)
    )


@pytest.mark.parametrize(
    "name", [name for name in PLAIN if not name.startswith("WebP")], ids=lambda name: name
)
def test_without_the_inserted_bytes_a_png_or_jpeg_is_what_it_was(name: str) -> None:
    inserted = taken_out(embed(PLAIN[name], MARK), PLAIN[name])

    assert inserted.count(b"<?xpacket begin") == 1
    assert len(inserted) < 800


@pytest.mark.parametrize(
    "name", [name for name in PLAIN if name.startswith("WebP")], ids=lambda name: name
)
def test_without_our_chunk_and_flag_a_webp_is_what_it_was(name: str) -> None:
    assert without_mark(embed(PLAIN[name], MARK), PLAIN[name]) == PLAIN[name]


@pytest.mark.parametrize("name", WRITERS)
def test_a_packet_is_merged_as_if_its_first_writer_had_known(name: str) -> None:
    marked = embed(WITH_XMP[name], MARK)

    merged = packet_of(marked)
    assert b"Tool 1.0" in taken_out(merged, PACKET)
    assert marked == WRITERS[name](merged)


@pytest.mark.parametrize("data", [COMPRESSED, IN_ENGLISH], ids=["compressed", "in a language"])
def test_a_packet_that_is_not_as_xmp_should_be_in_a_png_is_written_plain(data: bytes) -> None:
    assert embed(data, MARK) == embed(WITH_XMP["PNG"], MARK)


def test_a_mark_that_readers_pass_over_for_its_language_is_written_plain() -> None:
    plain = embed(WITH_XMP["PNG"], MARK)
    hidden = with_chunks(PLAIN["PNG"], itxt(packet_of(plain), words=b"en\0\0"))

    assert embed(hidden, MARK) == plain


def test_a_mark_in_a_compressed_packet_is_a_mark() -> None:
    packet = packet_of(embed(WITH_XMP["PNG"], MARK))
    marked = with_chunks(PLAIN["PNG"], itxt(packet, compressed=True))

    assert embed(marked, MARK) is marked


@pytest.mark.parametrize("name", [name for name in WRITERS if name.startswith("WebP")])
def test_a_webp_is_marked_as_libwebp_would(name: str) -> None:
    marked = embed(PLAIN[name], MARK)

    assert marked == WRITERS[name](packet_of(marked))


def test_a_png_gets_its_mark_before_the_pixels() -> None:
    marked = embed(PLAIN["PNG, palette"], MARK)

    kinds = re.findall(rb"IHDR|iTXt|PLTE|IDAT|IEND", marked)
    assert kinds == [b"IHDR", b"iTXt", b"PLTE", b"IDAT", b"IEND"]


def test_a_jpeg_gets_its_mark_after_jfif_and_exif() -> None:
    marked = embed(PLAIN["JPEG, EXIF, ICC, comment"], MARK)

    places = [marked.index(word) for word in (b"JFIF", b"Exif\0", JPEG_ID, b"ICC_PROFILE\0")]
    assert places == sorted(places)


def test_a_jpeg_without_any_header_segment_gets_its_mark_first() -> None:
    bare = PLAIN["JPEG"][:2] + PLAIN["JPEG"][20:]

    assert embed(bare, MARK)[2:4] == b"\xff\xe1"


def test_a_webp_gets_its_mark_after_pixels_and_exif_and_before_what_others_added() -> None:
    plain = PLAIN["WebP, ICC and EXIF"]
    unknown = b"FOOX" + struct.pack("<I", 3) + b"bar\0"
    size = struct.pack("<I", len(plain) + len(unknown) - 8)
    marked = embed(b"RIFF" + size + plain[8:] + unknown, MARK)

    places = [marked.index(word) for word in (b"ICCP", b"VP8 ", b"EXIF", b"XMP ", b"FOOX")]
    assert places == sorted(places)
    assert marked.endswith(unknown)


@pytest.mark.parametrize("lossless", [False, True], ids=["VP8", "VP8L"])
@pytest.mark.parametrize("size", [(1, 1), (300, 7), (5, 1030)], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_simple_webp_gets_a_header_that_tells_its_size_and_alpha(
    mode: str, size: tuple[int, int], *, lossless: bool
) -> None:
    colour = (10, 20, 30) if mode == "RGB" else (10, 20, 30, 40)
    plain = encoded(Image.new(mode, size, colour), "WEBP", lossless=lossless)
    marked = embed(plain, MARK)

    assert marked[12:20] == b"VP8X\x0a\0\0\0"
    assert marked[20:24] == bytes([0x04 | (0x10 if mode == "RGBA" else 0), 0, 0, 0])
    assert int.from_bytes(marked[24:27], "little") + 1 == size[0]
    assert int.from_bytes(marked[27:30], "little") + 1 == size[1]
    assert opened(marked).mode == mode


def test_xmp_that_a_webp_header_does_not_speak_of_is_announced() -> None:
    marked = embed(PLAIN["WebP, EXIF only"], MARK)
    hidden = marked[:20] + bytes([marked[20] & ~4]) + marked[21:]
    assert is_marked(hidden)

    assert embed(hidden, MARK) == marked


COMPOSITE = f"{CODES}compositeWithTrainedAlgorithmicMedia"


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WebP"])
@pytest.mark.parametrize(
    ("found", "left"),
    [
        pytest.param(TRAINED, TRAINED, id="AI"),
        pytest.param(COMPOSITE, COMPOSITE, id="partly AI"),
        pytest.param(
            TRAINED.replace("http", "https"), TRAINED.replace("http", "https"), id="https"
        ),
        pytest.param(f"{CODES}digitalCapture", TRAINED, id="a camera"),
        pytest.param(f"{CODES}humanEdits", TRAINED, id="a person"),
        pytest.param("trainedAlgorithmicMedia", TRAINED, id="no address"),
    ],
)
def test_a_source_type_that_would_be_untrue_is_replaced(name: str, found: str, left: str) -> None:
    said = PACKET.replace(
        b' photoshop:City="',
        f' xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'e:DigitalSourceType="{found}" photoshop:City="'.encode(),
    )
    picture = {
        "PNG": with_chunks(PLAIN["PNG"], itxt(said)),
        "JPEG": after_jfif(PLAIN["JPEG"], jpeg_segment(0xE1, JPEG_ID + said)),
        "WebP": encoded(opened(PLAIN["PNG"]), "WEBP", xmp=said),
    }[name]

    marked = embed(picture, MARK)

    assert read(marked).source_type == left
    assert is_marked(marked)
    assert marked.count(b"digitalsourcetype/") == 1
    assert "Köln".encode() in marked


@pytest.mark.parametrize("text", ["", "  ", "two\nlines", "\0", "\x1b[31m", "\ud800", "\uffff"])
def test_a_mark_is_a_line_of_text(text: str) -> None:
    with pytest.raises(ValueError, match="not fit for a mark"):
        Mark("Tool", text)
    with pytest.raises(ValueError, match="not fit for a mark"):
        Mark(text, "System")


def test_the_mark_is_three_facts_under_their_full_names() -> None:
    tags = {each.tag: each.text for each in ET.fromstring(mark.sidecar(MARK)).iter()}  # noqa: S314

    assert tags["{http://ns.adobe.com/xap/1.0/}CreatorTool"] == MARK.creator_tool
    assert tags[f"{{{IPTC_EXT}}}DigitalSourceType"] == TRAINED
    assert tags[f"{{{IPTC_EXT}}}AISystemUsed"] == MARK.system


def test_of_two_source_types_the_one_of_ai_is_read() -> None:
    camera = f'Iptc4xmpExt:DigitalSourceType="{CODES}digitalCapture" rdf:about='
    packet = mark.sidecar(MARK).replace(b"rdf:about=", camera.encode())

    assert mark.reads_marked(packet)


def test_a_system_that_is_not_known_is_not_spoken_of() -> None:
    marked = embed(PLAIN["PNG"], Mark("Tool", None))

    assert read(marked) == mark.Declared(TRAINED, "Tool", None)
    assert b"AISystemUsed" not in marked


def test_a_sidecar_is_a_packet_that_reads_as_marked() -> None:
    assert mark.reads_marked(mark.sidecar(MARK))
    assert not mark.reads_marked(PACKET)
    assert not mark.reads_marked(mark.sidecar(MARK)[:-100])
    assert mark.sidecar(MARK) == mark.sidecar(Mark(MARK.creator_tool, MARK.system))


def test_marking_a_large_png_costs_less_than_five_milliseconds() -> None:
    pixels = Image.effect_noise((1250, 1250), 90)
    plain = encoded(pixels, "PNG", compress_level=1)
    assert len(plain) > 1_200_000

    def once() -> float:
        began = perf_counter()
        embed(plain, MARK)
        return perf_counter() - began

    assert min(once() for _ in range(20)) < 0.005
