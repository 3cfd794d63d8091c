"""What an export is asked for, and the shell command that asks for the same."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batch_reimagine.address import Address
from batch_reimagine.errors import UsageError

FORMATS = ("png", "jpeg", "webp")
MOST_SIDE = 65_535  #: pixels; JPEG holds no more


@dataclass(frozen=True, slots=True)
class Options:
    """None stands for what the preset says. Raises UsageError, naming the option, for a bad value.

    The values are looked at, and not only their types: some come from a web page.
    """

    to: Path  #: the folder that takes the files; made if missing
    preset: str = "plain"  #: the name of one of ours, or the path of a TOML file
    name: str | None = None  #: template of the file names
    format: str | None = None  #: "png", "jpeg" or "webp"
    max_side: int | None = None  #: pixels; larger pictures are made smaller
    quality: int | None = None  #: 1 … 100, of what is converted to JPEG or WebP
    all: bool = False  #: every picture, not only the picked ones
    zip: bool = False
    csv: bool = False
    url_prefix: str | None = None  #: put before file names where a shop wants addresses

    def __post_init__(self) -> None:
        if not str(self.to).strip() or "\0" in str(self.to):
            raise UsageError("to: a folder is needed, such as --to shop")
        for name in ("preset", "name", "url_prefix"):
            _check_text(name, getattr(self, name))
        if self.format is not None and self.format not in FORMATS:
            raise UsageError(f"format: {self.format!r} is none of {', '.join(FORMATS)}")
        _check_number("max_side", self.max_side, MOST_SIDE)
        _check_number("quality", self.quality, 100)
        for name in ("all", "zip", "csv"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name}: yes or no")


def _check_text(name: str, value: Any) -> None:
    if value is None and name != "preset":
        return
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise UsageError(f"{name}: a text is needed, not {value!r}")
    try:
        value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise UsageError(f"{name}: {value!r} is no text") from None


def _check_number(name: str, value: Any, most: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise UsageError(f"{name}: {value!r} is no number from 1 to {most}")


def command(output: Path | Address, options: Options) -> str:
    """The line that does the same in a shell."""
    words = ["batch-reimagine", "export", _path(output), "--to", _path(options.to)]
    if options.preset != "plain":
        words += _flag("preset", options.preset)
    for name in ("name", "format", "max_side", "quality", "url_prefix"):
        if (value := getattr(options, name)) is not None:
            words += _flag(name, str(value))
    words += [f"--{name}" for name in ("all", "zip", "csv") if getattr(options, name)]
    return shlex.join(words)


def _path(path: Path | Address) -> str:
    """Its text, never to be taken for a flag."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def _flag(name: str, value: str) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    return [f"{flag}={value}"] if value.startswith("-") else [flag, value]
