"""The key: shown nowhere, and cut out of whatever a server sends back."""

import base64
import re
from urllib.parse import quote

from batch_reimagine.errors import UsageError

_SHOWN_START = 12  # characters of a key that already give it away
_MAX_TEXT = 300
_MOST_READ = 100_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


class Secret:
    """A key that no repr, log or traceback shows.

    Raises UsageError, without the value, if it cannot stand in a request header.
    """

    __slots__ = ("_forms", "_value")

    def __init__(self, value: str) -> None:
        self._value = value.strip()
        if not re.fullmatch(r"[\x21-\x7e]*", self._value):
            raise UsageError("the key holds spaces, line breaks or letters that no key has")
        raw = self._value
        encoded = base64.b64encode(raw.encode()).decode().rstrip("=")
        forms = {raw, quote(raw, safe=""), encoded, raw[:_SHOWN_START]}
        self._forms = sorted((form for form in forms if len(form) > 3), key=len, reverse=True)  # noqa: PLR2004

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Secret(…)"

    def reveal(self) -> str:
        """The key itself; for the request header alone."""
        return self._value

    def redact(self, text: str) -> str:
        """Make a server's text safe to show and to store: one line, bounded, without the key."""
        text = text[:_MOST_READ]
        for form in self._forms:
            text = text.replace(form, "[key]")
        text = _CONTROL.sub(" ", text)
        return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
