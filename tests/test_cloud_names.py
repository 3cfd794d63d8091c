"""What is said about an output in a store is true, and costs a list request only now and then."""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from threading import Event, Thread
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from batch_reimagine.address import Address
from batch_reimagine.cloud import names as names_module
from batch_reimagine.cloud.names import Names
from batch_reimagine.cloud.objects import Entry, Objects
from batch_reimagine.errors import ServiceGone

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WAIT_S = 20.0
MOST_HELD = 20_000  # names in memory, as promised


class Counted(Objects):
    """A real store that counts its list requests, with pages as small as wanted.

    stale: all pages show what was there when the listing began; S3's show what is there when
    they are asked for. trouble: called with the number of each request before it is made.
    """

    def __init__(
        self,
        page: int = 1000,
        *,
        stale: bool = False,
        scheme: Literal["s3", "gs", "az"] = "s3",
        trouble: Callable[[int], None] = lambda _: None,
    ) -> None:
        store = MemoryStore()
        super().__init__(store, Address(scheme, "bucket", "out"))
        self.plain = Objects(store, Address("s3", "bucket", "out"))
        self._page, self._stale, self._trouble = page, stale, trouble
        self.lists = self.begun = 0

    def pages(self, prefix: str = "", after: str = "") -> Iterator[list[Entry]]:
        self.begun += 1
        shown: list[Entry] | None = None
        while True:
            self.lists += 1
            self._trouble(self.lists)
            if shown is None or not self._stale:
                shown = self._first(prefix, after)
            page, shown = shown[: self._page], shown[self._page :]
            if page:
                after = page[-1].name
                yield page
            if not shown:
                return

    def _first(self, prefix: str, after: str) -> list[Entry]:
        if self.address.scheme == "az":
            return self._as_azure_has_it(prefix, after)
        found: list[Entry] = []
        for page in self.plain.pages(prefix, after):
            found += page
            if len(found) > self._page and not self._stale:
                break
        return found

    def _as_azure_has_it(self, prefix: str, after: str) -> list[Entry]:
        found = [entry for page in self.plain.pages(prefix) for entry in page]
        found.sort(key=lambda entry: utf_16(entry.name))
        return [entry for entry in found if utf_16(entry.name) > utf_16(after)]

    def write(self, name: str) -> Entry:
        self.put(name, secrets.token_bytes(8))
        found = self.about(name)
        assert found
        return found[0]

    def fill(self, bases: list[str], variations: int) -> None:
        for base in bases:
            for number in range(1, variations + 1):
                self.put(f"{base}_v{number:02d}.png", b"")


def utf_16(name: str) -> bytes:
    return name.encode("utf-16-be")


def bases(count: int) -> list[str]:
    """Of photos in two levels of folders, in the order of their names."""
    return sorted(f"shoes-{number // 700:02d}/photo-{number:05d}" for number in range(count))


def test_a_fresh_run_over_an_empty_output_costs_one_list_request() -> None:
    objects = Counted()
    names = Names(objects)
    for base in bases(10_000):
        assert names.under(base) == {}
        for number in (1, 2, 3):
            names.add(objects.write(f"{base}_v{number:02d}.png"))
        assert len(names.under(base)) == 3

    assert objects.lists == 1
    assert names.held <= MOST_HELD


def test_threads_that_come_out_of_order_to_an_empty_output_cost_one_list_request() -> None:
    objects = Counted()
    names = Names(objects)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(names.under, reversed(bases(1_000))))

    assert found == [{}] * 1_000
    assert objects.lists == 1


def test_a_resumed_run_costs_a_list_request_for_a_thousand_outputs() -> None:
    objects = Counted()
    objects.fill(bases(5_000), 2)
    names = Names(objects)
    most_held = 0
    for base in bases(5_000):
        assert len(names.under(base)) == 2
        most_held = max(most_held, names.held)

    assert 10 <= objects.lists <= 12
    assert most_held <= 3_000


def test_a_resumed_run_that_makes_the_missing_half_costs_no_more() -> None:
    objects = Counted()
    objects.fill(bases(5_000), 2)
    names = Names(objects)
    for base in bases(5_000):
        for number in (3, 4):
            names.add(objects.write(f"{base}_v{number:02d}.png"))
        assert len(names.under(base)) == 4

    assert 10 <= objects.lists <= 20


