"""What is bought is exactly what is missing; no number is used twice."""

import hashlib
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from batch_reimagine.manifest import Index
from batch_reimagine.naming import output_name
from batch_reimagine.needs import Copy, Needs, needs
from batch_reimagine.output import Tree
from batch_reimagine.provider import request_of
from batch_reimagine.settings import Settings
from batch_reimagine.work import Photo, Record, Status
from tests.pictures import encoded

_COLOURS = itertools.count()


def new_picture() -> bytes:
    """A small PNG that no other call gives."""
    number = next(_COLOURS)
    return encoded(Image.new("RGB", (3, 3), (number % 256, number // 256 % 256, 7)), "PNG")


@dataclass
class Shelf:
    """A real output folder, and the index that its rows make."""

    tree: Tree
    index: Index = field(default_factory=lambda: Index(request_of(Settings())))

    def row(
        self,
        variation: int,
        status: Status = "done",
        *,
        photo: str = "a",
        content: str = "A",
        on_disk: bool = True,
        data: bytes | None = None,
    ) -> None:
        name = output_name(photo, variation, "png")
        if status == "done" and on_disk:
            (self.tree.root / name).write_bytes(data if data is not None else new_picture())
        self.index.add(
            Record(
                run="r1",
                time="2026-01-01T00:00:00.000Z",
                status=status,
                source=f"{photo}.jpg",
                source_sha256=sha256(content).hex(),
                variation=variation,
                output=name if status == "done" else None,
                provider="novita",
                request=request_of(Settings()),
            )
        )

    def needs(self, variations: int, *, photo: str = "a", content: str = "A", **more: Any) -> Needs:
        settings = Settings(variations=variations, **more)
        found = Photo(Path(f"/nowhere/{photo}.jpg"), f"{photo}.jpg", photo, "JPEG")
        found_needs = needs(self.index, self.tree, found, sha256(content), settings)
        self.index.release(photo, found_needs.numbers)
        return found_needs


def sha256(content: str) -> bytes:
    return hashlib.sha256(content.encode()).digest()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(Tree(tmp_path))


def test_a_new_photo_needs_all_its_variations(shelf: Shelf) -> None:
    assert shelf.needs(3) == Needs(0, make=(1, 2, 3), refused=False)


def test_a_finished_photo_needs_nothing(shelf: Shelf) -> None:
    shelf.row(1)
    shelf.row(2)

    assert shelf.needs(2) == Needs(2, make=(), refused=False)


def test_raising_the_count_buys_exactly_the_difference(shelf: Shelf) -> None:
    shelf.row(1)
    shelf.row(2)

    assert shelf.needs(5).make == (3, 4, 5)


def test_lowering_the_count_buys_nothing(shelf: Shelf) -> None:
    for variation in (1, 2, 3):
        shelf.row(variation)

    assert shelf.needs(1).make == ()


def test_a_picture_that_is_gone_is_made_again_under_its_own_number(shelf: Shelf) -> None:
    for variation in (1, 2, 3):
        shelf.row(variation, on_disk=variation != 2)

    assert shelf.needs(3) == Needs(2, make=(2,), refused=False)


@pytest.mark.parametrize("status", ["exhausted", "unknown"])
def test_what_was_given_up_is_made_again(shelf: Shelf, status: Status) -> None:
    shelf.row(1)
    shelf.row(2, status)

    assert shelf.needs(2).make == (2,)


def test_an_unknown_variation_is_held_when_the_user_says_so(shelf: Shelf) -> None:
    shelf.row(1)
    shelf.row(2, "unknown")

    assert shelf.needs(2, on_unknown="hold") == Needs(1, held=1)
    assert shelf.needs(3, on_unknown="hold").make == (3,)


def test_an_unknown_variation_is_held_when_its_photo_was_renamed(shelf: Shelf) -> None:
    shelf.row(1, "unknown", photo="old")

    assert shelf.needs(1, photo="new", on_unknown="hold").make == ()


def test_a_picture_that_came_after_its_call_was_dropped_is_taken(shelf: Shelf) -> None:
    for variation in (1, 2):
        shelf.row(variation, "unknown")
    (shelf.tree.root / "a_v02.png").write_bytes(new_picture())

    assert shelf.needs(2) == Needs(0, late=((2, "a_v02.png"),), make=(1,))
    assert shelf.needs(2, on_unknown="hold") == Needs(0, held=1, late=((2, "a_v02.png"),))


def test_a_torn_picture_of_a_dropped_call_is_made_again_beside_it(shelf: Shelf) -> None:
    shelf.row(1, "unknown")
    (shelf.tree.root / "a_v01.png").write_bytes(new_picture()[:-9])

    assert shelf.needs(1) == Needs(0, make=(2,))


def test_a_dropped_call_takes_no_picture_that_another_photo_has_a_row_of(shelf: Shelf) -> None:
    shelf.row(1, "unknown")
    shelf.row(1, content="B")

    assert shelf.needs(1) == Needs(0, make=(2,))


def test_a_refused_photo_is_left_alone(shelf: Shelf) -> None:
    shelf.row(1, "rejected")

    assert shelf.needs(3) == Needs(0, make=(), refused=True)


def test_a_refused_photo_is_tried_again_when_asked(shelf: Shelf) -> None:
    shelf.row(1, "rejected")

    assert shelf.needs(3, retry_failed=True) == Needs(0, make=(1, 2, 3), refused=False)


def test_a_photo_refused_under_another_name_is_left_alone(shelf: Shelf) -> None:
    shelf.row(1, "rejected", photo="old")

    assert shelf.needs(1, photo="new").refused


def test_a_refused_photo_that_has_enough_is_not_a_failure(shelf: Shelf) -> None:
    shelf.row(1)
    shelf.row(2, "rejected")

    assert shelf.needs(1) == Needs(1, make=(), refused=False)


def test_a_photo_taken_at_last_is_no_longer_refused(shelf: Shelf) -> None:
    shelf.row(1, "rejected")
    shelf.row(1)

    assert shelf.needs(2) == Needs(1, make=(2,), refused=False)


def test_an_edited_photo_takes_numbers_that_its_former_self_never_had(shelf: Shelf) -> None:
    shelf.row(1)
    shelf.row(2)

    assert shelf.needs(2, content="edited").make == (3, 4)


def test_an_edited_photo_takes_no_number_of_a_deleted_picture(shelf: Shelf) -> None:
    shelf.row(1, on_disk=False)

    assert shelf.needs(1, content="edited").make == (2,)


def test_a_photo_edited_back_has_what_it_had(shelf: Shelf) -> None:
    shelf.row(1)
    shelf.row(2, content="edited")

    assert shelf.needs(1) == Needs(1, make=(), refused=False)
    assert shelf.needs(2).make == (3,)


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
def test_a_strangers_file_keeps_its_name(shelf: Shelf, suffix: str) -> None:
    (shelf.tree.root / f"a_v01.{suffix}").write_bytes(b"theirs")

    assert shelf.needs(2).make == (2, 3)


def test_a_renamed_photo_is_copied_not_bought(shelf: Shelf) -> None:
    shelf.row(1, photo="old")
    shelf.row(2, photo="old")

    wants = shelf.needs(3, photo="new")

    assert wants.copies == (Copy("old_v01.png", 1), Copy("old_v02.png", 2))
    assert wants.make == (3,)


def test_no_more_is_copied_than_is_wanted(shelf: Shelf) -> None:
    for variation in (1, 2, 3):
        shelf.row(variation, photo="old")

    assert shelf.needs(2, photo="new") == Needs(
        0, copies=(Copy("old_v01.png", 1), Copy("old_v02.png", 2))
    )


def test_a_copy_of_a_copy_is_not_counted_as_another_variation(shelf: Shelf) -> None:
    picture = new_picture()
    shelf.row(1, photo="old", data=picture)
    shelf.row(1, photo="new", data=picture)

    assert shelf.needs(2, photo="new") == Needs(1, make=(2,), refused=False)


def test_the_same_picture_at_two_places_is_copied_once(shelf: Shelf) -> None:
    picture = new_picture()
    shelf.row(1, photo="old", data=picture)
    shelf.row(1, photo="older", data=picture)

    wants = shelf.needs(2, photo="new")

    assert len(wants.copies) == 1
    assert wants.make == (2,)


@pytest.mark.parametrize("data", [b"", b"garbage", new_picture()[:-5]], ids=["0", "no", "cut"])
def test_a_damaged_picture_is_not_copied(shelf: Shelf, data: bytes) -> None:
    shelf.row(1, photo="old", data=data)

    assert shelf.needs(1, photo="new") == Needs(0, make=(1,), refused=False)


def test_what_lies_at_another_source_is_copied_even_if_the_photo_was_refused(
    shelf: Shelf,
) -> None:
    shelf.row(1, photo="old")
    shelf.row(2, "rejected", photo="old")

    wants = shelf.needs(2, photo="new")

    assert wants.copies == (Copy("old_v01.png", 1),)
    assert (wants.make, wants.refused) == ((), True)


def test_a_link_in_the_place_of_a_picture_is_no_picture(shelf: Shelf, tmp_path: Path) -> None:
    shelf.row(1, on_disk=False)
    (shelf.tree.root / "a_v01.png").symlink_to(tmp_path / "elsewhere")

    wants = shelf.needs(1)

    assert wants.here == 0
    assert wants.make == (2,), "the link keeps its name"


@settings(max_examples=120, deadline=None)
@given(
    history=st.lists(
        st.tuples(
            st.integers(1, 6),
            st.sampled_from(["done", "rejected", "exhausted", "unknown"]),
            st.sampled_from(["A", "B"]),
            st.sampled_from(["a", "b"]),
            st.booleans(),
        ),
        max_size=12,
    ),
    variations=st.integers(1, 6),
    hold=st.booleans(),
)
def test_whatever_happened_before_the_sum_is_what_is_wanted_and_no_name_is_taken(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[tuple[int, Status, str, str, bool]],
    variations: int,
    *,
    hold: bool,
) -> None:
    shelf = Shelf(Tree(tmp_path_factory.mktemp("shelf")))
    for number, status, content, photo, on_disk in history:
        shelf.row(number, status, content=content, photo=photo, on_disk=on_disk)

    wants = shelf.needs(variations, on_unknown="hold" if hold else "retry", retry_failed=True)

    new = [*wants.make, *(copy.variation for copy in wants.copies)]
    assert len(set(new)) == len(new)
    assert min(new, default=1) >= 1
    assert len(new) == max(0, variations - wants.here - wants.held)
    assert not any(shelf.tree.taken("a", number) for number in new)
