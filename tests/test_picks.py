"""Decisions are durable, none is lost or misread, whoever writes and whatever dies meanwhile."""

import fcntl
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from batch_reimagine import picks as module
from batch_reimagine.choice import Choice, variation_numbers
from batch_reimagine.errors import LocalResource, OutputBusy, OutputMismatch
from batch_reimagine.output import TEMP_DIR, Tree
from batch_reimagine.picks import FILE, UNDECIDED, Picks, StaleError, Standing, from_csv

ROOT = Path(__file__).parent.parent
MAIN = Choice(picked=(2, 1))
NOBODY = Choice(none=True)

DECIDES = """
import sys, time
from pathlib import Path
from batch_reimagine.output import Tree
from batch_reimagine.picks import Choice, Picks

picks, who = Picks(Tree(Path(sys.argv[1]))), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for number in range(100):
    picks.decide("shared.jpg", Choice(picked=(number + 1,), note=who))
    picks.decide(f"{who}-{number}.jpg", Choice(picked=(number + 1,)))
    time.sleep(0.002)
"""

APPENDS = """
import sys
from pathlib import Path
from batch_reimagine.output import Tree
from batch_reimagine.picks import Choice, Picks

picks = Picks(Tree(Path(sys.argv[1])))
for turn in range(100_000):
    note = f"{sys.argv[2]}-{turn} " + "n" * 1900
    picks.decide_all({f"{number}.jpg": Choice(note=note) for number in range(60)})
    print(f"{sys.argv[2]}-{turn}", flush=True)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "out")
    tree.prepare(force=False)
    return tree


@pytest.fixture
def picks(tree: Tree) -> Picks:
    return Picks(tree)


@pytest.fixture
def log(tree: Tree) -> Path:
    return tree.root / FILE


def read(tree: Tree) -> dict[str, Standing]:
    """What a process that comes new sees."""
    picks = Picks(tree)
    picks.follow()
    return {source: picks.of(source) for source, _ in picks.items()}


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def row(source: object = "a.jpg", **choice: object) -> bytes:
    return json.dumps({"v": 1, "time": "t", "source": source, "choice": choice}).encode() + b"\n"


@contextmanager
def full_disk(limit_bytes: int) -> Iterator[None]:
    """The kernel refuses to let any file of this process grow beyond the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_decision_is_on_disk_when_decide_returns(picks: Picks, tree: Tree) -> None:
    standing = picks.decide("a/b.jpg", MAIN)

    assert standing == Standing(MAIN, 1)
    assert read(tree) == {"a/b.jpg": standing}


def test_the_last_decision_counts_and_the_revision_tells_how_many_there_were(
    picks: Picks, tree: Tree
) -> None:
    for choice in (MAIN, NOBODY, Choice(picked=(3,), rejected=(1,), note="ok")):
        picks.decide("a.jpg", choice)

    assert read(tree) == {"a.jpg": Standing(choice, 3)}


def test_the_same_decision_again_writes_nothing(picks: Picks, log: Path) -> None:
    picks.decide("a.jpg", MAIN)
    before = log.read_bytes()

    assert picks.decide("a.jpg", MAIN).revision == 1
    assert log.read_bytes() == before


def test_undecided_is_where_everybody_begins(picks: Picks) -> None:
    assert picks.of("a.jpg") == Standing(UNDECIDED, 0)
    assert not picks.of("a.jpg").choice.decided


def test_a_decision_made_on_an_older_one_is_refused_with_what_counts_now(
    picks: Picks, tree: Tree, log: Path
) -> None:
    picks.decide("a.jpg", MAIN)
    Picks(tree).decide("a.jpg", NOBODY, revision=1)
    before = log.read_bytes()

    with pytest.raises(StaleError) as stale:
        picks.decide("a.jpg", Choice(picked=(4,)), revision=1)

    assert stale.value.standing == Standing(NOBODY, 2)
    assert log.read_bytes() == before


def test_of_several_decisions_none_is_written_when_one_is_stale(picks: Picks, log: Path) -> None:
    picks.decide("b.jpg", MAIN)
    before = log.read_bytes()

    with pytest.raises(StaleError):
        picks.decide_all({"a.jpg": MAIN, "b.jpg": NOBODY}, {"a.jpg": 0, "b.jpg": 0})

    assert log.read_bytes() == before


