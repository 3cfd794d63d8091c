"""W1, W2, W3: photos in, pictures out, against what a user could have taken instead."""

from dataclasses import replace

from benchmarks import contestants, photos
from benchmarks.bench import Bench, Section, goal, number, ratio
from benchmarks.contest import Work, contest, ours, pace, table

RAMP_OFF = ("--ramp", "off")
_WIDE_ROUNDS = 2  # each takes what the service takes


def w1(bench: Bench) -> Section:
    """Small photos that fit already, no latency: what a call itself costs."""
    count, n = bench.sizes.small, 2
    folder = photos.fitting(bench.work, count)
    work = Work("w1", folder, count, n, 16, photos.answer(bench.work))
    results = contest(
        bench,
        work,
        [
            *contestants.floor(bench.built),
            contestants.ours(*RAMP_OFF),
            contestants.naive(),
            *([] if bench.sizes.quick else _others()),
        ],
    )
    section = table(f"W1: {count} JPEGs of 60 kB × {n}, no latency, 16 at once", results)
    mine = ours(results)
    section.goals += [
        goal(
            "at least 3.5 × naive",
            ratio(mine.calls_per_s, pace(results, "naive aiohttp")),
            3.5,
            at_least=True,
        ),
        goal(
            "within 5 × of the floor",
            ratio(pace(results, "C floor"), mine.calls_per_s),
            5.0,
            at_least=False,
        ),
        goal("at most 2.2 CPU s per 1,000 calls", mine.cpu_per_1000, 2.2, at_least=False),
    ]
    return section


def w2(bench: Bench) -> Section:
    """Photos as cameras make them: decode and shrink count most."""
    count, n = bench.sizes.large, 4
    folder = photos.large(bench.work, count)
    work = Work("w2", folder, count, n, 16, photos.answer(bench.work))
    results = contest(
        bench,
        work,
        [
            *contestants.floor(bench.built, large=True),
            contestants.ours(*RAMP_OFF),
            contestants.naive(),
            *([] if bench.sizes.quick else _others()),
        ],
    )
    section = table(f"W2: {count} JPEGs of 12 MP × {n}, no latency, 16 at once", results)
    mine = ours(results)
    section.goals += [
        goal(
            "at least 2.2 × naive",
            ratio(mine.calls_per_s, pace(results, "naive aiohttp")),
            2.2,
            at_least=True,
        ),
        goal(
            "within 1.9 × of the floor",
            ratio(pace(results, "C floor"), mine.calls_per_s),
            1.9,
            at_least=False,
        ),
        goal("peak under 200 MB", mine.median("peak_mb"), 200.0, at_least=False),
    ]
    return section


def w3(bench: Bench) -> Section:
    """A service that takes its time: how much of the width is really used, start-up included."""
    count, n, wide, latency_s = bench.sizes.wide
    folder = photos.fitting(bench.work, count)
    work = Work("w3", folder, count, n, wide, photos.answer(bench.work), latency_s)
    ideal_s = count * n / wide * latency_s
    field = [
        *contestants.floor(bench.built),
        contestants.ours(*RAMP_OFF),
        contestants.ours(name="batch-reimagine, ramp on", once=True),
        contestants.naive(once=True),
        *([] if bench.sizes.quick else contestants.httpx(once=True)),
    ]
    results = contest(replace(bench, repeats=min(bench.repeats, _WIDE_ROUNDS)), work, field)
    title = f"W3: {count * n} calls of {latency_s:g} s, {wide} at once (ideal {ideal_s:g} s)"
    header = ["contestant", "seconds", "share of the ideal", "first call, s", "runs"]
    section = Section(title, header)
    for result in results:
        seconds = result.median("seconds")
        if seconds is None:
            section.fails(result.who.name, why=result.why_not)
            continue
        cells = [f"{seconds:.2f}", f"{ideal_s / seconds:.3f}", number(result.first_s, 2)]
        section.rows.append([result.who.name, *cells, str(len(result.runs))])
    mine = ratio(ideal_s, ours(results).median("seconds"))
    section.goals.append(goal("at least 0.93 of the ideal, ramp off", mine, 0.93, at_least=True))
    return section


def _others() -> list[contestants.Contestant]:
    return [*contestants.httpx(once=True), *contestants.slow_peers()]
