"""The format is told by the first bytes, whatever the name says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_reimagine.kinds import ACCEPTED, HEAD_BYTES, PICTURE_SUFFIXES, document_of, kind_of
from tests.pictures import encoded, quarters


@pytest.mark.parametrize("kind", sorted(ACCEPTED - {"PSD"}))  # which nobody here writes
def test_what_a_real_encoder_writes_is_known_by_its_head(kind: str) -> None:
    assert kind_of(encoded(quarters(), kind)[:HEAD_BYTES]) == kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        pytest.param(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC", id="HEIC of a phone"),
        pytest.param(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF", id="AVIF, brand second"),
        pytest.param(b"8BPS\0\x01", "PSD", id="Photoshop"),
        pytest.param(b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000", id="JPEG 2000"),
        pytest.param(b"\0\0\0\x0cJXL \r\n\x87\n", "JXL", id="JPEG XL in its box"),
        pytest.param(b"\xff\x0a\x10", "JXL", id="JPEG XL, bare"),
        pytest.param(b"MM\0*\0\0\0\x08", "TIFF", id="TIFF, big end first"),
    ],
)
def test_a_format_that_is_not_decoded_is_still_named(head: bytes, kind: str) -> None:
    assert kind_of(head) == kind


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x89PNG\n\x1a\n", id="a PNG whose line ends were converted"),
        pytest.param(b"RIFF\0\0\0\0WAVE", id="sound in RIFF"),
        pytest.param(b"BM and then text that is no bitmap", id="text that begins with BM"),
        pytest.param(b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", id="a film"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0", id="PostScript, which would start Ghostscript"),
        pytest.param(b"<svg xmlns=", id="SVG"),
        pytest.param(b"%PDF-1.7", id="PDF"),
        pytest.param(b"<html>", id="a page"),
        pytest.param(b"\0\0\1\0" + bytes(60), id="nothing that begins like an icon"),
    ],
)
def test_what_is_no_picture_has_no_kind(head: bytes) -> None:
    assert kind_of(head) is None


@pytest.mark.parametrize(
    ("head", "document"),
    [
        pytest.param(b"%PDF-1.7", "PDF", id="PDF"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0", "EPS", id="EPS"),
        pytest.param(b"\xc5\xd0\xd3\xc6\x1e\0\0\0", "EPS", id="EPS with a preview"),
        pytest.param(b"<svg xmlns=", "SVG", id="SVG"),
        pytest.param(b"\xef\xbb\xbf\n<?xml version", "SVG", id="SVG with a BOM"),
        pytest.param(b"hello", None, id="text"),
    ],
)
def test_what_often_lies_beside_photos_is_named(head: bytes, document: str | None) -> None:
    assert document_of(head) == document


@given(st.binary(max_size=80))
def test_any_bytes_are_judged_without_an_error(head: bytes) -> None:
    kind = kind_of(head)

    assert kind is None or kind.isupper()


@given(st.sampled_from([b"\0\0\0\x18ftyp", b"RIFF", b"BM", b"\xff\xff\xff\xffftyp"]), st.binary())
def test_a_head_cut_short_is_judged_without_an_error(start: bytes, rest: bytes) -> None:
    kind_of((start + rest)[:HEAD_BYTES])


def test_suffixes_are_compared_in_lower_case_with_their_dot() -> None:
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in PICTURE_SUFFIXES)
