"""What strangers are handed: built once, looked into, installed, run where nothing else is."""

import os
import re
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pathspec
import pytest

from batch_reimagine import __version__
from tests.packaging.places import BIN, INSTALLERS, PROMISED, ROOT, empty_home, python, ran

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel that was built from the sdist alone."""
    into = tmp_path_factory.mktemp("dist")
    ran([BIN / "pyproject-build", "--no-isolation", "--outdir", into, ROOT], cwd=into)
    return into


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def files(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.fixture(scope="session")
def metadata(files: dict[str, bytes]) -> Message:
    (name,) = [name for name in files if name.endswith(".dist-info/METADATA")]
    return message_from_bytes(files[name])


def _tracked(folder: str) -> set[str]:
    """The package's files as they lie here, less what is made by running them."""
    ignored = pathspec.GitIgnoreSpec.from_lines((ROOT / ".gitignore").read_text().splitlines())
    found = [path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*")]
    return {name for name in found if (ROOT / name).is_file() and not ignored.match_file(name)}


def test_the_wheel_holds_the_package_its_samples_and_nothing_else(files: dict[str, bytes]) -> None:
    inside = {name for name in files if ".dist-info/" not in name}
    samples = {f"batch_reimagine/{name}" for name in _tracked("samples")}

    assert inside == _tracked("batch_reimagine") | samples
    assert "batch_reimagine/py.typed" in inside
    assert len(samples) > 3


def test_the_wheel_names_no_place_of_the_machine_that_built_it(files: dict[str, bytes]) -> None:
    places = {str(ROOT).encode(), str(Path.home()).encode() + b"/", b"/tmp/pytest"}

    assert [name for name, data in files.items() if any(place in data for place in places)] == []


def test_the_wheel_says_what_it_is_and_what_it_needs(
    metadata: Message, files: dict[str, bytes]
) -> None:
    assert metadata["Name"] == "batch-reimagine"
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in files)
    assert metadata["Description-Content-Type"] == "text/markdown"
    versions = [word.rpartition(" ")[2] for word in metadata.get_all("Classifier") or []]
    assert set(PROMISED) <= set(versions)
    extras = set(metadata.get_all("Provides-Extra") or [])
    assert {"cloud", "heif", "keyring", "metrics", "otel", "ray"} <= extras
    needs = [word for word in metadata.get_all("Requires-Dist") or [] if "extra ==" not in word]
    assert all(re.search(r">=\d", need) for need in needs), "each has its least version"
    assert len(needs) < 12


def test_the_sdist_can_be_tested_and_holds_nothing_that_was_made(dist: Path) -> None:
    (found,) = dist.glob("*.tar.gz")
    with tarfile.open(found) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}

    wanted = {"LICENSE", "Makefile", "Containerfile", "CHANGELOG.md", "tests/conftest.py"}
    assert wanted | {"configs/novita.toml", "docs/scale.md", "pyproject.toml"} <= names
    tops = {name.partition("/")[0] for name in names}
    assert tops.isdisjoint({".git", ".venv", ".samples", ".stores", "demo-out", "dist", "site"})
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.parametrize(("version", "installer"), [*zip(PROMISED, INSTALLERS, strict=True)])
def test_it_installs_and_makes_the_demo_in_an_empty_home(
    version: str, installer: str, wheel: Path, tmp_path: Path
) -> None:
    """Each Python once and each installer once: a Python that is not here is skipped."""
    base = python(version)
    if base is None:
        pytest.skip(f"no Python {version} here")

    command = INSTALLERS[installer](base, wheel, tmp_path)

    env = empty_home(tmp_path)
    work = tmp_path / "elsewhere"
    work.mkdir()
    assert ran([command, "--version"], cwd=work, env=env).stdout == f"{__version__}\n"
    assert "simulate" in ran([command, "--help"], cwd=work, env=env).stdout
    within = Path(os.path.realpath(command)).with_name("python")
    told = "import sys, batch_reimagine as b; print('%d.%d' % sys.version_info[:2], b.__file__)"
    spoken, home = ran([within, "-c", told], cwd=work, env=env).stdout.split()
    assert (spoken, Path(home).is_relative_to(tmp_path)) == (version, True)
    module = [within, "-m", "batch_reimagine", "demo", "out", "-n", "2"]
    assert "-- look at" in ran(module, cwd=work, env=env).stdout
    rows = (work / "out" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) > 3
    assert all('"status":"done"' in row.replace(" ", "") for row in rows)