def test_two_processes_that_decide_at_the_same_time_lose_nothing(tree: Tree, log: Path) -> None:
    processes = [start(DECIDES, tree.root, who) for who in ("one", "two")]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=50)
        assert process.returncode == 0

    lines = [json.loads(line) for line in log.read_bytes().splitlines()]
    notes = [line["choice"].get("note") for line in lines if line["source"] == "shared.jpg"]
    assert len(lines) == 400
    assert sum(a != b for a, b in itertools.pairwise(notes)) > 1, "they took turns"
    standing = read(tree)
    assert standing["shared.jpg"].revision == 200
    for who in ("one", "two"):
        for number in range(100):
            assert standing[f"{who}-{number}.jpg"] == Standing(Choice(picked=(number + 1,)), 1)


def test_threads_that_share_one_picks_lose_nothing(picks: Picks, tree: Tree) -> None:
    def work(who: int) -> None:
        for number in range(25):
            picks.decide(f"{who}-{number}.jpg", MAIN)
            picks.follow()
            list(picks.items())

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)

    assert len(read(tree)) == 100


def test_follow_tells_what_others_decided_also_if_it_came_in_with_an_own_decision(
    picks: Picks, tree: Tree
) -> None:
    picks.follow()
    Picks(tree).decide("theirs.jpg", MAIN)
    picks.decide("mine.jpg", MAIN)

    assert picks.follow() == {"theirs.jpg", "mine.jpg"}
    assert picks.follow() == set()


def test_a_key_does_not_read_the_decisions_about_all_others_again(picks: Picks, log: Path) -> None:
    with log.open("wb") as opened:
        opened.writelines(
            b'{"time":"t","source":"photo-%07d.jpg","choice":{"picked":[2,1]}}\n' % number
            for number in range(200_000)
        )
    began = time.perf_counter()
    assert len(picks.follow()) == 200_000
    whole = time.perf_counter() - began

    took = []
    for number in range(20):
        began = time.perf_counter()
        picks.decide("mine.jpg", Choice(picked=(number + 1,)))
        took.append(time.perf_counter() - began)

    assert sorted(took)[10] < whole / 20
    assert picks.of("mine.jpg").revision == 20


@pytest.mark.parametrize("how", ["renamed", "in place", "cut and grown"])
def test_a_log_that_another_took_the_place_of_is_read_from_its_begin(
    picks: Picks, tree: Tree, log: Path, how: str
) -> None:
    for source in ("a.jpg", "b.jpg", "c.jpg"):
        picks.decide(source, MAIN)
    picks.follow()
    other = row("a.jpg", picked=[2, 1]) + row("z.jpg", none=True) * 20
    if how == "renamed":
        (tree.root / "other").write_bytes(other)
        (tree.root / "other").rename(log)
    elif how == "in place":
        log.write_bytes(other)
    else:
        os.truncate(log, log.read_bytes().index(b"\n") + 1)
        with log.open("ab") as opened:
            opened.write(row("z.jpg", none=True) * 20)

    assert picks.follow() == {"b.jpg", "c.jpg", "z.jpg"}
    assert dict(picks.items()) == {"a.jpg": MAIN, "z.jpg": NOBODY}


def test_a_log_that_is_gone_decides_nothing(picks: Picks, log: Path) -> None:
    picks.decide("a.jpg", MAIN)
    picks.follow()
    log.unlink()

    assert picks.follow() == {"a.jpg"}
    assert picks.decide("a.jpg", NOBODY).revision == 1


def test_a_log_torn_at_any_byte_is_repaired_and_nothing_is_misread(tree: Tree, log: Path) -> None:
    Picks(tree).decide("a.jpg", MAIN)
    first = log.read_bytes()
    Picks(tree).decide("b.jpg", Choice(picked=(1,), note="æ"))
    whole = log.read_bytes()
    for cut in range(len(first), len(whole)):
        log.write_bytes(whole[:cut])

        picks = Picks(tree)
        picks.follow()
        assert dict(picks.items()) == {"a.jpg": MAIN}, f"cut at {cut}"
        picks.decide("c.jpg", NOBODY)

        assert {s: v.choice for s, v in read(tree).items()} == {"a.jpg": MAIN, "c.jpg": NOBODY}
        assert all(json.loads(line) for line in log.read_bytes().splitlines())


