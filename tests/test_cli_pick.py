"""`pick` as a stranger types it: all that is asked is done, or nothing and the message says why."""

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine.choice import Choice
from batch_reimagine.choosing import choose, parse
from batch_reimagine.errors import UsageError
from batch_reimagine.manifest import encode
from batch_reimagine.naming import source_name
from batch_reimagine.output import MANIFEST, Tree
from batch_reimagine.picks import Picks, from_csv
from tests.support import png
from tests.test_catalogue import record
from tests.test_cli import command

PICTURE = png()
SOURCES = ("shoes/red.jpg", "shoes/blue.jpg", "a=b.jpg", "caf\\xe9.jpg", "-x.jpg", "=1+1.jpg")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Six products of three pictures each; of shoes/blue.jpg the third was refused."""
    tree = Tree(tmp_path / "out")
    tree.prepare(force=False)
    with (tree.root / MANIFEST).open("ab") as opened:
        for source in SOURCES:
            base = source.rpartition(".")[0].replace("\\", "_")
            for number in (1, 2, 3):
                refused = (source, number) == ("shoes/blue.jpg", 3)
                name = f"{base}_v{number:02d}.png"
                more: dict[str, Any] = {"status": "rejected"} if refused else {"output": name}
                if not refused:
                    tree.write(name, PICTURE)
                opened.write(encode(record(source, number, **more)) + b"\n")
    return tree.root


def decided(out: Path) -> dict[str, Choice]:
    picks = Picks(Tree(out))
    picks.follow()
    return dict(picks.items())


def untouched(out: Path) -> bool:
    return not (out / "picks.jsonl").exists() and not (out / "picks.csv").exists()


def pick(out: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    ended = command("pick", out, *arguments)
    assert "Traceback" not in ended.stderr
    return ended


def test_with_nothing_but_the_output_it_writes_the_table_and_counts(out: Path) -> None:
    Picks(Tree(out)).decide("a=b.jpg", Choice(none=True))

    ended = pick(out)

    assert ended.returncode == 0, ended.stderr
    assert "1 of 6 products decided (1 of them: none good), 5 undecided" in ended.stdout
    assert from_csv(out / "picks.csv") == {"a=b.jpg": Choice(none=True)}


def test_the_first_number_is_the_main_picture_and_a_source_may_hold_an_equals_sign(
    out: Path,
) -> None:
    ended = pick(out, "shoes/red.jpg=2,1", "a=b.jpg=3", "--none", "shoes/blue.jpg", "--json")

    assert ended.returncode == 0, ended.stderr
    expected = {
        "a=b.jpg": Choice(picked=(3,)),
        "shoes/blue.jpg": Choice(none=True),
        "shoes/red.jpg": Choice(picked=(2, 1)),
    }
    assert decided(out) == expected
    assert from_csv(out / "picks.csv") == expected
    assert json.loads(ended.stdout) == {
        "products": 6,
        "decided": 3,
        "none_good": 1,
        "undecided": 3,
        "gone": 0,
        "changed": 3,
        "csv": str(out / "picks.csv"),
        "set_aside": None,
    }


def test_clear_and_a_new_pick_keep_the_note(out: Path) -> None:
    before = Choice(picked=(1,), rejected=(2, 3), note="ask Ann")
    Picks(Tree(out)).decide_all({"shoes/red.jpg": before, "a=b.jpg": before})

    ended = pick(out, "shoes/red.jpg=3", "--clear", "a=b.jpg")

    assert ended.returncode == 0, ended.stderr
    assert decided(out) == {
        "a=b.jpg": Choice(note="ask Ann"),
        "shoes/red.jpg": Choice(picked=(3,), rejected=(2,), note="ask Ann"),
    }


def test_names_of_all_kinds_can_be_given(out: Path) -> None:
    on_disk = os.fsdecode(b"caf\xe9.jpg")  # as a shell completes it
    ended = pick(out, "--none=-x.jpg", "--none", "=1+1.jpg", "--", f"{on_disk}=1")

    assert ended.returncode == 0, ended.stderr
    assert decided(out)[source_name(on_disk)] == Choice(picked=(1,))
    assert decided(out)["-x.jpg"] == decided(out)["=1+1.jpg"] == Choice(none=True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["shoes/rde.jpg=1"], "near: shoes/red.jpg"),
        (["red.png=1"], "near: shoes/red.jpg"),
        (["--none", "blu.jpg"], "near: shoes/blue.jpg"),
        (["--clear", "nothing.like.it"], "no such source"),
        (["shoes/red.jpg=9"], "variation 9 does not exist; of pictures it has 1, 2, 3"),
        (["shoes/blue.jpg=3"], "variation 3 has no picture (rejected: NSFW); of pictures it has 1"),
        (["shoes/red.jpg=1,1"], "picked twice"),
        (["shoes/red.jpg=one"], "'one' is no number"),
        (["shoes/red.jpg=0"], "no variation has such a number"),
        (["shoes/red.jpg="], "--clear SOURCE"),
        (["shoes/red.jpg"], "write SOURCE=2,1"),
        (["=1"], "write SOURCE=2,1"),
        (["shoes/red.jpg=2", "--none", "shoes/red.jpg"], "named twice"),
        (["--from", "nowhere.csv"], "No such file"),
    ],
)
def test_what_cannot_be_is_refused_and_the_rest_of_the_command_not_done(
    out: Path, arguments: list[str], says: str
) -> None:
    ended = pick(out, "a=b.jpg=1", *arguments)

    assert ended.returncode == 2
    assert says in ended.stderr
    assert ended.stdout == ""
    assert untouched(out)


def test_a_picture_that_is_gone_from_the_disk_cannot_be_picked(out: Path) -> None:
    (out / "shoes/red_v02.png").unlink()

    ended = pick(out, "shoes/red.jpg=2")

    assert ended.returncode == 2
    assert "variation 2 was made, but its file is gone; of pictures it has 1, 3" in ended.stderr
    assert untouched(out)


def test_the_table_is_read_back_as_a_spreadsheet_left_it(out: Path, tmp_path: Path) -> None:
    Picks(Tree(out)).decide("shoes/red.jpg", Choice(picked=(1,), note="keep"))
    mine = tmp_path / "mine.csv"
    mine.write_text(
        "\ufeffsource;picks;none\r\nshoes/red.jpg;2 1;\r\n'=1+1.jpg;;yes\r\n-x.jpg;;\r\n"
    )

    ended = pick(out, "--from", mine)

    assert ended.returncode == 0, ended.stderr
    assert decided(out) == {
        "=1+1.jpg": Choice(none=True),
        "shoes/red.jpg": Choice(picked=(2, 1), note="keep"),
    }
    assert "2 changed" in ended.stdout


def test_the_own_table_read_back_changes_nothing(out: Path) -> None:
    pick(out, "shoes/red.jpg=2,1", "--none", "=1+1.jpg")
    (out / "shoes/red_v02.png").unlink()  # what stands is not asked about again
    log = (out / "picks.jsonl").read_bytes()

    ended = pick(out, "--from", out / "picks.csv")

    assert ended.returncode == 0, ended.stderr
    assert "0 changed" in ended.stdout
    assert (out / "picks.jsonl").read_bytes() == log


def test_a_table_that_somebody_edited_and_did_not_read_back_is_kept(out: Path) -> None:
    pick(out, "shoes/red.jpg=2,1")
    edited = (out / "picks.csv").read_bytes() + b"a=b.jpg,3,,,\r\n"
    (out / "picks.csv").write_bytes(edited)

    ended = pick(out, "--none", "=1+1.jpg")

    assert "picks-edited-1.csv now" in ended.stdout
    assert (out / "picks-edited-1.csv").read_bytes() == edited
    assert "a=b.jpg" not in decided(out)
    again = pick(out, "--from", out / "picks-edited-1.csv")
    assert "picks-edited-2" not in again.stdout
    assert decided(out)["a=b.jpg"] == Choice(picked=(3,))


def test_a_table_that_is_read_back_from_its_place_leaves_no_copy(out: Path) -> None:
    pick(out, "shoes/red.jpg=2,1")
    with (out / "picks.csv").open("ab") as opened:
        opened.write(b"a=b.jpg,3,,,\r\n")

    pick(out, "--from", out / "picks.csv")

    assert set(decided(out)) == {"a=b.jpg", "shoes/red.jpg"}
    assert [path.name for path in out.glob("picks*.csv")] == ["picks.csv"]


def test_every_bad_line_of_a_table_is_named_up_to_ten_and_nothing_written(
    out: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.csv"
    bad = "shoes/rde.jpg,1\nshoes/red.jpg,x\nshoes/blue.jpg,3\n"
    bad += "".join(f"gone-{n}.jpg,1\n" for n in range(9))
    mine.write_text("source,picks\na=b.jpg,1\n" + bad)

    ended = pick(out, "--from", mine)

    assert ended.returncode == 2
    for line, says in [
        (3, "no such source; near: shoes/red.jpg"),
        (4, "'x' is no number"),
        (5, "variation 3 has no picture"),
        (12, "gone-6.jpg"),
    ]:
        found = [text for text in ended.stderr.splitlines() if f"line {line}:" in text]
        assert len(found) == 1
        assert says in found[0]
    assert "line 13" not in ended.stderr
    assert "and 2 more" in ended.stderr
    assert untouched(out)


def test_a_source_in_the_table_and_in_the_command_is_refused(out: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("source,picks\na=b.jpg,1\n")

    ended = pick(out, "a=b.jpg=2", "--from", tmp_path / "mine.csv")

    assert ended.returncode == 2
    assert "named in the command too" in ended.stderr
    assert untouched(out)


def test_no_name_moves_the_cursor_of_whoever_reads_the_message(out: Path) -> None:
    ended = pick(out, "\x1b[2Jevil.jpg=1")

    assert ended.returncode == 2
    assert "\x1b" not in ended.stderr


def test_a_folder_that_is_no_output_is_refused_with_10(tmp_path: Path) -> None:
    ended = pick(tmp_path)

    assert ended.returncode == 10
    assert not list(tmp_path.iterdir())


def test_a_log_that_is_a_pipe_is_refused_without_hanging(out: Path) -> None:
    os.mkfifo(out / "picks.jsonl")

    ended = pick(out, "a=b.jpg=1")

    assert ended.returncode == 10
    assert "no regular file" in ended.stderr


def test_decisions_of_a_product_that_is_gone_are_counted_and_can_be_cleared(out: Path) -> None:
    Picks(Tree(out)).decide("gone.jpg", Choice(picked=(1,)))

    assert "1 decided that the output holds no more" in pick(out).stdout
    assert pick(out, "--clear", "gone.jpg").returncode == 0
    assert decided(out) == {"gone.jpg": Choice()}


def test_commands_at_the_same_time_lose_no_note_and_no_pick(out: Path) -> None:
    picks = Picks(Tree(out))
    notes = [f"note {number}" for number in range(60)]
    faults: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                choose(out, parse([f"shoes/red.jpg={(number + turn) % 3 + 1}"], (), ()))
        except Exception as error:  # noqa: BLE001 - told by the test itself
            faults.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for note in notes:
        picks.follow()
        choice = picks.of("shoes/red.jpg").choice
        picks.decide("shoes/red.jpg", Choice(picked=choice.picked, note=note))
    for thread in threads:
        thread.join(40)

    assert not faults
    lines = [json.loads(line) for line in (out / "picks.jsonl").read_bytes().splitlines()]
    assert lines[-1]["choice"]["note"] == notes[-1]
    assert decided(out)["shoes/red.jpg"].picked


@pytest.mark.parametrize("words", ["", "=", "a.jpg", "a.jpg=1=x"])
def test_words_that_are_no_decision_raise(words: str) -> None:
    with pytest.raises(UsageError):
        parse([words], (), ())
