"""Where Pythons lie, and how each installer is told to install into a place of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent
PROMISED = ("3.11", "3.12", "3.13")
MOST_S = 240  # of one step; an install downloads


def ran(
    argv: Sequence[object], *, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; it must end well."""
    done = subprocess.run(
        [*map(str, argv)],
        cwd=cwd,
        env=env or os.environ.copy(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=MOST_S,
        check=False,
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


def _candidates(version: str) -> Iterator[Path]:
    if ".".join(map(str, sys.version_info[:2])) == version:
        yield Path(sys.base_prefix) / "bin" / f"python{version}"
    if (found := shutil.which(f"python{version}")) is not None:
        yield Path(found)
    beside = Path(sys.base_prefix).parent  # pyenv's and others' lie side by side
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for versions in (beside, pyenv):
        yield from sorted(versions.glob(f"{version}.*/bin/python{version}"))


@cache
def python(version: str) -> Path | None:
    """An interpreter of that version that runs (pyenv's shims may not), or None."""
    for path in _candidates(version):
        if not path.exists():
            continue
        told = subprocess.run(
            [path, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if told.stdout.strip() == version:
            return path
    return None


def empty_home(folder: Path) -> dict[str, str]:
    """A stranger's environment: nothing of this project, no key, a home with nothing in it."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    ours = ("BATCH_REIMAGINE", "NOVITA", "PYTHON", "VIRTUAL_ENV", "PYTEST")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    kept["UV_SYSTEM_CERTS"] = "true"  # as pip does
    return kept | {"HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin"}


def by_pip(base: Path, wheel: Path, folder: Path) -> Path:
    """The command that `pip install WHEEL` makes, in a fresh environment."""
    env = empty_home(folder)
    ran([base, "-m", "venv", folder / "venv"], cwd=folder, env=env)
    pip = [folder / "venv/bin/python", "-m", "pip"]
    ran([*pip, "install", "--quiet", "--disable-pip-version-check", wheel], cwd=folder, env=env)
    ran([*pip, "check"], cwd=folder, env=env)
    return folder / "venv/bin/batch-reimagine"


def by_pipx(base: Path, wheel: Path, folder: Path) -> Path:
    """The command that `pipx install WHEEL` makes."""
    env = empty_home(folder)
    env |= {"PIPX_HOME": str(folder / "pipx"), "PIPX_BIN_DIR": str(folder / "bin")}
    ran([BIN / "pipx", "install", "--python", base, wheel], cwd=folder, env=env)
    return folder / "bin/batch-reimagine"


def by_uv(base: Path, wheel: Path, folder: Path) -> Path:
    """The command that `uv tool install WHEEL` makes."""
    env = empty_home(folder)
    env |= {"UV_TOOL_DIR": str(folder / "tools"), "UV_TOOL_BIN_DIR": str(folder / "bin")}
    if not _uv_reaches_an_index(env):
        pytest.skip("uv reaches no package index here (it knows no pip.conf)")
    ran([BIN / "uv", "tool", "install", "--python", base, wheel], cwd=folder, env=env)
    return folder / "bin/batch-reimagine"


def _uv_reaches_an_index(env: dict[str, str]) -> bool:
    asked = [BIN / "uv", "pip", "install", "--dry-run", "--no-cache", "--reinstall", "--no-deps"]
    done = subprocess.run(
        [*map(str, asked), "--python", sys.executable, "hatchling"],
        env=env,
        capture_output=True,
        timeout=MOST_S,
        check=False,
    )
    return done.returncode == 0


INSTALLERS = {"pip": by_pip, "pipx": by_pipx, "uv": by_uv}
