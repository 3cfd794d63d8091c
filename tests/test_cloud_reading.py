"""An output in a store, read on another machine: looked at, exported, as it lies there now."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from batch_reimagine.catalogue import Catalogue
from batch_reimagine.cloud.copies import FOLDER, Copies
from tests.far import Kept, Output, fetched, made_by_a_run, new_output, product, through, until
from tests.spoiling import Proxy
from tests.stores import Store, moto
from tests.support import jpeg, make_photos, png


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with moto() as store:
        yield store


@pytest.fixture(scope="module")
def made(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return made_by_a_run(store, tmp_path_factory.mktemp("maker"))


@pytest.fixture
def out(store: Store, made: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Output:
    store.use(monkeypatch)
    return new_output(store, tmp_path / "machines", made)


def test_an_export_on_another_machine_has_every_picture_byte_for_byte(
    out: Output, tmp_path: Path
) -> None:
    words = ["--to", tmp_path / "shop", "--all", "--name", "{stem}_v{variation:02}"]
    with Proxy(out.store.port) as proxy:
        code, told, complaints = out.do("other", "export", out.address, *words, **through(proxy))

    assert code == 0, complaints
    assert "6 pictures written" in told
    for name in out.pictures():
        assert (tmp_path / "shop" / name).read_bytes() == out.objects.get(name)[0]
    assert len(fetched(proxy)) == 6  # each once
    assert list(out.books("other").rglob("*.png")) == []  # and none is held twice


def test_a_dry_run_of_an_export_transfers_no_picture(out: Output, tmp_path: Path) -> None:
    words = ["--to", tmp_path / "shop", "--all", "--dry-run"]
    with Proxy(out.store.port) as proxy:
        code, told, _ = out.do("other", "export", out.address, *words, **through(proxy))

    assert (code, "6 pictures would be written" in told) == (0, True)
    assert proxy.seen
    assert fetched(proxy) == []


def test_an_export_leaves_out_what_the_store_holds_no_more(out: Output, tmp_path: Path) -> None:
    out.objects.delete("photo-001_v02.png")

    code, told, complaints = out.do(
        "other", "export", out.address, "--to", tmp_path / "shop", "--all"
    )

    assert code == 3
    assert "5 pictures written" in told
    assert "1 wanted pictures are not there, and were left out: photo-001.jpg (2)" in complaints


def test_the_page_shows_what_another_machine_has_made(out: Output) -> None:
    with out.review("other") as page:
        state = page.state()
        id_ = product(state, "photo-001.jpg")["id"]
        picture = page.get(f"/api/pictures/{id_}/2")
        small = page.get(f"/api/thumbs/{id_}/2")
        again = page.get(f"/api/pictures/{id_}/2")

    assert (state["output"], len(state["products"])) == ("out", 3)
    assert not any(v["missing"] for found in state["products"] for v in found["variations"])
    original = out.objects.get("photo-001_v02.png")[0]
    assert (picture.status, picture.body, again.body) == (200, original, original)
    assert (small.status, small.body[8:12]) == (200, b"WEBP")


def test_a_picture_that_the_store_holds_no_more_is_shown_as_missing(out: Output) -> None:
    out.objects.delete("photo-001_v02.png")

    def missing() -> list[tuple[str, int]]:
        products = page.state()["products"]
        return [(p["name"], v["n"]) for p in products for v in p["variations"] if v["missing"]]

    with out.review("other") as page:
        assert until(missing) == [("photo-001.jpg", 2)]
        id_ = product(page.state(), "photo-001.jpg")["id"]
        assert page.get(f"/api/pictures/{id_}/2").status == 404
        assert page.get(f"/api/thumbs/{id_}/2").status == 404


def test_a_picture_that_was_put_anew_is_shown_as_it_is_now(out: Output) -> None:
    with out.review("other") as page:
        id_ = product(page.state(), "photo-001.jpg")["id"]
        page.get(f"/api/pictures/{id_}/2")
        out.objects.put("photo-001_v02.png", edited := png((9, 9, 9), (60, 40)))

        until(lambda: page.get(f"/api/pictures/{id_}/2").body == edited, within_s=45)


def test_a_run_on_another_machine_is_seen_while_it_goes_on(out: Output, tmp_path: Path) -> None:
    make_photos(tmp_path / "more", 2, first=50)
    words = [tmp_path / "more", "-o", out.address, "--provider", "simulator", "-q"]
    with out.review("other") as page, page.events() as tab:
        with out.start("third", "run", *words) as run:
            seen = tab.until("product", lambda p: p["source"] == "photo-051.jpg")
            assert run.communicate(timeout=30)[1] == b""
        until(lambda: len(page.state()["products"]) == 5)
        assert seen["variations"][0]["status"] == "done"
        id_ = seen["id"]
        assert page.get(f"/api/pictures/{id_}/1").body == out.objects.get("photo-051_v01.png")[0]
        assert len(page.state()["products"]) == 5


def test_rows_that_are_here_never_vanish_while_newer_ones_are_brought(out: Output) -> None:
    known: list[int] = []
    with Proxy(out.store.port) as proxy, pytest.MonkeyPatch.context() as patch:
        out.store.use(patch, proxy.port)
        out.tree("other").look()
        (part,) = [name for name in out.names() if name.startswith("manifest/part-")]
        rows, about = out.objects.get(part)[0], out.objects.about(part)
        assert about is not None
        newer = re.sub(rb"photo-00[0-9]", b"photo-777", rows.splitlines()[-1])
        out.objects.put(part, rows + newer + b"\n", about=about[1])
        tree = out.tree("other")

        def look_meanwhile(method: str = "", path: str = "") -> str:
            del method, path
            catalogue = Catalogue(tree)
            catalogue.follow()
            known.append(len(catalogue))
            return ""

        proxy.next_fault = look_meanwhile  # type: ignore[method-assign]
        tree.look()
        look_meanwhile()

    assert (min(known), known[-1]) == (3, 4)


def test_a_gallery_of_an_output_in_a_store_is_whole(out: Output, tmp_path: Path) -> None:
    code, told, complaints = out.do("other", "review", out.address, "--static", tmp_path / "show")

    assert code == 0, complaints
    assert told.startswith("3 products in ")
    shown = {path.read_bytes() for path in (tmp_path / "show" / "pictures").iterdir()}
    assert shown == {out.objects.get(name)[0] for name in out.pictures()}
    assert len(list((tmp_path / "show" / "thumbs").iterdir())) == 6


def test_a_gallery_that_is_there_already_costs_no_transfer(out: Output, tmp_path: Path) -> None:
    words = ["review", out.address, "--static", tmp_path / "show"]
    with Proxy(out.store.port) as proxy:
        out.do("other", *words, **through(proxy))
        for copy in (out.books("other") / FOLDER).iterdir():
            copy.unlink()
        proxy.seen.clear()
        code, _, complaints = out.do("other", *words, **through(proxy))

    assert (code, fetched(proxy)) == (0, []), complaints


def test_an_original_in_a_store_is_shown_and_more_is_made_of_it(out: Output, store: Store) -> None:
    photos = new_output(store, out.machines, {f"é {n}.jpg": (jpeg(n), {}) for n in (70, 71)})
    out.run("other", photos.address)
    with out.review("other") as page:
        found = product(page.state(), "é 70.jpg")
        assert found["original"] is True
        assert page.get(f"/api/thumbs/{found['id']}/0").status == 200
        assert page.get(f"/api/pictures/{found['id']}/0").body.startswith(b"\xff\xd8")

        asked = page.write("POST", f"/api/products/{found['id']}/more", {"count": 2})

        assert asked.status == 202, asked.body
        until(lambda: len(product(page.state(), "é 70.jpg")["variations"]) == 3)
    assert {"é 70_v02.png", "é 70_v03.png"} <= set(out.pictures())


def test_names_that_lead_out_of_the_output_are_never_asked_for(out: Output, tmp_path: Path) -> None:
    tree = out.tree("other")
    tree.look()
    for name in ("../photo-001_v01.png", "/etc/x_v01.png", "a//b_v01.png", ".batch-reimagine/x"):
        assert not tree.readable(name)
        with pytest.raises(FileNotFoundError):
            tree.bring(name)
    assert not (tmp_path / "photo-001_v01.png").exists()


def test_several_who_ask_for_one_picture_at_once_fetch_it_once(out: Output) -> None:
    tree = out.tree("other")
    with Proxy(out.store.port) as proxy, pytest.MonkeyPatch.context() as patch:
        out.store.use(patch, proxy.port)
        tree = out.tree("other")
        tree.look()
        with ThreadPoolExecutor(8) as pool:
            brought = set(pool.map(tree.bring, ["photo-001_v02.png"] * 20))

    assert len(fetched(proxy)) == 1
    (name,) = brought
    assert (tree.root / name).read_bytes() == out.objects.get("photo-001_v02.png")[0]


def test_a_copy_is_never_of_an_older_version_though_of_the_same_size(out: Output) -> None:
    name = "photo-001_v02.png"
    for content in (b"a" * 1000, b"b" * 1000):
        out.objects.put(name, content)
        tree = out.tree("other")
        tree.look()

        assert (tree.root / tree.bring(name)).read_bytes() == content


def test_copies_never_take_more_than_their_room(out: Output) -> None:
    names = [f"n{number:02}_v01.png" for number in range(30)]
    for number, name in enumerate(names):
        out.objects.put(name, bytes([number]) * 10_000)
    out.tree("other").look()
    root = out.home("other") / "books"
    with Proxy(out.store.port) as proxy, pytest.MonkeyPatch.context() as patch:
        out.store.use(patch, proxy.port)
        objects = out.objects
        small = Copies(objects, root, most_bytes=100_000)
        entries = [about[0] for name in names if (about := objects.about(name))]
        for entry in entries[:18]:
            number = int(entry.name[1:3])
            assert (root / small.bring(entry)).read_bytes() == bytes([number]) * 10_000
            small.bring(entries[0])  # fetched first, and always used last
        held = [path.stat().st_size for path in (root / FOLDER).iterdir()]
        first = [path for path in fetched(proxy) if path.endswith(names[0])]
        again = Copies(objects, root, most_bytes=100_000)  # another process, of the same books
        for entry in entries[18:]:
            again.bring(entry)

    assert 90_000 <= sum(held) <= 100_000
    assert len(first) == 1
    assert sum(path.stat().st_size for path in (root / FOLDER).iterdir()) <= 100_000
