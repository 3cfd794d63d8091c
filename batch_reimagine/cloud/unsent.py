"""Pictures that were paid for while their store could not be reached: they wait here. Blocks."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from batch_reimagine.durable import no_write, sync_folder, write_new
from batch_reimagine.output import NameTaken

Put = Callable[[str, bytes, dict[str, str]], None]


class _About(msgspec.Struct, frozen=True):
    name: str
    about: dict[str, str]  # its metadata


class Unsent:
    """A folder of them: each a file with its bytes, and one that tells what it is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, name: str, data: bytes, about: dict[str, str]) -> None:
        """Durable when it returns. Raises LocalResource."""
        path = self._folder / hashlib.sha256(name.encode()).hexdigest()[:32]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)  # of a node, there may be no books
            for gone in (path, path.with_suffix(".json")):
                gone.unlink(missing_ok=True)
            write_new(path, data)
            # Written last: without it there is no picture, whole or half.
            write_new(path.with_suffix(".json"), msgspec.json.encode(_About(name, about)))
            sync_folder(self._folder)
        except OSError as error:
            raise no_write(path, error) from None

    def take(self) -> list[tuple[str, bytes, dict[str, str]]]:
        """Give away all that waits: name, bytes and metadata of each."""
        taken = []
        for note in self._notes():
            if (found := self._read(note)) is not None:
                taken.append(found)
                self._remove(note)
        return taken

    def send(self, put: Put) -> list[str]:
        """Put what waits under its name; returns notes for people.

        put: raises NameTaken if another picture has come to that name; then it goes on
        waiting. Its other errors pass.
        """
        sent = barred = damaged = 0
        for note in self._notes():
            if (found := self._read(note)) is None:
                damaged += 1
                continue
            try:
                put(*found)
            except NameTaken:
                barred += 1
                continue
            sent += 1
            self._remove(note)
        notes = [f"{sent} pictures that waited for the store are there now"] if sent else []
        if barred:
            notes.append(
                f"{barred} pictures wait in {self._folder}: others have come to their names"
            )
        if damaged:
            notes.append(f"{damaged} pictures that wait in {self._folder} cannot be read any more")
        return notes

    def _notes(self) -> list[Path]:
        return sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []

    @staticmethod
    def _read(note: Path) -> tuple[str, bytes, dict[str, str]] | None:
        """What one is; None if it cannot be read, or is not what was kept."""
        try:
            told = msgspec.json.decode(note.read_bytes(), type=_About)
            data = note.with_suffix("").read_bytes()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        sound = told.about.get("sha256") == hashlib.sha256(data).hexdigest()
        return (told.name, data, told.about) if sound else None

    @staticmethod
    def _remove(note: Path) -> None:
        for done in (note, note.with_suffix("")):
            with suppress(OSError):
                done.unlink()
