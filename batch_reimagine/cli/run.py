"""`batch-reimagine run`: make what is missing."""

import asyncio
import os
import shlex
import signal
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from batch_reimagine.cli import exits
from batch_reimagine.cli.flags import Flags, given
from batch_reimagine.cli.report import Reporter
from batch_reimagine.errors import ReimagineError, UsageError
from batch_reimagine.places import Place, place_of
from batch_reimagine.settings import Settings, load

_NO_FLAGS = Flags()


def run(
    *inputs: Annotated[
        str, Parameter(help="Folders of photos, single photos, or s3://, gs://, az:// addresses.")
    ],
    output: Annotated[
        str,
        Parameter(
            name=["--output", "-o"],
            help="Folder for the results, here or in a store; made if missing.",
        ),
    ],
    flags: Flags = _NO_FLAGS,  # type: ignore[valid-type]  # made from Settings
    config: Annotated[
        Path | None, Parameter(help="TOML file of settings; the environment and flags win over it.")
    ] = None,
    dry_run: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Show the plan; no call, no key needed, nothing written.",
        ),
    ] = False,
    json: Annotated[
        bool,
        Parameter(
            negative="", show_default=False, help="JSON lines on stdout: plan, note, item, summary."
        ),
    ] = False,
    quiet: Annotated[
        bool,
        Parameter(
            name=["--quiet", "-q"],
            negative="",
            show_default=False,
            help="Errors and the summary only.",
        ),
    ] = False,
    verbose: Annotated[
        int,
        Parameter(
            name=["--verbose", "-v"],
            count=True,
            negative="",
            show_default=False,
            help="A line for every variation.",
        ),
    ] = 0,
    repair: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Hash every output first; set torn ones aside and make them again.",
        ),
    ] = False,
    yes: Annotated[
        bool,
        Parameter(
            negative="", show_default=False, help="Use a folder that holds other files as output."
        ),
    ] = False,
) -> int:
    """Make N variations of every photo below INPUTS; the same command resumes.

    The key is read from NOVITA_API_KEY, or from the file that NOVITA_API_KEY_FILE names.
    Settings: flag > environment (BATCH_REIMAGINE_*) > --config > default.
    First Ctrl-C: begin no new call, keep those in flight. Second: drop them.
    """
    settings = load(given(flags), os.environ, config)
    sources, target = tuple(map(place_of, inputs)), place_of(output)
    reporter = Reporter(json=json, quiet=quiet, verbose=bool(verbose), settings=settings)
    if dry_run:
        from batch_reimagine import batch  # noqa: PLC0415 - heavy

        reporter.plan(batch.plan(sources, target, settings), dry=True)
        return exits.DONE
    return asyncio.run(_run(sources, target, settings, reporter, force=yes, repair=repair))


async def _run(
    inputs: tuple[Place, ...],
    output: Place,
    settings: Settings,
    reporter: Reporter,
    *,
    force: bool,
    repair: bool,
) -> int:
    from batch_reimagine import batch  # noqa: PLC0415 - heavy
    from batch_reimagine.engine import Stop  # noqa: PLC0415

    stop = Stop()
    heard: list[int] = []

    def interrupted(number: int) -> None:
        heard.append(number)
        if len(heard) == 1:
            stop.request("interrupted")
            reporter.stopping()
        else:
            stop.drop("interrupted twice")

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue  # nohup: the terminal may go, the run goes on
        loop.add_signal_handler(number, interrupted, number)
    code = exits.DONE
    with reporter:
        try:
            await batch.run(
                inputs,
                output,
                settings,
                key=read_key(settings, os.environ),
                emit=reporter.emit,
                stop=stop,
                progress=reporter.progress,
                force=force,
                repair=repair,
            )
        except ReimagineError as error:
            code = exits.code_of(error)
            reporter.failed(str(error), code)
        else:
            if reporter.progress.failed or reporter.progress.unreadable:
                code = exits.SOME_FAILED
        if heard and code in {exits.DONE, exits.SOME_FAILED}:
            code = 128 + heard[0]
    reporter.end(code, next_command(code, reporter, settings))
    if not reporter.close():
        os._exit(code)  # somebody holds our output open and does not read; all work is on disk
    return code


def next_command(code: int, reporter: Reporter, settings: Settings) -> str | None:
    """What to type next, if anything is left to do."""
    progress = reporter.progress
    arguments = sys.argv[1:]
    if code in {exits.DONE, exits.USAGE}:
        return None
    if code == exits.LIMIT and settings.budget is not None and settings.price is not None:
        gone = Decimal(progress.spent or 0) + Decimal(progress.at_risk or 0)
        shard = settings.shard_of
        budget = settings.budget
        if shard is not None:
            budget = shard.share_of_money(budget, settings.price)
        if gone + settings.price > budget:  # the same budget would end at once
            enough = gone + reporter.left() * settings.price
            if shard is not None:  # the budget is the whole job's
                enough *= shard.n
            arguments = [*without(arguments, "--budget"), "--budget", str(enough)]
    only_refused = not progress.exhausted and not progress.held and code == exits.SOME_FAILED
    if only_refused and "--retry-failed" not in arguments:
        arguments = [*arguments, "--retry-failed"]
    return shlex.join(["batch-reimagine", *arguments])


def without(arguments: list[str], flag: str) -> list[str]:
    """The arguments but for a flag and its value."""
    kept = [word for word in arguments if not word.startswith(f"{flag}=")]
    while flag in kept:
        at = kept.index(flag)
        del kept[at : at + 2]
    return kept


def read_key(settings: Settings, environ: Any) -> str:
    """The provider's key, from its variable or from the file that <variable>_FILE names."""
    from batch_reimagine.provider import PROVIDERS  # noqa: PLC0415

    if settings.provider == "simulator":
        return ""  # a real key never goes to the simulator
    variable = PROVIDERS[settings.provider].key_variable
    if key := environ.get(variable, "").strip():
        return str(key)
    if file := environ.get(f"{variable}_FILE"):
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise UsageError(f"{variable}_FILE: {file} cannot be read: {why}") from None
    return ""
