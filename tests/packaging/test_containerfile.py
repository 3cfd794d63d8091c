"""The container file: linted, and its steps done here in an environment with nothing else in it."""

import re
import shutil
import subprocess
from pathlib import Path

import pathspec
import pytest

from tests.packaging.containerfile import Build, steps
from tests.packaging.places import BIN, PROMISED, ROOT, empty_home, python, ran

CONTAINERFILE = ROOT / "Containerfile"
COPIED = [
    name
    for step in steps(CONTAINERFILE.read_text(encoding="utf-8"))
    if step.word == "COPY" and "--from=" not in step.rest
    for name in step.rest.split()[:-1]
]
pytestmark = pytest.mark.timeout(300)


def _hadolint(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "hadolint", "--no-color", file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_container_file_is_as_its_linter_wants_it(tmp_path: Path) -> None:
    told = _hadolint(CONTAINERFILE)
    assert (told.returncode, told.stdout) == (0, "")

    worse = tmp_path / "Containerfile"
    worse.write_text("FROM python\nRUN cd /src && pip install x\n")
    assert {"DL3006", "DL3042"} <= set(re.findall(r"DL\d+", _hadolint(worse).stdout))


def test_the_builder_is_sent_what_it_copies_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept_out = pathspec.GitIgnoreSpec.from_lines(lines)

    assert all((ROOT / name).exists() for name in COPIED)
    assert all(f"!{name}" in lines for name in COPIED)
    assert sum(line.startswith("!") for line in lines) == len(COPIED)
    assert all(map(kept_out.match_file, (".git/HEAD", ".venv/x", "tests/x.py", ".samples/a")))


def test_the_steps_of_the_container_file_end_in_a_command_that_works(tmp_path: Path) -> None:
    base = python(PROMISED[-1])
    if base is None:
        pytest.skip(f"no Python {PROMISED[-1]} here")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "python").symlink_to(base)
    env = empty_home(tmp_path)
    env["PATH"] = f"{tools}:{env['PATH']}"
    root = tmp_path / "image"
    root.mkdir()
    build = Build(root, ROOT, {"EXTRAS": "heif"}, env)

    for step in steps(CONTAINERFILE.read_text(encoding="utf-8")):
        build.do(step)

    assert build.stages == 2
    assert build.command == ["batch-reimagine", "--help"]
    command = shutil.which(build.command[0], path=build.env["PATH"])
    assert command is not None
    assert Path(command).is_relative_to(root)
    work = Path(build.here(build.workdir))
    assert "simulate" in ran([command, *build.command[1:]], cwd=work, env=build.env).stdout
    assert "-- look at" in ran([command, "demo", "out"], cwd=work, env=build.env).stdout
