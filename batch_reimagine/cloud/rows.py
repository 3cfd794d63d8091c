"""A picture's row as the metadata of its object: short, ASCII, and not trusted when it is read."""

import base64
import binascii
import zlib
from datetime import datetime
from decimal import Decimal

import msgspec
from msgspec import structs

from batch_reimagine.naming import SUFFIXES
from batch_reimagine.work import Record

_MOST_TEXT_BYTES = 1600  # 2 KB are S3's limit for all metadata; rclone takes a little less
_MOST_ROW_BYTES = 64_000  # unpacked; metadata is anybody's who may write to the bucket
_MOST_MONEY = 10**12  # for one call, as in the journal
_MOST_NUMBER = 9999
_ROW = msgspec.json.Decoder(Record)


def packed(row: Record | None, sha256: str) -> dict[str, str]:
    """Metadata for `Objects.put`: the row, as far as there is room, and the object's sha256."""
    plain = {"sha256": sha256}
    if row is None:
        return plain
    for short in (row, structs.replace(row, message=None, task_id=None)):
        known = {name: value for name, value in structs.asdict(short).items() if value is not None}
        text = base64.urlsafe_b64encode(zlib.compress(msgspec.json.encode(known), 9)).decode()
        if len(text) <= _MOST_TEXT_BYTES:
            return {**plain, "row": text}
    return plain


def unpacked(about: dict[str, str], name: str) -> Record | None:
    """The row of the picture with this name; None if there is none that can be believed."""
    try:
        reader = zlib.decompressobj()
        text = reader.decompress(base64.urlsafe_b64decode(about["row"]), _MOST_ROW_BYTES)
        row = _ROW.decode(text)
    except (
        KeyError,
        ValueError,
        binascii.Error,
        zlib.error,
        msgspec.DecodeError,
        RecursionError,
    ):
        return None
    return row if _is_sound(row, name, about.get("sha256")) else None


def _is_sound(row: Record, name: str, sha256: str | None) -> bool:
    """Whether it is a row that we would have written of this picture; money not least."""
    try:
        cost = Decimal(row.cost or 0)
        sums = cost.is_finite() and 0 <= cost <= _MOST_MONEY
        timed = datetime.fromisoformat(row.time).tzinfo is not None
    except (ValueError, ArithmeticError):
        return False
    return (
        sums
        and timed
        and row.status == "done"
        and row.output == name
        and row.output_sha256 == sha256
        and row.type in SUFFIXES
        and name.endswith(SUFFIXES[row.type])
        and 1 <= row.variation <= _MOST_NUMBER
        and 0 <= row.attempts <= _MOST_NUMBER
        and all(side is not None and side > 0 for side in (row.width, row.height, row.bytes))
    )
