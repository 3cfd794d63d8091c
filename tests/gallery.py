"""The sample pictures for the tests: real files of other projects, fetched by `make samples`."""

import os
from pathlib import Path

import pytest

from tests.samples_fetch import Sample, packages, whole

FOLDER = Path(__file__).parent.parent / ".samples"
ALL = tuple(sample for package in packages() for sample in package.samples)
BY_NAME = {sample.name: sample for sample in ALL}
SENT = tuple(sample for sample in ALL if sample.refused is None)
REFUSED = tuple(sample for sample in ALL if sample.refused is not None)


def read(name: str) -> bytes:
    """A sample's bytes; skips the test when it is not there, or fails if REQUIRE_ORACLES is 1."""
    if not whole(FOLDER, BY_NAME[name]):
        missing("run make samples")
    return (FOLDER / name).read_bytes()


def missing(what: str) -> None:
    """Skip the test for want of a tool, or fail it where every tool must be there."""
    if os.environ.get("REQUIRE_ORACLES") == "1":
        pytest.fail(what)
    pytest.skip(what)


def name_of(sample: Sample) -> str:
    """A test's id for a sample."""
    return sample.name.removesuffix("_").rpartition("/")[2]
