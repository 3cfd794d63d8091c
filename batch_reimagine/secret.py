"""The key: shown nowhere, and cut out of whatever a server sends back."""

import base64
import re
from urllib.parse import quote

from batch_reimagine.errors import UsageError

_SHOWN_START = 12  # characters of a key that already give it away
_MAX_TEXT = 300
_MOST_READ = 100_000


class Secret:
    """A key that no repr, log or traceback shows.

    Raises UsageError, without the value, if it is no text or cannot stand in a request header.
    """

    __slots__ = ("_forms", "_value")

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):  # of a caller's code; what it is may be the key in bytes
            raise UsageError(f"key: it is text, not {type(value).__name__}")
        self._value = value.strip()
        if not re.fullmatch(r"[\x21-\x7e]*", self._value):
            raise UsageError("the key holds spaces, line breaks or letters that no key has")
        raw = self._value
        quoted = quote(raw, safe="")
        forms = {raw, raw[:_SHOWN_START], quoted}
        forms.add(re.sub(r"%[0-9A-F]{2}", lambda escape: escape[0].lower(), quoted))
        forms.update(form for shift in range(3) for form in _in_base64(raw, shift))
        self._forms = sorted((form for form in forms if len(form) > 3), key=len, reverse=True)  # noqa: PLR2004

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Secret(…)"

    def reveal(self) -> str:
        """The key itself; for the request header alone."""
        return self._value

    def cut_out(self, text: str) -> str:
        """The text without the key, and bounded."""
        text = text[:_MOST_READ]
        for form in self._forms:
            text = text.replace(form, "[key]")
        return text

    def redact(self, text: str) -> str:
        """Make a server's text safe to show and to store: one short line without the key."""
        text = self.cut_out(text)
        text = "".join(character if character.isprintable() else " " for character in text)
        return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def _in_base64(raw: str, shift: int) -> tuple[str, str]:
    """How the key looks in the base64 of a text that holds it at a place of this remainder by 3.

    Only the letters that no neighbour has a part in: in the base64 of "Bearer <key>" the
    others differ.
    """
    data = bytes(shift) + raw.encode()
    first = (shift * 8 + 5) // 6
    whole = len(data) * 8 // 6
    return (
        base64.b64encode(data).decode()[first:whole],
        base64.urlsafe_b64encode(data).decode()[first:whole],
    )
