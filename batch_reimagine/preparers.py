"""The processes that prepare photos: how many, how much at once, and what if one dies."""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

import anyio
import msgspec
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from batch_reimagine.deadline import Deadlines
from batch_reimagine.errors import Exhausted, LocalResource, Rejected
from batch_reimagine.preparer import (
    CPU_S,
    LENGTH_BYTES,
    Answer,
    Opened,
    Ready,
    Refused,
    length,
    length_of,
)
from batch_reimagine.work import Upload

_WALL_S = 900.0  # for one photo; its CPU time is limited by its process itself
_END_S = 2.0  # for a process to end by itself
_PIECE = 1 << 20  # bytes handed to a pipe at a time
_CRASHES = {
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGABRT,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSYS,
}
_ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)

# The search path comes from us: the child must find this very package, however it was installed.
_START = (
    "import sys; from importlib import import_module;"
    " _, work, max_pixels, cpu_s, *sys.path[:] = sys.argv;"
    " import_module(work).main(int(max_pixels), int(cpu_s))"
)


class PixelBudget:
    """How many decoded pixels may be in memory at once, all processes together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._changed = anyio.Condition()

    @asynccontextmanager
    async def hold(self, pixels: int) -> AsyncIterator[None]:
        """Wait until there is room; a picture larger than all of it goes alone."""
        async with self._changed:
            while self._held and self._held + pixels > self._most:
                await self._changed.wait()
            self._held += pixels
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                async with self._changed:
                    self._held -= pixels
                    self._changed.notify_all()


class Preparers:
    """At most `most` processes, started when they are needed. Use it as a context manager.

    work: the module whose `main` each of them runs.
    """

    def __init__(
        self,
        most: int,
        max_pixels: int,
        deadlines: Deadlines,
        *,
        cpu_s: int = CPU_S,
        work: str = "batch_reimagine.preparer",
    ) -> None:
        self._work = work
        self._cpu_s = cpu_s
        self._slots = anyio.Semaphore(most)
        self._max_pixels = max_pixels
        self._budget = PixelBudget(max_pixels)
        self._deadlines = deadlines
        self._idle: list[Process] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            while self._idle:
                await _end(self._idle.pop())

    async def warm(self) -> None:
        """Start the first process now: it loads its decoders while the run gets ready."""
        self._idle.append(await self._start())

    async def prepare(self, raw: bytes) -> Upload:
        """Make a photo's bytes acceptable to the service (see `batch_reimagine.prepare`).

        Raises Rejected if that is not possible, be it that its decoder crashed or
        did not end; Exhausted if this machine ended the decoder; LocalResource if no
        process can be started.
        """
        async with self._slots:
            process = self._idle.pop() if self._idle else await self._start()
            try:
                answer = await self._converse(process, raw)
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                await _end(process)
                raise self._death_of(process) from None
            except TimeoutError:
                await _kill(process)
                raise Rejected(
                    "DAMAGED", f"decoding it did not end within {_WALL_S:.0f} s"
                ) from None
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await _kill(process)
                raise
            self._idle.append(process)
        if isinstance(answer, Refused):
            raise Rejected(answer.reason, answer.message)
        return answer.upload

    async def _converse(self, process: Process, raw: bytes) -> Ready | Refused:
        assert process.stdout is not None  # noqa: S101 - a pipe
        coming = BufferedByteReceiveStream(process.stdout)
        with self._deadlines.within(_WALL_S):
            await _send(process, raw)
            answer = await _receive(coming)
        while isinstance(answer, Opened):  # twice, if its metadata had to go first
            async with self._budget.hold(answer.pixels):
                with self._deadlines.within(_WALL_S):
                    await _send(process, b"")
                    answer = await _receive(coming)
        return answer

    async def _start(self) -> Process:
        limits = str(self._max_pixels), str(self._cpu_s)
        try:
            return await anyio.open_process(
                [sys.executable, "-c", _START, self._work, *limits, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={},  # what meets files from anywhere needs no key
                start_new_session=True,  # Ctrl-C in a terminal is for the run alone
            )
        except OSError as error:
            raise LocalResource(
                f"cannot start a process to decode photos in: {error.strerror or error}"
            ) from None

    def _death_of(self, process: Process) -> Exception:
        """What it means for the photo that its process is dead."""
        code = process.returncode or 0
        if code == -signal.SIGXCPU:
            return Rejected(
                "DAMAGED", f"decoding it did not end within {self._cpu_s} s of CPU time"
            )
        if -code in _CRASHES:
            return Rejected("DAMAGED", f"its decoder crashed ({signal.Signals(-code).name})")
        if code < 0:  # SIGKILL, mostly: no fault of the photo
            return Exhausted(
                "DECODER_KILLED", "this machine ended the process that decoded it: out of memory?"
            )
        return LocalResource(f"the process that decodes photos ended by itself, with code {code}")


async def _send(process: Process, data: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 - a pipe
    await process.stdin.send(length(data))
    for at in range(0, len(data), _PIECE):
        await process.stdin.send(data[at : at + _PIECE])


async def _receive(coming: BufferedByteReceiveStream) -> Answer:
    size = length_of(await coming.receive_exactly(LENGTH_BYTES))
    return _ANSWERS.decode(await coming.receive_exactly(size))


async def _end(process: Process) -> None:
    """Wait for a process that has no more input, or is dead; not for long."""
    assert process.stdin is not None  # noqa: S101 - a pipe
    await process.stdin.aclose()
    # Not killed first: that would take its exit code away from who waits for it.
    with anyio.move_on_after(_END_S):
        await process.wait()
    await _kill(process)


async def _kill(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    await process.aclose()
