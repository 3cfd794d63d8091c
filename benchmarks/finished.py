"""A finished output, made in the tool's own format without a call: hard links of one picture."""

import hashlib
import os
import shutil
from pathlib import Path

from batch_reimagine import journal, manifest
from batch_reimagine.naming import STATE_DIR, output_name
from batch_reimagine.output import MANIFEST
from batch_reimagine.provider import request_of
from batch_reimagine.settings import Settings
from batch_reimagine.work import Record
from benchmarks import photos

_LINKS = 60_000  # of one file; ext4 takes 65,000 (source: ext4(5), max links)
_RUN = "20260101T000000-bench0"
_TIME = "2026-01-01T00:00:00.000Z"
_STAMP = "made-as"


def finished(work: Path, count: int, n: int) -> tuple[Path, Path]:
    """Give (photos, output) of a job of count tiny photos × n that is done, the state folder fresh.

    It is kept from run to run, and made anew when the tool's rows have other fields or words.
    """
    folder, out, stamp = photos.tiny(work, count), *_places(work, count, n)
    made_as = " ".join([*Record.__struct_fields__, request_of(Settings())])
    if not out.is_dir() or not stamp.exists() or stamp.read_text() != made_as:
        spoil(work, count, n)
        shutil.rmtree(out, ignore_errors=True)
        _make(work, folder, out, n)
        stamp.write_text(made_as)
    _fresh_state(out, count * n)
    return folder, out


def spoil(work: Path, count: int, n: int) -> None:
    """Let it be made anew next time: a rerun that went wrong may have changed it."""
    _places(work, count, n)[1].unlink(missing_ok=True)


def _places(work: Path, count: int, n: int) -> tuple[Path, Path]:
    """Give the output, and the file that says how it was made."""
    out = work / f"finished-{count}-{n}"
    return out, work / f"{out.name}.{_STAMP}"


def _fresh_state(out: Path, calls: int) -> None:
    state = out / STATE_DIR
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir()
    carry = journal.Carry(spent="0", at_risk="0", calls=calls, unpriced=calls)
    (state / journal.FILE).write_bytes(journal.encode(carry) + b"\n")


def _make(work: Path, folder: Path, out: Path, n: int) -> None:
    picture = photos.answer(work, tiny=True).picture
    picture_sha256 = hashlib.sha256(picture).hexdigest()
    out.mkdir()
    linked, links = Path(), _LINKS
    with (out / MANIFEST).open("wb") as rows:
        for photo in sorted(folder.rglob("*.jpg")):
            source = photo.relative_to(folder)
            base = source.with_suffix("").as_posix()
            content = hashlib.sha256(photo.read_bytes()).hexdigest()
            (out / source.parent).mkdir(exist_ok=True)
            first = output_name(base, 1, "png")
            row = manifest.encode(
                Record(
                    status="done",
                    output=first,
                    output_sha256=picture_sha256,
                    width=photos.TINY_PX[0],
                    height=photos.TINY_PX[1],
                    bytes=len(picture),
                    type="png",
                    run=_RUN,
                    time=_TIME,
                    source=source.as_posix(),
                    source_sha256=content,
                    variation=1,
                    provider=Settings().provider,
                    request=request_of(Settings()),
                    attempts=1,
                    http=(200,),
                    seconds=1.234,
                    task_id="bench",
                )
            )
            before, between, after = _split(row, first.encode(), b'"variation":1')
            for variation in range(1, n + 1):
                name = output_name(base, variation, "png")
                if links >= _LINKS:
                    linked, links = out / name, 0
                    linked.write_bytes(picture)
                else:
                    os.link(linked, out / name)
                links += 1
                number = b'"variation":%d' % variation
                rows.write(before + number + between + name.encode() + after + b"\n")


def _split(row: bytes, name: bytes, number: bytes) -> tuple[bytes, bytes, bytes]:
    """What stands before, between and after a row's number and its name.

    Encoding a million rows one by one takes longer than what they are for.
    Raises ValueError when a row is not written as this needs.
    """
    before, found, rest = row.partition(number)
    between, also_found, after = rest.partition(name)
    if not found or not also_found or not between.startswith(b","):
        raise ValueError(f"a row of another form: {row[:200]!r}")
    return before, between, after
