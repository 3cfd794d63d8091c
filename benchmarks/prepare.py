"""`python -m benchmarks.prepare`: photos a second made ready, and what giants take.

Speed: 12-megapixel JPEGs, one and two workers, ours beside plain Pillow and libvips; each turn is
a process of its own, in turn with the others. Memory: a whole `run` over three files of 100
megapixels, beside the same over three of one megapixel.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from benchmarks import contestants, machine, measure, native, photos
from benchmarks.__main__ import WORK, say, terminated
from benchmarks.bench import FULL, QUICK, Bench, Section, number
from benchmarks.contestants import Job
from benchmarks.measure import Ran
from benchmarks.server import Server
from benchmarks.works import RAMP_OFF

_METHODS = {
    "ours": "**batch_reimagine.prepare**",
    "pillow": "Pillow thumbnail(), as called by default",
    "pillow-gap": "Pillow thumbnail(reducing_gap=1.0)",
    "vips": "libvips thumbnail",
}
_ONE = Path(__file__).parent / "peers" / "prepare_one.py"
_ONE_RUN_S = 120.0
_ALL_S = 420.0
_GIANT_PX, _SMALL_PX = 10_000, 1000


def main() -> int:
    """Measure both; exit 1 if anything could not be measured."""
    signal.signal(signal.SIGTERM, terminated)
    measure.adopt_orphans()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prepare", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few photos, smaller giants")
    parser.add_argument("--repeats", type=int, default=3, help="rounds [3]")
    parser.add_argument("--only", default="speed,memory", help="speed or memory")
    parser.add_argument("--work", type=Path, default=WORK, help="photos, outputs and logs")
    given = parser.parse_args()
    work = Path(os.path.abspath(given.work))  # noqa: PTH100 - children start elsewhere
    work.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + _ALL_S
    built = native.build(work)
    sizes = QUICK if given.quick else FULL
    bench = Bench(work, built, sizes, given.repeats, until)
    for line in machine.facts(bench):
        say(f"- {line}")
    say("")
    good = True
    for part, measured in (("speed", _speed), ("memory", _memory)):
        if part in given.only.split(","):
            section = measured(bench)
            say(section.markdown())
            good = good and section.is_whole
    return 0 if good else 1


def _speed(bench: Bench) -> Section:
    count = 6 if bench.sizes.quick else 24
    folder = photos.large(bench.work, count)
    section = Section(
        f"Prepare: {count} JPEGs of 12 MP to at most 1024 px, JPEG quality 95, 4:4:4",
        ["method", "workers", "photos/s", "× default", "CPU ms a photo", "peak MB", "runs"],
    )
    methods = [name for name in _METHODS if name != "vips" or find_spec("pyvips") is not None]
    if "vips" not in methods:
        section.notes.append("libvips: not measured, there is no pyvips")
    found: dict[tuple[str, int], list[tuple[float, Ran]]] = {
        (name, workers): [] for workers in (1, 2) for name in methods
    }
    faults: dict[tuple[str, int], str] = {}
    for turn in range(bench.repeats):
        for name, workers in list(found) if turn % 2 == 0 else list(reversed(found)):
            if bench.is_over:
                break
            ran = measure.run(
                [sys.executable, _ONE, name, workers, folder],
                bench.log("prepare", f"{name}-{workers}"),
                timeout_s=bench.left_s(_ONE_RUN_S),
                env=measure.environment(VIPS_CONCURRENCY="1"),  # a worker is one thread
            )
            told = json.loads(ran.last_words) if ran.code == 0 else {}
            if told.get("photos") == count:
                found[name, workers].append((told["seconds"], ran))
            else:
                faults[name, workers] = f"exit {ran.code}; {ran.last_words}"
    for (name, workers), runs in found.items():
        if not runs:
            why = faults.get((name, workers), "no time left")
            section.fails(_METHODS[name], str(workers), why=why)
            continue
        seconds = statistics.median(seconds for seconds, _ in runs)
        cpu_s = statistics.median(ran.cpu_s for _, ran in runs)
        base = [s for s, _ in found["pillow", workers]]
        cells = [
            number(count / seconds, 1),
            number(statistics.median(base) / seconds, 2) if base else "–",
            number(cpu_s / count * 1000),
            number(statistics.median(ran.peak_mb for _, ran in runs)),
        ]
        section.rows.append([_METHODS[name], str(workers), *cells, str(len(runs))])
    section.notes.append(
        "photos/s without start-up; CPU and memory of the whole process; × default:"
        " against Pillow's thumbnail() as called by default, with as many workers"
    )
    return section


def _memory(bench: Bench) -> Section:
    giant = 3000 if bench.sizes.quick else _GIANT_PX
    section = Section(
        "A whole run over three files (JPEG, PNG, TIFF with LZW), two calls each",
        ["files", "seconds", "peak MB, all", "its main process", "its children", "CPU s"],
    )
    answer = photos.answer(bench.work)
    with Server(bench.built.server, answer.file) as server:
        for edge_px in (_SMALL_PX, giant):
            folder = photos.huge(bench.work, edge_px)
            out = bench.work / "out" / "giants"
            shutil.rmtree(out, ignore_errors=True)
            server.reset()
            job = Job(folder, 3, 2, 16, out, server.url, server.port)
            log = bench.log("prepare", f"run-{edge_px}")
            command = contestants.ours(*RAMP_OFF).argv(job)
            ran = measure.run(command, log, timeout_s=bench.left_s(_ONE_RUN_S))
            fault = contestants.shortfall(job, answer, server.seen())
            shutil.rmtree(out, ignore_errors=True)
            title = f"3 × {edge_px * edge_px / 1e6:.0f} MP"
            if ran.code or fault:
                section.fails(title, why=f"exit {ran.code}, {fault}; {ran.last_words}")
                continue
            cells = [f"{ran.seconds:.2f}", number(ran.peak_mb), number(ran.main_mb)]
            cells += [number(ran.children_mb), f"{ran.cpu_s:.2f}"]
            section.rows.append([title, *cells])
    return section


if __name__ == "__main__":
    sys.exit(main())
