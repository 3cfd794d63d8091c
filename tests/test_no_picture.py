"""What is no photo is refused by its content, and no other program is ever asked to look at it."""

import gzip
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from batch_reimagine.errors import Rejected
from batch_reimagine.prepare import prepare
from tests.pictures import encoded, quarters
from tests.stills import STILLS

ROOT = Path(__file__).parent.parent
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9"/></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("photo.jpg", STILLS["JPEG"])
    return out.getvalue()


NO_PICTURES = {
    "nothing": b"",
    "one byte": b"\xff",
    "zeros": bytes(4096),
    "text": b"just text\n" * 99,
    "HTML": b"<!DOCTYPE html><html><img src=x></html>",
    "JSON": b'{"image": null}',
    "an archive": zipped(),
    "a film": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(99),
    "a QuickTime film": b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + bytes(99),
    "sound": b"RIFF\x24\0\0\0WAVEfmt " + bytes(40),
    "an AVI": b"RIFF\x24\0\0\0AVI LIST" + bytes(40),
    "sidecar XMP": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>",
    "base64 of a JPEG": b"data:image/jpeg;base64,/9j/4AAQSkZJRgABAQ",
    "a Finder file": b"\0\0\0\x01Bud1" + bytes(99),
    "an AppleDouble file": b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(99),
    "a Fujifilm raw": b"FUJIFILMCCD-RAW 0201" + bytes(99),
    "TGA": encoded(quarters(), "TGA"),
    "PPM": encoded(quarters(), "PPM"),
    "PCX": encoded(quarters(), "PCX"),
    "DDS": encoded(quarters(), "DDS"),
    "ICNS": encoded(quarters((64, 64)), "ICNS"),
    "a cursor": b"\0\0\2\0\1\0" + encoded(quarters((16, 16)), "ICO")[6:],
}
DRAWINGS = {
    "SVG": SVG,
    "SVG with a declaration": b'<?xml version="1.0"?>\n' + SVG,
    "SVG with a byte order mark": b"\xef\xbb\xbf  \n" + SVG,
    "EPS": EPS,
    "EPS made by Pillow": encoded(quarters(), "EPS"),
    "EPS with a preview": b"\xc5\xd0\xd3\xc6\x20\0\0\0" + bytes(24) + EPS,
    "PDF": PDF,
    "PDF made by Pillow": encoded(quarters(), "PDF"),
    "JPEG XL": b"\xff\x0a" + bytes(40),
    "JPEG XL in a box": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40),
}


@pytest.mark.parametrize("name", NO_PICTURES)
def test_what_is_no_picture_is_refused_as_none(name: str) -> None:
    with pytest.raises(Rejected) as refused:
        prepare(NO_PICTURES[name])

    assert refused.value.reason == "NOT_A_PICTURE"


def test_a_gzipped_drawing_is_no_picture_either() -> None:
    with pytest.raises(Rejected, match="NOT_A_PICTURE"):
        prepare(gzip.compress(SVG))


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_or_document_is_refused_by_name_with_a_way_out(name: str) -> None:
    with pytest.raises(Rejected) as refused:
        prepare(DRAWINGS[name])

    assert refused.value.reason == "UNSUPPORTED_FORMAT"
    told = name.split(" ", maxsplit=1)[0] if "XL" not in name else "JXL"
    assert told in refused.value.message
    assert "export" in refused.value.message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000"])
def test_a_document_within_a_pictures_signature_is_damaged(kind: str) -> None:
    """A polyglot: only the first bytes are a picture's."""
    head = encoded(quarters(), kind)[:16]

    with pytest.raises(Rejected) as refused:
        prepare(head + EPS * 9)

    assert refused.value.reason in {"DAMAGED", "NOT_A_PICTURE", "UNSUPPORTED_FORMAT"}


PREPARE_ALL = """
import sys
from pathlib import Path
from batch_reimagine.errors import Rejected
from batch_reimagine.prepare import prepare
for name in sys.argv[1:]:
    try:
        prepare(Path(name).read_bytes())
    except Rejected:
        pass
"""
# What Pillow does for whoever opens such a file without naming the formats.
TRUSTING = """
import subprocess, sys
from PIL import Image
with Image.open(sys.argv[1]) as picture:
    try:
        picture.load()
    except (OSError, subprocess.CalledProcessError):
        pass
"""
PROGRAMS: tuple[str, ...] = (
    "gs",
    "gswin64c",
    "gswin32c",
    "convert",
    "magick",
    "rsvg-convert",
    "inkscape",
    "pdftoppm",
)
PROGRAMS += ("heif-convert", "heif-dec", "djpeg", "xv", "display", "dcraw", "unzip", "sh")


def run_among_traps(code: str, folder: Path, *files: Path) -> list[str]:
    """Run Python code where every program of a name above only notes that it was called."""
    traps, trace = folder / "bin", folder / "trace"
    traps.mkdir()
    for name in PROGRAMS:
        trap = traps / name
        trap.write_text(f"#!/bin/sh\necho {name} >> '{trace}'\nexit 1\n")
        trap.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, files)],
        cwd=ROOT,
        env={**os.environ, "PATH": str(traps)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return trace.read_text().split() if trace.exists() else []


def test_no_other_program_is_started_whatever_the_file(tmp_path: Path) -> None:
    files = []
    for number, data in enumerate((NO_PICTURES | DRAWINGS | STILLS).values()):
        files.append(tmp_path / f"{number}.eps")
        files[-1].write_bytes(data)

    assert run_among_traps(PREPARE_ALL, tmp_path, *files) == []


def test_the_trap_would_tell_of_ghostscript(tmp_path: Path) -> None:
    drawing = tmp_path / "drawing.eps"
    drawing.write_bytes(DRAWINGS["EPS made by Pillow"])

    assert "gs" in run_among_traps(TRUSTING, tmp_path, drawing)
