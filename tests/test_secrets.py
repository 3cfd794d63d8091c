"""The key is in the request's header and nowhere else, whatever a server says or breaks."""

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from batch_reimagine.errors import UsageError
from batch_reimagine.settings import Settings
from tests.hostile import Asked, End, Script, good, hostile, response
from tests.support import jpeg, make_photos, run
from tests.test_cli import COMMAND, ROOT, command, environment, finish
from tests.torture.forks import Forks, forks

KEY = "sk/Test+9Zq7Rk2~LongEnoughToBeReal=0123"
QUOTED_LOWER = re.sub("%..", lambda code: code[0].lower(), quote(KEY, safe=""))
#: What no text may hold: the key as it is, quoted, in base64 at each of its three offsets.
FORMS = {
    "raw": KEY,
    "first 12": KEY[:12],
    "last 12": KEY[-12:],
    "quoted": quote(KEY, safe=""),
    "quoted in lower case": QUOTED_LOWER,
    "base64": base64.b64encode(KEY.encode()).decode().rstrip("=")[:-2],
    "base64url": base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("=")[:-2],
    "base64 behind Bearer": base64.b64encode(f"Bearer {KEY}".encode()).decode()[12:-4],
    "hex": KEY.encode().hex(),
}
ECHOES = {
    "raw": KEY,
    "with its scheme": f"Bearer {KEY}",
    "quoted": quote(KEY, safe=""),
    "quoted in lower case": QUOTED_LOWER,
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 behind Bearer": base64.b64encode(f"Bearer {KEY}".encode()).decode(),
    "first 12": KEY[:12] + "...",
}
STEERING = "\x1b]0;owned\x07\x1b[2J\x00\x9b31m\u202egnp\u2066\u061c\u200f\r\n\x7fend"

Write = Callable[[str], bytes]


def flat(status: int, **fields: Any) -> bytes:
    return response(json.dumps({"code": status, "reason": "X", **fields}).encode(), f"{status} No")


#: Where a server may put what it echoes.
PLACES: dict[str, Write] = {
    "message": lambda text: flat(400, message=f"bad header {text}"),
    "reason": lambda text: flat(400, reason=text),
    "metadata": lambda text: flat(400, metadata={"authorization": text, "a": {"b": [text]}}),
    "a name in metadata": lambda text: flat(400, metadata={text: 1}),
    "task id": lambda text: flat(400, task={"task_id": text}, metadata={"task_id": text}),
    "code": lambda text: flat(400, code=text, message=None),
    "an error page": lambda text: response(f"<html>{text}</html>".encode(), "500 Oh"),
    "an error page of a refusal": lambda text: response(f"<html>{text}</html>".encode(), "418 Oh"),
    "message of a fault": lambda text: flat(500, reason="INTERNAL", message=text),
    "message about the key": lambda text: flat(403, reason="INVALID_API_KEY", message=text),
    "a 200": lambda text: response(json.dumps({"image_file": None, "message": text}).encode()),
    "an image": lambda text: response(json.dumps({"image_file": text}).encode()),
    "reason phrase": lambda text: response(b"", f"500 {text}"),
    "status line": lambda text: f"HTTP/1.1 {text}\r\n\r\n".encode(),
    "no status line": lambda text: f"{text}\r\n\r\n".encode(),
    "a broken header": lambda text: f"HTTP/1.1 200 OK\r\n{text}\r\n\r\n".encode(),
    "a chunk size": lambda text: (
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{text}\r\n"
    ).encode(),
    "Location": lambda text: response(b"", "302 Go", f"Location: http://127.0.0.1:1/?{text}"),
    "Retry-After": lambda text: response(b"", "503 Wait", f"Retry-After: {text}"),
    "Set-Cookie": lambda text: response(b"", "500 Oh", f"Set-Cookie: key={text}; Path=/{text}"),
    "a cookie's name": lambda text: response(b"", "500 Oh", f"Set-Cookie: {text}=1"),
    "a cookie's name with a space": lambda text: response(b"", "500 Oh", f"Set-Cookie: a {text}=1"),
    "Content-Encoding": lambda text: response(b"x", "500 Oh", f"Content-Encoding: {text}"),
    "Content-Type": lambda text: response(b"x", "500 Oh", f"Content-Type: {text}"),
}


