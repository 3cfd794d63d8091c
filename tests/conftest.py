"""Whatever blocks the event loop fails its test; and what the suite shares to be quick."""

import asyncio
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import readings
from tests.support import make_photos

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from blockbuster import BlockBuster, blockbuster_ctx

if TYPE_CHECKING:
    from batch_reimagine.cloud.objects import Objects
    from tests.stores import Store

#: Files of a minute or so, the longest first: begun last, one worker alone would end the suite.
SLOW = (
    "test_torture",
    "test_shards",
    "test_planted",
    "test_hostile",
    "test_cloud_books",
    "test_cloud_run",
    "test_docs",
    "test_conformance",
    "test_cloud_deciding",
    "test_secrets",
    "test_review",
    "test_formats",
    "test_cli",
    "test_cloud_listing",
    "test_kill",
    "test_answers",
    "test_cloud_lease",
    "test_cli_pick",
    "test_books",
    "test_cloud_names",
    "test_cloud_reading",
    "test_cloud_objects",
    "test_store_walk",
    "test_review_races",
    "test_cloud_money",
    "test_gate",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow files first; `--no-loadscope-reorder` lets xdist keep to that."""
    order = {name: number for number, name in enumerate(SLOW)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="session", autouse=True)
def _shared(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What one worker prepared, the others need not: their folders lie side by side."""
    # No test finds a key that whoever runs it keeps on this machine.
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))
    os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"
    if "PYTEST_XDIST_WORKER" in os.environ:
        readings.shared = Path(tmp_path_factory.getbasetemp().parent) / "uploads"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with two small photos."""
    make_photos(tmp_path / "photos", 2)
    return tmp_path / "photos"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """One small photo."""
    (path,) = make_photos(tmp_path / "photos", 1)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where there is nothing yet."""
    return tmp_path / "out"


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between attempts grow as ever, from a hundredth of their length."""
    monkeypatch.setattr("batch_reimagine.client.BACKOFF_S", 0.01)


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Store | None"]:
    """The server of a store of that kind, for `tests.stores.over`; None for those without."""
    from tests.stores import serving  # noqa: PLC0415 - the libraries of stores take a second

    with serving(request.param, tmp_path_factory.mktemp("server") / "data") as store:
        yield store


@pytest.fixture
def objects(
    server: "Store | None",
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> "Objects":
    """An empty store there."""
    from tests.stores import fresh  # noqa: PLC0415

    return fresh(request.node.callspec.params["server"], server, tmp_path, monkeypatch)


@pytest.fixture(autouse=True)
def _no_blocking(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """Watch the package's own code in every asynchronous test."""
    if not asyncio.iscoroutinefunction(getattr(request, "function", None)):
        yield None
        return
    with blockbuster_ctx("batch_reimagine") as watching:
        yield watching
