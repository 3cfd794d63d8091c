"""A picture is put under a name that nobody has, whatever becomes of the answers. Blocks."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import PurePosixPath

from batch_reimagine.cloud.objects import Entry, Objects
from batch_reimagine.errors import ServiceGone

_PUTS = 3  # of a name that nobody has: two puts in one moment may refuse each other
_TYPES = {
    ".png": "image/png",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
    ".xmp": "application/rdf+xml",
}


def put_new(objects: Objects, name: str, data: bytes, told: dict[str, str]) -> tuple[Entry, bool]:
    """Put data there, with what is told of it; return what lies there, and whether it is this.

    told: metadata, with "sha256" of the data. Raises as `Objects.put`, and ServiceGone.
    """
    for _ in range(_PUTS):
        with suppress(FileExistsError):
            etag = objects.put(name, data, about=told, content_type=type_of(name), when="new")
            return Entry(name, len(data), datetime.now(UTC), etag), True
        if (there := objects.about(name)) is None:
            continue
        # Asked for again by obstore, the answer to the first try being lost: then it is ours.
        if there[1].get("sha256") == told["sha256"]:
            return Entry(name, len(data), datetime.now(UTC), there[0].etag or ""), True
        return there[0], False
    # Refused again and again, and nothing is there.
    raise ServiceGone(f"{objects.address} refuses to make {name}, and has no such object")


def type_of(name: str) -> str:
    """The MIME type of what has this name."""
    return _TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")
