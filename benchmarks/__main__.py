"""`python -m benchmarks`: measure the tool beside its peers, and print the tables as markdown.

See README.md in this folder for what is measured, how, and what is not.
"""

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from benchmarks import machine, measure, native, photos
from benchmarks.bench import FULL, QUICK, Bench, Section, Sizes
from benchmarks.contest import SPENT
from benchmarks.finished import finished
from benchmarks.growth import w5
from benchmarks.noop import N, w4
from benchmarks.start import w6
from benchmarks.works import w1, w2, w3

# What each needs, made before the clock starts and kept; then the work. The cheap ones come first.
_WORKS: dict[str, tuple[Callable[[Path, Sizes], object], Callable[[Bench], Section]]] = {
    "w6": (lambda work, _: photos.fitting(work, 1), w6),
    "w3": (lambda work, sizes: photos.fitting(work, sizes.wide[0]), w3),
    "w1": (lambda work, sizes: photos.fitting(work, sizes.small), w1),
    "w2": (lambda work, sizes: photos.large(work, sizes.large), w2),
    "w5": (lambda work, sizes: [photos.tiny(work, n) for n in (sizes.few, sizes.many)], w5),
    "w4": (lambda work, sizes: [finished(work, n, N) for n in sizes.finished], w4),
}
_FULL_S, _QUICK_S = 470.0, 50.0
WORK = Path(__file__).parent / ".work"


def main() -> int:
    """Run the works that were asked for; exit 0 if all of them could be measured."""
    signal.signal(signal.SIGTERM, terminated)
    measure.adopt_orphans()
    names, given = _asked()
    began = time.monotonic()
    bench = _set_up(names, given)
    set_up_s = time.monotonic() - began
    say("## Benchmark\n")
    for line in machine.facts(bench):
        say(f"- {line}")
    say("")
    missing = [name for name in names if not _measured(bench, name)]
    shutil.rmtree(bench.work / SPENT, ignore_errors=True)
    if bench.sizes.quick:
        say("Small works: ratios are information, the goals are for the full form.")
    say(f"Took {time.monotonic() - began - set_up_s:.0f} s, after {set_up_s:.0f} s of set-up.")
    return 1 if missing else 0


def _measured(bench: Bench, name: str) -> bool:
    if bench.is_over:
        say(f"### {name.upper()}: no time left\n")
        return False
    section = _WORKS[name][1](bench)
    say(section.markdown(goals=not bench.sizes.quick))
    return section.is_whole


def say(line: str) -> None:
    """Print one line now: the next may be minutes away."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _asked() -> tuple[list[str], argparse.Namespace]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small works, under a minute: for CI")
    parser.add_argument("--only", default=",".join(_WORKS), help="some of w1,w2,w3,w4,w5,w6")
    parser.add_argument("--repeats", type=int, help="rounds at most [3, quick 1]")
    parser.add_argument("--growth", type=int, help="photos of W5's larger run [10000, quick 1000]")
    parser.add_argument("--seconds", type=float, help="end by then, set-up apart [470, quick 50]")
    parser.add_argument("--work", type=Path, default=WORK, help="photos, outputs and logs")
    given = parser.parse_args()
    asked = given.only.lower().split(",")
    if unknown := set(asked) - set(_WORKS):
        parser.error(f"--only: no work is called {', '.join(sorted(unknown))}")
    return [name for name in _WORKS if name in asked], given


def _set_up(names: list[str], given: argparse.Namespace) -> Bench:
    sizes = QUICK if given.quick else FULL
    if given.growth:
        sizes = replace(sizes, many=given.growth)
    work = Path(os.path.abspath(given.work))  # noqa: PTH100 - contestants start elsewhere
    work.mkdir(parents=True, exist_ok=True)
    for name in names:
        _WORKS[name][0](work, sizes)
    return Bench(
        work=work,
        built=native.build(work),
        sizes=sizes,
        repeats=max(1, given.repeats or (1 if given.quick else 3)),
        until=time.monotonic() + (given.seconds or (_QUICK_S if given.quick else _FULL_S)),
    )


def terminated(_number: int, _frame: object) -> NoReturn:
    """End by an exception, so that every child is ended on the way out."""
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
