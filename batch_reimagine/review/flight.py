"""Which variations are being made right now, as the journals of the runs tell it. Blocks."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from batch_reimagine.following import Following
from batch_reimagine.journal import Carry, End, Try

_LINE = msgspec.json.Decoder(Try | End | Carry)


class Flight:
    """Reads on from where it was: a journal grows with every call."""

    def __init__(self) -> None:
        self._logs: dict[Path, Following] = {}
        self._pending: dict[Path, dict[str, Try]] = {}

    def follow(self, journals: Iterable[Path]) -> list[Try]:
        """The tries without an end in the journals of the runs that go on; others are forgotten.

        Raises OutputMismatch for what is no regular file.
        """
        wanted = list(journals)
        self._logs = {path: self._logs.get(path) or Following(path) for path in wanted}
        self._pending = {path: self._read_on(path) for path in wanted}
        return [attempt for tries in self._pending.values() for attempt in tries.values()]

    def _read_on(self, path: Path) -> dict[str, Try]:
        pending = self._pending.get(path, {})
        with self._logs[path].more() as (anew, lines):
            if anew:
                pending = {}
            for line in lines:
                with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    match entry := _LINE.decode(line):
                        case Try():
                            pending[entry.id] = entry
                        case End():
                            pending.pop(entry.id, None)
        return pending
