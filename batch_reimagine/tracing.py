"""Spans and counters through OpenTelemetry's interface; needs the extra `otel`.

A span a call, from its first attempt to its end, and one below it for each attempt. A call is a
trace of its own, for a run may have a million; `batch_reimagine.run` tells which run it is of.
"""

from collections.abc import Iterable

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.util.types import AttributeValue

from batch_reimagine.observing import AttemptBegan, AttemptEnded, Began, CallEnded, Moment
from batch_reimagine.version import VERSION
from batch_reimagine.work import Record, Summary

NAME = "batch_reimagine"
_Call = tuple[str, int]  # source and first variation: no two calls at a time have the same


class Traces:
    """Listens to one run.

    tracers, meters: where spans and counters go; None: the providers that the process has set,
    and nowhere if it has set none.
    """

    def __init__(
        self, tracers: TracerProvider | None = None, meters: MeterProvider | None = None
    ) -> None:
        self._tracer = trace.get_tracer(NAME, VERSION, tracers)
        meter = metrics.get_meter(NAME, VERSION, meters)
        self._attempts = meter.create_counter(
            f"{NAME}.attempts", "{attempt}", "Attempts that ended, by action and HTTP status."
        )
        self._seconds = meter.create_histogram(
            f"{NAME}.attempt.duration", "s", "Until the attempt's picture was durable."
        )
        self._variations = meter.create_counter(
            f"{NAME}.variations", "{variation}", "Rows written, by status and reason."
        )
        meter.create_observable_gauge(
            f"{NAME}.calls_in_flight", [self._in_flight], "{call}", "Calls in flight."
        )
        self._run: Began | None = None
        self._calls: dict[_Call, Span] = {}
        self._open: dict[str, Span] = {}  # attempts by id

    def __call__(self, moment: Moment) -> None:
        match moment:
            case AttemptBegan():
                self._attempt_began(moment)
            case AttemptEnded():
                self._attempt_ended(moment)
            case CallEnded():
                if span := self._calls.pop((moment.source, moment.variation), None):
                    span.end()
            case Record():
                kind = {"status": moment.status, "reason": moment.reason or ""}
                self._variations.add(1, kind)
            case Began():
                self._run = moment
            case Summary():
                for span in (*self._open.values(), *self._calls.values()):
                    span.end()
                self._open.clear()
                self._calls.clear()

    def _attempt_began(self, moment: AttemptBegan) -> None:
        attempt = moment.attempt
        key = attempt.source, attempt.variation
        call = self._calls.get(key)
        if call is None:
            facts: dict[str, AttributeValue] = {
                f"{NAME}.run": self._run.run if self._run else "",
                f"{NAME}.provider": attempt.provider,
                f"{NAME}.source": attempt.source,
                f"{NAME}.variations": attempt.numbers,
            }
            call = self._calls[key] = self._tracer.start_span("reimagine", attributes=facts)
        self._open[attempt.id] = self._tracer.start_span(
            "reimagine.attempt",
            trace.set_span_in_context(call),
            SpanKind.CLIENT,
            {f"{NAME}.attempt": attempt.attempt, "http.request.method": "POST"},
        )

    def _attempt_ended(self, moment: AttemptEnded) -> None:
        attempt, verdict, status = moment.attempt, moment.verdict, moment.status
        action = verdict.action.value if verdict else "none"
        self._attempts.add(1, {"action": action, "status": status or 0})
        self._seconds.record(moment.seconds, {"action": action})
        span = self._open.pop(attempt.id, None)
        if span is None:
            return
        span.set_attributes({f"{NAME}.money": moment.money, f"{NAME}.pictures": moment.came})
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if verdict is not None and verdict.task_id:
            span.set_attribute(f"{NAME}.task_id", verdict.task_id)
        call = self._calls.get((attempt.source, attempt.variation), span)
        if (reason := moment.reason) is None:
            call.set_status(Status(StatusCode.OK))
        else:
            span.set_attribute("error.type", reason)
            span.set_status(Status(StatusCode.ERROR, (verdict and verdict.message) or reason))
            call.set_status(Status(StatusCode.ERROR, reason))
        span.end()

    def _in_flight(self, _: CallbackOptions) -> Iterable[Observation]:
        if self._run is not None:
            yield Observation(self._run.progress.in_flight)
