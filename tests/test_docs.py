"""README, pages, help, configs and code say the same; what a page says to type works."""

import ast
import importlib.util
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from batch_reimagine import errors
from batch_reimagine.cli import exits
from batch_reimagine.loading import load
from tests.pages import ROOT, Reader, Typist, blocks, environment, name_of, pages
from tests.support import make_photos

PACKAGE = ROOT / "batch_reimagine"
PAGES = {name_of(page): page for page in pages()}
TEXT = {name: page.read_text(encoding="utf-8") for name, page in PAGES.items()}
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))

#: Blocks that no test types, by reason: to add one, there must be no way to run it here.
NOT_RUN = {
    "installs into the reader's environment": 2,
    "needs a bucket": 1,
    "needs a collector": 1,
    "needs a key": 3,
    "needs a Ray cluster": 1,
    "needs pandas": 2,
    "needs trio": 1,
    "opens a browser and serves until Ctrl-C": 3,
}

#: Flags of other programs.
FOREIGN = {"--head", "--stop-timeout"}


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def typist() -> Iterator[Typist]:
    process = Typist()
    yield process
    process.close()


TYPED = [name for name, page in PAGES.items() if any(block.runs for block in blocks(page))]


@pytest.mark.parametrize("page", TYPED)
def test_what_a_page_says_to_type_works(page: str, typist: Typist, tmp_path: Path) -> None:
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    make_photos(tmp_path / "photos", 2)
    (tmp_path / "photos" / "photo-000.jpg").rename(tmp_path / "photos" / "sneaker.jpg")
    make_photos(tmp_path / "photos" / "shoes", 1, first=7)[0].rename(
        tmp_path / "photos" / "shoes" / "boot.jpg"
    )
    home = tmp_path / "home"
    home.mkdir()

    with Reader(tmp_path, environment(home), typist) as reader:
        for block in blocks(PAGES[page]):
            reader.do(block)


def test_what_is_not_typed_has_a_reason_that_is_known() -> None:
    about = [
        str(block.about)
        for page in PAGES.values()
        for block in blocks(page)
        if block.word == "not run"
    ]
    elsewhere = {name for text in about for name in re.findall(r"tests/\w+\.py", text)}

    assert Counter(text.split(";")[0] for text in about) == NOT_RUN
    assert {name for name in elsewhere if not (ROOT / name).is_file()} == set()


def test_pages_made_from_the_code_are_as_the_code_is(reference: ModuleType) -> None:
    differing = [
        page for page in reference.PAGES if TEXT[f"docs/{page}"] != reference.text_of(page)
    ]

    assert differing == [], "run: python tools/reference.py"


def test_every_flag_that_a_page_names_exists() -> None:
    known = set(_flags(TEXT["docs/reference/commands.md"])) | FOREIGN | {"--help", "--version"}
    named = {
        flag: name
        for name, text in TEXT.items()
        for said in (*_spoken(text), *_typed(PAGES[name]))
        for flag in _flags(said)
    }

    assert {flag: name for flag, name in named.items() if flag not in known} == {}


def _flags(text: str) -> list[str]:
    return re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text)


def _spoken(text: str) -> list[str]:
    """What stands in backticks and is a flag, or a command of ours with some."""
    without = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    said = re.findall(r"`([^`\n]+)`", without)
    return [text for text in said if text.startswith(("--", "batch-reimagine ", "run …"))]


def _typed(page: Path) -> list[str]:
    return [
        line.split("|")[0]
        for block in blocks(page)
        for line in block.text.splitlines()
        if line.lstrip().startswith("batch-reimagine ")
    ]


def test_the_exit_codes_are_what_the_code_does() -> None:
    listed = re.findall(r"^\| `?(\d+)", TEXT["docs/reference/exit-codes.md"], re.MULTILINE)

    assert {int(code) for code in listed} >= {0, 1, 2, 3} | set(exits._CODES.values())


def test_the_readme_is_at_most_two_screens_and_its_pictures() -> None:
    assert len(TEXT["README.md"].splitlines()) <= 110


def test_every_link_to_a_file_of_ours_leads_somewhere() -> None:
    papers = [*PAGES.values(), *(ROOT.glob("*.md"))]
    lost = {
        f"{name_of(page)}: {link}"
        for page in papers
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)", page.read_text("utf-8"))
        if not (page.parent / link).exists()
    }

    assert lost == set()


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8")))
    texts = [*TEXT.values(), (ROOT / "CONTRIBUTING.md").read_text("utf-8")]
    named = {name for text in texts for name in re.findall(r"(?m)(?:`|^)make ([a-z-]+)", text)}

    assert named - targets == set()
    assert "docs" in named


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_an_example_of_settings_loads_with_all_that_is_commented_out(
    file: Path, tmp_path: Path
) -> None:
    text = file.read_text(encoding="utf-8")
    whole = tmp_path / "all.toml"
    whole.write_text(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE), encoding="utf-8")

    assert load({}, {}, file).provider == file.stem
    assert load({}, {}, whole).provider == file.stem


# Messages: a page that quotes what nobody says any more sends people astray.

LEAST = 8  # characters of its own, for a message to be one
SAYS = {kind.__name__ for kind in errors.RunError.__subclasses__()}


def _shape(node: ast.expr) -> str:
    """A text of the code with … for what it fills in."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(map(_shape, parts))
        case ast.BinOp(left=left, right=right):
            return _shape(left) + _shape(right)
        case _:
            return "…"


@cache
def _expressions() -> list[ast.expr]:
    """All of the package's."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")]
    return [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.expr)]


def _stopping() -> set[str]:
    """First arguments of the errors that stop a run."""
    return {
        _shape(node.args[0])
        for node in _expressions()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in SAYS
        and node.args
    }


def _fits(quoted: str, text: str) -> bool:
    """Whether a quotation, with … for anything, is of a text, with … for anything too."""
    return re.fullmatch(_wild(quoted), text) is not None


def _wild(quoted: str) -> str:
    return ".*".join(map(re.escape, re.split(r"…+", quoted)))


def _quoted() -> list[str]:
    rows = re.findall(r"^\| (`.+?) \|", TEXT["docs/troubleshooting.md"], re.MULTILINE)
    return [text for row in rows for text in re.findall(r"`([^`]+)`", row)]


def test_every_message_that_is_quoted_is_one_of_the_code() -> None:
    said = {_shape(node) for node in _expressions()}
    words = " ".join(said)
    quoted = _quoted()
    lost = [
        text
        for text in quoted
        if (text not in words if text.isupper() else not any(_fits(text, one) for one in said))
    ]

    assert len(quoted) > 80
    assert [one for one in quoted if len(one.replace("…", "")) < LEAST and not one.isupper()] == []
    assert lost == []


def test_every_error_that_stops_a_run_is_on_the_page() -> None:
    quoted = _quoted()
    raised = {text for text in _stopping() if len(text.replace("…", "")) >= LEAST}
    missing = {text for text in raised if not any(_fits(one, text) for one in quoted)}

    assert len(raised) > 40
    assert missing == set()
