"""What a run owes its output in a store: no call without the lease, no endless wait at the end."""

import math
from time import monotonic

import anyio

from batch_reimagine.engine import Stop, Stopped
from batch_reimagine.errors import RunError, ServiceGone
from batch_reimagine.output import Tree

LOOK_EVERY_S = 0.5
PATIENCE_S = 60.0  # of a call, with a lease that ran out: for the next try to renew it
DROPPED_S = 1.0  # for what is on its way to the store when all is dropped
END_S = 10.0  # at least for one answer after a stop; at most for the books after a drop


class Holding:
    """The lease of one run, and its time. For an output on the local disk nothing is ever late.

    timeout_s: seconds after a stop within which the run was promised to end.
    """

    def __init__(self, tree: Tree, stop: Stop, timeout_s: float) -> None:
        self._tree = tree
        self._stop = stop
        self._timeout_s = timeout_s
        self._stopped: float | None = None
        self._dropped: float | None = None
        self._closing: float | None = None
        tree.limit(self.until)

    def until(self, began: float) -> float:
        """When the wait for an answer must be over that was asked for at `began`, of monotonic().

        For several threads.
        """
        if not self._stop.requested:
            return math.inf
        now = monotonic()
        self._stopped = stopped = self._stopped or now
        if self._stop.dropped:
            self._dropped = self._dropped or now
        last = max(stopped + self._timeout_s, (self._closing or began) + END_S)
        if self._dropped is not None:
            short = self._dropped + DROPPED_S
            last = min(last, max(self._dropped, self._closing) + END_S if self._closing else short)
        return last

    def close(self) -> None:
        """Only the books are left to be brought to the store, and the lease to be given back."""
        self._closing = monotonic()

    async def watch(self) -> None:
        """Look whether another has taken the output over. Raises OutputBusy then."""
        while self._tree.remote:
            try:
                with self._stop.interruptible():
                    await anyio.sleep(LOOK_EVERY_S)
            except Stopped:
                self.until(monotonic())  # notes the time
                return
            self.lacks()

    def lacks(self) -> ServiceGone | None:
        """Why no call may begin now; None: it may. Raises OutputBusy if it never may again."""
        try:
            self._tree.check_held()
        except ServiceGone as error:
            return error
        return None

    def refuses(self) -> bool:
        """Whether a call that is ready to go must not; then the run stops."""
        try:
            error: RunError | None = self.lacks()
        except RunError as lost:
            error = lost
        if error is not None:
            self._stop.request(str(error), error)
        return error is not None

    async def wait(self) -> None:
        """Return once the lease is known to hold. Raises OutputBusy, ServiceGone or Stopped."""
        end = monotonic() + PATIENCE_S
        while error := self.lacks():
            if monotonic() > end:
                raise error
            with self._stop.interruptible():
                await anyio.sleep(LOOK_EVERY_S)
