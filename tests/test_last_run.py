"""Where the photos lie is remembered for their owner alone, and only the bytes sent are shown."""

import asyncio
import hashlib
import json
import os
import resource
import stat
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine.errors import LocalResource, UsageError
from batch_reimagine.last_run import FILE, LastRun, Originals, recall, remember
from batch_reimagine.naming import STATE_DIR
from batch_reimagine.output import TEMP_DIR, Tree
from batch_reimagine.settings import Settings
from tests.support import jpeg, make_photos, rows, run

PHOTO = jpeg(1)
SHA256 = hashlib.sha256(PHOTO).hexdigest()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "out")
    tree.prepare(force=False)
    return tree


@pytest.fixture
def file(tree: Tree) -> Path:
    return tree.root / STATE_DIR / FILE


def changed(file: Path, **settings: Any) -> None:
    """As another version might have written it."""
    found = json.loads(file.read_bytes())
    found["settings"] |= settings
    file.write_text(json.dumps(found | {"hosts": ["a"]}))


def put(path: Path, data: bytes = PHOTO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_what_is_remembered_is_recalled(tree: Tree, tmp_path: Path) -> None:
    settings = Settings(
        variations=4,
        base_url="http://127.0.0.1:8000/v1",
        price=Decimal("0.0123"),
        budget=Decimal(5),
        include=("*.png", "*.jpg"),
        halt="soon,fail=10%",
        timeout_s=7.5,
    )

    remember(tree, [tmp_path / "a", Path("b/../c")], settings)

    assert recall(tree) == LastRun(
        inputs=(str(tmp_path / "a"), str(Path.cwd() / "c")), settings=settings
    )


def test_names_that_are_no_utf8_come_back_byte_for_byte(tree: Tree) -> None:
    names = [os.fsdecode(b"/caf\xe9/\xff\xe2\x82"), "/back\\slash/\\xe9", "/😀\n"]

    remember(tree, [Path(name) for name in names], Settings())

    last = recall(tree)
    assert last is not None
    assert list(last.inputs) == names


def test_only_its_owner_may_read_it_also_where_another_lay_open(tree: Tree, file: Path) -> None:
    file.write_text("{}")
    file.chmod(0o644)

    remember(tree, [tree.root], Settings())

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert recall(tree) is not None
    assert not list((tree.root / TEMP_DIR).iterdir())


@pytest.mark.parametrize(
    "url", ["http://user:pw@127.0.0.1/v1", "http://pw@host", "http://host/?key=pw", "http://h/#pw"]
)
def test_no_address_with_a_password_gets_as_far_as_this_file(url: str) -> None:
    with pytest.raises(UsageError):
        Settings(base_url=url)


def test_a_real_run_leaves_it_without_the_key(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 1)
    asyncio.run(
        run(tmp_path / "photos", tmp_path / "out", provider="simulator", key="sk_secret_12345678")
    )

    file = tmp_path / "out" / STATE_DIR / FILE
    last = recall(Tree(tmp_path / "out"))
    assert last is not None
    assert last.inputs == (str(tmp_path / "photos"),)
    assert b"sk_secret" not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_a_newer_version_wrote_does_not_stop_recalling(tree: Tree, file: Path) -> None:
    remember(tree, [tree.root], Settings(variations=3))
    changed(file, colours="many", ramp="gentle", attempts=0)

    last = recall(tree)

    assert last is not None
    assert last.settings == Settings(variations=3)


@pytest.mark.parametrize(
    "unknown", [{"provider": "other"}, {"type": "avif"}, {"price": "dear"}, {"max_calls": -1}]
)
def test_a_setting_that_money_hangs_on_is_never_guessed(
    tree: Tree, file: Path, unknown: dict[str, object]
) -> None:
    remember(tree, [tree.root], Settings())
    changed(file, **unknown)

    assert recall(tree) is None


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b"{}", b'{"inputs":[1]}'])
def test_a_file_that_says_nothing_is_none(tree: Tree, file: Path, data: bytes) -> None:
    file.write_bytes(data)

    assert recall(tree) is None


