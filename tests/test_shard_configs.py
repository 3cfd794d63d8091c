"""The examples of shards are run as they stand, with the cluster's part played by a shell."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import make_photos, pictures
from tests.test_cli import ROOT, command, environment

CONFIGS = ROOT / "configs"
SCRIPTS = ["slurm-array.sh", "two-laptops.sh"]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which the tool is, and a scheduler that just begins what it is given."""
    for name, line in (
        ("batch-reimagine", f'exec "{sys.executable}" -m batch_reimagine "$@"'),
        ("srun", 'exec "$@"'),
    ):
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
    return f"{tmp_path / 'bin'}:{os.environ['PATH']}"


def shell(
    words: list[str | Path], path: str, more: Mapping[str, str], where: Path
) -> subprocess.CompletedProcess[str]:
    env = environment(PATH=path, BATCH_REIMAGINE_PROVIDER="simulator", **more)
    return subprocess.run(
        words, env=env, cwd=where, capture_output=True, text=True, check=False, timeout=50
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_sound(name: str) -> None:
    first = (CONFIGS / name).read_text().splitlines()[0]
    tool = shutil.which("bash" if "bash" in first else "sh")
    assert tool
    done = subprocess.run([tool, "-n", CONFIGS / name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing(name: str) -> None:
    tool = shutil.which("shellcheck")
    if tool is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([tool, CONFIGS / name], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_tasks_of_the_array_make_the_whole(tmp_path: Path, path: str) -> None:
    make_photos(tmp_path / "photos", 3)
    where = {"PHOTOS": str(tmp_path / "photos"), "OUT": str(tmp_path / "out"), "SHARDS": "2"}
    for task in ("1", "2"):
        done = shell(
            ["bash", CONFIGS / "slurm-array.sh"],
            path,
            where | {"SLURM_ARRAY_TASK_ID": task, "HOME": str(tmp_path)},
            tmp_path,
        )
        assert done.returncode == 0, done.stderr
    assert len(pictures(tmp_path / "out")) == 12
    names = {file.name for file in (tmp_path / "out" / "manifest").iterdir()}
    assert names == {"shard-1-of-2.jsonl", "shard-2-of-2.jsonl"}


def test_the_array_is_as_long_as_the_script_counts() -> None:
    text = (CONFIGS / "slurm-array.sh").read_text()
    array, shards = re.search(r"--array=1-(\d+)", text), re.search(r"SHARDS:-(\d+)", text)
    assert array is not None
    assert shards is not None
    assert array[1] == shards[1]


def test_pods_of_the_job_make_the_whole(tmp_path: Path, path: str) -> None:
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((CONFIGS / "kubernetes-indexed-job.yaml").read_text())
    spec = job["spec"]
    assert (job["kind"], spec["completionMode"]) == ("Job", "Indexed")
    (container,) = spec["template"]["spec"]["containers"]
    env = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    assert str(spec["completions"]) == str(spec["parallelism"]) == env["SHARDS"]
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    mounts = {each["mountPath"] for each in container["volumeMounts"]}
    assert mounts == {"/photos", "/out"}

    make_photos(tmp_path / "photos", 3)
    line = container["command"]
    for mount in mounts:
        line = [word.replace(f" {mount} ", f" {tmp_path}{mount} ") for word in line]
    for index in ("0", "1"):
        more = env | {"SHARDS": "2", "JOB_COMPLETION_INDEX": index}
        done = shell(line, path, more, tmp_path)
        assert done.returncode == 0, done.stderr
    assert len(pictures(tmp_path / "out")) == 12


def test_two_laptops_put_their_halves_together(tmp_path: Path, path: str) -> None:
    for number in ("1", "2"):
        make_photos(tmp_path / number / "photos", 6)
        done = shell(["sh", CONFIGS / "two-laptops.sh", number], path, {}, tmp_path / number)
        assert done.returncode == 0, done.stderr
    first, second = tmp_path / "1" / "out", tmp_path / "2" / "out"
    apart = len(pictures(first)), len(pictures(second))
    assert sum(apart) == 24
    assert min(apart) > 0

    script = CONFIGS / "two-laptops.sh"
    done = shell(["sh", script, "join", second], path, {}, tmp_path / "1")

    assert done.returncode == 0, done.stderr
    assert "24 good" in done.stdout
    assert command("status", first).stdout.splitlines()[1].startswith("24 variations of 6 photos")
    assert len(pictures(first)) == 24
