"""`python -m benchmarks.profile`: where the tool's CPU goes in W1 and W2.

Each work runs twice: once as it is, for the CPU seconds of every thread and child (kernel's own
counts), and once under py-spy, which looks at all stacks a hundred times a second from outside.
Waiting is left out. What C code costs is charged to the Python line that called it.
"""

import argparse
import os
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import contestants, measure, native, photos
from benchmarks.__main__ import WORK, say, terminated
from benchmarks.bench import FULL, QUICK, Bench, Section
from benchmarks.contest import Work
from benchmarks.contestants import Job
from benchmarks.server import Server
from benchmarks.works import RAMP_OFF

LOOP = "MainThread"  #: py-spy's name for the thread that the event loop runs in

_RATE_HZ = 100
_TOP = 15
_MOST_LARGE = 60  # photos of W2: enough to see
_ALL_S = 420.0
_AT_ONCE = 16
_OURS = re.compile(r"batch_reimagine/([\w/]+\.py)")
_LINE = re.compile(r":\d+\)$")
# A sampler sees a thread that was just woken, or waits for the interpreter, as one that works.
_WAITING = ("Condition.wait ", "EpollSelector.select ", "_worker (concurrent/", "Queue.get ")


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack, outermost first, and how often it was seen."""

    thread: str  #: LOOP, another thread's name, or "child" for all threads of child processes
    frames: list[str]
    seen: int


def main() -> int:
    """Profile the works asked for; exit 1 if a run failed or there is no py-spy."""
    signal.signal(signal.SIGTERM, terminated)
    measure.adopt_orphans()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small works")
    parser.add_argument("--work", type=Path, default=WORK, help="photos, outputs and logs")
    given = parser.parse_args()
    spy = Path(sys.executable).with_name("py-spy")
    if not spy.exists():
        say("there is no py-spy beside this Python: pip install py-spy")
        return 1
    work = Path(os.path.abspath(given.work))  # noqa: PTH100 - children start elsewhere
    work.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + _ALL_S
    bench = Bench(work, native.build(work), QUICK if given.quick else FULL, 1, until)
    small, large = bench.sizes.small, min(bench.sizes.large, _MOST_LARGE)
    answer = photos.answer(work)
    good = [
        _profile(bench, spy, Work("W1", photos.fitting(work, small), small, 2, _AT_ONCE, answer)),
        _profile(bench, spy, Work("W2", photos.large(work, large), large, 4, _AT_ONCE, answer)),
    ]
    return 0 if all(good) else 1


def _profile(bench: Bench, spy: Path, work: Work) -> bool:
    name, answer = work.name, work.answer
    raw = bench.work / f"profile-{name}.txt"
    record = [spy, "record", "--rate", _RATE_HZ, "--format", "raw", "--output", raw]
    record += ["--threads", "--subprocesses", "--"]
    with Server(bench.built.server, answer.file) as server:
        for under in ([], record):
            out = bench.work / "out" / f"profile-{name}"
            shutil.rmtree(out, ignore_errors=True)
            server.reset()
            job = Job(work.photos, work.count, work.n, _AT_ONCE, out, server.url, server.port)
            command = [*under, sys.executable, *contestants.ours(*RAMP_OFF).argv(job)]
            log = bench.log("profile", f"{name}-{len(under)}")
            left_s = bench.left_s(work.one_run_s)
            ran = measure.run(command, log, timeout_s=left_s, threads=not under)
            fault = contestants.shortfall(job, answer, server.seen())
            shutil.rmtree(out, ignore_errors=True)
            if ran.code or fault:
                say(f"### {name}: failed: exit {ran.code}, {fault}; {ran.last_words}\n")
                return False
            if not under:
                say(_by_thread(f"{name}: {job.calls} calls in {ran.seconds:.1f} s", ran).markdown())
    stacks = list(_stacks(raw))
    parts = {
        "the event loop's thread": [stack for stack in stacks if stack.thread == LOOP],
        "its other threads": [stack for stack in stacks if stack.thread not in {LOOP, "child"}],
        "child processes": [stack for stack in stacks if stack.thread == "child"],
    }
    for title, some in parts.items():
        if not some:
            continue
        say(_top(f"{name}, {title}: by function", some, _leaf).markdown())
        say(_top(f"{name}, {title}: by the tool's own innermost function", some, _own).markdown())
    return True


def _by_thread(title: str, ran: measure.Ran) -> Section:
    """CPU seconds as the kernel counted them; short-lived ends are missed, and told as such."""
    section = Section(f"{title}: CPU by thread and child", ["who", "CPU s", "share"])
    counted = {"the event loop's thread": ran.threads_s.pop(ran.pid, 0.0)}
    if others := ran.threads_s.values():
        counted[f"{len(others)} other threads (largest {max(others):.2f})"] = sum(others)
    if ran.children_s:
        counted[f"{len(ran.children_s)} child processes"] = sum(ran.children_s.values())
    counted["not seen (before the first look, after the last)"] = ran.cpu_s - sum(counted.values())
    for who, cpu_s in counted.items():
        section.rows.append([who, f"{cpu_s:.2f}", f"{cpu_s / ran.cpu_s:.0%}"])
    section.rows.append(["all", f"{ran.cpu_s:.2f}", ""])
    return section


def _stacks(raw: Path) -> Iterator[Stack]:
    """Yield the stacks of py-spy's raw form, those that only wait left out.

    Source of the form: py-spy --help, "raw": frames joined by ";", then a space and a count.
    """
    for line in raw.read_text().splitlines():
        text, _, seen = line.rpartition(" ")
        frames = text.split(";")
        # A command line may hold a ";" of its own, so the thread's frame is looked for.
        at = next(n for n, frame in enumerate(frames) if frame.startswith("thread ("))
        is_child = sum(frame.startswith("process ") for frame in frames[:at]) > 1
        thread = "child" if is_child else frames[at].partition(": ")[2] or LOOP
        frames = frames[at + 1 :]
        if frames and not frames[-1].startswith(_WAITING):
            yield Stack(thread, frames, int(seen))


def _leaf(stack: Stack) -> str:
    return _LINE.sub(")", stack.frames[-1])


def _own(stack: Stack) -> str:
    """The innermost frame that is the tool's; what it calls in libraries is charged to it."""
    own = [frame for frame in stack.frames if _OURS.search(frame)]
    return _LINE.sub(")", own[-1]) if own else "(none: the loop, pools and start-up)"


def _top(title: str, stacks: Iterable[Stack], name: Callable[[Stack], str]) -> Section:
    counts: Counter[str] = Counter()
    for stack in stacks:
        counts[name(stack)] += stack.seen
    whole = counts.total() or 1
    section = Section(f"{title} ({whole} samples)", ["share", "function"])
    for words, seen in counts.most_common(_TOP):
        section.rows.append([f"{seen / whole:.1%}", f"`{words}`"])
    return section


if __name__ == "__main__":
    sys.exit(main())
