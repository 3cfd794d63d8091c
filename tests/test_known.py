"""A resume does not read photos that are as they were, and is never fooled by one that is not."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from anyio.to_thread import run_sync as aside

from batch_reimagine import known, reading, walk
from batch_reimagine.engine import Stop
from batch_reimagine.errors import OutputMismatch
from batch_reimagine.known import FILE
from batch_reimagine.ledger import open_ledger
from batch_reimagine.settings import Settings
from tests.support import Ran, jpeg, make_photos, pictures, rows, run, scripted

BOOK = Path(".batch-reimagine") / FILE


@pytest.fixture(autouse=True)
def _at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe a photo without the two seconds that it must have been left alone."""
    if "a_moment_ago" not in request.node.name:
        monkeypatch.setattr(known, "_SETTLED_NS", 0)


async def finished(tmp_path: Path, photos: int = 4, **settings: Any) -> tuple[Path, Path]:
    """A finished job whose photos are known."""
    folder, out = tmp_path / "in", tmp_path / "out"
    make_photos(folder, photos)
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

    with monkeypatch.context() as patch:
        for module in (reading, walk):
            patch.setattr(module.os, "open", watch)
        async with scripted() as server:
            ran = await run(folder, out, base_url=server.url, **{"variations": 2, **settings})
            calls = len(server.seen)
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


def framed(*pieces: Any) -> bytes:
    """A book as the tool writes it, whatever it says."""
    packed = [msgspec.msgpack.encode(piece) for piece in pieces]
    return b"".join(len(piece).to_bytes(4, "big") + piece for piece in packed)


def head(out: Path, version: int = 1) -> dict[str, Any]:
    found = (out / "manifest.jsonl").stat()
    manifest = [found.st_ino, found.st_size, found.st_mtime_ns]
    request = "novita type=png"
    return {
        "version": version,
        "request": request,
        "manifest": manifest,
        "rows": 8,
        "superseded": 0,
    }


BOOKS: dict[str, Callable[[Path], bytes]] = {
    "empty": lambda _: b"",
    "garbage": lambda _: b"\xff" * 99,
    "newer": lambda out: framed(head(out, 99), []),
    "cut": lambda out: (out / BOOK).read_bytes()[:-7],
    "no line": lambda out: framed(head(out), [["photo-000.jpg"]]),
    "a base outside": lambda out: framed(
        head(out), [["photo-000.jpg", "../../escaped", bytes(32), b"\1", bytes(4), b""]]
    ),
    "sizes missing": lambda out: framed(
        head(out), [["photo-000.jpg", "photo-000", bytes(32), b"\1\1", bytes(4), b""]]
    ),
    "a link": lambda _: b"link",
}


@pytest.mark.parametrize("kind", BOOKS)
async def test_a_damaged_book_of_looks_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    folder, out = await finished(tmp_path)
    book = BOOKS[kind](out)
    (out / BOOK).unlink()
    if kind == "a link":
        (out / BOOK).symlink_to(tmp_path / "nowhere")
    else:
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
        path = folder / "photo-000.jpg"
        assert await aside(ledger.known.here, str(path), "photo-000.jpg") is None
    finally:
        await aside(ledger.close)
    assert len(rows(out)) == 1


async def test_a_manifest_that_somebody_changed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = await finished(tmp_path)
    manifest = out / "manifest.jsonl"
    manifest.write_bytes(b"".join(manifest.read_bytes().splitlines(keepends=True)[:-1]))
    gone = {f"photo-00{n}_v0{v}.png" for n in range(4) for v in (1, 2)}
    gone -= {row["output"] for row in rows(out)}
    for name in gone:
        (out / name).unlink()

    ran, calls, _ = await again(folder, out, monkeypatch)

    assert calls == 1
    assert ran.progress.here == 7


async def test_rows_of_a_run_that_knew_all_are_known_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = await finished(tmp_path)
    await again(folder, out, monkeypatch, variations=3)

    ran, calls, opened = await again(folder, out, monkeypatch, variations=3)

    assert (calls, opened, ran.progress.here) == (0, [], 12)


async def test_other_settings_are_refused_as_ever(tmp_path: Path) -> None:
    folder, out = await finished(tmp_path)

    ran = await run(folder, out, type="webp")

    assert isinstance(ran.error, OutputMismatch)
    assert "type=png" in str(ran.error)


async def test_a_stop_ends_the_plan_too(tmp_path: Path) -> None:
    folder, out = await finished(tmp_path)
    stop = Stop()
    stop.request("enough")

    async with scripted() as server:
        ran = await run(folder, out, base_url=server.url, variations=2, stop=stop)

    (plan,) = ran.plans
    assert not plan.complete
    assert plan.photos == 0
