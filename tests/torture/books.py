"""What must hold of an output folder, read from its files alone; none of the tool's code judges.

Every check gives its findings in words, so that one run can show all of them.
"""

import hashlib
import io
import json
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from PIL import Image

from batch_reimagine.prepare import prepare
from tests.support import pictures

STATE = ".batch-reimagine"
PNG_END = bytes.fromhex("0000000049454e44ae426082")

_whole: set[str] = set()  # hashes of pictures that were decoded to their last byte


@dataclass(slots=True)
class Books:
    """An output folder as it lies there."""

    files: dict[str, str] = field(default_factory=dict)  #: picture → sha256
    rows: list[dict[str, Any]] = field(default_factory=list)
    tries: dict[str, dict[str, Any]] = field(default_factory=dict)
    ends: dict[str, dict[str, Any]] = field(default_factory=dict)
    carried: Decimal = Decimal(0)  #: money of tries that a compaction summed up; a try costs 1
    carried_calls: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def done(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["status"] == "done"]

    @property
    def bought(self) -> list[dict[str, Any]]:
        return [row for row in self.done if not row.get("copied_from")]

    @property
    def open_tries(self) -> list[dict[str, Any]]:
        """Tries that neither an end nor a row of their run settles.

        A row that says RUN_DIED is about an earlier run than the one that wrote it.
        """
        settled = {
            (row["run"], row["source"], row["variation"])
            for row in self.rows
            if row["reason"] != "RUN_DIED"
        }
        return [
            line
            for id_, line in self.tries.items()
            if id_ not in self.ends
            and (id_.partition(".")[0], line["source"], line["variation"]) not in settled
        ]

    @property
    def calls(self) -> int:
        """Calls that were written down."""
        return len(self.tries) + self.carried_calls

    @property
    def maybe_paid(self) -> Decimal:
        """Calls that the books do not call free."""
        free = sum(end["money"] == "free" for end in self.ends.values())
        return Decimal(len(self.tries) - free) + self.carried

    def unknown_by_photo(self) -> Counter[str]:
        """Lost attempts that rows own up to, by the photo's hash."""
        found: Counter[str] = Counter()
        for row in self.rows:
            if row["status"] == "unknown":
                found[row["source_sha256"]] += row["attempts"]
        return found


def read(out: Path, *, may_be_torn: bool) -> Books:
    """Read everything, and find what must never be. may_be_torn: the run was killed."""
    books = Books()
    if not out.exists():
        return books
    for name in pictures(out):
        data = (out / name).read_bytes()
        books.files[name] = hashlib.sha256(data).hexdigest()
        if fault := _fault_of(data, books.files[name]):
            books.findings.append(f"torn file under a final name: {name}: {fault}")
    books.rows = _lines(out / "manifest.jsonl", books, may_be_torn=may_be_torn)
    for line in _lines(out / STATE / "attempts.jsonl", books, may_be_torn=may_be_torn):
        match line["what"]:
            case "try":
                books.tries[line["id"]] = line
            case "end":
                books.ends[line["id"]] = line
            case "carry":
                books.carried += Decimal(line["spent"]) + Decimal(line["at_risk"])
                books.carried_calls += line["calls"]
    books.findings += _claims(books)
    return books


def _claims(books: Books) -> list[str]:
    """Rows that say more than lies on the disk."""
    findings = []
    for row in books.done:
        if row["output"] not in books.files:
            findings.append(f"a row without its file: {row['output']}")
        elif books.files[row["output"]] != row["output_sha256"]:
            findings.append(f"a row with another hash: {row['output']}")
    numbers = Counter((row["source"], row["variation"]) for row in books.done)
    return findings + [f"{n} done rows of {what}" for what, n in numbers.items() if n > 1]


def _fault_of(data: bytes, sha256: str) -> str | None:
    if sha256 in _whole:
        return None
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            if picture.format == "PNG" and not data.endswith(PNG_END):
                return "no end"
    except (OSError, SyntaxError, ValueError) as error:
        return f"{len(data)} bytes: {error}"
    _whole.add(sha256)
    return None


