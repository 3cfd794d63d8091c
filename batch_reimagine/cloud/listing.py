"""A bucket's keys in order, a page at a time, also past what obstore cannot read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from batch_reimagine.address import Address, is_plain
from batch_reimagine.cloud.faults import Broken, Patience, Unreadable, shown, told
from batch_reimagine.errors import UsageError

PAGE = 1000  # keys; what S3 gives for one request

#: Follows every name that begins with what stands before it, and can stand in XML.
_LAST = "\U0010fffd"

Rank = Callable[[str], Any]
_RANKS: dict[str, Rank] = {"az": lambda key: key.encode("utf-16-be", "surrogatepass")}

Found = tuple[str, int, datetime, str | None]  #: key, bytes, modified (UTC), etag


def listed(
    store: Any, address: Address, wanted: str, floor: str, endpoint: str | None
) -> Iterator[list[Found]]:
    """Pages of the keys that begin with `wanted` and follow `floor`, in order of their UTF-8.

    Azure: of their UTF-16, as azurite sorts; the two differ for letters above U+FFFF only.
    Raises AccountRefused, UsageError or ServiceGone. A broken answer is asked for again.
    """
    rank = _RANKS.get(address.scheme, str)
    last = max(before(wanted), floor, key=rank)
    folder = wanted.rpartition("/")[0]
    patience = Patience()
    while _usable(folder) and _usable(last):
        try:
            with told(address, "", endpoint):
                for chunk in store.list(folder or None, offset=last or None, chunk_size=PAGE):
                    patience = Patience()
                    page, last = _in_order(chunk, last, address, rank)
                    if found := [key for key in page if key[0].startswith(wanted)]:
                        yield found
                    if rank(last) > rank(wanted) and not last.startswith(wanted):
                        return
        except Unreadable:
            if address.scheme != "s3":
                raise
            break
        except Broken as error:
            patience.wait(error)
        else:
            return
    if address.scheme != "s3":
        raise UsageError(f"{address}: {shown(last)} is no place to begin a listing at")
    from batch_reimagine.cloud.aws import keys_after  # noqa: PLC0415 not of every store

    yield from keys_after(store, address, wanted, last, endpoint)


def _in_order(
    chunk: Sequence[Mapping[str, Any]], last: str, address: Address, rank: Rank
) -> tuple[list[Found], str]:
    """The keys of a chunk, and the last of them. last: of the chunk before."""
    found: list[Found] = []
    for meta in chunk:
        key = meta["path"]
        if rank(key) <= rank(last):
            key += "/"  # obstore drops it, and what stands in the wrong place must have had it
        if rank(key) <= rank(last):
            raise UsageError(
                f"{address}: this store lists its keys out of order, so that nothing can be known"
                " from a part of the list (a directory bucket?): use another bucket"
            )
        last = key
        found.append((key, *found_of(meta)[1:]))
    return found, last


def found_of(meta: Mapping[str, Any]) -> Found:
    """What obstore tells of an object, as far as it is used here."""
    return meta["path"], meta["size"], meta["last_modified"].astimezone(UTC), meta["e_tag"]


def before(wanted: str) -> str:
    """A text just before every name that begins with `wanted`; "" where none is needed.

    A listing begins strictly after a name, and the name may be `wanted` itself: so the text
    is the neighbour of the last letter, followed by what no name goes on with.
    """
    if not wanted or wanted.endswith("/"):
        return ""  # a whole folder: asked for as such
    start, letter = wanted[:-1], ord(wanted[-1]) - 1
    if letter < 0x20:  # noqa: PLR2004
        return start.rstrip("/")
    if letter == ord("/"):
        letter = ord(".")  # no empty part may stand in a path
    if 0x7F <= letter < 0xA0:  # noqa: PLR2004
        letter = ord("~")
    if 0xD800 <= letter < 0xE000:  # noqa: PLR2004
        letter = 0xD7FF
    return f"{start}{chr(letter)}{_LAST}"


def _usable(path: str) -> bool:
    return not path or is_plain(path)
