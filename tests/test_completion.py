"""Completion scripts: made from the commands as they are, and tried in their shells."""

import shutil
import subprocess
from pathlib import Path

import pytest

from batch_reimagine.cli import _COMMANDS, main
from batch_reimagine.settings import FIELDS

_TRY = """
source {script}
complete -p batch-reimagine > /dev/null
complete_it() {{
  COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMP_LINE="$*"; COMP_POINT=${{#COMP_LINE}}
  COMPREPLY=(); "$FUNCTION" batch-reimagine "${{@: -1}}" "${{@: -2:1}}"; echo "${{COMPREPLY[@]}}"
}}
FUNCTION=$(complete -p batch-reimagine | sed -E 's/.*-F ([^ ]+).*/\\1/')
complete_it batch-reimagine ''
complete_it batch-reimagine run --
complete_it batch-reimagine run --hal
complete_it batch-reimagine run --no-wait --hal
"""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_given_every_command_and_every_setting(
    shell: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = main(["completion", shell])
    script, err = capfd.readouterr()

    assert (code, err) == (0, "")
    for command in _COMMANDS:
        assert command in script
    for name in FIELDS:
        assert name.replace("_", "-") in script
    if program := shutil.which(shell):
        (tmp_path / "script").write_text(script, "utf-8")
        told = subprocess.run(
            [program, "-n", tmp_path / "script"], capture_output=True, check=False, timeout=20
        )
        assert (told.returncode, told.stderr) == (0, b"")


def test_bash_completes_commands_and_flags(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    main(["completion", "bash"])
    (tmp_path / "script").write_text(capfd.readouterr().out, "utf-8")
    told = subprocess.run(
        ["/usr/bin/env", "bash", "--norc", "-c", _TRY.format(script=tmp_path / "script")],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )

    assert told.returncode == 0, told.stderr
    commands, flags, begun, after_a_switch = told.stdout.splitlines()
    assert set(_COMMANDS) <= set(commands.split())
    assert {"--variations", "--log-file", "--metrics-port", "--budget"} <= set(flags.split())
    assert begun.split() == after_a_switch.split() == ["--halt"]


def test_another_shell_is_refused_with_those_that_there_are(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "bash" in capfd.readouterr().err
