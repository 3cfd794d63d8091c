"""The promises of Objects, one suite over every kind of store."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from batch_reimagine.address import Address
from batch_reimagine.cloud.objects import MOST_ABOUT_BYTES, Changed, Entry, Objects, check_about
from batch_reimagine.errors import Rejected, UsageError
from tests.stores import ORDERED, names, over

ALL = ("memory", "local", "moto", "rclone", "azurite")
DESCRIBED = ORDERED  # obstore's LocalStore keeps no metadata
CONDITIONAL = ("memory", "moto", "azurite")  # rclone ignores conditions; see the last test


@over(*ALL)
def test_what_is_put_is_got(objects: Objects) -> None:
    objects.put("a/b.png", b"a picture")

    data, entry = objects.get("a/b.png")

    assert data == b"a picture"
    assert (entry.name, entry.size) == ("a/b.png", 9)
    assert abs(entry.modified - datetime.now(UTC)) < timedelta(minutes=1)
    assert entry.modified.tzinfo is UTC


@over(*ALL)
def test_a_put_replaces_what_was_there_and_its_etag_tells(objects: Objects) -> None:
    before = objects.put("a.png", b"first")
    after = objects.put("a.png", b"second, longer")

    data, entry = objects.get("a.png")

    assert data == b"second, longer"
    assert before != after == entry.etag


@over(*ALL)
def test_an_object_of_no_bytes_is_an_object(objects: Objects) -> None:
    objects.put("empty", b"")

    assert objects.get("empty")[0] == b""
    assert [entry.size for page in objects.pages() for entry in page] == [0]


@over(*ALL)
def test_what_is_not_there_is_told(objects: Objects) -> None:
    objects.put("a/b", b"x")

    for name in ("none", "a/none"):
        with pytest.raises(FileNotFoundError):
            objects.get(name)
        assert objects.about(name) is None
    with pytest.raises(FileNotFoundError):
        objects.move("none", "some")


@over(*ALL)
def test_an_object_larger_than_asked_for_is_not_taken(objects: Objects) -> None:
    objects.put("large", b"x" * 1001)

    with pytest.raises(Rejected, match="1,001 bytes"):
        objects.get("large", most_bytes=1000)
    assert len(objects.get("large", most_bytes=1001)[0]) == 1001


@over(*ALL)
def test_a_delete_can_be_said_twice(objects: Objects) -> None:
    objects.put("a", b"x")
    objects.put("b", b"x")

    objects.delete("a")
    objects.delete("a")

    assert names(objects) == ["b"]


@over(*ALL)
def test_what_lies_beside_the_folder_is_not_seen(objects: Objects) -> None:
    parent = Address(objects.address.scheme, objects.address.bucket, "work")
    beside = Objects(objects.store, parent)
    for name in ("here-too/a", "her/a", "hereafter", "zz"):
        beside.put(name, b"x")
    objects.put("a", b"x")

    assert names(objects) == ["a"]
    assert objects.about("zz") is None


@over(*ALL)
@pytest.mark.parametrize("name", ["", "../a", "a//b", "/a", "a/", "a/./b", "a\nb", "a\x00"])
def test_a_name_that_leads_elsewhere_is_asked_of_no_store(objects: Objects, name: str) -> None:
    for ask in (
        lambda: objects.get(name),
        lambda: objects.about(name),
        lambda: objects.put(name, b"x"),
        lambda: objects.delete(name),
        lambda: objects.move(name, "a"),
        lambda: objects.move("a", name),
    ):
        with pytest.raises(UsageError, match="rename it"):
            ask()
    assert names(objects) == []


@over(*ALL)
@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "é",
        "e\u0301",
        "%20",
        "a%2Fb",
        "\U0001f600/x",
        "a?b#c&d=e+f",
        "~a'(b)!*",
        "..a",
        "x" * 200,
    ],
)
def test_an_odd_name_is_kept_letter_by_letter(objects: Objects, name: str) -> None:
    objects.put(name, b"x")

    assert objects.get(name)[0] == b"x"
    assert names(objects) == [name]
    objects.delete(name)
    assert names(objects) == []


@over(*DESCRIBED)
def test_metadata_is_kept_and_told_with_the_entry(objects: Objects) -> None:
    about = {"sha256": "ab" * 32, "row": '{"a": "b; c, d=%20"}', "n": "1"}
    etag = objects.put("a.png", b"picture", about=about, content_type="image/png")

    found = objects.about("a.png")

    assert found
    entry, kept = found
    assert isinstance(entry, Entry)
    assert (entry.name, entry.size, entry.etag) == ("a.png", 7, etag)
    assert {word: kept[word] for word in about} == about


@over("memory", "moto", "azurite")
def test_the_largest_metadata_is_kept(objects: Objects) -> None:
    about = {"sha256": "x" * 64, "row": "~" * 1900}

    objects.put("a.png", b"picture", about=about, content_type="image/png")

    found = objects.about("a.png")
    assert found
    assert found[1] == about


@over(*DESCRIBED)
def test_metadata_moves_with_its_object(objects: Objects) -> None:
    objects.put("a.png", b"picture", about={"sha256": "ab"}, content_type="image/png")

    objects.move("a.png", "b/c.png")

    found = objects.about("b/c.png")
    assert found
    assert found[1]["sha256"] == "ab"
    assert objects.get("b/c.png")[0] == b"picture"
    assert objects.about("a.png") is None


@over(*CONDITIONAL)
def test_only_the_first_of_two_new_puts_is_kept(objects: Objects) -> None:
    objects.put("lease", b"mine", when="new")

    with pytest.raises(FileExistsError):
        objects.put("lease", b"yours", when="new")

    assert objects.get("lease")[0] == b"mine"


@over(*CONDITIONAL)
def test_of_many_new_puts_at_once_one_is_kept(objects: Objects) -> None:
    def put(number: int) -> bool:
        try:
            objects.put("lease", b"%d" % number, when="new")
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(put, range(16)))

    assert won.count(True) == 1
    assert objects.get("lease")[0] == b"%d" % won.index(True)


@over(*CONDITIONAL)
def test_an_etag_is_good_for_one_put(objects: Objects) -> None:
    first = objects.put("lease", b"1", when="new")
    second = objects.put("lease", b"2", when=first)

    with pytest.raises(Changed):
        objects.put("lease", b"3", when=first)

    assert objects.get("lease")[0] == b"2"
    found = objects.about("lease")
    assert found
    assert found[0].etag == second


@over(*CONDITIONAL)
def test_an_etag_of_what_is_gone_is_good_for_none(objects: Objects) -> None:
    etag = objects.put("lease", b"1")
    objects.delete("lease")

    with pytest.raises(Changed):
        objects.put("lease", b"2", when=etag)

    assert objects.about("lease") is None


@over(*ORDERED)
def test_an_object_that_changed_since_its_listing_is_told_by_its_entry(objects: Objects) -> None:
    objects.put("a.png", b"first")
    ((listed,),) = objects.pages()
    objects.put("a.png", b"second")

    data, entry = objects.get("a.png")

    assert data == b"second"
    assert entry.etag != listed.etag
    assert (entry.size, listed.size) == (6, 5)


@over(*ORDERED)
def test_many_threads_may_ask_at_once(objects: Objects) -> None:
    def there_and_back(number: int) -> bytes:
        objects.put(f"{number:03}", b"%d" % number)
        return objects.get(f"{number:03}")[0]

    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(there_and_back, range(64)))

    assert got == [b"%d" % number for number in range(64)]
    assert len(names(objects)) == 64


@over("rclone")
def test_a_store_that_ignores_conditions_shows_by_a_second_new_put(objects: Objects) -> None:
    objects.put("lease", b"mine", when="new")
    objects.put("lease", b"yours", when="new")

    assert objects.get("lease")[0] == b"yours"


@pytest.mark.parametrize(
    "about",
    [
        *({name: "x"} for name in ("Row", "a-b", "a_b", "1a", "", "é")),
        *({"row": value} for value in ("é", "a\nb", " a", "x" * (MOST_ABOUT_BYTES - 2))),
    ],
)
def test_metadata_that_not_every_store_keeps_is_a_mistake(about: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="metadata"):
        check_about(about)