def assert_secret(text: str, where: object) -> None:
    found = [form for form, value in FORMS.items() if value in text]
    assert not found, f"{found} in {where}: {text[:600]}"


def assert_no_secret_below(folder: Path) -> None:
    for path in folder.rglob("*"):
        assert_secret(str(path), "a file's name")
        if path.is_file():
            assert_secret(path.read_bytes().decode("latin-1"), path)


def assert_steers_nothing(text: str) -> None:
    """No control character but the line end, no bidi control, nothing unprintable."""
    odd = {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs"}} - {"\n"}
    assert not odd, f"{odd!r} in {text[:600]!r}"


def http_safe(text: str) -> str:
    """For places within the head: a server that puts a line end there only ends the line."""
    return text.replace("\r", "").replace("\n", "")


@dataclass(slots=True)
class Said:
    """What one run of the command said and left behind."""

    code: int
    out: str
    err: str
    output: Path


def everywhere(folder: Path, text: str, *flags: str) -> dict[str, Said]:
    """Run the command against a server that puts text into each of the places, one a run."""

    async def one(lane: Forks, number: int, write: Write) -> Said:
        home = folder / str(number)
        make_photos(home / "photos", 1)
        async with hostile(lambda _: (write(text), 0.02, End.CLOSE)) as api:
            ended = await lane.run(
                *("run", home / "photos", "-o", home / "out", "--base-url", api.url),
                *("--attempts", 1, "--timeout-s", 5, *flags),
                folder=home / "said",
                NOVITA_API_KEY=KEY,
            )
        assert api.asked[0].headers["authorization"] == f"Bearer {KEY}"
        return Said(ended.code, ended.out, ended.err, home / "out")

    async def all_of_them() -> list[Said]:
        lanes: asyncio.Queue[Forks] = asyncio.Queue()

        async def in_turn(number: int, write: Write) -> Said:
            lane = await lanes.get()
            try:
                return await one(lane, number, write)
            finally:
                lanes.put_nowait(lane)

        async with forks(None) as first, forks(None) as second:
            lanes.put_nowait(first)
            lanes.put_nowait(second)
            return await asyncio.gather(*(in_turn(n, w) for n, w in enumerate(PLACES.values())))

    return dict(zip(PLACES, asyncio.run(all_of_them()), strict=True))


@pytest.fixture(scope="module")
def echoed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Said]:
    return everywhere(tmp_path_factory.mktemp("echoed"), " ".join(ECHOES.values()), "-v")


@pytest.fixture(scope="module")
def steered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Said]:
    text = http_safe(STEERING) + "x" * 4000
    return everywhere(tmp_path_factory.mktemp("steered"), text)


@pytest.mark.parametrize("place", PLACES)
def test_a_key_that_a_server_echoes_is_shown_and_stored_nowhere(
    echoed: dict[str, Said], place: str
) -> None:
    said = echoed[place]

    assert said.code in {3, 4, 5}
    assert "Traceback" not in said.err
    assert_secret(said.out, "stdout")
    assert_secret(said.err, "stderr")
    assert_no_secret_below(said.output)


@pytest.mark.parametrize("place", PLACES)
def test_a_servers_text_is_bounded_and_steers_no_terminal(
    steered: dict[str, Said], place: str
) -> None:
    said = steered[place]
    lines = (said.output / "manifest.jsonl").read_text(encoding="utf-8").splitlines()

    assert all(len(line) < 1000 for line in (said.out + said.err).splitlines())
    assert_steers_nothing(said.out + said.err)
    for line in lines:
        assert len(line) < 2000
        for value in json.loads(line).values():
            assert_steers_nothing(str(value).replace("\n", "\0"))


@pytest.mark.parametrize("echo", ECHOES)
async def test_no_event_row_or_error_holds_the_key_in_any_form(tmp_path: Path, echo: str) -> None:
    make_photos(tmp_path / "photos", 6)
    texts = [PLACES[place] for place in ("message", "reason", "metadata", "task id", "code")]

    def choose(_: Asked) -> Script:
        return (texts[len(api.asked) % len(texts)](ECHOES[echo]), End.KEEP)

    async with hostile(choose) as api:
        ran = await run(
            tmp_path / "photos", tmp_path / "out", key=KEY, base_url=api.url, concurrency=1
        )

    assert len(api.asked) >= 5
    assert_secret(repr(ran.records) + repr(ran.notes) + repr(ran.error), "events")
    assert_no_secret_below(tmp_path / "out")


