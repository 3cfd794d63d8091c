"""Sets OpenTelemetry's SDK up as its OTEL_ variables say; needs the extra `otel`.

Most of them the SDK and its exporters read by themselves; which exporters there are to be is
read here. Source: OpenTelemetry, "Environment Variable Specification".
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from batch_reimagine.errors import UsageError
from batch_reimagine.tracing import Traces
from batch_reimagine.version import VERSION

_MOST_TEXT = 200
PATIENCE_S = 5.0  # at the end, for a collector that does not answer


@contextmanager
def telemetry(environ: Mapping[str, str], note: Callable[[str], None]) -> Iterator[Traces]:
    """Send spans and counters meanwhile; what waits at the end is sent within 5 s or lost.

    environ: OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER (default otlp; none), and
    OTEL_EXPORTER_OTLP_PROTOCOL (default http/protobuf). note: told once if nobody takes them.
    If the process has its own providers already, those are used.
    Raises UsageError for exporters that are not installed, and values that the SDK refuses.
    """
    quiet = _Once(note)
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(quiet)
    propagated, logger.propagate = logger.propagate, False
    providers: list[TracerProvider | MeterProvider] = []
    try:
        yield _set_up(environ, providers)
    finally:
        if not _shut(providers):
            note(f"OpenTelemetry: no answer within {PATIENCE_S:g} s; what waited is lost")
        logger.removeHandler(quiet)
        logger.propagate = propagated


def _set_up(environ: Mapping[str, str], providers: list[TracerProvider | MeterProvider]) -> Traces:
    """Make what is not there yet, and add it to providers."""
    try:
        if isinstance(trace.get_tracer_provider(), TracerProvider):  # opentelemetry-instrument's
            return Traces()
        tracers, meters = _providers(environ, providers)
        return Traces(tracers, meters)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - the SDK and its exporters raise what they like
        why = str(error) or type(error).__name__
        named = [name for name in sorted(environ) if name.startswith("OTEL_")]
        named = [name for name in named if name in why] or named
        raise UsageError(
            f"--otel: OpenTelemetry cannot be set up: {' '.join(why.split())[:_MOST_TEXT]};"
            f" look at {', '.join(named) or 'its packages'}"
        ) from None


def _providers(
    environ: Mapping[str, str], made: list[TracerProvider | MeterProvider]
) -> tuple[TracerProvider, MeterProvider]:
    resource = Resource.create({"service.name": "batch-reimagine", "service.version": VERSION})
    if name := environ.get("OTEL_SERVICE_NAME"):
        resource = resource.merge(Resource({"service.name": name}))
    # Not at exit of the interpreter, which would wait for a collector without limit.
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    made.append(tracers)
    for exporter in _exporters(environ, "traces"):
        tracers.add_span_processor(BatchSpanProcessor(exporter))
    readers = [
        found if isinstance(found, MetricReader) else PeriodicExportingMetricReader(found)
        for found in _exporters(environ, "metrics")
    ]
    meters = MeterProvider(readers, resource, shutdown_on_exit=False)
    made.append(meters)
    return tracers, meters


def _exporters(environ: Mapping[str, str], signal: str) -> Iterator[Any]:
    names = environ.get(f"OTEL_{signal.upper()}_EXPORTER") or "otlp"
    for name in (word.strip() for word in names.split(",")):
        if name == "none":
            continue
        found = name
        if name == "otlp":
            default = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
            protocol = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL") or default
            found = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
        entries = tuple(entry_points(group=f"opentelemetry_{signal}_exporter", name=found))
        if not entries:
            raise UsageError(
                f"--otel: there is no exporter {found!r} for {signal}; install its package, or set"
                f" OTEL_{signal.upper()}_EXPORTER to another, or to none"
            )
        try:
            exporter = entries[0].load()
        except ImportError as error:
            raise UsageError(f"--otel: the exporter {found!r} is broken: {error}") from None
        yield exporter()


def _shut(providers: Sequence[TracerProvider | MeterProvider]) -> bool:
    """Send what waits; in threads, for exporters keep no limit of their own. False: not all."""
    until = time.monotonic() + PATIENCE_S
    threads = [threading.Thread(target=each.shutdown, daemon=True) for each in providers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


class _Once(logging.Handler):
    """Turns the SDK's complaints into one note."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._note: Callable[[str], None] | None = note

    def emit(self, record: logging.LogRecord) -> None:
        note, self._note = self._note, None
        if note is not None:
            text = record.getMessage().splitlines()[0] if record.getMessage() else "?"
            note(f"OpenTelemetry: {text}; the run goes on without")
