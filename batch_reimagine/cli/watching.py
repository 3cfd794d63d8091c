"""What looks on at a run for its operator: a log file, metrics, traces. All off by default."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from batch_reimagine.errors import UsageError
from batch_reimagine.naming import STATE_DIR
from batch_reimagine.output import MANIFEST, PARTS
from batch_reimagine.places import Place, books_folder
from batch_reimagine.settings import Settings

if TYPE_CHECKING:
    from batch_reimagine.observing import Watch
    from batch_reimagine.secret import Secret

_LEVELS = (logging.INFO, logging.DEBUG)  # without -v, and with it


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """The flags."""

    log_file: Annotated[
        Path | None,
        Parameter(help="Append the log as JSON lines; /dev/stderr too. -v: every attempt."),
    ] = None
    metrics_port: Annotated[
        int | None,
        Parameter(help="Serve Prometheus' /metrics on 127.0.0.1 during the run; 0: any port."),
    ] = None
    metrics_file: Annotated[
        Path | None,
        Parameter(help="Write the same to a *.prom file, for node_exporter's textfile collector."),
    ] = None
    otel: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Send spans and counters by OpenTelemetry, as its OTEL_… variables say.",
        ),
    ] = False


@dataclass(frozen=True, slots=True)
class Watched:
    """What a run is to tell, and to hide."""

    watches: "tuple[Watch, ...]"
    hide: "Callable[..., None]"  #: takes keys, which the log does not hold from then on


@contextmanager
def watching(
    flags: Watching, *, json: bool, quiet: bool, verbose: bool, note: Callable[[str], None]
) -> Iterator[Watched]:
    """Open what the flags ask for; nothing is even imported for those that were not given.

    json: stdout is for events alone. note: tells people.
    Raises UsageError, or LocalResource for a file that cannot be written.
    """
    if flags.otel and json:
        _refuse_console(os.environ)
    watches: list[Watch] = []
    hide: Callable[..., None] = _nothing_to_hide
    with ExitStack() as stack:
        if flags.log_file is not None:
            from batch_reimagine.log_file import log_file  # noqa: PLC0415

            level = logging.WARNING if quiet else _LEVELS[verbose]
            hide = stack.enter_context(log_file(flags.log_file, level)).hide
        if flags.metrics_port is not None or flags.metrics_file is not None:
            watches.append(_metrics(flags, stack, note))
        if flags.otel:
            watches.append(_otel(stack, note))
        yield Watched(tuple(watches), hide)


def refuse_log(path: Path, inputs: Sequence[Place], output: Place, settings: Settings) -> None:
    """Raises UsageError for a log among the photos or the books, which nothing may spoil."""
    path = path.resolve()
    for place in inputs:
        if isinstance(place, Path) and path.is_relative_to(place.resolve()):
            why = f"--log-file: {path} is among the photos of {place}: choose another place"
            raise UsageError(why)
    books = output.resolve() if isinstance(output, Path) else books_folder(settings).resolve()
    if not path.is_relative_to(books):
        return
    first = path.relative_to(books).parts[:1]
    ours = {(STATE_DIR,), (MANIFEST,), (PARTS,), ()}
    if not isinstance(output, Path) or first in ours or first[0].startswith("picks"):
        raise UsageError(f"--log-file: {path} is among the books of {output}: choose another place")


def _refuse_console(environ: Mapping[str, str]) -> None:
    """Raises UsageError for exporters that write to stdout, among the events."""
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"):
        if "console" in (word.strip() for word in environ.get(name, "").split(",")):
            raise UsageError(
                f"--json, --otel: {name}=console writes to stdout, where the events go;"
                " choose another exporter, or leave one of the flags out"
            )


def _nothing_to_hide(*secrets: "Secret") -> None:
    del secrets


def _metrics(flags: Watching, stack: ExitStack, note: Callable[[str], None]) -> "Watch":
    try:
        from batch_reimagine.metrics import Metrics  # noqa: PLC0415 - an extra
    except ImportError:
        why = "metrics need the extra: pip install 'batch-reimagine[metrics]'"
        raise UsageError(why) from None
    metrics = Metrics()
    if flags.metrics_port is not None:
        port = stack.enter_context(metrics.served(flags.metrics_port))
        note(f"metrics: http://127.0.0.1:{port}/metrics")
    if flags.metrics_file is not None:
        stack.enter_context(metrics.written(flags.metrics_file, note))
    return metrics


def _otel(stack: ExitStack, note: Callable[[str], None]) -> "Watch":
    try:
        from batch_reimagine.telemetry import telemetry  # noqa: PLC0415 - an extra
    except ImportError:
        why = "--otel needs the extra: pip install 'batch-reimagine[otel]'"
        raise UsageError(why) from None
    except ValueError as error:  # the SDK reads some of its variables when it is imported
        raise UsageError(f"--otel: {error}") from None
    return stack.enter_context(telemetry(os.environ, note))