def test_a_random_order_costs_at_most_two_requests_an_ask_and_bounded_memory() -> None:
    objects = Counted()
    objects.fill(bases(5_000), 3)
    names = Names(objects)
    asked = sorted(bases(5_000), key=lambda base: sha256(base.encode()).digest())[:100]
    most_held = 0
    for base in asked:
        assert len(names.under(base)) == 3
        most_held = max(most_held, names.held)

    assert objects.lists <= 2 * len(asked)
    assert 8_000 <= most_held <= MOST_HELD


def test_runs_of_photos_from_several_folders_in_turn_cost_each_page_once() -> None:
    objects = Counted()
    objects.fill(bases(5_000), 2)
    names = Names(objects)
    order = [base for at in range(1_000) for base in bases(5_000)[at::1_000]]

    assert {len(names.under(base)) for base in order} == {2}

    assert objects.lists <= 10 + 2 * 5


def test_what_is_written_far_ahead_of_a_listing_takes_no_memory() -> None:
    objects = Counted()
    objects.fill(["a"], 1_500)
    names = Names(objects)
    names.under("A")
    for number in range(30_000):
        names.add(Entry(f"z_v{number}.png", 0, NOW, None))

    assert names.held <= 2_000


def test_a_base_is_found_among_thousands_that_begin_like_it() -> None:
    objects = Counted()
    objects.fill(["a", *(f"a_vase-{number}" for number in range(5_000))], 1)
    names = Names(objects)

    assert list(names.under("a")) == ["a_v01.png"]
    assert objects.lists == 1


def test_only_outputs_of_just_this_base_are_told() -> None:
    objects = Counted()
    ours = ["a_v01.png", "a_v01.xmp", "a_v02.jpg", "a_v100.webp"]
    others = [
        "a_v01.gif",
        "a_v01.png.txt",
        "a_v01_v01.png",
        "a_v1x.png",
        "a_vase_v01.png",
        "aa_v01.png",
        "b/a_v01.png",
        "manifest/part-1.jsonl",
    ]
    for name in [*ours, *others]:
        objects.put(name, b"")

    assert list(Names(objects).under("a")) == ours


def test_a_base_with_more_outputs_than_a_window_holds_is_told_whole() -> None:
    objects = Counted()
    objects.fill(["a", "b", "c"], 3_000)
    names = Names(objects)

    assert [len(names.under(base)) for base in "abc"] == [3_000] * 3
    assert names.held <= MOST_HELD


def test_azure_is_listed_once_whatever_is_asked() -> None:
    objects = Counted(scheme="az")
    objects.fill(bases(5_000), 2)
    names = Names(objects)
    for base in bases(5_000)[::1_500]:
        assert len(names.under(base)) == 2

    assert (objects.begun, objects.lists) == (1, 10)


def test_azure_is_asked_for_a_base_alone_when_the_listing_has_passed_it() -> None:
    objects = Counted(scheme="az")
    objects.fill(bases(5_000), 2)
    names = Names(objects)
    names.under(bases(5_000)[-1])

    assert len(names.under(bases(5_000)[0])) == 2
    assert names.held <= 3_000


def test_a_listing_that_breaks_off_after_a_pause_is_begun_anew() -> None:
    objects = Counted(trouble=fail_at(3))
    objects.fill(bases(5_000), 2)
    names = Names(objects)

    assert {len(names.under(base)) for base in bases(5_000)} == {2}
    assert (objects.begun, objects.lists) == (2, 11)


@pytest.mark.parametrize("error", [ServiceGone("gone"), KeyboardInterrupt()])
def test_a_listing_that_fails_is_not_taken_for_its_end(error: BaseException) -> None:
    objects = Counted(trouble=fail_at(1, error=error))
    objects.fill(["a"], 1)
    names = Names(objects)
    with pytest.raises(type(error)):
        names.under("a")

    assert len(names.under("a")) == 1


def fail_at(*numbers: int, error: BaseException | None = None) -> Callable[[int], None]:
    def trouble(number: int) -> None:
        if number in numbers:
            raise error or ServiceGone("gone")

    return trouble


class Slow:
    """Holds one list request back, when it has seen what is there, until it may go on."""

    def __init__(self) -> None:
        self.at = -1
        self.waits, self.may_go_on = Event(), Event()

    def __call__(self, number: int) -> None:
        if number == self.at:
            self.waits.set()
            assert self.may_go_on.wait(WAIT_S)


