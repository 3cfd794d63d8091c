"""`batch-reimagine doctor`: is everything here that a run needs?"""

import asyncio
import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from batch_reimagine.cli import exits
from batch_reimagine.cli.flags import Flags, given
from batch_reimagine.cli.screen import shown, write
from batch_reimagine.errors import AccountRefused, LocalResource, ServiceGone, UsageError
from batch_reimagine.loading import load, origins
from batch_reimagine.places import place_of
from batch_reimagine.settings import Settings

_NO_FLAGS = Flags()
_TIMEOUT_S = 10.0
_CODES = {
    who: exits.code_of(error)
    for who, error in (
        ("account", AccountRefused()),
        ("service", ServiceGone()),
        ("local", LocalResource()),
    )
}


def doctor(
    *,
    output: Annotated[
        str | None,
        Parameter(name=["--output", "-o"], help="Where a run would write. Default: this folder."),
    ] = None,
    flags: Flags = _NO_FLAGS,  # type: ignore[valid-type]  # made from Settings
    config: Annotated[
        Path | None, Parameter(help="TOML file of settings; the environment and flags win over it.")
    ] = None,
    json: Annotated[
        bool, Parameter(negative="", show_default=False, help="One JSON object.")
    ] = False,
    verbose: Annotated[
        bool,
        Parameter(
            name=["--verbose", "-v"],
            negative="",
            show_default=False,
            help="Settings that are as by default too.",
        ),
    ] = False,
) -> int:
    """Look at key, service, balance, clock, disk, codecs, versions and the settings in force.

    Takes the flags of `run`. Buys nothing: the service is asked for the balance, and called once
    without a photo if that is known to be free. Exit: 0, or the first of 4 (key, account, money),
    5 (service), 9 (this machine) that failed.
    """
    from batch_reimagine.doctor import Check, examine  # noqa: PLC0415 - heavy
    from batch_reimagine.keys import find  # noqa: PLC0415
    from batch_reimagine.provider import provider_of  # noqa: PLC0415

    as_given = given(flags)
    settings = load(as_given, os.environ, config)
    sources = origins(as_given, os.environ, config)
    provider = provider_of(settings)
    key, checks = None, []
    if settings.provider != "simulator":
        try:
            key = find(provider, os.environ)
        except UsageError as error:  # a place that is there, and cannot be read
            checks = [Check(name="key", state="failed", text=str(error), who="account")]
    place = place_of(output) if output is not None else None
    found = asyncio.run(examine(settings, key, place, timeout_s=_TIMEOUT_S))
    if checks:
        found = [check for check in found if check.name != "key"]
    checks += found
    code = min((_CODES[check.who] for check in checks if check.who), default=exits.DONE)
    if json:
        told = {
            "exit": code,
            "checks": checks,
            "settings": {
                name: {"value": _plain(settings, name), "origin": origin}
                for name, origin in sources.items()
            },
        }
        write(sys.stdout, msgspec.json.encode(told).decode())
        return code
    for check in checks:
        write(sys.stdout, shown(f"{check.state:<8} {check.name}: {check.text}"))
        if check.way_out:
            write(sys.stdout, shown(f"         → {check.way_out}"))
    for line in _in_force(settings, sources, every=verbose):
        write(sys.stdout, shown(line))
    return code


def _in_force(settings: Settings, sources: dict[str, str], *, every: bool) -> list[str]:
    lines = [
        f"setting  {field.name} = {_plain(settings, field.name)} ({sources[field.name]})"
        for field in dataclasses.fields(settings)
        if every or sources[field.name] != "default"
    ]
    rest = len(sources) - len(lines)
    return [*lines, f"setting  {rest} others as by default (-v shows them)"] if rest else lines


def _plain(settings: Settings, name: str) -> Any:
    """A setting as it may be shown: what a store is told may be a secret, its names are none."""
    if name == "store_option":
        return [f"{option}=…" for option in settings.store_options]
    value = getattr(settings, name)
    return value if isinstance(value, int | float | bool | tuple | None) else str(value)
