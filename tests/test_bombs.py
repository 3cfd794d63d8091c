"""A file that lies about its size costs neither memory nor time: it is refused by its head."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine.errors import Rejected
from batch_reimagine.prepare import prepare
from tests.bombs import bombs, giants
from tests.stills import STILLS

BOMBS, GIANTS = bombs(), giants()
ROOT = Path(__file__).parent.parent


def weigh(files: dict[str, bytes], folder: Path) -> dict[str, dict[str, Any]]:
    """What each file costs, prepared one after the other in one process."""
    paths = [folder / f"{number}" for number in range(len(files))]
    for path, data in zip(paths, files.values(), strict=True):
        path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-m", "tests.weigh", *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return dict(zip(files, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.fixture(scope="module")
def weighed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return weigh({"warm up": STILLS["PNG"]} | BOMBS, tmp_path_factory.mktemp("bombs"))


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(
    name: str, weighed: dict[str, dict[str, Any]]
) -> None:
    assert len(BOMBS[name]) < 2_000_000
    cost = weighed[name]
    # These tell the size twice; a decoder may find the contradiction first.
    may_be_damaged = name in {"AVIF", "HEIC", "icon of BMP"}
    assert cost["end"] == "TOO_LARGE" or (may_be_damaged and cost["end"] == "DAMAGED")
    assert cost["mb"] < 32
    assert cost["seconds"] < 1


@pytest.mark.parametrize("name", GIANTS)
def test_a_giant_is_decoded_small_or_refused(name: str, tmp_path: Path) -> None:
    cost = weigh({"warm up": STILLS["JPEG"], name: GIANTS[name]}, tmp_path)[name]

    assert cost["end"] in {"sent 1024 x 1024", "TOO_LARGE", "DAMAGED", "UNSUPPORTED_FORMAT"}
    assert cost["mb"] < 100
    assert cost["seconds"] < 20


def test_a_picture_of_fewer_pixels_is_within_a_lower_limit_and_one_of_more_is_not() -> None:
    raw = STILLS["PNG"]

    assert prepare(raw, max_pixels=160 * 120).width == 160
    with pytest.raises(Rejected) as refused:
        prepare(raw, max_pixels=160 * 120 - 1)
    assert refused.value.reason == "TOO_LARGE"


def test_what_is_about_to_be_decoded_is_announced_before() -> None:
    announced: list[int] = []

    for kind in STILLS:
        prepare(STILLS[kind], admit=announced.append)

    assert len(announced) == len(STILLS)
    assert all(pixels >= 64 * 48 for pixels in announced)


def test_a_bomb_that_is_let_through_would_be_seen(tmp_path: Path) -> None:
    """The scale works: an honest picture of 30 megapixels moves it."""
    from tests.pictures import encoded, quarters  # noqa: PLC0415 - for this one

    honest = encoded(quarters((6000, 5000)), "PNG", compress_level=1)
    cost = weigh({"warm up": STILLS["PNG"], "honest": honest}, tmp_path)["honest"]

    assert cost["end"].startswith("sent")
    assert cost["mb"] > 80
