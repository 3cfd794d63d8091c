"""Server-sent events to every open tab. https://html.spec.whatwg.org/multipage/server-sent-events.html

A tab is not sent a history but what is true now: for each only the ids of what it has not yet
been told of are held, so that a slow one costs no memory and misses nothing but old news.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

import msgspec
from aiohttp import web

from batch_reimagine.review.guard import RefusalError
from batch_reimagine.review.shelf import Shelf

MOST_TABS = 32
_MOST_NOTES = 100
_PIECE_BYTES = 64_000
_BREATH_S = 15.0  # between comments that keep the connection open
_PATIENCE_S = 30.0  # for a tab that takes nothing; it comes back by itself, and loads anew


class _Tab:
    def __init__(self) -> None:
        self.products: dict[str, None] = {}
        self.notes: deque[str] = deque(maxlen=_MOST_NOTES)
        self.run = True
        self.news = asyncio.Event()


class Tabs:
    """Those that listen."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._open: set[_Tab] = set()
        self._ended = False
        self.state: dict[str, object] = {
            "running": False,
            "made": 0,
            "wanted": None,
            "per_minute": None,
        }

    def products(self, ids: list[str]) -> None:
        """These have changed."""
        for tab in self._open if ids else ():
            tab.products.update(dict.fromkeys(ids))
            tab.news.set()

    def run(self, state: dict[str, object]) -> None:
        """This is how the run stands."""
        if state != self.state:
            self.state = state
            for tab in self._open:
                tab.run = True
                tab.news.set()

    def note(self, text: str) -> None:
        """Something that the user should know."""
        for tab in self._open:
            tab.notes.append(text)
            tab.news.set()

    def end(self) -> None:
        """Close all streams."""
        self._ended = True
        for tab in self._open:
            tab.news.set()

    async def listen(self, request: web.Request) -> web.StreamResponse:
        """One stream, until the tab goes or the server ends."""
        if len(self._open) >= MOST_TABS:
            raise RefusalError(503, "too many open tabs: close some")
        answer = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        tab = _Tab()
        self._open.add(tab)
        try:
            await answer.prepare(request)
            while not self._ended:
                tab.news.clear()
                for piece in _pieces(self._news(tab)):
                    async with asyncio.timeout(_PATIENCE_S):
                        await answer.write(piece)
                try:
                    async with asyncio.timeout(_BREATH_S):
                        await tab.news.wait()
                except TimeoutError:
                    tab.notes.append("")
        except (TimeoutError, ConnectionError):
            with suppress(AttributeError):
                request.transport.abort()  # type: ignore[union-attr]  # None when it is gone
        finally:
            self._open.discard(tab)
        return answer

    def _news(self, tab: _Tab) -> Iterator[bytes]:
        """What it has not been told; taken down as it goes out."""
        if tab.run:
            tab.run = False
            yield _event(b"run", msgspec.json.encode(self.state))
        while tab.notes:
            text = tab.notes.popleft()
            yield _event(b"note", msgspec.json.encode({"text": text})) if text else b": here\n\n"
        while tab.products:
            id_ = next(iter(tab.products))
            del tab.products[id_]
            if shown := self._shelf.products.get(id_):
                yield _event(b"product", bytes(shown.json))


def _event(name: bytes, data: bytes) -> bytes:
    return b"event: " + name + b"\ndata: " + data + b"\n\n"  # JSON holds no line end


def _pieces(events: Iterator[bytes]) -> Iterator[bytes]:
    """The same, in fewer and bounded parts."""
    held = b""
    for event in events:
        held += event
        if len(held) >= _PIECE_BYTES:
            yield held
            held = b""
    if held:
        yield held
