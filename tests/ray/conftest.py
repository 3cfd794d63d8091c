"""A real Ray cluster on this machine: a head without work and two nodes, each a raylet of its own.

About 1 GB while it runs. All of it listens on the loopback, under a token of its own.
"""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import stores
from tests.ray.running import Service, serving

_TWO = 2
_END_S = 5.0


@dataclass(slots=True)
class Nodes:
    """The cluster, and what a test does to it."""

    cluster: Any
    folder: Path
    workers: list[Any] = field(default_factory=list)

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self) -> None:
        self.workers.append(self.cluster.add_node(**_small(), num_cpus=2))

    def kill(self) -> int:
        """SIGKILL the node that came last, and every process below it; return how many."""
        node = self.workers.pop()
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        family = [raylet, *raylet.children(recursive=True)]
        for process in family:
            process.kill()
        self.cluster.worker_nodes.discard(node)
        return len(family)

    def actors(self) -> list[int]:
        """Process ids of our actors in it, preparers not counted."""
        found = []
        for worker in self.workers:
            raylet = psutil.Process(worker.all_processes["raylet"][0].process.pid)
            for child in raylet.children():
                try:
                    if child.name().startswith("ray::Node") or "ray::Node" in child.cmdline()[0]:
                        found.append(child.pid)
                except (psutil.Error, IndexError):
                    continue
        return found

    def actors_end(self, within_s: float) -> float:
        """Wait until no actor of ours is left; return how long that took."""
        began = time.monotonic()
        while self.actors():
            assert time.monotonic() - began < within_s, "actors are left"
            time.sleep(0.05)
        return time.monotonic() - began


def _small() -> dict[str, Any]:
    return {
        "object_store_memory": 80_000_000,
        "include_dashboard": False,
    }


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Nodes]:
    os.environ.update(
        RAY_USAGE_STATS_ENABLED="0",
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # so it stays on the loopback, also on Linux
        RAY_AUTH_TOKEN=secrets.token_hex(32),
        RAY_memory_monitor_refresh_ms="0",  # what else this machine runs is not ours to judge
        # Nodes have credentials of their own; where the store is they hear from the run.
        AWS_ACCESS_KEY_ID=stores.KEY_ID,
        AWS_SECRET_ACCESS_KEY=stores.SECRET,
        AWS_EC2_METADATA_DISABLED="true",
    )
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # not tmp_path: its sockets want a short name
    os.environ["RAY_TMPDIR"] = str(folder)
    pytest.importorskip("ray", reason="pip install ray")  # not sooner: it reads these
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - an extra

    nodes = Nodes(Cluster(), folder)
    before = set(psutil.Process().children(recursive=True))
    try:
        nodes.cluster.add_node(**_small(), num_cpus=0)
        yield nodes
    finally:
        nodes.cluster.shutdown()
        left = [p for p in psutil.Process().children(recursive=True) if p not in before]
        _, left = psutil.wait_procs(left, timeout=_END_S)
        for process in left:
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def nodes(_cluster: Nodes) -> Nodes:
    """The cluster with its two nodes, whatever the test before did to it."""
    while len(_cluster.workers) < _TWO:
        _cluster.add()
    return _cluster


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path / "calls.jsonl") as started:
        yield started
