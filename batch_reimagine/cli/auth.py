"""`batch-reimagine auth`: keep a provider's key, say where it is, forget it."""

import asyncio
import difflib
import getpass
import os
import sys
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from cyclopts import Parameter

from batch_reimagine.cli import exits
from batch_reimagine.cli.screen import shown, write
from batch_reimagine.errors import AccountRefused, ServiceGone, UsageError
from batch_reimagine.settings import Settings, describe

if TYPE_CHECKING:
    from batch_reimagine.account import Account
    from batch_reimagine.provider.contract import Provider
    from batch_reimagine.secret import Secret

_UNTESTED = ". The key is not kept; --no-test keeps it untested"
_MOST_READ = 10_000  # characters; no key is longer


def auth(
    action: Annotated[Literal["set", "status", "remove"], Parameter(help="What to do.")],
    provider: Annotated[
        str | None, Parameter(help="Whose key: novita, clipdrop, … `status` alone shows all.")
    ] = None,
    *,
    where: Annotated[
        Literal["keyring", "file"] | None,
        Parameter(help="Keep it there. Default: the system's keyring, else a file."),
    ] = None,
    test: Annotated[
        bool,
        Parameter(negative="--no-test", help="Ask the service whether it takes the key, first."),
    ] = True,
    base_url: Annotated[str | None, Parameter(help=describe("base_url"))] = None,
    json: Annotated[bool, Parameter(negative="", help="`status` as one JSON object.")] = False,
) -> int:
    """Keep the key of PROVIDER on this machine, show where it comes from, or remove it.

    `set` asks for the key without showing it, or reads it from a pipe: it is never an argument.
    It goes into the system's keyring (with the extra `keyring`), else into a file that only you
    may read. The provider's variable, such as NOVITA_API_KEY, comes before both.
    """
    if provider is not None:
        _refuse_unknown(provider)
    if action == "status":
        return _status(provider, json=json)
    if provider is None:
        raise UsageError(f"auth {action}: say whose key: batch-reimagine auth {action} novita")
    if provider == "simulator":
        raise UsageError("auth: the simulator takes no key")
    from batch_reimagine.keys import forget  # noqa: PLC0415 - heavy
    from batch_reimagine.provider import find_provider  # noqa: PLC0415

    whose = find_provider(provider)
    if action == "set":
        return _set(whose, where, base_url, test=test)
    gone = forget(provider, os.environ)
    write(sys.stdout, f"removed from {' and '.join(gone)}" if gone else "there was none to remove")
    _tell_of_others(whose, "is still set; that is not ours to remove")
    return exits.DONE


def _refuse_unknown(name: str) -> None:
    """Raises UsageError for no provider, without repeating it: it may be the key."""
    from batch_reimagine.provider import names  # noqa: PLC0415 - heavy

    known = names()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
        raise UsageError(
            "auth: there is no such provider (not shown: it may be a key, which is typed or piped"
            f" in); {hint}"
        )


def _set(
    provider: "Provider",
    where: Literal["keyring", "file"] | None,
    base_url: str | None,
    *,
    test: bool,
) -> int:
    from batch_reimagine.keys import keep  # noqa: PLC0415 - heavy
    from batch_reimagine.secret import Secret  # noqa: PLC0415

    key = Secret(_read(provider.name))
    if not key:
        raise UsageError("no key came: nothing is kept")
    if test:
        write(sys.stdout, asyncio.run(_tested(provider, key, base_url)))
    kept = keep(provider.name, key.reveal(), os.environ, where)
    write(sys.stdout, shown(f"kept in {kept}"))
    _tell_of_others(provider, "is set, and comes before it")
    return exits.DONE


def _read(name: str) -> str:
    """The key, typed without an echo, or the first line of a pipe."""
    if sys.stdin is None:
        return ""
    if not sys.stdin.isatty():
        return sys.stdin.readline(_MOST_READ).strip()
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(f"key of {name} (it is not shown): ").strip()
        except getpass.GetPassWarning:
            raise UsageError("this terminal would show the key: pipe it in instead") from None
        except EOFError:
            return ""


async def _tested(provider: "Provider", key: "Secret", base_url: str | None) -> str:
    """Ask the service; what it said. Raises AccountRefused or ServiceGone."""
    from batch_reimagine.account import Account  # noqa: PLC0415 - heavy

    if provider.base_url is None and base_url is None:
        return f"not tested: {provider.name} is a server of your own; --base-url says which"
    account = Account(Settings(provider=provider.name, base_url=base_url), key)
    try:
        return await _said_of(account)
    except AccountRefused as error:
        raise AccountRefused(f"{error}. The key is not kept") from None
    except ServiceGone as error:
        raise ServiceGone(f"{error}{_UNTESTED}") from None


async def _said_of(account: "Account") -> str:
    from batch_reimagine.account import NotTold  # noqa: PLC0415 - heavy
    from batch_reimagine.provider.contract import Action  # noqa: PLC0415

    name = account.provider.name
    with suppress(NotTold):
        funds = await account.funds()
        return f"tested: {name} takes it; the account has {funds.available:f} {funds.currency}"
    _, verdict = await account.knock()
    if verdict is None:
        return f"not tested: {account.base_url} answers, and no call to {name} is known to be free"
    if verdict.action is Action.STOP_ACCOUNT:
        raise AccountRefused(account.words(verdict))
    if verdict.action in {Action.STOP_SERVICE, Action.RETRY, Action.RETRY_TWICE}:
        raise ServiceGone(f"{account.url}: {account.words(verdict)}")
    return f"tested: {account.url} does not refuse it (called without a photo)"


class _Found(msgspec.Struct):
    """Where one provider's key comes from."""

    provider: str
    variable: str | None = None  #: None: the provider cannot be loaded
    needed: bool | None = None
    origin: str | None = None  #: None: there is none
    hidden: list[str] = []  #: other places that have one, and are not used
    error: str | None = None  #: why it cannot be told


def _status(name: str | None, *, json: bool) -> int:
    from batch_reimagine.provider import names  # noqa: PLC0415 - heavy

    found = []
    for whose in [name] if name else names():
        if whose == "simulator":
            continue
        try:
            found.append(_found(whose))
        except UsageError as error:  # another package's, or a place that others may read
            if name:
                raise
            found.append(_Found(provider=whose, error=str(error)))
    if json:
        write(sys.stdout, msgspec.json.encode({"keys": found}).decode())
    else:
        for one in found:
            none = "none" if one.needed else "none, and none is needed"
            also = "".join(f"; {origin} has one too, not used" for origin in one.hidden)
            write(sys.stdout, shown(f"{one.provider}: {one.error or one.origin or none}{also}"))
    missing = name is not None and any(one.needed and one.origin is None for one in found)
    return exits.code_of(AccountRefused()) if missing else exits.DONE


def _found(name: str) -> _Found:
    """Raises UsageError."""
    from batch_reimagine.keys import every  # noqa: PLC0415 - heavy
    from batch_reimagine.provider import find_provider  # noqa: PLC0415

    provider = find_provider(name)
    origins = [key.origin for key in every(provider, os.environ)]
    return _Found(
        provider=provider.name,
        variable=provider.key_variable,
        needed=provider.key_needed,
        origin=origins[0] if origins else None,
        hidden=origins[1:],
    )


def _tell_of_others(provider: "Provider", what: str) -> None:
    for variable in (provider.key_variable, f"{provider.key_variable}_FILE"):
        if os.environ.get(variable, "").strip():
            write(sys.stdout, f"note: {variable} {what}")
