"""`batch-reimagine completion`: what a shell needs to complete commands and flags."""

import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from batch_reimagine.cli import application, exits
from batch_reimagine.cli.screen import write


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="Which shell.")], /
) -> int:
    """Print the completion script of a shell; it is made from the commands as they are.

    bash: into ~/.local/share/bash-completion/completions/batch-reimagine ·
    zsh: into a file _batch-reimagine in a folder of $fpath ·
    fish: into ~/.config/fish/completions/batch-reimagine.fish
    """
    write(sys.stdout, application().generate_completion(shell=shell))
    return exits.DONE
