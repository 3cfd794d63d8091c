"""Contestants in turn at the same job: round after round, each proven to have done all of it."""

import os
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import measure
from benchmarks.bench import Bench, Section, number, ratio
from benchmarks.contestants import Contestant, Job, shortfall
from benchmarks.measure import Ran
from benchmarks.photos import Answer
from benchmarks.server import Server

SPENT = "spent"  #: where finished outputs lie, emptied, in the folder of the benchmark
HEADER = [
    "contestant",
    "calls/s",
    "× naive",
    "floor ÷ it",
    "CPU s per 1,000 calls",
    "peak MB",
    "of its main process",
    "runs",
]


@dataclass(slots=True)
class Result:
    """All good runs of one contestant, and why the others do not count."""

    who: Contestant
    runs: list[Ran] = field(default_factory=list)
    first_call_s: list[float] = field(default_factory=list)
    body_bytes: float = 0.0  #: of a request, on average
    calls: int = 0  #: of one run
    faults: list[str] = field(default_factory=list)

    def median(self, what: str) -> float | None:
        values = [getattr(run, what) for run in self.runs]
        return statistics.median(values) if values else None

    @property
    def why_not(self) -> str:
        return self.faults[0] if self.faults else "no time left"

    @property
    def first_s(self) -> float | None:
        """From the start of the process to its first call at the server, median."""
        return statistics.median(self.first_call_s) if self.first_call_s else None

    @property
    def calls_per_s(self) -> float | None:
        seconds = self.median("seconds")
        return self.calls / seconds if seconds else None

    @property
    def cpu_per_1000(self) -> float | None:
        cpu_s = self.median("cpu_s")
        return None if cpu_s is None else cpu_s / self.calls * 1000


@dataclass(frozen=True, slots=True)
class Work:
    """A job for all contestants."""

    name: str
    photos: Path
    count: int
    n: int
    concurrency: int
    answer: Answer
    latency_s: float = 0.0
    one_run_s: float = 120.0  #: a contestant that takes longer is ended, and its row says so


def contest(bench: Bench, work: Work, contestants: Sequence[Contestant]) -> list[Result]:
    """Let each run once a round, every second round backwards, so that drift hits all alike."""
    results = [Result(who) for who in contestants]
    with Server(bench.built.server, work.answer.file, work.latency_s) as server:
        for turn in range(bench.repeats):
            for result in results if turn % 2 == 0 else reversed(results):
                if bench.is_over or (turn and (result.who.once or result.faults)):
                    continue
                _once(bench, work, server, result)
    return results


def _once(bench: Bench, work: Work, server: Server, result: Result) -> None:
    count = max(1, round(work.count * result.who.share))
    out = bench.work / "out" / work.name
    job = Job(work.photos, count, work.n, work.concurrency, out, server.url, server.port)
    _set_aside(out)  # of a run that died
    out.parent.mkdir(parents=True, exist_ok=True)
    os.sync()  # nobody pays for the dirty pages of the one before
    server.reset()
    ran = measure.run(
        result.who.argv(job),
        bench.log(work.name, result.who.name),
        timeout_s=bench.left_s(work.one_run_s),
    )
    seen = server.seen()
    fault = shortfall(job, work.answer, seen)
    if ran.code is None:
        fault = f"ended after {ran.seconds:.0f} s: {fault}"
    elif ran.code or fault:
        fault = f"exit {ran.code}: {fault or 'all pictures are there'}; {ran.last_words}"
    _set_aside(out)
    if fault:
        result.faults.append(fault)
        return
    result.calls = job.calls
    result.body_bytes = seen.bytes / seen.posts
    result.first_call_s.append(seen.first - ran.began)
    result.runs.append(ran)


def _set_aside(out: Path) -> None:
    """Give the space back and keep the files, empty, until all is over.

    Where many files were just removed ext4 looks long for each new one (`recently_deleted` in
    fs/ext4/ialloc.c): who came next would pay 0.8 ms a picture for it.
    """
    if not out.exists():
        return
    for path in out.rglob("*"):
        if path.is_file():
            os.truncate(path, 0)
    spent = out.parent.with_name(SPENT)
    spent.mkdir(exist_ok=True)
    out.rename(spent / f"{out.name}-{time.time_ns()}")


def table(title: str, results: Iterable[Result]) -> Section:
    """The rows of a contest; one that did not do all of the work has no figures, but the reason."""
    section = Section(title, HEADER)
    results = list(results)
    bodies = []
    for result in results:
        if not result.runs:
            section.fails(result.who.name, why=result.why_not)
            continue
        section.rows.append(
            [
                result.who.name,
                number(result.calls_per_s),
                number(ratio(result.calls_per_s, pace(results, "naive aiohttp")), 2),
                number(ratio(pace(results, "C floor"), result.calls_per_s), 2),
                number(result.cpu_per_1000, 2),
                number(result.median("peak_mb")),
                number(result.median("main_mb")),
                f"{len(result.runs)} × {result.calls:,} calls",
            ]
        )
        bodies.append(f"{result.who.name} {result.body_bytes / 1000:,.0f}")
        section.notes += [f"{result.who.name}, a later run: {fault}" for fault in result.faults]
    if bodies:
        section.notes.append(f"kB of a request's body: {', '.join(bodies)}")
    return section


def pace(results: Iterable[Result], name: str) -> float | None:
    """Calls a second of the contestant of that name."""
    return next((r.calls_per_s for r in results if r.who.name == name), None)


def ours(results: Iterable[Result]) -> Result:
    """The tool's own result: the first of them, if there are several."""
    return next(result for result in results if result.who.is_ours)
