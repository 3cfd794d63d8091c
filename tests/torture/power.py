"""Power cuts: the disk as it may lie there after each call of a job, rebuilt and resumed.

A kill leaves the page cache; a power cut does not. From the trace of one job three
disks are made for every moment: the least that fsync promised; names ahead of contents, as a
journaling file system may have them; and the same with half of what was still on its way.
"""

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from tests.torture import points
from tests.torture.forks import Forks, forks
from tests.torture.points import Score, Small
from tests.torture.trace import Line

Kind = Literal["least", "names first", "half way"]
KINDS: tuple[Kind, ...] = ("least", "names first", "half way")


@dataclass(slots=True, eq=False)
class _File:
    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""

    def after_cut(self, kind: Kind) -> bytes:
        """What the disk has of it."""
        half = (len(self.synced) + len(self.data)) // 2
        return bytes(self.data[:half]) if kind == "half way" else self.synced


@dataclass(slots=True, eq=False)
class _Folder:
    names: "dict[str, _File | _Folder]" = field(default_factory=dict)
    synced: "dict[str, _File | _Folder]" = field(default_factory=dict)

    @classmethod
    def of(cls, place: Path) -> "_Folder":
        """A folder as it lies there, all of it durable."""
        found = cls()
        for path in place.iterdir():
            data = b"" if path.is_dir() else path.read_bytes()
            found.names[path.name] = cls.of(path) if path.is_dir() else _File(bytearray(data), data)
        found.synced = dict(found.names)
        return found

    def put(self, place: Path, kind: Kind) -> None:
        place.mkdir(parents=True, exist_ok=True)
        for name, entry in (self.synced if kind == "least" else self.names).items():
            if isinstance(entry, _Folder):
                entry.put(place / name, kind)
            else:
                (place / name).write_bytes(entry.after_cut(kind))


class Disk:
    """What a trace makes of a folder."""

    def __init__(self, out: Path, start: Path | None) -> None:
        self._out = PurePosixPath(out)
        self._root = _Folder() if start is None else _Folder.of(start)
        self.sent = 0

    def apply(self, line: Line) -> None:
        """Take in the end of one call."""
        self.sent += line.op == "send"
        if line.phase != "E" or line.result < 0:
            return
        match line.op:
            case "write":
                self._file(line.path).data += line.data
            case "ftruncate":
                del self._file(line.path).data[int(line.other) :]
            case "fsync":
                entry = self._entry(line.path)
                if isinstance(entry, _Folder):
                    entry.synced = dict(entry.names)
                else:
                    entry.synced = bytes(entry.data)
            case _ if line.path != str(self._out):
                self._name(line)

    def _name(self, line: Line) -> None:
        """Take in a call that makes, moves or removes a name."""
        parent, name = self._place(line.path)
        match line.op:
            case "mkdir":
                parent.names[name] = _Folder()
            case "open" | "openlog":
                entry = parent.names.setdefault(name, _File())
                if line.op == "open" and isinstance(entry, _File):
                    entry.data.clear()
            case "rename":
                new, final = self._place(line.other)
                new.names[final] = parent.names.pop(name)
            case "unlink":
                del parent.names[name]

    def put(self, place: Path, kind: Kind) -> None:
        self._root.put(place, kind)

    def _entry(self, path: str) -> _File | _Folder:
        at: _File | _Folder = self._root
        for part in PurePosixPath(path).relative_to(self._out).parts:
            assert isinstance(at, _Folder)
            at = at.names[part]
        return at

    def _file(self, path: str) -> _File:
        entry = self._entry(path)
        assert isinstance(entry, _File)
        return entry

    def _place(self, path: str) -> tuple[_Folder, str]:
        parent = self._entry(str(PurePosixPath(path).parent))
        assert isinstance(parent, _Folder)
        return parent, PurePosixPath(path).name


async def cuts(small: Small, place: Path, shim: Path, *, step: int = 1) -> Score:
    """Cut the power after every call of one traced job; resume from each disk that may be left."""
    async with forks(shim) as lane, points.case(small, place / "traced", lane) as (it, _):
        ended, lines = await it.run()
        assert ended.code == 0, ended.err
        out = it.out
    ends = [at for at, line in enumerate(lines, 1) if line.phase == "E"]

    async def one(number: int, where: Path, lane: Forks, score: Score) -> bool:
        at, kind = divmod(number - 1, len(KINDS))
        if at * step >= len(ends):
            return False
        disk = Disk(out, small.start)
        for line in lines[: ends[at * step]]:
            disk.apply(line)
        await _resumed(small, disk, KINDS[kind], points.Place(where, lane, score))
        return True

    run: Callable[[int, Path, Forks, Score], Awaitable[bool]] = one
    return await points.sweep(f"cut-{small.name}", place, shim, run)


async def _resumed(small: Small, disk: Disk, kind: Kind, place: points.Place) -> None:
    score = place.score
    async with points.case(small, place.path, place.lane) as (it, oracle):
        before = oracle.before
        shutil.rmtree(it.out, ignore_errors=True)
        disk.put(it.out, kind)
        books = await it.look(may_be_torn=True)
        findings = list(books.findings)
        calls = books.calls - before.calls
        rows = len(books.done) - len(before.done)
        if calls < disk.sent:
            findings.append(f"{disk.sent} calls were sent, the journal has {calls}")
        if disk.sent - rows > small.concurrency:
            findings.append(f"{disk.sent} calls were sent, {rows} rows are left")
        stats = oracle.stats

        def both() -> dict[str, object]:
            now = stats()
            return now | {
                "paid": int(str(now["paid"])) + disk.sent,
                "calls": int(str(now["calls"])) + disk.sent,
            }

        seen = points.Oracle(before, both)
        score.lost += await points.finish_and_look(
            it, seen, findings, most_lost=small.concurrency, confessed=False
        )
        score.cases += 1
        score.codes[0] += 1
        score.findings += [f"{small.name}, power cut, {kind}: {what}" for what in findings]
