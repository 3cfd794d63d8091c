"""The least that a no-op rerun can do: read every row of a manifest once, and count per photo.

usage: scan.py MANIFEST EXPECTED_ROWS
"""

import sys
from pathlib import Path

import msgspec


class Row(msgspec.Struct):
    """What decides whether a variation is there."""

    status: str
    source: str
    source_sha256: str
    variation: int


decoder = msgspec.json.Decoder(Row)
done: dict[str, int] = {}
with Path(sys.argv[1]).open("rb") as manifest:
    for line in manifest:
        row = decoder.decode(line)
        done[row.source] = done.get(row.source, 0) + (row.status == "done")
if sum(done.values()) != int(sys.argv[2]):
    sys.exit(f"{sum(done.values())} rows, not {sys.argv[2]}")
