"""Every picture is found once, in order; nothing else is followed, opened or waited for."""

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from batch_reimagine.errors import UsageError
from batch_reimagine.inputs import Filters
from batch_reimagine.naming import STATE_DIR
from batch_reimagine.walk import Walk
from batch_reimagine.work import Photo, Skip
from tests.pictures import encoded, quarters

JPEG = encoded(quarters((16, 16)), "JPEG")


def put(folder: Path, *names: str, data: bytes = JPEG) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def found(
    inputs: Path | Sequence[Path],
    output: Path,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    limit: int | None = None,
    known_base: Callable[[str], str | None] = lambda _: None,
) -> list[Photo | Skip]:
    inputs = [inputs] if isinstance(inputs, Path) else inputs
    filters = Filters.of(include, exclude)
    walk = Walk(inputs, output, filters, limit=limit, known_base=known_base)
    return [one for batch in walk for one in batch]


def sources(results: list[Photo | Skip]) -> list[str]:
    return [one.source for one in results if isinstance(one, Photo)]


def skips(results: list[Photo | Skip]) -> dict[str, str]:
    return {one.source: one.reason for one in results if isinstance(one, Skip)}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return put(tmp_path / "in", "b.jpg", "a.jpg", "shoes/2.jpg", "shoes/1.jpg", "hats/x/9.jpg")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_files_come_sorted_and_before_folders(shop: Path, out: Path) -> None:
    assert sources(found(shop, out)) == [
        "a.jpg",
        "b.jpg",
        "hats/x/9.jpg",
        "shoes/1.jpg",
        "shoes/2.jpg",
    ]


def test_two_walks_find_the_same(shop: Path, out: Path) -> None:
    assert found(shop, out) == found(shop, out)


def test_outputs_mirror_the_input(shop: Path, out: Path) -> None:
    bases = {one.source: one.base for one in found(shop, out) if isinstance(one, Photo)}

    assert bases["hats/x/9.jpg"] == "hats/x/9"
    assert bases["a.jpg"] == "a"


def test_a_picture_is_told_by_its_bytes(tmp_path: Path, out: Path) -> None:
    put(tmp_path / "in", "scan.dat")

    assert sources(found(tmp_path / "in", out)) == ["scan.dat"]


def test_a_file_only_named_like_a_picture_is_kept_for_its_refusal(
    tmp_path: Path, out: Path
) -> None:
    put(tmp_path / "in", "note.JPG", data=b"no picture")

    assert [one.kind for one in found(tmp_path / "in", out) if isinstance(one, Photo)] == [None]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        pytest.param(".DS_Store", b"x", "hidden", id="hidden file"),
        pytest.param("._a.jpg", JPEG, "hidden", id="a Mac's shadow"),
        pytest.param("Thumbs.db", b"x", "system file or folder", id="junk file"),
        pytest.param("a.txt", b"text", "not a picture", id="text"),
        pytest.param("a.jpg", b"", "empty file", id="a picture of no bytes"),
    ],
)
def test_what_is_passed_over_is_said(
    tmp_path: Path, out: Path, name: str, data: bytes, reason: str
) -> None:
    put(tmp_path / "in", name, data=data)

    assert found(tmp_path / "in", out) == [Skip(name, reason)]


@pytest.mark.parametrize("folder", [".git", "@eaDir", "__MACOSX", "$RECYCLE.BIN"])
def test_junk_folders_are_not_entered(tmp_path: Path, out: Path, folder: str) -> None:
    put(tmp_path / "in", f"{folder}/a.jpg")

    results = found(tmp_path / "in", out)

    assert sources(results) == []
    assert list(skips(results)) == [folder]


@pytest.mark.timeout(10)
def test_pipes_and_sockets_are_not_waited_for(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "in", "b.jpg")
    os.mkfifo(tmp_path / "in/a.jpg")
    monkeypatch.chdir(tmp_path / "in")  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("c.jpg")
        results = found(tmp_path / "in", out)

    assert sources(results) == ["b.jpg"]
    assert skips(results) == {"a.jpg": "not a regular file", "c.jpg": "not a regular file"}


