"""The heavy part of a run on every node of a Ray cluster.

The process that the user started runs the line and writes the books, as ever: one pace, one
budget, one journal. Each node has one actor with a bench of its own: it reads, prepares and
posts photos, and writes their pictures. A node that is lost takes nothing with it but its calls
in flight: they count as unknown, and its photos are read again elsewhere.
"""

import importlib
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import Any

import anyio
from anyio import to_thread

from batch_reimagine.bench import Bench, Benches, Task
from batch_reimagine.cluster.node import Work
from batch_reimagine.cluster.nodes import Nodes, first_line
from batch_reimagine.cluster.remote import RemoteBench
from batch_reimagine.errors import ServiceGone, UsageError
from batch_reimagine.output import Tree
from batch_reimagine.secret import Secret

_KNOCK_S = 5.0


def benches(address: str | None, nodes: int | None) -> Benches:
    """Say how a run gets its bench from a Ray cluster.

    address: as Ray has it ("auto", "host:6379"); None: the cluster of this machine, or one of
    its own for the run. nodes: most machines of it to use; None: all that have CPUs.
    Raises UsageError if Ray is not installed. The bench, when it is entered, raises ServiceGone
    if there is no cluster or no node, UsageError for nodes that do not see the output or
    have another version of this package.
    """
    if address is not None and address.startswith("ray://"):
        raise UsageError(
            f"address: {address!r} is for Ray's remote clients; the run itself must be on a machine"
            " of the cluster, so write its host:port, or auto"
        )
    ray = _import_ray()

    def opened(
        task: Task, tree: Tree, *, note: Callable[[str], None], warm: bool
    ) -> AbstractAsyncContextManager[Bench]:
        used = Nodes(ray, nodes, Work(task, tree.place, tree.writer), tree, note)
        bench = RemoteBench(used, task, tree)
        return _open(bench, _Connection(ray, address, task.key), warm=warm)

    return opened


def _import_ray() -> Any:
    # Read when Ray is imported: nobody is told who uses it, and no word about graphics cards.
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        why = "--engine ray needs the extra: pip install 'batch-reimagine[ray]'"
        raise UsageError(why) from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


@asynccontextmanager
async def _open(
    bench: RemoteBench, connection: "_Connection", *, warm: bool
) -> AsyncIterator[RemoteBench]:
    """warm: connect now; else with the first photo, which may never come."""
    async with AsyncExitStack() as stack:

        async def enter() -> None:
            await stack.enter_async_context(connection)
            await stack.enter_async_context(bench.nodes)

        bench.enter = enter
        if warm:
            await bench.ready()
        yield bench


class _Connection:
    """The connection of this process to the cluster, unless it has one already."""

    def __init__(self, ray: Any, address: str | None, key: Secret) -> None:
        self._ray, self._address, self._key = ray, address, key
        self._ours = False

    async def __aenter__(self) -> None:
        if not self._ray.is_initialized():
            await self._knock()
            self._ours = True
            await to_thread.run_sync(self._connect)
            _take_signals_back()

    async def __aexit__(self, *_: object) -> None:
        if self._ours:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self._ray.shutdown)

    async def _knock(self) -> None:
        """Raise ServiceGone at once if nobody is there: Ray itself would try for minutes."""
        host, _, port = (self._address or "").rpartition(":")
        if not host:
            return
        try:
            with anyio.fail_after(_KNOCK_S):
                async with await anyio.connect_tcp(host, int(port)):
                    return
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            raise self._gone(error) from None

    def _gone(self, error: Exception) -> ServiceGone:
        where = self._address or "this machine"
        return ServiceGone(f"there is no Ray cluster to use at {where}: {first_line(error)}")

    def _connect(self) -> None:
        """Blocks. Not in the main thread: there Ray would take SIGTERM for itself."""
        ray, address = self._ray, self._address
        try:
            with _without(self._key):
                # Else it prints what happens to nodes into our standard output.
                ray._private.worker._worker_logs_enabled = False  # noqa: SLF001
                ray.init(
                    address=address,
                    include_dashboard=False,
                    log_to_driver=False,
                    configure_logging=False,
                )
        except (ray.exceptions.RayError, OSError, RuntimeError, ValueError) as error:
            raise self._gone(error) from None


@contextmanager
def _without(key: Secret) -> Iterator[None]:
    """Hide the key from the processes that are started meanwhile."""
    kept = {name: text for name, text in os.environ.items() if key and key.reveal() in text}
    for name in kept:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)


def _take_signals_back() -> None:
    """Put Python's own handlers in again: Ray has one in C++ that dumps its stack on SIGTERM."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if callable(handler := signal.getsignal(number)):
            signal.signal(number, handler)
            signal.siginterrupt(number, False)  # noqa: FBT003 - as asyncio had it
