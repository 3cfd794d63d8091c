"""One run an output, also from several machines: a lease that a conditional write decides.

The lease is an object, `.batch-reimagine/<name>.json`. It is taken by a write that the
store refuses if there is one already, or if another has written it since it was read.
Its holder writes it again and again; one that was not written for its `life_s` is anybody's.
Ages are told by the store's own clock, never by this machine's: a small object is written,
and the time that the store gave it is now.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

import msgspec

from batch_reimagine.cloud.objects import Changed, Entry, Objects
from batch_reimagine.errors import OutputBusy, Rejected, ServiceGone
from batch_reimagine.naming import STATE_DIR

_NAME = re.compile(r"lease(?:-[0-9]+-of-(?P<of>[0-9]+))?")
_MOST_BYTES = 10_000
_MOST_LIFE_S = 3600.0
_UNKNOWN_LIFE_S = 60.0  # of a lease that cannot be understood
_COARSE_S = 1.0  # S3 tells times in whole seconds, so that an age is right to one
_MOST_TRIES = 3  # of a take; each is met by another's write in the very moment
_SHOWN = 200  # characters of a holder that a message repeats
#: What a lease holds that was given back. The object stays: a removal takes no condition, and
#: could hit one that another has taken in the same moment.
_FREE = b""
_LOST = (Changed, FileExistsError, FileNotFoundError)  # what a lost race raises


class _Said(msgspec.Struct, frozen=True):
    """What a lease's object says."""

    holder: str
    token: str
    since: str  #: UTC ISO 8601, by the store's clock; "" until the store has told it
    life_s: float
    run: str  #: of one `Lease`; no other writes the same
    beat: int  #: grows with every write, so that no two have the same etag


@dataclass(frozen=True, slots=True)
class _Found:
    """A lease's object as it lies in the store; said is None if it was given back."""

    said: _Said | None
    entry: Entry
    data: bytes

    def left_s(self, now: datetime) -> float:
        """Seconds until it ends by itself; 0 or less: it has."""
        if self.said is None:
            return 0.0
        age_s = max((now - self.entry.modified).total_seconds(), 0.0)
        return min(self.said.life_s, _MOST_LIFE_S) + _COARSE_S - age_s


class Lease:
    """The right to write to one output, or to one shard's part of it. All methods block.

    name: "lease" for the whole, "lease-3-of-16" for a shard.
    holder: who this is, in words for others' messages.
    token: unguessable, and the same for all runs with the same local books. Their own lock
    proves that no other of them runs, so that a lease with this token is taken over at once;
    books that were copied to another machine are found out at the next `renew`.
    life_s: seconds for which the lease holds without a renewal, at most 3,600.
    Errors of the store pass through: AccountRefused, UsageError, ServiceGone.
    """

    def __init__(
        self, objects: Objects, name: str, holder: str, token: str, life_s: float = 60.0
    ) -> None:
        if not (_NAME.fullmatch(name) and token and 0 < life_s <= _MOST_LIFE_S):
            raise ValueError(f"no lease: {name!r} for {life_s} s")
        self._objects = objects
        self._name = name
        self._path = _path(name)
        self._said = _Said(holder, token, "", life_s, secrets.token_hex(8), 0)
        self._etag: str | None = None  # of what we wrote last; None while we hold nothing
        self._blind = False  # the store ignores conditions
        self._lock = Lock()  # a renewal and the release come from two threads

    def take(self) -> list[str]:
        """Take the lease; returns notes for people.

        Raises OutputBusy, naming who holds it, or another that it cannot be together with,
        and the seconds until that ends by itself.
        """
        with self._lock:
            self._win()
            try:
                self._look_for_others()
                return self._try_conditions()
            except _LOST:
                self._etag = None
                raise self._busy(self._name, _read(self._objects, self._path)) from None
            except BaseException:
                self._give_back()
                raise

    def renew(self) -> None:
        """Say that the run lives on. Nothing while the lease is not held.

        Raises OutputBusy if another holds it now, or it is gone: then no more may be written.
        """
        with self._lock:
            if self._etag is None:
                return
            try:
                if self._blind and not self._is_ours(_read(self._objects, self._path)):
                    raise Changed(self._path)
                self._write(self._etag)
            except _LOST:
                self._etag = None
                holder = _holder(_read(self._objects, self._path))
                raise OutputBusy(
                    f"{self._objects.address} was taken over by another run ({holder}), because"
                    " this one was not heard of for too long: wait for that one, or stop it;"
                    " then the same command goes on"
                ) from None

    def release(self) -> None:
        """Give the lease back, if it is still ours. Nothing while it is not held."""
        with self._lock:
            self._give_back()

    def _win(self) -> None:
        """Write the lease over none, a dead one, or one of the same books."""
        for _ in range(_MOST_TRIES):
            found = _read(self._objects, self._path)
            if found and found.said and found.said.token != self._said.token:
                left_s = found.left_s(_now(self._objects))
                if left_s > 0:
                    raise self._busy(self._name, found, left_s)
            with suppress(*_LOST):
                self._write((found.entry.etag or "") if found else "new")
                return
        raise self._busy(self._name, _read(self._objects, self._path))

    def _look_for_others(self) -> None:
        """Raise OutputBusy for a living lease of the whole beside a shard's, and the like.

        Ours is written before: of two that come at once, one at least sees the other.
        """
        now = None
        for name, entry in _listed(self._objects):
            if not _apart(self._name, name):
                continue
            now = now or _now(self._objects)
            found = _living(self._objects, name, entry, now)
            if found and found.said and found.said.token != self._said.token:
                raise self._busy(name, found, found.left_s(now))

    def _try_conditions(self) -> list[str]:
        """Write over our own lease as a rival would; a note if the store lets that pass."""
        if about := self._objects.about(self._path):
            since = about[0].modified.isoformat(timespec="seconds")
            self._said = msgspec.structs.replace(self._said, since=since)
        old = self._etag or ""
        data = self._write(old)
        self._blind = not old
        for when in ("new", old or "new"):
            with suppress(Changed, FileExistsError):
                self._etag = self._put(data, when)
                self._blind = True
        if not self._blind:
            return []
        return [
            f"{self._objects.address} is in a store that ignores conditional writes: two runs"
            " on this output that begin in the same moment cannot be told apart there; start"
            " one at a time"
        ]

    def _write(self, when: str) -> bytes:
        """Put the next beat, and remember it; returns what was put. Raises as `Objects.put`."""
        said = msgspec.structs.replace(self._said, beat=self._said.beat + 1)
        data = msgspec.json.encode(said)
        try:
            etag = self._put(data, when)
        except _LOST:
            # An answer may be lost after the write: then the second try meets the first.
            found = _read(self._objects, self._path)
            if found is None or found.data != data:
                raise
            etag = found.entry.etag or ""
        self._said, self._etag = said, etag
        return data

    def _put(self, data: bytes, when: str) -> str:
        """Put the lease; when: "new", or the etag of what it replaces, "" where there are none."""
        return self._objects.put(
            self._path, data, when=when or "always", content_type="application/json"
        )

    def _is_ours(self, found: _Found | None) -> bool:
        return bool(found and found.said and found.said.run == self._said.run)

    def _give_back(self) -> None:
        if self._etag is None:
            return
        self._etag = None
        found = _read(self._objects, self._path)
        if found and self._is_ours(found):
            with suppress(*_LOST):
                self._put(_FREE, found.entry.etag or "")

    def _busy(self, name: str, found: _Found | None, left_s: float | None = None) -> OutputBusy:
        """left_s: seconds until it ends by itself; None: it was written in this moment."""
        what = "" if name == self._name else f", as {name}"
        if left_s is None:
            left_s = found.said.life_s if found and found.said else 0.0
        return OutputBusy(
            f"{self._objects.address} is in use by another run ({_holder(found)}{what}): wait"
            f" for it, stop it, or choose another -o; if it died, its lease ends within"
            f" {left_s:.0f} s"
        )


