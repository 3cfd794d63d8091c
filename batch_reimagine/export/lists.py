"""What goes beside the pictures: the list of all, the table that a shop imports, one ZIP file."""

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote

from batch_reimagine.errors import LocalResource
from batch_reimagine.export.names import FORMULA, Template, Values, values_of
from batch_reimagine.export.plan import Item
from batch_reimagine.export.presets import CELLS, Table
from batch_reimagine.export.target import Target

CSV_FILE, ZIP_FILE = "export.csv", "export.zip"
LIST = "list"  #: how the records of lists begin
_HEADER = ("file", "source", "variation", "rank", "width", "height", "sha256", "note")
_ESCAPED = (*FORMULA, "'")  # also what looks escaped already
_REFERENCES = {"file", "url", "handle", "sha256"}  # their values mean something only unchanged
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a ZIP file can tell
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """A picture as it lies in the target."""

    item: Item
    sha256: str
    size: int  #: bytes
    width: int  #: pixels
    height: int  #: pixels
    sidecar: str | None = None  #: sha256 of the .xmp file beside it


def as_csv(kept: Iterable[Kept]) -> bytes:
    """One row a picture. With the mark by which spreadsheets know UTF-8."""
    rows = [
        [
            each.item.file,
            _cell(each.item.source),
            each.item.variation,
            each.item.rank,
            each.width,
            each.height,
            each.sha256,
            _cell(each.item.note),
        ]
        for each in kept
    ]
    return _csv(_HEADER, rows).encode("utf-8-sig", "backslashreplace")


def as_table(kept: Iterable[Kept], table: Table, url_prefix: str | None) -> bytes:
    """The table of a preset. Without that mark: importers take it for a part of the heading."""
    templates = {name: Template(text, CELLS) for name, text in table.columns.items()}
    rows: list[list[str]] = []
    last = None
    for each in kept:
        values = _values(each, url_prefix)
        first, last = each.item.source != last, each.item.source
        rows.append(
            [
                _filled(template, values) if first or name not in table.first_only else ""
                for name, template in templates.items()
            ]
        )
    return _csv(list(templates), rows).encode("utf-8", "backslashreplace")


def _values(kept: Kept, url_prefix: str | None) -> Values:
    item = kept.item
    suffix = item.file.rpartition(".")[2]
    url = item.file if url_prefix is None else url_prefix + quote(item.file)
    return {
        **values_of(item.source, item.variation, item.rank, suffix),
        "handle": item.handle,
        "file": item.file,
        "url": url,
        "width": kept.width,
        "height": kept.height,
        "sha256": kept.sha256,
        "note": item.note,
    }


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _filled(template: Template, values: Values) -> str:
    text = template.fill(values)
    return text if template.first in _REFERENCES else _cell(text)


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_ESCAPED) else text


def pack(target: Target, files: Sequence[tuple[str, str]], into: BinaryIO) -> None:
    """Write a ZIP file of these (name, sha256) files of a target, not compressed.

    The same files give the same bytes. Raises LocalResource for one that is not as it was.
    """
    with zipfile.ZipFile(into, "w", zipfile.ZIP_STORED) as packed:
        for name, sha256 in files:
            info = zipfile.ZipInfo(name, _NO_TIME)
            info.create_system, info.external_attr = 3, 0o644 << 16
            path = target.path(name)
            info.file_size = path.stat().st_size
            hashed = hashlib.sha256()
            with path.open("rb") as opened, packed.open(info, "w") as entry:
                while chunk := opened.read(_CHUNK_BYTES):
                    hashed.update(chunk)
                    entry.write(chunk)
            if hashed.hexdigest() != sha256:
                raise LocalResource(f"{name} changed meanwhile: type the same command again")


def words_of(name: str, files: Iterable[tuple[str, str]]) -> str:
    """What a list is made of, for the records."""
    digest = hashlib.sha256()
    for file, sha256 in files:
        digest.update(f"{file}\0{sha256}\0".encode())
    return f"{LIST} {name} {digest.hexdigest()}"
