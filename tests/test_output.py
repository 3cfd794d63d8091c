"""Names that no file system confuses, and writes that harm nothing."""

import hashlib
import os
import resource
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batch_reimagine.errors import LocalResource, OutputMismatch
from batch_reimagine.naming import STATE_DIR, output_name, safe_name, safe_names, source_name
from batch_reimagine.output import TEMP_DIR, NameTaken, Tree

DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{port}{digit}" for port in ("com", "lpt") for digit in "123456789¹²³"
}

# Names as Linux gives them: any bytes but NUL and "/", read the way Python reads them.
RAW_NAMES = st.binary(min_size=1, max_size=255).map(
    lambda raw: os.fsdecode(raw.replace(b"\0", b"0").replace(b"/", b"_"))
)
MEAN_NAMES = st.builds(
    "".join,
    st.lists(
        st.sampled_from(
            [
                *[
                    "a",
                    "A",
                    "ß",
                    "ss",
                    "é",
                    "e\u0301",
                    "İ",
                    "i̇",
                    "K",
                    "\u212a",
                    "ﬁ",
                    "fi",
                    ".",
                    "-",
                ],
                *["-", "~", "con", "nul", " ", "\n", '"', "%", ":", "\\", "jpg", ".png", "\udcff"],
                *["😀", "\u202e"],
            ]
        ),
        min_size=1,
        max_size=8,
    ),
)
NAMES = (RAW_NAMES | MEAN_NAMES | st.text(max_size=60).filter(bool)).filter(
    lambda name: (
        name not in {".", ".."}
        and "/" not in name
        and "\0" not in name
        and not any(0xD800 <= ord(c) < 0xDC80 or 0xDD00 <= ord(c) < 0xE000 for c in name)
    )
)


