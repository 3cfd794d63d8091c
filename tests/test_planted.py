"""The manifest and the journal are data, not orders; a planted link leads nowhere."""

import asyncio
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine.errors import LocalResource
from batch_reimagine.tally import Tally, Verified, tally, verify
from tests.hostile import Server, good, hostile
from tests.support import Ran, make_photos, pictures, png, rows, run
from tests.test_cli import environment

STATE = ".batch-reimagine"
JOURNAL = f"{STATE}/attempts.jsonl"
# Runs a command; one that hangs is ended by the kernel, one that swallows memory by itself.
_LIMITED = """
import resource, runpy, signal, sys
signal.alarm(6)
resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000, 2_000_000_000))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
sys.argv = ["batch-reimagine", *sys.argv[1:]]
runpy.run_module("batch_reimagine", run_name="__main__")
"""
# `status`, `verify` and a dry run in one process; tells each one's exit code.
_LOOKS = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000, 2_000_000_000))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from batch_reimagine.cli import main
photos, out = sys.argv[1:]
for tokens in (["status", out], ["verify", out], ["run", photos, "-o", out, "--dry-run"]):
    print("began", tokens[0], file=sys.stderr, flush=True)
    signal.alarm(4)
    print("ended", tokens[0], main(tokens), file=sys.stderr, flush=True)
