"""A log file of JSON lines, one object a line: what is written into it holds up no run.

Lines go through a queue to a thread of its own; when too many wait they are dropped and counted.
A file that is moved away (logrotate) is opened anew. Nothing in it holds the key.
"""

import logging
import os
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from logging.handlers import QueueHandler
from pathlib import Path
from typing import Any

import msgspec

from batch_reimagine.errors import LocalResource, UsageError
from batch_reimagine.logs import ROOT, data_of
from batch_reimagine.secret import Secret

_MOST_WAITING = 10_000
_NO_SECRET = Secret("")
_PATIENCE_S = 2.0  # at the end, for a pipe that nobody reads
_KEYS = {"time", "level", "logger", "message"}  # of each line, in this order
_BEGINS = b'{"time":"'
_MOST_LINE_BYTES = 1 << 20
_LOGGERS = (ROOT, "asyncio", "opentelemetry")  # the last two: what went wrong beneath us
_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}  # by number: systemd's is a socket
# Without waiting: else a pipe that nobody reads would hold up the start.
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK


@contextmanager
def log_file(path: Path, level: int) -> Iterator["JsonLines"]:
    """Write what is logged to the end of path meanwhile. Tell the key to `hide` on what it gives.

    path: is made if missing, in a folder that exists; may be a pipe or a terminal (/dev/stderr).
    level: of `logging`; of other packages, warnings alone.
    Raises UsageError if path is a file that holds something else, LocalResource if it cannot be
    written.
    """
    lines = JsonLines()
    file = _File(path)
    waiting: queue.Queue[logging.LogRecord | None] = queue.Queue(_MOST_WAITING)
    sender = _Sender(waiting)
    thread = threading.Thread(target=_write_all, args=(waiting, lines, file), daemon=True)
    before = {name: logging.getLogger(name).level for name in _LOGGERS}
    thread.start()
    try:
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            logger.setLevel(level if name == ROOT else max(level, logging.WARNING))
            logger.addHandler(sender)
        yield lines
    finally:
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(sender)
            logging.getLogger(name).setLevel(before[name])
        with suppress(queue.Full):
            if sender.dropped:
                text = f"{sender.dropped} lines were dropped: the log was not written fast enough"
                last = logging.LogRecord(ROOT, logging.WARNING, "", 0, text, None, None)
                waiting.put(last, timeout=_PATIENCE_S / 2)
            waiting.put(None, timeout=_PATIENCE_S / 2)
        thread.join(_PATIENCE_S)


def _write_all(
    waiting: queue.Queue[logging.LogRecord | None], lines: "JsonLines", file: "_File"
) -> None:
    while (record := waiting.get()) is not None:
        file.write(lines.format(record))
    file.close()


def _is_ours(path: Path) -> bool:
    """Whether a file is empty, or its first line one of ours; a disk may have cut that short."""
    with path.open("rb") as there:
        line = there.readline(_MOST_LINE_BYTES)
    if not line.endswith(b"\n"):
        return line.startswith(_BEGINS[: len(line)])
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(line, type=dict[str, Any]).keys() >= _KEYS
    return False


class _File:
    """The end of a file; what does not fit on the disk is lost, without a word."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            if str(path) not in _STREAMS and path.is_file() and not _is_ours(path):
                raise UsageError(
                    f"--log-file: {path} holds something that is no log of ours;"
                    " choose another name"
                )
            self._fd = self._open()
        except OSError as error:
            why = error.strerror or str(error)
            raise LocalResource(
                f"--log-file: {path} cannot be written: {why}; choose another place"
            ) from None

    def _open(self) -> int:
        if (stream := _STREAMS.get(str(self._path))) is not None:
            return os.dup(stream)
        fd = os.open(self._path, _APPEND, 0o666)
        os.set_blocking(fd, True)
        return fd

    def write(self, line: str) -> None:
        with suppress(OSError):
            self._follow()
            data = (line + "\n").encode()
            while data:
                data = data[os.write(self._fd, data) :]

    def _follow(self) -> None:
        """Open the file anew if it was moved away or removed."""
        ours = os.fstat(self._fd)
        with suppress(FileNotFoundError):
            there = self._path.stat()
            if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                return
        fd, self._fd = self._fd, self._open()
        os.close(fd)

    def close(self) -> None:
        os.close(self._fd)


class _Sender(QueueHandler):
    """Into the queue as it is; the words are put together in the other thread."""

    def __init__(self, waiting: queue.Queue[logging.LogRecord | None]) -> None:
        super().__init__(waiting)
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class JsonLines(logging.Formatter):
    """One JSON object a record: time, level, logger, message, and the facts of ours."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets: tuple[Secret, ...] = ()

    def hide(self, *secrets: Secret) -> None:
        """Cut these too out of all that is written from now on, whoever logs them."""
        self._secrets += secrets

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **data_of(record),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info).splitlines()
        return msgspec.json.encode(self._safe(line), enc_hook=str).decode()

    def _safe(self, value: Any) -> Any:
        """The same, each text in it bounded and without the key."""
        if isinstance(value, str):
            value = value.encode("utf-8", "backslashreplace").decode()
            for secret in self._secrets:
                value = secret.cut_out(value)
            return _NO_SECRET.redact(value)  # cut short last, so that no half of a key is left
        if isinstance(value, Mapping):
            return {self._safe(str(name)): self._safe(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._safe(item) for item in value]
        return value


def _time(seconds: float) -> str:
    """As the rows have it: UTC, ISO 8601, milliseconds."""
    at = datetime.fromtimestamp(seconds, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
