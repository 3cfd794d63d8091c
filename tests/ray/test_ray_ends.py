"""How a run over Ray ends: signals, kills, no node, no Ray; and what of it others can see."""

import json
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.ray.conftest import Nodes
from tests.ray.running import Run, Service, assert_true, flags, tell
from tests.support import KEY, make_photos, rows


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_first_signal_finishes_what_is_in_flight(
    nodes: Nodes, service: Service, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    make_photos(tmp_path / "in", 60)
    service.behave(latency_s=1.5)

    with Run(tmp_path / "in", tmp_path / "out", *flags(nodes, service, "--ramp", "off")) as run:
        run.wait_for_calls(service, 8)
        run.process.send_signal(number)
        ended = run.end()
    left_s = nodes.actors_end(within_s=5)

    stats = service.stats
    tell(f"{stats['by_outcome']}, actors gone {left_s:.2f} s after")
    assert ended.code == code, ended.err
    assert "SIGTERM received" not in ended.err  # Ray's own handler would dump its stack
    assert stats["by_outcome"] == {"paid": stats["calls"]}
    assert_true(tmp_path / "out", stats["calls"])


def test_a_second_signal_drops_what_is_in_flight(
    nodes: Nodes, service: Service, tmp_path: Path
) -> None:
    make_photos(tmp_path / "in", 30)
    service.behave(latency_s=20)

    with Run(tmp_path / "in", tmp_path / "out", *flags(nodes, service, "--ramp", "off")) as run:
        run.wait_for_calls(service, 8)
        run.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        run.process.send_signal(signal.SIGTERM)
        second = time.monotonic()
        ended = run.end()
    took_s = time.monotonic() - second
    nodes.actors_end(within_s=5)

    tell(f"{took_s:.1f} s after the second")
    assert ended.code == 143, ended.err
    assert took_s < 10
    stats = service.stats
    statuses = Counter(row["status"] for row in rows(tmp_path / "out"))
    assert statuses == {"unknown": stats["calls"]}


def test_a_killed_run_leaves_no_actor_and_is_resumed(
    nodes: Nodes, service: Service, tmp_path: Path
) -> None:
    make_photos(tmp_path / "in", 80)
    service.behave(latency_s=0.3)
    more = flags(nodes, service, "-n", "3", "--ramp", "off")

    with Run(tmp_path / "in", tmp_path / "out", *more) as run:
        run.wait_for_calls(service, 60)
        run.process.kill()
        in_flight = service.stats["in_flight_now"]
    left_s = nodes.actors_end(within_s=10)
    with Run(tmp_path / "in", tmp_path / "out", *more) as run:
        ended = run.end()

    calls = service.stats["calls"]
    tell(f"actors gone after {left_s:.1f} s; {calls - 240} repeated of {in_flight} in flight")
    assert ended.code == 0, ended.err
    assert_true(tmp_path / "out", 240)
    assert calls - 240 <= 32


def test_the_key_is_nowhere_in_the_cluster(nodes: Nodes, service: Service, tmp_path: Path) -> None:
    make_photos(tmp_path / "in", 30)
    service.behave(latency_s=0.5, api_key=KEY)  # so that the nodes must have it

    with Run(tmp_path / "in", tmp_path / "out", *flags(nodes, service, "--rpm", "600")) as run:
        run.wait_for_calls(service, 4)
        memory = _memory(nodes)
        shown = _shown(run.process.pid)
        ended = run.end()

    assert ended.code == 0, ended.err
    assert b"ray::Node" in shown
    assert any(b"ray::Node" in data or b"batch_reimagine" in data for data in memory.values())
    files = [path for path in nodes.folder.rglob("*") if path.is_file()]
    said = b"".join(path.read_bytes() for path in files)
    held = {name: len(data) for name, data in memory.items()}
    tell(f"{held} bytes of memory, {len(shown):,} of processes, {len(said):,} of logs")
    texts = {"processes": shown, "logs": said, "stderr": ended.err.encode(), **memory}
    texts["events"] = json.dumps(ended.events).encode()
    assert [name for name, text in texts.items() if KEY[:12].encode() in text] == []


def _memory(nodes: Nodes) -> dict[str, bytes]:
    """What the cluster's own processes, head and raylets, have in memory, by name and number."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        dead = process.status() == psutil.STATUS_ZOMBIE
        if dead or process.name() not in {"gcs_server", "raylet"}:
            continue
        at, parts = Path("/proc", str(process.pid)), []
        with (at / "mem").open("rb", buffering=0) as memory:
            for line in (at / "maps").read_text().splitlines():
                span, rights, *_ = line.split()
                first, last = (int(end, 16) for end in span.split("-"))
                if not rights.startswith("rw-p"):
                    continue
                with suppress(OSError, ValueError):
                    memory.seek(first)
                    parts.append(memory.read(last - first))
        found[f"{process.name()} {process.pid}"] = b"".join(parts)
    assert len(found) == 2 + len(nodes.workers)
    return found


def _shown(but: int) -> bytes:
    """Arguments and environment of every process of Ray."""
    parts = []
    for process in psutil.process_iter():
        at = Path("/proc", str(process.pid))
        try:
            command = (at / "cmdline").read_bytes()
            if b"ray" in command and process.pid not in {but, psutil.Process().pid}:
                parts += [command, (at / "environ").read_bytes()]
        except OSError:
            continue
    return b"\n".join(parts)


def test_a_cluster_of_its_own_is_started_without_the_key(service: Service, tmp_path: Path) -> None:
    make_photos(tmp_path / "in", 6)
    service.behave(latency_s=3)
    own = {"RAY_ADDRESS": "local"}

    with Run(
        tmp_path / "in", tmp_path / "out", "--engine", "ray", "--base-url", service.url, **own
    ) as run:
        run.wait_for_calls(service, 2)
        children = psutil.Process(run.process.pid).children(recursive=True)
        environs = [Path("/proc", str(child.pid), "environ") for child in children]
        shown = b"".join(path.read_bytes() for path in environs if path.exists())
        ended = run.end()

    assert ended.code == 0, ended.err
    assert len(children) > 3
    assert KEY.encode() not in shown
    gone, left = psutil.wait_procs(children, timeout=5)
    assert not left, left
    tell(f"{len(gone)} processes of its own, all gone; {ended.wall_s:.1f} s")


def test_without_ray_the_extra_is_named(tmp_path: Path) -> None:
    make_photos(tmp_path / "in", 1)
    without = (
        "import sys; sys.modules['ray'] = None;"
        "from batch_reimagine.cli import main; sys.exit(main())"
    )

    with Run(
        tmp_path / "in", tmp_path / "out", "--engine", "ray", start=[sys.executable, "-c", without]
    ) as run:
        ended = run.end()

    assert ended.code == 2
    assert "pip install 'batch-reimagine[ray]'" in ended.err
    assert not (tmp_path / "out").exists()


def test_when_no_node_is_left_the_run_ends_and_says_how_to_go_on(
    nodes: Nodes, service: Service, tmp_path: Path
) -> None:
    make_photos(tmp_path / "in", 60)
    service.behave(latency_s=0.3)
    hasty = (
        "import sys; import batch_reimagine.cluster.nodes as nodes; nodes._NO_NODE_S = 4;"
        "from batch_reimagine.cli import main; sys.exit(main())"
    )

    with Run(
        tmp_path / "in",
        tmp_path / "out",
        *flags(nodes, service, "--rpm", "600"),
        start=[sys.executable, "-c", hasty],
    ) as run:
        run.wait_for_calls(service, 10)
        nodes.kill()
        nodes.kill()
        ended = run.end()

    assert ended.code == 5, ended.err
    assert "no Ray node is left" in ended.err
    made = ended.summary["made"]
    assert_true(tmp_path / "out", made)
    assert not ended.summary["exhausted"]


def test_a_cluster_that_is_not_there_is_told(tmp_path: Path) -> None:
    make_photos(tmp_path / "in", 1)

    with Run(
        tmp_path / "in",
        tmp_path / "out",
        *["--engine", "ray", "--address", "127.0.0.1:1", "--base-url", "http://127.0.0.1:1"],
    ) as run:
        ended = run.end()

    assert ended.code == 5, ended.err
    assert "127.0.0.1:1" in ended.err
    tell(f"{ended.wall_s:.1f} s: {ended.err.splitlines()[-1]}")
