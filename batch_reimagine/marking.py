"""Where the AI mark of a picture goes: into the file, or, if that must stay untouched, beside it.

Blocks on the disk: call it in a worker thread.
"""

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import PurePosixPath

from batch_reimagine.mark import Mark, embed, is_marked, reads_marked, sidecar
from batch_reimagine.output import Tree, no_write, sync_folder
from batch_reimagine.version import VERSION
from batch_reimagine.work import How, Kept

_MOST_SIDECAR_BYTES = 10_000_000


def mark_of(system: str | None) -> Mark:
    """The mark for pictures made by this system ("Novita AI Reimagine"); None: not known."""
    return Mark(creator_tool=f"batch_reimagine {VERSION}", system=system)


def keep(tree: Tree, name: str, data: bytes, mark: Mark | None) -> Kept:
    """Write a picture under its final name, marked; durable when it returns.

    Content Credentials (C2PA) are a signature over the file: such a picture stays
    as it came, and so does one whose own XMP cannot be added to.
    mark: None writes what came. Raises LocalResource.
    """
    marked = _embedded(data, mark) if mark else data
    sha256 = tree.write(name, marked or data)
    if mark is None:
        return Kept(sha256, len(data), how_marked(tree, name, data))
    if marked is None:
        return Kept(sha256, len(data), _put_beside(tree, name, mark))
    return Kept(sha256, len(marked), "xmp")


def recovered(tree: Tree, name: str, data: bytes, mark: Mark | None) -> Kept:
    """What `keep` would have told of a picture whose run died before it could."""
    how = how_marked(tree, name, data)
    if mark is not None and how is None and _embedded(data, mark) is None:
        how = _put_beside(tree, name, mark)
    return Kept(hashlib.sha256(data).hexdigest(), len(data), how)


def copy(tree: Tree, source: str, name: str, data: bytes) -> Kept:
    """Write a picture that lies under another name already, with what lies beside that."""
    how = how_marked(tree, source, data)
    sha256 = tree.write(name, data)
    if how == "sidecar":
        _replace(tree, sidecar_name(name), tree.path(sidecar_name(source)).read_bytes())
    return Kept(sha256, len(data), how)


def mark_again(tree: Tree, name: str, data: bytes, mark: Mark) -> Kept:
    """Mark a picture that lies under its name already. Raises LocalResource."""
    marked = _embedded(data, mark)
    if marked is None:
        sha256 = hashlib.sha256(data).hexdigest()
        return Kept(sha256, len(data), _put_beside(tree, name, mark))
    _replace(tree, name, marked)
    return Kept(hashlib.sha256(marked).hexdigest(), len(marked), "xmp")


def how_marked(tree: Tree, name: str, data: bytes) -> How | None:
    """Where the mark of a picture is, if it has one."""
    with suppress(ValueError):  # XMP that cannot be read says nothing
        if is_marked(data):
            return "xmp"
    with suppress(OSError, ValueError):
        if (beside := _beside(tree, name)) is not None:
            return "sidecar" if reads_marked(beside) else None
    return None


def _put_beside(tree: Tree, name: str, mark: Mark) -> How | None:
    """Make the .xmp file of a picture, or add to it; None if what lies there is not to be touched.

    Raises LocalResource.
    """
    try:
        merged = sidecar(mark, _beside(tree, name))
    except (OSError, ValueError):
        return None
    _replace(tree, sidecar_name(name), merged)
    return "sidecar"


def _beside(tree: Tree, name: str) -> bytes | None:
    """What the .xmp file of a picture says; None: there is none. Raises ValueError or OSError."""
    path = tree.path(sidecar_name(name))
    if not os.path.lexists(path):
        return None
    if not tree.holds(sidecar_name(name)) or path.stat().st_size > _MOST_SIDECAR_BYTES:
        raise ValueError("no file of metadata")
    return path.read_bytes()


def sidecar_name(name: str) -> str:
    """`a_v01.xmp` for `a_v01.png`, where Adobe's programs look for it."""
    return PurePosixPath(name).with_suffix(".xmp").as_posix()


def _replace(tree: Tree, name: str, data: bytes) -> None:
    """Put new content under a name in one step; a file that was there keeps its permissions."""
    path = tree.path(name)
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


def _embedded(data: bytes, mark: Mark) -> bytes | None:
    """The picture with its mark; None if it must stay as it is."""
    try:
        return embed(data, mark)
    except ValueError:
        return None
