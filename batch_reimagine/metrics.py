"""A run's figures as Prometheus takes them; needs the extra `metrics`.

Nearly all are read from the run's own counts in the moment of a scrape, so that they cost the
run nothing. Two are counted along: attempts by what came of them, and how long they took.
"""

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import start_http_server

from batch_reimagine.errors import LocalResource, UsageError
from batch_reimagine.observing import AttemptEnded, Began, Moment
from batch_reimagine.version import VERSION
from batch_reimagine.work import Progress

_PREFIX = "batch_reimagine"
_BUCKETS_S = (0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 45, 60, 90, 120, 300)
WRITE_EVERY_S = 15.0
_MOST_REASONS = 50  # a service's own words; the others are counted together

#: metric → what it says, and the count of the run that it is
COUNTERS = {
    "photos": ("Photos looked at.", "photos"),
    "variations_made": ("Variations bought and kept.", "made"),
    "variations_copied": ("Variations copied from the same photo elsewhere.", "copied"),
    "variations_exhausted": ("Variations given up in this run.", "exhausted"),
    "variations_unknown": ("Variations whose outcome this run did not see.", "unknown"),
    "photos_refused": ("Photos refused in this run.", "rejected"),
    "calls": ("Posts begun.", "calls"),
}
GAUGES = {
    "photos_expected": ("Photos in all; missing until the listing is complete.", "photos_total"),
    "variations_here": ("Variations that were on disk already.", "here"),
    "variations_held": ("Variations left alone, for they may have been paid for.", "held"),
    "calls_in_flight": ("Calls in flight.", "in_flight"),
    "calls_limit": ("Calls that may be in flight now.", "limit"),
    "variations_retrying": ("Variations that wait for their next attempt.", "retrying"),
    "starts_per_minute": ("Starts a minute that are granted; missing: no limit.", "per_minute"),
    "outage": ("1 while nearly everything fails and single calls probe.", "outage"),
    "money_spent": ("Spent on this output by all its runs; missing without a price.", "spent"),
    "credits_left": ("Of the account, as the last answer told; missing: none did.", "credits_left"),
    "money_at_risk": ("Sent without a seen outcome; missing without a price.", "at_risk"),
}
ATTEMPTS = "Attempts that ended, by what was to be done then, and by HTTP status."
ATTEMPT_SECONDS = "Seconds of an attempt, until its picture was durable."


class Metrics:
    """Listens to one run; `registry` holds its figures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._run: Began | None = None
        self._attempts = Counter(
            f"{_PREFIX}_attempts", ATTEMPTS, ["action", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            f"{_PREFIX}_attempt_seconds",
            ATTEMPT_SECONDS,
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.registry.register(self)

    def __call__(self, moment: Moment) -> None:
        match moment:
            case AttemptEnded():
                action = moment.verdict.action.value if moment.verdict else "none"
                self._attempts.labels(action, moment.status or "none").inc()
                self._seconds.observe(moment.seconds)
            case Began():
                self._run = moment

    def collect(self) -> Iterator[Metric]:
        """What the run's counts say now."""
        run = self._run
        if run is None:
            return
        settings = run.settings
        facts = {"run": run.run, "provider": settings.provider, "version": VERSION}
        facts["shard"] = settings.shard or ""
        yield InfoMetricFamily(f"{_PREFIX}_run", "The run that these figures are of.", facts)
        for name, (text, count) in COUNTERS.items():
            value = getattr(run.progress, count)
            yield CounterMetricFamily(f"{_PREFIX}_{name}", text, value)
        for name, (text, count) in GAUGES.items():
            value = getattr(run.progress, count)
            if value is not None:
                yield GaugeMetricFamily(f"{_PREFIX}_{name}", text, float(value))
        yield _failures(run.progress)

    @contextmanager
    def served(self, port: int) -> Iterator[int]:
        """Answer scrapes on 127.0.0.1 meanwhile; gives the port. 0 takes a free one.

        Raises UsageError if the port is taken.
        """
        try:
            server, thread = start_http_server(port, addr="127.0.0.1", registry=self.registry)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise UsageError(
                f"--metrics-port: cannot listen on port {port}: {why}; 0 takes a free one"
            ) from None
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join(2.0)

    @contextmanager
    def written(self, path: Path, note: Callable[[str], None]) -> Iterator[None]:
        """Keep a file up to date meanwhile, for node_exporter's textfile collector.

        note: told once if that fails later on. Raises UsageError for a name that the collector
        would not read, LocalResource if nothing can be written there.
        """
        if path.suffix != ".prom":
            raise UsageError(f"--metrics-file: {path} must end in .prom, as the collector has it")
        self._write(path)
        ended = threading.Event()
        lost: list[str] = []

        def keep_up() -> None:
            last = False
            while not last:
                last = ended.wait(WRITE_EVERY_S)
                try:
                    self._write(path)
                except LocalResource as error:
                    lost.append(str(error))
                    if len(lost) == 1:
                        note(str(error))

        thread = threading.Thread(target=keep_up, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(5.0)

    def _write(self, path: Path) -> None:
        """In place of the file, in one step."""
        temporary: Path | None = None
        try:
            with tempfile.NamedTemporaryFile(
                dir=path.parent, prefix=f".{path.name}.", delete=False
            ) as file:
                temporary = Path(file.name)
                file.write(generate_latest(self.registry))
            temporary.chmod(0o644)  # it is read by another user
            temporary.replace(path)
        except OSError as error:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            raise LocalResource(
                f"--metrics-file: {path} cannot be written: {error.strerror}"
            ) from None


def _failures(progress: Progress) -> Metric:
    family = CounterMetricFamily(
        f"{_PREFIX}_failures", "Variations and photos that failed in this run.", labels=["reason"]
    )
    most_first = sorted(progress.failures.copy().items(), key=lambda item: -item[1])
    for reason, count in most_first[:_MOST_REASONS]:
        family.add_metric([reason], count)
    if rest := sum(count for _, count in most_first[_MOST_REASONS:]):
        family.add_metric(["(others)"], rest)
    return family
