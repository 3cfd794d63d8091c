"""Rows are data, not orders; the index knows what is done and believes no more than that."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_reimagine import manifest
from batch_reimagine.manifest import Index, Place
from batch_reimagine.work import Kept, Picture, Record

REQUEST = "novita type=png"
A, B = (hashlib.sha256(name).hexdigest() for name in (b"A", b"B"))


def row(**changes: Any) -> Record:
    """A done row for a.jpg's first variation, but for the changes."""
    columns: dict[str, Any] = {
        "run": "r1",
        "time": "2026-01-01T00:00:00.000Z",
        "status": "done",
        "source": "a.jpg",
        "source_sha256": A,
        "variation": 1,
        "provider": "novita",
        "request": REQUEST,
    }
    columns |= changes
    if columns["status"] == "done":
        columns.setdefault("output", f"a_v{columns['variation']:02d}.png")
    return Record(**columns)


def index(*rows: Record) -> Index:
    index = Index(REQUEST)
    for one in rows:
        index.add(one)
    return index


def place(of: Index, content: str = A, source: str = "a.jpg") -> Place:
    return next(p for p in of.places(bytes.fromhex(content)) if p.source == source)


def test_a_done_row_is_remembered_by_content() -> None:
    known = index(row(), row(variation=2, output="a_v02.webp"))

    assert [found[:2] for found in place(known).done()] == [(1, "a_v01.png"), (2, "a_v02.webp")]
    assert known.base_of("a.jpg") == "a"


@pytest.mark.parametrize(
    "output",
    [
        pytest.param("../a_v01.png", id="a step up"),
        pytest.param("x/../../a_v01.png", id="a step up, hidden"),
        pytest.param("/etc/a_v01.png", id="absolute"),
        pytest.param("x//a_v01.png", id="an empty part"),
        pytest.param("./a_v01.png", id="a dot"),
        pytest.param("x\0y/a_v01.png", id="NUL"),
        pytest.param("C:\\a_v01.png", id="a backslash"),
        pytest.param("a.png", id="no number"),
        pytest.param("a_v02.png", id="another number than the row's"),
        pytest.param("a_v1.png", id="one digit"),
        pytest.param("a_v001.png", id="more zeros than this tool writes"),
        pytest.param("a_v\u0660\u0661.png", id="digits of another script"),
        pytest.param("a_v01.exe", id="another suffix"),
        pytest.param("a_v01.jpeg", id="a suffix that this tool does not write"),
        pytest.param("a_v01.PNG", id="upper case"),
        pytest.param("a_v01.png\n", id="a line end"),
        pytest.param("_v01.png", id="no base"),
        pytest.param("", id="empty"),
        pytest.param(None, id="none"),
    ],
)
def test_a_row_that_names_what_this_tool_never_would_is_not_believed(output: str | None) -> None:
    known = Index(REQUEST)

    assert known.add(row(output=output)) is False
    assert list(known.places(bytes.fromhex(A))) == []


@pytest.mark.parametrize("variation", [0, -1, 10**6 + 1, 10**18])
@pytest.mark.parametrize("status", ["rejected", "exhausted", "unknown"])
def test_a_number_that_cannot_be_is_not_believed(status: str, variation: int) -> None:
    assert Index(REQUEST).add(row(status=status, variation=variation)) is False


@pytest.mark.parametrize("sha256", ["", "xyz", "ab", A + "00", "é" * 32, A[:-1] + " "])
def test_a_content_that_is_no_sha256_is_not_believed(sha256: str) -> None:
    assert Index(REQUEST).add(row(source_sha256=sha256)) is False


def test_a_photo_that_could_not_be_read_has_a_row_without_content() -> None:
    known = Index(REQUEST)

    assert known.add(row(status="exhausted", source_sha256=None)) is True
    assert known.base_of("a.jpg") is None


@pytest.mark.parametrize(
    ("first", "second", "done"),
    [
        pytest.param("unknown", "done", [(1, "a_v01.png")], id="unknown, then done"),
        pytest.param("exhausted", "done", [(1, "a_v01.png")], id="exhausted, then done"),
        pytest.param("rejected", "done", [(1, "a_v01.png")], id="rejected, then done"),
        pytest.param("done", "unknown", [], id="done, then lost and unknown"),
    ],
)
def test_the_later_row_wins(first: str, second: str, done: list[tuple[int, str]]) -> None:
    known = place(index(row(status=first), row(status=second)))

    assert [found[:2] for found in known.done()] == done
    assert known.rejected is (second == "rejected")


def test_unknown_numbers_are_told() -> None:
    known = index(row(status="unknown", variation=3), row(), row(status="unknown", variation=7))

    assert place(known).unknown() == [3, 7]


def test_the_same_content_at_two_sources_has_two_places() -> None:
    known = index(row(), row(source="b.jpg", output="b_v01.png"))

    assert [p.source for p in known.places(bytes.fromhex(A))] == ["a.jpg", "b.jpg"]


def test_numbers_of_another_content_at_the_same_source_are_taken() -> None:
    known = index(row(), row(variation=2), row(source_sha256=B, variation=3))

    assert known.taken_by_others(bytes.fromhex(B), "a.jpg") == {1, 2}
    assert known.taken_by_others(bytes.fromhex(A), "a.jpg") == {3}