async def test_events_as_json_lines_hold_no_key_and_steer_no_terminal(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 8)
    writes = [PLACES[place] for place in ("message", "reason", "metadata", "task id")]

    def choose(_: Asked) -> Script:
        return (writes[len(api.asked) % 4](f"{STEERING} {KEY}{'x' * 100_000}"), End.KEEP)

    async with hostile(choose) as api:
        arguments = ("run", tmp_path / "photos", "-o", tmp_path / "out", "--base-url", api.url)
        code, out, err = await finish(
            *arguments, "--json", "-v", "--concurrency", 1, NOVITA_API_KEY=KEY
        )

    assert code in {3, 6}, err
    assert_secret(out + err, "--json")
    items = [event for event in map(json.loads, out.splitlines()) if event["event"] == "item"]
    assert len(items) >= 4
    for item in items:
        for value in item.values():
            if isinstance(value, str):
                assert_steers_nothing(value)
                assert len(value) <= 400


async def test_no_process_list_and_no_crash_output_shows_the_key(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 3)
    async with hostile(lambda _: (End.HANG,)) as api:
        process = subprocess.Popen(
            [
                *(sys.executable, "-X", "dev", "-X", "faulthandler", *COMMAND[1:], "run"),
                *(str(tmp_path / "photos"), "-o", str(tmp_path / "out")),
                *("--base-url", api.url, "-v"),
            ],
            env=environment(
                NOVITA_API_KEY=KEY, PYTHONASYNCIODEBUG="1", HTTP_PROXY="http://127.0.0.1:9"
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            preexec_fn=_no_core,  # noqa: PLW1509 - one thread that starts it
        )
        async with asyncio.timeout(20):
            while len(api.asked) < 3:
                await asyncio.sleep(0.02)
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode("latin-1")
        title = Path(f"/proc/{process.pid}/comm").read_text(encoding="utf-8")
        process.send_signal(signal.SIGABRT)
        out, err = await asyncio.to_thread(process.communicate, timeout=20)

    assert process.returncode == -signal.SIGABRT
    assert b"Current thread" in err
    assert_secret((out + err).decode("latin-1"), "crash output")
    assert_secret(shown + title, "the process list")
    assert_no_secret_below(tmp_path)


def _no_core() -> None:
    import resource  # noqa: PLC0415 - in the child

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


async def test_the_interpreters_own_debugging_shows_no_key(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 4)

    def choose(asked: Asked) -> Script:
        bad = [
            (flat(500, message=asked.head), End.KEEP),
            (response(b"", f"500 {KEY}", f"Set-Cookie: a={KEY}; x"), End.KEEP),
            (response(b"{}")[:-1], End.RESET),
        ]
        return bad[len(api.asked) % 3] if asked.nth == 1 else good(asked)

    async with hostile(choose) as api:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-X", "dev", "-W", "always", *COMMAND[1:], "run"),
            *(str(tmp_path / "photos"), "-o", str(tmp_path / "out"), "--base-url", api.url, "-v"),
            env=environment(NOVITA_API_KEY=KEY, PYTHONASYNCIODEBUG="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            out, err = await process.communicate()

    assert process.returncode == 0, err
    assert b"Traceback" not in err
    assert_secret((out + err).decode("utf-8"), "debug output")
    assert_no_secret_below(tmp_path / "out")


async def test_a_proxy_of_the_environment_sees_neither_key_nor_photo(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 2)
    async with hostile(good) as proxy, hostile(good) as api:
        variables = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY")
        code, out, err = await finish(
            *("run", tmp_path / "photos", "-o", tmp_path / "out", "--base-url", api.url),
            NOVITA_API_KEY=KEY,
            **dict.fromkeys(variables, proxy.url),
        )

    assert code == 0, err
    assert sum(asked.line.startswith("POST") for asked in api.asked) == 2
    assert proxy.connections == 0
    assert_secret(out + err, "output")


MALFORMED = {
    "a space within": f"{KEY} {KEY}",
    "a line end within": f"{KEY}\n{KEY}",
    "a header injected": f"{KEY}\r\nX-Evil: 1",
    "not ASCII": f"{KEY}é",
    "no UTF-8": os.fsdecode(KEY.encode() + b"\xff"),
    "an escape": f"{KEY}\x1b[2J",
    "invisible": f"{KEY}\u200b{KEY}",
}


@pytest.mark.parametrize("kind", MALFORMED)
async def test_a_malformed_key_is_refused_unseen_and_nothing_is_sent(
    tmp_path: Path, kind: str
) -> None:
    make_photos(tmp_path / "photos", 1)
    async with hostile(good) as api:
        code, out, err = await finish(
            *("run", tmp_path / "photos", "-o", tmp_path / "out", "--base-url", api.url),
            NOVITA_API_KEY=MALFORMED[kind],
        )

    assert code in {2, 4}
    assert api.connections == 0
    assert "key" in err
    assert "Traceback" not in err
    assert_secret(out + err, "the refusal")
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


@pytest.mark.parametrize("value", ["", " \n "])
async def test_an_empty_key_is_told_and_nothing_is_sent(tmp_path: Path, value: str) -> None:
    make_photos(tmp_path / "photos", 1)
    async with hostile(good) as api:
        code, _, err = await finish(
            *("run", tmp_path / "photos", "-o", tmp_path / "out", "--base-url", api.url),
            NOVITA_API_KEY=value,
        )

    assert code == 4
    assert "NOVITA_API_KEY" in err
    assert api.connections == 0


def test_a_key_put_where_settings_go_is_refused_without_being_shown(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 1)
    (tmp_path / "s.toml").write_text(f'api_key = "{KEY}"\n')
    (tmp_path / "broken.toml").write_text(f'api_key = "{KEY}\n')
    (tmp_path / "key").write_bytes(KEY.encode() + b"\xff\xfe")
    common = ("run", tmp_path / "photos", "-o", tmp_path / "out")
    said = [
        command(*common, "--config", tmp_path / "s.toml"),
        command(*common, "--config", tmp_path / "broken.toml"),
        command(*common, BATCH_REIMAGINE_API_KEY=KEY),
        command(*common, NOVITA_API_KEY="", NOVITA_API_KEY_FILE=str(tmp_path / "key")),
    ]

    for ended in said:
        assert ended.returncode == 2
        assert_secret(ended.stdout + ended.stderr, ended.args)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(f"secret_access_key={KEY}", id="a text for a list"),
        pytest.param({"secret_access_key": KEY}, id="a table"),
        pytest.param([KEY.replace("=", "")], id="no name"),
        pytest.param(["region=eu", f"={KEY}"], id="an empty name"),
    ],
)
def test_what_a_store_is_told_is_repeated_in_no_message(value: Any) -> None:
    with pytest.raises(UsageError, match="store_option") as raised:
        Settings(store_option=value)
    assert_secret(str(raised.value), "the message")
    assert_secret(repr(Settings(store_option=(f"secret_access_key={KEY}",))), "the settings")


