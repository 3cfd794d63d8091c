"""Many files of rows are one manifest: in the order of time, with no file held open for long."""

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from anyio.to_thread import run_sync as aside
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_reimagine import books, compact, known, manifest
from batch_reimagine.catalogue import Catalogue
from batch_reimagine.errors import OutputMismatch
from batch_reimagine.ledger import open_ledger, read_ledger
from batch_reimagine.naming import STATE_DIR
from batch_reimagine.output import Tree
from batch_reimagine.settings import Settings
from batch_reimagine.shard import Shard
from batch_reimagine.tally import rows_that_count, tally
from batch_reimagine.work import Record
from tests.support import error, make_photos, pictures, run, scripted

SHA = "ab" * 32


def row(time: int, source: str = "a.jpg", status: str = "done", **more: Any) -> Record:
    done = status == "done"
    columns: dict[str, Any] = {
        "run": "r",
        "time": f"2026-01-01T00:00:{time:02d}.000Z",
        "status": status,
        "source": source,
        "source_sha256": SHA,
        "variation": 1,
        "output": f"{source}_v01.png" if done else None,
        "type": "png" if done else None,
        "provider": "simulator",
        "request": "simulator type=png",
    }
    return Record(**columns | more)


def write(root: Path, name: str, *rows: Record | bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [each if isinstance(each, bytes) else manifest.encode(each) for each in rows]
    with path.open("ab") as opened:
        opened.writelines(line + b"\n" for line in lines)
    return path


def read(root: Path) -> list[str]:
    return [each.source for each in books.read_rows(root, lambda _: None)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "out" / STATE_DIR).mkdir(parents=True)
    return tmp_path / "out"


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 59), max_size=6), max_size=6), st.integers(1, 2000))
def test_rows_of_all_files_come_in_the_order_of_their_times(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[int]], piece: int
) -> None:
    root = tmp_path_factory.mktemp("out")
    for number, times in enumerate(files):
        name = f"manifest/shard-{number + 1}-of-9.jsonl" if number else "manifest.jsonl"
        write(root, name, *(row(time, f"{number}-{time}") for time in sorted(times)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(books, "_MOST_PIECE_BYTES", piece)
        found = [int(source.split("-")[1]) for source in read(root)]

    assert found == sorted(time for times in files for time in times)


def test_the_later_row_counts_whatever_file_it_is_in(root: Path) -> None:
    write(root, "manifest.jsonl", row(5, status="exhausted"), row(9, "b.jpg"))
    write(root, "manifest/shard-1-of-2.jsonl", row(7), row(8, "b.jpg", status="exhausted"))

    count = {each.source: each.status for each in rows_that_count(Tree(root), [])}
    catalogue = Catalogue(Tree(root))
    catalogue.follow()

    assert count == {"a.jpg": "done", "b.jpg": "done"}
    assert {product.source: len(product.done) for product in catalogue} == {"a.jpg": 1, "b.jpg": 1}


def test_a_row_keeps_its_number_while_others_are_written(root: Path) -> None:
    files = [
        write(root, f"manifest/shard-{k}-of-2.jsonl", row(k, f"{k}.jpg"), row(20 + k, f"{k}b.jpg"))
        for k in (1, 2)
    ]
    before = dict(books.numbered_rows(files, root, lambda _: None))
    write(root, "manifest/shard-1-of-2.jsonl", row(21, "late.jpg"))  # comes before 2b.jpg

    after = dict(books.numbered_rows(files, root, lambda _: None))

    assert before.items() <= after.items()


def test_more_files_than_a_process_may_have_open_are_read(root: Path) -> None:
    for k in range(1, 401):
        write(root, f"manifest/shard-{k:03d}-of-400.jsonl", row(k % 60, f"{k}.jpg"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/dev/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 30, hard))
    try:
        assert len(read(root)) == 400
        catalogue = Catalogue(Tree(root))
        assert len(catalogue.follow()) == 400
        assert tally(root).photos == 400
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_lines_that_are_no_rows_are_told_by_file_and_line(root: Path) -> None:
    write(root, "manifest.jsonl", row(1), b"{")
    write(root, "manifest/shard-1-of-2.jsonl", b"?", row(2))
    with (root / "manifest/shard-1-of-2.jsonl").open("ab") as opened:
        opened.write(b"a torn tail is no line yet")
    damaged: list[str] = []

    assert len(list(books.read_rows(root, damaged.append))) == 2

    assert sorted(damaged) == ["manifest.jsonl line 2", "manifest/shard-1-of-2.jsonl line 1"]


@pytest.mark.parametrize("what", ["folder", "file", "pipe"])
def test_links_and_pipes_are_no_books(root: Path, tmp_path: Path, what: str) -> None:
    other = write(tmp_path, "elsewhere/shard-1-of-2.jsonl", row(1))
    if what == "folder":
        (root / "manifest").symlink_to(other.parent)
    else:
        write(root, "manifest.jsonl", row(1))
        (root / "manifest").mkdir()
        at = root / "manifest" / "shard-1-of-2.jsonl"
        os.mkfifo(at) if what == "pipe" else at.symlink_to(other)

    with pytest.raises(OutputMismatch, match=r"manifest"):
        read(root)
    with pytest.raises(OutputMismatch, match=r"manifest"):
        Catalogue(Tree(root)).follow()


def test_a_catalogue_follows_files_that_appear_and_grow(root: Path) -> None:
    one, two = "manifest/shard-1-of-2.jsonl", "manifest/shard-2-of-2.jsonl"
    catalogue = Catalogue(Tree(root))
    write(root, one, row(5))
    assert len(catalogue.follow()) == 1
    write(root, two)  # a shard begins: nothing is in it yet
    assert catalogue.follow() == set()
    write(root, two, row(6, "b.jpg"))
    assert len(catalogue.follow()) == 1
    write(root, one, row(7, variation=2, output="a.jpg_v02.png"))
    write(root, two, row(7, "c.jpg"))
    assert len(catalogue.follow()) == 2
    assert {product.source for product in catalogue} == {"a.jpg", "b.jpg", "c.jpg"}
    # From another machine, with what was before: it takes nothing's place.
    write(root, "manifest/pulled.jsonl", row(1, status="exhausted"), row(1, "d.jpg"))
    assert len(catalogue.follow()) == 1
    (root / one).unlink()
    assert {product.source for product in catalogue} == {"a.jpg", "b.jpg", "c.jpg", "d.jpg"}
    catalogue.follow()
    assert {p.source: len(p.done) for p in catalogue} == {
        "a.jpg": 0, "b.jpg": 1, "c.jpg": 1, "d.jpg": 1,
    }  # fmt: skip


def test_a_catalogue_begins_again_where_one_of_its_files_was_put_in_anothers_place(
    root: Path,
) -> None:
    one, two = "manifest/shard-1-of-2.jsonl", "manifest/shard-2-of-2.jsonl"
    write(root, one, row(1), row(2, "gone.jpg"))
    write(root, two, row(3, "b.jpg"))
    catalogue = Catalogue(Tree(root))
    catalogue.follow()
    write(root, "new", row(1)).rename(root / one)

    assert len(catalogue.follow()) == 1

    assert {product.source for product in catalogue} == {"a.jpg", "b.jpg"}


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe a photo without the two seconds that it must have been left alone."""
    monkeypatch.setattr(known, "_SETTLED_NS", 0)


@pytest.mark.usefixtures("at_once")
async def test_rows_that_others_wrote_while_a_shard_ran_are_read_by_its_next_run(
    tmp_path: Path,
) -> None:
    make_photos(tmp_path / "in", 12)
    out = tmp_path / "out"
    async with scripted() as server:
        how: dict[str, Any] = {"base_url": server.url, "provider": "novita"}
        await run(tmp_path / "in", out, **how, shard="1/2")
        first = await aside(lambda: open_ledger(out, Settings(shard="1/2"), force=False))
        await run(tmp_path / "in", out, **how, shard="2/2")
        await aside(first.close)  # what it holds is older than the books of the other
        assert len(pictures(out)) == len(server.seen) == 12
    ledger = await aside(read_ledger, out, Settings(shard="1/2"))
    assert ledger.index.rows == 12


@pytest.mark.usefixtures("at_once")
async def test_a_finished_shard_does_not_read_the_rows_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photos(tmp_path / "in", 12)
    out = tmp_path / "out"
    async with scripted() as server:
        for shard in ("1/2", "2/2", "1/2"):
            await run(tmp_path / "in", out, base_url=server.url, shard=shard)

    def refuse(_: bytes) -> None:
        raise AssertionError("a row was read")

    monkeypatch.setattr(manifest, "decode", refuse)
    ledger = await aside(read_ledger, out, Settings(shard="1/2"))
    assert ledger.index.rows == 12
    photo = str(tmp_path / "in" / mine(1))
    assert await aside(ledger.known.here, photo, mine(1)) == 1


def mine(k: int) -> str:
    return next(n for n in map("photo-{:03d}.jpg".format, range(12)) if Shard(k, 2).has(n))


async def test_a_shard_compacts_its_own_books_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photos(tmp_path / "in", 8)
    out = tmp_path / "out"
    async with scripted(*[error(500, "INTERNAL")] * 24) as server:
        how: dict[str, Any] = {"base_url": server.url, "attempts": 1, "price": "0.5"}
        for shard in ("1/2", "2/2") * 3:
            await run(tmp_path / "in", out, **how, shard=shard)
        others = files_of(out, "2-of-2")
        monkeypatch.setattr(compact, "_SUPERSEDED_ROWS", 4)
        monkeypatch.setattr(compact, "_JOURNAL_BYTES", 100)
        await run(tmp_path / "in", out, **how, shard="1/2")
        assert files_of(out, "2-of-2") == others
        rows, journal = files_of(out, "1-of-2").values()
    ours = sum(map(Shard(1, 2).has, map("photo-{:03d}.jpg".format, range(8))))
    assert [json.loads(line)["status"] for line in rows.splitlines()] == ["done"] * ours
    (line,) = journal.splitlines()
    assert json.loads(line)["calls"] == 4 * ours


def files_of(out: Path, tag: str) -> dict[Path, bytes]:
    paths = [out / "manifest" / f"shard-{tag}.jsonl"]
    paths.append(out / STATE_DIR / f"shard-{tag}" / "attempts.jsonl")
    return {path: path.read_bytes() for path in paths}


@pytest.mark.parametrize("torn", ["rows", "journal"])
async def test_a_torn_tail_of_another_shard_is_neither_read_nor_mended(
    tmp_path: Path, torn: str
) -> None:
    make_photos(tmp_path / "in", 8)
    out = tmp_path / "out"
    async with scripted() as server:
        for shard in ("1/2", "2/2"):
            await run(tmp_path / "in", out, base_url=server.url, shard=shard)
        rows, journal = files_of(out, "2-of-2")
        path = rows if torn == "rows" else journal
        with path.open("ab") as opened:
            opened.write(b'{"half": ')
        before = path.read_bytes()
        ran = await run(tmp_path / "in", out, base_url=server.url, shard="1/2")
        assert (ran.error, path.read_bytes()) == (None, before)
        await run(tmp_path / "in", out, base_url=server.url, shard="2/2")
        assert path.read_bytes() == before.removesuffix(b'{"half": ')
        assert len(server.seen) == 8


@pytest.mark.parametrize("place", [lambda b: b.manifest, lambda b: b.journal, lambda b: b.state])
def test_nothing_is_written_through_a_link(
    tmp_path: Path, place: Callable[[books.Books], Path]
) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    path = place(books.Books.of(out, Shard(1, 2)))
    path.parent.mkdir(parents=True)
    (out / STATE_DIR).mkdir(exist_ok=True)
    if path.name.startswith("shard-") and not path.suffix:
        victim.mkdir()
    else:
        victim.write_bytes(b"of somebody else")
    path.symlink_to(victim)

    with pytest.raises(Exception, match="link"):
        open_ledger(out, Settings(shard="1/2"), force=True)
    assert victim.is_dir() or victim.read_bytes() == b"of somebody else"
    assert not victim.is_dir() or not list(victim.iterdir())
