"""Names in the output tree, and the one way in which a picture gets there.

A final name is only ever given to a complete file: temporary name, fsync,
rename, fsync of the directory. Nothing is overwritten, no link is followed.
"""

import hashlib
import itertools
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from batch_reimagine.errors import LocalResource, OutputMismatch

STATE_DIR = ".batch-reimagine"
TEMP_DIR = f"{STATE_DIR}/unfinished"
MANIFEST = "manifest.jsonl"
SUFFIXES = {"png": ".png", "webp": ".webp", "jpeg": ".jpg"}

_MAX_NAME_BYTES = 160  # of 200: "_v0001.webp" and distinguishing tails follow
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_LIKE_OURS = re.compile(r"\.(png|webp|jpg|jsonl|csv|html|xmp)$", re.IGNORECASE)
_RESERVED = re.compile(
    r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\..*)?", re.IGNORECASE
)


def source_name(name: str) -> str:
    r"""One component of a source path as valid UTF-8, reversibly.

    Bytes that are not UTF-8 (surrogates, as Python reads them) become `\xNN`,
    and a backslash of its own is doubled.
    """
    return _text(name.replace("\\", "\\\\"))


def _text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def safe_name(name: str) -> str:
    """One path component that Windows, macOS and Linux all take, of bounded length."""
    safe = unicodedata.normalize("NFC", _FORBIDDEN.sub("_", _text(name))).rstrip(". ")
    if not safe or _RESERVED.fullmatch(safe):
        safe = f"_{safe}"
    if len(safe.encode()) > _MAX_NAME_BYTES:
        cut = safe.encode()[: _MAX_NAME_BYTES - 9].decode("utf-8", "ignore").rstrip(". ")
        safe = f"{cut}~{_tag(name)}"
    return safe


def safe_names(
    files: Iterable[str], folders: Iterable[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Name the outputs of one folder's files (by stem) and folders so that none meet.

    Two that would be one on some file system (other suffix, case or Unicode
    form) both get a name of their own: the suffix first (`a-jpg`, `a-png`), and
    where that is not enough, a hash of the exact name.
    """
    by_stem = {name: safe_name(_split(name)[0]) for name in files}
    by_suffix = _apart(by_stem, lambda name: safe_name("-".join(filter(None, _split(name)))))
    by_name = {name: safe_name(name) for name in folders}
    for name, safe in by_name.items():
        if _LIKE_OURS.search(safe):
            by_name[name] = f"{safe}~{_tag(name)}"
        elif _same(safe) == STATE_DIR:
            by_name[name] = f"_{safe}"
    return _tagged(by_suffix), _tagged(by_name)


def _tagged(names: dict[str, str]) -> dict[str, str]:
    """Put a hash of the exact name behind those that still meet; twice, should one mimic that."""
    for _ in range(2):
        safe = names
        names = _apart(safe, lambda name: f"{safe[name]}~{_tag(name)}")  # noqa: B023 - called at once
    return names


def _split(name: str) -> tuple[str, str]:
    """("a", "jpg") of "a.jpg"."""
    stem, _, suffix = name.rpartition(".")
    return (stem, suffix) if stem else (name, "")


def _apart(names: dict[str, str], otherwise: Callable[[str], str]) -> dict[str, str]:
    """The same names, but for those that meet another: these are named otherwise."""
    counts = Counter(_same(safe) for safe in names.values())
    return {
        name: safe if counts[_same(safe)] == 1 else otherwise(name) for name, safe in names.items()
    }


def _same(name: str) -> str:
    """What a file system that ignores case and Unicode form would compare."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _tag(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:8]


def output_name(base: str, variation: int, type_: str) -> str:
    """Relative path of a variation: `<base>_v01.png`."""
    return f"{base}_v{variation:02d}{SUFFIXES[type_]}"


class Tree:
    """The output folder on the local disk. All methods block: call them in a worker thread."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self.refused = False  #: the disk did not take a picture
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

    def clear_temp(self) -> None:
        """Remove what a killed run left half-written. Only while the lock is held."""
        for leftover in (self.root / TEMP_DIR).iterdir():
            if leftover.is_symlink() or not leftover.is_dir():
                leftover.unlink()

    def is_ours(self) -> bool:
        return (self.root / STATE_DIR).is_dir() or (self.root / MANIFEST).is_file()

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

    def write(self, name: str, data: bytes) -> str:
        """Put data under a final name, whole and durable; return its sha256.

        Raises LocalResource, with nothing under the final name, when the disk refuses.
        """
        final = self.path(name)
        temp = self.root / TEMP_DIR / f"{os.getpid()}-{next(self._count)}"
        try:
            self._make_folder(final.parent)
            write_new(temp, data)
            if os.path.lexists(final):
                raise FileExistsError(0, "a file of that name appeared meanwhile")
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
        temp = self.root / TEMP_DIR / f"{os.getpid()}-{path.name}"
        try:
            with temp.open("wb") as opened:
                opened.writelines(parts)
                opened.flush()
                os.fsync(opened.fileno())
            temp.rename(path)
            sync_folder(path.parent)
        finally:
            temp.unlink(missing_ok=True)

    def set_aside(self, name: str) -> None:
        """Move an output out of its name, into the state folder, under a name not yet taken there.

        Raises LocalResource.
        """
        target = self.root / STATE_DIR / "torn"
        free = (target / f"{_tag(name)}-{n}{Path(name).suffix}" for n in itertools.count())
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


def no_write(path: Path, error: OSError) -> LocalResource:
    """The error for a write that this machine refused, with the way out."""
    why = error.strerror or str(error)
    return LocalResource(
        f"cannot write {source_name(str(path))}: {why}. Make room or give permission, then type"
        " the same command again; answers that could not be kept are reported then"
    )


def write_new(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Make a file that is not there yet, durably; no link is followed. Raises OSError.

    In few calls: each is a turn of the GIL.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, mode)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (a rename alone is not)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
