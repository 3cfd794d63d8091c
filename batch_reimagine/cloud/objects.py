"""One folder in a bucket: get, look, put, list, delete, move; and no error but ours.

A key is any text to a store, yet obstore's listing fails as a whole where one key has an
empty, "." or ".." part or a control character (obstore 0.12, `InvalidPathError`). In S3 the
rest of such a listing is read with botocore; the other clouds' listings end with a UsageError.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from batch_reimagine.address import Address, is_plain
from batch_reimagine.cloud.faults import Broken, Changed, Patience, no_bucket, shown, told
from batch_reimagine.cloud.listing import Found, found_of, listed
from batch_reimagine.errors import Rejected, UsageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["Changed", "Entry", "Objects", "is_plain"]

MOST_BYTES = 2_000_000_000  #: of one object; as of a local photo
MOST_ABOUT_BYTES = 2000  #: of all names and values of an object's metadata. S3's limit is 2 KB

_PLAIN_TYPE = "application/octet-stream"  # what stores take an object for that has no type

#: What obstore calls by a header's name; all else that it gives back is metadata.
_HEADERS = {
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "storage-class",
}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One object as a listing or an answer tells it."""

    name: str  #: relative to the Objects' address
    size: int  #: bytes
    modified: datetime  #: UTC, by the store's clock; S3 gives whole seconds
    #: What `put(when=…)` takes. S3 makes it of the content alone: the same bytes written again
    #: look as if nothing had been written.
    etag: str | None


