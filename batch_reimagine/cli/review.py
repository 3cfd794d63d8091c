"""`batch-reimagine review`: the page for looking and choosing."""

import asyncio
import dataclasses
import ipaddress
import os
import signal
import sys
import threading
import webbrowser
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from cyclopts import Parameter

from batch_reimagine.cli import exits
from batch_reimagine.cli.run import read_key
from batch_reimagine.cli.screen import shown, write
from batch_reimagine.errors import UsageError
from batch_reimagine.last_run import LastRun, Originals, recall
from batch_reimagine.output import Tree
from batch_reimagine.settings import Settings
from batch_reimagine.tally import require_output

if TYPE_CHECKING:
    from batch_reimagine.review import How


def review(
    output: Annotated[Path, Parameter(help="The output folder of a run.")],
    *,
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes a free one.")] = 0,
    host: Annotated[
        str, Parameter(help="Address to listen on. Beyond this machine nothing is encrypted.")
    ] = "127.0.0.1",
    open_: Annotated[
        bool, Parameter(name="--open", negative="--no-open", help="Open the page in the browser.")
    ] = True,
    photos: Annotated[
        tuple[Path, ...],
        Parameter(negative="", help="Where the originals lie now. Default: as in the last run."),
    ] = (),
    static: Annotated[
        Path | None,
        Parameter(help="Write a gallery that needs no server into this folder instead."),
    ] = None,
    provider: Annotated[
        str | None, Parameter(help="Who makes more variations. Default: as in the last run.")
    ] = None,
    base_url: Annotated[str | None, Parameter(help="Likewise: at which address.")] = None,
    price: Annotated[str | None, Parameter(help="Likewise: the price of one.")] = None,
) -> int:
    """Look at the variations of every product and choose; works while a run goes on.

    The address that is printed holds a token, which opens one window; then a new one is
    printed. Ends with Ctrl-C. Every choice is on disk when the page shows it.
    """
    if not 0 <= port <= 65535:  # noqa: PLR2004
        raise UsageError(f"port: {port} is none; 0 to 65535, 0 takes a free one")
    if _is_any(host):
        raise UsageError(f"host: {host} is every address at once: name the one that others use")
    tree = require_output(output)
    last = recall(tree)
    inputs = photos or tuple(Path(path) for path in (last.inputs if last else ()))
    if static is not None:
        return _static(tree, inputs, static)
    given = {"provider": provider, "base_url": base_url, "price": price}
    _how(tree, photos, given)  # wrong flags are told now
    if not _is_loopback(host):
        exits.say(
            f"warning: traffic to {host} is not encrypted: whoever listens on the way sees it"
        )
    from batch_reimagine.review import Options  # noqa: PLC0415 - heavy

    how = partial(_how, tree, photos, given)
    options = Options(tree, inputs, how, exits.unexpected, host, port)
    return asyncio.run(_serve(options, open_browser=open_))


def _how(tree: Tree, photos: tuple[Path, ...], given: dict[str, Any]) -> "How":
    """How more would be made now: as the last run did, but for what was given. Blocks."""
    from batch_reimagine.review import How  # noqa: PLC0415 - heavy

    last = recall(tree)
    inputs = photos or tuple(Path(path) for path in (last.inputs if last else ()))
    last = _more_by(last, inputs, given)
    key = read_key(last.settings, os.environ) if last else ""
    return How(last, key, _why_no_more(last, key))


def _more_by(
    last: LastRun | None, inputs: tuple[Path, ...], given: dict[str, Any]
) -> LastRun | None:
    """How to make more: as the last run did, but for what was given."""
    wanted = {name: value for name, value in given.items() if value is not None}
    if "price" in wanted:
        try:
            wanted["price"] = Decimal(wanted["price"])
        except InvalidOperation:
            raise UsageError(f"price: {wanted['price']!r} is no number") from None
    if last is None and not (inputs and "provider" in wanted):
        return None
    if wanted.get("provider") == "simulator":
        wanted.setdefault("base_url", None)
    settings = dataclasses.replace(last.settings if last else Settings(), **wanted)
    return LastRun(inputs=tuple(str(path.absolute()) for path in inputs), settings=settings)


def _why_no_more(last: LastRun | None, key: str) -> str | None:
    if last is None:
        return (
            "nothing is known of the run that made this output: name its photos and its provider"
            " (review OUT --photos DIR --provider NAME)"
        )
    if not last.inputs:
        return "it is not known where the originals lie: name their folder with --photos"
    if not key and last.settings.provider != "simulator":
        from batch_reimagine.provider import PROVIDERS  # noqa: PLC0415 - heavy

        variable = PROVIDERS[last.settings.provider].key_variable
        return f"there is no key: put it into the environment variable {variable}, and start again"
    return None


def _static(tree: Tree, inputs: tuple[Path, ...], target: Path) -> int:
    from batch_reimagine.catalogue import Catalogue  # noqa: PLC0415 - heavy
    from batch_reimagine.gallery import write_gallery  # noqa: PLC0415
    from batch_reimagine.picks import Picks  # noqa: PLC0415

    catalogue, picks = Catalogue(tree), Picks(tree)
    catalogue.follow()
    picks.follow()
    count = write_gallery(tree, catalogue, picks, Originals(inputs), target)
    write(sys.stdout, f"{count:,} products in {shown(str(target / 'index.html'))}")
    return exits.DONE


async def _serve(options: Any, *, open_browser: bool) -> int:
    from batch_reimagine.review import serve  # noqa: PLC0415 - heavy

    ended, dropped = anyio.Event(), anyio.Event()
    heard: list[int] = []
    announced: list[str] = []

    def interrupted(number: int) -> None:
        (dropped if heard else ended).set()
        heard.append(number)

    def announce(address: str) -> None:
        words = "another window" if announced else "review page (Ctrl-C ends)"
        write(sys.stdout, f"{words}: {address}")
        if not announced and open_browser and _has_display():
            # Some browsers return only when they are closed.
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
        announced.append(address)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, interrupted, number)
    await serve(options, announce, exits.say, ended, dropped)
    return 128 + heard[0] if heard else exits.DONE


def _has_display() -> bool:
    return sys.platform == "darwin" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
