"""The process that decodes: photos come in on its standard input, uploads go out.

Decoders are C code that meets files from anywhere. Here a crash, an endless
loop or a greedy allocation ends this process only, and costs one photo.

Both directions: a length (8 bytes, big end first), then so many bytes.
In: a photo; then, asked whether its pixels may be laid out, nothing (length 0).
Out: Opened, unless they are few; then Ready or Refused, in MessagePack.
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

import msgspec

from batch_reimagine.errors import Rejected
from batch_reimagine.work import Upload

#: Seconds of CPU time for one photo: 200 megapixels of the slowest format take a third of it.
CPU_S = 120
#: So few are laid out without asking: a turn of the pipe would cost more than they do.
FREE_PIXELS = 4_000_000
_BYTES_A_PIXEL = 16  # most that decoding and shrinking were seen to take, twice over
_OTHER_BYTES = 1_500_000_000  # for the code, the file itself and the upload


class Opened(msgspec.Struct, tag=True):
    """The file's head was read; decoding it lays out so many pixels: may it?"""

    pixels: int


class Ready(msgspec.Struct, tag=True):
    """It is done."""

    upload: Upload


class Refused(msgspec.Struct, tag=True):
    """This photo will never do."""

    reason: str
    message: str


Answer = Opened | Ready | Refused
#: What is done with one photo's bytes; the second argument asks leave for so many pixels.
Work = Callable[[bytes, Callable[[int], None]], Upload]
LENGTH_BYTES = 8


def length(data: bytes) -> bytes:
    """What goes ahead of data."""
    return len(data).to_bytes(LENGTH_BYTES, "big")


def length_of(head: bytes) -> int:
    """How many bytes follow."""
    return int.from_bytes(head, "big")


def main(max_pixels: int, cpu_s: int) -> None:
    """Prepare photos until the input ends."""

    def load() -> Work:
        from batch_reimagine.prepare import prepare  # noqa: PLC0415 - after the limits are set

        return lambda raw, admit: prepare(raw, max_pixels=max_pixels, admit=admit)

    serve(load, max_pixels, cpu_s)


def serve(load: Callable[[], Work], max_pixels: int, cpu_s: int) -> None:
    """Answer what comes in until the input ends, within limits of memory and time.

    load: called once, when they are set.
    """
    coming, going = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # what a decoder prints must not look like an answer
        os.dup2(silence, stream)
    for from_outside in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(from_outside, signal.SIG_IGN)  # for who started us, and ends us in order
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_memory(max_pixels)
    work = load()

    def send(answer: Answer) -> None:
        data = msgspec.msgpack.encode(answer)
        going.writelines([length(data), data])
        going.flush()

    def admit(pixels: int) -> None:
        if pixels <= FREE_PIXELS:
            return
        send(Opened(pixels))
        if _receive(coming) is None:
            sys.exit()

    while (raw := _receive(coming)) is not None:
        _limit_time(cpu_s)
        send(_answer(lambda: work(raw, admit)))
        del raw


def _answer(work: Callable[[], Upload]) -> Answer:
    try:
        return Ready(work())
    except Rejected as error:
        return Refused(error.reason, error.message)
    except MemoryError:
        return Refused("TOO_LARGE", "there is not enough memory to decode it")


def _receive(coming: BinaryIO) -> bytes | None:
    head = coming.read(LENGTH_BYTES)
    return coming.read(length_of(head)) if len(head) == LENGTH_BYTES else None


def _limit_time(cpu_s: int) -> None:
    """SIGXCPU ends the process that decodes one photo for longer."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    most = int(time.process_time()) + 1 + cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (most if hard < 0 else min(most, hard), hard))


def _limit_memory(max_pixels: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = max_pixels * _BYTES_A_PIXEL + _OTHER_BYTES
    with suppress(OSError, ValueError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (most if hard < 0 else min(most, hard), hard))