@pytest.mark.timeout(10)
def test_links_are_not_followed(tmp_path: Path, out: Path) -> None:
    put(tmp_path / "in", "a.jpg")
    put(tmp_path / "outside", "secret.jpg")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/self").symlink_to("self")
    (tmp_path / "in/away").symlink_to(tmp_path / "outside")
    (tmp_path / "in/file.jpg").symlink_to(tmp_path / "outside/secret.jpg")

    results = found(tmp_path / "in", out)

    assert sources(results) == ["a.jpg"]
    assert skips(results) == dict.fromkeys(["loop", "self", "away", "file.jpg"], "symbolic link")


def test_an_input_that_is_itself_a_link_is_walked(shop: Path, tmp_path: Path, out: Path) -> None:
    (tmp_path / "link").symlink_to(shop)

    assert sources(found(tmp_path / "link", out)) == sources(found(shop, out))


def test_the_runs_own_output_inside_an_input_is_not_read(shop: Path) -> None:
    put(shop, "made/a_v01.png")

    results = found(shop, shop / "made")

    assert "made/a_v01.png" not in sources(results)
    assert skips(results) == {"made": "this run's output"}


def test_another_output_inside_an_input_is_not_read(shop: Path, out: Path) -> None:
    put(shop, "old/a_v01.png")
    (shop / "old" / STATE_DIR).mkdir()

    results = found(shop, out)

    assert skips(results) == {"old": "another run's output"}


def test_an_output_that_is_made_during_the_walk_is_not_read(shop: Path) -> None:
    walk = Walk([shop], shop / "zzz", Filters.of((), ()))
    put(shop, "zzz/a_v01.png")
    (shop / "zzz" / STATE_DIR).mkdir()

    assert not any(one.source.startswith("zzz/") for batch in walk for one in batch)


@pytest.mark.parametrize("spelled", [".", "link", "x/.."])
def test_an_input_that_is_the_output_is_refused(tmp_path: Path, spelled: str) -> None:
    both = put(tmp_path / "both", "a.jpg", "x/b.jpg")
    (tmp_path / "link").symlink_to(both)
    inputs = tmp_path / "link" if spelled == "link" else both / spelled

    with pytest.raises(UsageError, match="both input and output"):
        found(inputs, both)


def test_an_earlier_output_given_as_the_input_is_walked_as_the_user_asked(
    tmp_path: Path, out: Path
) -> None:
    put(tmp_path / "in", "a_v01.png")
    (tmp_path / "in" / STATE_DIR).mkdir()

    assert sources(found(tmp_path / "in", out)) == ["a_v01.png"]


@pytest.mark.parametrize(
    ("include", "exclude", "wanted"),
    [
        pytest.param(["*.png"], [], ["c.png", "d/e.png"], id="include by suffix, at any depth"),
        pytest.param(["/d/"], [], ["d/e.png", "d/f.jpg"], id="include one folder"),
        pytest.param([], ["d/"], ["a.jpg", "c.png"], id="exclude a folder"),
        pytest.param([], ["*.png"], ["a.jpg", "d/f.jpg"], id="exclude by suffix"),
        pytest.param(["*.png"], ["d/"], ["c.png"], id="both"),
        pytest.param([], ["*.png", "!c.png"], ["a.jpg", "c.png", "d/f.jpg"], id="all but one"),
        pytest.param(["nothing"], [], [], id="nothing matches"),
    ],
)
def test_filters_choose_among_the_sources(
    tmp_path: Path, out: Path, include: list[str], exclude: list[str], wanted: list[str]
) -> None:
    put(tmp_path / "in", "a.jpg", "c.png", "d/e.png", "d/f.jpg")

    assert sources(found(tmp_path / "in", out, include=include, exclude=exclude)) == wanted


