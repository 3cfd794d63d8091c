"""W4: the same command over a finished output; it must find that nothing is left, and say so."""

import json
import statistics
import sys
from pathlib import Path

from benchmarks import contestants, measure, photos
from benchmarks.bench import Bench, Section, goal, number
from benchmarks.finished import finished, spoil
from benchmarks.measure import Ran
from benchmarks.server import Server

N = 10  #: calls of each photo

_ONE_RUN_S = 100.0
_SCAN = Path(__file__).parent / "peers" / "scan.py"
_GOALS_S = {10_000: 1.5, 100_000: 6.0}
_GOAL_MB = 200.0


def w4(bench: Bench) -> Section:
    """No-op reruns, beside the bare scan of the manifest that any of them includes."""
    section = Section(
        f"W4: rerun of a finished output, photos × {N}",
        ["photos", "who", "first rerun, s", "rerun, s", "CPU s", "peak MB", "reruns"],
    )
    for count in bench.sizes.finished:
        if bench.is_over:
            section.notes.append(f"{count:,} photos: no time left")
            continue
        _both(bench, section, count)
    return section


def _both(bench: Bench, section: Section, count: int) -> None:
    folder, out = finished(bench.work, count, N)
    scan = [sys.executable, _SCAN, out / "manifest.jsonl", count * N]
    scans: list[Ran] = []
    reruns: list[Ran] = []
    fault = None
    with Server(bench.built.server, photos.answer(bench.work, tiny=True).file) as server:
        command = contestants.tool("run", str(folder), "-o", str(out), "-n", str(N), "--json")
        command += ["--base-url", server.url]
        for _ in range(1 + (1 if count > min(_GOALS_S) else bench.repeats)):
            scans.append(_run(bench, f"scan-{count}", scan))
            reruns.append(_run(bench, f"rerun-{count}", command))
            fault = fault or _fault(reruns[-1], server.seen().posts, count * N)
            if bench.is_over or fault:
                break
    if fault:
        spoil(bench.work, count, N)
    _row(section, count, "bare scan of the rows", scans, None if scans[-1].code == 0 else "failed")
    _row(section, count, "**batch-reimagine**", reruns, fault)
    if count in _GOALS_S:
        last = None if fault else statistics.median(run.seconds for run in reruns[1:] or reruns)
        text = f"{count:,} photos × {N} in under {_GOALS_S[count]} s"
        section.goals.append(goal(text, last, _GOALS_S[count], at_least=False))
    if count == max(_GOALS_S):
        peak = None if fault else max(run.peak_mb for run in reruns[1:] or reruns)
        section.goals.append(goal("and in 200 MB", peak, _GOAL_MB, at_least=False))


def _run(bench: Bench, name: str, command: list[object] | list[str]) -> Ran:
    return measure.run(command, bench.log("w4", name), timeout_s=bench.left_s(_ONE_RUN_S))


def _fault(ran: Ran, posts: int, pictures: int) -> str | None:
    """Why a rerun does not count: it failed, it called, or it did not see all that is there."""
    if ran.code is None:
        return f"ended after {ran.seconds:.0f} s"
    if ran.code or posts:
        return f"exit {ran.code}, {posts} calls; {ran.last_words}"
    for line in ran.said.read_text().splitlines():
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "summary" and event.get("here") == pictures:
            return None
    return f"its summary does not count {pictures:,} pictures as there; {ran.last_words}"


def _row(section: Section, count: int, who: str, runs: list[Ran], fault: str | None) -> None:
    if fault:
        section.fails(f"{count:,}", who, why=fault)
        return
    later = runs[1:] or runs
    section.rows.append(
        [
            f"{count:,}",
            who,
            f"{runs[0].seconds:.2f}",
            f"{statistics.median(run.seconds for run in later):.2f}" if runs[1:] else "–",
            f"{statistics.median(run.cpu_s for run in later):.2f}",
            number(statistics.median(run.peak_mb for run in later)),
            str(len(runs) - 1),
        ]
    )
