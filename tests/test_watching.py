"""Metrics: a real scrape, and what it says of a real run; and what looking on may cost."""

import asyncio
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from batch_reimagine.engine import Stop
from batch_reimagine.errors import LocalResource, UsageError
from batch_reimagine.metrics import ATTEMPTS, COUNTERS, GAUGES, Metrics
from tests.support import error, hang, make_photos, run, scripted

ROOT = Path(__file__).parent.parent


def figures(text: str) -> dict[str, float]:
    """A scrape, as Prometheus' own parser reads it: name and labels → value."""
    return {
        sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return figures(answer.read().decode())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_photos(tmp_path / "photos", 3)
    return tmp_path / "photos"


def test_a_scrape_tells_what_the_server_saw(photos: Path, tmp_path: Path) -> None:
    metrics = Metrics()

    async def run_all() -> int:
        async with scripted(error(500, "INTERNAL"), error(400, "INVALID_IMAGE_SIZE")) as api:
            settings = {"base_url": api.url, "price": "0.5", "concurrency": 1}
            await run(photos, tmp_path / "out", watches=[metrics], **settings)
            return len(api.seen)

    with metrics.served(0) as port:
        before = scrape(port)
        seen = asyncio.run(run_all())
        after = scrape(port)

    assert not any(name.startswith("batch_reimagine_calls") for name in before)
    assert seen == 4
    told = {name.removeprefix("batch_reimagine_"): value for name, value in after.items()}
    assert told["attempts_total retry 500"] == told["attempts_total reject 400"] == 1
    assert told["attempts_total keep 200"] == told["variations_made_total"] == 2
    assert told["calls_total"] == told["attempt_seconds_count"] == 4
    assert told["failures_total INVALID_IMAGE_SIZE"] == told["photos_refused_total"] == 1
    assert (told["money_spent"], told["money_at_risk"]) == (1.0, 0.5)
    assert (told["calls_in_flight"], told["outage"], told["calls_limit"]) == (0, 0, 1)
    assert told["photos_expected"] == 3
    assert "starts_per_minute" not in told  # no limit known is no 0


async def test_a_call_in_flight_shows_and_a_dropped_one_is_counted(
    photos: Path, tmp_path: Path
) -> None:
    metrics, stop = Metrics(), Stop()
    seen: list[dict[str, float]] = []

    def look(moment: object) -> None:
        if type(moment).__name__ == "AttemptBegan" and not seen:
            seen.append({sample.name: sample.value for sample in metrics_now()})
            stop.drop("enough")

    def metrics_now() -> Iterator[object]:
        for family in metrics.collect():
            yield from family.samples

    async with scripted(*[hang] * 3) as api:
        await run(photos, tmp_path / "out", watches=[metrics, look], stop=stop, base_url=api.url)

    assert seen[0]["batch_reimagine_calls_total"] >= 1
    ended = metrics.registry.get_sample_value(
        "batch_reimagine_attempts_total", {"action": "none", "status": "none"}
    )
    assert ended == seen[0]["batch_reimagine_calls_total"]


def test_a_port_that_is_taken_or_none_is_told() -> None:
    with Metrics().served(0) as port, pytest.raises(UsageError, match="in use"):
        Metrics().served(port).__enter__()
    with pytest.raises(UsageError, match="--metrics-port"):
        Metrics().served(70_000).__enter__()


def test_the_page_of_metrics_answers_on_this_machine_alone() -> None:
    with Metrics().served(0) as port:
        listening = Path("/proc/net/tcp").read_text("utf-8") if sys.platform == "linux" else ""

    assert f"0100007F:{port:04X}" in listening
    assert f"00000000:{port:04X}" not in listening


def test_a_metrics_file_is_whole_at_the_end_and_its_name_is_the_collectors(tmp_path: Path) -> None:
    path = tmp_path / "run.prom"
    with Metrics().written(path, print):
        assert path.stat().st_mode & 0o777 == 0o644
        path.unlink()

    assert ATTEMPTS in path.read_text("utf-8")
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(UsageError, match=r"\.prom"):
        Metrics().written(tmp_path / "photo.jpg", print).__enter__()
    with pytest.raises(LocalResource, match="cannot be written"):
        Metrics().written(tmp_path / "nowhere" / "run.prom", print).__enter__()


def test_every_metric_is_on_its_page() -> None:
    page = (ROOT / "docs/how-to/observe.md").read_text("utf-8")
    listed = set(re.findall(r"`batch_reimagine_(\w+)`", page))

    mine = {f"{name}_total" for name in COUNTERS} | set(GAUGES)
    assert listed == mine | {"attempts_total", "attempt_seconds", "failures_total", "run_info"}


def test_the_shell_serves_metrics_and_sends_spans_while_it_runs(
    photos: Path, tmp_path: Path
) -> None:
    arguments = [*("run", str(photos), "-o", str(tmp_path / "out"), "--provider", "simulator")]
    arguments += ["--metrics-port", "0", "--metrics-file", str(tmp_path / "run.prom"), "--otel"]
    ended = subprocess.run(
        [sys.executable, "-m", "batch_reimagine", *arguments],
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "OTEL_TRACES_EXPORTER": "console"}
        | {"OTEL_METRICS_EXPORTER": "none", "OTEL_SERVICE_NAME": "shop"},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )

    assert ended.returncode == 0, ended.stderr
    assert re.search(r"^metrics: http://127.0.0.1:\d+/metrics$", ended.stderr, re.MULTILINE)
    assert ended.stdout.count('"name": "reimagine.attempt"') == 3
    assert '"service.name": "shop"' in ended.stdout
    told = figures((tmp_path / "run.prom").read_text("utf-8"))
    assert told["batch_reimagine_variations_made_total"] == 3


def test_a_listener_costs_next_to_nothing() -> None:
    """Four moments a call: what the loggers take of them when nobody listens."""
    from batch_reimagine import logs  # noqa: PLC0415
    from batch_reimagine.journal import Try  # noqa: PLC0415
    from batch_reimagine.observing import (  # noqa: PLC0415
        AttemptBegan,
        AttemptEnded,
        CallEnded,
        Everyone,
    )
    from batch_reimagine.provider.contract import Action, Verdict  # noqa: PLC0415

    try_ = Try(
        id="1",
        time="",
        source="a.jpg",
        source_sha256="",
        variation=1,
        attempt=1,
        base="a",
        price=None,
    )
    verdict, watch = Verdict(Action.KEEP), Everyone(logs.told)
    began = time.process_time()
    for _ in range(10_000):
        watch(AttemptBegan(try_))
        watch(AttemptEnded(try_, 200, 1.0, verdict, "spent", 1))
        watch(CallEnded("a.jpg", 1))
    each_us = (time.process_time() - began) * 100

    assert each_us < 100  # measured: 5; a call takes seconds