def _lines(path: Path, books: Books, *, may_be_torn: bool) -> list[dict[str, Any]]:
    found = []
    data = path.read_bytes() if path.exists() else b""
    *whole, tail = data.split(b"\n")
    if tail and not may_be_torn:
        books.findings.append(f"{path.name}: a torn last line")
    for number, line in enumerate(whole, 1):
        try:
            found.append(json.loads(line))
        except ValueError:
            books.findings.append(f"{path.name}: line {number} does not parse: {line[:60]!r}")
    return found


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be there at the end."""

    photos: Path
    variations: int
    refused: frozenset[str] = frozenset()  #: sources that end in one refusal instead

    def files(self) -> dict[str, Path]:
        found = (path for path in sorted(self.photos.rglob("*")) if path.is_file())
        return {path.relative_to(self.photos).as_posix(): path for path in found}


def at_end(
    books: Books,
    job: Job,
    stats: dict[str, Any],
    *,
    before: Books | None = None,
    all_confessed: bool = True,
) -> list[str]:
    """What is wrong after the job was finished.

    stats: the server's; of the calls made since `before`. all_confessed: every lost
    answer has an unknown row, and not just a line in the journal.
    """
    findings = list(books.findings)
    before = before or Books()
    sources = job.files()
    findings += _counts(books, job)
    if extra := books.files.keys() - {row["output"] for row in books.done}:
        findings.append(f"files without a row: {sorted(extra)}")
    if books.open_tries:
        findings.append(f"{len(books.open_tries)} tries without an outcome")
    earlier = {row["output"] for row in before.bought}
    bought = [row for row in books.bought if row["output"] not in earlier]
    paid, kept = stats["paid"], len(bought)
    if paid < kept:
        findings.append(f"{kept} pictures bought, but the server sent {paid}")
    calls = books.calls - before.calls
    if stats["calls"] > calls:
        findings.append(f"the server saw {stats['calls']} calls, the journal has {calls}")
    if paid > books.maybe_paid - before.maybe_paid:
        said = books.maybe_paid - before.maybe_paid
        findings.append(f"{paid} were paid, the books hold {said} for possible")
    if all_confessed:
        findings += _unexplained(books, before, sources, stats, bought)
    return findings


def _counts(books: Books, job: Job) -> list[str]:
    """Exactly N a photo, or the one refusal."""
    findings = []
    for source in job.files():
        have = [row for row in books.done if row["source"] == source]
        if source in job.refused:
            refusals = sum(
                (row["source"], row["status"]) == (source, "rejected") for row in books.rows
            )
            if have or refusals != 1:
                findings.append(f"{source}: {refusals} refusals, {len(have)} done rows")
        elif len(have) != job.variations:
            findings.append(f"{source}: {len(have)} done rows, not {job.variations}")
    return findings


def _unexplained(
    books: Books,
    before: Books,
    sources: dict[str, Path],
    stats: dict[str, Any],
    bought: list[dict[str, Any]],
) -> list[str]:
    """Payments, photo by photo, that neither a kept picture nor an unknown row explains."""
    kept = Counter(row["source_sha256"] for row in bought)
    confessed = books.unknown_by_photo() - before.unknown_by_photo()
    findings, seen = [], 0
    for path in {hashlib.sha256(p.read_bytes()).hexdigest(): p for p in sources.values()}.items():
        sha256, place = path
        sent = hashlib.sha256(upload(place)).hexdigest()
        paid = stats["paid_by_photo"].get(sent, 0)
        seen += paid
        if paid > kept[sha256] + confessed[sha256]:
            findings.append(
                f"{place.name}: {paid} paid, {kept[sha256]} kept, {confessed[sha256]} confessed"
            )
    if seen != stats["paid"]:
        findings.append(f"{stats['paid'] - seen} payments for photos that are not ours")
    return findings


_uploads: dict[bytes, bytes] = {}


def upload(photo: Path) -> bytes:
    """The bytes that are sent for a photo; only to tell whose payment it is."""
    raw = photo.read_bytes()
    if raw not in _uploads:
        _uploads[raw] = prepare(raw).data
    return _uploads[raw]
