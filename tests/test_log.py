"""Rows survive: a torn tail loses only itself, and a full disk loses nothing before it."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest
from anyio import to_thread
from hypothesis import given
from hypothesis import strategies as st

from batch_reimagine.errors import LocalResource
from batch_reimagine.log import Log, open_log, read_lines, repair_tail

# A mark that an editor put before the first row is taken off; no row of ours begins with it.
ROWS = st.lists(
    st.binary(max_size=40)
    .map(lambda raw: raw.replace(b"\n", b" "))
    .filter(lambda raw: not raw.startswith(b"\xef\xbb\xbf")),
    max_size=6,
)


def lines(path: Path) -> list[bytes]:
    return [line for _, line in read_lines(path)]


@contextmanager
def full_disk(limit_bytes: int) -> Iterator[None]:
    """The kernel refuses to let any file of this process grow beyond the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def content(path: Path) -> bytes:
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


@pytest.fixture
def log(path: Path) -> Iterator[Log]:
    log = open_log(path)
    yield log
    log.close()


async def test_a_row_is_there_when_append_returns(log: Log, path: Path) -> None:
    await log.append(b"one")

    assert content(path) == b"one\n"


async def test_rows_keep_the_order_in_which_they_came(log: Log, path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(log.append, b"%d" % number)

    assert lines(path) == [b"%d" % number for number in range(200)]


async def test_a_row_added_soon_goes_with_the_next_one(log: Log, path: Path) -> None:
    log.append_soon(b"end")
    assert content(path) == b""

    await log.append(b"try")

    assert lines(path) == [b"end", b"try"]


async def test_flush_puts_down_what_waits(log: Log, path: Path) -> None:
    log.append_soon(b"end")

    await log.flush()

    assert lines(path) == [b"end"]


async def test_flush_of_nothing_is_nothing(log: Log, path: Path) -> None:
    await log.flush()

    assert content(path) == b""


async def test_a_cancelled_caller_still_leaves_a_whole_row(log: Log, path: Path) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await log.append(b"paid for")

    assert lines(path) == [b"paid for"]


async def test_cancelling_one_of_many_writers_loses_no_row_of_the_others(
    log: Log, path: Path
) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(log.append, b"%d" % number)
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()

    written = lines(path)
    assert written == sorted(written, key=int)
    assert content(path) == b"".join(line + b"\n" for line in written)


async def test_rows_written_before_the_loop_come_first(log: Log, path: Path) -> None:
    await to_thread.run_sync(log.write_now, [b"a", b"b"])
    await log.append(b"c")

    assert lines(path) == [b"a", b"b", b"c"]


def test_an_opened_log_goes_on_where_it_ended(path: Path) -> None:
    path.write_bytes(b"before\n")
    log = open_log(path)
    log.write_now([b"after"])
    log.close()

    assert lines(path) == [b"before", b"after"]


def test_closing_twice_is_closing_once(log: Log) -> None:
    log.close()
    log.close()


def test_a_log_is_not_written_through_a_link(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(LocalResource):
        open_log(path)

    assert not (tmp_path / "elsewhere").exists()


async def test_a_full_disk_takes_back_the_half_row_and_keeps_the_whole_ones(
    log: Log, path: Path
) -> None:
    await log.append(b"whole")

    with full_disk(100), pytest.raises(LocalResource, match="the same command again"):
        await log.append(b"x" * 500)

    assert content(path) == b"whole\n"


async def test_after_a_failed_write_no_row_claims_to_be_on_disk(log: Log, path: Path) -> None:
    with full_disk(100), pytest.raises(LocalResource):
        await log.append(b"x" * 500)

    with pytest.raises(LocalResource):
        await log.append(b"small")

    assert content(path) == b""


async def test_all_who_shared_a_failed_write_are_told(log: Log) -> None:
    told = []

    async def add(row: bytes) -> None:
        try:
            await log.append(row)
        except LocalResource as error:
            told.append(error)

    with full_disk(100):
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(add, b"x" * 200)

    assert len(told) == 20


async def test_flush_tells_of_a_row_that_never_reached_the_disk(log: Log, path: Path) -> None:
    log.append_soon(b"an end that somebody wants flushed")
    with full_disk(100), pytest.raises(LocalResource):
        await log.append(b"x" * 500)

    with pytest.raises(LocalResource):
        await log.flush()

    assert content(path) == b""


def test_write_now_tells_of_a_full_disk_and_takes_the_half_back(path: Path) -> None:
    log = open_log(path)
    with full_disk(100), pytest.raises(LocalResource):
        log.write_now([b"x" * 60, b"y" * 60])
    log.close()

    assert content(path) == b""


def test_a_file_that_is_not_there_has_no_lines(path: Path) -> None:
    assert lines(path) == []


def test_lines_are_numbered_from_one(path: Path) -> None:
    path.write_bytes(b"a\n\nb\ntorn")

    assert list(read_lines(path)) == [(1, b"a"), (2, b""), (3, b"b")]


def test_only_a_line_feed_ends_a_line(path: Path) -> None:
    row = b"a\r\x0b\x0c\x1c\x85\xe2\x80\xa8b"
    path.write_bytes(row + b"\n")

    assert lines(path) == [row]


def test_a_log_torn_at_any_byte_keeps_every_whole_row_and_takes_the_next(path: Path) -> None:
    whole = b'{"a":1}\n{"b":"\xc3\xa9"}\n{"c":[1,2]}\n'
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        kept = whole[:cut].split(b"\n")[:-1]

        removed = repair_tail(path)
        log = open_log(path)
        log.write_now([b'{"next":1}'])
        log.close()

        assert lines(path) == [*kept, b'{"next":1}'], f"cut at {cut}"
        assert removed == cut - sum(len(line) + 1 for line in kept)


@given(before=ROWS, cut=st.integers(0, 300), after=ROWS.filter(bool))
def test_a_torn_log_loses_only_its_last_line(
    before: list[bytes], cut: int, after: list[bytes]
) -> None:
    whole = b"".join(row + b"\n" for row in before)[:cut]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_bytes(whole)

        repair_tail(path)
        log = open_log(path)
        log.write_now(after)
        log.close()

        assert lines(path) == whole.split(b"\n")[:-1] + after


@pytest.mark.parametrize("tail_bytes", [1, 1 << 20, (1 << 20) + 1, 3_000_000])
@pytest.mark.parametrize("head", [b"", b"row\n"], ids=["nothing before", "a row before"])
def test_a_tail_longer_than_one_look_is_cut_too(path: Path, head: bytes, tail_bytes: int) -> None:
    path.write_bytes(head + b"\0" * tail_bytes)

    assert repair_tail(path) == tail_bytes
    assert content(path) == head


def test_a_whole_log_is_not_touched_by_repair(path: Path) -> None:
    path.write_bytes(b"a\nb\n")
    before = path.stat().st_mtime_ns

    assert repair_tail(path) == 0
    assert path.stat().st_mtime_ns == before
