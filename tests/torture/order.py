"""In which order one job reaches the disk and the wire: read from its trace, call by call."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tests.torture import points
from tests.torture.forks import Plain
from tests.torture.points import Small
from tests.torture.trace import Line

MANIFEST, JOURNAL = "manifest.jsonl", "attempts.jsonl"


@dataclass(frozen=True, slots=True)
class Trace:
    """What one run did. out: its output folder, as the trace names it."""

    lines: list[Line]
    out: str

    def first(self, phase: str, op: str, path: str, *, after: int = -1) -> int | None:
        """Where such a call first began or ended well after a place in the trace."""
        for at in range(after + 1, len(self.lines)):
            line = self.lines[at]
            if (line.phase, line.op, line.path) == (phase, op, path) and line.result >= 0:
                return at
        return None

    def durable(self, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (where it became durable, the line of JSON) for all that was appended to a file.

        An fsync covers what had been written when it began.
        """
        written: list[bytes] = []
        covered: dict[str, int] = {}
        told = 0
        for at, line in enumerate(self.lines):
            if not line.path.endswith(f"/{name}"):
                continue
            if (line.op, line.phase) == ("write", "E"):
                written.append(line.data)
            elif (line.op, line.phase) == ("fsync", "B"):
                covered[line.path] = len(written)
            elif (line.op, line.phase, line.result) == ("fsync", "E", 0):
                for data in written[told : covered[line.path]]:
                    yield from ((at, json.loads(text)) for text in data.splitlines())
                told = max(told, covered[line.path])

    def rows_written(self) -> dict[str, int]:
        """Where the write of each output's row began."""
        found: dict[str, int] = {}
        began = -1
        for at, line in enumerate(self.lines):
            if line.op == "write" and line.path.endswith(f"/{MANIFEST}"):
                if line.phase == "B":
                    began = at
                for text in line.data.splitlines():
                    found[json.loads(text)["output"]] = began
        return found

    def sent(self) -> list[int]:
        return [at for at, line in enumerate(self.lines) if line.op == "send"]


def pictures(trace: Trace) -> tuple[int, list[str]]:
    """File fsync, rename, folder fsync, row, row's fsync: (outputs looked at, findings)."""
    findings: list[str] = []
    rows_written = trace.rows_written()
    renames = {
        line.other: (at, line.path)
        for at, line in enumerate(trace.lines)
        if (line.op, line.phase) == ("rename", "B")
    }
    looked_at = 0
    for durable_at, row in trace.durable(MANIFEST):
        if row["status"] != "done":
            continue
        looked_at += 1
        output = row["output"]
        final = f"{trace.out}/{output}"
        if trace.first("B", "open", final) is not None:
            findings.append(f"{output}: written under its final name")
        if final not in renames:
            findings.append(f"{output}: never renamed")
            continue
        renamed_at, temp = renames[final]
        folder = str(PurePosixPath(final).parent)
        last_write = max(
            at
            for at in range(renamed_at)
            if (trace.lines[at].op, trace.lines[at].path) == ("write", temp)
        )
        synced = trace.first("E", "fsync", temp, after=last_write)
        named = trace.first("E", "rename", temp, after=renamed_at)
        folder_synced = None
        if named is not None:
            began = trace.first("B", "fsync", folder, after=named)
            folder_synced = trace.first("E", "fsync", folder, after=began or len(trace.lines))
        row_at = rows_written[output]
        steps = {
            "file fsync before rename": synced is not None and synced < renamed_at,
            "rename before folder fsync": folder_synced is not None,
            "folder fsync before row": folder_synced is not None and folder_synced < row_at,
            "row before its fsync": row_at < durable_at,
        }
        findings += [f"{output}: not {step}" for step, kept in steps.items() if not kept]
    for output in rows_written.keys() - {row["output"] for _, row in trace.durable(MANIFEST)}:
        findings.append(f"{output}: its row was never fsynced")
    return looked_at, findings


def requests(trace: Trace, concurrency: int) -> tuple[int, list[str]]:
    """(requests looked at, findings): journal before wire; no more unkept than are in flight."""
    findings: list[str] = []
    tries = [at for at, line in trace.durable(JOURNAL) if line["what"] == "try"]
    rows = [at for at, row in trace.durable(MANIFEST) if row["status"] == "done"]
    sent = trace.sent()
    for number, at in enumerate(sent, 1):
        if sum(durable < at for durable in tries) < number:
            findings.append(f"request {number} left before its try was durable")
        if number - sum(durable < at for durable in rows) > concurrency:
            findings.append(f"request {number} left before an earlier answer was durable")
    if len(tries) != len(sent):
        findings.append(f"{len(tries)} tries, {len(sent)} requests")
    return len(sent), findings


def folder(trace: Trace) -> list[str]:
    """The output folder's own name, and the books' names, are durable before the first request."""
    first = min(trace.sent(), default=len(trace.lines))
    findings = []
    state = f"{trace.out}/.batch-reimagine"
    for parent, child in (
        (str(Path(trace.out).parent), trace.out),
        (trace.out, state),
        (trace.out, f"{trace.out}/{MANIFEST}"),
        (state, f"{state}/{JOURNAL}"),
    ):
        made = next(
            at
            for at, line in enumerate(trace.lines)
            if line.path == child and line.phase == "E" and line.op in {"mkdir", "openlog"}
        )
        synced = trace.first("E", "fsync", parent, after=made)
        if synced is None or synced > first:
            findings.append(f"{Path(child).name}: named in a folder that was not fsynced")
    return findings


async def of(small: Small, place: Path, shim: Path) -> Trace:
    """What the real command does with a small job, traced from the folder above its output."""
    async with points.case(small, place, Plain(shim)) as (it, _):
        ended, lines = await it.run(watched=place)
        assert ended.code == 0, ended.err
        return Trace(lines, str(it.out))
