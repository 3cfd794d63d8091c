"""Whatever blocks the event loop fails its test."""

import asyncio
import warnings
from collections.abc import Iterator

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from blockbuster import BlockBuster, blockbuster_ctx


@pytest.fixture(autouse=True)
def _no_blocking(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """Watch the package's own code in every asynchronous test."""
    if not asyncio.iscoroutinefunction(getattr(request, "function", None)):
        yield None
        return
    with blockbuster_ctx("batch_reimagine") as watching:
        yield watching