def compared(name: str) -> str:
    """As a file system that ignores case and Unicode form compares it."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def is_reserved(name: str) -> bool:
    """Whether Windows keeps the name for a device, or cuts its end off (ntpath.isreserved)."""
    return name[-1] in ". " or name.partition(".")[0].rstrip(" ").casefold() in DEVICES


def assert_takes_everywhere(name: str) -> None:
    assert name not in {"", ".", ".."}
    assert not set(name) & set('<>:"/\\|?*\x7f')
    assert min(name) >= " "
    assert unicodedata.is_normalized("NFC", name)
    assert len(name.encode()) <= 200


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        pytest.param("shoe", "shoe", id="plain"),
        pytest.param("Grüße 01", "Grüße 01", id="umlauts and spaces stay"),
        pytest.param("e\u0301", "é", id="NFC"),
        pytest.param("a:b", "a_b", id="colon"),
        pytest.param("a\nb", "a_b", id="newline"),
        pytest.param('a"b', "a_b", id="quote"),
        pytest.param("50%", "50%", id="per cent"),
        pytest.param("a\\b", "a_b", id="backslash"),
        pytest.param("a. . .", "a", id="dots and spaces at the end"),
        pytest.param("...", "_", id="dots alone"),
        pytest.param("CON", "_CON", id="device"),
        pytest.param("aux.old", "_aux.old", id="device with a suffix"),
        pytest.param("com1", "_com1", id="port"),
        pytest.param("console", "console", id="begins like a device"),
        pytest.param("😀", "😀", id="emoji"),
    ],
)
def test_a_name_becomes_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@pytest.mark.parametrize("name", ["nul .txt", "CON .tar.gz", "lpt1  .x"])
def test_a_device_with_a_space_before_its_dot_is_one_all_the_same(name: str) -> None:
    assert not is_reserved(safe_name(name))


@given(NAMES)
@example("\udcff\udcfe")
@example("x" * 255)
@example("é" * 127)
@example("😀" * 63)
def test_any_name_becomes_one_that_every_system_takes(name: str) -> None:
    safe = safe_name(name)

    assert_takes_everywhere(safe)
    assert safe == safe_name(name)


@settings(max_examples=400)
@given(st.sets(NAMES, max_size=8), st.sets(NAMES, max_size=4))
@example({"a.jpg", "a.png", "A.jpg", "a-jpg.gif"}, {"a", "A"})
@example(set(), {"CON .0"})
@example({"é.jpg", "e\u0301.jpg"}, {"é", "e\u0301"})
@example({"a\udcff.jpg", "a\\xff.jpg"}, set())
@example({"x" * 250 + ".jpg", "x" * 251 + ".png", "x" * 251 + ".jpg"}, {"x" * 254, "x" * 255})
@example({"ﬁ.png", "fi.png", "ß.png", "ss.png", "K.png", "\u212a.png"}, set())
def test_no_two_siblings_share_an_output_name(files: set[str], folders: set[str]) -> None:
    bases, folder_bases = safe_names(sorted(files), sorted(folders))

    assert set(bases) == files
    assert set(folder_bases) == folders
    for named in (bases, folder_bases):
        assert len({compared(name) for name in named.values()}) == len(named)
        for base in named.values():
            output = output_name(base, 9999, "webp")
            assert output.endswith("_v9999.webp")
            assert_takes_everywhere(output)
            assert not is_reserved(output)
            assert_takes_everywhere(base)


def test_a_name_that_mimics_anothers_tail_does_not_meet_it() -> None:
    tag = hashlib.sha256(b"a.jpg").hexdigest()[:8]
    bases, _ = safe_names(["a.jpg", "a.png", "a-jpg.gif", f"a-jpg~{tag}.gif"], [])

    assert len({compared(base) for base in bases.values()}) == len(bases)


@given(st.sets(NAMES, min_size=1, max_size=6))
def test_names_do_not_depend_on_the_order_of_the_listing(files: set[str]) -> None:
    forwards, _ = safe_names(sorted(files), [])
    backwards, _ = safe_names(sorted(files, reverse=True), [])

    assert forwards == backwards


def test_twins_by_suffix_are_told_apart_by_it() -> None:
    bases, _ = safe_names(["a.jpg", "a.png", "b.jpg"], [])

    assert bases == {"a.jpg": "a-jpg", "a.png": "a-png", "b.jpg": "b"}


@given(NAMES)
def test_a_source_name_is_valid_utf8(name: str) -> None:
    source_name(name).encode()


@given(st.sets(NAMES, min_size=2, max_size=2))
@example({"a\udcff", "a\\xff"})
def test_two_files_never_have_one_source_name(names: set[str]) -> None:
    assert len({source_name(name) for name in names}) == 2


@pytest.mark.parametrize(
    ("variation", "name"), [(1, "d/a_v01.png"), (99, "d/a_v99.png"), (100, "d/a_v100.png")]
)
def test_variations_are_numbered_with_two_digits_or_more(variation: int, name: str) -> None:
    assert output_name("d/a", variation, "png") == name


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "out")
    tree.prepare(force=False)
    return tree


def files_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())


@contextmanager
def full_disk(limit_bytes: int = 1000) -> Iterator[None]:
    """The kernel refuses to let any file of this process grow beyond the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_gives_the_hash_of_what_lies_there(tree: Tree) -> None:
    sha256 = tree.write("d/e/a_v01.png", b"picture")

    assert (tree.root / "d/e/a_v01.png").read_bytes() == b"picture"
    assert sha256 == hashlib.sha256(b"picture").hexdigest()
    assert files_in(tree.root) == ["d/e/a_v01.png"], "nothing half-written is left"


def test_a_file_that_is_there_is_never_overwritten(tree: Tree) -> None:
    (tree.root / "a_v01.png").write_bytes(b"theirs")

    with pytest.raises(NameTaken):
        tree.write("a_v01.png", b"ours")

    assert (tree.root / "a_v01.png").read_bytes() == b"theirs"
    assert files_in(tree.root) == ["a_v01.png"]


def test_a_link_under_the_final_name_is_neither_followed_nor_replaced(
    tree: Tree, tmp_path: Path
) -> None:
    (tree.root / "a_v01.png").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(NameTaken):
        tree.write("a_v01.png", b"ours")

    assert (tree.root / "a_v01.png").is_symlink()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["link/a_v01.png", "link/deep/er/a_v01.png"])
