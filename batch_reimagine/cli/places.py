"""The flags by which every command that reads an output finds one in an object store."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from batch_reimagine.loading import ENV_PREFIX, load
from batch_reimagine.output import Tree
from batch_reimagine.places import open_tree, place_of
from batch_reimagine.settings import Settings, describe
from batch_reimagine.tally import require_output

Output = Annotated[
    str, Parameter(help="The output of a run: a folder, or its address in an object store.")
]
StoreOption = Annotated[
    tuple[str, ...],
    Parameter(
        name="--store-option", negative="", show_default=False, help=describe("store_option")
    ),
]
Books = Annotated[str | None, Parameter(help=describe("books"))]
_NAMES = ("store_option", "books")


def store_settings(store_option: tuple[str, ...], books: str | None) -> Settings:
    """How a store is reached: flag > environment > default. Raises UsageError.

    No other setting of the environment is looked at: it may be meant for runs.
    """
    given = dict(zip(_NAMES, (store_option or None, books), strict=True))
    variables = {f"{ENV_PREFIX}{name.upper()}" for name in _NAMES}
    environment = {name: text for name, text in os.environ.items() if name in variables}
    return load({name: value for name, value in given.items() if value is not None}, environment)


def open_output(output: str, store_option: tuple[str, ...] = (), books: str | None = None) -> Tree:
    """The output, with its books up to date.

    Raises OutputMismatch if there is none of ours; of a store also UsageError, AccountRefused,
    ServiceGone and LocalResource.
    """
    place = place_of(output)
    if isinstance(place, Path):
        return require_output(place)
    tree = open_tree(place, store_settings(store_option, books))
    tree.look()
    return tree
