"""Each sample is prepared, and read by the oracle, once for all tests that look at it."""

from functools import cache

import pytest

from batch_reimagine.prepare import prepare
from batch_reimagine.work import Upload
from tests import gallery, vips
from tests.samples_fetch import Sample


@cache
def upload_of(name: str) -> Upload:
    """What a sample becomes; skips the test when the sample is not there."""
    return prepare(gallery.read(name))


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
