"""Which outputs a store holds, learnt by listing in windows instead of asking for each name.

A window is a range of names that one listing has passed over, and that listing, ready
to go on. What lies in its range needs no request; what lies just beyond is the next
page; what is far away begins a window of its own. What we write and remove ourselves is
told to every window.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock

from batch_reimagine.cloud.objects import Entry, Objects
from batch_reimagine.naming import SUFFIXES

_MOST_WINDOWS = 8
_MOST_HELD = 2_000  # names a window keeps; with _MOST_AHEAD 20,000 in all windows
_MOST_AHEAD = 500  # own changes beyond a window's range; more, and its listing begins anew
_READ_ON = 1  # pages read towards a name before a listing of its own is begun there
_APART = "\ue000"  # from here on UTF-16, which Azure sorts by, orders some letters otherwise
_MOST_TURNS = 3  # windows tried for one base before it is asked for alone

_OUTPUT = re.compile(
    rf".+_v[0-9]+(?:{'|'.join(map(re.escape, [*SUFFIXES.values(), '.xmp']))})", re.DOTALL
)


@dataclass(slots=True, eq=False)
class _Window:
    """All outputs whose names n are low < n <= high; without a bound above once it has ended."""

    low: str
    high: str
    ended: bool = False
    asked: str = ""  #: where it was asked last; what is far behind goes first
    names: list[str] = field(default_factory=list)  #: sorted
    entries: dict[str, Entry] = field(default_factory=dict)
    stream: Iterator[list[Entry]] | None = None  #: the listing, gone as far as high
    ahead: dict[str, Entry | None] = field(default_factory=dict)  #: own changes since it began
    users: int = 0  #: asks that wait for it; nothing above where they ask may go
    reading: Lock = field(default_factory=Lock)  #: held by the one that reads its listing

    def covers(self, low: str, high: str) -> bool:
        return self.low < low and (self.ended or high <= self.high)

    def between(self, low: str, high: str) -> list[Entry]:
        names = self.names[bisect_left(self.names, low) : bisect_left(self.names, high)]
        return [self.entries[name] for name in names]

    def change(self, name: str, entry: Entry | None) -> None:
        """Take in what we wrote, or removed (None)."""
        if self.ended or name <= self.high:
            if name > self.low:
                self._set(name, entry)
        elif self.stream is not None:
            self.ahead[name] = entry
            if len(self.ahead) > _MOST_AHEAD:
                self.close()

    def _set(self, name: str, entry: Entry | None) -> None:
        if entry is None:
            if self.entries.pop(name, None) is not None:
                del self.names[bisect_left(self.names, name)]
            return
        if name not in self.entries:
            self.names.insert(bisect_left(self.names, name), name)
        self.entries[name] = entry

    def extend(self, found: list[Entry], high: str | None) -> None:
        """Take in the outputs of the listing's next page, which went to high; None: to its end."""
        self.names.extend(entry.name for entry in found)
        self.entries.update((entry.name, entry) for entry in found)
        if high is None:
            self.ended = True
        else:
            self.high = max(self.high, high)
        for name in [name for name in self.ahead if self.ended or name <= self.high]:
            self._set(name, self.ahead.pop(name))
        if self.ended:
            self.close()

    def close(self) -> None:
        """Give up the listing; the next one sees all that was changed until now."""
        self.stream = None
        self.ahead.clear()

    def cut_behind(self) -> None:
        """Forget the lowest names that are too many, but none from where it was asked last on."""
        if (cut := min(len(self.names) - _MOST_HELD, bisect_left(self.names, self.asked))) > 0:
            self.low = self.names[cut - 1]
            for name in self.names[:cut]:
                del self.entries[name]
            del self.names[:cut]

    def cut_ahead(self) -> None:
        """Forget the highest names that are too many."""
        if len(self.names) > _MOST_HELD:
            for name in self.names[_MOST_HELD:]:
                del self.entries[name]
            del self.names[_MOST_HELD:]
            self.high, self.ended = self.names[-1], False
            self.close()


