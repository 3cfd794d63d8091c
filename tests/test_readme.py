"""README, help, configs and code say the same."""

import dataclasses
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from batch_reimagine.cli import exits
from batch_reimagine.settings import Settings, describe, load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMAND = [sys.executable, "-m", "batch_reimagine"]


def settings_table() -> str:
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for field in dataclasses.fields(Settings):
        default = "" if field.default in (None, ()) else str(field.default).lower()
        lines.append(f"| `{field.name}` | {default} | {describe(field.name)} |")
    return "\n".join(lines)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_settings_table_is_what_the_code_says() -> None:
    found = re.search(r"<!-- settings:.*?-->\n(.*?)<!-- /settings -->", README, re.DOTALL)
    assert found is not None

    assert found[1].strip() == settings_table()


def test_the_exit_codes_are_what_the_code_does() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+)", README, re.MULTILINE)}

    assert listed == {0, 1, 2, 3, 129} | set(exits._CODES.values())


@pytest.mark.parametrize("name", ["novita", "simulator"])
def test_the_example_settings_load(name: str) -> None:
    file = ROOT / "configs" / f"{name}.toml"

    settings = load({}, {}, file)

    assert settings.provider == name
    assert tomllib.loads(file.read_text(encoding="utf-8"))


def test_the_commented_settings_of_the_examples_load_too(tmp_path: Path) -> None:
    text = (ROOT / "configs" / "novita.toml").read_text(encoding="utf-8")
    file = tmp_path / "all.toml"
    file.write_text(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE), encoding="utf-8")

    settings = load({}, {}, file)

    assert settings.budget == 25
    assert settings.rpm == 60


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "NOVITA" not in name}
    return kept | {"PYTHONPATH": str(ROOT)}


def test_the_simulator_commands_of_the_readme_run(tmp_path: Path) -> None:
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    commands = [
        line.split("#")[0].split()[1:]
        for block in blocks("sh")
        for line in block.splitlines()
        if "out-simulated" in line
    ]
    assert len(commands) == 3
    for arguments in commands:
        ended = subprocess.run(
            [*COMMAND, *arguments],
            cwd=tmp_path,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )

        assert ended.returncode == 0, ended.stderr


def test_the_python_example_of_the_readme_runs(tmp_path: Path) -> None:
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    (example,) = blocks("python")
    ended = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("done ") == len(list((tmp_path / "out-from-python").rglob("*_v*")))
    assert "done " in ended.stdout


def test_every_flag_that_the_readme_names_exists() -> None:
    helped = ""
    for name in ("run", "simulate", "review", "pick", "export"):
        ended = subprocess.run(
            [*COMMAND, name, "--help"],
            env=_environment() | {"COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=True,
            timeout=50,
        )
        helped += ended.stdout
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", README)) - {"--help"}

    assert {flag for flag in named if flag not in helped} == set()
