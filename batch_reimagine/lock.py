"""One run an output: a lock that the kernel holds, and drops when its process dies."""

import fcntl
import os
import socket
import stat
from pathlib import Path

from batch_reimagine.errors import OutputBusy, OutputMismatch
from batch_reimagine.output import no_write
from batch_reimagine.work import utc_now

FILE = "lock"


class Lock:
    """Held from `take` to `release`. The file's existence means nothing, only the lock does."""

    def __init__(self, state_folder: Path) -> None:
        self._path = state_folder / FILE
        self._handle = -1

    def take(self) -> None:
        """Raises OutputBusy, naming the holder, or LocalResource."""
        try:
            handle = os.open(
                self._path,
                os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK,
                0o644,
            )
        except OSError as error:
            raise no_write(self._path, error) from None
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OutputMismatch(f"{self._path} is no regular file: remove it")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 300).decode("utf-8", "replace").partition("\n")[0] or "unknown"
            os.close(handle)
            raise OutputBusy(
                f"{self._path.parent.parent} is in use by another run ({holder}):"
                " wait for it, stop it, or choose another -o"
            ) from None
        except OSError as error:
            os.close(handle)
            raise no_write(self._path, error) from None
        words = f"pid {os.getpid()} on {socket.gethostname()} since {utc_now()}\n"
        try:
            os.ftruncate(handle, 0)
            os.write(handle, words.encode())
        except OSError as error:
            os.close(handle)
            raise no_write(self._path, error) from None
        self._handle = handle

    def tell(self, plan: str) -> None:
        """Put a second line beside the holder's, for whoever looks on. Raises LocalResource."""
        try:
            os.lseek(self._handle, 0, os.SEEK_END)
            os.write(self._handle, f"{plan}\n".encode())
        except OSError as error:
            raise no_write(self._path, error) from None

    def release(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)  # closing drops the lock
            self._handle = -1


def holder_of(state_folder: Path) -> tuple[str, str] | None:
    """Who holds the lock now, in words, and what he told; None if nobody does."""
    try:
        handle = os.open(
            state_folder / FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        )
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        holder, _, plan = os.read(handle, 1000).decode("utf-8", "replace").partition("\n")
        return holder.strip() or "unknown", plan.strip()
    except OSError:
        return None
    finally:
        os.close(handle)
    return None
