"""W5: what the number of photos does to memory, pace and the first call."""

from dataclasses import replace

from benchmarks import contestants, photos
from benchmarks.bench import Bench, Section, goal, number, ratio
from benchmarks.contest import Result, Work, contest
from benchmarks.works import RAMP_OFF

_CONCURRENCY = 16
_START_S, _LEAST_PER_S = 60.0, 80.0  # slower than this is ended


def w5(bench: Bench) -> Section:
    """Few and many tiny photos with tiny answers, so that only what the tool keeps can grow."""
    few, many = bench.sizes.few, bench.sizes.many
    answer = photos.answer(bench.work, tiny=True)
    field = [contestants.ours(*RAMP_OFF), contestants.naive()]
    found = {}
    for count in (few, many):
        work = Work(
            f"w5-{count}",
            photos.tiny(bench.work, count),
            count,
            1,
            _CONCURRENCY,
            answer,
            one_run_s=_START_S + count / _LEAST_PER_S,
        )
        found[count] = contest(replace(bench, repeats=1), work, field)
    section = Section(
        f"W5: {few:,} against {many:,} tiny photos, tiny answers, {_CONCURRENCY} at once",
        ["contestant", "photos", "calls/s", "peak MB", "MB per 1,000 more", "first call, s"],
    )
    for small, big in zip(found[few], found[many], strict=True):
        grown = _grown(small, big, few, many)
        _row(section, few, small, "")
        _row(section, many, big, "–" if grown is None else f"{grown:.2f}")
        if small.who.is_ours:
            section.goals += [
                goal("at most 0.7 MB per 1,000 photos", grown, 0.7, at_least=False),
                goal("first call within 1 s of the start", big.first_s, 1.0, at_least=False),
                goal(
                    "pace with many ÷ pace with few at least 1",
                    ratio(big.calls_per_s, small.calls_per_s),
                    1.0,
                    at_least=True,
                ),
            ]
    return section


def _grown(small: Result, big: Result, few: int, many: int) -> float | None:
    before, after = small.median("peak_mb"), big.median("peak_mb")
    return None if before is None or after is None else (after - before) / (many - few) * 1000


def _row(section: Section, count: int, result: Result, grown: str) -> None:
    if not result.runs:
        section.fails(result.who.name, f"{count:,}", why=result.why_not)
        return
    cells = [number(result.calls_per_s), number(result.median("peak_mb")), grown]
    section.rows.append([result.who.name, f"{count:,}", *cells, number(result.first_s, 2)])
