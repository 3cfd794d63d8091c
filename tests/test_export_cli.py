"""`batch-reimagine export` as a stranger types it; and killed in the middle."""

import json
import shlex
import time
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine.export import Options, command
from batch_reimagine.simulator import Behaviour, serve
from tests.exporting import Output, files, picture
from tests.pictures import opened
from tests.support import assert_whole, make_photos
from tests.test_cli import command as ran
from tests.test_cli import finish, start


@pytest.fixture
def out(tmp_path: Path) -> Output:
    output = Output(tmp_path / "out")
    output.add("a.jpg", picture(), picture(size=(20, 10)), picked=(2,))
    return output


async def test_from_a_run_to_the_shop(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 3)
    out, shop = tmp_path / "out", tmp_path / "shop"
    async with serve(Behaviour(picture_px=64)) as api:
        code, _, err = await finish(
            "run", tmp_path / "photos", "-o", out, "-n", 2, "--base-url", api.url
        )
        assert code == 0, err

    code, stdout, err = await finish("export", out, "--to", shop, "--all", "--format", "jpeg")

    assert (code, err) == (0, "")
    assert "6 pictures written" in stdout
    assert len(files(shop)) == 6
    assert_whole(shop)


def test_it_tells_what_it_did_as_json(out: Output, tmp_path: Path) -> None:
    done = ran("export", out.root, "--to", tmp_path / "shop", "--json")

    told = json.loads(done.stdout)
    assert (told["files"], told["there"], told["names"]) == (1, 0, ["a_01.png"])
    assert done.returncode == 0


def test_a_dry_run_shows_names_and_writes_nothing(out: Output, tmp_path: Path) -> None:
    done = ran("export", out.root, "--to", tmp_path / "shop", "--dry-run")

    assert "  a_01.png\n1 pictures would be written" in done.stdout
    assert not (tmp_path / "shop").exists()


def test_a_picture_that_is_gone_is_exit_code_3(out: Output, tmp_path: Path) -> None:
    (out.root / "a_v02.png").unlink()

    done = ran("export", out.root, "--to", tmp_path / "shop")

    assert done.returncode == 3
    assert "warning: 1 wanted pictures are not there" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--name", "{stem.x}"], 2, "{variation}"),
        (["--format", "gif"], 2, "gif"),
        (["--max-side", "x"], 2, "max-side"),
        (["--quality", "0"], 2, "quality"),
        (["--preset", "etsy"], 2, "shopify"),
    ],
    ids=str,
)
def test_bad_flags_are_told(
    out: Output, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    done = ran("export", out.root, "--to", tmp_path / "shop", *arguments)

    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_no_output_is_exit_code_10(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    assert ran("export", tmp_path / "empty", "--to", tmp_path / "shop").returncode == 10


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"preset": "amazon", "all": True},
        {"name": "-{stem} 'x' $HOME `id`", "format": "webp", "max_side": 8, "quality": 5},
        {"zip": True, "csv": True, "url_prefix": "https://a/?b=c&d"},
    ],
)
def test_the_command_that_is_shown_does_the_same(
    out: Output, tmp_path: Path, options: dict[str, Any]
) -> None:
    line = command(out.root, Options(tmp_path / "a shop", **options))
    name, *arguments = shlex.split(line)
    assert name == "batch-reimagine"

    done = ran(*arguments)

    assert done.returncode == 0, done.stderr
    out.export(tmp_path / "other", **options)
    assert files(tmp_path / "a shop") == files(tmp_path / "other")
    for file in files(tmp_path / "other"):
        assert (tmp_path / "a shop" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_a_command_takes_no_folder_for_a_flag() -> None:
    words = shlex.split(command(Path("-o"), Options(Path("--zip"))))

    assert words == ["batch-reimagine", "export", "./-o", "--to", "./--zip"]


def test_killed_five_times_it_ends_with_every_file_whole_and_none_twice(
    tmp_path: Path,
) -> None:
    output, shop, count = Output(tmp_path / "out"), tmp_path / "shop", 60
    for number in range(count):
        output.add(f"{number:03d}.jpg", picture(size=(300 + number, 300)), picked=(1,))
    arguments = ["export", output.root, "--to", shop, "--format", "jpeg", "--csv", "--zip"]
    kills, before = 0, 0
    for _ in range(5):
        process = start(*arguments)
        deadline = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline:
            if len(list(shop.glob("*.jpg"))) >= min(before + 8, count - 5):
                process.kill()
                break
            time.sleep(0.002)
        process.communicate(timeout=30)
        kills += process.returncode == -9
        names = files(shop)
        assert len(names) >= before
        before = len(names)
        assert_whole(shop)

    done = ran(*arguments, "--json")

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert kills >= 3
    assert told["there"] >= before - 2 > 0
    assert told["files"] + told["there"] == count
    assert len(files(shop)) == count + 2
    assert not list(shop.glob(".batch-reimagine-export-*"))
    for number in range(count):
        assert opened((shop / f"{number:03d}_01.jpg").read_bytes()).size == (300 + number, 300)
