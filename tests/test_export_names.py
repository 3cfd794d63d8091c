"""Names of exported files: what templates give, and that no two meet on any file system."""

import string
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_reimagine.errors import UsageError
from batch_reimagine.export import names
from batch_reimagine.export.names import FIELDS, apart, check_template, handle, values_of
from batch_reimagine.naming import safe_name
from tests.exporting import Output, files, picture


def same(name: str) -> str:
    """What macOS would compare, in other words than ours."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def name_of(template: str, source: str = "shoes/red.jpg", rank: int = 2) -> str:
    return check_template(template).file_name(values_of(source, 7, rank, "jpg"))


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{stem}", "red"),
        ("{name}", "red"),
        ("{folder}/{stem}_{rank:02}", "shoes/red_02"),
        ("{path}-{variation}", "shoes/red-7"),
        ("{source}", "shoes/red"),
        ("{stem}.PT{other:02}", "red.PT01"),
        ("{stem}.{ext}", "red"),
        ("{ext}/{stem:.2}", "jpg/re"),
        ("a{{b}}{rank}", "a{b}2"),
        ("CON/{stem}", "_CON/red"),
        ("x?:{stem}", "x__red"),
        ("a//{stem}", "a/red"),
        ("-{stem}", "_-red"),
        ("=a/-{stem}", "_=a/-red"),
        (" /@a/{stem}", "_@a/red"),
    ],
)
def test_a_template_gives_a_name(template: str, name: str) -> None:
    assert name_of(template) == name


@pytest.mark.parametrize(
    "template",
    [
        "{stem.__class__}",
        "{0}",
        "{}",
        "{stem[0]}",
        "{stem!r}",
        "{unknown}",
        "{rank:{ext}}",
        "{rank:0999999999}",
        "{rank:x}",
        "{stem:9999999}",
        "{stem",
        "stem}",
        "",
        "{stem}/",
        "..",
        "../{stem}",
        "a/../{stem}",
        "/{stem}",
        ". .",
        "x" * 1001,
    ],
    ids=lambda text: text[:30],
)
def test_a_bad_template_is_refused_and_the_fields_are_named(template: str) -> None:
    with pytest.raises(UsageError, match="template") as error:
        name_of(template)
    if len(template) <= 1000:
        assert all(f"{{{field}}}" in str(error.value) for field in FIELDS)


def test_a_field_that_is_empty_for_one_photo_is_an_error_that_names_it() -> None:
    with pytest.raises(UsageError, match=r"'top\.jpg'"):
        name_of("{folder}", "top.jpg")


def test_names_that_meet_are_told_apart_on_any_file_system(tmp_path: Path) -> None:
    output = Output(tmp_path / "out")
    sources = ["a/x.jpg", "b/X.jpg", "c/\u00e9.jpg", "d/e\u0301.jpg", "e/x.png", "f/y.jpg"]
    for source in sources:
        output.add(source, picture(), picked=(1,))

    done = output.export(tmp_path / "shop", name="{stem}")

    assert len(files(tmp_path / "shop")) == 6
    assert len({same(name) for name in done.names}) == 6
    assert "y.png" in done.names
    assert "x.png" not in done.names
    assert any("told apart" in line for line in done.warnings)
    assert output.export(tmp_path / "shop", name="{stem}").there == 6


def test_who_gets_which_name_does_not_depend_on_the_order() -> None:
    one, _ = apart(["a", "A", "b"], ["1", "2", "3"])
    other, _ = apart(["b", "A", "a"], ["3", "2", "1"])

    assert one == other[::-1]


def test_a_name_that_mimics_a_told_apart_one_is_told_apart_too() -> None:
    mimic = f"a~{names.tag('1')}"

    told, _ = apart(["a", "a", mimic], ["1", "2", "3"])

    assert len(set(map(same, told))) == 3


@given(st.lists(st.sampled_from(["a", "A", "\u00c5", "A\u030a", "\u00df", "ss", "b"]), max_size=9))
def test_apart_never_leaves_two_that_meet(wanted: list[str]) -> None:
    told, _ = apart(wanted, [str(n) for n in range(len(wanted))])

    assert len({same(name) for name in told}) == len(wanted)


@pytest.mark.parametrize("begin", ["", "="])
def test_no_name_is_longer_than_safe_names_are(begin: str) -> None:
    for length in range(170, 210):
        stem = begin + "x" * length
        assert len(name_of("{stem}", f"{stem}.jpg")) <= len(safe_name("x" * 1000))


@given(st.text(max_size=60), st.sampled_from(["{folder}/{stem}", "{source}", "{path}/{rank}"]))
def test_no_source_gives_a_name_that_leaves_the_folder(source: str, template: str) -> None:
    try:
        name = name_of(template, source)
    except UsageError:
        return
    parts = name.split("/")
    assert not {"", ".", ".."} & set(parts)
    assert not set(name) & set('\0\\:*?"<>|\n')
    assert all(len(part.encode()) <= 200 for part in parts)
    assert not name.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert not same(parts[0]).startswith(".batch-reimagine") or len(parts) == 1


@pytest.mark.parametrize(
    "source",
    [
        '"><img src=x onerror=alert(1)>.png',
        "-rf.jpg",
        "a\nb.jpg",
        ".batch-reimagine-export/x.jpg",
        "export.zip/x.jpg",
        "CON.jpg",
        "x" * 190 + ".jpg",
        "Ünï/çødé 名前.jpg",
        "a.jpg/x.jpg",
    ],
)
def test_hostile_sources_become_files_inside_the_folder(tmp_path: Path, source: str) -> None:
    output = Output(tmp_path / "out")
    output.add(source, picture(), picked=(1,), base="safe")
    output.add("a.png", picture(size=(9, 9)), picked=(1,))

    done = output.export(tmp_path / "shop", zip=True, name="{path}")

    assert done.files == 2
    assert files(tmp_path / "shop") == sorted([*done.names, "export.zip"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "shop"]


@given(st.text(max_size=40))
def test_a_handle_is_of_small_letters_digits_and_dashes(text: str) -> None:
    found = handle(text)

    assert set(found) <= set(string.ascii_lowercase + string.digits + "-")
    assert not found.startswith("-")
    assert not found.endswith("-")
