"""What the last run was asked for: where its photos lie, and how it called. Blocks.

Kept in the output's state folder, for whoever looks at originals or wants more of one. It is
of this machine alone, and its user's: the manifest holds no such path.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from batch_reimagine.address import Address
from batch_reimagine.durable import no_write, sync_folder, write_new
from batch_reimagine.errors import PhotoError, UsageError
from batch_reimagine.inputs import Roots, roots
from batch_reimagine.naming import STATE_DIR, source_name
from batch_reimagine.output import TEMP_DIR, Tree
from batch_reimagine.provider import provider_of
from batch_reimagine.reading import Reader, read_photo
from batch_reimagine.settings import FIELDS, Settings
from batch_reimagine.work import StoreKey

FILE = "last-run.json"
_NONE: Mapping[str, str] = MappingProxyType({})
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # no listing told
_ESCAPE = re.compile(r"\\(\\|x[0-9a-f]{2})")
_ADDRESS = re.compile(r"[a-z0-9]+://")  # paths are absolute, and begin otherwise
# What these say decides what is bought, where and for how much: none is to be guessed.
_NEEDED = {
    *("provider", "provider_option", "base_url", "type", "enterprise"),
    *("price", "budget", "max_calls", "mark"),
}


class LastRun(msgspec.Struct, frozen=True, kw_only=True):
    """inputs: absolute. settings: as of that run; none of them is secret."""

    inputs: tuple[str, ...]
    settings: Settings


class _Written(msgspec.Struct, frozen=True):
    inputs: tuple[str, ...]
    settings: dict[str, Any]


def remember(tree: Tree, inputs: Sequence[Path | Address], settings: Settings) -> None:
    """Write it down, for this user's eyes alone; what is there already is left.

    Raises LocalResource: a disk that takes no note of a run will not take its pictures.
    """
    absolute = (
        str(place) if isinstance(place, Address) else source_name(os.path.abspath(place))  # noqa: PTH100 - keeps links
        for place in inputs
    )
    # Shards share one note; and who wants more of a photo does not ask whose it is.
    whole = replace(settings, shard=None)
    text = msgspec.json.format(msgspec.json.encode(LastRun(inputs=tuple(absolute), settings=whole)))
    path = tree.root / STATE_DIR / FILE
    if _text_at(path) == text:
        return
    temp = tree.root / TEMP_DIR / f"{secrets.token_hex(6)}-{FILE}"  # of many machines
    try:
        temp.unlink(missing_ok=True)  # whoever had it open must not read the new one
        write_new(temp, text, 0o600)
        temp.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temp.unlink(missing_ok=True)
        raise no_write(path, error) from None


def recall(tree: Tree) -> LastRun | None:
    """Read it back; None if there is none that can be read.

    What a newer version wrote beside it is passed over, and a setting of which it knows
    another value is as by default; but not those by which money is spent: then None.
    """
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError, UsageError):
        text = _text_at(tree.root / STATE_DIR / FILE)
        if text is None:
            return None
        written = msgspec.json.decode(text, type=_Written)
        known = {name: value for name, value in written.settings.items() if name in FIELDS}
        for name in known.keys() - _NEEDED:
            try:
                Settings(**{name: known[name]})
            except UsageError:
                del known[name]
        settings = Settings(**known)
        provider_of(settings)
        return LastRun(inputs=tuple(map(_as_named, written.inputs)), settings=settings)
    return None


def _text_at(path: Path) -> bytes | None:
    with suppress(PhotoError):
        raw, _ = read_photo(path)  # follows no link, hangs on no pipe
        return raw
    return None


class Originals:
    """Finds the photo that a source of the manifest names.

    options: of object stores, as `--store-option` gives them.
    """

    def __init__(
        self, inputs: Sequence[Path | Address], options: Mapping[str, str] = _NONE
    ) -> None:
        self._reader = Reader(options)
        self._roots: Roots | None = None
        with suppress(UsageError):  # a folder that is gone: no original can be shown
            self._roots = roots(inputs)

    def path(self, source: str) -> Path | None:
        """Where it would lie; None if no input could hold it."""
        if self._roots is None:
            return None
        for photo in self._roots.files:
            if photo.source == source:
                return photo.path
        for folder in self._roots.folders:
            rest = source.removeprefix(f"{folder.source}/") if folder.source else source
            if folder.source and rest == source:
                continue
            parts = [_exact(part) for part in rest.split("/")]
            if not any(part in {"", ".", ".."} or "/" in part or "\0" in part for part in parts):
                return folder.path.joinpath(*parts)
        return None

    def key(self, source: str) -> StoreKey | None:
        """Which object it would be; None if no input in a store could hold it."""
        for root in self._roots.stores if self._roots else ():
            if root.name and source == root.source:
                return StoreKey(str(root.address), root.name, 0, _NEVER, None)
            rest = source.removeprefix(f"{root.source}/") if root.source else source
            if root.name or (root.source and rest == source):
                continue
            return StoreKey(str(root.address), _exact(rest), 0, _NEVER, None)
        return None

    def may_have(self, source: str) -> bool:
        """Whether it is there, as far as that can be told without asking a store."""
        path = self.path(source)
        if path is None:
            return self.key(source) is not None
        return os.path.isfile(path)  # noqa: PTH113 - Path's may raise

    def read(self, source: str, content: str) -> bytes | None:
        """The photo's bytes, if they are still those with this sha256 (hexadecimal).

        The hash is what makes this safe: a folder on the way may have become a link, but no
        bytes come back that were not sent once, or that the asker could not name before.
        Of a store: raises AccountRefused, UsageError and ServiceGone.
        """
        place = self.path(source) or self.key(source)
        if place is None:
            return None
        try:
            raw, _ = self._reader.read(place)
        except (PhotoError, ValueError):  # ValueError: a name that no file can have
            return None
        return raw if hashlib.sha256(raw).hexdigest() == content else None


def _as_named(text: str) -> str:
    return text if _ADDRESS.match(text) else _exact(text)


def _exact(name: str) -> str:
    """The file name that `source_name` made this of."""

    def plain(found: re.Match[str]) -> str:
        return "\\" if found[1] == "\\" else os.fsdecode(bytes([int(found[1][1:], 16)]))

    return _ESCAPE.sub(plain, name)
