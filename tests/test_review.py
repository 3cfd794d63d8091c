"""The review command over real HTTP: what is shown, what is kept, what is bought, how it ends."""

import asyncio
import csv
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.reviewing import COMMAND, Reviewer, environment, make_output, start
from tests.support import KEY, good, make_photos, pictures, png, rows, run, scripted


def until(is_so: Callable[[], Any], within_s: float = 15) -> Any:
    end = time.monotonic() + within_s
    while not (found := is_so()):
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)
    return found


def product(server: Reviewer, id_: str) -> Any:
    return next(found for found in server.state()["products"] if found["id"] == id_)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_output(tmp_path_factory.mktemp("made")).parent


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """The same output for every test, each its own."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    last = tmp_path / "out" / ".batch-reimagine" / "last-run.json"
    last.write_text(last.read_text().replace(str(made), str(tmp_path)))
    return tmp_path / "out"


@pytest.fixture
def server(out: Path) -> Iterator[Reviewer]:
    with start(out) as server:
        server.log_in()
        yield server


def test_the_state_tells_every_product_with_all_its_variations(server: Reviewer, out: Path) -> None:
    state = server.state()

    assert (state["output"], state["running"], state["provider"]) == ("out", False, "simulator")
    assert (state["more"], state["why_no_more"], state["price"]) == (True, None, None)
    assert [found["name"] for found in state["products"]] == [f"photo-00{n}.jpg" for n in range(3)]
    first = state["products"][0]
    assert (first["source"], first["folder"], first["revision"]) == ("photo-000.jpg", "", 0)
    assert first["original"] is True
    assert first["choice"] == {"picked": [], "rejected": [], "none": False, "note": ""}
    row = next(r for r in rows(out) if r["source"] == "photo-000.jpg" and r["variation"] == 2)
    assert first["variations"][1] == {
        "n": 2,
        "status": "done",
        "reason": None,
        "message": None,
        "width": row["width"],
        "height": row["height"],
        "bytes": row["bytes"],
        "type": "png",
        "missing": False,
        "etag": row["output_sha256"][:20],
    }


def test_a_picture_is_served_byte_for_byte_and_only_once(server: Reviewer, out: Path) -> None:
    id_ = server.ids()[0]

    found = server.get(f"/api/pictures/{id_}/1")
    etag = found.header("ETag") or ""

    assert found.body == (out / "photo-000_v01.png").read_bytes()
    assert found.header("Content-Type") == "image/png"
    assert found.header("Cache-Control") == "private, no-cache"
    assert server.get(f"/api/pictures/{id_}/1", **{"If-None-Match": etag}).status == 304
    for_ever = server.get(f"/api/pictures/{id_}/1?v={etag.strip(chr(34))}")
    assert "immutable" in (for_ever.header("Cache-Control") or "")
    other = server.get(f"/api/pictures/{id_}/1?v=00000000000000000000")
    assert other.header("Cache-Control") == "private, no-cache"


def test_a_picture_that_was_edited_is_shown_as_it_is_now(server: Reviewer, out: Path) -> None:
    id_ = server.ids()[0]
    before = [server.get(f"/api/{what}/{id_}/1") for what in ("pictures", "thumbs")]
    (out / "photo-000_v01.png").write_bytes(png((1, 200, 3), (60, 60)))

    after = [server.get(f"/api/{what}/{id_}/1") for what in ("pictures", "thumbs")]

    for old, new in zip(before, after, strict=True):
        assert new.status == 200
        assert new.body != old.body
        assert new.header("ETag") != old.header("ETag")


def test_a_picture_that_is_gone_is_shown_as_missing(server: Reviewer, out: Path) -> None:
    id_ = server.ids()[0]
    (out / "photo-000_v02.png").unlink()

    until(lambda: product(server, id_)["variations"][1]["missing"])

    assert server.get(f"/api/pictures/{id_}/2").status == 404


def test_a_decision_is_on_disk_when_it_is_answered_and_survives_a_kill(out: Path) -> None:
    with start(out) as server:
        server.log_in()
        ids = server.ids()
        for revision, picked in enumerate(([1], [2], [2, 1])):
            answer = server.choose(ids[0], revision, picked=picked)
            assert answer.json["revision"] == revision + 1
        assert (
            server.choose(ids[1], 0, picked=[], none=True, note='=1+1 <img src="x">').status == 200
        )
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()

    with start(out) as server:
        server.log_in()
        first, second, _ = server.state()["products"]

    assert (first["revision"], first["choice"]["picked"]) == (3, [2, 1])
    assert second["choice"] == {
        "picked": [],
        "rejected": [],
        "none": True,
        "note": '=1+1 <img src="x">',
    }


def test_what_was_decided_is_in_the_state_at_once(server: Reviewer) -> None:
    id_ = server.ids()[1]
    for revision in range(20):
        server.choose(id_, revision, picked=[1 + revision % 2])
        assert product(server, id_)["revision"] == revision + 1


def test_of_two_who_decide_at_once_one_is_told_what_the_other_chose(server: Reviewer) -> None:
    id_ = server.ids()[0]
    with ThreadPoolExecutor(2) as two:
        answers = list(two.map(lambda n: server.choose(id_, 0, picked=[n]), (1, 2)))

    assert sorted(answer.status for answer in answers) == [200, 409]
    (won,) = (answer.json for answer in answers if answer.status == 200)
    (lost,) = (answer.json for answer in answers if answer.status == 409)
    assert (lost["revision"], lost["choice"]) == (won["revision"], won["choice"])
    assert lost["error"]
    assert server.choose(id_, lost["revision"], picked=[2, 1]).json["revision"] == 2


@pytest.mark.parametrize(
    "choice",
    [
        {"picked": [1, 1]},
        {"picked": [1], "rejected": [1]},
        {"picked": [1], "none": True},
        {"picked": [3]},
        {"picked": [0]},
        {"picked": [-1]},
        {"picked": ["1"]},
        {"picked": 1},
        {"note": "x" * 2001},
        {"note": None},
    ],
)
def test_a_choice_that_cannot_be_is_refused(
    server: Reviewer, out: Path, choice: dict[str, Any]
) -> None:
    answer = server.choose(server.ids()[0], 0, **choice)

    assert answer.status == 400
    assert answer.json["error"]
    assert not (out / "picks.jsonl").read_bytes() if (out / "picks.jsonl").exists() else True


def test_every_tab_hears_of_a_decision_wherever_it_was_made(server: Reviewer, out: Path) -> None:
    ids = server.ids()
    with server.events() as one, server.events() as two:
        for tab in (one, two):
            assert tab.until("run")["running"] is False
        server.choose(ids[0], 0, picked=[2])
        for tab in (one, two):
            heard = tab.until("product", lambda p: p["id"] == ids[0])
            assert heard["choice"]["picked"] == [2]
        subprocess.run(
            [*COMMAND, "pick", str(out), "photo-001.jpg=1"],
            env=environment(),
            check=True,
            capture_output=True,
        )
        for tab in (one, two):
            heard = tab.until("product", lambda p: p["id"] == ids[1])
            assert heard["choice"]["picked"] == [1]


def test_nothing_is_sent_while_nothing_changes(server: Reviewer) -> None:
    with server.events() as tab:
        tab.until("run")
        with pytest.raises(TimeoutError):
            tab.until("product", within_s=2)


def test_the_table_of_picks_follows_within_two_seconds(server: Reviewer, out: Path) -> None:
    server.choose(server.ids()[0], 0, picked=[2, 1])
    until((out / "picks.csv").exists, within_s=2.5)
    table = list(csv.DictReader((out / "picks.csv").read_text("utf-8-sig").splitlines()))
    assert [(row["source"], row["picks"]) for row in table] == [("photo-000.jpg", "2 1")]


def test_the_table_of_picks_is_whole_at_the_end(out: Path) -> None:
    with start(out) as server:
        server.log_in()
        server.choose(server.ids()[0], 0, picked=[2])
    assert "photo-000.jpg" in (out / "picks.csv").read_text("utf-8-sig")


def test_ctrl_c_ends_it_within_two_seconds_whoever_listens(server: Reviewer) -> None:
    with server.events() as tab:
        tab.until("run")
        began = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 130
        assert time.monotonic() - began < 2


def test_a_terminated_server_says_so(server: Reviewer) -> None:
    server.process.terminate()
    assert server.process.wait(10) == 143


def test_pictures_of_a_run_arrive_while_it_goes_on(out: Path) -> None:
    make_photos(out.parent / "photos", 3, first=10)
    words = ["run", out.parent / "photos", "-o", out, "-n", 2, "--provider", "simulator"]
    slow = ["--rpm", "120", "--ramp", "off", "--concurrency", "1", "-q"]
    with start(out) as server:
        server.log_in()
        before = set(server.ids())
        with server.events() as tab:
            tab.until("run")
            engine = subprocess.Popen([*COMMAND, *map(str, words), *slow], env=environment())
            try:
                assert tab.until("run", lambda r: r["running"])["running"] is True
                tab.until("run", lambda r: r["wanted"] == 12)
                new = tab.until("product", lambda p: p["id"] not in before)
                assert engine.poll() is None
                assert server.get(f"/api/pictures/{new['id']}/1").status in {200, 404}
                refused = server.write("POST", f"/api/products/{new['id']}/more", {"count": 1})
                assert refused.status == 409
                assert "run is going on" in refused.json["error"]
                assert server.choose(next(iter(before)), 0, picked=[1]).status == 200
                tab.until("run", lambda r: not r["running"])
                assert engine.wait(20) == 0
            finally:
                engine.kill()
                engine.wait()
        assert len(server.ids()) == 6
        assert [len(p["variations"]) for p in server.state()["products"]] == [2] * 6


def test_more_of_one_product_is_made_into_new_slots(server: Reviewer, out: Path) -> None:
    ids = server.ids()
    kept = {name: (out / name).read_bytes() for name in pictures(out)}
    last = (out / ".batch-reimagine" / "last-run.json").read_bytes()
    with server.events() as tab:
        tab.until("run")
        assert server.write("POST", f"/api/products/{ids[1]}/more", {"count": 3}).status == 202
        tab.until("run", lambda r: r["running"] and r["wanted"] == 3)
        made = tab.until(
            "product", lambda p: sum(v["status"] == "done" for v in p["variations"]) == 5
        )
        tab.until("run", lambda r: not r["running"])

    assert [v["n"] for v in made["variations"]] == [1, 2, 3, 4, 5]
    new = {name for name in pictures(out) if "_v0" in name} - set(kept)  # the page keeps thumbnails
    assert new == {f"photo-001_v0{n}.png" for n in (3, 4, 5)}
    assert all((out / name).read_bytes() == data for name, data in kept.items())
    assert (out / ".batch-reimagine" / "last-run.json").read_bytes() == last


@pytest.mark.parametrize(
    "name",
    [
        "a b .jpg",
        "[x].jpg",
        "!a#b.jpg",
        "a*b?.jpg",
        "#1.jpg",
        "a\\b.jpg",
        'q"<img src=x>.jpg',
        "ü ñ.jpg",
    ],
)
async def test_more_is_made_of_that_product_alone_whatever_its_name(
    tmp_path: Path, name: str
) -> None:
    photos = tmp_path / "photos"
    for number, path in enumerate(make_photos(photos, 3)):
        if number == 0:
            path.rename(photos / name)
    make_photos(photos / "a", 2, first=20)
    async with scripted() as api:
        await run(photos, tmp_path / "out", base_url=api.url)
        before = len(api.seen)
        sent = next(r for r in rows(tmp_path / "out") if "photo" not in r["source"])
        await asyncio.to_thread(more_once, tmp_path / "out", sent["source"], 2)

        assert len(api.seen) - before == 2
        new = rows(tmp_path / "out")[before:]
        assert {row["source"] for row in new} == {sent["source"]}
        assert {row["variation"] for row in new} == {2, 3}


def more_once(out: Path, source: str, count: int) -> None:
    with start(out, NOVITA_API_KEY=KEY) as server:
        server.log_in()
        id_ = next(p["id"] for p in server.state()["products"] if p["source"] == source)
        answer = server.write("POST", f"/api/products/{id_}/more", {"count": count})
        assert answer.status == 202, answer
        until(lambda: len(product(server, id_)["variations"]) == 1 + count)
        until(lambda: not server.state()["running"])


async def test_a_call_in_flight_is_kept_when_the_server_is_told_to_end(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 1)
    out = tmp_path / "out"
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        asked.set()
        await go_on.wait()
        return web.json_response(good(png((9, 9, 9)))[1])

    async with scripted(good(), slow) as api:
        await run(tmp_path / "photos", out, base_url=api.url)
        server = await asyncio.to_thread(start(out, NOVITA_API_KEY=KEY).__enter__)
        try:
            await asyncio.to_thread(server.log_in)
            (id_,) = await asyncio.to_thread(server.ids)
            path = f"/api/products/{id_}/more"
            answer = await asyncio.to_thread(server.write, "POST", path, {"count": 1})
            assert answer.status == 202, answer
            await asyncio.wait_for(asked.wait(), 20)
            server.process.send_signal(signal.SIGINT)
            await asyncio.sleep(0.5)
            assert server.process.poll() is None
            go_on.set()
            assert await asyncio.to_thread(server.process.wait, 10) == 130
        finally:
            await asyncio.to_thread(server.__exit__, None, None, None)

    assert [row["status"] for row in rows(out)] == ["done", "done"]


async def test_more_cannot_be_made_without_a_key_and_the_page_knows_why(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 1)
    async with scripted() as api:
        await run(tmp_path / "photos", tmp_path / "out", base_url=api.url)
        state, answer = await asyncio.to_thread(no_more, tmp_path / "out")

        assert state["more"] is False
        assert "NOVITA_API_KEY" in state["why_no_more"]
        assert (answer.status, answer.json["error"]) == (409, state["why_no_more"])
        assert len(api.seen) == 1


def no_more(out: Path) -> Any:
    with start(out) as server:
        server.log_in()
        answer = server.write("POST", f"/api/products/{server.ids()[0]}/more", {"count": 1})
        return server.state(), answer


@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_more_cannot_be_made_of_an_original_that_is_not_what_it_was(out: Path, harm: str) -> None:
    photo = out.parent / "photos" / "photo-001.jpg"
    if harm == "gone":
        photo.unlink()
    else:
        photo.write_bytes((out.parent / "photos" / "photo-002.jpg").read_bytes())
    before = rows(out)
    with start(out) as server:
        server.log_in()
        id_ = server.ids()[1]
        answer = server.write("POST", f"/api/products/{id_}/more", {"count": 2})
        assert answer.status == 409
        assert "original" in answer.json["error"]
        assert server.get(f"/api/pictures/{id_}/0").status == 404
    assert rows(out) == before


def test_an_export_of_the_page_is_that_of_the_command(server: Reviewer, out: Path) -> None:
    server.choose(server.ids()[0], 0, picked=[2])
    to = out.parent / "shop"

    plan = server.write("POST", "/api/export", {"to": str(to), "dry_run": True})
    assert (plan.status, plan.json["files"]) == (200, 1), plan
    assert not to.exists()
    done = server.write("POST", "/api/export", {"to": str(to)})

    assert done.status == 200
    assert done.json["command"].startswith("batch-reimagine export ")
    assert done.json["sample"] == plan.json["sample"]
    (name,) = done.json["sample"]
    assert (to / name).is_file()
    again = server.write("POST", "/api/export", {"to": str(to)})
    assert (again.json["files"], again.json["there"]) == (0, 1)


@pytest.mark.parametrize(
    "body",
    [{}, {"to": ""}, {"to": "/proc/no"}, {"to": "x", "preset": "no"}, {"to": "x", "format": "gif"}],
)
def test_an_export_that_cannot_be_is_refused_with_its_reason(
    server: Reviewer, body: dict[str, Any]
) -> None:
    server.choose(server.ids()[0], 0, picked=[2])
    answer = server.write("POST", "/api/export", body)
    assert answer.status == 400
    assert answer.json["error"]


def test_books_that_are_harmed_meanwhile_do_not_end_the_server(server: Reviewer, out: Path) -> None:
    with server.events() as tab:
        tab.until("run")
        (out / "manifest.jsonl").rename(out.parent / "kept")
        (out / "manifest.jsonl").mkdir()
        assert "manifest" in tab.until("note")["text"]
        (out / "manifest.jsonl").rmdir()
        (out.parent / "kept").rename(out / "manifest.jsonl")
        until(lambda: len(server.ids()) == 3)


def test_a_refusal_and_its_reason_are_shown(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    make_photos(photos, 1)
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    subprocess.run(
        [
            *COMMAND,
            "run",
            str(photos),
            "-o",
            str(tmp_path / "out"),
            "--provider",
            "simulator",
            "-q",
        ],
        env=environment(),
        check=False,
        capture_output=True,
    )
    with start(tmp_path / "out") as server:
        server.log_in()
        broken = server.state()["products"][0]
    (variation,) = broken["variations"]
    assert (broken["name"], variation["status"]) == ("broken.jpg", "rejected")
    assert variation["reason"]
    assert json.dumps(variation["message"]) != "null"


def test_what_is_no_output_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "review", str(tmp_path), "--no-open"],
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 10
    assert "no output folder" in done.stderr


def test_a_port_that_is_taken_is_named(server: Reviewer, out: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "review", str(out), "--no-open", "--port", str(server.port)],
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert str(server.port) in done.stderr
