"""An output in an object store, as several machines see it: each has a home of its own."""

import itertools
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine.address import Address
from batch_reimagine.cloud import Objects, open_objects
from batch_reimagine.cloud.tree import CloudTree
from tests.reviewing import COMMAND, ROOT, Reviewer
from tests.spoiling import Proxy
from tests.stores import Store
from tests.support import make_photos

_NUMBERS = itertools.count()
Kept = dict[str, tuple[bytes, dict[str, str]]]  #: objects: bytes and metadata


@dataclass(frozen=True)
class Output:
    """One output, and what processes need to reach it."""

    store: Store
    address: Address
    machines: Path

    @property
    def objects(self) -> Objects:
        return open_objects(self.address, {})

    def names(self) -> list[str]:
        return [entry.name for page in self.objects.pages() for entry in page]

    def pictures(self) -> list[str]:
        return [name for name in self.names() if name.endswith(".png")]

    def home(self, machine: str) -> Path:
        home = self.machines / machine
        home.mkdir(parents=True, exist_ok=True)
        return home

    def books(self, machine: str) -> Path:
        """The folder of books, once there is one."""
        return next((self.home(machine) / ".local/state/batch-reimagine").iterdir())

    def tree(self, machine: str) -> CloudTree:
        return CloudTree(self.home(machine) / "books", self.objects)

    def environment(self, machine: str, **more: str) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "NOVITA", "BATCH_REIMAGINE"))
        }
        mine = {"HOME": str(self.home(machine)), "PYTHONPATH": str(ROOT)}
        return kept | self.store.environment | mine | more

    def start(self, machine: str, *words: object, **more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*COMMAND, *map(str, words)],
            env=self.environment(machine, **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def do(self, machine: str, *words: object, **more: str) -> tuple[int, str, str]:
        """A command to its end: exit code, what it told, what it complained about."""
        with self.start(machine, *words, **more) as process:
            told, complaints = process.communicate(timeout=50)
        return process.returncode, told.decode(), complaints.decode()

    def pick(self, machine: str, *words: object) -> str:
        code, told, complaints = self.do(machine, "pick", self.address, *words)
        assert code == 0, complaints
        return told

    @contextmanager
    def review(self, machine: str, *words: object, **more: str) -> Iterator[Reviewer]:
        with Reviewer(
            self.start(machine, "review", self.address, "--no-open", *words, **more)
        ) as page:
            page.log_in()
            yield page

    def run(self, machine: str, photos: object, *words: object) -> None:
        wanted = ["--provider", "simulator", "-q", *words]
        code, _, complaints = self.do(machine, "run", photos, "-o", self.address, *wanted)
        assert code == 0, complaints


def made_by_a_run(store: Store, machines: Path) -> Kept:
    """What a real run puts there: three photos, two variations each."""
    with pytest.MonkeyPatch.context() as patch:
        store.use(patch)
        output = new_output(store, machines)
        photos = output.home("maker") / "photos"
        make_photos(photos, 3)
        output.run("maker", photos, "-n", 2)
        return kept_of(output)


def until(is_so: Callable[[], Any], within_s: float = 20) -> Any:
    end = time.monotonic() + within_s
    while not (found := is_so()):
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.1)
    return found


def through(proxy: Proxy) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{proxy.port}"}


def fetched(proxy: Proxy) -> list[str]:
    """The pictures that were transferred, each as often as it was."""
    return [seen.path for seen in proxy.seen if seen.method == "GET" and seen.path.endswith(".png")]


def kept_of(output: Output) -> Kept:
    """All objects of an output, to be put elsewhere."""
    objects, found = output.objects, {}
    for name in output.names():
        about = objects.about(name)
        assert about is not None
        found[name] = objects.get(name)[0], about[1]
    return found


def new_output(store: Store, machines: Path, kept: Kept | None = None) -> Output:
    """An output in a bucket of its own, empty or with what another one had."""
    output = Output(store, store.bucket(f"far-{next(_NUMBERS)}").child("out"), machines)
    for name, (data, about) in (kept or {}).items():
        output.objects.put(name, data, about=about)
    return output


def product(state: Any, source: str) -> Any:
    return next(found for found in state["products"] if found["source"] == source)
