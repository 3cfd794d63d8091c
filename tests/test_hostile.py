"""A broken or hostile server: one counted attempt, bounded, never kept, never followed."""

import asyncio
import base64
import bz2
import gzip
import hashlib
import io
import json
import re
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batch_reimagine import client
from batch_reimagine.errors import ServiceGone
from batch_reimagine.provider import PROVIDERS
from tests.hostile import Asked, End, Script, answer, for_ever, good, hostile, picture, response
from tests.support import KEY, jpeg, pictures, rows, run
from tests.test_cli import environment

FIRST_WIDTH = 20  # of the first photo; each further one is a pixel wider
CAP_BYTES = 96_000_000  # of one answer
SLACK_BYTES = 12_000_000  # what lies in the kernel's buffers between the two
MOST_MB = 500.0
TIMEOUT_S = 1.0

FINE = answer(picture(1))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def make(folder: Path, count: int) -> Path:
    """Photos that a server can tell apart by their width."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:03d}.jpg").write_bytes(jpeg(number, (FIRST_WIDTH + number, 16)))
    return folder


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def ihdr(width: int, height: int) -> bytes:
    """A PNG of that size, whole as far as its checksums tell."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 99)), (b"IEND", b"")):
        crc = zlib.crc32(kind + data)
        parts.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc))
    return b"".join(parts)


def encoded(type_: str, size: tuple[int, int], **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (9, 90, 200)).save(out, type_, **options)
    return out.getvalue()


def jpeg_of_size(width: int, height: int) -> bytes:
    """A small JPEG that claims to be of another size."""
    data = bytearray(encoded("JPEG", (16, 16)))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_of_size(width: int, height: int) -> bytes:
    """An extended WebP whose canvas is of that size; its one frame is small."""
    frame = encoded("WEBP", (16, 16), lossless=True)[12:]
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    chunks = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + canvas + frame
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def json_answer(**fields: Any) -> bytes:
    return response(json.dumps(fields).encode())


WHOLE = picture(3)
OTHERS = {
    "gzip": gzip.compress(FINE),
    "deflate": zlib.compress(FINE),
    "br": b"\x1b" + FINE,
    "zstd": b"\x28\xb5\x2f\xfd" + FINE,
    "bzip2": bz2.compress(FINE),
}

