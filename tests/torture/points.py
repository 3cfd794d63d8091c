"""A small job, hit at every single call that reaches the disk: killed there, or refused there."""

import asyncio
import errno
import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from batch_reimagine.simulator import Behaviour, serve
from tests.support import make_photos
from tests.torture import books as reading
from tests.torture import trace
from tests.torture.books import Books, Job
from tests.torture.forks import Ended, Forks, Lane, forks
from tests.torture.trace import Hit, Line

MOST_CALLS = 400  # a job that makes more is no small job
LANES = 2  # processes side by side
LOCAL_RESOURCE, SOME_FAILED = 9, 3


@dataclass(slots=True)
class Score:
    """What was tried, and what it found."""

    cases: int = 0
    codes: Counter[int] = field(default_factory=Counter)  #: how the run that was hit ended
    hit: Counter[str] = field(default_factory=Counter)  #: at which kind of call
    lost: int = 0  #: answers paid and not kept
    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a case happens, who runs it, and who counts."""

    path: Path
    lane: Lane
    score: Score


@dataclass(frozen=True, slots=True)
class Small:
    """A small job, and what its output held before."""

    name: str
    photos: Path
    start: Path | None = None  #: an output to begin with; copied for every case
    variations: int = 2
    concurrency: int = 2
    behaviour: Behaviour = field(default_factory=lambda: Behaviour(picture_px=16))
    refused: frozenset[str] = frozenset()  #: sources that the service never accepts
    flags: tuple[object, ...] = ()

    @property
    def job(self) -> Job:
        return Job(self.photos, self.variations, self.refused)


@dataclass(slots=True)
class Case:
    """One output, one server, and as many runs as it takes."""

    small: Small
    place: Path
    lane: Lane
    url: str
    runs: int = 0

    @property
    def out(self) -> Path:
        return self.place / "out"

    async def run(
        self, hit: Hit | None = None, *, watched: Path | None = None
    ) -> tuple[Ended, list[Line]]:
        """The job's command once, hit or not; (how it ended, what it did below `watched`)."""
        self.runs += 1
        small, log = self.small, self.place / f"log-{self.runs}"
        arguments = ["run", small.photos, "-o", self.out, "-n", small.variations]
        arguments += ["--concurrency", small.concurrency, "--base-url", self.url, "--price", 1]
        arguments += small.flags
        env = (hit or Hit()).environment(watched or self.out, log)
        ended = await self.lane.run(*arguments, folder=self.place / f"run-{self.runs}", **env)
        return ended, await asyncio.to_thread(trace.read, log)

    async def look(self, *, may_be_torn: bool) -> Books:
        return await asyncio.to_thread(reading.read, self.out, may_be_torn=may_be_torn)


