"""SIGKILL at random moments of the real command, resume, repeat, then finish; the server knows."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from batch_reimagine.simulator import Behaviour, serve
from batch_reimagine.simulator.server import Server
from tests.support import make_photos
from tests.test_cli import ended, finish, start
from tests.torture import books as reading
from tests.torture.books import Books, Job

VARIATIONS = 3
START_S = 0.6  # about what the command takes until its first call
MOMENTS = ("start", "middle", "end")
_GROW = 8  # photos that come when little is left to do


@dataclass(slots=True)
class Score:
    """What a loop did, and what it found."""

    kills: Counter[str] = field(default_factory=Counter)  #: by moment
    too_late: int = 0  #: runs that had ended before they could be killed
    in_flight: int = 0  #: tries without an outcome, over all kills
    photos: int = 0
    paid: int = 0
    kept: int = 0
    confessed: int = 0  #: attempts that rows call unknown
    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)


async def loop(place: Path, kills: int, *, workers: int, seed: int) -> Score:
    """Kill so often, then finish, and look at everything after each."""
    began, score = time.monotonic(), Score()
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    behaviour = Behaviour(
        latency_s=0.08, latency_jitter=0.6, picture_px=16, share_503=0.05, seed=seed
    )
    job, out = Job(place / "photos", VARIATIONS), place / "out"
    score.photos = _GROW
    make_photos(job.photos, score.photos)
    confessed = _Confessed()
    in_flight: set[str] = set()
    async with serve(behaviour) as api:
        arguments = ["run", job.photos, "-o", out, "-n", VARIATIONS]
        arguments += ["--concurrency", workers, "--base-url", api.url, "--price", 1]
        books = Books()
        while score.kills.total() < kills and score.too_late < kills + 20:
            left = score.photos * VARIATIONS - len(books.done)
            moment = chance.choice(MOMENTS)
            if left < workers or (moment == "middle" and left < _GROW * VARIATIONS):
                make_photos(job.photos, _GROW, first=score.photos)
                score.photos += _GROW
                left += _GROW * VARIATIONS
            if await _killed(arguments, api, moment, left, chance):
                score.kills[moment] += 1
            else:
                score.too_late += 1
            books = await asyncio.to_thread(reading.read, out, may_be_torn=True)
            score.findings += [f"kill {score.kills.total()}: {what}" for what in books.findings]
            open_tries = len(books.open_tries)
            in_flight |= {line["id"] for line in books.open_tries}
            if open_tries > workers:
                score.findings.append(f"{open_tries} tries in flight, {workers} workers")
            confessed.take(books)
        code, _, err = await finish(*arguments)
        if code:
            score.findings.append(f"the last run ended with {code}: {err[-300:]}")
        stats = api.stats()
    books = await asyncio.to_thread(reading.read, out, may_be_torn=False)
    confessed.take(books)
    books.rows += confessed.missing(books)
    score.findings += await asyncio.to_thread(reading.at_end, books, job, stats)
    code, said, _ = await finish("verify", out)
    if code:
        score.findings.append(f"verify ends with {code}: {said[-300:]}")
    score.in_flight = len(in_flight)
    score.paid, score.kept = stats["paid"], len(books.bought)
    score.confessed = books.unknown_by_photo().total()
    if score.paid - score.kept > score.in_flight:
        score.findings.append(
            f"{score.paid} paid, {score.kept} kept, {score.in_flight} in flight at all kills"
        )
    score.seconds = time.monotonic() - began
    return score


class _Confessed:
    """Unknown rows seen so far: compaction may drop those that a later row took the place of."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, int], dict[str, object]] = {}

    def take(self, books: Books) -> None:
        for row in books.rows:
            if row["status"] == "unknown":
                self._rows[row["run"], row["source"], row["variation"]] = row

    def missing(self, books: Books) -> list[dict[str, object]]:
        there = {(row["run"], row["source"], row["variation"]) for row in books.rows}
        return [row for key, row in self._rows.items() if key not in there]


async def _killed(
    arguments: list[object], api: Server, moment: str, left: int, chance: random.Random
) -> bool:
    """Start the command and kill it; False if it had ended before."""
    stats = api.stats()
    process = start(*arguments)
    try:
        if moment == "start":
            await asyncio.sleep(chance.uniform(0.0, START_S))
        else:
            calls, paid = stats["calls"], stats["paid"] + left - chance.randint(0, 3)
            limit = time.monotonic() + 30
            while process.poll() is None and time.monotonic() < limit:
                now = api.stats()
                if now["calls"] > calls if moment == "middle" else now["paid"] >= paid:
                    break
                await asyncio.sleep(0.005)
            await asyncio.sleep(chance.uniform(0.0, 0.4 if moment == "middle" else 0.06))
    finally:
        process.kill()
    code, _, _ = await ended(process)
    return code < 0