"""


def snapshot(folder: Path) -> dict[str, tuple[Any, ...]]:
    """All that can be told of what lies below a folder: kind, mode, time, size and content."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        told = path.lstat()
        content: object = None
        if stat.S_ISREG(told.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(told.st_mode):
            content = path.readlink()
        found[str(path.relative_to(folder))] = (
            *(told.st_mode, told.st_ino, told.st_nlink, told.st_mtime_ns, told.st_size),
            content,
        )
    return found


class Ground:
    """A finished output of three photos, and beside it a folder that nobody may touch."""

    def __init__(self, folder: Path) -> None:
        self.photos = folder / "photos"
        self.out = folder / "out"
        self.outside = folder / "outside"
        self.before: dict[str, tuple[Any, ...]] = {}

    async def run(self, api: Server, *flags: object) -> tuple[int, str, str]:
        return await self.do("run", self.photos, "-o", self.out, "--base-url", api.url, *flags)

    async def do(self, *arguments: object) -> tuple[int, str, str]:
        """Run one command, in little memory and a short time: reading /dev/zero takes both."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _LIMITED, *map(str, arguments)),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        assert b"Traceback" not in err, err
        return process.returncode, out.decode(), err.decode()

    async def made(self, **settings: Any) -> Ran:
        """A run in this process."""
        return await run(self.photos, self.out, timeout_s=5.0, **settings)

    async def looked(self) -> tuple[Tally, Verified]:
        """What `status` and `verify` find; whatever is planted, they find something."""
        return await asyncio.to_thread(tally, self.out), await asyncio.to_thread(verify, self.out)

    def plant(self) -> None:
        """Remember what is outside, once all is planted."""
        self.before = {**snapshot(self.outside), **snapshot(self.photos)}

    def assert_nothing_left_the_output(self) -> None:
        assert {**snapshot(self.outside), **snapshot(self.photos)} == self.before

    def replace(self, name: str, by: Callable[[Path], object]) -> None:
        path = self.out / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        by(path)

    def add_rows(self, *lines: bytes) -> None:
        with (self.out / "manifest.jsonl").open("ab") as opened:
            opened.writelines(line + b"\n" for line in lines)

    def add_tries(self, *lines: bytes) -> None:
        with (self.out / JOURNAL).open("ab") as opened:
            opened.writelines(line + b"\n" for line in lines)

    def forget(self, source: str) -> str:
        """Take one photo's row and picture away; return the picture's name."""
        path = self.out / "manifest.jsonl"
        kept = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(line for line in kept if source.encode() not in line))
        (name,) = [n for n in pictures(self.out) if n.startswith(source.removesuffix(".jpg"))]
        (self.out / name).unlink()
        return name


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once, copied for each test."""
    folder = tmp_path_factory.mktemp("finished")
    make_photos(folder / "photos", 3)
    ground = Ground(folder)

    async def go() -> None:
        async with hostile(good) as api:
            code, _, err = await ground.run(api)
            assert code == 0, err

    asyncio.run(go())
    return folder


@pytest.fixture
def ground(finished: Path, tmp_path: Path) -> Ground:
    shutil.copytree(finished, tmp_path / "g", symlinks=True)
    made = Ground(tmp_path / "g")
    made.outside.mkdir()
    (made.outside / "secret.txt").write_text("mine\n")
    (made.outside / "photo-000_v01.png").write_bytes(png())
    (made.outside / "folder").mkdir()
    shutil.copy(made.out / "manifest.jsonl", made.outside)
    for path in (made.outside / "secret.txt", made.outside / "photo-000_v01.png"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o640)
    return made


def row_of(ground: Ground, **changes: Any) -> dict[str, Any]:
    """A row of a real photo, with changes."""
    row = next(row for row in rows(ground.out) if row["source"] == "photo-000.jpg")
    return {**row, **changes}


def encode(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode()


LINKS: dict[str, Callable[[Ground], Path]] = {
    "a file outside": lambda g: g.outside / "secret.txt",
    "a folder outside": lambda g: g.outside / "folder",
    "nothing outside": lambda g: g.outside / "new",
    "a manifest outside": lambda g: g.outside / "manifest.jsonl",
    "zeros without end": lambda _: Path("/dev/zero"),
}
PLACES = ("manifest.jsonl", JOURNAL, f"{STATE}/lock", f"{STATE}/unfinished", STATE)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "full").write_text("x")


PLANTS: dict[str, Callable[[Ground, Path], object]] = {
    **{
        f"a link to {what}": lambda g, path, to=to: path.symlink_to(to(g))  # type: ignore[misc]
        for what, to in LINKS.items()
    },
    "a FIFO": lambda _, path: _fifo(path),
    "a folder": lambda _, path: _folder(path),
}
#: What is no plant: these places are folders, and what lies in them is not looked into.
FINE = {("a folder", STATE), ("a folder", f"{STATE}/unfinished")}
FILES = PLACES[:2]
#: What makes a difference only where lines are read.
READ = {"a link to nothing outside", "a link to a manifest outside", "a link to zeros without end"}
PAIRS = [
    pytest.param(place, plant, id=f"{place} is {plant}")
    for place in PLACES
    for plant in PLANTS
    if (plant, place) not in FINE and (place in FILES or plant not in READ)
]


@pytest.mark.parametrize(("place", "plant"), PAIRS)
async def test_a_planted_place_is_refused_by_a_run_and_nothing_outside_changes(
    ground: Ground, place: str, plant: str
) -> None:
    ground.forget("photo-000.jpg")
    ground.replace(place, lambda path: PLANTS[plant](ground, path))
    ground.plant()
    async with hostile(good) as api:
        code, _, err = await ground.run(api)

    assert code in {9, 10}, err
    assert api.asked == []
    ground.assert_nothing_left_the_output()
    assert err.count("\n") <= 4


@pytest.mark.parametrize(("place", "plant"), PAIRS)
async def test_looking_at_a_planted_output_neither_hangs_nor_changes_anything(
    ground: Ground, place: str, plant: str
) -> None:
    ground.replace(place, lambda path: PLANTS[plant](ground, path))
    ground.plant()
    here = set(os.listdir(ground.out))  # noqa: PTH208
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _LOOKS, str(ground.photos), str(ground.out)),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    codes = {what: int(code) for what, code in re.findall(r"ended (\w+) (\d+)", err.decode())}

    ground.assert_nothing_left_the_output()
    assert set(os.listdir(ground.out)) == here  # noqa: PTH208
    assert process.returncode == 0, err  # else the last one that began did not end
    assert b"Traceback" not in err
    assert set(codes) == {"status", "verify", "run"}
    assert set(codes.values()) <= {0, 3, 9, 10}, err
    if place == "manifest.jsonl":  # rows from elsewhere are nobody's proof
        assert codes["verify"] != 0, out


@pytest.mark.parametrize("what", ["a link", "a broken link", "a FIFO", "a folder", "a hard link"])
async def test_what_lies_under_an_outputs_name_is_neither_believed_nor_overwritten(
    ground: Ground, what: str
) -> None:
    name = "photo-000_v01.png"
    if what == "a hard link":
        ground.forget("photo-000.jpg")
    plants: dict[str, Callable[[Path], object]] = {
        "a link": lambda path: path.symlink_to(ground.outside / name),
        "a broken link": lambda path: path.symlink_to(ground.outside / "new.png"),
        "a FIFO": _fifo,
        "a folder": _folder,
        "a hard link": lambda path: path.hardlink_to(ground.outside / name),
    }
    ground.replace(name, plants[what])
    ground.plant()
    verified, said, _ = await ground.do("verify", ground.out)
    assert verified == 3
    assert name in said
    async with hostile(good) as api:
        code, _, err = await ground.run(api)

    assert code == 0, err
    assert len(api.asked) == 1
    assert (ground.out / "photo-000_v02.png").is_file()
    ground.assert_nothing_left_the_output()


