"""Who writes to an output: locks that the kernel holds, and drops when their process dies.

A run of the whole holds the output's lock alone. Shards hold it together, and each its own alone;
shards that divide the job otherwise exclude each other.
"""

import fcntl
import os
import socket
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from batch_reimagine.durable import no_write
from batch_reimagine.errors import OutputBusy, OutputMismatch
from batch_reimagine.shard import Shard
from batch_reimagine.work import utc_now

FILE = "lock"
# Whoever looks who holds a lock holds it for that moment: it is no run, and is waited for.
_LOOKS = 5
_LOOK_S = 0.02
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Holder:
    """A run that is going on."""

    words: str  #: who it is, for people
    plan: str  #: what it told beside its lock
    shard: Shard | None
    state: Path  #: the folder of its books


class Lock:
    """Held from `take` to `release`. The file's existence means nothing, only the lock does.

    state_folder: of the output. shard: whose; None for the whole.
    """

    def __init__(self, state_folder: Path, shard: Shard | None = None) -> None:
        self._state = state_folder
        self._shard = shard
        self._handle = -1
        self._common = -1  # of a shard: the output's lock, which it holds with others

    def take(self) -> None:
        """Raises OutputBusy, naming the holder, OutputMismatch or LocalResource."""
        try:
            if self._shard is None:
                self._handle = self._taken(self._state, fcntl.LOCK_EX)
            else:
                self._common = self._taken(self._state, fcntl.LOCK_SH)
                own = self._state / self._shard.name
                self._handle = self._taken(own, fcntl.LOCK_EX)
                # After its own: of two that begin at once, at least one sees the other.
                others = [s for s in shards_in(self._state) if s.n != self._shard.n]
                if held := _held(self._state, others):
                    raise self._busy(held)
            self._tell_who()
        except BaseException:
            self.release()
            raise

    def _taken(self, folder: Path, how: int) -> int:
        path = folder / FILE
        try:
            handle = os.open(
                path,
                os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK,
                0o644,
            )
        except OSError as error:
            raise no_write(path, error) from None
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OutputMismatch(f"{path} is no regular file: remove it")
            for look in range(_LOOKS):
                try:
                    fcntl.flock(handle, how | fcntl.LOCK_NB)
                except BlockingIOError:
                    if look == _LOOKS - 1:
                        raise
                    time.sleep(_LOOK_S)
                else:
                    break
        except BlockingIOError:
            os.close(handle)
            held = holders_of(self._state)
            raise self._busy([h for h in held if h.state == folder] or held) from None
        except OSError as error:
            os.close(handle)
            raise no_write(path, error) from None
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _busy(self, held: list[Holder]) -> OutputBusy:
        return OutputBusy(
            f"{self._state.parent} is in use by another run ({in_words(held)}):"
            " wait for it, stop it, or choose another -o"
        )

    def _tell_who(self) -> None:
        shard = f"shard {self._shard}, " if self._shard else ""
        words = f"{shard}pid {os.getpid()} on {socket.gethostname()} since {utc_now()}\n"
        try:
            os.ftruncate(self._handle, 0)
            os.write(self._handle, words.encode())
        except OSError as error:
            raise no_write(self._state, error) from None

    def tell(self, plan: str) -> None:
        """Put a second line beside the holder's, for whoever looks on. Raises LocalResource."""
        try:
            os.lseek(self._handle, 0, os.SEEK_END)
            os.write(self._handle, f"{plan}\n".encode())
        except OSError as error:
            raise no_write(self._state, error) from None

    def release(self) -> None:
        for handle in (self._handle, self._common):
            if handle >= 0:
                os.close(handle)  # closing drops the lock
        self._handle = self._common = -1


def shards_in(state_folder: Path) -> list[Shard]:
    """The shards that ever wrote to an output, in order."""
    try:
        names = os.listdir(state_folder)  # noqa: PTH208 - names only
    except OSError:
        return []
    return sorted(shard for name in names if (shard := Shard.named(name)) is not None)


def holders_of(state_folder: Path) -> list[Holder]:
    """The runs that go on now: one of the whole, or any number of shards."""
    return _held(state_folder, [None, *shards_in(state_folder)])


def in_words(held: list[Holder]) -> str:
    """Who they are, in one line."""
    words = "; ".join(holder.words for holder in held[:_MOST_NAMED])
    more = len(held) - _MOST_NAMED
    return (f"{words}; and {more} more" if more > 0 else words) or "unknown"


def holder_of(state_folder: Path) -> tuple[str, str] | None:
    """Who holds the output now, in words, and what the first of them told; None if nobody does."""
    held = holders_of(state_folder)
    return (in_words(held), held[0].plan) if held else None


def _held(state_folder: Path, shards: list[Shard] | list[Shard | None]) -> list[Holder]:
    folders = [(shard, state_folder / shard.name if shard else state_folder) for shard in shards]
    found = ((shard, folder, _at(folder)) for shard, folder in folders)
    return [Holder(*told, shard, folder) for shard, folder, told in found if told]


def _at(folder: Path) -> tuple[str, str] | None:
    """What the holder of one lock alone wrote there; None if nobody holds it so."""
    try:
        handle = os.open(folder / FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
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
