"""A resume does not read photos that are as they were, and is never fooled by one that is not."""

import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from anyio.to_thread import run_sync as aside

from batch_reimagine import reading, walk
from batch_reimagine.known import FILE, Known
from batch_reimagine.ledger import open_ledger
from batch_reimagine.settings import Settings
from tests.support import Ran, jpeg, make_photos, pictures, rows, run, scripted

BOOK = Path(".batch-reimagine") / FILE


def aged(folder: Path) -> None:
    """Make the photos old enough to be believed: one that has just changed may change again.

    The time of the inode cannot be set, so this waits.
    """
    newest = max(path.stat().st_ctime for path in folder.rglob("*"))
    time.sleep(max(0.0, newest + 2.1 - time.time()))


async def finished(tmp_path: Path, photos: int = 4, **settings: Any) -> tuple[Path, Path]:
    """A finished job whose photos are known."""
    folder, out = tmp_path / "in", tmp_path / "out"
    make_photos(folder, photos)
    await aside(aged, folder)
    async with scripted() as server:
        await run(folder, out, base_url=server.url, variations=2, **settings)
    assert len(pictures(out)) == 2 * photos
    return folder, out


async def again(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> tuple[Ran, int, list[str]]:
    """Run the same command; how it went, how many calls it made, and which photos it opened."""
    opened: list[str] = []
    real = os.open

    def watch(path: Any, *args: Any, **kwargs: Any) -> int:
        if str(path).startswith(str(folder)):
            opened.append(Path(path).name)
        return real(path, *args, **kwargs)

    for module in (reading, walk):
        monkeypatch.setattr(module.os, "open", watch)
    async with scripted() as server:
        ran = await run(folder, out, base_url=server.url, **{"variations": 2, **settings})
        calls = len(server.seen)
    monkeypatch.undo()
    assert ran.error is None
    return ran, calls, opened


async def test_photos_that_are_as_they_were_are_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = await finished(tmp_path)

    ran, calls, opened = await again(folder, out, monkeypatch)

    assert (calls, opened) == (0, [])
    assert (ran.progress.photos, ran.progress.here) == (4, 8)
    (plan,) = ran.plans
    assert (plan.photos, plan.here, plan.to_make, plan.complete) == (4, 8, 0, True)


async def test_rehash_looks_into_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = await finished(tmp_path)

    _, calls, opened = await again(folder, out, monkeypatch, rehash=True)

    assert calls == 0
    assert {name for name in opened if name.endswith(".jpg")} == {p.name for p in folder.iterdir()}


async def test_an_edit_that_keeps_size_and_time_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = await finished(tmp_path)
    photo = folder / "photo-001.jpg"
    before, data = photo.stat(), bytearray(photo.read_bytes())
    at = data.index(b"photo 1")
    data[at : at + 7] = b"PHOTO 1"
    photo.write_bytes(data)
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))

    _, calls, _ = await again(folder, out, monkeypatch)

    assert calls == 2


async def test_another_photo_under_the_same_name_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = await finished(tmp_path)
    other = folder / "other.tmp"
    other.write_bytes(jpeg(77))
    stat = (folder / "photo-001.jpg").stat()
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(folder / "photo-001.jpg")

    _, calls, _ = await again(folder, out, monkeypatch)

    assert calls == 2


@pytest.mark.parametrize("harm", ["gone", "cut", "a link"])
async def test_an_output_that_is_not_as_it_was_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    folder, out = await finished(tmp_path)
    output = out / "photo-002_v01.png"
    whole = output.read_bytes()
    output.unlink()
    if harm == "cut":
        output.write_bytes(whole[:-10])
    elif harm == "a link":
        (tmp_path / "elsewhere.png").write_bytes(whole)
        output.symlink_to(tmp_path / "elsewhere.png")

    _, calls, _ = await again(folder, out, monkeypatch)

    assert calls == 1
    assert (tmp_path / "elsewhere.png").exists() == (harm == "a link")


async def test_more_variations_are_made_of_known_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = await finished(tmp_path)

    _, calls, _ = await again(folder, out, monkeypatch, variations=3)

    assert calls == 4


async def test_a_new_photo_among_known_ones_is_the_only_one_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = await finished(tmp_path)
    (folder / "photo-001-new.jpg").write_bytes(jpeg(99))

    ran, calls, opened = await again(folder, out, monkeypatch)

    assert calls == 2
    assert set(opened) == {"photo-001-new.jpg"}
    assert (ran.progress.photos, ran.progress.here, ran.progress.made) == (5, 8, 2)


async def test_a_photo_that_was_refused_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photos(tmp_path / "in", 2)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    await aside(aged, tmp_path / "in")
    async with scripted() as server:
        await run(tmp_path / "in", tmp_path / "out", base_url=server.url, variations=2)

    ran, calls, _ = await again(tmp_path / "in", tmp_path / "out", monkeypatch)

    assert calls == 0
    assert ran.progress.failed_before == 1


async def test_the_limit_counts_known_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = await finished(tmp_path)
    (folder / "z.jpg").write_bytes(jpeg(99))

    ran, calls, _ = await again(folder, out, monkeypatch, limit=3)

    assert calls == 0
    assert ran.progress.photos == 3


@pytest.mark.parametrize(
    "book",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xff\xff", id="garbage"),
        pytest.param(msgspec.msgpack.encode({"version": 99, "looks": {}}), id="newer"),
        pytest.param(
            msgspec.msgpack.encode({"version": 1, "looks": {"photo-000.jpg": b"short"}}), id="short"
        ),
    ],
)
async def test_a_damaged_book_of_looks_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, book: bytes
) -> None:
    folder, out = await finished(tmp_path)
    (out / BOOK).write_bytes(book)

    ran, calls, _ = await again(folder, out, monkeypatch)

    assert calls == 0
    assert ran.progress.here == 8
    _, _, opened = await again(folder, out, monkeypatch)
    assert opened == []


async def test_a_photo_that_changed_a_moment_ago_is_not_believed(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    make_photos(folder, 1)
    async with scripted() as server:
        await run(folder, out, base_url=server.url)

    ledger = await aside(lambda: open_ledger(out, Settings(), force=False))
    try:
        known: Known = ledger.known
        path = folder / "photo-000.jpg"
        assert await aside(known.here, str(path), "photo-000.jpg") is None
    finally:
        await aside(ledger.close)
    assert len(rows(out)) == 1
