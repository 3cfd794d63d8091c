"""Killed, refused, cut off: whatever call it happens at, nothing is lost and nothing paid twice.

The short form of `python -m tests.torture`, which says what each part does.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.torture import full, kills, order, points, power, trace
from tests.torture.points import LOCAL_RESOURCE


@pytest.fixture(scope="module")
def shim() -> Iterator[Path]:
    try:
        yield trace.build()
    except trace.NoShimError as why:
        pytest.skip(str(why))
    finally:
        trace.remove()


async def test_twenty_random_kills_lose_only_what_was_in_flight(tmp_path: Path) -> None:
    score = await kills.loop(tmp_path, 20, workers=8, seed=7)

    assert score.findings == []
    assert score.kills.total() == 20
    assert set(score.kills) == set(kills.MOMENTS)


async def test_a_kill_at_any_call_that_reaches_the_disk_is_mended(
    tmp_path: Path, shim: Path
) -> None:
    score = await points.kills(points.fresh(tmp_path), tmp_path, shim)

    assert score.findings == []
    assert score.cases > 40
    assert {"write", "fsync", "rename", "mkdir", "open"} <= set(score.hit)


async def test_a_kill_half_way_through_any_call_is_mended(tmp_path: Path, shim: Path) -> None:
    score = await points.kills(points.fresh(tmp_path), tmp_path, shim, how="torn", step=3)

    assert score.findings == []
    assert score.cases > 12


async def test_a_kill_of_the_resume_after_a_kill_is_mended(tmp_path: Path, shim: Path) -> None:
    score = await points.kills_twice(points.fresh(tmp_path), tmp_path, shim, step=5, then=45)

    assert score.findings == []
    assert score.hit.total() > 1.5 * score.cases  # most resumes were killed too


async def test_a_kill_while_a_renamed_photo_is_copied_is_mended(tmp_path: Path, shim: Path) -> None:
    score = await points.kills(await points.renamed(tmp_path, shim), tmp_path, shim, step=2)

    assert score.findings == []
    assert score.lost == 0
    assert score.cases > 10


async def test_a_kill_while_the_books_are_compacted_is_mended(tmp_path: Path, shim: Path) -> None:
    score = await points.kills(await points.bulky(tmp_path, shim), tmp_path, shim, first=18)

    assert score.findings == []
    assert score.cases > 12


async def test_a_refused_photo_is_not_asked_for_again_after_a_kill(
    tmp_path: Path, shim: Path
) -> None:
    score = await points.kills(points.poisoned(tmp_path), tmp_path, shim, step=4)

    assert score.findings == []
    assert score.cases > 5


@pytest.mark.parametrize(
    ("fault", "step"), [("ENOSPC", 2), ("EIO", 1), ("EACCES", 2), ("EROFS", 2)]
)
async def test_a_call_that_the_disk_refuses_stops_the_run_and_costs_nothing_else(
    tmp_path: Path, shim: Path, fault: str, step: int
) -> None:
    score = await points.faults(points.fresh(tmp_path), tmp_path, shim, fault, step=step)

    assert score.findings == []
    assert score.cases > 6
    # 0 where all was made, and what was refused is only there to make the next run quick.
    assert set(score.codes) <= {0, LOCAL_RESOURCE}
    assert score.codes[LOCAL_RESOURCE] > 2 * score.codes[0]


async def test_a_power_cut_after_any_call_is_mended(tmp_path: Path, shim: Path) -> None:
    score = await power.cuts(points.fresh(tmp_path), tmp_path, shim, step=6)

    assert score.findings == []
    assert score.cases > 25


async def test_a_full_disk_stops_the_run_and_room_mends_it(tmp_path: Path, shim: Path) -> None:
    try:
        score = await full.fill(tmp_path, shim)
    except full.NoMountError as why:
        pytest.skip(str(why))

    assert score.findings == []
    assert score.cases == 2


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_file_then_name_then_row_and_the_journal_before_the_wire(
    tmp_path: Path, shim: Path, concurrency: int
) -> None:
    small = replace(points.wide(tmp_path), concurrency=concurrency)
    traced = await order.of(small, tmp_path / "traced", shim)

    assert order.pictures(traced) == (12, [])
    assert order.requests(traced, concurrency) == (12, [])
    assert order.folder(traced) == []