def test_filters_choose_among_single_files_too(tmp_path: Path, out: Path) -> None:
    put(tmp_path, "a.jpg", "b.png")

    results = found([tmp_path / "a.jpg", tmp_path / "b.png"], out, exclude=["*.png"])

    assert sources(results) == ["a.jpg"]


@pytest.mark.parametrize("limit", [1, 3, 5, 100])
def test_the_limit_counts_photos_alone(shop: Path, out: Path, limit: int) -> None:
    put(shop, ".hidden", "0.txt", data=b"text")

    everything = sources(found(shop, out))

    assert sources(found(shop, out, limit=limit)) == everything[:limit]


def test_three_hundred_nested_folders_are_no_trouble(tmp_path: Path, out: Path) -> None:
    deep = tmp_path / "in" / "/".join(["d"] * 300)
    put(deep, "a.jpg")

    assert sources(found(tmp_path / "in", out)) == ["/".join(["d"] * 300) + "/a.jpg"]


def test_a_single_file_is_named_by_its_name(tmp_path: Path, out: Path) -> None:
    put(tmp_path, "deep/er/a.jpg")

    (photo,) = found(tmp_path / "deep/er/a.jpg", out)

    assert isinstance(photo, Photo)
    assert (photo.source, photo.base, photo.kind) == ("a.jpg", "a", "JPEG")


def test_several_inputs_get_a_top_folder_each(tmp_path: Path, out: Path) -> None:
    put(tmp_path, "x/a.jpg", "y/a.jpg", "z.jpg")

    results = found([tmp_path / "x", tmp_path / "y", tmp_path / "z.jpg"], out)

    assert sources(results) == ["z.jpg", "x/a.jpg", "y/a.jpg"]


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["1/a", "2/a"], id="two of one name"),
        pytest.param(["1/a", "2/a", "3/a-2"], id="the third named as the second would be"),
        pytest.param(["1/a-2", "2/a", "3/a"], id="the same, the other way round"),
        pytest.param(["1/a", "2/A"], id="case twins"),
        pytest.param(["1/é", "2/e\u0301"], id="twins by Unicode form"),
    ],
)
@pytest.mark.parametrize("single", [False, True], ids=["folders", "single files"])
def test_inputs_of_like_names_never_meet(
    tmp_path: Path, out: Path, names: list[str], *, single: bool
) -> None:
    if single:
        inputs = [tmp_path / f"{name}.jpg" for name in names]
        put(tmp_path, *[f"{name}.jpg" for name in names])
    else:
        inputs = [tmp_path / name for name in names]
        put(tmp_path, *[f"{name}/p.jpg" for name in names])

    photos = [one for one in found(inputs, out) if isinstance(one, Photo)]

    assert len({photo.source for photo in photos}) == len(names)
    assert len({photo.base.casefold() for photo in photos}) == len(names)


def test_an_input_named_twice_is_walked_once(shop: Path, out: Path) -> None:
    assert sources(found([shop, shop / "../in"], out)) == sources(found(shop, out))