@pytest.mark.parametrize("kind", ["nothing", "link", "pipe", "folder"])
def test_what_is_no_file_is_none_without_hanging(
    tree: Tree, file: Path, tmp_path: Path, kind: str
) -> None:
    remember(tree, [tree.root], Settings())
    file.rename(tmp_path / "elsewhere")
    if kind == "link":
        file.symlink_to(tmp_path / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()

    assert recall(tree) is None


def test_a_full_disk_leaves_the_last_one(tree: Tree, file: Path) -> None:
    remember(tree, [tree.root], Settings())
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(LocalResource, match="too large"):
            remember(tree, [tree.root / "b"], Settings())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert file.read_bytes() == before
    assert not list((tree.root / TEMP_DIR).iterdir())


def test_the_originals_of_a_real_run_are_found(tmp_path: Path) -> None:
    photos = [*make_photos(tmp_path / "one" / "photos" / "d", 2), *make_photos(tmp_path / "two", 1)]
    strange = put(tmp_path / "two" / os.fsdecode(b"back\\slash \xff\xe9.jpg"), jpeg(9))
    single = put(tmp_path / "single.jpg", jpeg(8))
    inputs = [tmp_path / "one" / "photos", tmp_path / "two", single]
    asyncio.run(run(inputs, tmp_path / "out", provider="simulator"))
    last = recall(Tree(tmp_path / "out"))
    assert last is not None

    originals = Originals([Path(path) for path in last.inputs])

    found = {originals.read(row["source"], row["source_sha256"]) for row in rows(tmp_path / "out")}
    assert found == {path.read_bytes() for path in (*photos, strange, single)}


def test_a_photo_that_was_edited_or_is_gone_is_not_shown(tmp_path: Path) -> None:
    path = put(tmp_path / "photos" / "a.jpg")
    originals = Originals([tmp_path / "photos"])
    assert originals.read("a.jpg", SHA256) == PHOTO

    path.write_bytes(PHOTO + b"edited")
    assert originals.read("a.jpg", SHA256) is None
    path.unlink()
    assert originals.read("a.jpg", SHA256) is None
    os.mkfifo(path)
    assert originals.read("a.jpg", SHA256) is None


@pytest.mark.parametrize(
    "source",
    [
        "../secret.jpg",
        "d/../../secret.jpg",
        "d//../secret.jpg",
        "/secret.jpg",
        "",
        ".",
        "\\x2e\\x2e/secret.jpg",
        "..\\x2fsecret.jpg",
        "d\\x00",
        "a\0b",
        "\ud800.jpg",
        "x" * 5000,
        "d",
    ],
)
def test_no_source_reaches_out_of_the_inputs(tmp_path: Path, source: str) -> None:
    put(tmp_path / "secret.jpg")
    put(tmp_path / "photos" / "d" / "a.jpg")
    originals = Originals([tmp_path / "photos"])

    path = originals.path(source)

    assert path is None or tmp_path / "photos" in path.parents
    assert originals.read(source, SHA256) is None


def test_a_link_in_a_photos_place_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "secret.jpg")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").symlink_to(tmp_path / "secret.jpg")

    assert Originals([tmp_path / "photos"]).read("a.jpg", SHA256) is None


def test_through_a_linked_folder_come_the_very_bytes_that_were_sent_or_none(
    tmp_path: Path,
) -> None:
    put(tmp_path / "moved" / "same.jpg")
    put(tmp_path / "moved" / "other.jpg", b"what nobody sent")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "d").symlink_to(tmp_path / "moved")
    originals = Originals([tmp_path / "photos"])

    assert originals.read("d/same.jpg", SHA256) == PHOTO
    assert originals.read("d/other.jpg", SHA256) is None


def test_without_its_inputs_nothing_is_found_and_nothing_raised(tmp_path: Path) -> None:
    for inputs in ([], [tmp_path / "gone"]):
        assert Originals(inputs).path("a.jpg") is None
        assert Originals(inputs).read("a.jpg", SHA256) is None
