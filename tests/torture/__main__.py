"""The long form: `python -m tests.torture [--kills 200] [--workers 8] [--seed 1] [--only WORD]`.

Prints a line of figures a part, then every finding; exit code 0 if there is none, else 1.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.torture import full, kills, order, points, power, trace
from tests.torture.points import Score, Small

MOST_S = 720.0
SHOWN = 12  # findings of one part

Part = Callable[[Path], Awaitable[tuple[str, list[str]]]]
Sweep = Callable[[Small, Path, int], Awaitable[Score]]


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def _small(name: str, place: Path, shim: Path) -> Small:
    match name:
        case "renamed":
            return await points.renamed(place, shim)
        case "bulky":
            return await points.bulky(place, shim)
    made: dict[str, Callable[[Path], Small]] = {
        "fresh": points.fresh,
        # The k-th call is the same in every run.
        "single file": partial(points.fresh, concurrency=1),
        "stormy": points.stormy,
        "poisoned": points.poisoned,
        "wide": points.wide,
    }
    return made[name](place)


def _random(count: int, workers: int, seed: int) -> Part:
    async def part(place: Path) -> tuple[str, list[str]]:
        score = await kills.loop(place, count, workers=workers, seed=seed)
        moments = ", ".join(f"{n} {moment}" for moment, n in sorted(score.kills.items()))
        figures = (
            f"{score.kills.total():4} kills ({moments}); {score.photos} photos,"
            f" {score.kept} pictures kept, {score.paid} paid; {score.in_flight} in flight at kills,"
            f" {score.confessed} written down as unknown"
        )
        return figures, score.findings

    return part


def _sweep(name: str, step: int, shim: Path, run: Sweep) -> Part:
    async def part(place: Path) -> tuple[str, list[str]]:
        score = await run(await _small(name, place / "small", shim), place, step)
        codes = ", ".join(f"{n} x {code}" for code, n in sorted(score.codes.items()))
        hit = ", ".join(f"{n} {op}" for op, n in score.hit.most_common())
        figures = f"{score.cases:4} points; ended {codes}; {score.lost} answers lost"
        return figures + (f"; hit {hit}" if hit else ""), score.findings

    return part


def _order(name: str, shim: Path, concurrency: int) -> Part:
    async def part(place: Path) -> tuple[str, list[str]]:
        small = replace(await _small(name, place / "small", shim), concurrency=concurrency)
        traced = await order.of(small, place / "traced", shim)
        rows, findings = order.pictures(traced)
        requests, more = order.requests(traced, concurrency)
        figures = f"{rows:4} pictures and {requests} requests in order, at concurrency"
        return f"{figures} {concurrency}", findings + more + order.folder(traced)

    return part


def _full(shim: Path) -> Part:
    async def part(place: Path) -> tuple[str, list[str]]:
        try:
            score = await full.fill(place, shim)
        except full.NoMountError as why:
            return f"   skipped: {why}", []
        return f"{score.cases:4} full runs; {score.lost} answers lost", score.findings

    return part


#: Which jobs each kind of harm comes to, and how many calls lie between two that are hit.
_KILLED = {
    "fresh": 1,
    "single file": 1,
    "renamed": 1,
    "bulky": 1,
    "poisoned": 1,
    "stormy": 2,
    "wide": 3,
}
_TORN = {"fresh": 1, "bulky": 2, "wide": 5}
_TWICE = {"fresh": 1, "renamed": 2}
_REFUSED = {"fresh": 1, "single file": 1, "renamed": 1, "bulky": 2, "wide": 5}
_CUT = {"fresh": 1, "bulky": 2, "wide": 4}
_TRACED = (("fresh", 1), ("fresh", 2), ("wide", 1), ("wide", 8))


def _sweeps(shim: Path) -> dict[str, tuple[dict[str, int], Sweep]]:
    def kill(small: Small, place: Path, step: int) -> Awaitable[Score]:
        return points.kills(small, place, shim, step=step)

    def tear(small: Small, place: Path, step: int) -> Awaitable[Score]:
        return points.kills(small, place, shim, how="torn", step=step)

    def twice(small: Small, place: Path, step: int) -> Awaitable[Score]:
        return points.kills_twice(small, place, shim, step=step, then=45)

    def cut(small: Small, place: Path, step: int) -> Awaitable[Score]:
        return power.cuts(small, place, shim, step=step)

    def refuse(fault: str) -> Sweep:
        def run(small: Small, place: Path, step: int) -> Awaitable[Score]:
            return points.faults(small, place, shim, fault, step=step)

        return run

    return {
        "kill": (_KILLED, kill),
        "torn": (_TORN, tear),
        "two kills": (_TWICE, twice),
        **{fault: (_REFUSED, refuse(fault)) for fault in points.FAULTS},
        "power cut": (_CUT, cut),
    }


def parts(count: int, workers: int, seed: int) -> dict[str, Part]:
    """All of it, by name."""
    found = {"random kills": _random(count, workers, seed)}
    try:
        shim = trace.build()
    except trace.NoShimError as why:
        say(f"only random kills: {why}")
        return found
    for name, (jobs, sweep) in _sweeps(shim).items():
        for job, step in jobs.items():
            found[f"{name}, {job}"] = _sweep(job, step, shim, sweep)
    for job, concurrency in _TRACED:
        found[f"order, {job} at {concurrency}"] = _order(job, shim, concurrency)
    found["full disk"] = _full(shim)
    return found


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


async def torture(chosen: dict[str, Part]) -> int:
    """Run the parts one after the other, within bounded time."""
    began, failed = time.monotonic(), 0
    for name, part in chosen.items():
        left, at = MOST_S - (time.monotonic() - began), time.monotonic()
        with tempfile.TemporaryDirectory(prefix="torture-") as place:
            try:
                async with asyncio.timeout(max(left, 0)):
                    figures, findings = await part(Path(place))
            except TimeoutError:
                figures, findings = "", [f"not done within the {MOST_S:.0f} s of the whole"]
            except Exception as error:  # noqa: BLE001 - the other parts still count
                figures, findings = (
                    "",
                    [f"broke off: {type(e).__name__}: {e}" for e in _leaves(error)],
                )
        took = time.monotonic() - at
        say(f"{'FAIL' if findings else 'ok':4} {name:22} {took:6.1f} s {figures}")
        for finding in findings[:SHOWN]:
            say(f"       {' '.join(finding.split())[:300]}")
        if findings[SHOWN:]:
            say(f"       … and {len(findings) - SHOWN} more")
        failed += bool(findings)
    say(f"{len(chosen) - failed} of {len(chosen)} parts clean, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def main() -> int:
    """Read the flags, run, count."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="parts whose name holds this")
    flags = parser.parse_args()
    try:
        found = parts(flags.kills, flags.workers, flags.seed)
        chosen = {name: part for name, part in found.items() if flags.only in name}
        return asyncio.run(torture(chosen)) if chosen else parser.error("no part of that name")
    finally:
        trace.remove()


if __name__ == "__main__":
    sys.exit(main())
