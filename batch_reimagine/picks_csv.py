"""Decisions as a table for people and their spreadsheets, and back."""

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from batch_reimagine.choice import UNDECIDED, Choice, variation_numbers
from batch_reimagine.errors import UsageError

MOST_NAMED = 10  #: lines at fault that a message names; of the others the number
_MOST_BYTES = 50_000_000
_MOST_HEAD = 10_000  # characters; csv itself takes no cell of more than 131,072
_COLUMNS = ("source", "picks", "rejected", "none", "note")
_YES = {"yes", "y", "true", "1", "x"}
_NO = {"", "no", "n", "false", "0"}

# How a cell begins that a spreadsheet would run. Sources: OWASP, "CSV Injection"; ASVS 1.2.10.
# A cell may begin in the middle of ours too, where a spreadsheet takes ";" for the comma.
_RUNS = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_CELL = rf"(?:\A|(?<=[;\t\r\n]))(?='*[{_RUNS}])|\A(?='*[\t\r\n\0])"
_HARMLESS = re.compile(_CELL)
_UNDO = re.compile(_CELL.replace("(?='*[", "'(?='*["))


class Row(NamedTuple):
    """One line of such a file: number of its first line in the file, from 1."""

    line: int
    source: str
    choice: Choice


def cell(text: str) -> str:
    """The text with an apostrophe wherever a spreadsheet would begin to run it; see `text_of`."""
    return _HARMLESS.sub("'", text)


def text_of(cell: str) -> str:
    """What `cell` made this of."""
    return _UNDO.sub("", cell)


def to_csv(choices: Iterable[tuple[str, Choice]]) -> str:
    """One row a decision; see `cell`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for source, choice in choices:
        picked, rejected = (
            " ".join(map(str, numbers)) for numbers in (choice.picked, choice.rejected)
        )
        writer.writerow(
            [cell(source), picked, rejected, "yes" if choice.none else "", cell(choice.note)]
        )
    return text.getvalue()


def from_csv(
    path: Path, before: Callable[[str], Choice] = lambda _: UNDECIDED
) -> dict[str, Choice]:
    """Read such a file back, as a spreadsheet may have left it.

    before: what was decided about a source; a column that the file has not leaves that as it is.
    Raises UsageError, naming the lines, for what is no decision.
    """
    rows, faults = read_rows(path, before)
    refuse(path, faults)
    return {row.source: row.choice for row in rows}


def refuse(path: Path, faults: Iterable[tuple[int, str]]) -> None:
    """Raise UsageError that names the first lines at fault, if there are any."""
    ordered = sorted(faults)
    if not ordered:
        return
    named = [f"line {line}: {what}" for line, what in ordered[:MOST_NAMED]]
    if more := len(ordered) - len(named):
        named.append(f"and {more:,} more")
    raise UsageError("\n  ".join([f"{path}: nothing was changed", *named]))


def read_rows(
    path: Path, before: Callable[[str], Choice]
) -> tuple[list[Row], list[tuple[int, str]]]:
    """As `from_csv`; but gives the rows, and (line, what is wrong there) for each that is none.

    With commas, ";" or tabs, in UTF-8 or, as Excel's "Unicode Text", in UTF-16; the columns
    `source` and `picks` are needed, others are passed over.
    Raises UsageError for a file that is no such table at all.
    """
    text = _read(path)
    if found := re.match(r"sep=(.)\r?\n", text):  # a hint to Excel
        text = text[found.end() :]
    names, delimiter = _head(path, text)
    skipped = 1 if found else 0
    rows: dict[str, Row] = {}
    faults: list[tuple[int, str]] = []
    for line, cells in _lines(path, text, delimiter, skipped):
        row = dict(itertools.zip_longest(names, cells[: len(names)], fillvalue=""))
        source = text_of(row.get("source", ""))
        if any(value.strip() for value in cells[len(names) :]):
            faults.append((line, "more cells than columns: put several numbers as 2 1"))
        elif not source:
            if any(value.strip() for value in cells):
                faults.append((line, "no source"))
        elif source in rows:
            faults.append((line, f"{source[:200]!r} is in line {rows[source].line} already"))
        else:
            try:
                rows[source] = Row(line, source, _choice(row, before(source)))
            except ValueError as error:
                faults.append((line, str(error)))
    return list(rows.values()), faults


def _read(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise UsageError(f"{path} is too large for a list of picks")
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8: save it as 'CSV UTF-8'") from None


def _head(path: Path, text: str) -> tuple[list[str], str]:
    """The names of the columns, and what stands between them."""
    first = re.split(r"[\r\n]", text[:_MOST_HEAD], maxsplit=1)[0]
    for delimiter in ",;\t":
        cells = next(csv.reader([first], delimiter=delimiter), [])
        names = [name.strip().lower() for name in cells]
        if {"source", "picks"} <= set(names):
            if twice := [name for name in _COLUMNS if names.count(name) > 1]:
                raise UsageError(f"{path}: two columns are called {twice[0]}")
            return names, delimiter
    raise UsageError(f"{path}: the first line must name the columns source and picks")


def _lines(path: Path, text: str, delimiter: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Every row after the head, with the number of its first line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            if line > 1 and cells:
                yield line + skipped, cells
            line = reader.line_num + 1
    except csv.Error as error:  # a quote that nobody closed would swallow all that follows
        raise UsageError(f"{path}, line {line + skipped}: no table from here on: {error}") from None


def _choice(row: dict[str, str], before: Choice) -> Choice:
    """Raises ValueError."""
    picked = variation_numbers(row["picks"])
    rejected = tuple(number for number in before.rejected if number not in picked)
    none = before.none and not picked
    if "rejected" in row:
        rejected = variation_numbers(row["rejected"])
    if "none" in row:
        word = row["none"].strip().lower()
        if word not in _YES | _NO:
            raise ValueError(f"none is {word[:20]!r}: write yes, or leave it empty")
        none = word in _YES
    note = text_of(row["note"]) if "note" in row else before.note
    return Choice(picked=picked, rejected=rejected, none=none, note=note)
