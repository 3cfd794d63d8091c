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
from batch_reimagine.cli.places import (
    Books,
    Output,
    StoreOption,
    open_output,
    store_settings,
)
from batch_reimagine.cli.screen import shown, write
from batch_reimagine.errors import UsageError
from batch_reimagine.last_run import LastRun, Originals, recall
from batch_reimagine.output import Tree
from batch_reimagine.places import Place, local_path, place_of
from batch_reimagine.settings import Settings

if TYPE_CHECKING:
    from batch_reimagine.review import How


def review(
    output: Output,
    *,
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes a free one.")] = 0,
    host: Annotated[
        str, Parameter(help="Address to listen on. Beyond this machine nothing is encrypted.")
    ] = "127.0.0.1",
    open_: Annotated[
        bool, Parameter(name="--open", negative="--no-open", help="Open the page in the browser.")
    ] = True,
    photos: Annotated[
        tuple[str, ...],
        Parameter(negative="", help="Where the originals lie now. Default: as in the last run."),
    ] = (),
    static: Annotated[
        str | None,
        Parameter(help="Write a gallery that needs no server into this folder instead."),
    ] = None,
    provider: Annotated[
        str | None, Parameter(help="Who makes more variations. Default: as in the last run.")
    ] = None,
    base_url: Annotated[str | None, Parameter(help="Likewise: at which address.")] = None,
    price: Annotated[str | None, Parameter(help="Likewise: the price of one.")] = None,
    store_option: StoreOption = (),
    books: Books = None,
) -> int:
    """Look at the variations of every product and choose; works while a run goes on.

    The address that is printed holds a token, which opens one window; then a new one is
    printed. Ends with Ctrl-C. Every choice is on disk when the page shows it.
    """
    if not 0 <= port <= 65535:  # noqa: PLR2004
        raise UsageError(f"port: {port} is none; 0 to 65535, 0 takes a free one")
    if _is_any(host):
        raise UsageError(f"host: {host} is every address at once: name the one that others use")
    named = tuple(place_of(text) for text in photos)
    way = store_settings(store_option, books)
    tree = open_output(output, store_option, books)
    last = recall(tree)
    inputs = named or tuple(place_of(text) for text in (last.inputs if last else ()))
    options_ = {**(last.settings.store_options if last else {}), **way.store_options}
    if static is not None:
        return _static(tree, Originals(inputs, options_), local_path(static, "static"))
    given: dict[str, Any] = {"provider": provider, "base_url": base_url, "price": price}
    if tree.remote:
        given |= {"store_option": way.store_option, "books": str(tree.root)}
    _how(tree, named, given)  # wrong flags are told now
    if not _is_loopback(host):
        exits.say(
            f"warning: traffic to {host} is not encrypted: whoever listens on the way sees it"
        )
    from batch_reimagine.review import Options  # noqa: PLC0415 - heavy

    how = partial(_how, tree, named, given)
    options = Options(tree, inputs, options_, how, exits.unexpected, host, port)
    return asyncio.run(_serve(options, open_browser=open_))


def _how(tree: Tree, photos: tuple[Place, ...], given: dict[str, Any]) -> "How":
    """How more would be made now: as the last run did, but for what was given. Blocks."""
    from batch_reimagine.review import How  # noqa: PLC0415 - heavy

    last = recall(tree)
    inputs = photos or tuple(place_of(text) for text in (last.inputs if last else ()))
    last = _more_by(last, inputs, given)
    from batch_reimagine.keys import key_of  # noqa: PLC0415 - heavy

    key = key_of(last.settings, os.environ) if last else ""
    return How(last, key, _why_no_more(last, key))


def _more_by(
    last: LastRun | None, inputs: tuple[Place, ...], given: dict[str, Any]
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
    named = (place.absolute() if isinstance(place, Path) else place for place in inputs)
    return LastRun(inputs=tuple(map(str, named)), settings=settings)


def _why_no_more(last: LastRun | None, key: str) -> str | None:
    if last is None:
        return (
            "nothing is known of the run that made this output: name its photos and its provider"
            " (review OUT --photos DIR --provider NAME)"
        )
    if not last.inputs:
        return "it is not known where the originals lie: name their folder with --photos"
    from batch_reimagine.provider import provider_of  # noqa: PLC0415 - heavy

    provider = provider_of(last.settings)
    if not key and provider.key_needed:
        return (
            "there is no key: put it into the environment variable"
            f" {provider.key_variable}, or keep it with batch-reimagine auth set"
            f" {provider.name}, and start again"
        )
    return None


def _static(tree: Tree, originals: Originals, target: Path) -> int:
    from batch_reimagine.catalogue import Catalogue  # noqa: PLC0415 - heavy
    from batch_reimagine.gallery import write_gallery  # noqa: PLC0415
    from batch_reimagine.picks import Picks  # noqa: PLC0415
    from batch_reimagine.sharing import Sharing  # noqa: PLC0415

    catalogue, picks = Catalogue(tree), Picks(tree)
    catalogue.follow()
    for note in Sharing(tree, picks).sync():
        exits.say(note)
    picks.follow()
    count = write_gallery(tree, catalogue, picks, originals, target)
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
