"""Names in the output tree: safe on every system, never two that would meet."""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable

STATE_DIR = ".batch-reimagine"
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
        safe = f"{cut}~{tag_of(name)}"
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
        if is_like_ours(safe):
            by_name[name] = f"{safe}~{tag_of(name)}"
        elif _same(safe) == STATE_DIR:
            by_name[name] = f"_{safe}"
    return _tagged(by_suffix), _tagged(by_name)


def is_like_ours(name: str) -> bool:
    """Whether a folder's name could be taken for a file of ours."""
    return _LIKE_OURS.search(name) is not None


def _tagged(names: dict[str, str]) -> dict[str, str]:
    """Put a hash of the exact name behind those that still meet; twice, should one mimic that."""
    for _ in range(2):
        safe = names
        names = _apart(safe, lambda name: f"{safe[name]}~{tag_of(name)}")  # noqa: B023 - called at once
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


def tag_of(name: str) -> str:
    """What tells a name apart from all that look like it."""
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:8]


def output_name(base: str, variation: int, type_: str) -> str:
    """Relative path of a variation: `<base>_v01.png`."""
    return f"{base}_v{variation:02d}{SUFFIXES[type_]}"
