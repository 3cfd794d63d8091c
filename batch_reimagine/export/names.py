"""From a template to names that no file system confuses. Pure.

Templates are those of Python's str.format, cut down to named fields with a width: no
attribute, index or conversion gets through, and no width that would fill the memory.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from batch_reimagine.errors import UsageError
from batch_reimagine.naming import STATE_DIR, safe_name

STATE = f"{STATE_DIR}-export"  #: our own files in a target begin so
_MOST_TEMPLATE = 1000  # characters
_NUMBERS = {"variation", "rank", "other"}
#: What a file name may be made of.
FIELDS = ("stem", "name", "folder", "path", "source", "variation", "rank", "other", "ext")

FORMULA = ("=", "+", "-", "@", "\t", "\r")  #: how a cell begins that a spreadsheet would run

_WIDTH = re.compile(r"(0?[0-9]{1,2})?d?")
_CUT = re.compile(r"(\.[0-9]{1,3})?s?")
# A folder of such a name could meet a file of ours.
_LIKE_A_FILE = re.compile(r"\.(png|webp|jpg|xmp|csv|zip)$", re.IGNORECASE)

Values = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class _Piece:
    literal: str
    field: str | None
    spec: str


class Template:
    """One template. Raises UsageError, which names the fields there are, for a bad one."""

    def __init__(self, text: str, fields: Sequence[str] = FIELDS) -> None:
        self.text = text
        self._fields = fields
        if len(text) > _MOST_TEMPLATE:
            raise UsageError(f"a template of more than {_MOST_TEMPLATE:,} characters")
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            raise self._bad(str(error)) from None
        self._pieces = [self._piece(*piece) for piece in parsed]

    def _piece(
        self, literal: str, field: str | None, spec: str | None, conversion: str | None
    ) -> _Piece:
        if field is not None:
            if field not in self._fields:
                raise self._bad(f"{{{field}}} is no field")
            if conversion:
                raise self._bad(f"{{{field}!{conversion}}} is not understood")
            known = _WIDTH if field in _NUMBERS else _CUT
            if not known.fullmatch(spec or ""):
                hint = "{rank:02}" if field in _NUMBERS else "{stem:.40}"
                raise self._bad(f"{{{field}:{spec}}} is not understood; known are forms as {hint}")
        return _Piece(literal, field, spec or "")

    def _bad(self, why: str) -> UsageError:
        fields = ", ".join(f"{{{field}}}" for field in self._fields)
        return UsageError(f"template {self.text!r}: {why}. The fields are {fields}")

    @property
    def named(self) -> set[str]:
        """The fields that stand in it."""
        return {piece.field for piece in self._pieces if piece.field}

    @property
    def first(self) -> str | None:
        """The field that it begins with; None if it begins with other text."""
        piece = next(iter(self._pieces), None)
        return None if piece is None or piece.literal else piece.field

    def fill(self, values: Values) -> str:
        """The text with every field in its place."""
        return "".join(
            piece.literal + (format(values[piece.field], piece.spec) if piece.field else "")
            for piece in self._pieces
        )

    def file_name(self, values: Values) -> str:
        """A relative name with "/" and without suffix, every part of it safe.

        Raises UsageError when nothing is left of the last part.
        """
        parts = self.fill(values).split("/")
        if any(part in {".", ".."} for part in parts):
            raise self._bad("a name cannot hold '.' or '..' as a folder")
        # The suffix is put on last, so that what is cut or told apart keeps it.
        last = parts.pop().removesuffix(f".{values['ext']}")
        if not last.strip(" ."):
            raise self._bad(f"it gives no file name for {values['source']!r}")
        folders = [part for part in parts if part.strip(" .")]
        first, *rest = [*folders, last]
        # A list shall name the file as it is called, and no spreadsheet run that.
        *folders, last = [f"_{first}" if first.startswith(FORMULA) else first, *rest]
        return "/".join([*map(_folder, folders), safe_name(last)])


def check_template(text: str) -> Template:
    """A template for file names. Raises UsageError."""
    template = Template(text)
    if text.startswith("/"):
        raise template._bad("a name begins inside of --to, not with '/'")  # noqa: SLF001 - of this file
    return template


def _folder(part: str) -> str:
    safe = safe_name(part)
    if fold(safe).startswith(STATE_DIR):
        return f"_{safe}"
    return f"{safe}~{tag(part)}" if _LIKE_A_FILE.search(safe) else safe


def values_of(source: str, variation: int, rank: int, ext: str) -> dict[str, str | int]:
    """The fields of one picture. source: relative, with "/"."""
    source = plain(source)
    folder, _, name = source.rpartition("/")
    stem = split(name)[0]
    return {
        "stem": stem,
        "name": name,
        "folder": folder,
        "path": f"{folder}/{stem}" if folder else stem,
        "source": source,
        "variation": variation,
        "rank": rank,
        "other": rank - 1,
        "ext": ext,
    }


def split(name: str) -> tuple[str, str]:
    """("a", "jpg") of "a.jpg"."""
    stem, _, suffix = name.rpartition(".")
    return (stem, suffix) if stem else (name, "")


def apart(names: Sequence[str], keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names, each different from all others on any file system, and those that had met.

    All that meet get a hash of their key, which says what they are of: whose name is
    which does not depend on the order.
    """
    told = list(names)
    met: set[str] = set()
    for length in (8, 64):  # the longer one for a name that mimics a shorter
        count = Counter(map(fold, told))
        for number, name in enumerate(told):
            if count[fold(name)] > 1:
                met.add(names[number])
                told[number] = f"{names[number]}~{tag(keys[number], length)}"
    return told, sorted(met)


def fold(name: str) -> str:
    """What a file system that ignores case and Unicode form would compare."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def handle(text: str) -> str:
    """The text as shops want it in addresses: small letters of ASCII, digits and dashes."""
    letters = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:200].strip("-")


def plain(text: str) -> str:
    """Text that UTF-8 can hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def tag(text: str, length: int = 8) -> str:
    """Some hexadecimal digits that stand for a text."""
    return hashlib.sha256(plain(text).encode()).hexdigest()[:length]