def test_what_is_known_is_told_while_a_listing_is_slow() -> None:
    slow = Slow()
    objects = Counted(trouble=slow)
    objects.fill(bases(1_500), 1)
    names = Names(objects)
    known, unknown = bases(1_500)[0], bases(1_500)[-1]
    names.under(known)
    slow.at = 2
    with ThreadPoolExecutor(2) as threads:
        far = threads.submit(names.under, unknown)
        assert slow.waits.wait(WAIT_S)

        near = threads.submit(names.under, known).result(WAIT_S)
        assert not far.done()
        slow.may_go_on.set()

        assert (len(near), len(far.result(WAIT_S))) == (1, 1)


@pytest.mark.parametrize("added", [1, 1_000], ids=["a few", "more than are kept"])
def test_what_is_written_and_removed_while_a_page_is_under_way_is_not_missed(added: int) -> None:
    slow = Slow()
    objects = Counted(stale=True, trouble=slow)
    objects.fill(["a", "y"], 999)
    names = Names(objects)
    names.under("a")
    slow.at = 2
    reader = Thread(target=names.under, args=("y",))
    reader.start()
    assert slow.waits.wait(WAIT_S)
    for number in range(added):
        names.add(objects.write(f"z{number}_v01.png"))
    objects.delete("y_v05.png")
    names.drop("y_v05.png")
    slow.may_go_on.set()
    reader.join(WAIT_S)

    assert {len(names.under(f"z{number}")) for number in range(added)} == {1}
    assert len(names.under("y")) == 998


#: Ends of one, middles of another, and the two sides of where UTF-8 and UTF-16 sort apart.
BASES = ["a", "a-", "a/b", "a0", "a_v01", "a_v1", "aa", "b", "~", "é", "\uffee", "\U0001f600"]
a_base = st.sampled_from(BASES)
a_name = st.builds(
    lambda base, number, suffix: f"{base}_v{number:02d}{suffix}",
    a_base,
    st.sampled_from([1, 2, 3, 100]),
    st.sampled_from([".png", ".png", ".webp", ".xmp", ".gif"]),
)
Step = tuple[str, str, str]  # what, the base to ask for, the name to write or remove
a_step = st.tuples(st.sampled_from(["ask", "ask", "add", "drop"]), a_base, a_name)


@st.composite
def a_setting(draw: st.DrawFn) -> tuple[Counted, dict[str, int]]:
    """A store with pages of a few names that fails now and then, and bounds of a few names."""
    broken = draw(st.sets(st.integers(1, 60), max_size=4))
    objects = Counted(
        draw(st.integers(1, 7)),
        stale=draw(st.booleans()),
        scheme=draw(st.sampled_from(["s3", "az"])),
        trouble=fail_at(*broken),
    )
    for name in draw(st.sets(a_name, max_size=30)):
        objects.write(name)
    return objects, {
        "_MOST_WINDOWS": draw(st.integers(1, 3)),
        "_MOST_HELD": draw(st.integers(1, 8)),
        "_MOST_AHEAD": draw(st.integers(0, 3)),
    }


@given(a_setting(), st.lists(st.lists(a_step, max_size=40), min_size=1, max_size=4))
@settings(max_examples=500, deadline=None)
def test_it_tells_what_a_plain_dictionary_would(
    setting: tuple[Counted, dict[str, int]], stories: list[list[Step]]
) -> None:
    objects, bounds = setting
    with pytest.MonkeyPatch.context() as patch:
        for bound, most in bounds.items():
            patch.setattr(names_module, bound, most)
        names = Names(objects)
        with ThreadPoolExecutor(len(stories)) as threads:
            lives = [
                threads.submit(live, objects, names, story, BASES[number :: len(stories)])
                for number, story in enumerate(stories)
            ]
            for each in lives:
                each.result(WAIT_S)

    most = bounds["_MOST_WINDOWS"] * (bounds["_MOST_HELD"] + bounds["_MOST_AHEAD"])
    assert names.held <= most


def live(objects: Counted, names: Names, story: list[Step], mine: list[str]) -> None:
    """Live through one thread's story; nobody else changes these bases."""
    model = {
        entry.name: entry
        for page in objects.plain.pages()
        for entry in page
        if base_of(entry.name) in mine
    }
    for what, base, name in story:
        if what == "ask" and base in mine:
            try:
                found = names.under(base)
            except ServiceGone:
                continue
            assert found == {
                name: entry
                for name, entry in model.items()
                if base_of(name) == base and not name.endswith(".gif")
            }
        elif what == "add" and base_of(name) in mine:
            model[name] = objects.write(name)
            names.add(model[name])
        elif what == "drop" and base_of(name) in mine:
            objects.delete(name)
            names.drop(name)
            model.pop(name, None)


def base_of(name: str) -> str:
    return name.rpartition("_v")[0]
