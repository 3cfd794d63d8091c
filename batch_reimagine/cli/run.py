"""`batch-reimagine run`: make what is missing."""

import asyncio
import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from batch_reimagine.cli import exits
from batch_reimagine.cli.balance import short_of, warned
from batch_reimagine.cli.flags import Flags, given
from batch_reimagine.cli.reporter import Reporter
from batch_reimagine.cli.watching import Watched, Watching, refuse_log, watching
from batch_reimagine.errors import ReimagineError
from batch_reimagine.loading import load
from batch_reimagine.places import Place, place_of
from batch_reimagine.settings import Settings
from batch_reimagine.work import Note, Plan

_NO_FLAGS = Flags()
_UNWATCHED = Watching()
_LOG = logging.getLogger("batch_reimagine.run")


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
            help="Show the plan; nothing is bought or written, no key needed.",
        ),
    ] = False,
    json: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="JSON lines on stdout: plan, progress, item, note, error, summary.",
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
    watch: Annotated[Watching, Parameter(name="*", group="Watching")] = _UNWATCHED,
) -> int:
    """Make N variations of every photo below INPUTS; the same command resumes.

    The key: the provider's variable (NOVITA_API_KEY), or the file that NOVITA_API_KEY_FILE names,
    or what `auth set` kept.
    Settings: flag > environment (BATCH_REIMAGINE_*) > --config > default.
    First Ctrl-C: begin no new call, keep those in flight. Second: drop them.
    """
    settings = load(given(flags), os.environ, config)
    sources, target = tuple(map(place_of, inputs)), place_of(output)
    reporter = Reporter(json=json, quiet=quiet, verbose=bool(verbose), settings=settings)
    if dry_run:
        from batch_reimagine import batch  # noqa: PLC0415 - heavy

        planned = batch.plan(sources, target, settings)
        reporter.plan(planned, dry=True)
        return asyncio.run(_compared(planned, settings, reporter))
    if watch.log_file is not None:
        refuse_log(watch.log_file, sources, target, settings)
    opened = partial(
        watching, watch, json=json, quiet=quiet, verbose=bool(verbose), note=reporter.aside
    )
    return asyncio.run(_run(sources, target, settings, reporter, opened, force=yes, repair=repair))


async def _compared(planned: Plan, settings: Settings, reporter: Reporter) -> int:
    """Say what the account cannot pay of a plan, where there is a key and a price to ask with."""
    from batch_reimagine.keys import key_of  # noqa: PLC0415 - heavy

    if text := await short_of(planned, settings, lambda: key_of(settings, os.environ)):
        await reporter.emit(Note(text))
    reporter.close()
    return exits.DONE


async def _run(
    inputs: tuple[Place, ...],
    output: Place,
    settings: Settings,
    reporter: Reporter,
    opened: Callable[[], AbstractContextManager[Watched]],
    *,
    force: bool,
    repair: bool,
) -> int:
    from batch_reimagine import batch  # noqa: PLC0415 - heavy
    from batch_reimagine.engine import Stop  # noqa: PLC0415
    from batch_reimagine.keys import key_of, to_hide  # noqa: PLC0415
    from batch_reimagine.secret import Secret  # noqa: PLC0415

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
    looking_on = ExitStack()
    with looking_on, reporter:
        try:
            watched = await asyncio.to_thread(looking_on.enter_context, opened())
            watched.hide(*to_hide(settings, os.environ))
            key = await asyncio.to_thread(key_of, settings, os.environ)
            watched.hide(Secret(key))
            async with warned(reporter.emit, settings, key) as emit:
                await batch.run(
                    inputs,
                    output,
                    settings,
                    key=key,
                    emit=emit,
                    stop=stop,
                    progress=reporter.progress,
                    force=force,
                    repair=repair,
                    watches=watched.watches,
                )
        except ReimagineError as error:
            code = exits.code_of(error)
            reporter.failed(str(error), code)
            _LOG.error("%s", error, extra={"data": {"exit": code}})
        else:
            if reporter.progress.failed or reporter.progress.unreadable:
                code = exits.SOME_FAILED
        if heard and code in {exits.DONE, exits.SOME_FAILED}:
            code = 128 + heard[0]
        _LOG.info("exit %d", code, extra={"data": {"exit": code}})
        await asyncio.to_thread(looking_on.close)
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
