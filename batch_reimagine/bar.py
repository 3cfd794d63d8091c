"""A progress bar for people who call the library: on a terminal, or below a notebook's cell.

It is drawn by whoever waits for the run, in his own thread; nothing here makes a thread.
"""

import sys
import time
from html import escape
from typing import Any, Protocol

from batch_reimagine.how_far import how_far, words
from batch_reimagine.settings import Settings
from batch_reimagine.work import Progress

_EVERY_S = 0.25
_WIDE = 24  # characters


class Bar:
    """What is drawn of one run; `draw` as often as you like."""

    def __init__(self, progress: Progress, settings: Settings, face: "Face") -> None:
        self._progress = progress
        self._settings = settings
        self._face = face
        self._began = time.monotonic()
        self._drawn = 0.0

    def draw(self) -> None:
        """Show how far it is, four times a second at most."""
        now = time.monotonic()
        if now - self._drawn >= _EVERY_S:
            self._drawn = now
            self._show()

    def close(self) -> None:
        """Show how it ended, and leave that there."""
        self._show()
        self._face.close()

    def _show(self) -> None:
        far = how_far(self._progress, self._settings, began_s=self._began, now_s=time.monotonic())
        self._face.show(far.done, far.total, " · ".join(words(self._progress, far)))


class Face(Protocol):
    """Where a bar is drawn."""

    def show(self, done: int, total: int | None, words: str) -> None: ...
    def close(self) -> None: ...


def face_of(*, wanted: bool | None) -> Face | None:
    """Where a bar can be drawn now; None: nowhere, or not wanted.

    wanted: True: also where nobody may see it; None: on a terminal and in a notebook alone.
    """
    if wanted is False:
        return None
    if (notebook := _notebook()) is not None:
        return notebook
    if sys.stderr is not None and (wanted or sys.stderr.isatty()):
        return _Terminal()
    return None


class _Terminal:
    """On stderr; what is printed meanwhile stands above it."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - only where it is drawn
        from rich.live import Live  # noqa: PLC0415

        self._live = Live(console=Console(stderr=True), auto_refresh=False)
        self._live.start()

    def show(self, done: int, total: int | None, words: str) -> None:
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        bar = ProgressBar(total=total, completed=done, pulse=total is None, width=_WIDE)
        line = Table.grid(padding=(0, 1))
        line.add_row(bar, Text(words))
        self._live.update(line, refresh=True)

    def close(self) -> None:
        self._live.stop()


class _Notebook:
    """Below the cell: a plain HTML element, which needs no widgets."""

    def __init__(self, display: Any, html: Any) -> None:
        self._html = html
        self._handle = display(html("<progress></progress>"), display_id=True)

    def show(self, done: int, total: int | None, words: str) -> None:
        span = "" if total is None else f' value="{done}" max="{max(1, total)}"'
        self._handle.update(
            self._html(f'<progress style="width: 20em"{span}></progress> {escape(words)}')
        )

    def close(self) -> None:
        """It stays as it is."""


def _notebook() -> _Notebook | None:
    """The cell that is being run, if this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import HTML, display  # noqa: PLC0415 - it is loaded already

    return _Notebook(display, HTML)