def test_a_process_killed_while_it_appends_loses_nothing_that_was_acknowledged(
    tree: Tree, log: Path
) -> None:
    chance = random.Random(7)  # noqa: S311 - moments, not secrets
    for kill in range(6):
        process = start(APPENDS, tree.root, kill)
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        time.sleep(chance.uniform(0, 0.15))
        process.kill()
        told = process.communicate(timeout=20)[0].split("\n")[:-1]
        last = told[-1] if told else said

        Picks(tree).decide("after.jpg", Choice(note=f"kill {kill}"))

        standing = read(tree)
        assert standing["after.jpg"].choice.note == f"kill {kill}"
        reached = int(last.split("-")[1])
        for number in range(60):
            who, turn = standing[f"{number}.jpg"].choice.note.split()[0].split("-")
            assert int(who) == kill
            assert int(turn) in {reached, reached + 1}
        assert all(json.loads(line) for line in log.read_bytes().splitlines())


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[" * 200_000, id="nested"),
        pytest.param(row()[:-3] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}}", id="nested inside"),
        pytest.param(b'{"source":"a.jpg","choice":{"picked":[1]}', id="torn"),
        pytest.param(row(7, picked=[1]), id="a source that is no text"),
        pytest.param(row(picked=[True]), id="a truth for a number"),
        pytest.param(row(picked=["1"]), id="a text for a number"),
        pytest.param(row(picked=[1.5]), id="half a variation"),
        pytest.param(row(picked=[float("nan")]), id="NaN"),
        pytest.param(row(picked=[10**400]), id="a number out of all bounds"),
        pytest.param(row(picked=[0]), id="number 0"),
        pytest.param(row(picked=[10_000]), id="number 10,000"),
        pytest.param(row(picked=[1, 1]), id="picked twice"),
        pytest.param(row(rejected=[3] * 100_000), id="rejected many times"),
        pytest.param(row(picked=[1], rejected=[1]), id="picked and rejected"),
        pytest.param(row(picked=[1], none=True), id="picked and none good"),
        pytest.param(row(none="yes"), id="a text for a truth"),
        pytest.param(row(note="n" * 2001), id="a long note"),
        pytest.param(row(note="\0"), id="a note that is no text"),
        pytest.param(row(note="n" * 3_000_000), id="a huge line"),
        pytest.param(row(picked=[1]).replace(b"a.jpg", rb"\ud800"), id="half a character"),
        pytest.param(row(picked=[1]).replace(b"a.jpg", b"\xff"), id="no UTF-8"),
    ],
)
def test_a_line_that_is_no_decision_decides_nothing_and_hides_none(
    picks: Picks, log: Path, line: bytes
) -> None:
    log.write_bytes(row(picked=[2]) + line.removesuffix(b"\n") + b"\n" + row("b.jpg", picked=[3]))

    picks.follow()

    assert dict(picks.items()) == {"a.jpg": Choice(picked=(2,)), "b.jpg": Choice(picked=(3,))}
    assert picks.of("a.jpg").revision == 1


def test_what_a_newer_version_adds_to_a_line_is_passed_over(picks: Picks, log: Path) -> None:
    log.write_bytes(row(picked=[2], stars=5).replace(b'{"v": 1', b'{"by": "me", "v": 2'))

    picks.follow()

    assert picks.of("a.jpg").choice == Choice(picked=(2,))


def test_an_editors_mark_before_the_first_line_hides_no_decision(picks: Picks, log: Path) -> None:
    log.write_bytes(b"\xef\xbb\xbf" + row(picked=[2]))
    picks.follow()
    with log.open("ab") as opened:
        opened.write(row("b.jpg", picked=[3]))

    assert picks.follow() == {"b.jpg"}
    assert picks.of("a.jpg") == Standing(Choice(picked=(2,)), 1)


