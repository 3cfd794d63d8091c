"""Folders in object stores. The only room that knows obstore and boto3 (the extra `cloud`)."""

from collections.abc import Mapping

from batch_reimagine.address import Address, address_of
from batch_reimagine.cloud.objects import Entry, Objects
from batch_reimagine.cloud.opening import open_store

__all__ = ["Entry", "Objects", "open_objects"]


def open_objects(address: Address | str, options: Mapping[str, str]) -> Objects:
    """A folder in a store; nothing is asked of it yet. Raises UsageError or AccountRefused.

    options: as `--store-option` gives them.
    """
    where = address if isinstance(address, Address) else address_of(address)
    assert where is not None  # noqa: S101 - an Address in words
    return Objects(open_store(where, options), where)