@pytest.mark.parametrize("name", ["not-there", "pipe"])
def test_an_input_that_is_nothing_to_read_is_refused(tmp_path: Path, out: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(UsageError, match=name):
        found(tmp_path / name, out)


def test_no_input_at_all_is_refused(out: Path) -> None:
    with pytest.raises(UsageError, match="no input"):
        found([], out)


def test_a_name_once_given_stays_when_a_twin_comes(tmp_path: Path, out: Path) -> None:
    put(tmp_path / "in", "a.jpg", "a.png")

    photos = found(tmp_path / "in", out, known_base={"a.jpg": "a"}.get)

    assert [one.base for one in photos if isinstance(one, Photo)] == ["a", "a-png"]


def test_a_single_files_name_once_given_stays_when_a_twin_comes(tmp_path: Path, out: Path) -> None:
    put(tmp_path, "a.jpg", "a.png")

    photos = found([tmp_path / "a.jpg", tmp_path / "a.png"], out, known_base={"a.jpg": "a"}.get)

    assert [one.base for one in photos if isinstance(one, Photo)] == ["a", "a-png"]


def test_names_that_are_no_utf8_are_found_and_told_apart(tmp_path: Path, out: Path) -> None:
    folder = put(tmp_path / "in")
    folder.mkdir()
    for raw in (b"a\xff.jpg", b"a\\xff.jpg", b"a\xfe.jpg"):
        (folder / os.fsdecode(raw)).write_bytes(JPEG)

    photos = [one for one in found(folder, out) if isinstance(one, Photo)]

    assert len({photo.source for photo in photos}) == 3
    assert len({photo.base for photo in photos}) == 3


def test_an_empty_folder_holds_nothing(tmp_path: Path, out: Path) -> None:
    (tmp_path / "in/empty").mkdir(parents=True)

    assert found(tmp_path / "in", out) == []


def test_a_folder_that_goes_away_during_the_walk_is_said(tmp_path: Path, out: Path) -> None:
    put(tmp_path / "in", "a.jpg", "z/b.jpg")
    walk = iter(Walk([tmp_path / "in"], out, Filters.of((), ())))
    next(walk)
    (tmp_path / "in/z/b.jpg").unlink()
    (tmp_path / "in/z").rmdir()

    (skip,) = next(walk)

    assert isinstance(skip, Skip)
    assert skip.reason.startswith("folder not readable")


def test_a_photo_folder_named_like_the_manifest_does_not_take_its_place(
    tmp_path: Path, out: Path
) -> None:
    put(tmp_path / "in", "manifest.jsonl/a.jpg")

    (photo,) = found(tmp_path / "in", out)

    assert isinstance(photo, Photo)
    assert not photo.base.startswith("manifest.jsonl/")


def test_an_input_named_like_the_state_folder_does_not_take_its_place(
    tmp_path: Path, out: Path
) -> None:
    put(tmp_path, f"{STATE_DIR}/a.jpg", "x/b.jpg")

    photos = found([tmp_path / STATE_DIR, tmp_path / "x"], out)

    assert not any(p.base.startswith(STATE_DIR) for p in photos if isinstance(p, Photo))


def test_a_photo_folder_named_like_a_picture_of_its_neighbour_does_not_meet_it(
    tmp_path: Path, out: Path
) -> None:
    put(tmp_path / "in", "a.jpg", "a_v01.png/b.jpg")

    bases = [one.base for one in found(tmp_path / "in", out) if isinstance(one, Photo)]

    assert f"{bases[0]}_v01.png" != bases[1].partition("/")[0]


@pytest.mark.parametrize("suffix", [".nef", ".CR2", ".dng", ".arw"])
def test_camera_raw_beside_its_photo_is_passed_over(tmp_path: Path, out: Path, suffix: str) -> None:
    put(tmp_path / "in", "IMG_1.jpg")
    put(tmp_path / "in", f"IMG_1{suffix}", data=b"II*\0\x08\0\0\0 a preview, then sensor data")

    results = found(tmp_path / "in", out)

    assert sources(results) == ["IMG_1.jpg"]
    assert skips(results) == {f"IMG_1{suffix}": "camera raw"}


def test_a_photo_with_a_raw_name_is_a_photo(tmp_path: Path, out: Path) -> None:
    assert sources(found(put(tmp_path / "in", "IMG_1.dng"), out)) == ["IMG_1.dng"]


def test_documents_beside_photos_are_passed_over_by_name(tmp_path: Path, out: Path) -> None:
    put(tmp_path / "in", "price list.pdf", data=b"%PDF-1.7 and more")
    put(tmp_path / "in", "logo.svg", data=b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    put(tmp_path / "in", "label.eps", data=b"%!PS-Adobe-3.0 EPSF-3.0")

    assert skips(found(tmp_path / "in", out)) == {
        "price list.pdf": "PDF file",
        "logo.svg": "SVG file",
        "label.eps": "EPS file",
    }
