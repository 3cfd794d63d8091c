"""`batch-reimagine simulate`: the APIs on localhost, with faults on demand."""

import asyncio
import dataclasses
import signal
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from batch_reimagine.cli import exits
from batch_reimagine.cli.screen import write
from batch_reimagine.errors import UsageError
from batch_reimagine.simulator import Behaviour, serve

_WELL = Behaviour()


def simulate(
    *,
    port: Annotated[int, Parameter(help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    log: Annotated[Path | None, Parameter(help="Append one JSON line a call to this file.")] = None,
    behaviour: Annotated[Behaviour, Parameter(name="*", negative="", group="Behaviour")] = _WELL,
) -> int:
    """Play the services' APIs on this machine until Ctrl-C. No AI: Pillow varies the photo sent.

    Point a run of any provider at it with --base-url and any key: NOVITA_API_KEY=test.
    GET /_stats tells what it saw; POST /_control changes its behaviour.
    """
    if not 0 <= port <= 65535:  # noqa: PLR2004
        raise UsageError(f"port: {port} is none; 0 to 65535, 0 takes a free one")
    return asyncio.run(_simulate(behaviour, port, log))


async def _simulate(behaviour: Behaviour, port: int, log: Path | None) -> int:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        async with serve(behaviour, port=port, log=log) as server:
            changed = {
                field.name: value
                for field in dataclasses.fields(behaviour)
                if (value := getattr(behaviour, field.name)) != field.default
                and field.name != "api_key"
            }
            write(sys.stdout, f"simulator on {server.url} (no AI, nothing is paid)")
            if changed:
                write(sys.stdout, f"behaviour: {changed}")
            await ended.wait()
    except OSError as error:
        raise UsageError(f"cannot listen on port {port}: {error.strerror}") from None
    return exits.DONE
