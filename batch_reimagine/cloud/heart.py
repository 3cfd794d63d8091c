"""A lease that is renewed by a thread of its own, whatever else its run is doing."""

import threading
import time

from batch_reimagine.cloud.lease import Lease
from batch_reimagine.errors import OutputBusy, ReimagineError, ServiceGone

_BEATS = 4  # renewals in the life of a lease
_AGAIN_S = 1.0  # at least, from a renewal that failed to the next
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # a machine's sleep counts


def _now() -> float:
    return time.clock_gettime(_CLOCK)


class Heart:
    """Renews a lease that has just been taken, until it is stopped. Starts at once.

    life_s: seconds for which the lease holds without a renewal.
    """

    def __init__(self, lease: Lease, life_s: float) -> None:
        self._lease = lease
        self._life_s = life_s
        self._renewed = _now()
        self._failed: ReimagineError | None = None
        self._lost: OutputBusy | None = None
        self._ended = False
        self._woken = threading.Event()
        # No exit of the process waits for it, nor for a store that does not answer it.
        threading.Thread(target=self._beat, name="lease", daemon=True).start()

    def check(self) -> None:
        """Return at once if the lease is known to hold.

        Raises OutputBusy if another has it now, and ServiceGone if the last renewal is older than
        its life: then another may have it, until a renewal tells. That is tried at once.
        """
        if self._lost is not None:
            raise self._lost
        if _now() - self._renewed > self._life_s:
            self._woken.set()
            why = f" ({self._failed})" if self._failed else ""
            raise ServiceGone(
                f"the store did not answer for {self._life_s:.0f} s, so that another run may have"
                f" this output now{why}: the same command goes on"
            )

    def stop(self) -> None:
        self._ended = True
        self._woken.set()

    def _beat(self) -> None:
        pause_s = self._life_s / _BEATS
        while not self._ended:
            self._woken.wait(pause_s)
            self._woken.clear()
            if self._ended:
                return
            begun = _now()
            try:
                self._lease.renew()
            except OutputBusy as error:
                self._lost = error
                return
            except ReimagineError as error:
                self._failed = error
                time.sleep(min(_AGAIN_S, pause_s))
            else:
                self._renewed, self._failed = begun, None
