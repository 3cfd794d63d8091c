"""Where a provider's key comes from: its variable, a file, the system's keyring, our own file.

The first that has one wins, in that order. Nothing else is looked at: no `.env` is read in
silence. The environment is handed in, as everywhere. All of it blocks.
"""

import os
import re
import secrets
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from batch_reimagine.durable import no_write, sync_folder, write_new
from batch_reimagine.errors import UsageError
from batch_reimagine.provider import find_provider
from batch_reimagine.provider.contract import Provider
from batch_reimagine.secret import Secret
from batch_reimagine.settings import Settings

SERVICE = "batch-reimagine"  #: under this name the keyring holds our keys, a provider's name each
PATIENCE_S = 20.0  # for a keyring, which may ask its owner to unlock it
_MOST_BYTES = 10_000  # no key is longer
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

Where = Literal["keyring", "file"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Key:
    """A key, and where it was found."""

    value: str = field(repr=False)
    origin: str  #: in words; safe to show


def key_of(settings: Settings, environ: Mapping[str, str]) -> str:
    """The key for a run; empty if there is none, and for the simulator.

    Raises UsageError for a place that is there but cannot be read, or may be read by others.
    """
    if settings.provider == "simulator":
        return ""  # a real key never goes to the simulator
    key = find(find_provider(settings.provider), environ)
    return key.value if key else ""


def to_hide(settings: Settings, environ: Mapping[str, str]) -> list[Secret]:
    """What of the environment no log may hold, before the key is looked for. Raises UsageError.

    The variable's value; and that of its _FILE if it names no file, for it may be the key.
    """
    variable = find_provider(settings.provider).key_variable
    named = environ.get(f"{variable}_FILE", "")
    found = []
    for text in (environ.get(variable, ""), named if _may_be_key(named) else ""):
        with suppress(UsageError):  # no key has such letters, and whoever needs it says so
            found.append(Secret(text))
    return [secret for secret in found if secret]


def find(provider: Provider, environ: Mapping[str, str]) -> Key | None:
    """The provider's key from the first place that has one. Raises UsageError as `key_of`."""
    return next(every(provider, environ), None)


def every(provider: Provider, environ: Mapping[str, str]) -> Iterator[Key]:
    """Yield the provider's key from each place that has one; the first is the one in use."""
    variable = provider.key_variable
    if value := environ.get(variable, "").strip():
        yield Key(value, f"the environment variable {variable}")
    if named := environ.get(f"{variable}_FILE"):
        value = _read_named(variable, named)
        if value:
            yield Key(value, f"the file that {variable}_FILE names ({named})")
    if value := _from_keyring(provider.name):
        yield Key(value, "the system's keyring")
    path = file_of(provider.name, environ)
    if path is not None and (value := _read_own(path)):
        yield Key(value, f"the file {path}")


def file_of(name: str, environ: Mapping[str, str]) -> Path | None:
    """Our own file for a provider's key; None if there is no home to keep it in.

    Source: XDG Base Directory Specification; an XDG_CONFIG_HOME that is not absolute is ignored.
    """
    if not _SAFE.fullmatch(name):
        raise UsageError(f"provider: {name!r} cannot be the name of a file for its key")
    config, home = environ.get("XDG_CONFIG_HOME", ""), environ.get("HOME", "")
    if not config.startswith("/"):
        if not home.startswith("/"):
            return None
        config = f"{home}/.config"
    return Path(config) / "batch-reimagine" / "keys" / name


def keep(name: str, value: str, environ: Mapping[str, str], where: Where | None = None) -> str:
    """Keep a key, and say where in words; any other of ours for this provider is forgotten.

    where: None takes the keyring if this system has one, else the file.
    Raises UsageError if the place that is asked for is not there, LocalResource for a disk that
    refuses.
    """
    ring = None if where == "file" else _keyring()
    if where == "keyring" and ring is None:
        raise UsageError(
            "keyring: this system has none that is in use, or the extra is missing"
            " (pip install 'batch-reimagine[keyring]'); --where file keeps the key in a file"
        )
    if ring is not None:
        try:
            _within(lambda: ring.set_password(SERVICE, name, value))
        except _NoAnswer as error:
            if where == "keyring":
                raise UsageError(f"keyring: it did not take the key: {error}") from None
        else:
            _remove_own(name, environ)
            return f"the system's keyring ({_named(ring)})"
    path = file_of(name, environ)
    if path is None:
        raise UsageError("there is no home folder to keep the key in: set HOME or XDG_CONFIG_HOME")
    _write_own(path, value)
    _forget_in_keyring(name)
    return f"the file {path}, which only you may read; it is not encrypted"


def forget(name: str, environ: Mapping[str, str]) -> list[str]:
    """Remove what we keep of a provider's key; say from where. Raises LocalResource."""
    gone = ["the system's keyring"] if _forget_in_keyring(name) else []
    if (path := _remove_own(name, environ)) is not None:
        gone.append(f"the file {path}")
    return gone


def _read_named(variable: str, named: str) -> str:
    try:
        with Path(named).open("rb") as opened:
            return opened.read(_MOST_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        what = "its value (not shown: it may be a key)" if _may_be_key(named) else named
        raise UsageError(f"{variable}_FILE: {what} cannot be read: {why}") from None


def _may_be_key(named: str) -> bool:
    """Whether what should name a file may be a key, put there by mistake."""
    return not named.startswith(("/", "./", "../")) and not os.path.lexists(named)


def _read_own(path: Path) -> str:
    """What our file holds; empty if it is not there. No link is followed."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise UsageError(f"the key file {path} cannot be read: {error.strerror}") from None
    try:
        looks = os.fstat(handle)
        if not stat.S_ISREG(looks.st_mode):
            raise UsageError(f"the key file {path} is no file: remove it")
        if looks.st_mode & 0o077:
            raise UsageError(f"the key file {path} may be read by others: chmod 600 '{path}'")
        return os.read(handle, _MOST_BYTES).decode("utf-8", "replace").strip()
    finally:
        os.close(handle)


def _write_own(path: Path, value: str) -> None:
    """Put the file there whole, 0600 from its first byte, its folder 0700."""
    temp = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        try:
            write_new(temp, f"{value}\n".encode(), 0o600)
            temp.replace(path)
        except OSError:
            temp.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise no_write(path, error) from None


def _remove_own(name: str, environ: Mapping[str, str]) -> Path | None:
    path = file_of(name, environ)
    if path is None:
        return None
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise no_write(path, error) from None
    return path


class _NoAnswer(Exception):
    """The keyring failed, or did not answer in time."""


def _keyring() -> Any | None:
    """The system's keyring; None if the extra is missing or there is none worth the name."""
    try:
        import keyring  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        return None
    with suppress(_NoAnswer):
        ring = _within(keyring.get_keyring)
        # keyring's own measure: from 1 on it is recommended; below are plain text, null and none.
        return ring if ring.priority >= 1 else None
    return None


def _named(ring: Any) -> str:
    return f"{type(ring).__module__}.{type(ring).__qualname__}"


def _from_keyring(name: str) -> str:
    ring = _keyring()
    if ring is None:
        return ""
    try:
        return (_within(lambda: ring.get_password(SERVICE, name)) or "").strip()
    except _NoAnswer:
        return ""  # a locked keyring has no key; what is missing is told by whoever needs it


def _forget_in_keyring(name: str) -> bool:
    if not _from_keyring(name):
        return False
    ring = _keyring()
    try:
        _within(lambda: ring.delete_password(SERVICE, name) if ring else None)
    except _NoAnswer as error:
        raise UsageError(f"keyring: it did not let go of the key: {error}") from None
    return True


def _within(work: Callable[[], T]) -> T:
    """Do what may never end, in a thread that nobody waits for longer than PATIENCE_S.

    Raises _NoAnswer, which never holds the key.
    """
    result: list[T] = []
    failed: list[str] = []

    def worker() -> None:
        try:
            result.append(work())
        except Exception as error:  # noqa: BLE001 - any backend, with errors of its own
            failed.append(type(error).__name__)

    thread = threading.Thread(target=worker, name="keyring", daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    if not result:
        raise _NoAnswer(failed[0] if failed else f"no answer within {PATIENCE_S:g} s")
    return result[0]
