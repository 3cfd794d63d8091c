"""What people and programs see of a run: a live block, calm lines, or JSON lines.

Diagnostics go to stderr, data to stdout. A stream that is closed or full
loses lines, never work.
"""

import asyncio
import sys
import time
from types import TracebackType
from typing import Any, Self

from batch_reimagine import events
from batch_reimagine.cli.screen import Screen, shown, write
from batch_reimagine.cli.wording import grouped, plan_lines
from batch_reimagine.how_far import HowFar, clock, how_far, words
from batch_reimagine.settings import Settings
from batch_reimagine.work import Event, Note, Plan, Progress, Record, Summary

_CALM_EVERY_S = 10.0
PROGRESS_EVERY_S = 5.0  # with --json
_LATE_S = 30.0  # a call in flight for longer is shown by name


class Reporter:
    """One run's face. Use it as a context manager around the run."""

    def __init__(self, *, json: bool, quiet: bool, verbose: bool, settings: Settings) -> None:
        self.progress = Progress()
        self._json = json
        self._quiet = quiet
        self._verbose = verbose
        self._settings = settings
        self._summary: Summary | None = None
        self._began = self._said = time.monotonic()
        self._screen = Screen()
        self._stopped_at: float | None = None
        self._live: Any = None
        self._ticking: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        if not self._json and not self._quiet and sys.stderr and sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - only on a terminal
            from rich.live import Live  # noqa: PLC0415

            console = Console(stderr=True)
            self._live = Live(
                get_renderable=self.block, console=console, refresh_per_second=4, transient=True
            )
            self._live.start()
        if self._json:
            self._tick(asyncio.get_running_loop())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
        if self._live is not None:
            self._screen.do(self._live.stop)
            self._live = None

    def _tick(self, loop: asyncio.AbstractEventLoop, *, begun: bool = False) -> None:
        """A line of progress every few seconds; one that nobody takes in time is left out."""
        if begun:
            line = events.progress_line(
                self.progress,
                seconds=time.monotonic() - self._began,
                left_s=self._far().left_s,
            )
            self._screen.do(lambda: write(sys.stdout, events.encode(line)))
        self._ticking = loop.call_later(PROGRESS_EVERY_S, lambda: self._tick(loop, begun=True))

    async def emit(self, event: Event) -> None:
        """Show one event; quick, and never raises."""
        match event:
            case Plan():
                await self._data(event)
                self.plan(event, dry=False)
            case Note():
                await self._data(event)
                self._say(event.text)
            case Record():
                await self._data(event)
                self._record(event)
            case Summary():
                self._summary = event

    def plan(self, plan: Plan, *, dry: bool) -> None:
        lines = plan_lines(plan, self._settings)
        if self._settings.provider == "simulator":
            lines.append(
                "simulator: on this machine, no AI; nothing is sent anywhere, nothing is paid"
            )
        if not dry:
            for line in lines:
                self._say(line)
        elif self._json:
            write(sys.stdout, events.encode(events.line_of(plan)))
        else:
            for line in [*lines, "dry run: no call was made and nothing written to the output"]:
                write(sys.stdout, line)

    def _record(self, row: Record) -> None:
        if row.status != "done":
            why = f"{row.reason}: {row.message}"
            self._say(f"{row.status}: {row.source} #{row.variation}: {why}")
        elif self._verbose:
            self._say(f"{row.output} ({row.attempts} attempts, {row.seconds:.1f} s)")
        now = time.monotonic()
        if self._live is None and now - self._said >= _CALM_EVERY_S:
            self._said = now
            self._say(self.line())

    def line(self) -> str:
        """The run in one line."""
        parts = words(self.progress, self._far())
        if self._stopped_at is not None:
            left = max(0.0, self._stopped_at + self._settings.timeout_s - time.monotonic())
            parts.append(f"stopping, {clock(left)} at most")
        if late := self._late():
            parts.append(late)
        return " · ".join(parts)

    def _far(self) -> HowFar:
        return how_far(self.progress, self._settings, began_s=self._began, now_s=time.monotonic())

    def _late(self) -> str | None:
        """The call that has been in flight for longest, by name, if that is long."""
        name, began = min(
            self.progress.flying.copy().items(), key=lambda item: item[1], default=("", 0)
        )
        waited_s = time.monotonic() - began
        late = name and waited_s > min(_LATE_S, self._settings.timeout_s / 2)
        return f"{clock(waited_s)} for {shown(name)}" if late else None

    def block(self) -> Any:
        """The live block for rich: a bar and the line."""
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        far = self._far()
        bar = ProgressBar(total=far.total, completed=far.done, pulse=far.total is None)
        block = Table.grid()  # a bar alone does not end its line
        block.add_row(bar)
        block.add_row(Text(self.line()))
        return block

    def stopping(self) -> None:
        """Say what the first Ctrl-C does; the line counts down from here on."""
        self._screen.stopping = True
        self._stopped_at = time.monotonic()
        count = self.progress.in_flight
        self._say(
            f"stopping: no new call; {count} in flight are finished and kept,"
            f" {self._settings.timeout_s:g} s at most. Ctrl-C again drops them"
        )

    def failed(self, message: str, code: int) -> None:
        if self._json:
            line = events.encode(events.error_line(message, code))
            self._screen.do(lambda: write(sys.stdout, line))
        self._screen.tell(shown(f"batch-reimagine: {message}"))

    def end(self, code: int, next_command: str | None) -> None:
        """The summary: on stdout, for it is the result."""
        if self._summary is None:
            return
        if self._json:
            lines = [events.encode(events.summary_line(self._summary, code, next_command))]
        else:
            lines = self._summary_lines(self._summary, next_command)
        self._screen.do(lambda: write(sys.stdout, "\n".join(lines)))

    def close(self) -> bool:
        """Write out what waits; False if its reader holds that up for ever."""
        return self._screen.close()

    def left(self) -> int:
        """Variations that are still to be made, as far as is known."""
        return self._far().left

    def _summary_lines(self, summary: Summary, next_command: str | None) -> list[str]:
        progress = self.progress
        counts = {
            "made": progress.made,
            "already here": progress.here,
            "copied from the same photo": progress.copied,
            "given up": progress.exhausted,
            "photos refused": progress.rejected,
            "photos refused earlier": progress.failed_before,
            "held (may have been paid)": progress.held,
            "outcome unknown": progress.unknown,
        }
        said = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        tried = progress.calls or summary.stopped is not None
        lines = [
            f"{said or ('nothing made' if tried else 'nothing to do')}: {progress.photos:,} photos,"
            f" {progress.calls:,} calls in {clock(summary.seconds)}"
        ]
        if not progress.calls and not progress.failed and summary.stopped is None:
            lines.append("everything is here; nothing was sent")
        if progress.spent is not None:
            lines.append(
                f"money, all runs: {progress.spent} spent, {progress.at_risk} sent and not known"
            )
        if progress.credits_left is not None:
            lines.append(f"credits left: {progress.credits_left:,}")
        if progress.failures:
            lines.append("failures: " + grouped(progress.failures))
        if progress.skipped:
            lines.append("passed over: " + grouped(progress.skipped))
        if self._settings.provider == "simulator":
            lines.append("simulator: nothing was sent anywhere, nothing was paid")
        if next_command:
            lines.append(f"next: {next_command}")
        return lines

    def aside(self, text: str) -> None:
        """A note from beside the run; from any thread."""
        if self._json:
            line = events.encode(events.line_of(Note(text)))
            self._screen.do(lambda: write(sys.stdout, line))
        self._say(text)

    async def _data(self, event: Plan | Note | Record) -> None:
        if self._json:
            await self._screen.give(events.encode(events.line_of(event)))

    def _say(self, text: str) -> None:
        if self._quiet or self._json:
            return
        text = shown(text)
        if self._live is not None:
            console = self._live.console
            self._screen.do(
                lambda: console.print(text, markup=False, highlight=False, soft_wrap=True)
            )
        else:
            self._screen.tell(text)
