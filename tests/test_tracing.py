"""Traces and OpenTelemetry's SDK: its own exporters, and what they are told of a real run."""

import logging
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from batch_reimagine.cli.watching import Watching, watching
from batch_reimagine.engine import Stop
from batch_reimagine.errors import UsageError
from batch_reimagine.telemetry import telemetry
from batch_reimagine.tracing import Traces
from batch_reimagine.work import Summary
from tests.support import error, hang, make_photos, run, scripted


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_photos(tmp_path / "photos", 3)
    return tmp_path / "photos"


async def test_a_call_is_a_span_and_each_attempt_one_below_it(photos: Path, tmp_path: Path) -> None:
    spans, figures_ = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    meters = MeterProvider([figures_], shutdown_on_exit=False)
    before_the_end: list[int] = []

    def look(moment: object) -> None:
        if isinstance(moment, Summary):
            before_the_end.append(len(spans.get_finished_spans()))

    async with scripted(error(500, "INTERNAL", "a fault")) as api:
        settings = {"base_url": api.url, "concurrency": 1, "limit": 1, "variations": 2}
        await run(photos, tmp_path / "out", watches=[look, Traces(tracers, meters)], **settings)

    assert before_the_end == [5]
    done = spans.get_finished_spans()
    calls = [span for span in done if span.parent is None]
    attempts = [span for span in done if span.parent is not None]
    assert (len(calls), len(attempts)) == (2, 3)
    assert {span.status.status_code for span in calls} == {StatusCode.OK}
    assert {span.kind for span in attempts} == {SpanKind.CLIENT}
    (failed,) = [span for span in attempts if span.status.status_code is StatusCode.ERROR]
    assert failed.attributes is not None
    assert failed.attributes["http.response.status_code"] == 500
    assert (failed.attributes["error.type"], failed.status.description) == ("INTERNAL", "a fault")
    whole = {span.context.trace_id: span for span in calls if span.context}
    for span in attempts:
        assert span.context is not None
        above = whole[span.context.trace_id]
        assert above.attributes is not None
        assert above.attributes["batch_reimagine.source"] == "photo-000.jpg"
        assert (above.start_time or 0) <= (span.start_time or 0)
        assert (span.end_time or 0) <= (above.end_time or 0)
    data = figures_.get_metrics_data()
    assert data is not None
    sums = {
        metric.name: sum(point.value for point in metric.data.data_points)  # type: ignore[union-attr, misc]
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name.endswith(("attempts", "variations"))
    }
    assert sums == {"batch_reimagine.attempts": 3, "batch_reimagine.variations": 2}
    meters.shutdown()


async def test_no_span_is_left_open_by_a_drop(photos: Path, tmp_path: Path) -> None:
    spans, stop = InMemorySpanExporter(), Stop()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    began: list[object] = []

    def look(moment: object) -> None:
        if type(moment).__name__ == "AttemptBegan":
            began.append(moment)
            stop.drop("enough")

    async with scripted(*[hang] * 3) as api:
        await run(
            photos, tmp_path / "out", watches=[Traces(tracers), look], stop=stop, base_url=api.url
        )

    ended = [span for span in spans.get_finished_spans() if span.parent is not None]
    assert len(ended) == len(began) > 0
    assert {span.status.status_code for span in ended} == {StatusCode.ERROR}


def test_an_exporter_that_is_not_installed_is_told_before_the_run() -> None:
    logger = logging.getLogger("opentelemetry")
    before = list(logger.handlers)

    with (
        pytest.raises(UsageError, match="no exporter 'zipkin' for traces"),
        telemetry({"OTEL_TRACES_EXPORTER": "zipkin"}, print),
    ):
        pass

    assert logger.handlers == before


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "x"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-5"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "x"),
    ],
)
def test_a_value_that_the_sdk_refuses_is_told_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    environ = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "console"}

    with (
        pytest.raises(UsageError, match=f"--otel: .*{variable}"),
        telemetry(environ | {variable: value}, print),
    ):
        pass


@pytest.mark.parametrize("variable", ["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"])
def test_events_and_an_exporter_of_the_console_exclude_one_another(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "none, console")
    flags = Watching(otel=True)

    with (
        pytest.raises(UsageError, match=f"{variable}=console writes to stdout"),
        watching(flags, json=True, quiet=False, verbose=False, note=print),
    ):
        pass


def test_what_the_sdk_complains_of_is_told_once_and_not_on_the_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    notes: list[str] = []
    with telemetry({"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}, notes.append):
        for _ in range(3):
            logging.getLogger("opentelemetry.exporter").error("nobody\nthere")

    assert notes == ["OpenTelemetry: nobody; the run goes on without"]
    assert capfd.readouterr() == ("", "")
