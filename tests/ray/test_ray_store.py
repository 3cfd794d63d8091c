"""Nodes that read from an object store and write to it, and books that stay with the run."""

from pathlib import Path

import pytest

from batch_reimagine.cloud import open_objects
from tests import stores
from tests.ray.conftest import Nodes
from tests.ray.running import Run, Service, flags
from tests.support import jpeg


def test_from_store_to_store_over_two_nodes(
    nodes: Nodes, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with stores.moto() as store:
        bucket = store.bucket("shop")
        options = [f"endpoint={store.endpoint}", "region=us-east-1"]
        words = dict(option.split("=", 1) for option in options)
        photos = open_objects(bucket.child("photos"), words)
        for number in range(8):
            photos.put(f"photo-{number:03}.jpg", jpeg(number))
        command = flags(nodes, service, "-n", "3")
        for option in options:
            command += ["--store-option", option]
        source, target = str(bucket.child("photos")), str(bucket.child("out"))

        with Run(source, target, *command) as run:
            first = run.end()
        with Run(source, target, *command) as run:
            second = run.end()

        out = open_objects(bucket.child("out"), words)
        made = [entry.name for page in out.pages() for entry in page if "_v0" in entry.name]
    assert first.code == 0, first.err
    assert second.code == 0, second.err
    assert len(made) == 24
    assert service.stats["calls"] == 24
