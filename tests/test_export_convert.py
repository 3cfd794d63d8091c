"""Conversion: colours, transparency, the AI mark; what is lost is said."""

import json
import struct
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from batch_reimagine import mark
from batch_reimagine.carriers import carrier_of
from batch_reimagine.export.convert import Converted, NoPictureError, convert
from batch_reimagine.export.plan import Wish
from batch_reimagine.mark import AI_SOURCE_TYPES, SOURCE_TYPE, Mark
from tests.exporting import MARK, Output, picture
from tests.marked import TRAINED
from tests.oracles import oracle
from tests.pictures import (
    alike,
    corners,
    encoded,
    grey16_png,
    opened,
    quarters,
    srgb_profile,
    swapped_profile,
    turned,
)
from tests.test_marking import signed

TYPES = ["png", "jpeg", "webp"]


def to(type_: str, data: bytes, max_side: int | None = None, quality: int = 92) -> Converted:
    return convert(data, Wish(type_, max_side, quality))


def see_through(size: tuple[int, int] = (40, 30)) -> bytes:
    picture = quarters(size, "RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1] // 2))
    return encoded(picture, "PNG")


@pytest.mark.parametrize("target", TYPES)
@pytest.mark.parametrize("source", TYPES)
def test_every_type_becomes_every_other_smaller_and_with_its_mark(source: str, target: str) -> None:
    data = mark.embed(encoded(quarters((96, 64)), source.upper()), MARK)

    made = to(target, data, 48).data

    assert opened(made).format == {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}[target]
    assert opened(made).size == (48, 32)
    assert alike(corners(made), corners(data))
    said = mark.read(made)
    assert (said.source_type, said.creator_tool, said.system) == (
        SOURCE_TYPE,
        MARK.creator_tool,
        MARK.system,
    )


def test_others_read_the_mark_of_a_converted_file(tmp_path: Path) -> None:
    exiftool = oracle("exiftool")
    output = Output(tmp_path / "out")
    output.add("a.jpg", picture(), picked=(1,))
    output.add("signed.jpg", signed("jpeg"), picked=(1,))
    output.export(tmp_path / "shop", format="webp")

    told = subprocess.run(
        [exiftool, "-j", "-G1", "-n", "-XMP:all", "-ext", "webp", str(tmp_path / "shop")],
        capture_output=True,
        check=True,
        timeout=30,
    )
    found = json.loads(told.stdout)
    assert len(found) == 2
    for one in found:
        assert one["XMP-iptcExt:DigitalSourceType"] == TRAINED
        assert one["XMP-xmp:CreatorTool"] == MARK.creator_tool
        assert one["XMP-iptcExt:AISystemUsed"] == MARK.system


def test_a_picture_that_is_edited_with_ai_does_not_become_one_that_is_made_by_it() -> None:
    edited = next(t for t in AI_SOURCE_TYPES if "composite" in t and t.startswith("http:"))
    made = mark.embed(picture(), Mark("x", None))
    carrier = carrier_of(made)
    data = carrier.put((carrier.take() or b"").replace(SOURCE_TYPE.encode(), edited.encode()))

    assert mark.read(to("jpeg", data).data).source_type == edited


def test_a_picture_without_the_mark_gets_none() -> None:
    assert not mark.is_marked(to("jpeg", picture()).data)


def test_a_mark_in_the_file_beside_it_goes_into_the_converted_one() -> None:
    made = convert(picture(), Wish("jpeg", None, 92), mark.sidecar(Mark("tool 1", "system 2")))

    said = mark.read(made.data)
    assert (said.by_ai, said.creator_tool, said.system) == (True, "tool 1", "system 2")


def test_content_credentials_that_go_are_named(tmp_path: Path) -> None:
    output = Output(tmp_path / "out")
    output.add("signed.jpg", signed("jpeg"), picked=(1,))
    output.add("plain.jpg", picture("jpeg"), picked=(1,))

    for dry_run in (True, False, False):  # also when it is there already
        done = output.export(tmp_path / "shop", format="png", dry_run=dry_run)

        (warning,) = done.warnings
        assert "Content Credentials" in warning
        assert "signed_01.png" in warning
        assert "plain" not in warning
    assert not mark.has_credentials((tmp_path / "shop/signed_01.png").read_bytes())
    assert mark.is_marked((tmp_path / "shop/signed_01.png").read_bytes())
    assert not (tmp_path / "shop/signed_01.xmp").exists()


@pytest.mark.parametrize("target", TYPES)
@pytest.mark.parametrize("source", TYPES)
def test_a_picture_whose_only_mark_were_its_credentials_is_declared(
    tmp_path: Path, source: str, target: str
) -> None:
    output = Output(tmp_path / "out")
    output.add("signed.jpg", signed(source), picked=(1,), mark=None)
    assert not mark.is_marked(signed(source))

    (made,) = output.export(tmp_path / "shop", format=target, max_side=20).names

    data = (tmp_path / "shop" / made).read_bytes()
    assert mark.read(data).source_type == SOURCE_TYPE


def test_what_is_told_beside_credentials_is_kept_with_the_declaration() -> None:
    about = Mark("shop tool 7", "Some AI System")
    packet = mark.sidecar(about).replace(SOURCE_TYPE.encode(), b"http://example.org/no-source-type")
    told = carrier_of(signed("jpeg")).put(packet)

    said = mark.read(to("webp", told).data)

    assert (said.source_type, said.creator_tool, said.system) == (
        SOURCE_TYPE,
        about.creator_tool,
        about.system,
    )


@pytest.mark.parametrize("target", TYPES)
@pytest.mark.parametrize("source", TYPES)
def test_the_profile_stays(source: str, target: str) -> None:
    profile = swapped_profile()

    made = to(target, encoded(quarters(), source.upper(), icc_profile=profile), 48).data

    assert opened(made).info["icc_profile"] == profile


def test_colours_that_the_new_type_cannot_hold_become_srgb() -> None:
    cmyk = encoded(quarters((96, 64), "CMYK"), "JPEG")
    seen = to("png", cmyk).data

    assert opened(seen).mode == "RGB"
    assert "icc_profile" not in opened(seen).info
    assert opened(to("jpeg", cmyk, 48).data).mode == "CMYK"


def test_a_profile_of_other_colours_is_not_handed_on() -> None:
    data = encoded(quarters((40, 30), "L"), "PNG", icc_profile=srgb_profile())
    fake = encoded(quarters((40, 30)), "PNG", icc_profile=b"x" * 16 + b"GRAY" + b"x" * 200)

    assert opened(to("webp", data).data).mode == "RGB"
    assert "icc_profile" not in opened(to("jpeg", fake).data).info


def test_transparent_parts_become_white_in_jpeg_and_it_is_said(tmp_path: Path) -> None:
    output = Output(tmp_path / "out")
    output.add("a.png", see_through(), picked=(1,))
    output.add("b.png", encoded(quarters((40, 30), "RGBA"), "PNG"), picked=(1,))

    done = output.export(tmp_path / "shop", format="jpeg")

    (warning,) = done.warnings
    assert "white" in warning
    assert "a_01.jpg" in warning
    assert "b_01.jpg" not in warning
    white, green, _, _ = corners((tmp_path / "shop/a_01.jpg").read_bytes())
    assert white == (255, 255, 255)
    assert alike([green], [(30, 200, 40)])


@pytest.mark.parametrize("target", ["png", "webp"])
def test_transparency_stays_where_it_can(target: str) -> None:
    made = opened(to(target, see_through(), 20).data)

    assert made.mode == "RGBA"
    assert made.getpixel((2, 2))[3] == 0  # type: ignore[index]
    assert made.getpixel((18, 2))[3] == 255  # type: ignore[index]


def test_a_transparent_palette_becomes_white_in_jpeg() -> None:
    data = encoded(quarters((40, 30)).quantize(8), "PNG", transparency=0)

    made = to("jpeg", data)

    assert made.was_transparent
    assert (255, 255, 255) in corners(made.data)


def test_jpeg_keeps_all_of_its_colour_samples() -> None:
    made = to("jpeg", picture()).data

    at = made.index(b"\xff\xc0")
    count = made[at + 9]
    factors = [made[at + 11 + 3 * n] for n in range(count)]
    assert factors == [0x11, 0x11, 0x11]


def test_quality_is_heeded_and_is_92_unless_said(tmp_path: Path) -> None:
    output = Output(tmp_path / "out")
    output.add("a.png", picture(size=(200, 150)), picked=(1,))
    sizes = {}
    for quality in (30, 92, None):
        output.export(tmp_path / f"shop{quality}", format="jpeg", quality=quality)
        sizes[quality] = (tmp_path / f"shop{quality}/a_01.jpg").stat().st_size

    assert sizes[30] < sizes[92] == sizes[None]


def test_a_small_picture_is_not_made_larger_and_one_that_fits_is_not_touched(
    tmp_path: Path,
) -> None:
    output = Output(tmp_path / "out")
    (name,) = output.add("a.jpg", picture("jpeg", (48, 36)), picked=(1,))

    output.export(tmp_path / "shop", format="jpeg", max_side=48, quality=1)
    output.export(tmp_path / "png", format="png", max_side=5000)

    assert (tmp_path / "shop/a_01.jpg").read_bytes() == (output.root / name).read_bytes()
    assert opened((tmp_path / "png/a_01.png").read_bytes()).size == (48, 36)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_lies_on_its_side_is_turned_upright(orientation: int) -> None:
    made = to("png", turned(orientation, "JPEG")).data

    assert alike(corners(made), corners(encoded(quarters(), "PNG")))
    assert opened(made).getexif().get(0x0112, 1) == 1


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    grey = opened(to("jpeg", grey16_png(32_768)).data).convert("L").getpixel((3, 3))

    assert grey in range(126, 131)


def test_the_same_picture_gives_the_same_bytes() -> None:
    for type_ in TYPES:
        assert to(type_, picture(), 20).data == to(type_, picture(), 20).data


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    for size in ((5000, 5000), (20_000, 900)):
        bomb = encoded(Image.new("1", size), "PNG")
        assert len(bomb) < 10_000
        with pytest.raises(NoPictureError, match="too many"):
            to("jpeg", bomb)


@pytest.mark.parametrize("percent", [5, 50, 90])
def test_what_cannot_be_decoded_is_refused(percent: int) -> None:
    for type_ in TYPES:
        data = picture(type_, (96, 64))
        with pytest.raises(NoPictureError):
            to("png", data[: len(data) * percent // 100])


def test_an_animation_keeps_its_first_frame_and_it_is_said() -> None:
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)

    made = to("png", data)

    assert made.first_frame
    assert alike(corners(made.data), [(255, 0, 0)] * 4)


def test_a_header_that_lies_about_its_size_is_left_out(tmp_path: Path) -> None:
    output = Output(tmp_path / "out")
    (name,) = output.add("a.jpg", picture("jpeg", (48, 36)), picked=(1,))
    data = bytearray((output.root / name).read_bytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 8000, 8000)
    (output.root / name).write_bytes(data)

    done = output.export(tmp_path / "shop", format="png")

    assert (done.files, done.missing) == (0, 1)
