"""A folder in a store becomes photos: no two named alike, no result sent as a photo."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from batch_reimagine.address import Address
from batch_reimagine.cloud import Entry, Objects
from batch_reimagine.errors import UsageError
from batch_reimagine.inputs import Filters, StoreRoot, roots
from batch_reimagine.store_walk import StoreWalk
from batch_reimagine.walk import Walk
from batch_reimagine.work import Found, Photo, Skip

ALL = Filters.of((), ())
BUCKET = Address("s3", "shop")
PHOTOS = BUCKET.child("photos")
MARK = ".batch-reimagine/output.json"


class Counting(Objects):
    """Counts the requests that it makes: pages, and looks at one object."""

    lists = looks = 0

    def pages(self, prefix: str = "", after: str = "") -> Iterator[list[Entry]]:
        self.lists += 1
        for page in super().pages(prefix, after):
            yield page
            self.lists += 1  # its next page is asked for, be it an empty one

    def about(self, name: str) -> tuple[Entry, dict[str, str]] | None:
        self.looks += 1
        return super().about(name)


def shelf(keys: list[str], address: Address = PHOTOS) -> Counting:
    """A bucket in memory with these keys below an address; its folder there."""
    store = MemoryStore()
    for key in keys:
        store.put(f"{address.prefix}/{key}" if address.prefix else key, b"x")
    return Counting(store, address)


def opened(objects: Objects, root: StoreRoot | None = None, **more: object) -> StoreWalk:
    output, known = more.get("output"), more.get("known", {})
    assert output is None or isinstance(output, Address)
    assert isinstance(known, dict)
    return StoreWalk(
        root or StoreRoot(objects.address, "", ""),
        objects,
        output,
        filters=ALL,
        here=lambda _looks, _source: None,
        known_base=known.get,
    )


def walked(objects: Objects, **more: object) -> list[Found]:
    return [found for batch in opened(objects, **more) for found in batch]  # type: ignore[arg-type]


def bases(found: list[Found]) -> dict[str, str]:
    return {photo.source: photo.base for photo in found if isinstance(photo, Photo)}


def skips(found: list[Found]) -> dict[str, str]:
    return {skip.source: skip.reason for skip in found if isinstance(skip, Skip)}


def distinct(named: dict[str, str]) -> bool:
    return len(set(named.values())) == len(named)


# What outputs are named after


STEMS = ["a", "a-jpg", "a-jpg-png", "a-JPG", "a.b", "a-b"]
SMALL = [f"{stem}{suffix}" for stem in STEMS for suffix in (".jpg", ".png")] + ["a.txt"]


def test_no_two_photos_of_any_small_folder_are_named_alike() -> None:
    for keys in itertools.chain.from_iterable(
        itertools.combinations(SMALL, count) for count in (2, 3, 4)
    ):
        named = bases(walked(shelf([*keys])))
        assert distinct(named), named
        assert len(named) == len(keys) - ("a.txt" in keys)


LETTERS = st.sampled_from(["a", "e\u0301", "é", "?", "_", "."])
NAMES = st.tuples(
    st.lists(LETTERS, min_size=1, max_size=1).map("".join),
    st.sampled_from([".jpg", ".png", ".JPG", ".txt", "-jpg.png", "-jpg-png.jpg", ".j2\u212a"]),
).map("".join)
FOLDERS = st.sampled_from(["", "", "f?/", "f_/"])


@given(keys=st.sets(st.tuples(FOLDERS, NAMES).map("".join), min_size=6, max_size=20))
@settings(deadline=None, max_examples=300)
def test_no_two_photos_of_any_folders_are_named_alike(keys: set[str]) -> None:
    found = walked(shelf(sorted(keys)))
    assert distinct(bases(found)), bases(found)
    assert len(found) == len(keys)


def test_a_file_that_is_called_as_another_is_named_does_not_get_its_name() -> None:
    keys = ["a-jpg.png", "a?.jpg", "f?/a.jpg"]
    for _ in range(3):  # and a file called as that one is named
        named = bases(walked(shelf(keys)))
        assert distinct(named), named
        keys += [f"{base}.png" for base in named.values() if f"{base}.png" not in keys]
        keys += [f"{base.partition('/')[0]}/a.jpg" for base in named.values() if "/" in base]
        keys = sorted(set(keys))
    assert distinct(bases(walked(shelf(keys))))


def test_what_came_later_is_named_other_than_what_is_named_already() -> None:
    # "a.jpg" and "a.png" once lay together; one is gone, and a file that looks like it came.
    named = bases(walked(shelf(["a-png.jpg", "a.png"]), known={"a.png": "a-png"}))
    assert distinct(named), named


PLAIN = ["a.jpg", "a.png", "b.jpg", "a.b.jpg", "a-b.png", "a.txt", "shoes/a.jpg"]


def test_plain_names_are_those_that_a_local_folder_gives(tmp_path: Path) -> None:
    (tmp_path / "shoes").mkdir()
    for count in range(1, len(PLAIN) + 1):
        for keys in itertools.combinations(PLAIN, count):
            for key in PLAIN:
                (tmp_path / key).unlink(missing_ok=True)
            for key in keys:
                (tmp_path / key).write_bytes(b"x")
            local = Walk([tmp_path], tmp_path / "no output", ALL)
            there = {
                found.source: found.base
                for batch in local
                for found in batch
                if isinstance(found, Photo)
            }
            assert bases(walked(shelf([*keys]))) == there
    assert bases(walked(shelf(["a.jpg", "a.png"]))) == {"a.jpg": "a-jpg", "a.png": "a-png"}


@pytest.mark.parametrize("pictures", [0, 5, 2500])
def test_names_are_the_same_with_an_output_between_them(pictures: int) -> None:
    between = [f"a.old/{MARK}", *(f"a.old/p{n:04}_v01.png" for n in range(pictures))]
    found = walked(shelf(["a.jpg", *between, "a.png", "b.jpg"]))
    assert bases(found) == {"a.jpg": "a-jpg", "a.png": "a-png", "b.jpg": "b"}


def test_files_of_one_stem_know_of_each_other_however_many_keys_lie_between() -> None:
    between = [f"a.more/{n:04}.jpg" for n in range(2500)]
    named = bases(walked(shelf(["a.jpg", *between, "a.png"])))
    assert (named["a.jpg"], named["a.png"]) == ("a-jpg", "a-png")


def test_a_key_that_no_request_can_name_is_passed_over() -> None:
    objects = Objects(MemoryStore(), PHOTOS)
    entry = Entry("a\x85b/c.jpg", 1, datetime.now(UTC), None)
    assert opened(objects)._leaves(entry, entry.name) == "key with control characters"


# Results are no photos


@pytest.mark.parametrize("inside", ["", "photos", "photos/shoes"])
def test_an_input_inside_an_output_that_is_the_whole_bucket_is_refused(inside: str) -> None:
    objects = shelf(["a.jpg"], BUCKET.child(inside) if inside else BUCKET)
    with pytest.raises(UsageError, match="lies inside the output s3://shop"):
        opened(objects, output=BUCKET)


@pytest.mark.parametrize("output", [Address("s3", "other"), Address("gs", "shop")])
def test_another_bucket_as_output_is_no_reason(output: Address) -> None:
    assert bases(walked(shelf(["a.jpg"]), output=output)) == {"a.jpg": "a"}


def test_an_output_inside_the_input_is_passed_over_without_reading_it() -> None:
    results = [f"out/(1) {n:04}_v01.png" for n in range(5000)]
    objects = shelf(["a.jpg", *results, f"out/{MARK}", "outer/b.jpg"], BUCKET)
    found = walked(objects, output=BUCKET.child("out"))
    assert bases(found) == {"a.jpg": "a", "outer/b.jpg": "outer/b"}
    assert skips(found) == {"out": "this run's output"}
    assert objects.lists <= 4


EARLY = [f"{early}_v01.png" for early in ("#1", "$", "%", "&", "(2)", ",", "-")]


@pytest.mark.parametrize("folder", ["old/", "x/old/", "(x)/(old)/"])
def test_results_that_stand_before_the_mark_of_their_output_are_no_photos(folder: str) -> None:
    results = [f"{folder}{name}" for name in [*EARLY, "!/deep/er_v01.png", MARK, "z_v01.png"]]
    found = walked(shelf(["!.jpg", *results, "z.jpg"]))
    assert bases(found) == {"!.jpg": "!", "z.jpg": "z"}
    assert skips(found) == {folder[:-1]: "another run's output"}


def test_so_are_more_results_than_are_looked_ahead_for_one_request() -> None:
    results = [f"old/#{n:04}_v01.png" for n in range(3000)]
    objects = shelf([*results, f"old/{MARK}", "z.jpg"])
    found = walked(objects)
    assert bases(found) == {"z.jpg": "z"}
    assert objects.lists <= 2 + 1 + 2  # what was looked at ahead, the question, what follows


@pytest.mark.parametrize("count", [1, 3000])
def test_an_input_that_is_an_output_is_refused_before_a_photo_is_given_out(count: int) -> None:
    batches = iter(opened(shelf([*(f"#{n:04}.jpg" for n in range(count)), MARK])))
    with pytest.raises(UsageError, match="is an output of this tool"):
        next(batches)


def test_photos_with_such_names_are_photos() -> None:
    keys = [f"f/{name}" for name in EARLY] + [f"g/#{n:04}.jpg" for n in range(1500)]
    assert set(bases(walked(shelf(keys)))) == set(keys)


@pytest.mark.parametrize(
    ("folders", "name"),
    [(1000, "({}).jpg"), (1000, "photo {}.jpg"), (10, "photo {}.jpg"), (10, ".A{}.jpg")],
)
def test_a_hundred_thousand_keys_cost_their_pages_alone(folders: int, name: str) -> None:
    each = 100_000 // folders
    keys = [f"folder {n:03}/{name.format(m)}" for n in range(folders) for m in range(each)]
    objects = shelf(keys)
    assert len(walked(objects)) == 100_000
    assert objects.lists + objects.looks <= 101


def test_a_folder_with_too_many_such_names_costs_one_request_more() -> None:
    keys = [f"folder {n}/({m:04}).jpg" for n in range(5) for m in range(2000)]
    objects = shelf(keys)
    assert len(walked(objects)) == 10_000
    assert objects.lists + objects.looks <= 11 + 5


# One photo


def single(objects: Objects, name: str) -> tuple[Objects, StoreRoot]:
    root = roots([objects.address.child(name)]).stores[0]
    assert root.address == objects.address
    return objects, root


def test_an_object_that_is_named_itself_is_a_photo() -> None:
    objects, root = single(shelf(["x.jpg", "x.png", "y.jpg"]), "x.jpg")
    (photo,) = walked(objects, root=root)
    assert isinstance(photo, Photo)
    assert (photo.source, photo.base) == ("x.jpg", "x")
    assert not isinstance(photo.path, Path)
    assert (photo.path.store, photo.path.name) == ("s3://shop/photos", "x.jpg")


def test_a_folder_that_is_named_like_a_photo_is_a_folder() -> None:
    objects, root = single(shelf(["x.jpg/a.png", "x.jpg/(b).png", "x.jpg0"]), "x.jpg")
    found = walked(objects, root=root)
    assert set(bases(found)) == {"x.jpg/a.png", "x.jpg/(b).png"}
    for photo in found:
        assert isinstance(photo, Photo)
        assert not isinstance(photo.path, Path)
        key = photo.path
        assert (key.store, f"x.jpg/{key.name}") == ("s3://shop/photos/x.jpg", photo.source)


def test_a_photo_that_is_not_there_is_refused_in_words() -> None:
    objects, root = single(shelf(["y.jpg", "x.jpg0/a.jpg"]), "x.jpg")
    with pytest.raises(UsageError, match=r"s3://shop/photos/x\.jpg: nothing is there"):
        opened(objects, root)


def test_a_photo_inside_the_output_is_refused() -> None:
    objects, root = single(shelf(["x_v01.png"]), "x_v01.png")
    for output in (BUCKET, PHOTOS):
        with pytest.raises(UsageError, match="lies inside the output"):
            opened(objects, root, output=output)


def test_photos_beside_each_other_and_beside_folders_are_named_apart(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"x")
    named = roots(
        [BUCKET.child(name) for name in ("x.jpg", "more/x.jpg", "x.png", "x", "more/x")]
        + [tmp_path / "x.jpg"]
    )
    (own,) = named.files
    sources = [own.source, *(root.source for root in named.stores)]
    places = [own.base, *(root.base for root in named.stores if root.name)]
    folders = [root.base for root in named.stores if not root.name]
    assert len(set(sources)) == len(sources) == 6, sources
    assert len(set(places)) == 4, places
    assert len(set(folders)) == 2, folders
    assert "x.png" in sources
