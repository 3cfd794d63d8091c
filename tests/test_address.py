"""Addresses of folders in object stores."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_reimagine.address import Address, address_of, is_plain
from batch_reimagine.errors import UsageError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("s3://photos", Address("s3", "photos", "")),
        ("s3://photos/", Address("s3", "photos", "")),
        ("S3://photos/a", Address("s3", "photos", "a")),
        ("gs://photos/spring 2026/é", Address("gs", "photos", "spring 2026/é")),
        ("az://shop/a%20b/", Address("az", "shop", "a%20b")),
        ("az://$web/a", Address("az", "$web", "a")),
        ("gs://my.domain_name/a", Address("gs", "my.domain_name", "a")),
    ],
)
def test_an_address_is_taken_apart_as_it_is_written(text: str, address: Address) -> None:
    assert address_of(text) == address


@pytest.mark.parametrize(
    "text",
    ["photos", "./s3/photos", "/a/b", "s3:/photos", "s3", "C:\\photos", "c://x", "a b://c", ""],
)
def test_what_is_no_url_is_a_local_path(text: str) -> None:
    assert address_of(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("s3://", "names no bucket"),
        ("s3:///a", "names no bucket"),
        ("s3://photos//a", 'no empty, "." or ".." part'),
        ("s3://photos/a//b", 'no empty, "." or ".." part'),
        ("s3://photos/a//", 'no empty, "." or ".." part'),
        ("s3://photos/../a", 'no empty, "." or ".." part'),
        ("s3://photos/a/.", 'no empty, "." or ".." part'),
        ("s3://photos/a\\b", "no backslash"),
        ("s3://photos/a\nb", "no control character"),
        ("s3://photos/a\ud800b", "no control character"),
        ("s3://photos/a?versionId=1", "query or fragment"),
        ("s3://photos/a#b", "query or fragment"),
        ("s3://photos?x", "cannot be a bucket's name"),
        ("s3://photos:80/a", "cannot be a bucket's name"),
        ("s3://-photos/a", "cannot be a bucket's name"),
        ("https://photos.s3.amazonaws.com/a", "no object store that can be used"),
        ("http://127.0.0.1:9000/photos", "--store-option endpoint=URL"),
        ("file:///a", "give a local folder"),
        ("gcs://photos/a", "is written gs:// here"),
        ("abfss://box@account.dfs.core.windows.net/a", "is written az:// here"),
    ],
)
def test_what_is_no_folder_in_a_bucket_is_refused_with_the_way_out(text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        address_of(text)

    assert words in str(refused.value)
    assert "s3://BUCKET/FOLDER" in str(refused.value) or "folder may have" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_credentials_in_an_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError) as refused:
        address_of("s3://KEYID:verysecret@photos/a")

    assert "verysecret" not in str(refused.value)
    assert "environment" in str(refused.value)


def test_a_long_address_is_not_repeated_whole() -> None:
    with pytest.raises(UsageError) as refused:
        address_of("s3://photos/" + "x" * 5000 + "?")

    assert len(str(refused.value)) < 400


def test_an_address_reads_as_it_was_written() -> None:
    assert str(address_of("s3://photos/a/b/")) == "s3://photos/a/b"
    assert str(address_of("az://photos/")) == "az://photos"


def test_a_child_lies_below() -> None:
    photos = Address("s3", "photos", "a")

    assert photos.child("b") == Address("s3", "photos", "a/b")
    assert Address("s3", "photos").child("b/c/") == Address("s3", "photos", "b/c")
    assert photos.child("") == photos


@pytest.mark.parametrize("name", ["..", "b/../c", "/b", "b//c", "."])
def test_a_child_never_lies_elsewhere(name: str) -> None:
    with pytest.raises(UsageError):
        Address("s3", "photos", "a").child(name)


@pytest.mark.parametrize("name", ["a", "a/b.png", "a b", "%20", "..a", "a..", "é", "a\\b", "a?#b"])
def test_usual_names_are_plain(name: str) -> None:
    assert is_plain(name)


@pytest.mark.parametrize(
    "name",
    ["", "/", "a/", "/a", "a//b", ".", "..", "a/./b", "a/../b", "a\nb", "a\x7f", "a\x85", "\ud83d"],
)
def test_names_that_mean_something_else_to_a_path_are_not(name: str) -> None:
    assert not is_plain(name)


@given(st.text(max_size=40))
def test_whatever_follows_a_bucket_is_an_address_below_it_or_refused(folder: str) -> None:
    with contextlib.suppress(UsageError):
        address = address_of(f"s3://photos/{folder}")
        assert address == Address("s3", "photos", folder.removesuffix("/"))
        assert not address.prefix or is_plain(address.prefix)
        assert address_of(str(address)) == address