#: Each is what a server does with the first request for one photo; it then behaves.
BROKEN: dict[str, Script] = {
    "hang before the headers": (End.HANG,),
    "hang within the status line": (b"HTTP/1.1 2", End.HANG),
    "hang within the headers": (HEAD, End.HANG),
    "hang after the headers": (HEAD + b"Content-Length: 900\r\n\r\n", End.HANG),
    "hang within the body": (response(FINE)[:-9], End.HANG),
    "hang within a chunk": (CHUNKED + b"ff\r\n{", End.HANG),
    "hang after the last chunk but one": (CHUNKED + chunk(FINE), End.HANG),
    "headers byte by byte": tuple(x for b in HEAD for x in (bytes([b]), 0.3)),
    "body byte by byte": (
        response(FINE)[:-60],
        *(x for b in FINE[-60:] for x in (bytes([b]), 0.3)),
    ),
    "closed before anything": (End.CLOSE,),
    "closed within the headers": (HEAD, End.CLOSE),
    "closed within the body": (response(FINE)[:-1], End.CLOSE),
    "closed within a body without length": (HEAD + b"\r\n" + FINE[:-1], End.CLOSE),
    "closed within a chunk": (CHUNKED + chunk(FINE)[:-9], End.CLOSE),
    "closed before the last chunk": (CHUNKED + chunk(FINE), End.CLOSE),
    "a chunk size that is no number": (CHUNKED + b"zz\r\n" + FINE, End.CLOSE),
    "a negative chunk size": (CHUNKED + b"-5\r\n" + FINE, End.CLOSE),
    "a chunk size of 30 digits": (CHUNKED + b"f" * 30 + b"\r\n" + FINE, End.HANG),
    "a chunk longer than its size": (CHUNKED + b"5\r\n" + FINE + b"\r\n0\r\n\r\n", End.CLOSE),
    "a chunk without its line end": (CHUNKED + b"2\r\n{}0\r\n\r\n", End.CLOSE),
    "wrong JSON": (response(b'{"image_file": "'),),
    "no JSON": (response(b"\x00\xff\xfe"),),
    "nothing at all in the body": (response(b""),),
    "204 and nothing": (response(b"", "204 No Content"),),
    "206 and a part": (response(FINE[:90], "206 Partial Content"),),
    "no image": (json_answer(image_type="png", task={"task_id": "t"}),),
    "an empty image": (json_answer(image_file="", image_type="png"),),
    "an image that is null": (json_answer(image_file=None),),
    "an image that is a number": (json_answer(image_file=7),),
    "an image in a list": (json_answer(image_file=[FINE.decode()]),),
    "JSON that is a list": (response(b"[" + FINE + b"]"),),
    "JSON nested beyond measure": (response(b'{"task":' + b"[" * 200_000),),
    "bad base64": (json_answer(image_file="!!!" + base64.b64encode(WHOLE).decode()),),
    "base64 with a line break": (json_answer(image_file="iVBORw0K\nGgo="),),
    "base64 cut": (json_answer(image_file=base64.b64encode(WHOLE).decode()[:-3]),),
    "a data URI": (json_answer(image_file="data:image/png;base64,AAAA"),),
    "HTML": (response(b"<html>welcome to the hotel network</html>"),),
    "HTML in base64": (response(answer(b"<html></html>")),),
    "half a PNG": (response(answer(WHOLE[: len(WHOLE) // 2])),),
    "a PNG without its last byte": (response(answer(WHOLE[:-1])),),
    "a PNG with a bit turned": (
        response(answer(WHOLE[:45] + bytes([WHOLE[45] ^ 1]) + WHOLE[46:])),
    ),
    "half a JPEG": (response(answer(jpeg(3, (200, 200))[:-400], "jpeg")),),
    "half a WebP": (response(answer(encoded("WEBP", (99, 99))[:-20], "webp")),),
    "a GIF": (response(answer(encoded("GIF", (9, 9)))),),
    "a TIFF": (response(answer(encoded("TIFF", (9, 9)))),),
    "an SVG": (response(answer(b'<svg xmlns="http://www.w3.org/2000/svg"/>')),),
    "an error body in a 200": (json_answer(code=500, reason="INTERNAL", message="no"),),
    "an error code alone in a 200": (json_answer(code=503),),
    "an error beside an image": (response(FINE[:-1] + b', "code": 500, "reason": "INTERNAL"}'),),
    **{
        f"a body in {name}": (response(data, "200 OK", f"Content-Encoding: {name}"),)
        for name, data in OTHERS.items()
    },
    "a header line of 100 kB": (HEAD + b"X: " + b"a" * 100_000 + b"\r\n\r\n" + FINE, End.CLOSE),
    "20000 headers": (HEAD + b"".join(b"X-%d: a\r\n" % n for n in range(20_000)), End.HANG),
    "a status line of 100 kB": (response(FINE, "200 " + "a" * 100_000),),
    "a status line without a status": (b"HTTP/1.1\r\n\r\n" + FINE, End.CLOSE),
    "a status that is no number": (response(FINE, "abc OK"),),
    "a status of ten digits": (response(FINE, "2000000000 OK"),),
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", End.HANG),
    "HTTP/0.9": (FINE, End.CLOSE),
    "HTTP/9.9": (response(FINE, version="9.9a"),),
    "zeros": (b"\0" * 4096, End.HANG),
    "100 for ever": (for_ever(b"HTTP/1.1 100 Continue\r\n\r\n" * 50),),
    "103 for ever": (for_ever(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 50),),
    "101": (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", End.HANG),
    "two lengths": (response(FINE, "200 OK", "Content-Length: 5"), End.CLOSE),
    "a negative length": (HEAD + b"Content-Length: -1\r\n\r\n" + FINE, End.CLOSE),
    "a length too short": (HEAD + b"Content-Length: 40\r\n\r\n" + FINE, End.CLOSE),
    "a header without a name": (HEAD + b": x\r\nContent-Length: 2\r\n\r\n{}", End.CLOSE),
    "a NUL in a header": (HEAD + b"X: a\0b\r\nContent-Length: 2\r\n\r\n{}", End.CLOSE),
    "trailers for ever": (CHUNKED + chunk(FINE) + b"0\r\n", for_ever(b"X: abc\r\n" * 500)),
    "status 999": (response(FINE, "999 What"),),
    "a PNG of 30000 x 30000": (response(answer(ihdr(30_000, 30_000))),),
    "a JPEG of 30000 x 30000": (response(answer(jpeg_of_size(30_000, 30_000))),),
    "a WebP of 30000 x 30000": (response(answer(webp_of_size(30_000, 30_000))),),
    "a WebP of 16 million pixels a side": (response(answer(webp_of_size(1 << 24, 255))),),
    "a PNG without pixels": (response(answer(ihdr(0, 9))),),
}
KINDS = list(BROKEN)


@dataclass(slots=True)
class Outcome:
    rows: dict[str, list[dict[str, Any]]]
    asked: list[Asked]
    seconds: float
    out: Path
    error: Exception | None


def fives(folder: Path) -> list[list[Path]]:
    """The photos of a folder, five at a time."""
    paths = sorted(folder.iterdir())
    return [paths[at : at + 5] for at in range(0, len(paths), 5)]


@pytest.fixture(scope="module")
def gauntlet(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Every kind of broken answer, each met by one photo of its own, a few photos a run.

    A few, because a run in which nearly everything fails sends next to nothing more.
    """
    folder = tmp_path_factory.mktemp("gauntlet")
    photos = make(folder / "photos", len(KINDS))

    def choose(asked: Asked) -> Script:
        if asked.nth > 1:
            return good(asked)
        script = BROKEN[KINDS[asked.width - FIRST_WIDTH]]
        return script if isinstance(script[-1], End) else (*script, End.KEEP)

    async def go() -> Outcome:
        async with hostile(choose) as api:
            began = time.monotonic()
            error = None
            for few in fives(photos):
                ran = await run(
                    few, folder / "out", base_url=api.url, timeout_s=TIMEOUT_S, mark=False
                )
                error = error or ran.error
            seconds = time.monotonic() - began
        found: dict[str, list[dict[str, Any]]] = {}
        for row in rows(folder / "out"):
            kind = KINDS[int(Path(row["source"]).stem)]
            found.setdefault(kind, []).append(row)
        return Outcome(found, api.asked, seconds, folder / "out", error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "BACKOFF_S", 0.05)  # the waits grow as ever, from less
        return asyncio.run(go())


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_answer_is_one_counted_attempt_and_the_next_is_good(
    gauntlet: Outcome, kind: str
) -> None:
    width = FIRST_WIDTH + KINDS.index(kind)
    (row,) = gauntlet.rows[kind]

    assert (row["status"], row["attempts"], row["http"][1]) == ("done", 2, 200)
    assert sum(asked.width == width for asked in gauntlet.asked) == 2
    assert row["output_sha256"] == hashlib.sha256(picture(width)).hexdigest()
    assert row["seconds"] < TIMEOUT_S + 4


def test_the_run_through_all_of_them_ends_whole_and_in_time(gauntlet: Outcome) -> None:
    assert gauntlet.error is None
    assert len(pictures(gauntlet.out)) == len(KINDS)
    assert len(gauntlet.asked) == 2 * len(KINDS)
    assert gauntlet.seconds < 60


async def test_a_reset_at_any_byte_of_the_answer_is_one_counted_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "BACKOFF_S", 0.05)
    whole = response(FINE, "200 OK", "Content-Type: application/json")
    head = whole.index(b"\r\n\r\n") + 4
    cuts = sorted({*range(head + 4), *range(head + 4, len(whole), 13), len(whole) - 1})
    photos = make(tmp_path / "photos", len(cuts))

    def choose(asked: Asked) -> Script:
        if asked.nth > 1:
            return good(asked)
        return (whole[: cuts[asked.width - FIRST_WIDTH]], 0.01, End.RESET)

    async with hostile(choose) as api:
        for few in fives(photos):
            ran = await run(few, tmp_path / "out", base_url=api.url, timeout_s=5.0)
            assert ran.error is None
            assert ran.statuses == {"done": len(few)}

    assert {row["attempts"] for row in rows(tmp_path / "out")} == {2}
    assert len(api.asked) == 2 * len(cuts)


async def test_a_connection_closed_while_idle_costs_at_most_a_counted_attempt(
    tmp_path: Path,
) -> None:
    photos = make(tmp_path / "photos", 12)

    def choose(asked: Asked) -> Script:
        """Close just as the next request comes: at once, or a moment later."""
        waits = [0.0, 0.0005, 0.001, 0.002, 0.004]
        return (*good(asked)[:-1], waits[asked.width % len(waits)], End.CLOSE)

    async with hostile(choose) as api:
        ran = await run(photos, tmp_path / "out", base_url=api.url, concurrency=1)

    assert ran.error is None
    made = rows(tmp_path / "out")
    assert len(made) == 12
    assert len(api.asked) <= sum(row["attempts"] for row in made) == ran.progress.calls
    assert all(asked.nth == 1 for asked in api.asked)


async def test_a_request_that_was_read_on_a_dying_connection_is_not_sent_twice_in_one_attempt(
    tmp_path: Path,
) -> None:
    photos = make(tmp_path / "photos", 6)
    served: dict[int, int] = {}

    def choose(asked: Asked) -> Script:
        """Hang up without a word on the first request for every second photo."""
        served[asked.width] = served.get(asked.width, 0) + 1
        return (End.RESET,) if served[asked.width] == 1 and asked.width % 2 else good(asked)

    async with hostile(choose) as api:
        ran = await run(photos, tmp_path / "out", base_url=api.url, concurrency=1)

    assert ran.statuses == {"done": 6}
    assert len(api.asked) == ran.progress.calls > 6
    assert sum(row["attempts"] for row in rows(tmp_path / "out")) == len(api.asked)


@pytest.mark.parametrize("wait_s", [0.0, 0.03], ids=["at once", "while idle"])
@pytest.mark.parametrize("kind", ["a second answer", "noise", "a line end"])
async def test_what_follows_an_answer_is_never_taken_for_the_next_one(
    tmp_path: Path, kind: str, wait_s: float
) -> None:
    photos = make(tmp_path / "photos", 4)
    rest = {
        "a second answer": response(answer(picture(999))),
        "noise": b"\0\xff" * 50,
        "a line end": b"\r\n",
    }[kind]

    def choose(asked: Asked) -> Script:
        (whole, end) = good(asked)
        assert isinstance(whole, bytes)
        if asked.nth > 1:  # an answer with noise behind it may be refused, once
            return (whole, end)
        return (whole + rest, end) if not wait_s else (whole, wait_s, rest, 0.02, end)

    async with hostile(choose) as api:
        # A call every 0.15 s: each connection lies idle while the rest comes.
        ran = await run(
            photos,
            tmp_path / "out",
            base_url=api.url,
            mark=False,
            concurrency=1,
            rpm=400,
            timeout_s=3.0,
        )

    assert ran.error is None
    assert ran.statuses == {"done": 4}
    for row in rows(tmp_path / "out"):
        width = FIRST_WIDTH + int(Path(row["source"]).stem)
        assert row["output_sha256"] == hashlib.sha256(picture(width)).hexdigest(), row["source"]


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
@pytest.mark.parametrize("where", ["another host", "itself", "a file", "nowhere"])
async def test_a_redirect_is_one_attempt_is_never_followed_and_ends_the_run(
    tmp_path: Path, status: int, where: str
) -> None:
    photos = make(tmp_path / "photos", 2)
    bad = True

    def choose(asked: Asked) -> Script:
        if not bad:
            return good(asked)
        target = {
            "another host": f"{other.url}/v3/reimagine",
            "itself": f"{api.url}/v3/reimagine",
            "a file": "file:///etc/passwd",
            "nowhere": "",
        }[where]
        return (response(b"", f"{status} Moved", f"Location: {target}"), End.KEEP)

    async with hostile(good) as other, hostile(choose) as api:
        ran = await run(photos, tmp_path / "out", base_url=api.url, concurrency=1)

        assert isinstance(ran.error, ServiceGone)
        assert len(api.asked) == ran.progress.calls == 1
        assert pictures(tmp_path / "out") == []
        bad = False
        ran = await run(photos, tmp_path / "out", base_url=api.url, concurrency=1)

    assert ran.error is None
    assert ran.statuses == {"done": 2}
    assert len(api.asked) == 3
    assert other.connections == 0


async def test_no_cookie_comes_back_and_nobody_else_sees_the_key_or_a_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make(tmp_path / "photos", 3)

    def choose(asked: Asked) -> Script:
        whole = response(
            answer(picture(asked.width)),
            "200 OK",
            "Set-Cookie: who=me; Path=/",
            f"Alt-Svc: http/1.1='127.0.0.1:{other.port}'",
            f"Link: <{other.url}/a>; rel=preload",
            f"Refresh: 0; url={other.url}",
            f"Content-Location: {other.url}/b",
        )
        return (whole, End.KEEP)

    async with hostile(good) as other, hostile(choose) as api:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, other.url)
        ran = await run(photos, tmp_path / "out", base_url=api.url, concurrency=1)

    assert ran.statuses == {"done": 3}
    assert all("cookie" not in asked.headers for asked in api.asked)
    assert {asked.headers["authorization"] for asked in api.asked} == {f"Bearer {KEY}"}
    assert other.connections == 0


def test_the_judge_never_raises_however_deep_an_answer_is_nested() -> None:
    judge = PROVIDERS["novita"].judge
    for depth in range(1, 1100):
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            nest = opening * depth + (b"1" if opening != b"[" else b"") + closing * depth
            for name in (b"metadata", b"task", b"code", b"message", b"reason"):
                body = (
                    b'{"' + name + b'":' + (nest if name != b"metadata" else b'{"a":' + nest + b"}")
                )
                judge(400, {}, body + b"}")


@pytest.mark.parametrize(
    "number", ["9" * 5000, "-" + "9" * 30, "1e400", "1e-400", "NaN", "1" + "0" * 4299]
)
def test_the_judge_never_raises_at_a_huge_number(number: str) -> None:
    body = f'{{"code": {number}, "reason": null, "metadata": {{"width": {number}}}}}'
    PROVIDERS["novita"].judge(200, {}, body.encode())


# Runs the command and prints its own peak of resident memory (Linux): not ru_maxrss, which
# a process inherits from the one that started it.
_MEASURED = """
import runpy, sys
sys.argv = ["batch-reimagine", *sys.argv[1:]]
try:
    runpy.run_module("batch_reimagine", run_name="__main__")
finally:
    status = open("/proc/self/status").read()
    print("peak", status.partition("VmHWM:")[2].split()[0], file=sys.stderr)
"""

Choose = Callable[[Asked], Script]


def once(script: Script, at_once: int) -> Choose:
    """The first so many photos are met by the script first; all else is a good answer."""
    last = FIRST_WIDTH + at_once
    return lambda asked: script if asked.nth == 1 and asked.width < last else good(asked)


ZEROS = bytes(1 << 18)
JSON_HEAD = HEAD + b"\r\n"


def under_cap() -> Script:
    return response(answer(bytes(69_000_000))), End.KEEP


def small_lists() -> Script:
    body = b'{"code": 500, "metadata": {"a": [' + b"[]," * 10_000_000 + b"[]]}}"
    return b"", response(body), End.KEEP


def bomb() -> Script:
    body = gzip.compress(bytes(200_000_000), 6)
    return response(body, "200 OK", "Content-Encoding: gzip"), End.KEEP


def webp_of_63_mp() -> Script:
    data = encoded("WEBP", (7_990, 8_000), lossless=True, method=0)
    return response(answer(data)), End.KEEP


def jpeg_of_63_mp() -> Script:
    return response(answer(encoded("JPEG", (7_990, 8_000), progressive=True))), End.KEEP


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    ("given", "timeout_s"),  # what takes long to make is made by its own test, not by each worker
    [
        pytest.param(
            (HEAD + b"Content-Length: 8000000000\r\n\r\n", for_ever(ZEROS)), 20, id="8 GB, length"
        ),
        pytest.param((CHUNKED, for_ever(chunk(ZEROS))), 20, id="chunks for ever"),
        pytest.param((JSON_HEAD, for_ever(ZEROS)), 20, id="zeros for ever"),
        pytest.param(under_cap, 20, id="92 MB that are no picture"),
        pytest.param(small_lists, 20, id="30 MB of empty lists, once"),
        pytest.param((HEAD, for_ever(b"X: " + b"a" * 4000 + b"\r\n")), 2, id="headers for ever"),
        pytest.param((HEAD + b"X: ", for_ever(b"a" * 65536)), 2, id="a header without end"),
        pytest.param((for_ever(b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),), 1, id="1xx for ever"),
        pytest.param(
            (response(FINE[:-1]), for_ever(response(b"{}") * 1000)), 2, id="answers for ever"
        ),
        pytest.param(bomb, 9, id="a gzip bomb"),
        pytest.param(
            (response(answer(webp_of_size(16_383, 16_383))), End.KEEP), 20, id="a WebP bomb"
        ),
        pytest.param(webp_of_63_mp, 30, id="a WebP of 63 MP"),
        pytest.param(jpeg_of_63_mp, 30, id="a progressive JPEG of 63 MP"),
    ],
)
async def test_a_huge_answer_takes_bounded_memory_with_eight_at_once(
    tmp_path: Path,
    given: Script | Callable[[], Script],
    timeout_s: float,
    record_property: Callable[[str, Any], None],
) -> None:
    photos = make(tmp_path / "photos", 8)
    script = given() if callable(given) else given
    async with hostile(once(script, 1 if len(script) > 2 else 8)) as api:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _MEASURED, "run", str(photos), "-o", str(tmp_path / "out")),
            *("--base-url", api.url, "--concurrency", "8", "--timeout-s", str(timeout_s)),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        began = time.monotonic()
        try:
            async with asyncio.timeout(40):
                _, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        seconds = time.monotonic() - began
    peak_mb = int(re.findall(rb"peak (\d+)", err)[-1]) / 1024
    record_property("peak_mb", round(peak_mb))
    print(f"peak {peak_mb:.0f} MB, most sent {max(api.sent):,} bytes, {seconds:.1f} s")  # noqa: T201 - the figure

    assert process.returncode == 0, err
    assert len(pictures(tmp_path / "out")) == 8
    assert max(api.sent) < CAP_BYTES + SLACK_BYTES
    assert len(api.asked) <= 16
    assert peak_mb < MOST_MB


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
async def test_a_flood_on_an_idle_connection_takes_bounded_memory(tmp_path: Path) -> None:
    photos = make(tmp_path / "photos", 2)

    def choose(asked: Asked) -> Script:
        if asked.width == FIRST_WIDTH:  # answered at once; then its connection lies idle
            return (*good(asked)[:-1], 0.1, for_ever(response(b"") * 2000))
        return (2.5, *good(asked))

    async with hostile(choose) as api:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _MEASURED, "run", str(photos), "-o", str(tmp_path / "out")),
            *("--base-url", api.url, "--concurrency", "2"),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(30):
                _, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    peak_mb = int(re.findall(rb"peak (\d+)", err)[-1]) / 1024
    print(f"peak {peak_mb:.0f} MB, most sent {max(api.sent):,} bytes")  # noqa: T201 - the figure

    assert process.returncode == 0, err
    assert max(api.sent) < SLACK_BYTES
    assert peak_mb < 200
