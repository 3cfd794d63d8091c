"""Presets are data: TOML files, ours beside this one, a shop's own anywhere."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from batch_reimagine.errors import UsageError
from batch_reimagine.export.names import FIELDS, Template, check_template
from batch_reimagine.export.options import MOST_SIDE
from batch_reimagine.naming import safe_name

DEFAULT_QUALITY = 92
_MOST_BYTES = 100_000

#: What a cell of a preset's table may be made of: also what is known of the written file.
CELLS = (*FIELDS, "handle", "file", "url", "width", "height", "sha256", "note")

_Number = Annotated[int, msgspec.Meta(ge=1)]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A CSV file with a row a picture, as a shop imports it."""

    file: str  #: its name
    columns: dict[str, str]  #: by heading, a template each
    first_only: tuple[str, ...] = ()  #: columns that stay empty in all but a product's first row

    @property
    def has_addresses(self) -> bool:
        """Whether a column tells where the shop finds a picture."""
        return any("url" in Template(text, CELLS).named for text in self.columns.values())


class Preset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one shop wants its pictures."""

    name: str = ""  #: how to ask for it; not said in the file
    title: str
    main: str  #: template of a product's main picture
    others: str | None = None  #: template of the rest; None: the same
    most: _Number | None = None  #: pictures a product; more are written, with a warning
    plain_stems: bool = False  #: stems must be A–Z, a–z and 0–9; a warning names others
    format: Literal["png", "jpeg", "webp"] | None = None  #: None: as they are
    max_side: Annotated[int, msgspec.Meta(ge=1, le=MOST_SIDE)] | None = None  #: pixels
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = DEFAULT_QUALITY
    table: Table | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for what is no preset."""
        try:
            for text in filter(None, (self.main, self.others)):
                check_template(text)
            for text in self.table.columns.values() if self.table else ():
                Template(text, CELLS)
        except UsageError as error:
            raise ValueError(str(error)) from None
        if self.table is not None:
            if not self.table.columns or set(self.table.first_only) - set(self.table.columns):
                raise ValueError("table: no columns, or first_only names one that is not there")
            name = self.table.file
            if safe_name(name) != name or not name.endswith(".csv") or name == "export.csv":
                raise ValueError("table: file must be a plain name that ends in .csv")


def presets() -> list[Preset]:
    """Those that come with the tool, plain first."""
    ours = files(__package__) / "presets"
    names = [entry.name for entry in ours.iterdir() if entry.name.endswith(".toml")]
    names.sort(key=lambda name: (name != "plain.toml", name))
    return [
        _decoded((ours / name).read_bytes(), name, name.removesuffix(".toml")) for name in names
    ]


def preset_of(name: str) -> Preset:
    """One of ours by its name, or the one in a TOML file. Raises UsageError."""
    if "/" in name or name.endswith(".toml"):
        try:
            with Path(name).open("rb") as opened:
                data = opened.read(_MOST_BYTES + 1)
        except OSError as error:
            raise UsageError(f"preset {name}: {error.strerror}") from None
        if len(data) > _MOST_BYTES:
            raise UsageError(f"preset {name}: too large for a preset")
        return _decoded(data, name, name)
    known = {preset.name: preset for preset in presets()}
    if name not in known:
        raise UsageError(
            f"there is no preset {name!r}; known: {', '.join(known)}, or the path of a TOML file"
        )
    return known[name]


def _decoded(data: bytes, file: str, name: str) -> Preset:
    try:
        found = msgspec.convert(tomllib.loads(data.decode()), Preset)
    except UnicodeDecodeError:
        raise UsageError(f"preset {file} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"preset {file} is not valid TOML: {error}") from None
    except (msgspec.ValidationError, RecursionError) as error:
        raise UsageError(f"preset {file}: {error}") from None
    if found.name:
        raise UsageError(f"preset {file}: its name is that of its file")
    return msgspec.structs.replace(found, name=name)
