"""Look for the AI mark in a folder of pictures, and put it back where other tools took it off.

Blocks on the disk.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from batch_reimagine import manifest, marking
from batch_reimagine.errors import UsageError
from batch_reimagine.ledger import new_run_id
from batch_reimagine.lock import Lock
from batch_reimagine.log import Log, open_log, repair_tail
from batch_reimagine.marking import mark_of
from batch_reimagine.naming import STATE_DIR
from batch_reimagine.output import MANIFEST, Tree
from batch_reimagine.proof import IncompleteError, prove
from batch_reimagine.provider import system_of
from batch_reimagine.tally import rows_that_count
from batch_reimagine.work import Kept, Picture, Record, utc_now

_SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".webp"}


@dataclass(slots=True)
class Marks:
    """What was found; names are relative to the output, or else to the folder."""

    marked: int = 0
    mended: list[str] = field(default_factory=list)
    unmarked: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)  #: no whole pictures: left alone


def check(folder: Path) -> Marks:
    """Tell which pictures below a folder carry the mark. Raises UsageError."""
    found = Marks()
    for tree, name, _ in _pictures(folder):
        if _unmarked(tree, name, found) is not None:
            found.unmarked.append(name)
    return found


def apply(folder: Path, *, any_folder: bool = False) -> Marks:
    """Mark the pictures below a folder that are not marked; their pixels stay as they are.

    In an output of this tool only the pictures that its manifest names, and their rows
    are written anew. any_folder: mark every picture of a folder that is no output.
    Raises UsageError, OutputBusy or LocalResource.
    """
    root = _root_of(folder)
    if root is None and not any_folder:
        raise UsageError(
            f"{folder} is no output of this tool: every PNG, JPEG and WebP below it would be"
            " declared as made by AI, real photos too. Add --yes if that is right"
        )
    found, run = Marks(), new_run_id()
    with _writing(root) as log:
        for tree, name, row in _pictures(folder):
            if (data := _unmarked(tree, name, found)) is not None:
                mark = mark_of(system_of(row.provider) if row else None)
                kept = marking.mark_again(tree, name, data, mark)
                if kept.mark is None:
                    found.unmarked.append(name)
                    continue
                if log is not None and row is not None:
                    log.write_now([manifest.encode(_anew(row, run, kept, prove(data)))])
                found.mended.append(name)
    return found


def _anew(row: Record, run: str, kept: Kept, picture: Picture) -> Record:
    return msgspec.structs.replace(
        row,
        run=run,
        time=utc_now(),
        output_sha256=kept.sha256,
        bytes=kept.size,
        width=picture.width,
        height=picture.height,
        type=picture.type,
        mark=kept.mark,
        message="marked again after its mark was gone",
    )


def _unmarked(tree: Tree, name: str, found: Marks) -> bytes | None:
    """The bytes of a picture that has no mark; one that has, or is damaged, is counted."""
    try:
        data = tree.path(name).read_bytes()
        prove(data)
    except (IncompleteError, OSError):
        found.damaged.append(name)
        return None
    if marking.how_marked(tree, name, data) is None:
        return data
    found.marked += 1
    return None


def _root_of(folder: Path) -> Path | None:
    """The output that a folder is, or lies in."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder")
    real = folder.resolve()
    return next((at for at in (real, *real.parents) if Tree(at).is_ours()), None)


def _pictures(folder: Path) -> Iterator[tuple[Tree, str, Record | None]]:
    """Every picture below a folder: its tree, its name in it, and its row if it has one."""
    root = _root_of(folder)
    if root is None:
        tree = Tree(folder)
        for path in sorted(tree.root.rglob("*")):
            name = path.relative_to(tree.root).as_posix()
            hidden = any(part.startswith(".") for part in name.split("/"))
            if path.suffix.lower() in _SUFFIXES and not hidden and tree.holds(name):
                yield tree, name, None
        return
    tree, below = Tree(root), folder.resolve()
    for row in rows_that_count(tree, []):
        if row.status != "done" or not row.output or not tree.holds(row.output):
            continue
        if tree.path(row.output).is_relative_to(below):
            yield tree, row.output, row


@contextmanager
def _writing(root: Path | None) -> Iterator[Log | None]:
    """The manifest of an output, opened under its lock."""
    if root is None:
        yield None
        return
    tree = Tree(root)
    tree.prepare(force=True)
    lock = Lock(tree.root / STATE_DIR)
    lock.take()
    try:
        if (tree.root / MANIFEST).exists():
            repair_tail(tree.root / MANIFEST)
        log = open_log(tree.root / MANIFEST)
        try:
            yield log
        finally:
            log.close()
    finally:
        lock.release()