def test_nothing_is_written_through_a_linked_folder(tree: Tree, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").mkdir()
    (tree.root / "link").symlink_to(tmp_path / "outside")

    with pytest.raises(LocalResource, match="link"):
        tree.write(name, b"ours")

    assert list((tmp_path / "outside").iterdir()) == []
    assert files_in(tree.root / STATE_DIR) == []


def test_a_link_in_the_middle_of_real_folders_is_seen(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "outside/in").mkdir(parents=True)
    (tree.root / "d").mkdir()
    (tree.root / "d/link").symlink_to(tmp_path / "outside")

    with pytest.raises(LocalResource):
        tree.write("d/link/in/a_v01.png", b"ours")

    assert files_in(tmp_path / "outside") == []


def test_a_dangling_link_as_a_folder_is_not_made_real(tree: Tree, tmp_path: Path) -> None:
    (tree.root / "link").symlink_to(tmp_path / "not-there")

    with pytest.raises(LocalResource):
        tree.write("link/a_v01.png", b"ours")

    assert not (tmp_path / "not-there").exists()


def test_a_full_disk_leaves_nothing_behind(tree: Tree) -> None:
    with full_disk(), pytest.raises(LocalResource, match="same command again"):
        tree.write("d/a_v01.png", bytes(5000))

    assert files_in(tree.root) == []
    tree.write("d/a_v01.png", bytes(5000))
    assert files_in(tree.root) == ["d/a_v01.png"]


def test_a_file_where_a_folder_must_be_is_a_local_resource_error(tree: Tree) -> None:
    (tree.root / "d").write_bytes(b"theirs")

    with pytest.raises(LocalResource):
        tree.write("d/a_v01.png", b"ours")

    assert files_in(tree.root) == ["d"]


@pytest.mark.parametrize(
    "name",
    ["../a", "/etc/a", "a/../../b", "a//b", "", ".", "a/./b", "a\0b", "a/", "/"],
)
def test_a_name_that_leaves_the_output_has_no_path(tree: Tree, name: str) -> None:
    with pytest.raises(ValueError, match="no name inside the output"):
        tree.path(name)
    assert not tree.holds(name)


@given(st.text(alphabet="./a\\\0~", max_size=12))
def test_whatever_has_a_path_lies_inside(name: str) -> None:
    tree = Tree(Path("/nowhere/out"))
    try:
        path = tree.path(name)
    except ValueError:
        return
    assert Path(os.path.normpath(path)).is_relative_to(tree.root)
    assert Path(os.path.normpath(path)) != tree.root


def test_only_regular_files_are_held(tree: Tree) -> None:
    (tree.root / "file").write_bytes(b"x")
    (tree.root / "folder").mkdir()
    (tree.root / "link").symlink_to(tree.root / "file")
    os.mkfifo(tree.root / "pipe")

    assert [n for n in ("file", "folder", "link", "pipe", "none") if tree.holds(n)] == ["file"]


def test_a_file_behind_a_linked_folder_is_not_held(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/a_v01.png").write_bytes(b"theirs")
    (tree.root / "link").symlink_to(tmp_path / "outside")

    assert not tree.holds("link/a_v01.png")


@pytest.mark.parametrize(("suffix", "type_"), [("png", "png"), ("webp", "webp"), ("jpg", "jpeg")])
def test_a_number_is_taken_by_a_file_of_any_type(tree: Tree, suffix: str, type_: str) -> None:
    (tree.root / f"a_v02.{suffix}").write_bytes(b"")

    assert tree.taken("a", 2) == type_
    assert tree.taken("a", 1) is None


def test_a_number_is_taken_by_a_dangling_link(tree: Tree, tmp_path: Path) -> None:
    (tree.root / "a_v01.png").symlink_to(tmp_path / "gone")

    assert tree.taken("a", 1) == "png"


def test_a_folder_of_other_files_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_bytes(b"theirs")

    with pytest.raises(OutputMismatch, match=r"thesis\.doc"):
        Tree(tmp_path).prepare(force=False)

    assert os.listdir(tmp_path) == ["thesis.doc"]  # noqa: PTH208


def test_a_folder_of_other_files_is_taken_over_by_force_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_bytes(b"theirs")

    Tree(tmp_path).prepare(force=True)

    assert (tmp_path / "thesis.doc").read_bytes() == b"theirs"
    assert (tmp_path / TEMP_DIR).is_dir()


def test_an_output_is_opened_again(tree: Tree) -> None:
    tree.write("a_v01.png", b"ours")

    Tree(tree.root).prepare(force=False)


def test_a_file_in_the_place_of_the_output_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"theirs")

    with pytest.raises(OutputMismatch, match="a file, not a folder"):
        Tree(tmp_path / "out").prepare(force=False)


@pytest.mark.parametrize("name", [STATE_DIR, TEMP_DIR])
def test_a_state_folder_that_is_a_link_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").mkdir()
    link = tmp_path / "out" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "outside")

    with pytest.raises(LocalResource, match="link"):
        Tree(tmp_path / "out").prepare(force=True)

    assert list((tmp_path / "outside").iterdir()) == []


def test_what_a_killed_run_left_half_written_goes(tree: Tree) -> None:
    (tree.root / TEMP_DIR / "1234-abcd").write_bytes(b"half")

    tree.clear_temp()

    assert files_in(tree.root) == []