class Names:
    """The outputs of one tree in a store. All methods block, and may be called by several threads.

    Asked in the order of the names, a tree of n outputs costs about n/1,000 list
    requests, an empty one costs 1; in any other order at most 2 a base and its pages.
    It holds at most 20,000 entries, and the pages being read.
    Azure cannot begin a listing at a name (the client reads up to there): there one
    listing goes on to the end, and what lies behind it is asked for alone.
    Names are compared by code point, which is the order of UTF-8 and of `Objects.pages`;
    in Azure, bases with letters that UTF-16 sorts otherwise are asked for alone too.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._seeks = objects.address.scheme != "az"
        self._windows: list[_Window] = []  # the one used last is the last
        self._begun = False
        self._lock = Lock()  # never held while a request is under way

    @property
    def held(self) -> int:
        """Entries in memory now."""
        with self._lock:
            return sum(len(each.names) + len(each.ahead) for each in self._windows)

    def under(self, base: str) -> dict[str, Entry]:
        """The outputs of one base, `<base>_v<digits>.<suffix>` and their .xmp files, by name.

        All that was added before the call is there, and nothing that was dropped.
        Raises AccountRefused, UsageError or ServiceGone.
        """
        # The digits alone: "a_vase" may have a hundred thousand names under "a_v".
        low, high = f"{base}_v0", f"{base}_v:"
        turns = _MOST_TURNS if self._in_order(base) else 0
        for turn in range(turns):
            with self._lock:
                window = self._window(low, high, anew=turn > 0)
                if window is None:
                    break
                window.users += 1
            try:
                self._read_on(window, low, high)
            finally:
                with self._lock:
                    covered = window.covers(low, high)
                    found = window.between(low, high) if covered else []
                    window.users -= 1
                    if not window.users:
                        window.cut_behind()
                        window.cut_ahead()
            if covered:
                return _of_base(base, found)
        pages = self._objects.pages(f"{base}_v")
        return _of_base(base, [entry for page in pages for entry in page])

    def add(self, entry: Entry) -> None:
        """Tell that this object was written by us. Call it when the store has it."""
        self._change(entry.name, entry)

    def drop(self, name: str) -> None:
        """Tell that this object was removed by us. Call it when the store has removed it."""
        self._change(name, None)

    def _change(self, name: str, entry: Entry | None) -> None:
        if not self._keeps(name):
            return
        with self._lock:
            for window in self._windows:
                window.change(name, entry)
                if not window.users:
                    window.cut_behind()
                    window.cut_ahead()

    def _keeps(self, name: str) -> bool:
        return bool(_OUTPUT.fullmatch(name)) and self._in_order(name)

    def _in_order(self, name: str) -> bool:
        """Whether the store sorts this name, among any others, as it is compared here."""
        return self._seeks or max(name, default="") < _APART

    def _window(self, low: str, high: str, *, anew: bool) -> _Window | None:
        """The window to ask, a new one if need be; None: ask for the base alone."""
        near = [each for each in self._windows if each.low < low]
        best = next((each for each in near if each.covers(low, high)), None)
        if best is None and not anew:
            best = max(near, key=lambda each: each.high, default=None)
        if best is not None:
            self._windows.remove(best)
        elif self._begun and not self._seeks:
            return None
        else:
            # The first begins at the very beginning: a small tree is known whole at once.
            after = low[:-1] if self._begun else ""
            best = _Window(after, after)
            self._begun = True
            del self._windows[: max(0, len(self._windows) + 1 - _MOST_WINDOWS)]
        self._windows.append(best)
        best.asked = low
        return best

    def _read_on(self, window: _Window, low: str, high: str) -> None:
        """Read the window's listing until it covers the range, or is too far from it.

        A listing that breaks off after a pause is begun anew, once.
        """
        began = False
        short = lost = 0
        while lost < _MOST_TURNS:
            with self._lock:
                if window.covers(low, high) or window.low >= low:
                    return
            with window.reading:
                with self._lock:
                    if window.covers(low, high):
                        return
                    if self._seeks and short >= _READ_ON and window.high < low:
                        return
                    if window.stream is None:
                        window.ahead.clear()
                        window.stream = self._objects.pages(after=window.high)
                        began = True
                    stream = window.stream
                page = self._page(window, stream, anew=not began)
                if page is _BROKEN:
                    continue
                found = [entry for entry in page or [] if self._keeps(entry.name)]
                reached = None if page is None else max(entry.name for entry in page)
                with self._lock:
                    if window.stream is not stream:
                        lost += 1  # more changes than it could hold meanwhile
                        continue
                    window.extend(found, reached)
                    window.cut_behind()
                    short += window.high < low

    def _page(
        self, window: _Window, stream: Iterator[list[Entry]], *, anew: bool
    ) -> list[Entry] | None:
        """The next page, None at the end, or _BROKEN if the listing broke and may begin anew."""
        try:
            return next(stream, None)
        except BaseException as error:
            # A generator that has raised says next that it is at its end, which is not so.
            with self._lock:
                if window.stream is stream:
                    window.close()
            if anew and isinstance(error, Exception):
                return _BROKEN
            raise


_BROKEN: list[Entry] = []


def _of_base(base: str, entries: list[Entry]) -> dict[str, Entry]:
    return {
        entry.name: entry
        for entry in entries
        if _OUTPUT.fullmatch(entry.name) and entry.name.rpartition("_v")[0] == base
    }
