"""The flags of `run` that are settings, made from Settings: names, types, help and defaults."""

import dataclasses
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, get_args, get_origin

from cyclopts import Parameter, Token

from batch_reimagine.settings import FIELDS, Settings, describe

_SHORT = {"variations": ["-n"]}


def _plain(hint: Any) -> Any:
    """The type as a flag takes it: without constraints, which Settings checks and words."""
    if get_origin(hint) is Annotated:
        return _plain(get_args(hint)[0])
    if hint == tuple[Any, ...] or get_origin(hint) is tuple:
        return tuple[str, ...]
    options = [_plain(option) for option in get_args(hint) if option is not type(None)]
    if options and type(None) in get_args(hint):
        return options[0]
    return str if hint is Decimal else hint


def _as_typed(_: Any, tokens: Sequence[Token]) -> str:
    """Leave numbers as they were typed: Settings reads them, and rounds none."""
    return tokens[0].value


def _field(field: dataclasses.Field[Any]) -> tuple[str, Any, Any]:
    name = field.name
    text = describe(name)
    if field.default not in (None, (), False, True):
        text += f" [default: {field.default}]"
    parameter = Parameter(
        name=[f"--{name.replace('_', '-')}", *_SHORT.get(name, [])],
        help=text,
        negative=f"--no-{name}" if field.default is True else "",
        show_default=False,
        converter=_as_typed if _plain(FIELDS[name]) in {int, float} else None,
    )
    return name, Annotated[_plain(FIELDS[name]) | None, parameter], None


#: None stands for a flag that was not given.
Flags = dataclasses.make_dataclass(
    "Flags", [_field(field) for field in dataclasses.fields(Settings)], frozen=True
)
Flags.__module__ = __name__
Flags = Parameter(name="*")(Flags)


def given(flags: Any) -> dict[str, Any]:
    """The settings that were given as flags."""
    return {
        field.name: value
        for field in dataclasses.fields(flags)
        if (value := getattr(flags, field.name)) is not None
    }