class Objects:
    """One folder in a bucket. Every method blocks; several threads may call at once.

    Where nothing else is said, a method raises AccountRefused (credentials refused or missing,
    no permission), UsageError (no such bucket; a name that is not plain, see `is_plain`) or
    ServiceGone (cannot be reached, or fails after bounded retries).
    """

    def __init__(self, store: "ObjectStore", address: Address) -> None:
        self.address = address
        self.store: Any = store
        self._base = f"{address.prefix}/" if address.prefix else ""
        self._endpoint: str | None = (getattr(store, "config", None) or {}).get("endpoint")

    @property
    def where(self) -> str:
        """The address and whose it is: one bucket's name may be used at several servers."""
        config = getattr(self.store, "config", None) or {}
        owner = self._endpoint or config.get("account_name") or ""
        return f"{self.address} {owner}".strip()

    def get(self, name: str, *, most_bytes: int = MOST_BYTES) -> tuple[bytes, Entry]:
        """One object's bytes, and what it was when they were read.

        Raises FileNotFoundError, or Rejected if it is larger than most_bytes.
        """
        key = self._key(name)
        with told(self.address, name, self._endpoint):
            answer = self.store.get(key)
            entry = self._entry(found_of(answer.meta))
            if entry.size > most_bytes:
                raise Rejected("TOO_LARGE", f"a file of {entry.size:,} bytes")
            data = answer.bytes().to_bytes()
        return data, entry

    def about(self, name: str) -> tuple[Entry, dict[str, str]] | None:
        """One object's entry and metadata (names in lower case); None: there is none.

        Without its body an answer cannot tell a missing bucket from a missing object.
        """
        key = self._key(name)
        try:
            with told(self.address, name, self._endpoint):
                answer = self.store.get(key, options={"head": True})
                kept = {
                    str(word).lower(): str(value)
                    for word, value in answer.attributes.items()
                    if str(word).lower() not in _HEADERS
                }
                return self._entry(found_of(answer.meta)), kept
        except FileNotFoundError:
            return None

    def put(
        self,
        name: str,
        data: bytes,
        *,
        about: Mapping[str, str] | None = None,
        content_type: str = _PLAIN_TYPE,
        when: Literal["always", "new"] | str = "always",  # noqa: PYI051
    ) -> str:
        """Write one object, whole or not at all; returns its etag ("" where the store has none).

        about: metadata; names of [a-z][a-z0-9]* (Azure takes no others), printable ASCII values,
        MOST_ABOUT_BYTES in all. ValueError if not.
        when: "new": only if there is none (else FileExistsError); an etag: only over that
        version (else Changed). An answer that was lost is asked for again, so that either may
        be met by our own first try: look what is there.
        """
        key = self._key(name)
        check_about(about or {})
        attributes = dict(about or {})
        if content_type != _PLAIN_TYPE:
            attributes["Content-Type"] = content_type

        def send() -> str:
            mode: Any = "overwrite"
            if when == "new":
                mode = "create"
            elif when != "always":
                mode = self._version(key, name, when)
            result = self.store.put(
                key,
                data,
                attributes=attributes or None,
                mode=mode,
                use_multipart=False,  # one request, so that there is never half an object
            )
            return result["e_tag"] or ""

        try:
            return self._surely(name, send)
        except FileNotFoundError:
            raise no_bucket(self.address, self._endpoint) from None

    def delete(self, name: str) -> None:
        """Remove one object; that there was none is no error."""
        key = self._key(name)
        try:
            self._surely(name, lambda: self.store.delete(key))
        except FileNotFoundError:
            return

    def move(self, name: str, to: str) -> None:
        """Give an object another name: a copy by the store, then a removal.

        Metadata goes with it. Both are there if it is broken off between the two.
        Raises FileNotFoundError.
        """
        key, new = self._key(name), self._key(to)
        with told(self.address, name, self._endpoint):
            self.store.rename(key, new)

    def pages(self, prefix: str = "", after: str = "") -> Iterator[list[Entry]]:
        """List the names that begin with `prefix` and follow `after`, in order of their UTF-8.

        prefix: any text, also the beginning of a name. after: the first name given is greater.
        Pages hold 1 to 1,000 entries; one is asked for when it is wanted, none ahead.
        S3 lists awkward keys too (see `is_plain`); only the slash at the end of a key may be
        missing from its name, which is a folder's mark of 0 bytes as a rule.
        Azure knows no place to begin at: what stands before `after` is asked for and dropped.
        """
        wanted = self._base + prefix
        floor = self._base + after if after else ""
        for page in listed(self.store, self.address, wanted, floor, self._endpoint):
            if found := [self._entry(key) for key in page if len(key[0]) > len(self._base)]:
                yield found

    def _surely(self, name: str, send: Callable[[], T]) -> T:
        """Ask, and again where the connection broke. Only for what may be asked twice."""
        patience = Patience()
        while True:
            try:
                with told(self.address, name, self._endpoint):
                    return send()
            except Broken as error:
                patience.wait(error)

    def _version(self, key: str, name: str, etag: str) -> dict[str, str]:
        if self.address.scheme != "gs":
            return {"e_tag": etag}
        # GCS conditions a write on an object's generation, which no listing tells.
        try:
            meta = self.store.head(key)
        except FileNotFoundError:
            meta = {"e_tag": None}
        if meta["e_tag"] != etag:
            raise Changed(f"{self.address}/{shown(name)} has been written by another")
        return {"e_tag": etag, "version": meta["version"]}

    def _key(self, name: str) -> str:
        if not is_plain(name):
            raise UsageError(
                f'{self.address}: "{shown(name)}" has an empty, "." or ".." part or a control'
                " character: rename it"
            )
        return self._base + name

    def _entry(self, found: Found) -> Entry:
        key, size, modified, etag = found
        return Entry(key[len(self._base) :], size, modified, etag)


def check_about(about: Mapping[str, str]) -> None:
    """Raise ValueError for metadata that not every store keeps as it is."""
    for word, value in about.items():
        if not (word.isascii() and word.isalnum() and word.islower() and word[0].isalpha()):
            raise ValueError(f"{word!r}: a name of metadata is small letters and digits")
        if value != value.strip() or not (value.isascii() and value.isprintable()):
            raise ValueError(f"the metadata {word} is not printable ASCII without outer spaces")
    if sum(len(word) + len(value) for word, value in about.items()) > MOST_ABOUT_BYTES:
        raise ValueError(f"metadata of more than {MOST_ABOUT_BYTES} bytes")
