"""Where an output is: a local folder, or a folder in an object store."""

import hashlib
from pathlib import Path

from batch_reimagine.address import Address, address_of
from batch_reimagine.errors import UsageError
from batch_reimagine.output import Tree
from batch_reimagine.settings import Settings

Place = Path | Address


def place_of(text: str) -> Place:
    """What an argument of the command line names. Raises UsageError for a URL that is none."""
    return address_of(text) or Path(text)


def local_path(text: str, what: str) -> Path:
    """The path that an argument names which takes no address. Raises UsageError for one."""
    if (address := address_of(text)) is not None:
        raise UsageError(
            f"{what}: {address} is in an object store: name a place on this machine, and copy"
            " between the two with your cloud's own tool"
        )
    return Path(text)


def open_tree(place: Place, settings: Settings, writer: str = "") -> Tree:
    """The output at a place; nothing is touched yet. Raises UsageError or AccountRefused.

    writer: as for `Tree`.
    """
    if isinstance(place, Path):
        return Tree(place, writer)
    from batch_reimagine.cloud import open_objects  # noqa: PLC0415 - an extra
    from batch_reimagine.cloud.tree import CloudTree  # noqa: PLC0415

    objects = open_objects(place, settings.store_options)
    return CloudTree(_books_of(place, objects.where, settings), objects, writer)


def books_folder(settings: Settings) -> Path:
    """Below which the books of outputs in stores lie."""
    if settings.books is not None:
        return local_path(settings.books, "books")
    return Path.home() / ".local" / "state" / "batch-reimagine"


def _books_of(address: Address, where: str, settings: Settings) -> Path:
    if settings.books is not None:
        return books_folder(settings)
    tag = hashlib.sha256(where.encode()).hexdigest()[:12]
    return books_folder(settings) / f"{address.bucket}-{tag}"