def live(objects: Objects) -> list[tuple[str, str, float]]:
    """The leases that are alive now: name, holder in words, seconds until it ends by itself.

    Where there is a lease to judge, a small object is written to learn the store's time.
    Raises AccountRefused (it may be writing that is not allowed), UsageError or ServiceGone.
    """
    now = None
    alive = []
    for name, entry in _listed(objects):
        now = now or _now(objects)
        if found := _living(objects, name, entry, now):
            alive.append((name, _holder(found), found.left_s(now)))
    return alive


def _listed(objects: Objects) -> Iterator[tuple[str, Entry]]:
    """All leases that were not given back, dead or alive."""
    for page in objects.pages(f"{STATE_DIR}/lease"):
        for entry in page:
            name = entry.name.removeprefix(f"{STATE_DIR}/").removesuffix(".json")
            if entry.name == _path(name) and _NAME.fullmatch(name) and entry.size > len(_FREE):
                yield name, entry


def _living(objects: Objects, name: str, entry: Entry, now: datetime) -> _Found | None:
    """A lease that was listed, if it is alive. Long dead ones are not even read."""
    if (now - entry.modified).total_seconds() > _MOST_LIFE_S + _COARSE_S:
        return None
    found = _read(objects, _path(name))
    return found if found and found.left_s(now) > 0 else None


def _read(objects: Objects, path: str) -> _Found | None:
    """The lease as it is; None: there is none. What cannot be understood has a holder too."""
    unknown = _Said("unknown", "", "", _UNKNOWN_LIFE_S, "", 0)
    try:
        data, entry = objects.get(path, most_bytes=_MOST_BYTES)
    except FileNotFoundError:
        return None
    except Rejected:
        about = objects.about(path)
        return _Found(unknown, about[0], b"?") if about else None
    try:
        return _Found(msgspec.json.decode(data, type=_Said) if data != _FREE else None, entry, data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Found(unknown, entry, data)


def _now(objects: Objects) -> datetime:
    """The store's own time, UTC."""
    # One of a few names, and never removed: some roles may not remove, and clouds limit how
    # often one object may be written. Another's later write is as good.
    path = f"{STATE_DIR}/now-{secrets.token_hex(1)}"
    objects.put(path, b"now")
    if (about := objects.about(path)) is None:
        raise ServiceGone(f"{objects.address}: what was written there just now is gone")
    return about[0].modified


def _apart(one: str, other: str) -> bool:
    """Whether two leases cannot be held at once: the whole and a shard, shards of other n."""
    mine, its = (found["of"] for name in (one, other) if (found := _NAME.fullmatch(name)))
    return one != other and (mine is None or mine != its)


def _path(name: str) -> str:
    return f"{STATE_DIR}/{name}.json"


def _holder(found: _Found | None) -> str:
    """Who, in somebody else's words: bounded, one line."""
    words = found.said.holder if found and found.said else "unknown"
    return "".join(letter if letter.isprintable() else " " for letter in words[:_SHOWN])
