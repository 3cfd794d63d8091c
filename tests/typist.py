"""A process that has the package imported, and runs each command or program in a child of its own.

On standard input a JSON object a line: arguments of the command or text of a program, folder,
environ, output (a file for both streams). On standard output its exit code. It has one
thread, so that it may fork.
"""

import json
import os
import sys
import traceback
from pathlib import Path

from batch_reimagine import cli
from batch_reimagine.cli import run  # noqa: F401 - heavy, and in nearly every page


def main() -> None:
    import batch_reimagine.batch  # noqa: F401, PLC0415 - likewise

    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(_child(**asked))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


def _child(
    arguments: list[str], program: str | None, folder: str, environ: dict[str, str], output: str
) -> int:
    with Path(output).open("wb") as told:
        os.dup2(told.fileno(), 1)
        os.dup2(told.fileno(), 2)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    code = 0
    if program is None:
        sys.argv = ["batch-reimagine", *arguments]
        code = cli.main(arguments)
    else:
        sys.argv = ["program.py"]
        try:
            exec(compile(program, "program.py", "exec"), {"__name__": "__main__"})  # noqa: S102
        except BaseException:  # noqa: BLE001 - as the interpreter does it
            traceback.print_exc()
            code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    main()
