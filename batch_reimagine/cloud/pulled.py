"""Other machines' rows: the parts of each set of books, kept here as one file.

It grows as their last part does. What was taken in of which part is noted beside it, so that no
part is ever joined on at a wrong place: what does not fit is brought anew, and put in the old
file's place in one step. Blocks.
"""

import os
import re
import secrets
from pathlib import Path

import msgspec

from batch_reimagine.cloud.objects import Entry, Objects
from batch_reimagine.durable import no_write, write_new
from batch_reimagine.errors import Rejected
from batch_reimagine.naming import STATE_DIR
from batch_reimagine.output import PARTS, TEMP_DIR

ID = re.compile(r"[0-9A-Za-z]{16}(?:\.[0-9]+-of-[0-9]+)?")
_PART = re.compile(rf"{PARTS}/part-({ID.pattern})-([0-9]{{6,9}})\.jsonl")
_MOST_PART_BYTES = 8 << 20  # of a larger one nothing is taken in: parts of ours end at 1 MB


class _Taken(msgspec.Struct, frozen=True):
    """What is here of one part."""

    number: int
    size: int  #: bytes in the store
    etag: str | None
    here: int  #: bytes in the file


def pulled_of(name: str) -> tuple[str, int] | None:
    """The books' id and the number that a part's name tells; None: it is no part."""
    found = _PART.fullmatch(name)
    return (found[1], int(found[2])) if found else None


def pull(objects: Objects, root: Path, id_: str, entries: list[Entry]) -> None:
    """Bring one set of books up to date. Raises RunError.

    entries: all its parts that the store has, in order. A part that the store has lost stays.
    """
    path, note = root / PARTS / f"pulled-{id_}.jsonl", root / STATE_DIR / f"pulled-{id_}.json"
    try:
        path.parent.mkdir(exist_ok=True)
        taken = _noted(note, path)
        if taken is None or not _grows(taken, entries):
            taken = _anew(objects, root, path, taken or [], entries)
        elif all(map(_same, taken, entries)) and len(taken) == len(entries):
            return
        elif (longer := _longer(objects, path, taken, entries)) is not None:
            taken = longer
        else:
            taken = _anew(objects, root, path, taken[:-1], entries)
        temp = _temp(root)
        write_new(temp, msgspec.json.encode(taken))
        temp.rename(note)
    except FileNotFoundError:
        return  # a part was removed this moment
    except OSError as error:
        raise no_write(path, error) from None


def _noted(note: Path, path: Path) -> list[_Taken] | None:
    """What is here, part by part; None if the file and its note do not fit together."""
    try:
        taken = msgspec.json.decode(note.read_bytes(), type=list[_Taken])
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        taken = []
    size = path.stat().st_size if path.exists() else 0
    return taken if sum(part.here for part in taken) == size else None


def _same(part: _Taken, entry: Entry) -> bool:
    number = (pulled_of(entry.name) or ("", 0))[1]
    return (part.number, part.size, part.etag) == (number, entry.size, entry.etag)


def _grows(taken: list[_Taken], entries: list[Entry]) -> bool:
    """Whether nothing has changed but that the last part may be longer, and new ones follow."""
    closed = taken[:-1]
    if len(entries) < len(taken) or not all(map(_same, closed, entries)):
        return False
    numbers = [(pulled_of(entry.name) or ("", 0))[1] for entry in entries]
    return numbers == list(range(1, len(entries) + 1))


def _longer(
    objects: Objects, path: Path, taken: list[_Taken], entries: list[Entry]
) -> list[_Taken] | None:
    """Append what is new; None, with nothing changed, if the last part is not what it was."""
    taken = list(taken)
    with path.open("r+b" if path.exists() else "x+b") as opened:
        end = opened.seek(0, os.SEEK_END)
        if taken and not _same(taken[-1], entries[len(taken) - 1]):
            last = taken.pop()
            opened.seek(end - last.here)
            here = opened.read(last.here)
            data, part = _got(objects, entries[len(taken)])
            if not data.startswith(here):
                return None
            opened.write(data[len(here) :])
            taken.append(part)
        for entry in entries[len(taken) :]:
            data, part = _got(objects, entry)
            opened.write(data)
            taken.append(part)
        opened.flush()
        os.fsync(opened.fileno())
    return taken


def _anew(
    objects: Objects, root: Path, path: Path, taken: list[_Taken], entries: list[Entry]
) -> list[_Taken]:
    """Put a new file in the old one's place: what is here and unchanged or lost, and the rest."""
    offsets, at = dict[int, int](), 0
    for part in taken:
        offsets[part.number] = at
        at += part.here
    here = {part.number: part for part in taken}
    there = {(pulled_of(entry.name) or ("", 0))[1]: entry for entry in entries}
    temp, new = _temp(root), list[_Taken]()
    try:
        with temp.open("xb") as opened:
            for number in sorted(here.keys() | there.keys()):
                old, entry = here.get(number), there.get(number)
                if old and (entry is None or _same(old, entry)):
                    data, part = _copied(path, offsets[number], old.here), old
                elif entry is not None:
                    data, part = _got(objects, entry)
                opened.write(data)
                new.append(part)
            opened.flush()
            os.fsync(opened.fileno())
        temp.rename(path)
    finally:
        temp.unlink(missing_ok=True)
    return new


def _copied(path: Path, begin: int, size: int) -> bytes:
    with path.open("rb") as opened:
        opened.seek(begin)
        return opened.read(size)


def _got(objects: Objects, entry: Entry) -> tuple[bytes, _Taken]:
    """A part's bytes, ended by a line's end: what follows must not be joined to a half line."""
    number = (pulled_of(entry.name) or ("", 0))[1]
    try:
        data, entry = objects.get(entry.name, most_bytes=_MOST_PART_BYTES)
    except Rejected:
        data = b""
    whole = data if data.endswith(b"\n") or not data else data + b"\n"
    return whole, _Taken(number, entry.size, entry.etag, len(whole))


def _temp(root: Path) -> Path:
    return root / TEMP_DIR / f"pulled~{secrets.token_hex(6)}"
