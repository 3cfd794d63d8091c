"""An output in an object store: pictures there, books in a local folder. Blocks.

The local folder is an ordinary output without pictures, and is repaired, locked and compacted
like any other. A picture is put whole or not at all, and carries its row in its metadata: a row
that is lost is found again instead of bought again.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from msgspec import structs

from batch_reimagine.cloud.books_here import alone, claim
from batch_reimagine.cloud.copies import Copies
from batch_reimagine.cloud.heart import Heart
from batch_reimagine.cloud.lease import Lease, live
from batch_reimagine.cloud.names import Names
from batch_reimagine.cloud.objects import Entry, Objects, is_plain
from batch_reimagine.cloud.parts import Parts
from batch_reimagine.cloud.putting import put_new, type_of
from batch_reimagine.cloud.rows import packed, unpacked
from batch_reimagine.cloud.unsent import Unsent
from batch_reimagine.cloud.waiting import Until, Waiting
from batch_reimagine.errors import (
    AccountRefused,
    LocalResource,
    OutputMismatch,
    ReimagineError,
    RunError,
)
from batch_reimagine.naming import STATE_DIR, SUFFIXES, output_name
from batch_reimagine.output import TEMP_DIR, NameTaken, Tree
from batch_reimagine.work import Record

MARKER = f"{STATE_DIR}/output.json"  #: tells that an output of ours is here
_NAMES_S = 15.0  # after which readers list anew
_PULLING = "pulling"
_NUMBERED = re.compile(r".+_v([0-9]{2,6})\.(?:png|webp|jpg)", re.DOTALL)
_OUTPUT = re.compile(r"(.+)_v[0-9]+\.[a-z]+", re.DOTALL)


class CloudTree(Tree):
    """The same verbs over a store. Safe from several threads.

    books: the local folder.
    """

    remote = True
    life_s = 60.0  #: of its lease, without a renewal

    def __init__(self, books: Path, objects: Objects, writer: str = "") -> None:
        super().__init__(books, writer)
        self.objects = Waiting(objects)
        objects = self.objects
        self.place = objects.address
        self._names = Names(objects)
        self._names_since = time.monotonic()
        self._lease: Lease | None = None
        self._heart: Heart | None = None
        self.parts = Parts(objects, self.root, writer)
        self._copies = Copies(objects, self.root)
        self._unsent = Unsent(self.root / STATE_DIR / "unsent")

    def prepare(self, *, force: bool) -> None:
        """Make the books, and the marker in the store; refuse a folder there that is not ours."""
        if self.objects.about(MARKER) is None:
            strangers = next(self.objects.pages(), [])
            # Another shard may just have begun: what it has put is no stranger's.
            if strangers and not force and self.objects.about(MARKER) is None:
                raise OutputMismatch(
                    f"{self.place} holds other objects ({strangers[0].name} …) and is no output"
                    " of this tool: choose a new folder, or add --yes to use this one all the same"
                )
            with suppress(FileExistsError):
                self.objects.put(MARKER, b'{"v":1}\n', when="new")
        self._prepare_books()

    def _prepare_books(self) -> None:
        """Make the local folder, or refuse one whose books are of another output."""
        super().prepare(force=True)
        claim(self.root / STATE_DIR, self.objects.where)

    def begin(self, run: str, rows: Path) -> list[str]:
        """Take the lease, send what waits, take in what other machines have written.

        rows: the manifest file of this run. Returns notes for people. Raises RunError.
        """
        name = f"lease-{self.writer}" if self.writer else "lease"
        who = f"run {run}, {self.parts.holder}"
        self._lease = Lease(self.objects, name, who, self.parts.token, self.life_s)
        notes = self._lease.take()
        self._heart = Heart(self._lease, self.life_s)
        try:
            self.parts.settle(rows)
            notes += self._unsent.send(self._put)
            self._pull()
        except BaseException:
            self.end()
            raise
        return notes

    def live(self) -> list[str]:
        try:
            return [holder for _, holder, _ in live(self.objects)]
        except AccountRefused:  # the store's time is told by a write; who only reads has none
            return []

    def elsewhere(self) -> list[bytes]:
        return self.parts.elsewhere()

    def sync(self, rows: Path, account: bytes) -> None:
        """Put new rows into the store. Raises RunError."""
        self.parts.push(rows, account)

    def own(self) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """As `Parts.own`."""
        return self.parts.own()

    def limit(self, until: Until) -> None:
        self.objects.until = until

    def check_held(self) -> None:
        """Return at once while the lease is known to hold. Raises as `Heart.check`."""
        if self._heart is not None:
            self._heart.check()

    def end(self) -> None:
        if self._heart is not None:
            self._heart.stop()
        lease, self._lease = self._lease, None
        if lease is not None:
            with suppress(ReimagineError):  # it ends by itself
                lease.release()

    @property
    def title(self) -> str:
        address = self.objects.address
        return address.prefix.rpartition("/")[2] or address.bucket

    def look(self) -> None:
        """Bring the books up to date before they are read; the store is only read.

        Raises OutputMismatch if there is no output of ours, UsageError if there is no such
        bucket, AccountRefused, ServiceGone and LocalResource.
        """
        if not (self.root / TEMP_DIR).is_dir():
            next(self.objects.pages(), [])  # only a listing tells that there is no bucket
            if self.objects.about(MARKER) is None:
                raise OutputMismatch(
                    f"{self.place} is no output of this tool: it holds no {MARKER}"
                )
        self._prepare_books()
        self._pull()
        if time.monotonic() - self._names_since > _NAMES_S:
            # What was listed may be gone; what was not is asked for anyhow.
            self.anew()

    def _pull(self) -> None:
        """Take in others' rows, unless another process does so for the same books all the time."""
        with alone(self.root / STATE_DIR / _PULLING) as nobody_else:
            if nobody_else:
                self.parts.pull()

    def readable(self, name: str) -> bool:
        return self._found(name) is not None

    def bring(self, name: str) -> str:
        """Have a copy in the state folder; its name there. Raises OSError and RunError."""
        entry = self._found(name)
        if entry is None:
            raise FileNotFoundError(name)
        return self._copies.bring(entry)

    def _found(self, name: str) -> Entry | None:
        """What has this name now, also if another machine has put it since the last listing."""
        if not is_plain(name) or _OUTPUT.fullmatch(name) is None:
            return None
        if (entry := self._entry(name)) is not None:
            return entry
        about = self.objects.about(name)
        return about and about[0]

    def is_ours(self) -> bool:
        return super().is_ours() or self.objects.about(MARKER) is not None

    def check_folder(self, folder: Path) -> None:
        """A store has no links."""
        if folder.is_relative_to(self.root / STATE_DIR):
            super().check_folder(folder)

    def exists(self, name: str) -> bool:
        return self._entry(name) is not None

    def holds(self, name: str) -> bool:
        return is_plain(name) and "\\" not in name and self.exists(name)

    def taken(self, base: str, variation: int) -> str | None:
        found = self._names.under(base)
        return next((t for t in SUFFIXES if output_name(base, variation, t) in found), None)

    def all_here(
        self, base: str, done: Callable[[str], Iterator[tuple[int, str, int]]]
    ) -> int | None:
        found, count = self._names.under(base), 0
        for _, name, size in done(""):
            if name not in found or found[name].size != size:
                return None
            count += 1
        return count

    def size(self, name: str) -> int:
        entry = self._found(name)
        if entry is None:
            raise FileNotFoundError(name)
        return entry.size

    def read(self, name: str) -> bytes:
        try:
            return self.objects.get(name)[0]
        except FileNotFoundError:
            self._names.drop(name)
            raise

    def numbered(self, base: str) -> list[tuple[int, str]]:
        found = ((_NUMBERED.fullmatch(name), name) for name in self._names.under(base))
        return [(int(match[1]), name) for match, name in found if match]

    def row_of(self, name: str) -> Record | None:
        found = self.objects.about(name)
        row = None if found is None else unpacked(found[1], name)
        return row if row and found and row.bytes == found[0].size else None

    def write(self, name: str, data: bytes, about: Record | None = None) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        row = about and structs.replace(about, output_sha256=sha256, bytes=len(data))
        told = packed(row, sha256)
        try:
            self._put(name, data, told)
        except ReimagineError as error:
            self.refused = True
            self._unsent.keep(name, data, told)
            if isinstance(error, RunError):
                raise
            raise LocalResource(str(error)) from None
        return sha256

    def take_unsent(self) -> list[tuple[str, bytes, dict[str, str]]]:
        return self._unsent.take()

    def keep_unsent(self, pictures: list[tuple[str, bytes, dict[str, str]]]) -> None:
        for name, data, about in pictures:
            self._unsent.keep(name, data, about)

    def noticed(self, name: str, size: int) -> None:
        self._names.add(Entry(name, size, datetime.now(UTC), None))

    def anew(self) -> None:
        self._names, self._names_since = Names(self.objects), time.monotonic()

    def rewrite(self, name: str, data: bytes) -> None:
        """Only for what lies beside pictures."""
        etag = self.objects.put(name, data, content_type=type_of(name))
        self._names.add(Entry(name, len(data), datetime.now(UTC), etag))

    def set_aside(self, name: str) -> None:
        tag = hashlib.sha256(f"{name} {datetime.now(UTC)}".encode()).hexdigest()[:16]
        self.objects.move(name, f"{STATE_DIR}/torn/{tag}{PurePosixPath(name).suffix}")
        self._names.drop(name)

    def pictures(self) -> Iterator[str]:
        """The names of all pictures there, in order, as a stream."""
        for page in self.objects.pages():
            for entry in page:
                suffix = PurePosixPath(entry.name).suffix
                if suffix in SUFFIXES.values() and _OUTPUT.fullmatch(entry.name):
                    yield entry.name

    def _entry(self, name: str) -> Entry | None:
        found = _OUTPUT.fullmatch(name)
        if found is None or not is_plain(name):
            return None
        return self._names.under(found[1]).get(name)

    def _put(self, name: str, data: bytes, told: dict[str, str]) -> None:
        """Raises NameTaken, with nothing done, if another picture has come to that name."""
        entry, ours = put_new(self.objects, name, data, told)
        self._names.add(entry)
        if not ours:
            raise NameTaken(name)
