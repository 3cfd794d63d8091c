"""Several people decide about one output in a store, each on a machine of his own."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine.choice import Choice
from batch_reimagine.errors import OutputBusy
from batch_reimagine.output import Tree
from batch_reimagine.picks import Picks
from batch_reimagine.sharing import Sharing
from tests.far import Kept, Output, made_by_a_run, new_output, product, until
from tests.spoiling import Proxy, always
from tests.stores import Store, moto, rclone

TITLE = "source,picks,rejected,none,note\r\n"


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with moto() as store:
        yield store


@pytest.fixture(scope="module")
def made(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return made_by_a_run(store, tmp_path_factory.mktemp("maker"))


@pytest.fixture
def out(store: Store, made: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Output:
    store.use(monkeypatch)
    return new_output(store, tmp_path / "machines", made)


def decisions(out: Output) -> list[dict[str, Any]]:
    """The log in the store: every line is one."""
    if "picks.jsonl" not in out.names():
        return []
    return [json.loads(line) for line in out.objects.get("picks.jsonl")[0].splitlines()]


def table(out: Output) -> str:
    return out.objects.get("picks.csv")[0].decode("utf-8-sig")


def test_a_decision_goes_into_the_store_and_to_the_next_machine(out: Output) -> None:
    out.pick("one", "photo-000.jpg=2,1")

    assert [(d["source"], d["choice"]["picked"]) for d in decisions(out)] == [
        ("photo-000.jpg", [2, 1])
    ]
    assert table(out) == TITLE + "photo-000.jpg,2 1,,,\r\n"
    assert "1 of 3 products decided" in out.pick("two")
    told = out.pick("two", "photo-000.jpg=1")  # the later one counts
    assert "1 changed" in told
    assert table(out) == TITLE + "photo-000.jpg,1,,,\r\n"


DECIDING = """
import sys
from pathlib import Path
from batch_reimagine.choice import Choice
from batch_reimagine.cloud import open_objects
from batch_reimagine.cloud.tree import CloudTree
from batch_reimagine.picks import Picks
from batch_reimagine.sharing import Sharing

books, where, who = sys.argv[1:]
tree = CloudTree(Path(books), open_objects(where, {}))
tree.look()
picks = Picks(tree)
sharing = Sharing(tree, picks)
for number in range(20):
    picks.decide(f"{who}-{number}.jpg", Choice(picked=(number + 1,)))
    picks.decide("both.jpg", Choice(picked=(number + 1,), note=who))
    sharing.sync()