@pytest.mark.parametrize("to", ["outside", "elsewhere in the output"])
async def test_a_folder_of_the_output_that_is_a_link_is_not_written_through(
    ground: Ground, to: str
) -> None:
    make_photos(ground.photos / "shoes", 2, first=50)
    (ground.out / "real").mkdir()
    target = ground.outside / "folder" if to == "outside" else ground.out / "real"
    (ground.out / "shoes").symlink_to(target)
    ground.plant()
    async with hostile(good) as api:
        code, _, err = await ground.run(api)

    assert code == 9, err
    assert "link" in err
    assert len(api.asked) <= 2
    assert list((ground.out / "real").iterdir()) == []
    ground.assert_nothing_left_the_output()


async def test_an_output_that_is_itself_a_link_is_used_where_it_leads(ground: Ground) -> None:
    ground.plant()
    link = ground.out.parent / "link"
    link.symlink_to(ground.out)
    async with hostile(good) as api:
        code, _, err = await ground.do(
            "run", ground.photos, "-o", link, "--base-url", api.url, "-n", 2
        )

    assert code == 0, err
    assert len(api.asked) == 3
    ground.assert_nothing_left_the_output()


async def test_leftovers_planted_among_the_unfinished_are_removed_and_not_followed(
    ground: Ground,
) -> None:
    ground.forget("photo-000.jpg")
    unfinished = ground.out / STATE / "unfinished"
    (unfinished / "a").symlink_to(ground.outside / "secret.txt")
    (unfinished / "b").symlink_to(ground.outside / "folder")
    _fifo(unfinished / "c")
    (unfinished / "d").hardlink_to(ground.outside / "secret.txt")
    ground.before = {}
    async with hostile(good) as api:
        code, _, err = await ground.run(api)

    assert code == 0, err
    assert list(unfinished.iterdir()) == []
    assert (ground.outside / "secret.txt").read_text() == "mine\n"
    assert (ground.outside / "folder").is_dir()


#: What a row may claim of its output.
NAMES = {
    "upwards": "../outside/photo-000_v01.png",
    "upwards within": "a/../../outside/photo-000_v01.png",
    "absolute": "/etc/photo-000_v01.png",
    "through a link": "link/photo-000_v01.png",
    "a NUL": "photo-000\0_v01.png",
    "a backslash": "..\\outside\\photo-000_v01.png",
    "a drive": "C:\\photo-000_v01.png",
    "a drive with a slash": "C:/outside/photo-000_v01.png",
    "a share": "//server/photo-000_v01.png",
    "a dot": "./photo-000_v01.png",
    "empty": "",
    "the manifest": "manifest.jsonl",
    "the journal": JOURNAL,
    "a name of 300 letters": "x" * 300 + "_v01.png",
    "a path of 9000 letters": "x/" * 4500 + "a_v01.png",
    "an escape": "\x1b[2J_v01.png",
    "another suffix": "photo-000_v01.exe",
    "another number": "photo-000_v07.png",
}


@pytest.mark.parametrize("kind", NAMES)
async def test_a_row_that_claims_a_strange_output_is_not_believed(
    ground: Ground, kind: str
) -> None:
    row = row_of(ground)
    (ground.out / "link").symlink_to(ground.outside)
    ground.forget(row["source"])
    sha256 = hashlib.sha256(png()).hexdigest()
    ground.add_rows(encode({**row, "output": NAMES[kind], "output_sha256": sha256}))
    ground.plant()
    _, verified = await ground.looked()
    assert verified.good == 2
    assert not verified.sound
    async with hostile(good) as api:
        ran = await ground.made(base_url=api.url)

    assert ran.error is None or isinstance(ran.error, LocalResource)
    ground.assert_nothing_left_the_output()
    if ran.error is None:
        assert len(api.asked) == 1
        assert len([name for name in pictures(ground.out) if "link/" not in name]) == 3


def _deep(depth: int) -> bytes:
    return b'{"v":' + b"[" * depth + b"]" * depth + b"}"


