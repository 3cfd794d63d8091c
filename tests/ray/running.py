"""The command in a process of its own, and the service in another."""

import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from tests.support import KEY, pictures, rows

_MOST_S = 120.0
_MAIN = [sys.executable, "-m", "batch_reimagine"]


@dataclass(slots=True)
class Service:
    """`batch-reimagine simulate` as it runs."""

    url: str
    log: Path

    def ask(self, path: str, **changes: Any) -> dict[str, Any]:
        data = json.dumps(changes).encode() if changes else None
        with urllib.request.urlopen(f"{self.url}{path}", data, timeout=10) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
        return found

    def behave(self, **changes: Any) -> None:
        self.ask("/_control", **changes)

    @property
    def stats(self) -> dict[str, Any]:
        return self.ask("/_stats")

    @property
    def starts(self) -> list[float]:
        """When each call began, in seconds, in order."""
        calls = [json.loads(line) for line in self.log.read_text().splitlines()]
        return sorted(call["monotonic_s"] for call in calls)


@contextmanager
def serving(log: Path) -> Iterator[Service]:
    process = subprocess.Popen(
        [*_MAIN, "simulate", "--log", str(log)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = next(word for word in process.stdout.readline().split() if "://" in word)
        yield Service(url, log)
    finally:
        process.terminate()
        process.communicate(timeout=10)


class Run:
    """`batch-reimagine run` as it runs. Use it as a context manager: it never outlives it."""

    def __init__(
        self,
        photos: Path | str,
        out: Path | str,
        *flags: str,
        start: Sequence[str] = (),
        **environ: str,
    ) -> None:
        """start: what to type instead of the command's name."""
        command = [*(start or _MAIN), "run", str(photos), "-o", str(out), "--json", *flags]
        env = {**os.environ, "NOVITA_API_KEY": KEY, **environ}
        folder = out.parent if isinstance(out, Path) else Path(os.environ["HOME"])
        self.err = folder / f"{time.monotonic_ns()}.err"
        self.began = time.monotonic()
        with self.err.open("wb") as err:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=err, env=env, start_new_session=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def end(self) -> "Ended":
        """Wait for the end."""
        stdout, _ = self.process.communicate(timeout=_MOST_S)
        events = [json.loads(line) for line in stdout.splitlines()]  # nothing else is there
        wall_s = time.monotonic() - self.began
        return Ended(self.process.returncode, events, self.err.read_text(), wall_s)

    def wait_for_calls(self, service: Service, count: int) -> None:
        until = time.monotonic() + 60
        while service.stats["calls"] < count:
            assert self.process.poll() is None, self.err.read_text()
            assert time.monotonic() < until, "no calls come"
            time.sleep(0.05)


@dataclass(slots=True)
class Ended:
    """What a run told."""

    code: int
    events: list[dict[str, Any]]
    err: str
    wall_s: float

    @property
    def summary(self) -> dict[str, Any]:
        return next(event for event in self.events if event["event"] == "summary")

    @property
    def notes(self) -> list[str]:
        return [event["text"] for event in self.events if event["event"] == "note"]

    @property
    def statuses(self) -> Counter[str]:
        return Counter(event["status"] for event in self.events if event["event"] == "item")


def most_within(starts: Sequence[float], seconds: float) -> int:
    """The most starts in any stretch of so many seconds."""
    most = first = 0
    for last, at in enumerate(starts):
        while at - starts[first] > seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def a_second(starts: Sequence[float]) -> list[int]:
    """Starts in each second since the first."""
    counts = Counter(int(at - starts[0]) for at in starts)
    return [counts[second] for second in range(max(counts) + 1)]


class Addressed(Protocol):
    """A cluster."""

    @property
    def address(self) -> str: ...


def flags(nodes: Addressed, service: Service, *more: str) -> list[str]:
    return ["--engine", "ray", "--address", nodes.address, "--base-url", service.url, *more]


def tell(figures: str) -> None:
    print(figures)  # noqa: T201 - for whoever asks with -rP


def assert_true(out: Path, made: int) -> None:
    """The manifest says what is there, and all of it is."""
    done = [row for row in rows(out) if row["status"] == "done"]
    assert len(done) == made
    assert len({(row["source"], row["variation"]) for row in done}) == made
    assert sorted(row["output"] for row in done) == pictures(out)
    for row in done:
        data = (out / row["output"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["output_sha256"]
