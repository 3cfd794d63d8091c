"""Where a folder in an object store is: `s3://bucket/a/b`, taken apart and put together."""

import re
from dataclasses import dataclass
from typing import Literal

from batch_reimagine.errors import UsageError

Scheme = Literal["s3", "gs", "az"]

FORMS = "s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, az://CONTAINER/FOLDER"

_STORES: dict[str, Scheme] = {"s3": "s3", "gs": "gs", "az": "az"}
#: What other tools call the same stores; told apart so that the message can name ours.
_OTHERS: dict[str, Scheme] = {
    "s3a": "s3",
    "s3n": "s3",
    "gcs": "gs",
    "azure": "az",
    "abfs": "az",
    "abfss": "az",
    "wasb": "az",
    "wasbs": "az",
    "adl": "az",
}
_SHAPE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
#: The widest of the three: old S3 buckets may hold capitals and underscores, GCS names up to
#: 222 characters with dots. Source: each cloud's naming rules.
_BUCKET = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]{0,221}")
_SHOWN = 200  # characters of what was given that a message repeats


@dataclass(frozen=True, slots=True)
class Address:
    """A folder in a bucket (Azure: in a container)."""

    scheme: Scheme
    bucket: str
    prefix: str = ""  #: "" or "a/b": no slash at either end, no empty, "." or ".." part

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    def child(self, name: str) -> "Address":
        """The folder `name` ("c" or "c/d") below this one. Raises UsageError for ".." and kin."""
        inner = _prefix(name, f"{self}/{name}")
        return Address(self.scheme, self.bucket, "/".join(filter(None, (self.prefix, inner))))


def address_of(text: str) -> Address | None:
    """What an argument of the command line names; None: no URL, so a local path.

    The folder is taken as it is written: "%20" is three characters, as in the clouds' own
    tools. One slash at the end is allowed.
    Raises UsageError for another scheme, no bucket, a user, a port, a query, a fragment,
    control characters, and folders with an empty, "." or ".." part.
    """
    shape = _SHAPE.fullmatch(text)
    if not shape:
        return None
    scheme, rest = shape[1].lower(), shape[2]
    if scheme not in _STORES:
        if scheme in _OTHERS:
            raise UsageError(f"{scheme}:// is written {_OTHERS[scheme]}:// here: use {FORMS}")
        raise UsageError(
            f"{scheme}:// is no object store that can be used: give a local folder, or {FORMS}"
            " (a server of your own: --store-option endpoint=URL)"
        )
    bucket, _, folder = rest.partition("/")
    if "@" in bucket:
        # Not repeated: what stands before an @ may be a password.
        raise UsageError(
            f"{scheme}://…@… names a user or key: give credentials in the environment or in a"
            f" profile, and only {FORMS}"
        )
    shown = _shown(text)
    if not bucket:
        raise UsageError(f"{shown} names no bucket: use {FORMS}")
    if not _BUCKET.fullmatch(bucket):
        raise UsageError(f"{shown}: {_shown(bucket)} cannot be a bucket's name: use {FORMS}")
    if any(mark in folder for mark in "?#"):
        raise UsageError(f"{_shown(text)} has a query or fragment (? or #): use {FORMS}")
    return Address(_STORES[scheme], bucket, _prefix(folder, text))


def is_plain(name: str) -> bool:
    """Whether a key can be used as it is: every part a name, no control character.

    A key in a store is any text; one with an empty, "." or ".." part (so also one that begins
    or ends with a slash) means something else to a file system or to a URL.
    """
    return all(part not in {"", ".", ".."} for part in name.split("/")) and not any(
        ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 or 0xD800 <= ord(letter) < 0xE000  # noqa: PLR2004
        for letter in name
    )


def _prefix(folder: str, text: str) -> str:
    folder = folder.removesuffix("/")
    if folder and (not is_plain(folder) or "\\" in folder):
        raise UsageError(
            f'{_shown(text)}: a folder may have no empty, "." or ".." part,'
            " no backslash and no control character"
        )
    return folder


def _shown(text: str) -> str:
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return "".join(letter if letter.isprintable() else "�" for letter in text)
