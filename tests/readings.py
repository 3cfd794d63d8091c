"""Each sample is prepared, and read by the oracle, once for all tests that look at it."""

import hashlib
import os
from functools import cache
from pathlib import Path

import msgspec
import pytest

from batch_reimagine.prepare import prepare
from batch_reimagine.work import Upload
from tests import gallery, vips
from tests.samples_fetch import Sample

shared: Path | None = None  #: a folder of all workers of this run of the suite; see conftest.py


@cache
def upload_of(name: str) -> Upload:
    """What a sample becomes; skips the test when the sample is not there."""
    raw = gallery.read(name)
    if shared is None:
        return prepare(raw)
    kept = shared / hashlib.sha256(name.encode()).hexdigest()
    if kept.exists():
        return msgspec.msgpack.decode(kept.read_bytes(), type=Upload)
    upload = prepare(raw)
    shared.mkdir(exist_ok=True)
    part = kept.with_suffix(f".{os.getpid()}")
    part.write_bytes(msgspec.msgpack.encode(upload))
    part.rename(kept)
    return upload


@cache
def _theirs(sample: Sample) -> vips.Look | str:
    raw = gallery.read(sample.like or sample.name)
    try:
        return vips.look(raw, orientation=sample.orientation)
    except vips.Unread as error:
        return str(error)


def oracle_of(sample: Sample) -> vips.Look:
    """How the oracle sees a sample, or the one that it is to look like; skips when it cannot."""
    seen = _theirs(sample)
    if isinstance(seen, str):
        pytest.skip(f"the oracle cannot read it: {seen}"[:160])
    return seen
