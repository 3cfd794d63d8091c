"""A read-only gallery for somebody else to look at: one folder, for a disk or any static host.

All its addresses are relative, and pictures are named by their content. What is in it of the
user: the output's name, the sources' names (relative), the pictures and their ranks. Reasons of
failures, notes, and where anything lay on this machine are not in it. Blocks.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import msgspec
from anyio import to_thread

from batch_reimagine.catalogue import Catalogue, Product, Variation
from batch_reimagine.errors import LocalResource, UsageError
from batch_reimagine.inside import read_inside, write_inside
from batch_reimagine.last_run import Originals
from batch_reimagine.naming import STATE_DIR, SUFFIXES, source_name
from batch_reimagine.output import Tree
from batch_reimagine.picks import Picks
from batch_reimagine.renditions import Renditions, open_renditions
from batch_reimagine.thumbs import MOST_PICTURE_BYTES, Rendition, Thumbs

PAGE = Path(__file__).parent / "gallery_page"
MARK = ".batch-reimagine-gallery"  #: an empty file: this folder is ours to write to
DATA = "data.js"
PICTURES, THUMBS = "pictures", "thumbs"
_AT_ONCE = 4  # products: their thumbnails are made by other processes
_NAME = re.compile(r"[0-9a-f]{32}\.(png|webp|jpg)")
_SUFFIX = {"image/webp": ".webp", "image/jpeg": ".jpg", "image/png": ".png"}
# Within a script, these would end it, or a line of it.
_UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


class _Shown(msgspec.Struct, omit_defaults=True):
    """One picture; with neither file nor rank it could not be made."""

    n: int
    file: str | None = None  #: address, relative to the gallery's page
    thumb: str | None = None
    rank: int = 0  #: 1: picked as main picture


class _Group(msgspec.Struct):
    id: str
    source: str
    name: str
    pictures: list[_Shown]
    original: _Shown


def write_gallery(
    tree: Tree, catalogue: Catalogue, picks: Picks, originals: Originals, target: Path
) -> int:
    """Write it, or bring the one that lies there up to date; the number of products in it.

    The page comes last, so that a gallery that opens is whole; what an interrupted call has
    written is not written again.
    Raises UsageError for a folder that holds other things, and LocalResource.
    """
    root = Path(os.path.realpath(target))
    _refuse_others(root, tree)
    try:
        return anyio.run(_Gallery(tree, catalogue, picks, root).write, originals)
    except OSError as error:
        raise LocalResource(
            f"cannot write {_shown(root)}: {error.strerror or error}. Make room or give"
            " permission, then type the same command again: it writes what is missing"
        ) from None


def to_script(title: str, groups: list[_Group]) -> str:
    """The data as a script that a page loads: pure ASCII where a browser could stumble."""
    json = msgspec.json.encode({"title": title, "products": groups}).decode()
    return f"window.GALLERY = {json.translate(_UNSAFE)};\n"


def _refuse_others(root: Path, tree: Tree) -> None:
    for at in (root, *root.parents):
        if at == tree.root or (at / STATE_DIR).is_dir():
            raise UsageError(
                f"{_shown(root)} lies in {_shown(at)}, where this tool keeps its pictures:"
                " choose another folder for the gallery"
            )
    try:
        if (root / MARK).is_file() or not any(root.iterdir()):
            return
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise UsageError(
            f"{_shown(root)} is a file, not a folder: choose another one for the gallery"
        ) from None
    except OSError as error:
        raise UsageError(f"{_shown(root)} cannot be read: {error.strerror}") from None
    stranger = min(path.name for path in root.iterdir())
    raise UsageError(
        f"{_shown(root)} holds other files ({source_name(stranger)} …) and no gallery:"
        " choose a new folder for it"
    )


class _Gallery:
    """One call of `write_gallery`."""

    def __init__(self, tree: Tree, catalogue: Catalogue, picks: Picks, root: Path) -> None:
        self._tree = tree
        self._catalogue = catalogue
        self._picks = picks
        self._root = root
        self._thumbs = Thumbs(tree)
        self._used: set[str] = set()  # files of it, relative

    async def write(self, originals: Originals) -> int:
        await to_thread.run_sync(self._begin)
        groups: dict[str, _Group] = {}
        products = iter(list(self._catalogue))

        failures: list[OSError] = []  # not raised: a task group would wrap them

        async def work(renditions: Renditions) -> None:
            for product in products:
                if failures:
                    return
                try:
                    groups[product.id] = await self._group(product, renditions)
                except OSError as error:
                    failures.append(error)

        async with (
            open_renditions(self._tree, originals) as renditions,
            anyio.create_task_group() as tasks,
        ):
            for _ in range(_AT_ONCE):
                tasks.start_soon(work, renditions)
        if failures:
            raise failures[0]
        in_order = sorted(groups.values(), key=lambda group: group.source)
        await to_thread.run_sync(self._finish, in_order)
        return len(in_order)

    def _begin(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        self._put(MARK, b"")

    def _finish(self, groups: list[_Group]) -> None:
        self._put(DATA, to_script(self._tree.title or "Gallery", groups).encode())
        for page in sorted(PAGE.iterdir(), key=lambda path: path.suffix == ".html"):
            self._put(page.name, page.read_bytes())
        for name in self._leftovers():
            (self._root / name).unlink()

    def _leftovers(self) -> Iterator[str]:
        """Pictures of ours that this gallery shows no more."""
        for folder in (PICTURES, THUMBS):
            if (self._root / folder).is_symlink():
                continue  # what lies there is not ours
            with suppress(FileNotFoundError):
                for path in list((self._root / folder).iterdir()):
                    name = f"{folder}/{path.name}"
                    if _NAME.fullmatch(path.name) and name not in self._used:
                        yield name

    async def _group(self, product: Product, renditions: Renditions) -> _Group:
        choice = self._picks.of(product.source).choice
        ranks = {number: rank for rank, number in enumerate(choice.picked, 1)}
        shown = []
        for number, variation in sorted(product.variations.items()):
            file = await to_thread.run_sync(self._keep_output, variation)
            thumb = await renditions.thumbnail(product, number) if file else None
            address = await to_thread.run_sync(self._keep, THUMBS, thumb)
            shown.append(_Shown(number, file, address, ranks.get(number, 0) if file else 0))
        view = await to_thread.run_sync(self._keep, PICTURES, await renditions.view(product))
        small = await renditions.thumbnail(product, 0) if view else None
        original = _Shown(0, view, await to_thread.run_sync(self._keep, THUMBS, small))
        name = product.source.rpartition("/")[2]
        return _Group(product.id, product.source, name, shown, original)

    def _keep_output(self, variation: Variation) -> str | None:
        """Its address in the gallery; None if there is no picture."""
        if variation.status != "done" or variation.output is None or variation.type is None:
            return None
        suffix = SUFFIXES.get(variation.type, ".png")
        try:
            content = variation.sha256 or ""
            if not (self._tree.remote and self._tree.size(variation.output) == variation.bytes):
                content = self._thumbs.content(variation.output)
            if address := self._there(PICTURES, content, suffix, variation.bytes):
                return address
            name = self._tree.bring(variation.output)
            data = read_inside(self._tree.root, name, MOST_PICTURE_BYTES)
        except OSError:
            return None  # gone, or no picture of ours
        return self._write(PICTURES, content, suffix, data)

    def _keep(self, folder: str, made: Rendition | None) -> str | None:
        if made is None:
            return None
        suffix, content = _SUFFIX[made.type], hashlib.sha256(made.data).hexdigest()
        there = self._there(folder, content, suffix, len(made.data))
        return there or self._write(folder, content, suffix, made.data)

    def _there(self, folder: str, content: str, suffix: str, size: int | None) -> str | None:
        address = _address(folder, content, suffix)
        path = self._root / address
        if path.is_symlink() or not path.is_file() or path.stat().st_size != size:
            return None
        self._used.add(address)
        return address

    def _write(self, folder: str, content: str, suffix: str, data: bytes) -> str:
        address = _address(folder, content, suffix)
        write_inside(self._root, folder, address.rpartition("/")[2], data)
        self._used.add(address)
        return address

    def _put(self, name: str, data: bytes) -> None:
        """A file of the gallery itself, whole or not at all; a link in its place is replaced."""
        temp = self._root / f"{MARK}-{secrets.token_hex(4)}"
        try:
            with temp.open("xb") as opened:
                opened.write(data)
            temp.rename(self._root / name)
        finally:
            temp.unlink(missing_ok=True)


def _address(folder: str, content: str, suffix: str) -> str:
    return f"{folder}/{content[:32]}{suffix}"


def _shown(path: Path) -> str:
    return source_name(str(path))
