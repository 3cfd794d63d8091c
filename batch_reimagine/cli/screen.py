"""Writing to streams that may be slow, full or closed, without ever holding up the work.

All writing happens in one thread of its own, in order. Diagnostics are dropped
when too many wait; data waits for its reader, but not once the run is stopping.
"""

import os
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

import anyio

_MOST_WAITING = 1000
_PATIENCE_S = 0.8  # at the end, for a reader who does not read


class Screen:
    """Two streams and the thread that writes to them."""

    def __init__(self) -> None:
        self.stopping = False  #: data waits no longer
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def tell(self, text: str) -> None:
        """A diagnostic line, on stderr; dropped when nobody reads."""
        self.do(lambda: write(sys.stderr, text))

    def do(self, job: Callable[[], None]) -> None:
        """Something else that writes, in its turn; dropped likewise."""
        with suppress(queue.Full):
            self._jobs.put_nowait(job)

    async def give(self, text: str) -> None:
        """A line of data, on stdout; waits until there is room for it."""
        while True:
            try:
                self._jobs.put_nowait(lambda: write(sys.stdout, text))
            except queue.Full:
                if self.stopping:
                    return
                await anyio.sleep(0.05)
            else:
                return

    def close(self) -> bool:
        """Let what waits be written; False if a reader holds that up for ever."""
        with suppress(queue.Full):
            self._jobs.put(None, timeout=_PATIENCE_S)
        self._thread.join(_PATIENCE_S)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            with suppress(OSError, ValueError):
                job()


def write(stream: TextIO | None, line: str) -> None:
    """Write one line past all buffers; what a closed or full stream does not take is lost.

    Unbuffered, so that nothing is left to fail, or to wait, when the interpreter ends.
    """
    if stream is None:  # closed before we were started
        return
    data = (line + "\n").encode(stream.encoding or "utf-8", "replace")
    with suppress(OSError, ValueError):
        stream.flush()
        while data:
            data = data[os.write(stream.fileno(), data) :]


def shown(text: str) -> str:
    """The text as a terminal may see it: no control characters, whatever a file is called."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
