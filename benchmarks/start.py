"""W6: how long one waits for the first word, and for the first call."""

import statistics
import sys

from benchmarks import contestants, measure, photos
from benchmarks.bench import Bench, Section, goal
from benchmarks.contest import Work, contest, ours
from benchmarks.works import RAMP_OFF

_ONE_RUN_S = 20.0


def w6(bench: Bench) -> Section:
    """Start-up, in turn with an interpreter that does nothing."""
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "batch-reimagine --version": contestants.tool("--version"),
        "batch-reimagine --help": contestants.tool("--help"),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    section = Section("W6: start-up", ["command", "ms", "× python -c pass"])
    for _ in range(bench.sizes.turns):
        for name, command in commands.items():
            ran = measure.run(
                command,
                bench.log("w6", name),
                timeout_s=bench.left_s(_ONE_RUN_S),
                memory=False,
            )
            if ran.code:
                section.notes.append(f"{name}: exit {ran.code}; {ran.last_words}")
            times[name].append(ran.seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    least = medians["python -c pass"]
    for name, seconds in medians.items():
        section.rows.append([name, f"{seconds * 1000:.0f}", f"{seconds / least:.1f}"])
    work = Work("w6", photos.fitting(bench.work, 1), 1, 1, 1, photos.answer(bench.work))
    result = ours(contest(bench, work, [contestants.ours(*RAMP_OFF)]))
    first_s = result.first_s
    words = "`run`, start to first call at the server"
    if first_s is None:
        section.fails(words, why=result.why_not)
    else:
        section.rows.append([words, f"{first_s * 1000:.0f}", f"{first_s / least:.1f}"])
    version, show_help = (medians[name] / least for name in list(commands)[1:])
    section.goals += [
        goal("--version within 10 × python -c pass", version, 10.0, at_least=False),
        goal("--help within 30 × python -c pass", show_help, 30.0, at_least=False),
        goal("first call within 0.7 s of the start", first_s, 0.7, at_least=False),
    ]
    return section
