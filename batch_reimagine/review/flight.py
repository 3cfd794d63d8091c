"""Which variations are being made right now, as the journal of the run tells it. Blocks."""

from contextlib import suppress
from pathlib import Path

import msgspec

from batch_reimagine.following import Following
from batch_reimagine.journal import Carry, End, Try

_LINE = msgspec.json.Decoder(Try | End | Carry)


class Flight:
    """Reads on from where it was: a journal grows with every call."""

    def __init__(self, path: Path) -> None:
        self._log = Following(path)
        self._pending: dict[str, Try] = {}

    def follow(self) -> list[Try]:
        """The tries without an end. Raises OutputMismatch for what is no regular file."""
        with self._log.more() as (anew, lines):
            if anew:
                self._pending = {}
            for line in lines:
                with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    match entry := _LINE.decode(line):
                        case Try():
                            self._pending[entry.id] = entry
                        case End():
                            self._pending.pop(entry.id, None)
        return [*self._pending.values()]
