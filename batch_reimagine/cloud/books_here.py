"""The local folder of an output in a store: whose books these are, who reads them anew. Blocks."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batch_reimagine.durable import no_write, write_once
from batch_reimagine.errors import OutputMismatch

_ADDRESS = "address"  # file that tells whose books these are
_PATIENCE_S = 10.0  # for another process that pulls
_LOOK_EVERY_S = 0.05


def claim(state: Path, where: str) -> None:
    """Write down whose books these are. Raises OutputMismatch for another's, or LocalResource.

    state: their state folder. where: the output, as `Objects.where` has it.
    """
    path = state / _ADDRESS
    try:
        there = path.read_bytes() if path.exists() else write_once(path, where.encode())
    except OSError as error:
        raise no_write(path, error) from None
    if there != where.encode():
        raise OutputMismatch(
            f"the books in {state.parent} are of {there.decode('utf-8', 'replace')[:200]}:"
            f" choose another --books for {where}"
        )


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Whether no other process is within such a block, or is no longer after some seconds."""
    end = time.monotonic() + _PATIENCE_S
    try:
        opened = path.open("ab")
    except OSError as error:
        raise no_write(path, error) from None
    with opened:
        while True:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    yield False
                    return
                time.sleep(_LOOK_EVERY_S)
            else:
                yield True
                return