@pytest.mark.parametrize(
    "address",
    [
        f"http://me:{KEY}@host",
        f"http://me:{KEY}/x@host",
        f"http://me:x?{KEY}@host",
        f"http://host/?key={KEY}",
        f"http://host:{KEY}",
        f"http://host:{KEY}/path",
        f"me:{KEY}@host",
        KEY,
    ],
)
def test_an_address_with_a_secret_is_refused_without_it(address: str) -> None:
    with pytest.raises(UsageError, match="base_url") as raised:
        Settings(base_url=address)
    assert_secret(str(raised.value), "the message")


@pytest.mark.parametrize("command_name", ["status", "verify", "run"])
async def test_no_later_command_shows_the_key(tmp_path: Path, command_name: str) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg(1))
    out = tmp_path / "out"
    async with hostile(lambda asked: (flat(400, reason=KEY, message=asked.head), End.KEEP)) as api:
        common = ("run", tmp_path / "photos", "-o", out, "--base-url", api.url)
        await finish(*common, NOVITA_API_KEY=KEY)
        arguments = common if command_name == "run" else (command_name, out)
        _, said, err = await finish(*arguments, NOVITA_API_KEY=KEY)

    assert_secret(said + err, command_name)
    assert str(ROOT) not in (out / "manifest.jsonl").read_text(encoding="utf-8")
