"""Print what becomes of every sample picture, as a table in Markdown.

    python -m tests.picture_table

A row a sample: is it sent or refused and why, does it stand upright (of the eight ways to hold it
the oracle's is the most like), how far are its colours from the oracle's (tests/vips.py: libvips
through ICC, mean of 255 over 32 x 32), and how large is it. Exit 1 if a row is not as it should be.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batch_reimagine.errors import Rejected
from batch_reimagine.prepare import prepare
from tests import vips
from tests.gallery import ALL, FOLDER
from tests.samples_fetch import Sample, whole


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one sample."""

    case: str
    end: str
    upright: str = "–"
    differs: str = "–"
    size: str = "–"
    wrong: bool = False


def row_of(sample: Sample) -> Row:
    """Prepare one sample and hold it against the oracle."""
    case = f"{sample.covers} (`{Path(sample.name).name}`)"
    if not whole(FOLDER, sample):
        return Row(case, "missing: run `make samples`", wrong=True)
    raw = (FOLDER / sample.name).read_bytes()
    try:
        upload = prepare(raw)
    except Rejected as refused:
        return Row(case, f"refused: {refused.reason}", wrong=refused.reason != sample.refused)
    end = f"sent ({upload.note})" if upload.note else "sent"
    kind = "PNG" if upload.data.startswith(b"\x89PNG") else "JPEG"
    size = f"{upload.width} × {upload.height} {kind}, {len(upload.data):,} bytes"
    if sample.differs is None:
        return Row(case, end, "no other reader", "–", size, wrong=sample.refused is not None)
    seen = (FOLDER / sample.like).read_bytes() if sample.like else raw
    try:
        theirs = vips.look(seen, orientation=sample.orientation)
    except vips.Unread as error:
        return Row(case, end, f"oracle: {error}"[:60], "–", size)
    mine = vips.look(upload.data)
    turn, differs = vips.closest_turn(mine, theirs), vips.difference(mine, theirs)
    return Row(
        case,
        end,
        "yes" if turn == 1 else f"NO, as EXIF {turn}",
        f"{differs:.2f} (≤ {sample.differs:g})",
        f"{theirs.width} × {theirs.height} → {size}" if not sample.like else size,
        wrong=sample.refused is not None or turn != 1 or differs > sample.differs,
    )


def table(rows: list[Row]) -> Iterator[str]:
    """The lines of the table, and one that counts them."""
    yield "| format and case | end | upright | differs from libvips | size |"
    yield "|---|---|---|---|---|"
    for row in rows:
        case = f"**{row.case}**" if row.wrong else row.case
        yield f"| {case} | {row.end} | {row.upright} | {row.differs} | {row.size} |"
    sent = sum(row.end.startswith("sent") for row in rows)
    upright = sum(row.upright == "yes" for row in rows)
    wrong = sum(row.wrong for row in rows)
    yield ""
    yield (
        f"{len(rows)} cases: {sent} sent, {len(rows) - sent} refused; of {upright} the oracle says"
        f" that they are upright; {wrong} not as they should be (in bold)."
    )


def main() -> int:
    if not vips.available():
        print("the table needs libvips: pip install pyvips pyvips-binary", file=sys.stderr)  # noqa: T201
        return 1
    rows = [row_of(sample) for sample in ALL]
    for line in table(rows):
        print(line)  # noqa: T201 - it is a command
    return 1 if any(row.wrong for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
