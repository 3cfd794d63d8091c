"""The tool without its 0.4 s of imports: a process that has them, and forks one run at a time.

Each run is a process of its own, with its own arguments, environment, output files and
exit code; only the reading of the code is shared. Ask one `Forks` for one run at a time.
"""

import asyncio
import importlib
import json
import os
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.test_cli import ROOT, environment, finish

WITHIN_S = 60.0
_IMPORTS = ("run", "verify", "status", "exits")


@dataclass(frozen=True, slots=True)
class Ended:
    """How one run ended."""

    code: int  #: negative: the signal that killed it
    out: str
    err: str


class Forks:
    """The asking side."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, *arguments: object, folder: Path, **env: str) -> Ended:
        """Run the tool to its end. folder: for its stdout and stderr; made."""
        folder.mkdir(parents=True, exist_ok=True)
        out, err = folder / "stdout", folder / "stderr"
        order = {"argv": [*map(str, arguments)], "env": env, "out": str(out), "err": str(err)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()
        answer = await asyncio.wait_for(self._process.stdout.readline(), WITHIN_S + 5)
        assert answer, "the forking process died"
        return Ended(json.loads(answer), _text(out), _text(err))


class Plain:
    """The command itself, started anew for every run; with the shim before it, if there is one."""

    def __init__(self, shim: Path | None) -> None:
        self._preload = {} if shim is None else {"LD_PRELOAD": str(shim)}

    async def run(self, *arguments: object, folder: Path, **env: str) -> Ended:  # noqa: ARG002 - as Forks
        code, out, err = await finish(*arguments, **self._preload, **env)
        return Ended(code, out, err)


Lane = Forks | Plain


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


@asynccontextmanager
async def forks(shim: Path | None) -> AsyncIterator[Forks]:
    """Start the forking process; it ends with the block."""
    preload = {} if shim is None else {"LD_PRELOAD": str(shim)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.torture.forks",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=environment(**preload),
    )
    try:
        yield Forks(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()


def main() -> None:
    """Fork a run for every line on stdin; answer with its exit code."""
    for name in _IMPORTS:
        importlib.import_module(f"batch_reimagine.cli.{name}")
    importlib.import_module("batch_reimagine.batch")
    # A photo or two a run: a second process to decode them would cost more than the run itself.
    importlib.import_module("batch_reimagine.local_bench")._CORES = 1
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(order)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201


def _become(order: dict[str, object]) -> None:
    """Be the run that was ordered, and end with it."""
    import signal  # noqa: PLC0415 - of the child alone

    from batch_reimagine.cli import main as tool  # noqa: PLC0415

    code = 70
    try:
        signal.alarm(int(WITHIN_S))  # every wait has a limit, this one too
        for name, number in (("out", 1), ("err", 2)):
            handle = os.open(str(order[name]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(handle, number)
            os.close(handle)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        env, argv = order["env"], order["argv"]
        assert isinstance(env, dict)
        assert isinstance(argv, list)
        os.environ.update(env)
        sys.argv = ["batch-reimagine", *argv]
        code = tool(argv)
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:  # noqa: BLE001 - shown, as an interpreter would
        traceback.print_exc()
        code = 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
