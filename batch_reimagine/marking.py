"""Where the AI mark of a picture goes: into the file, or, if that must stay untouched, beside it.

Blocks on the disk: call it in a worker thread.
"""

import hashlib
from contextlib import suppress
from pathlib import PurePosixPath

from msgspec import structs

from batch_reimagine.mark import Mark, embed, is_marked, reads_marked, sidecar
from batch_reimagine.output import Tree
from batch_reimagine.version import VERSION
from batch_reimagine.work import How, Kept, Record

_MOST_SIDECAR_BYTES = 10_000_000


def mark_of(system: str | None) -> Mark:
    """The mark for pictures made by this system ("Novita AI Reimagine"); None: not known."""
    return Mark(creator_tool=f"batch_reimagine {VERSION}", system=system)


def keep(
    tree: Tree, name: str, data: bytes, mark: Mark | None, about: Record | None = None
) -> Kept:
    """Write a picture under its final name, marked; durable when it returns.

    about: its row as far as it is known, for a store that keeps it with the picture.

    Content Credentials (C2PA) are a signature over the file: such a picture stays
    as it came, and so does one whose own XMP cannot be added to.
    mark: None writes what came. Raises LocalResource.
    """
    marked = _embedded(data, mark) if mark else data
    if about is not None and mark is not None and marked is not None:
        about = structs.replace(about, mark="xmp")
    sha256 = tree.write(name, marked or data, about)
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
        tree.rewrite(sidecar_name(name), tree.read(sidecar_name(source)))
    return Kept(sha256, len(data), how)


def mark_again(tree: Tree, name: str, data: bytes, mark: Mark) -> Kept:
    """Mark a picture that lies under its name already. Raises LocalResource."""
    marked = _embedded(data, mark)
    if marked is None:
        sha256 = hashlib.sha256(data).hexdigest()
        return Kept(sha256, len(data), _put_beside(tree, name, mark))
    tree.rewrite(name, marked)
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
    tree.rewrite(sidecar_name(name), merged)
    return "sidecar"


def _beside(tree: Tree, name: str) -> bytes | None:
    """What the .xmp file of a picture says; None: there is none. Raises ValueError or OSError."""
    beside = sidecar_name(name)
    if not tree.exists(beside):
        return None
    if not tree.holds(beside) or tree.size(beside) > _MOST_SIDECAR_BYTES:
        raise ValueError("no file of metadata")
    return tree.read(beside)


def sidecar_name(name: str) -> str:
    """`a_v01.xmp` for `a_v01.png`, where Adobe's programs look for it."""
    return PurePosixPath(name).with_suffix(".xmp").as_posix()


def _embedded(data: bytes, mark: Mark) -> bytes | None:
    """The picture with its mark; None if it must stay as it is."""
    try:
        return embed(data, mark)
    except ValueError:
        return None
