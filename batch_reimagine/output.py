"""Names in the output tree, and the one way in which a picture gets there.

A final name is only ever given to a complete file: temporary name, fsync,
rename, fsync of the directory. Nothing is overwritten, no link is followed.
"""

import hashlib
import itertools
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from batch_reimagine.address import Address
from batch_reimagine.durable import no_write, sync_folder, write_new
from batch_reimagine.errors import LocalResource, OutputMismatch
from batch_reimagine.inside import read_inside
from batch_reimagine.naming import STATE_DIR, SUFFIXES, output_name, source_name, tag_of
from batch_reimagine.work import Record

TEMP_DIR = f"{STATE_DIR}/unfinished"
MANIFEST = "manifest.jsonl"
PARTS = "manifest"  # folder of rows that were not written by a run of the whole on this machine

_MOST_BYTES = 2_000_000_000  # of a file of ours


class NameTaken(Exception):
    """A file of that name has appeared since it was chosen: take the next number."""


class Tree:
    """The output folder on the local disk. All methods block: call them in a worker thread.

    writer: the tag of a run that shares the folder with others ("3-of-16"): what it has half
    written is told by it, and theirs is left alone.
    """

    #: whether pictures lie elsewhere: reading one is a transfer, and its row is kept with it
    remote = False

    def __init__(self, root: Path, writer: str = "") -> None:
        self.root = Path(os.path.realpath(root))
        self.place: Path | Address = self.root  #: where it is, for people and for a run
        self.refused = False  #: the disk did not take a picture
        self.writer = writer
        # No two machines on one file system may choose the same name; a process id would.
        self._temp = f"{writer}~{secrets.token_hex(6)}"
        self._count = itertools.count()
        self._proven: set[str] = set()  # folders seen to be real ones, inside the root

    def prepare(self, *, force: bool) -> None:
        """Make the folder and its state folder, or refuse one that is not ours.

        force: take over a folder that holds other files; none of them is touched.
        Raises OutputMismatch or LocalResource.
        """
        try:
            missing = [path for path in (self.root, *self.root.parents) if not path.exists()]
            if not self.root.is_dir():
                self.root.mkdir(parents=True)
            for path in missing:  # its own name must be as durable as what it will hold
                sync_folder(path.parent)
            if not force and not self.is_ours():
                strangers = [n for n in os.listdir(self.root) if not n.startswith(".")]  # noqa: PTH208
                if strangers:
                    raise OutputMismatch(
                        f"{self.root} holds other files ({source_name(min(strangers))} …) and no"
                        " manifest: choose a new folder, or add --yes to use this one all the same"
                    )
            temp = self.root / TEMP_DIR
            for folder in (temp.parent, temp):
                self.check_folder(folder)
                if not folder.is_dir():
                    folder.mkdir()
                    sync_folder(folder.parent)
        except FileExistsError:
            raise OutputMismatch(
                f"{self.root} is a file, not a folder: choose another -o"
            ) from None
        except OSError as error:
            raise no_write(self.root, error) from None

    def begin(self, run: str, rows: Path) -> list[str]:
        """A run holds the lock, and will write its rows there; returns notes for people.

        Raises RunError.
        """
        del run, rows
        return []

    def live(self) -> list[str]:
        """Who writes to it from other machines, in words; only where that can be known."""
        return []

    def pictures(self) -> Iterator[str]:
        """The name of every file that is named like a picture of ours."""
        for path in self.root.rglob("*_v[0-9]*"):
            name = path.relative_to(self.root)
            ours = name.suffix in SUFFIXES.values() and name.parts[0] != STATE_DIR
            if ours and not path.is_dir():
                yield name.as_posix()

    def elsewhere(self) -> list[bytes]:
        """The accounts of all other books of this output."""
        return []

    def sync(self, rows: Path, account: bytes) -> None:
        """Bring rows and account to where other machines see them. Raises RunError."""

    def check_held(self) -> None:
        """Return at once while the output is this run's.

        Raises OutputBusy if another has it now, ServiceGone while that cannot be known.
        """

    def end(self) -> None:
        """The run writes no more."""

    def clear_temp(self) -> None:
        """Remove what a killed run left half-written. Only while the lock is held."""
        for leftover in (self.root / TEMP_DIR).iterdir():
            if self.writer and not leftover.name.startswith(f"{self.writer}~"):
                continue
            if leftover.is_symlink() or not leftover.is_dir():
                leftover.unlink()

    def is_ours(self) -> bool:
        whole, parts = self.root / MANIFEST, self.root / PARTS
        return (self.root / STATE_DIR).is_dir() or whole.is_file() or any(parts.glob("*.jsonl"))

    @property
    def title(self) -> str:
        """Its name alone, without what it lies in."""
        return self.root.name

    def look(self) -> None:
        """Bring the books up to date before they are read; nothing of an output is changed.

        Raises OutputMismatch if there is no output of ours.
        """
        if not self.is_ours():
            raise OutputMismatch(f"{self.root} is no output folder: it holds no manifest.jsonl")

    def check_folder(self, folder: Path) -> None:
        """Raise LocalResource if folder, or any on its way from the root, is a link."""
        at = folder
        passed: list[str] = []
        while at != self.root:
            if str(at) in self._proven:
                break
            if at.is_symlink():
                raise LocalResource(
                    f"{at} is a link, and this tool writes through none: remove it, or choose"
                    " another -o"
                )
            passed.append(str(at))
            at = at.parent
        if folder.is_dir():
            self._proven.update(passed)

    def path(self, name: str) -> Path:
        """Where a relative name of ours lies. Raises ValueError if it would leave the folder."""
        parts = name.split("/")
        if any(part in {"", ".", ".."} or "\0" in part for part in parts) or os.path.isabs(name):  # noqa: PTH117
            raise ValueError(f"no name inside the output: {name!r}")
        return self.root.joinpath(*parts)

    def taken(self, base: str, variation: int) -> str | None:
        """The type of the file that bears this variation's name, if there is one."""
        for type_ in SUFFIXES:
            if os.path.lexists(self.path(output_name(base, variation, type_))):
                return type_
        return None

    def holds(self, name: str) -> bool:
        """Whether a regular file, not a link, lies under this name."""
        try:
            path = self.path(name)
            self.check_folder(path.parent)
            return path.is_file() and not path.is_symlink()
        except (ValueError, LocalResource, OSError):  # OSError: a name too long to be
            return False

    def readable(self, name: str) -> bool:
        """Whether a picture is there, and can be read, for who looks on for days."""
        if not self.holds(name):
            return False
        path = self.path(name)
        # `holds` remembers which folders were no links.
        return os.path.realpath(path) == str(path) and os.access(path, os.R_OK)

    def bring(self, name: str) -> str:
        """Have a picture on the local disk; its name there, below `root`. Raises OSError."""
        return name

    def exists(self, name: str) -> bool:
        """Whether anything at all lies under this name."""
        return os.path.lexists(self.path(name))

    def all_here(
        self, base: str, done: Callable[[str], Iterator[tuple[int, str, int]]]
    ) -> int | None:
        """How many pictures of a base are there, in the size that each is to have; None: not all.

        done: told what to put before each name, gives (number, name, bytes) of them.
        Raises OSError, LocalResource or ValueError where that cannot be told.
        """
        self.check_folder(self.path(base).parent)
        count = 0
        for _, path, size in done(f"{self.root}/"):
            found = os.lstat(path)
            if found.st_size != size or not stat.S_ISREG(found.st_mode):
                return None
            count += 1
        return count

    def size(self, name: str) -> int:
        """Bytes of a file of ours. Raises OSError."""
        return self.path(name).stat().st_size

    def read(self, name: str) -> bytes:
        """A file of ours; no link is followed. Raises OSError."""
        return read_inside(self.root, name, _MOST_BYTES)

    def numbered(self, base: str) -> list[tuple[int, str]]:
        """The numbers and names of all pictures of a base, where `remote`."""
        del base
        return []

    def row_of(self, name: str) -> Record | None:
        """The row that is kept with a picture; None: there is none, or it is not kept there."""
        del name
        return None

    def write(self, name: str, data: bytes, about: Record | None = None) -> str:
        """Put data under a final name, whole and durable; return its sha256.

        about: kept with it where `remote`. Raises NameTaken, or
        LocalResource, with nothing under the final name, when the disk refuses.
        """
        del about
        final = self.path(name)
        temp = self._new_temp()
        try:
            self._make_folder(final.parent)
            write_new(temp, data)
            if os.path.lexists(final):
                temp.unlink()
                raise NameTaken(name)
            temp.rename(final)
            sync_folder(final.parent)
        except OSError as error:
            self.refused = True
            with suppress(OSError):
                temp.unlink(missing_ok=True)
            raise no_write(final, error) from None
        return hashlib.sha256(data).hexdigest()

    def replace(self, path: Path, parts: Iterable[bytes]) -> None:
        """Put new content under a name of our own books, whole or not at all. Raises OSError."""
        temp = self._new_temp()
        try:
            with temp.open("wb") as opened:
                opened.writelines(parts)
                opened.flush()
                os.fsync(opened.fileno())
            temp.rename(path)
            sync_folder(path.parent)
        finally:
            temp.unlink(missing_ok=True)

    def take_unsent(self) -> list[tuple[str, bytes, dict[str, str]]]:
        """Give away the pictures that wait here to be sent: name, bytes and metadata of each."""
        return []

    def keep_unsent(self, pictures: list[tuple[str, bytes, dict[str, str]]]) -> None:
        """Let them wait here, durably, for the next run. Raises LocalResource."""

    def own(self) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """What these books once told others, where `remote`: see `Parts.own` in `cloud`."""
        return b"", []

    def limit(self, until: Callable[[float], float]) -> None:
        """Wait for no answer of a store beyond what `until` says: see `Until` in `cloud`."""

    def noticed(self, name: str, size: int) -> None:
        """Another machine of this run has written a picture of so many bytes."""

    def anew(self) -> None:
        """Believe nothing that was known of what is there: others may have written."""

    def rewrite(self, name: str, data: bytes) -> None:
        """Put new content under a name in one step; a file that was there keeps its permissions.

        Raises LocalResource.
        """
        path = self.path(name)
        temp = path.with_name(f".{path.name}.new")
        try:
            temp.unlink(missing_ok=True)  # of a run that died
            # Made anew: a link that lies under this name is not written through.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(temp, flags, 0o666), "wb") as opened:
                if path.exists():
                    shutil.copymode(path, temp)
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            temp.rename(path)
            sync_folder(path.parent)
        except OSError as error:
            with suppress(OSError):
                temp.unlink(missing_ok=True)
            raise no_write(path, error) from None

    def _new_temp(self) -> Path:
        return self.root / TEMP_DIR / f"{self._temp}-{next(self._count)}"

    def set_aside(self, name: str) -> None:
        """Move an output out of its name, into the state folder, under a name not yet taken there.

        Raises LocalResource.
        """
        target = self.root / STATE_DIR / "torn"
        free = (target / f"{tag_of(name)}-{n}{Path(name).suffix}" for n in itertools.count())
        try:
            self._make_folder(target)
            self.path(name).rename(next(path for path in free if not os.path.lexists(path)))
            sync_folder(self.path(name).parent)
        except OSError as error:
            raise no_write(target, error) from None

    def _make_folder(self, folder: Path) -> None:
        if str(folder) in self._proven or folder == self.root:
            return
        self.check_folder(folder)
        if not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            sync_folder(folder.parent)
        self._proven.add(str(folder))