GARBAGE: dict[str, Callable[[bytes], bytes]] = {
    "no JSON": lambda _: b"\0\1\2",
    "invalid UTF-8": lambda row: row.replace(b"photo-000.jpg", b"photo-\xff\xfe.jpg"),
    "a lone surrogate": lambda row: row.replace(b"photo-000.jpg", rb"photo-\ud800.jpg"),
    "a list": lambda _: b"[1]",
    "a number": lambda _: b"7",
    "a number of 5000 digits": lambda row: row.replace(
        b'"variation": 1', b'"variation": ' + b"9" * 5000
    ),
    "variation 10^15": lambda row: row.replace(b'"variation": 1', b'"variation": 1000000000000000'),
    "variation 0": lambda row: row.replace(b'"variation": 1', b'"variation": 0'),
    "variation -1": lambda row: row.replace(b'"variation": 1', b'"variation": -1'),
    "variation 1.5": lambda row: row.replace(b'"variation": 1', b'"variation": 1.5'),
    "a source that is a list": lambda row: row.replace(b'"photo-000.jpg"', b'["photo-000.jpg"]'),
    "an unknown status": lambda row: row.replace(b'"done"', b'"paid"'),
    "no status": lambda row: row.replace(b'"status"', b'"statos"'),
    "a hash of other letters": lambda row: row.replace(
        b'"source_sha256": "', b'"source_sha256": "Z'
    ),
    "deep nesting": lambda _: _deep(100_000),
    "deep nesting that ends": lambda _: _deep(900),
}


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("file", ["manifest.jsonl", JOURNAL], ids=["manifest", "journal"])
async def test_a_line_that_is_no_row_is_passed_over_and_the_rest_stands(
    ground: Ground, kind: str, file: str
) -> None:
    row = encode(row_of(ground))
    planted = GARBAGE[kind](row)
    assert planted != row
    path = ground.out / file
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], planted + b"\n", *lines[1:]]))
    ground.plant()
    status, _ = await ground.looked()
    assert status.done in {3, 4}
    async with hostile(good) as api:
        ran = await ground.made(base_url=api.url)

    assert ran.error is None
    assert api.asked == []
    ground.assert_nothing_left_the_output()


@pytest.mark.parametrize("kind", ["CRLF", "a byte order mark", "empty lines", "one line of 50 MB"])
@pytest.mark.parametrize("file", ["manifest.jsonl", JOURNAL], ids=["manifest", "journal"])
async def test_an_edited_or_bloated_file_costs_nothing_twice(
    ground: Ground, kind: str, file: str
) -> None:
    path = ground.out / file
    whole = path.read_bytes()
    bloated = encode(row_of(ground, message="x" * 50_000_000, source="other.jpg"))
    path.write_bytes(
        {
            "CRLF": whole.replace(b"\n", b"\r\n"),
            "a byte order mark": b"\xef\xbb\xbf" + whole,
            "empty lines": b"\n\n" + whole.replace(b"\n", b"\n\n"),
            "one line of 50 MB": whole + bloated + b"\n",
        }[kind]
    )
    ground.plant()
    status, _ = await ground.looked()
    assert status.done in {3, 4}
    async with hostile(good) as api:
        ran = await ground.made(base_url=api.url)

    assert ran.error is None
    assert api.asked == []
    assert len(pictures(ground.out)) == 3
    ground.assert_nothing_left_the_output()


async def test_of_a_duplicate_key_no_order_is_taken(ground: Ground) -> None:
    row = row_of(ground)
    ground.forget(row["source"])
    twice = encode(row)[:-1] + b', "output": "../outside/photo-000_v01.png"}'
    ground.add_rows(twice, encode({**row, "variation": 2})[:-1] + b', "variation": 3}')
    ground.plant()
    async with hostile(good) as api:
        code, _, err = await ground.run(api)

    assert code == 0, err
    assert len(api.asked) == 1
    ground.assert_nothing_left_the_output()


#: A try without an end, as a dead run leaves it; what it may claim.
TRIES: dict[str, dict[str, Any]] = {
    "a base upwards": {"base": "../outside/photo-000"},
    "an absolute base": {"base": "/etc/photo-000"},
    "a base with a NUL": {"base": "photo\0"},
    "an empty base": {"base": ""},
    "a base of 9000 letters": {"base": "x/" * 4500 + "y"},
    "a base through a link": {"base": "link/photo-000"},
    "a base within the state folder": {"base": f"{STATE}/photo-000"},
    "variation 10^30": {"variation": 10**30},
    "variation -1": {"variation": -1},
    "a price that is no number": {"price": "much"},
    "a price of NaN": {"price": "NaN"},
    "a negative price": {"price": "-5"},
    "an endless price": {"price": "1e999999999"},
    "a price of 10000 digits": {"price": "9" * 10_000},
    "an escape in its source": {"source": "\x1b]0;owned\x07"},
    "a hash that is none": {"source_sha256": "../../x"},
    "attempt 10^30": {"attempt": 10**30},
}


