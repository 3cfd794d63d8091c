"""Where settings come from: flags, the environment and a TOML file, in that order of strength.

Nothing here reads the environment by itself: it is handed what the caller read.
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from batch_reimagine.errors import UsageError
from batch_reimagine.settings import FIELDS, Settings, checked

ENV_PREFIX = "BATCH_REIMAGINE_"


def load(
    flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None = None
) -> Settings:
    """Make the Settings from a TOML file, the environment and flags; the later wins.

    flags: by field name, only those that were given.
    environ: the whole environment; names that begin with BATCH_REIMAGINE_ count.
    Raises UsageError that names the key, the value and what is allowed, for
    unknown names too: a mistyped budget must not be ignored.
    """
    layers: dict[str, Any] = {}
    if file is not None:
        for name, value in _read_toml(file).items():
            _known(name, str(file))
            layers[name] = checked(name, value, str(file))
    for variable, text in environ.items():
        if variable.startswith(ENV_PREFIX):
            name = variable.removeprefix(ENV_PREFIX).lower()
            _known(name, "the environment")
            value = [part.strip() for part in text.split(",")] if name in _LISTS else text
            layers[name] = checked(name, value, variable)
    for name, value in flags.items():
        flag = f"--{name.replace('_', '-')}"
        _known(name, flag)
        layers[name] = checked(name, value, flag)
    return Settings(**layers)


#: In the environment their values are parted by commas.
_LISTS = frozenset(name for name, hint in FIELDS.items() if get_origin(get_args(hint)[0]) is tuple)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            return tomllib.load(opened)
    except FileNotFoundError:
        raise UsageError(f"{file}: no such settings file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: not valid TOML: {error}") from None
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from None


def _known(name: str, where: str) -> None:
    """Raise UsageError, with a suggestion, for a name that is no setting."""
    if name in FIELDS:
        return
    close = difflib.get_close_matches(name, FIELDS, n=1)
    hint = f"; did you mean {close[0]}?" if close else f"; known: {', '.join(FIELDS)}"
    if "key" in name:
        hint = "; the key comes from its own variable (NOVITA_API_KEY), never from settings"
    raise UsageError(f"{where}: there is no setting {name!r}{hint}")


def origins(
    flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None = None
) -> dict[str, str]:
    """Where each setting comes from that `load` gives for the same: as it is found there.

    "--price", "BATCH_REIMAGINE_PRICE", the file's name, or "default". Raises UsageError as `load`.
    """
    named = dict.fromkeys(FIELDS, "default")
    if file is not None:
        named.update(dict.fromkeys(_read_toml(file), str(file)))
    for variable in environ:
        if variable.startswith(ENV_PREFIX):
            named[variable.removeprefix(ENV_PREFIX).lower()] = variable
    named.update({name: f"--{name.replace('_', '-')}" for name in flags})
    return {name: named[name] for name in FIELDS}
