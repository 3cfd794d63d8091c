"""A file is read on from where the last look ended, and from its begin only when it is another."""

from pathlib import Path

import pytest

from batch_reimagine.following import Following


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


def look(following: Following) -> tuple[bool, list[bytes]]:
    with following.more() as (anew, lines):
        return anew, list(lines)


def add(path: Path, data: bytes) -> None:
    with path.open("ab") as opened:
        opened.write(data)


def test_what_was_read_is_not_read_again(path: Path) -> None:
    following = Following(path)
    assert look(following) == (True, [])
    add(path, b"a\nb\nto")
    assert look(following) == (True, [b"a", b"b"])
    add(path, b"rn\n\n")
    assert look(following) == (False, [b"torn", b""])
    assert look(following) == (False, [])


def test_a_line_too_long_is_passed_over_once(path: Path) -> None:
    following = Following(path)
    add(path, b"a\n" + b"x" * 2_500_000)
    assert look(following) == (True, [b"a"])
    assert look(following) == (False, [])
    add(path, b"x\nb\n")
    assert look(following) == (False, [b"b"])
    add(path, b"c\n")
    assert look(following) == (False, [b"c"])


def test_a_file_that_was_away_for_one_look_is_read_whole(path: Path) -> None:
    following = Following(path)
    add(path, b"a\n")
    look(following)
    path.rename(path.with_suffix(".away"))
    assert look(following) == (True, [])
    path.with_suffix(".away").rename(path)

    assert look(following) == (True, [b"a"])


@pytest.mark.parametrize("other", [b"", b"a\n", b"a\nc\n", b"a\nc\nd\n", b"a\nb"])
def test_other_bytes_under_the_same_name_are_read_from_their_begin(
    path: Path, other: bytes
) -> None:
    following = Following(path)
    add(path, b"a\nb\n")
    look(following)
    path.write_bytes(other)

    assert look(following) == (True, other.split(b"\n")[:-1])


def test_who_stops_in_the_middle_goes_on_there(path: Path) -> None:
    following = Following(path)
    add(path, b"a\nb\nc\n")
    with following.more() as (_, lines):
        assert next(lines) == b"a"

    assert look(following) == (False, [b"b", b"c"])
