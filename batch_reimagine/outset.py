"""What is looked at before a run begins: inputs, output, key and room. All block."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from batch_reimagine.address import Address
from batch_reimagine.errors import AccountRefused, LocalResource, UsageError
from batch_reimagine.inputs import Filters, StoreRoot
from batch_reimagine.ledger import Ledger
from batch_reimagine.output import Tree
from batch_reimagine.places import Place, books_folder, open_tree
from batch_reimagine.provider import most_pictures, provider_of
from batch_reimagine.reading import Looks
from batch_reimagine.secret import Secret
from batch_reimagine.settings import Settings
from batch_reimagine.walk import OF_ANOTHER_SHARD, UNREADABLE_FOLDER, Walk
from batch_reimagine.work import Found, Photo, Skip

if TYPE_CHECKING:
    from batch_reimagine.store_walk import StoreWalk


PICTURE_BYTES = 3_000_000  # a PNG of 1024 x 1024 with noise in every pixel


def check(inputs: Sequence[Place], output: Place, settings: Settings, secret: Secret) -> None:
    """Refuse what cannot be done before the output is made or touched. Blocks."""
    provider_of(settings)
    walk = walk_of(inputs, output, settings, None)
    if open_tree(output, settings).is_ours():
        return
    if not any(isinstance(found, Photo) for batch in walk for found in batch):
        refuse_empty(inputs, Counter(found.reason for batch in walk for found in _skips(batch)))
    require_key(settings, secret)


def _skips(batch: Sequence[Found]) -> list[Skip]:
    return [found for found in batch if isinstance(found, Skip)]


def require_key(settings: Settings, secret: Secret) -> None:
    """Raise AccountRefused if there is none, and the provider wants one."""
    provider = provider_of(settings)
    if not secret and provider.key_needed:
        raise AccountRefused(
            f"there is no key: put it into the environment variable {provider.key_variable}, or"
            f" keep it once: batch-reimagine auth set {provider.name}"
            " (--provider simulator tries things out without one)"
        )


def require_room(tree: Tree, settings: Settings) -> None:
    """Raise LocalResource if the disk has no room for what one call brings: it would be paid."""
    if tree.remote:
        return
    needed = PICTURE_BYTES * most_pictures(provider_of(settings), settings)
    found = os.statvfs(tree.root)
    if (free := found.f_bavail * found.f_frsize) < needed:
        raise LocalResource(
            f"cannot write below {tree.root}: {free / 1e6:.1f} MB are free, and one call may bring"
            f" {needed / 1e6:.0f} MB. Nothing was sent; make room, and the same command goes on"
        )


def refuse_empty(inputs: Sequence[Place], skipped: Mapping[str, int]) -> None:
    """Raise for inputs without a single photo: LocalResource if some could not be looked at."""
    if OF_ANOTHER_SHARD in skipped:
        return  # of a small folder a shard may well have none
    seen = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
    where = ", ".join(str(path) for path in inputs)
    why = f"no photos in {where}: " + (f"passed over {seen}" if seen else "nothing is there")
    if any(reason.startswith(UNREADABLE_FOLDER) for reason in skipped):
        raise LocalResource(f"{why}. Give permission to read it")
    raise UsageError(why)


def walk_of(
    inputs: Sequence[Place], output: Place, settings: Settings, ledger: Ledger | None
) -> Walk:
    """The pass over all inputs; it skips what the ledger knows to be done. Raises UsageError."""
    filters = Filters.of(settings.include, settings.exclude)
    shard = settings.shard_of
    mine = shard.has if shard else None

    def here(looks: Looks, source: str) -> int | None:
        asked = ledger is not None and (mine is None or mine(source))
        return ledger.known.here_as(looks, source) if ledger and asked else None

    def in_store(root: StoreRoot, filters: Filters) -> "StoreWalk":
        from batch_reimagine.cloud import open_objects  # noqa: PLC0415 - an extra
        from batch_reimagine.store_walk import StoreWalk  # noqa: PLC0415

        return StoreWalk(
            root,
            open_objects(root.address, settings.store_options),
            output if isinstance(output, Address) else None,
            filters=filters,
            here=here,
            known_base=ledger.index.base_of if ledger else lambda _: None,
        )

    local = output if isinstance(output, Path) else books_folder(settings)
    if ledger is None:
        return Walk(inputs, local, filters, limit=settings.limit, stores=in_store, mine=mine)
    return Walk(
        inputs,
        local,
        filters,
        limit=settings.limit,
        here=ledger.known.here,
        known_base=ledger.index.base_of,
        stores=in_store,
        mine=mine,
    )