@pytest.mark.parametrize("kind", TRIES)
async def test_a_planted_try_is_data(ground: Ground, kind: str) -> None:
    (ground.out / "link").symlink_to(ground.outside)
    one = {
        "what": "try",
        "id": "20200101T000000-abcdef.1",
        "time": "2020-01-01T00:00:00.000Z",
        "source": "photo-000.jpg",
        "source_sha256": rows(ground.out)[0]["source_sha256"],
        "variation": 1,
        "attempt": 1,
        "base": "photo-000",
        "price": "0.01",
    }
    ground.add_tries(encode({**one, **TRIES[kind]}))
    ground.plant()
    status, _ = await ground.looked()
    assert status.done == 3
    async with hostile(good) as api:
        for _ in range(2):
            ran = await ground.made(base_url=api.url, price="0.01", max_calls=5)
            assert ran.error is None

    assert len(api.asked) <= 2
    ground.assert_nothing_left_the_output()


@pytest.mark.parametrize("field", ["request", "reason", "source"])
async def test_a_planted_text_steers_no_terminal_and_is_bounded(ground: Ground, field: str) -> None:
    steering = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m" + "x" * 200_000
    changes = {"status": "rejected", "output": None, "source": "b.jpg", field: steering}
    ground.add_rows(encode(row_of(ground, **changes)))
    ground.plant()
    ends = [await ground.do(name, ground.out) for name in ("status", "verify")]
    ends.append(await ground.do("status", ground.out, "--json"))
    async with hostile(good) as api:
        ends.append(await ground.run(api))

    for code, out, err in ends:
        assert code in {0, 3, 10}, err
        assert not {"\x1b", "\u202e", "\x9b", "\x07"} & set(out + err)
    for _, out, err in (ends[0], ends[1], ends[3]):
        assert len(out + err) < 20_000
    ground.assert_nothing_left_the_output()


async def test_verify_names_what_is_wrong_and_a_resume_makes_only_that(ground: Ground) -> None:
    make_photos(ground.photos, 3, first=10)
    async with hostile(good) as api:
        assert (await ground.run(api))[0] == 0
        assert (await ground.do("verify", ground.out))[0] == 0
        missing, torn, changed, linked, *_ = names = pictures(ground.out)
        (ground.out / missing).unlink()
        (ground.out / torn).write_bytes((ground.out / torn).read_bytes()[:-5])
        (ground.out / changed).write_bytes(png((1, 2, 3)))
        (ground.out / linked).unlink()
        (ground.out / linked).symlink_to(ground.outside / "photo-000_v01.png")
        (ground.out / "stray_v01.png").write_bytes(png())
        ground.plant()
        code, said, _ = await ground.do("verify", ground.out)

        assert code == 3
        assert {line for line in said.splitlines() if ": " in line} == {
            f"missing: {missing}",
            f"torn: {torn}",
            f"changed: {changed}",
            f"disbelieved: {linked}",
            "extra: stray_v01.png",
        }
        before = len(api.asked)
        (ground.out / torn).unlink()  # a resume trusts a name that is there: verify first
        (ground.out / changed).unlink()
        (ground.out / "stray_v01.png").unlink()
        assert (await ground.run(api))[0] == 0
        assert len(api.asked) - before == 4
        ground.assert_nothing_left_the_output()
        (ground.out / linked).unlink()
        code, said, _ = await ground.do("verify", ground.out)

    assert code == 3  # the linked one's own row still names what is no more
    assert [line for line in said.splitlines() if ": " in line] == [f"missing: {linked}"]
    assert len(pictures(ground.out)) == len(names)


async def test_a_repair_makes_again_what_verify_calls_torn_and_nothing_else(
    ground: Ground,
) -> None:
    torn, changed, _ = pictures(ground.out)
    (ground.out / torn).write_bytes((ground.out / torn).read_bytes()[:-5])
    (ground.out / changed).write_bytes(png((1, 2, 3)))
    assert (await ground.do("verify", ground.out))[0] == 3
    async with hostile(good) as api:
        code, _, err = await ground.run(api, "--repair")

    assert code == 0, err
    assert len(api.asked) == 1
    assert (ground.out / changed).read_bytes() == png((1, 2, 3))  # the user's own edit, perhaps
    _, said, _ = await ground.do("verify", ground.out)
    assert f"changed: {changed}" in said
    assert "torn: " not in said
