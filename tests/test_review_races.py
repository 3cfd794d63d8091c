"""What happened between two looks: decisions, settings, files and tabs that come and go."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batch_reimagine import batch
from batch_reimagine.settings import Settings
from batch_reimagine.work import Event
from tests.reviewing import COMMAND, Reviewer, environment, make_output, start
from tests.support import jpeg, pictures


def until(is_so: Callable[[], object], within_s: float = 15) -> None:
    end = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def run(*words: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *map(str, words)], env=environment(), check=False, capture_output=True
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return make_output(tmp_path)


@pytest.fixture
def server(out: Path) -> Iterator[Reviewer]:
    with start(out) as server:
        server.log_in()
        yield server


def made(out: Path) -> list[Path]:
    return sorted(out.glob("*_v*.png"))


def test_a_limit_that_ends_one_order_ends_no_later_one(tmp_path: Path, out: Path) -> None:
    words = ["run", tmp_path / "photos", "-o", out, "-n", 3, "--max-calls", 1, "-q"]
    assert run(*words, "--provider", "simulator").returncode == 8
    with start(out) as server:
        server.log_in()
        id_ = server.ids()[2]
        before = len(made(out))
        server.write("POST", f"/api/products/{id_}/more", {"count": 2})
        until(lambda: len(made(out)) == before + 1)
        until(lambda: not server.state()["running"])
        with server.events() as tab:
            tab.until("run")
            answer = server.write("POST", f"/api/products/{id_}/more", {"count": 1})
            assert answer.status == 202, answer
            tab.until("run", lambda r: r["running"])
            tab.until("run", lambda r: not r["running"])
        assert len(made(out)) == before + 2


async def test_of_a_photo_that_became_another_nothing_is_bought(tmp_path: Path, out: Path) -> None:
    last = (out / ".batch-reimagine" / "last-run.json").read_bytes()
    before = pictures(out)
    (tmp_path / "photos" / "photo-001.jpg").write_bytes(jpeg(77))

    async def emit(_: Event) -> None:
        return

    settings = Settings(provider="simulator", variations=5, include=("/photo-001.jpg",))
    await batch.run([tmp_path / "photos"], out, settings, key="", emit=emit, only=bytes(32))

    assert pictures(out) == before
    assert (out / ".batch-reimagine" / "last-run.json").read_bytes() == last


def test_more_costs_what_the_last_run_says_now(server: Reviewer, tmp_path: Path, out: Path) -> None:
    assert server.state()["price"] is None
    words = ["run", tmp_path / "photos", "-o", out, "-n", 2, "--price", "0.07", "-q"]
    assert run(*words, "--provider", "simulator").returncode == 0
    assert server.state()["price"] == "0.07"


def test_a_refused_decision_hides_no_news_from_other_tabs(server: Reviewer, out: Path) -> None:
    id_ = server.ids()[0]
    with server.events() as tab:
        tab.until("run")
        assert run("pick", out, "photo-000.jpg=2").returncode == 0
        assert server.choose(id_, 0, picked=[1]).status == 409
        heard = tab.until("product", lambda p: p["id"] == id_, within_s=5)
        assert heard["choice"]["picked"] == [2]


def test_a_tab_that_closes_while_its_decision_waits_is_heard_by_others(
    server: Reviewer, out: Path
) -> None:
    id_ = server.ids()[0]
    server.choose(id_, 0, picked=[1])
    body = json.dumps(
        {"revision": 1, "choice": {"picked": [2], "rejected": [], "none": False, "note": ""}}
    ).encode()
    head = (
        f"PUT /api/products/{id_}/choice HTTP/1.1\r\nHost: {server.host}\r\n"
        f"Cookie: {server.cookie}\r\nOrigin: {server.origin}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with server.events() as tab, (out / "picks.jsonl").open("ab") as log:
        tab.until("run")
        fcntl.flock(log, fcntl.LOCK_EX)
        with socket.create_connection(("127.0.0.1", server.port)) as closing:
            closing.sendall(head.encode() + body)
            time.sleep(0.3)
        time.sleep(0.2)
        fcntl.flock(log, fcntl.LOCK_UN)
        tab.until("product", lambda p: p["choice"]["picked"] == [2], within_s=8)
    table = out / "picks.csv"
    until(lambda: table.exists() and ",2," in table.read_text("utf-8-sig"))


def test_pictures_whose_load_is_broken_off_leave_nothing_open(server: Reviewer) -> None:
    id_ = server.ids()[0]
    head = f"GET /api/pictures/{id_}/1 HTTP/1.1\r\nHost: {server.host}\r\n"
    request = f"{head}Cookie: {server.cookie}\r\n\r\n".encode()
    folder = Path(f"/proc/{server.process.pid}/fd")
    server.get(f"/api/pictures/{id_}/1")
    before = len(list(folder.iterdir()))
    for number in range(400):
        with socket.create_connection(("127.0.0.1", server.port)) as breaking:
            breaking.sendall(request)
            time.sleep(0.0005 * (number % 5))
    until(lambda: len(list(folder.iterdir())) <= before)


def test_books_that_are_harmed_for_a_moment_hide_no_picture(
    server: Reviewer, tmp_path: Path, out: Path
) -> None:
    assert len(server.ids()) == 3
    (out / "picks.jsonl").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "photo-009.jpg").write_bytes(jpeg(9))
    words = ["run", tmp_path / "photos", "-o", out, "-n", 2, "--provider", "simulator", "-q"]
    assert run(*words).returncode == 0
    time.sleep(1.5)
    (out / "picks.jsonl").unlink()
    until(lambda: len(server.ids()) == 4)


def test_ctrl_c_waits_for_nobody_who_holds_the_decisions(server: Reviewer, out: Path) -> None:
    ids = server.ids()
    server.choose(ids[0], 0, picked=[1])
    with (out / "picks.jsonl").open("ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        waiting = []
        for id_ in ids:
            body = b'{"revision":0,"choice":{"picked":[2]}}'
            head = (
                f"PUT /api/products/{id_}/choice HTTP/1.1\r\nHost: {server.host}\r\n"
                f"Cookie: {server.cookie}\r\nOrigin: {server.origin}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection = socket.create_connection(("127.0.0.1", server.port))
            connection.sendall(head.encode() + body)
            waiting.append(connection)
        time.sleep(0.5)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(5) == 130
        for connection in waiting:
            connection.close()


def test_a_table_that_somebody_edited_is_not_renamed_in_silence(
    server: Reviewer, out: Path
) -> None:
    id_ = server.ids()[0]
    server.choose(id_, 0, picked=[1])
    until((out / "picks.csv").exists)
    time.sleep(0.5)
    with (out / "picks.csv").open("a", encoding="utf-8") as table:
        table.write("photo-001.jpg,2,,,\r\n")
    with server.events() as tab:
        server.choose(id_, 1, picked=[2])
        note = tab.until("note", lambda n: "picks-edited-1.csv" in n["text"], within_s=8)
    assert "--from" in note["text"]
    assert (out / "picks-edited-1.csv").exists()


def test_beside_an_old_pick_whose_picture_failed_since_others_can_be_decided(
    server: Reviewer, out: Path
) -> None:
    id_ = server.ids()[0]
    server.choose(id_, 0, picked=[2])
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    row = next(r for r in rows if r["source"] == "photo-000.jpg" and r["variation"] == 2)
    (out / row["output"]).unlink()
    row |= {"status": "exhausted", "output": None, "reason": "FAILED", "message": "gone"}
    with (out / "manifest.jsonl").open("a") as manifest:
        manifest.write(json.dumps(row) + "\n")
    until(lambda: server.state()["products"][0]["variations"][1]["status"] == "exhausted")
    assert server.choose(id_, 1, picked=[2], note="a long note").status == 200
    assert server.choose(id_, 2, picked=[1, 2]).status == 200
    assert server.choose(server.ids()[1], 0, picked=[9]).status == 400


def test_no_request_ends_in_a_traceback(server: Reviewer, out: Path) -> None:
    server.choose(server.ids()[0], 0, picked=[1])
    answer = server.write("POST", "/api/export", {"to": "~nobody-of-this-name/x"})
    assert (answer.status, list(answer.json)) == (400, ["error"])
    raw = (
        f"GET /api/state HTTP/1.1\r\nHost: {server.host}\r\nCookie: {server.cookie.split('=')[0]}="
    )
    assert server.send_raw(raw.encode() + b"\xff\r\nConnection: close\r\n\r\n").status == 401
    server.process.send_signal(signal.SIGINT)
    server.process.wait(5)
    assert server.process.stderr is not None
    assert b"Traceback" not in server.process.stderr.read()
    del out


def test_an_address_that_is_every_address_is_refused(out: Path) -> None:
    for host in ("0.0.0.0", "::"):  # noqa: S104 - that is the point
        ended = run("review", out, "--no-open", "--host", host)
        assert ended.returncode == 2
        assert b"name the one that others use" in ended.stderr


def test_a_browser_can_tell_two_outputs_apart(out: Path, tmp_path: Path) -> None:
    other = shutil.copytree(out, tmp_path / "other")
    keys = []
    for output in (out, other):
        with start(output) as server:
            server.log_in()
            keys.append(server.state()["key"])
            choice = {"picked": [1], "rejected": [], "none": False, "note": ""}
            headers = {"Host": server.host, "Cookie": server.cookie, "Origin": server.origin}
            headers |= {"Content-Type": "application/json", "X-Output": keys[0]}
            body = json.dumps({"revision": 0, "choice": choice}).encode()
            path = f"/api/products/{server.ids()[0]}/choice"
            status = server.send("PUT", path, headers, body).status
            assert status == (200 if output == out else 412)
    assert not (other / "picks.jsonl").exists()
    assert len(set(keys)) == 2
    assert os.fspath(tmp_path) not in "".join(keys)