def test_another_request_is_seen_and_only_its_numbers_are_taken() -> None:
    known = index(row(request="novita type=webp", output="a_v01.webp"))

    assert known.other_requests == {"novita type=webp"}
    assert known.places(bytes.fromhex(A)) == []
    assert known.taken_by_others(bytes.fromhex(A), "a.jpg") == {1}
    assert known.base_of("a.jpg") == "a"


def test_an_index_is_true_when_it_has_rows() -> None:
    assert not Index(REQUEST)
    assert index(row())


def test_a_row_that_is_not_believed_does_not_count() -> None:
    assert not index(row(output="../a_v01.png"), row(status="unknown", variation=0))


STATUSES = st.sampled_from(["done", "rejected", "exhausted", "unknown"])


@given(
    st.lists(
        st.builds(
            row,
            status=STATUSES,
            source=st.sampled_from(["a.jpg", "b.jpg", ""]) | st.text(max_size=5),
            source_sha256=st.sampled_from([A, B]) | st.none() | st.text(max_size=66),
            variation=st.integers(-2, 200) | st.integers(),
            output=st.none() | st.from_regex(r"[ab./\\]{0,5}_v\d{1,4}\.(png|webp|jpg)"),
            request=st.sampled_from([REQUEST, "novita type=webp"]),
        ),
        max_size=20,
    )
)
def test_no_row_breaks_the_index_or_names_a_place_outside(rows: list[Record]) -> None:
    known = Index(REQUEST)
    for one in rows:
        known.add(one)

    for content in (A, B):
        for at in known.places(bytes.fromhex(content)):
            for variation, name, _ in at.done():
                assert variation >= 1
                assert not {"", ".", ".."} & set(name.split("/"))


@given(
    st.lists(st.tuples(STATUSES, st.integers(1, 30)), min_size=1, max_size=40),
)
def test_the_index_says_of_each_number_what_its_last_row_says(
    history: list[tuple[str, int]],
) -> None:
    known = place(index(*[row(status=status, variation=number) for status, number in history]))
    last = {number: status for status, number in history}

    assert {n for n, _, _ in known.done()} == {n for n, s in last.items() if s == "done"}
    assert known.unknown() == sorted(n for n, s in last.items() if s == "unknown")
    assert known.rejected == ("rejected" in last.values())


def test_a_row_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = manifest.done(
        Picture(b"12345", "webp", 7, 9),
        "Grüße/a_v01.webp",
        Kept(B, 7, "xmp"),
        run="r1",
        time="2026-01-01T00:00:00.000Z",
        source="Grüße/a\n.jpg",
        source_sha256=A,
        variation=1,
        provider="novita",
        request=REQUEST,
        http=(None, 429, 200),
        cost="0.0100",
    )
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(manifest.encode(written) + b"\n")
    damaged: list[int] = []

    assert list(manifest.read_rows(path, damaged.append)) == [written]
    assert damaged == []
    assert (written.width, written.height, written.bytes, written.type) == (7, 9, 7, "webp")
    assert (written.output_sha256, written.mark) == (B, "xmp")


def test_garbage_is_passed_over_and_its_line_number_told(tmp_path: Path) -> None:
    good = manifest.encode(row())
    wrong_type = good.replace(b'"variation":1', b'"variation":"one"')
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(
        b"\n".join([good, b"garbage", b"", b"\xff\xfe\0", wrong_type, b"[1]", b"null", good, b""])
    )
    damaged: list[int] = []

    assert len(list(manifest.read_rows(path, damaged.append))) == 2
    assert damaged == [2, 3, 4, 5, 6, 7]


def test_a_line_of_a_hundred_thousand_brackets_is_garbage_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    deep = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    path.write_bytes(deep + b"\n" + manifest.encode(row()) + b"\n")
    damaged: list[int] = []

    assert list(manifest.read_rows(path, damaged.append)) == [row()]
    assert damaged == [1]


def test_fields_of_newer_versions_are_ignored(tmp_path: Path) -> None:
    newer = json.loads(manifest.encode(row())) | {"v": 2, "colour_space": {"name": "P3"}}
    path = tmp_path / "manifest.jsonl"
    path.write_text(json.dumps(newer) + "\n", encoding="utf-8")

    damaged: list[int] = []

    (read,) = manifest.read_rows(path, damaged.append)

    assert damaged == []
    assert read.output == "a_v01.png"


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_every_line_is_a_row_or_is_told(lines: list[bytes]) -> None:
    from tempfile import TemporaryDirectory  # noqa: PLC0415 - tmp_path is shared by examples

    data = b"".join(line + b"\n" for line in lines)
    damaged: list[int] = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.jsonl"
        path.write_bytes(data)
        read = list(manifest.read_rows(path, damaged.append))

    assert len(read) + len(damaged) == data.count(b"\n")


def test_no_row_holds_an_absolute_path_or_more_than_one_line() -> None:
    encoded = manifest.encode(row(source="a\nb.jpg", message="line\nbreak"))

    assert b"\n" not in encoded