@asynccontextmanager
async def case(small: Small, place: Path, lane: Lane) -> AsyncIterator[tuple[Case, "Oracle"]]:
    """Serve, and make the place; both are gone after."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    if small.start is not None:
        await asyncio.to_thread(shutil.copytree, small.start, place / "out")
    before = await asyncio.to_thread(reading.read, place / "out", may_be_torn=False)
    calls = place / "calls.jsonl"
    async with serve(small.behaviour, log=calls) as api:
        yield Case(small, place, lane, api.url), Oracle(before, api.stats)
    shutil.rmtree(place, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Oracle:
    """What the server saw, and what was there before it."""

    before: Books
    stats: Callable[[], dict[str, object]]


async def kill_at(
    small: Small, hits: Sequence[Hit], place: Path, lane: Forks, score: Score
) -> bool:
    """Kill, resume (and kill that, for each further hit), finish, look; False: not reached."""
    async with case(small, place, lane) as (it, oracle):
        findings: list[str] = []
        lost: set[str] = set()
        for number, hit in enumerate(hits):
            ended, lines = await it.run(hit)
            reached = trace.was_hit(lines)
            if reached is None:
                if number == 0 and ended.code not in {0, SOME_FAILED}:
                    score.findings.append(f"{small.name}: ends with {ended.code}: {ended.err}")
                if number == 0:
                    return False
                break
            if ended.code != -9:
                findings.append(f"ends with {ended.code}, not killed: {ended.err[-200:]}")
            score.hit[reached.op] += 1
            books = await it.look(may_be_torn=True)
            findings += books.findings
            lost |= {line["id"] for line in books.open_tries}
            if len(books.open_tries) > small.concurrency:
                findings.append(f"{len(books.open_tries)} tries in flight")
        score.lost += await finish_and_look(
            it, oracle, findings, most_lost=len(lost), confessed=True
        )
        if small.refused:
            findings += _asked_again(oracle, small, len(lost))
        score.cases += 1
        score.codes[-9] += 1
        where = " then ".join(map(str, hits))
        score.findings += [f"{small.name}, {where}: {what}" for what in findings]
        return True


async def fault_at(small: Small, hit: Hit, place: Path, lane: Forks, score: Score) -> bool:
    """Refuse a call, look, then run the same command with the fault gone; False: not reached."""
    async with case(small, place, lane) as (it, oracle):
        findings: list[str] = []
        ended, lines = await it.run(hit)
        reached = trace.was_hit(lines)
        if reached is None:
            if ended.code:
                score.findings.append(f"{small.name}: ends with {ended.code}: {ended.err}")
            return False
        score.hit[reached.op] += 1
        score.codes[ended.code] += 1
        # Where a line cannot be taken back either, the next run does that.
        stuck = any((line.op, line.phase) == ("ftruncate", "F") for line in lines)
        books = await it.look(may_be_torn=stuck)
        findings += books.findings
        findings += _told(ended, books, small)
        findings += nothing_begun(lines, reached)
        score.lost += await finish_and_look(
            it, oracle, findings, most_lost=small.concurrency, confessed=False
        )
        score.cases += 1
        what_was_hit = f"{hit} ({reached.op} {_short(reached.path, it.out)})"
        score.findings += [f"{small.name}, {what_was_hit}: {what}" for what in findings]
        return True


def _told(ended: Ended, books: Books, small: Small) -> list[str]:
    """How a run must end whose disk refused something."""
    findings = []
    if "Traceback" in ended.err:
        findings.append(f"a traceback: {ended.err[-300:]}")
    if ended.code == 0:
        # Only where all is made, and what was refused was not needed for that.
        done = len([row for row in books.done if row["source"] in small.job.files()])
        if done != len(small.job.files()) * small.variations:
            findings.append(f"ends with 0, and {done} are done")
    elif ended.code != LOCAL_RESOURCE:
        findings.append(f"ends with {ended.code}: {ended.err.splitlines()[-1:]}")
    elif "cannot write" not in ended.err:
        findings.append(f"no reason: {ended.err[-200:]!r}")
    return findings


def _asked_again(oracle: Oracle, small: Small, in_flight: int) -> list[str]:
    """A refusal is final: only calls that were out together, or lost, may have met it again."""
    met = oracle.stats()["by_outcome"]
    assert isinstance(met, dict)
    most = len(small.refused) * small.variations + in_flight
    refused = met.get("refused", 0)
    return [f"refused {refused} times, at most {most} explained"] if refused > most else []


def nothing_begun(lines: list[Line], reached: Line) -> list[str]:
    """After the fault, only calls go out that were written down before it."""
    at = lines.index(reached)
    tries, durable = _tries_until(lines[:at])
    sent_before = sum(line.op == "send" for line in lines[:at])
    sent_after = sum(line.op == "send" for line in lines[at:])
    findings = []
    if sent_before > durable:
        findings.append(f"{sent_before} calls sent, {durable} written down")
    if sent_after > tries - sent_before:
        findings.append(
            f"{sent_after} calls sent after the fault, {tries - sent_before} had been begun"
        )
    return findings


def _tries_until(lines: Iterable[Line]) -> tuple[int, int]:
    """(tries written to the journal, those of them that are durable)."""
    tries = durable = 0
    for line in lines:
        if not line.path.endswith("attempts.jsonl"):
            continue
        if line.op == "write" and line.phase == "E":
            tries += line.data.count(b'"what":"try"')
        if line.op == "fsync" and line.phase == "E" and line.result == 0:
            durable = tries
    return tries, durable


async def finish_and_look(
    it: Case, oracle: Oracle, findings: list[str], *, most_lost: int, confessed: bool
) -> int:
    """Run until done, look at everything; return how many answers were paid and not kept."""
    ended, _ = await it.run()
    if ended.code != (SOME_FAILED if it.small.refused else 0):
        findings.append(f"the last run ends with {ended.code}: {ended.err[-300:]}")
    stats = oracle.stats()
    books = await it.look(may_be_torn=False)
    findings += await asyncio.to_thread(
        reading.at_end, books, it.small.job, stats, before=oracle.before, all_confessed=confessed
    )
    if list((it.out / reading.STATE / "unfinished").iterdir()):
        findings.append("temporary files are left")
    verified = await it.lane.run("verify", it.out, folder=it.place / "verify")
    if verified.code:
        findings.append(f"verify ends with {verified.code}: {verified.out[-300:]}")
    lost = int(str(stats["paid"])) - (len(books.bought) - len(oracle.before.bought))
    if lost > most_lost:
        findings.append(f"{lost} answers lost, {most_lost} were in flight")
    return lost


def _short(path: str, out: Path) -> str:
    return path.removeprefix(str(out)).lstrip("/") or "."


async def sweep(
    name: str,
    place: Path,
    shim: Path,
    one: Callable[[int, Path, Forks, Score], Awaitable[bool]],
    *,
    first: int = 1,
    step: int = 1,
) -> Score:
    """Hit call `first`, `first` + step, … until the job ends unhit; some side by side."""
    score, began = Score(), time.monotonic()
    numbers: Iterator[int] = iter(range(first, MOST_CALLS, step))
    over = False

    async def lane(number: int) -> None:
        nonlocal over
        async with forks(shim) as mine:
            while not over and (at := next(numbers, None)) is not None:
                if not await one(at, place / f"{name}-{number}", mine, score):
                    over = True

    async with asyncio.TaskGroup() as group:
        for number in range(LANES):
            group.create_task(lane(number))
    if not over:
        score.findings.append(f"{name}: more than {MOST_CALLS} calls")
    if not score.cases:
        score.findings.append(f"{name}: the shim saw no call")
    score.seconds = time.monotonic() - began
    return score


async def kills(
    small: Small, place: Path, shim: Path, *, how: str = "kill", first: int = 1, step: int = 1
) -> Score:
    """Kill at every call (or half way through it)."""

    async def one(at: int, where: Path, lane: Forks, score: Score) -> bool:
        return await kill_at(small, [Hit(at, how)], where, lane, score)

    return await sweep(f"{how}-{small.name}", place, shim, one, first=first, step=step)


async def kills_twice(small: Small, place: Path, shim: Path, *, step: int, then: int) -> Score:
    """Kill at every call, and the resume at a call that differs from case to case."""

    async def one(at: int, where: Path, lane: Forks, score: Score) -> bool:
        again = Hit(1 + at * 7 % then, "torn" if at % 2 else "kill")
        return await kill_at(small, [Hit(at), again], where, lane, score)

    return await sweep(f"twice-{small.name}", place, shim, one, step=step)


#: (errno, how long, which calls can meet it)
FAULTS: dict[str, tuple[int, str, str]] = {
    "ENOSPC": (errno.ENOSPC, "stay", trace.TAKES_ROOM),
    "EIO": (errno.EIO, "fail", trace.EVERY_CALL),
    "EACCES": (errno.EACCES, "fail", trace.CHANGES_NAMES),
    "EROFS": (errno.EROFS, "stay", trace.CHANGES_ANYTHING),
}


async def faults(small: Small, place: Path, shim: Path, fault: str, *, step: int = 1) -> Score:
    """Refuse every call once, or from it on."""
    error, how, ops = FAULTS[fault]

    async def one(at: int, where: Path, lane: Forks, score: Score) -> bool:
        return await fault_at(small, Hit(at, how, error, ops), where, lane, score)

    return await sweep(f"{fault}-{small.name}", place, shim, one, step=step)


def fresh(place: Path, *, concurrency: int = 2) -> Small:
    """Two photos, twice."""
    make_photos(place / "photos", 2)
    return Small("fresh", place / "photos", concurrency=concurrency)


async def renamed(place: Path, shim: Path) -> Small:
    """A finished output, one of whose photos shows under another name now."""
    small = fresh(place / "first")
    async with forks(shim) as lane, case(small, place / "making", lane) as (it, _):
        ended, _ = await it.run()
        assert ended.code == 0, ended.err
        await asyncio.to_thread(shutil.copytree, it.out, place / "start")
    photos = place / "photos"
    await asyncio.to_thread(shutil.copytree, small.photos, photos)
    (photos / "photo-000.jpg").rename(photos / "another name.jpg")
    return Small("renamed", photos, start=place / "start")


async def bulky(place: Path, shim: Path) -> Small:
    """A long journal, so that the run compacts it at its end, and one photo to make."""
    small = fresh(place / "first")
    async with forks(shim) as lane, case(small, place / "making", lane) as (it, _):
        ended, _ = await it.run()
        assert ended.code == 0, ended.err
        await asyncio.to_thread(shutil.copytree, it.out, place / "start")
    lines = []
    for number in range(400):
        attempt: dict[str, object] = {"what": "try", "id": f"old.{number}"}
        attempt |= {
            "time": "2020-01-01T00:00:00.000Z",
            "source": "gone.jpg",
            "source_sha256": "0" * 64,
            "variation": 1,
        }
        attempt |= {"attempt": 1, "base": "gone", "price": "1"}
        end = {"what": "end", "id": f"old.{number}", "money": ("spent", "unknown")[number % 2]}
        lines += [json.dumps(attempt), json.dumps(end)]
    with (place / "start" / reading.STATE / "attempts.jsonl").open("a") as opened:
        opened.write("\n".join(lines) + "\n")
    photos = place / "photos"
    await asyncio.to_thread(shutil.copytree, small.photos, photos)
    make_photos(photos, 1, first=2)
    # One at a time: then the k-th call is the same in every run, and none is passed over.
    return Small("bulky", photos, start=place / "start", concurrency=1)


def poisoned(place: Path) -> Small:
    """One of two photos is refused, whatever is done."""
    first, _ = make_photos(place / "photos", 2)
    sent = hashlib.sha256(reading.upload(first)).hexdigest()
    behaviour = Behaviour(picture_px=16, refuse_photo=(sent,))
    refused = frozenset({first.name})
    # Two attempts, so that a tool that did ask again is told from one that waits.
    flags = ("--attempts", 2)
    return Small("poisoned", place / "photos", behaviour=behaviour, refused=refused, flags=flags)


def stormy(place: Path) -> Small:
    """Half of the calls end in 503 first."""
    make_photos(place / "photos", 2)
    behaviour = Behaviour(picture_px=16, share_503=0.5, seed=3)
    return Small("stormy", place / "photos", behaviour=behaviour)


def wide(place: Path) -> Small:
    """Folders to make, and more in flight than cores."""
    make_photos(place / "photos" / "a" / "b", 2)
    make_photos(place / "photos" / "c", 2, first=2)
    return Small("wide", place / "photos", variations=3, concurrency=4)