def test_memory_does_not_grow_with_a_line_that_never_ends(tree: Tree, log: Path) -> None:
    with log.open("wb") as opened:
        opened.write(row(picked=[2]))
        for _ in range(300):
            opened.write(b"x" * 1_000_000)
    script = (
        "import resource, sys; from pathlib import Path; from batch_reimagine.output import Tree;"
        " from batch_reimagine.picks import Picks; picks = Picks(Tree(Path(sys.argv[1])));"
        " before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; picks.follow();"
        " print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, len([*picks.items()]))"
    )
    told, _ = start(script, tree.root).communicate(timeout=50)

    grown_kb, known = map(int, told.split())
    assert known == 1
    assert grown_kb < 20_000


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "pipe with a reader", "folder"])
def test_a_log_that_is_no_file_is_refused_without_hanging(
    picks: Picks, log: Path, tmp_path: Path, kind: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    reader = -1
    if kind.startswith("pipe"):
        os.mkfifo(log)
        if kind != "pipe":
            reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    elif kind == "folder":
        log.mkdir()
    else:
        if kind == "link":
            elsewhere.write_bytes(row(picked=[1]))
        log.symlink_to(elsewhere)

    with pytest.raises(OutputMismatch):
        picks.follow()
    with pytest.raises(OutputMismatch):
        picks.decide("a.jpg", MAIN)
    if reader >= 0:
        os.close(reader)

    assert not elsewhere.exists() or elsewhere.read_bytes() == row(picked=[1])


def test_a_full_disk_leaves_the_log_as_it_was(picks: Picks, tree: Tree, log: Path) -> None:
    picks.decide("a.jpg", MAIN)
    before = log.read_bytes()

    with full_disk(len(before) + 500), pytest.raises(LocalResource, match=r"picks\.jsonl"):
        picks.decide_all({f"{n}.jpg": Choice(note="n" * 300) for n in range(5)})

    assert log.read_bytes() == before
    picks.decide("b.jpg", NOBODY)
    assert set(read(tree)) == {"a.jpg", "b.jpg"}


def test_a_full_disk_leaves_the_table_as_it_was(picks: Picks, tree: Tree) -> None:
    picks.decide("a.jpg", MAIN)
    before = picks.write_csv().read_bytes()
    picks.decide("b.jpg", Choice(picked=(1,), note="n" * 2000))

    with full_disk(1000), pytest.raises(LocalResource, match=r"picks\.csv"):
        picks.write_csv()

    assert (tree.root / "picks.csv").read_bytes() == before
    assert not list((tree.root / TEMP_DIR).iterdir())


def test_one_who_holds_the_log_for_ever_does_not_hold_up_others_for_ever(
    picks: Picks, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.3)
    with log.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OutputBusy):
            picks.decide("a.jpg", MAIN)

    assert picks.decide("a.jpg", MAIN).revision == 1


def test_a_decision_goes_into_the_file_that_has_the_name_not_into_one_that_was_moved_away(
    picks: Picks, tree: Tree, log: Path
) -> None:
    picks.decide("a.jpg", MAIN)
    with log.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = threading.Thread(target=picks.decide, args=("b.jpg", MAIN))
        waiting.start()
        time.sleep(0.1)
        (tree.root / "copy").write_bytes(log.read_bytes())
        (tree.root / "copy").rename(log)
    waiting.join(20)

    assert set(read(tree)) == {"a.jpg", "b.jpg"}


def test_the_table_holds_what_all_decided_whoever_writes_it(picks: Picks, tree: Tree) -> None:
    picks.decide("a.jpg", MAIN)
    Picks(tree).decide("b.jpg", NOBODY)

    path = picks.write_csv()

    assert from_csv(path) == {"a.jpg": MAIN, "b.jpg": NOBODY}


def test_the_table_can_be_written_into_a_copy_without_a_state_folder(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    picks = Picks(Tree(tmp_path / "copy"))
    picks.decide("a.jpg", MAIN)

    assert from_csv(picks.write_csv()) == {"a.jpg": MAIN}


@pytest.mark.parametrize(
    "wrong",
    [
        {"picked": (1, 1)},
        {"rejected": (1, 1)},
        {"picked": (1,), "rejected": (1,)},
        {"picked": (1,), "none": True},
        {"picked": (0,)},
        {"rejected": (10_000,)},
        {"note": "n" * 2001},
        {"note": "\ud83d"},
        {"note": "a\0b"},
    ],
)
def test_a_choice_that_contradicts_itself_is_none(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"picked|rejected|number|note"):
        msgspec.convert(wrong, Choice)
    with pytest.raises(ValueError, match=r"picked|rejected|number|note"):
        Choice(**wrong)  # type: ignore[arg-type]  # one of each


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("2,1", (2, 1)), ("2 1", (2, 1)), (" 2; 1 ", (2, 1)), ("", ()), ("007", (7,))],
)
def test_numbers_are_read_however_they_are_put_apart(text: str, numbers: tuple[int, ...]) -> None:
    assert variation_numbers(text) == numbers


@pytest.mark.parametrize("text", ["a", "1.5", "-1", "+1", "٢", "²", "9" * 5000, "1_0", "2-1"])
def test_what_is_no_number_is_refused_shortly(text: str) -> None:
    with pytest.raises(ValueError, match="no number") as refused:
        variation_numbers(text)
    assert len(str(refused.value)) < 80