"""


def test_two_machines_that_decide_at_the_same_time_lose_nothing(out: Output) -> None:
    machines = ("one", "two")
    started = [
        subprocess.Popen(
            [sys.executable, "-c", DECIDING, out.home(who) / "books", str(out.address), who],
            env=out.environment(who),
            stderr=subprocess.PIPE,
        )
        for who in machines
    ]
    for process in started:
        with process:
            _, complaints = process.communicate(timeout=50)
        assert process.returncode == 0, complaints.decode()

    there = decisions(out)
    assert len(there) == 80
    for who in machines:
        mine = [d for d in there if d["source"].startswith(who)]
        assert sorted(d["choice"]["picked"][0] for d in mine) == list(range(1, 21))
        assert sum(d["choice"].get("note") == who for d in there) == 20
    standing = {out.pick(who, "--json") for who in ("three", "four")}
    assert len({json.loads(told)["decided"] for told in standing}) == 1


def test_who_puts_between_ones_reading_and_writing_loses_nothing(out: Output) -> None:
    out.pick("two")
    with Proxy(out.store.port) as proxy:

        def let_two_go_first(method: str, path: str) -> str:
            if method == "PUT" and path.endswith("picks.jsonl") and not decisions(out):
                out.pick("two", "photo-001.jpg=2")
            return ""

        proxy.next_fault = let_two_go_first  # type: ignore[method-assign]
        way = {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{proxy.port}"}
        code, told, complaints = out.do("one", "pick", out.address, "photo-000.jpg=1", **way)

    assert code == 0, complaints
    assert [d["source"] for d in decisions(out)] == ["photo-001.jpg", "photo-000.jpg"]
    assert table(out) == TITLE + "photo-000.jpg,1,,,\r\nphoto-001.jpg,2,,,\r\n"
    assert "1 changed" in told


@pytest.mark.parametrize("kind", ["moto", "rclone"])
def test_two_who_look_at_the_same_page_see_each_others_decisions(
    kind: str, out: Output, made: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "moto":
        return two_pages(out)
    with rclone(tmp_path / "data") as store:  # it ignores conditions: what is lost is put again
        store.use(monkeypatch)
        two_pages(new_output(store, tmp_path / "others", made))
    return None


def two_pages(out: Output) -> None:
    with out.review("one") as one, out.review("two") as two:
        ids = [found["id"] for found in one.state()["products"]]
        assert one.choose(ids[0], 0, picked=[1]).status == 200
        assert two.choose(ids[1], 0, picked=[2]).status == 200
        both = {"photo-000.jpg": [1], "photo-001.jpg": [2]}
        until(lambda: chosen(one) == chosen(two) == both)
        # Who has not seen the other's is told, and nothing is written over.
        revision = product(one.state(), "photo-001.jpg")["revision"]
        assert one.choose(ids[1], revision, picked=[1]).status == 200
        until(lambda: chosen(two)["photo-001.jpg"] == [1])
        assert two.choose(ids[1], revision, picked=[2]).status == 409
    assert len(decisions(out)) == 3
    assert table(out) == TITLE + "photo-000.jpg,1,,,\r\nphoto-001.jpg,1,,,\r\n"


def chosen(page: Any) -> dict[str, list[int]]:
    products = page.state()["products"]
    return {p["name"]: p["choice"]["picked"] for p in products if p["choice"]["picked"]}


def test_a_decision_that_is_made_while_the_store_is_away_goes_there_later(out: Output) -> None:
    with Proxy(out.store.port) as proxy:
        way = {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{proxy.port}"}
        with out.review("one", **way) as page:
            id_ = product(page.state(), "photo-000.jpg")["id"]
            proxy.plan = always("403")
            began = time.monotonic()
            assert page.choose(id_, 0, picked=[2]).status == 200
            assert time.monotonic() - began < 2  # nobody waits for the store
            until(lambda: len([seen for seen in proxy.seen if seen.fault]) > 2)
            assert decisions(out) == []
            proxy.plan = lambda _: ""
            until(lambda: len(decisions(out)) == 1)


def test_a_decision_that_cannot_go_to_the_store_is_kept_and_the_command_says_so(
    out: Output,
) -> None:
    with Proxy(out.store.port) as proxy:

        def no_puts(method: str, path: str) -> str:
            return "403" if method == "PUT" and "picks" in path else ""

        proxy.next_fault = no_puts  # type: ignore[method-assign]
        way = {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{proxy.port}"}
        code, _, complaints = out.do("one", "pick", out.address, "photo-000.jpg=2", **way)
        kept = decisions(out)
        proxy.next_fault = lambda _method, _path: ""  # type: ignore[method-assign]
        later = out.do("one", "pick", out.address, **way)

    assert code == 4
    assert f"is kept in {out.books('one')}" in complaints
    assert kept == []
    assert later[0] == 0, later
    assert "1 of 3 products decided" in later[1]
    assert len(decisions(out)) == 1


def test_a_table_that_somebody_edited_in_the_store_is_renamed(out: Output) -> None:
    out.pick("one", "photo-000.jpg=2")
    edited = (TITLE + "photo-000.jpg,1,,,by hand\r\n").encode()
    out.objects.put("picks.csv", edited)

    told = out.pick("two", "photo-001.jpg=1")

    (name,) = [name for name in out.names() if name.startswith("picks-edited-")]
    assert name in told
    assert out.objects.get(name)[0] == edited
    assert table(out) == TITLE + "photo-000.jpg,2,,,\r\nphoto-001.jpg,1,,,\r\n"


def test_who_decides_later_counts_though_the_others_clock_is_ahead(out: Output) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="milliseconds")
    line = {"v": 1, "time": ahead.replace("+00:00", "Z"), "source": "photo-000.jpg"}
    out.objects.put("picks.jsonl", json.dumps(line | {"choice": {"picked": [1]}}).encode() + b"\n")

    out.pick("one", "photo-000.jpg=2")

    assert table(out) == TITLE + "photo-000.jpg,2,,,\r\n"
    assert "1 of 3" in out.pick("two")
    assert (out.books("two") / "picks.csv").read_text("utf-8-sig").endswith("photo-000.jpg,2,,,\n")
    assert max(decisions(out), key=lambda d: d["time"])["choice"]["picked"] == [2]


def test_logs_come_to_the_same_in_whatever_order_they_are_brought_together(
    tmp_path: Path,
) -> None:
    chance = random.Random(8)  # noqa: S311
    lines = [
        json.dumps(
            {
                "time": f"2026-01-01T00:00:{n:02}.000Z",
                "source": f"{chance.randrange(4)}.jpg",
                "choice": {"picked": [chance.randrange(1, 9)]},
            }
        ).encode()
        for n in range(40)
    ]
    seen = set()
    for turn in range(10):
        tree = Tree(tmp_path / f"{turn}")
        tree.prepare(force=False)
        picks = Picks(tree)
        rest = lines.copy()
        chance.shuffle(rest)
        while rest:
            some, rest = rest[: chance.randrange(1, 9)], rest[chance.randrange(0, 3) :]
            picks.take_in(some)
        picks.take_in(lines)
        assert picks.take_in(lines) == 0
        assert len(picks.lines()) == 40
        seen.add(str([*picks.items()]))
        assert {picks.of(f"{n}.jpg").revision for n in range(4)} == {
            sum(f'"{n}.jpg"'.encode() in line for line in lines) for n in range(4)
        }

    assert len(seen) == 1


def test_what_cannot_be_read_in_the_log_of_a_store_is_neither_taken_in_nor_lost(
    out: Output,
) -> None:
    broken = b'{"time":"t","source":\n\x00\xff\n{"v":1'
    out.objects.put("picks.jsonl", broken)

    out.pick("one", "photo-000.jpg=2")

    there = out.objects.get("picks.jsonl")[0]
    assert there.startswith(broken + b"\n")
    assert json.loads(there.splitlines()[-1])["choice"]["picked"] == [2]
    assert (out.books("one") / "picks.jsonl").read_bytes().count(b"\n") == 1


def test_who_never_gets_his_turn_is_told_and_keeps_what_he_decided(out: Output) -> None:
    tree = out.tree("one")
    tree.look()
    picks = Picks(tree)
    picks.decide("photo-000.jpg", Choice(picked=(1,)))
    with Proxy(out.store.port) as proxy, pytest.MonkeyPatch.context() as patch:

        def always_late(method: str, path: str) -> str:
            return "412" if method == "PUT" and "picks" in path else ""

        proxy.next_fault = always_late  # type: ignore[method-assign]
        out.store.use(patch, proxy.port)
        late = out.tree("one")
        with pytest.raises(OutputBusy, match="yours are kept in"):
            Sharing(late, picks).sync()

    assert len(picks.lines()) == 1
