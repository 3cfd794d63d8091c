"""Is everything here that a run needs? Each look is a value; nothing is bought, nothing is left.

The service is asked for the account's balance, and called once without a photo where that is
known to buy nothing. The disk is tried with a file that has no name.
"""

import errno
import os
import platform
import tempfile
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Literal

import msgspec
from anyio import to_thread

from batch_reimagine.account import Account, NotTold
from batch_reimagine.errors import AccountRefused, LocalResource, ReimagineError, ServiceGone
from batch_reimagine.keys import Key
from batch_reimagine.places import Place, books_folder, open_tree
from batch_reimagine.provider import provider_of
from batch_reimagine.provider.billing import Funds
from batch_reimagine.provider.contract import Action, Provider, Verdict
from batch_reimagine.secret import Secret
from batch_reimagine.settings import Settings
from batch_reimagine.version import VERSION

State = Literal["ok", "warning", "failed", "unknown"]
Who = Literal["account", "service", "local"]

_TRIED_BYTES = 1_000_000
_LEAST_FREE_BYTES = 50_000_000  # some thirty pictures: a run would end at once
_LITTLE_FREE_BYTES = 1_000_000_000
_PICTURE_BYTES = 1_500_000  # a PNG of 1024 x 1024, about
_MOST_SKEW_S = 120.0  # cloud stores refuse signed requests of another time; a Date is to the second
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LIBRARIES = ("aiohttp", "anyio", "msgspec", "pillow", "tenacity")
_EXTRAS = ("pillow-heif", "obstore", "ray", "keyring", "prometheus-client", "opentelemetry-sdk")


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One look."""

    name: str
    state: State
    text: str
    way_out: str | None = None
    who: Who | None = None  #: must act, if it failed


async def examine(
    settings: Settings, key: Key | None, output: Place | None, *, timeout_s: float
) -> list[Check]:
    """Look at everything; never raises for what it finds, only UsageError for the settings.

    output: where a run would write; None looks at the current folder.
    timeout_s: of each of the two requests.
    """
    provider = provider_of(settings)
    checks = await to_thread.run_sync(lambda: list(_versions()))
    if settings.provider == "simulator":
        text = "the simulator plays the service within the run; no key, no money"
        checks.append(Check(name="service", state="ok", text=text))
    else:
        checks.append(await to_thread.run_sync(_key, provider, key))
        try:
            secret = Secret(key.value if key else "")
        except ReimagineError as error:
            checks.append(_failed("key", "account", str(error), "copy it again, in one piece"))
        else:
            account = Account(settings, secret, timeout_s=timeout_s)
            checks += await _online(account, settings, keyless=not secret)
    checks += await to_thread.run_sync(_disk, output, settings)
    checks += await to_thread.run_sync(lambda: list(_codecs(settings)))
    return checks


def _failed(name: str, who: Who, text: str, way_out: str) -> Check:
    return Check(name=name, state="failed", text=text, way_out=way_out, who=who)


def _versions() -> Iterator[Check]:
    found = [f"{name} {metadata.version(name)}" for name in _LIBRARIES]
    extras = [f"{name} {version}" for name in _EXTRAS if (version := _version(name))]
    text = (
        f"batch-reimagine {VERSION}, Python {platform.python_version()}, {platform.system()}"
        f" {platform.machine()}; {', '.join(found)}; extras: {', '.join(extras) or 'none'}"
    )
    yield Check(name="versions", state="ok", text=text)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _key(provider: Provider, key: Key | None) -> Check:
    variable = provider.key_variable
    if key is not None:
        return Check(name="key", state="ok", text=f"from {key.origin}")
    if not provider.key_needed:
        return Check(name="key", state="ok", text=f"none, and none is needed ({variable})")
    here = " (there is a .env here; it is not read by itself)" if Path(".env").exists() else ""
    way_out = f"set {variable}, or keep it once: batch-reimagine auth set {provider.name}"
    return _failed("key", "account", f"there is none{here}", way_out)


async def _online(account: Account, settings: Settings, *, keyless: bool) -> list[Check]:
    """The service, our clock beside its clock, and the account."""
    try:
        reply, verdict = await account.knock()
    except ServiceGone as error:
        way_out = "look at the network, a proxy or firewall, and --base-url"
        return [
            _failed("service", "service", str(error), way_out),
            Check(name="balance", state="unknown", text="the service cannot be asked"),
        ]
    refused = verdict is not None and verdict.action is Action.STOP_ACCOUNT
    if verdict is None:
        where = f"{account.base_url} answers after {reply.seconds * 1000:.0f} ms"
        why = f"no call to {account.provider.name} is known to buy nothing"
        text = f"{where}; key and call are not tested: {why}"
        checks = [Check(name="service", state="unknown", text=text)]
    elif refused and keyless and account.provider.key_needed:  # told as the missing key already
        text = f"{account.url} answers; what it lets us do only a key tells"
        checks = [Check(name="service", state="unknown", text=text)]
    else:
        checks = [_service(account, verdict, reply.seconds)]
    if reply.ahead_s is None:
        checks.append(Check(name="clock", state="unknown", text="the service tells no time"))
    else:
        checks.append(_clock(reply.ahead_s))
    # A wrong key is said once: the balance would be refused in the same words.
    checks.append(await _balance(account, settings, refused=refused))
    return checks


def _service(account: Account, verdict: Verdict, seconds: float) -> Check:
    """What it answers to a call without a photo: a complaint about the photo is what we want."""
    where = f"{account.url} answers after {seconds * 1000:.0f} ms"
    words = account.words(verdict)
    match verdict.action:
        case Action.STOP_ACCOUNT:
            way_out = f"put it right: batch-reimagine auth set {account.provider.name}"
            return _failed("service", "account", f"{where}, and refuses: {words}", way_out)
        case Action.STOP_SERVICE:
            way_out = "look at --base-url; the vendor may have retired the call"
            return _failed("service", "service", f"{where}, but the call is not there: {words}",
                           way_out)  # fmt: skip
        case Action.RETRY | Action.RETRY_TWICE:
            way_out = "wait, and look at the vendor's status page; a run waits by itself"
            return _failed("service", "service", f"{where}, with a fault: {words}", way_out)
        case Action.SLOW_DOWN:
            return Check(name="service", state="warning", text=f"{where}, and is busy: {words}")
    return Check(name="service", state="ok", text=f"{where}, and does not refuse the key")


def _clock(ahead_s: float) -> Check:
    ahead = f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the service's"
    if abs(ahead_s) <= _MOST_SKEW_S:
        return Check(name="clock", state="ok", text=f"{ahead}")
    return Check(
        name="clock",
        state="warning",
        text=f"this machine's clock is {ahead}",
        way_out="set the clock (NTP): rows bear its times, and cloud stores refuse other times",
    )


async def _balance(account: Account, settings: Settings, *, refused: bool) -> Check:
    if account.provider.billing is None:
        text = f"{account.provider.name} tells none before a call"
        return Check(name="balance", state="unknown", text=text)
    try:
        funds = await account.funds()
    except AccountRefused as error:
        if refused:
            text = "not told without a key that is taken"
            return Check(name="balance", state="unknown", text=text)
        way_out = "use a key of the account that pays, or look at its rights"
        return _failed("balance", "account", str(error), way_out)
    except NotTold as error:
        return Check(name="balance", state="unknown", text=str(error))
    except ServiceGone as error:
        return Check(name="balance", state="warning", text=str(error))
    return _money(funds, settings)


def _money(funds: Funds, settings: Settings) -> Check:
    has = f"{funds.available:f} {funds.currency}"
    price = settings.price
    if funds.available <= 0:
        return _failed("balance", "account", f"{has}: nothing can be paid", "top the account up")
    if not price:
        return Check(name="balance", state="ok", text=f"{has} (--price tells how many pictures)")
    enough = int(funds.available / price)
    if enough < 1:
        text = f"{has}: less than one picture at {price}"
        return _failed("balance", "account", text, "top the account up")
    text = f"{has}, about {enough:,} pictures at {price}"
    return Check(name="balance", state="ok", text=text)


def _disk(output: Place | None, settings: Settings) -> list[Check]:
    if output is None or isinstance(output, Path):
        return _folder(output or Path(), "output")
    try:
        open_tree(output, settings).look()
    except AccountRefused as error:
        store = _failed("output", "account", str(error), "look at the store's credentials")
    except ServiceGone as error:
        store = _failed("output", "service", str(error), "look at the address and the network")
    except LocalResource as error:
        store = _failed("output", "local", str(error), "make room or give permission")
    except ReimagineError as error:  # such as an address where nothing was written yet
        store = Check(name="output", state="unknown", text=str(error))
    else:
        store = Check(name="output", state="ok", text=f"{output} answers")
    return [store, *_folder(books_folder(settings), "books")]


def _folder(folder: Path, name: str) -> list[Check]:
    """Whether pictures can be written there: tried with a file without a name, and its fsync."""
    folder = folder.absolute()
    here = next(at for at in (folder, *folder.parents) if at.exists())
    where = f"{here}" if here == folder else f"{here} (where {folder.name} will be made)"
    if not here.is_dir():
        return [_failed(name, "local", f"{here} is a file", "choose another folder")]
    try:
        with tempfile.TemporaryFile(dir=here, buffering=0) as tried:
            tried.write(bytes(_TRIED_BYTES))
            if tried.tell() < _TRIED_BYTES:  # the disk took a part: the next write tells why
                tried.write(bytes(_TRIED_BYTES))
            os.fsync(tried.fileno())
        stats = os.statvfs(here)
    except OSError as error:
        full = error.errno in _NO_SPACE
        text = f"{where} cannot be written: {error.strerror}"
        way_out = "make room, or raise the quota" if full else "give permission to write"
        return [_failed(name, "local", text, way_out)]
    free = stats.f_bavail * stats.f_frsize
    room = f"{where}: {free / 1e9:,.1f} GB free, about {free // _PICTURE_BYTES:,} pictures"
    if stats.f_files and not stats.f_favail:
        return [_failed(name, "local", f"{where} takes no more files (inodes)", "remove some")]
    if free < _LEAST_FREE_BYTES:
        return [_failed(name, "local", room, "make room, or choose another disk")]
    state: State = "ok" if free >= _LITTLE_FREE_BYTES else "warning"
    return [Check(name=name, state=state, text=room)]


def _codecs(settings: Settings) -> Iterator[Check]:
    """What Pillow can read and write here."""
    from PIL import features  # noqa: PLC0415 - slow to import

    names = {"jpg": "JPEG", "zlib": "PNG", "webp": "WebP", "libtiff": "TIFF", "avif": "AVIF",
             "jpg_2000": "JPEG 2000", "littlecms2": "colour profiles"}  # fmt: skip
    needed = {"jpg", "zlib", "littlecms2"} | ({"webp"} if settings.type == "webp" else set())
    has = [what for codec, what in names.items() if features.check(codec)]
    lacks = {codec: what for codec, what in names.items() if what not in has}
    if util.find_spec("pillow_heif"):
        has.append("HEIC")
    text = ", ".join(has) + (f"; not {', '.join(lacks.values())}" if lacks else "")
    if "HEIC" not in has:
        text += "; HEIC with the extra heif"
    if needed & lacks.keys():
        way_out = "install Pillow from its wheels: pip install --force-reinstall pillow"
        yield _failed("codecs", "local", text, way_out)
    else:
        yield Check(name="codecs", state="warning" if lacks else "ok", text=text)
