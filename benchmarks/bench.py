"""What every work is handed: where, with what, how often, how long; and what it hands back."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.native import Built

NOT_COUNTED = "not counted"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of each work there is."""

    quick: bool
    small: int  #: W1: photos of 60 kB, two calls each
    large: int  #: W2: photos of 12 megapixels, four calls each
    wide: tuple[int, int, int, float]  #: W3: photos, calls of each, at once, seconds of a call
    finished: tuple[int, ...]  #: W4: photos of finished outputs, ten calls each
    few: int  #: W5: tiny photos, one call each
    many: int  #: W5, likewise
    turns: int  #: W6: starts of each command


FULL = Sizes(
    quick=False,
    small=500,
    large=100,
    wide=(100, 4, 100, 2.0),
    finished=(10_000, 100_000),
    few=1000,
    many=10_000,
    turns=15,
)
QUICK = Sizes(
    quick=True,
    small=100,
    large=6,
    wide=(50, 1, 25, 0.5),
    finished=(500,),
    few=100,
    many=1000,
    turns=5,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """One benchmark run."""

    work: Path  #: photos, outputs and logs lie below
    built: Built
    sizes: Sizes
    repeats: int
    until: float  #: when all must be over; monotonic s

    def left_s(self, at_most: float) -> float:
        """Seconds that a command may take now; never under one."""
        return max(1.0, min(at_most, self.until - time.monotonic()))

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.until

    def log(self, work: str, name: str) -> Path:
        """Where a contestant's words go."""
        plain = "".join(c if c.isalnum() else "-" for c in name).strip("-")
        return self.work / "logs" / f"{work}-{plain}.log"


@dataclass(slots=True)
class Section:
    """One work's part of the report."""

    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    goals: list[str] = field(default_factory=list)  #: for the full form; small works mislead

    @property
    def is_whole(self) -> bool:
        """Whether every row has its figures."""
        return not any(NOT_COUNTED in cell for row in self.rows for cell in row)

    def fails(self, *cells: str, why: str) -> None:
        """Add a row that says why it has no figures."""
        row = [*cells, f"{NOT_COUNTED}: {why}".replace("|", "/")]
        self.rows.append(row + [""] * (len(self.header) - len(row)))

    def markdown(self, *, goals: bool = True) -> str:
        """Give the section as text; goals: with the lines about them."""
        lines = [f"### {self.title}", ""]
        if self.rows:
            table = [self.header, ["---"] * len(self.header), *self.rows]
            lines += [f"| {' | '.join(cells)} |" for cells in table] + [""]
        lines += [f"- {note}" for note in self.notes]
        lines += [f"- {line}" for line in self.goals if goals]
        return "\n".join(lines) + "\n"


def goal(text: str, value: float | None, limit: float, *, at_least: bool) -> str:
    """One goal of the project's, with what was measured: a line for the notes."""
    if value is None:
        return f"goal, {text}: not measured"
    met = value >= limit if at_least else value <= limit
    return f"goal, {text}: {value:.2f}, {'met' if met else '**not met**'}"


def ratio(value: float | None, by: float | None) -> float | None:
    """Divide; None if there is nothing to compare."""
    return value / by if value and by else None


def number(value: float | None, digits: int = 0) -> str:
    """For a cell; a dash for what was not measured."""
    return "–" if value is None else f"{value:,.{digits}f}"
