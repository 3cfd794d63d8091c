"""`doctor` on machines and services of many kinds: what it says, and its exit code."""

import json
import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine import doctor
from batch_reimagine.cli import main
from batch_reimagine.doctor import Check, examine
from batch_reimagine.keys import Key
from batch_reimagine.settings import Settings
from tests.providing import another_package
from tests.serving import Service, commands_alone  # noqa: F401 - a fixture
from tests.support import KEY, error, good, scripted
from tests.torture.full import NoMountError, small_disk


@pytest.fixture(scope="module")
def one_service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


@pytest.fixture
def service(one_service: Service) -> Service:
    one_service.behave(balance=None)
    return one_service


Doctor = Callable[..., tuple[int, str]]

#: A provider that says nothing of what a call without a photo does.
OTHER = """
from dataclasses import replace
from batch_reimagine.provider import PROVIDERS
PROVIDER = replace(PROVIDERS["clipdrop"], name="other", knocks=False)
"""

pytestmark = pytest.mark.usefixtures("commands_alone")


@pytest.fixture
def ask(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Doctor:
    def asked(*arguments: object, **env: str) -> tuple[int, str]:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        code = main(["doctor", *map(str, arguments)])
        said = capfd.readouterr()
        assert said.err == ""
        assert KEY not in said.out
        return code, said.out

    return asked


def named(checks: list[Check]) -> Mapping[str, Check]:
    return {check.name: check for check in checks}


def test_with_a_right_key_all_is_well(service: Service, ask: Doctor) -> None:
    service.behave(balance=250)
    code, said = ask("--base-url", service.url, "--price", "0.02", NOVITA_API_KEY=KEY)

    assert code == 0
    assert "ok       key: from the environment variable NOVITA_API_KEY" in said
    assert "does not refuse the key" in said
    assert "balance: 2.5 USD, about 125 pictures at 0.02" in said
    assert "setting  price = 0.02 (--price)" in said
    assert "failed" not in said


def test_a_wrong_key_is_4_and_said_once(service: Service, ask: Doctor) -> None:
    code, said = ask("--base-url", service.url, NOVITA_API_KEY="sk_wrong_0123456789")

    assert code == 4
    assert said.count("INVALID_API_KEY") == 1
    assert "auth set novita" in said


def test_no_key_is_4_and_the_way_out_is_told(service: Service, ask: Doctor, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"NOVITA_API_KEY={KEY}\n")
    code, said = ask("--base-url", service.url)

    assert code == 4
    assert "there is none (there is a .env here; it is not read by itself)" in said
    assert "set NOVITA_API_KEY, or keep it once: batch-reimagine auth set novita" in said
    assert said.count("failed") == 1
    assert KEY not in said


def test_without_a_network_it_is_5(ask: Doctor) -> None:
    code, said = ask("--base-url", "http://127.0.0.1:9", NOVITA_API_KEY=KEY)

    assert code == 5
    assert "failed   service: http://127.0.0.1:9 cannot be reached" in said


def test_an_empty_balance_is_4_though_the_key_is_right(service: Service, ask: Doctor) -> None:
    service.behave(balance=0)
    code, said = ask("--base-url", service.url, NOVITA_API_KEY=KEY)

    assert code == 4
    assert "failed   balance: 0 USD: nothing can be paid" in said
    assert "ok       service" in said


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_takes_no_megabyte_is_9_and_nothing_is_left_on_it(
    ask: Doctor, tmp_path: Path
) -> None:
    with file_size_limit(500_000):
        code, said = ask("--provider", "simulator", "-o", tmp_path / "out")

    assert code == 9
    assert "cannot be written: File too large" in said
    assert "make room" in said
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_9(ask: Doctor, tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "disk", 1000) as disk:
            (disk / "big").write_bytes(bytes(600_000))
            code, said = ask("--provider", "simulator", "-o", disk / "out")
            assert [path.name for path in disk.iterdir()] == ["big"]
            (disk / "big").unlink()
            (disk / "small").write_bytes(b"")
            nearly, nearly_said = ask("--provider", "simulator", "-o", disk / "out")
    except NoMountError as error:
        pytest.skip(str(error))

    assert (code, nearly) == (9, 9)
    assert "No space left on device" in said
    assert "No space left on device" in nearly_said or "0.0 GB free" in nearly_said


def test_an_output_that_is_a_file_or_below_one_is_9(ask: Doctor, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for output in ("file", "file/out", "/proc/out"):
        code, said = ask("--provider", "simulator", "-o", output)
        assert code == 9, said


def test_the_first_of_4_5_9_wins(ask: Doctor) -> None:
    code, _ = ask("--base-url", "http://127.0.0.1:9", "-o", "/proc/out", NOVITA_API_KEY=KEY)
    assert code == 5
    code, _ = ask("--base-url", "http://127.0.0.1:9", "-o", "/proc/out", NOVITA_API_KEY="")
    assert code == 4


def test_json_holds_every_check_and_every_setting_with_its_origin(
    service: Service, ask: Doctor, tmp_path: Path
) -> None:
    (tmp_path / "s.toml").write_text('rpm = 30\nprice = "0.5"\nexclude = ["drafts/"]\n')
    code, said = ask(
        "--json", "--base-url", service.url, "--config", "s.toml", "--price", "0.25",
        NOVITA_API_KEY=KEY, BATCH_REIMAGINE_ATTEMPTS="3",
    )  # fmt: skip
    told = json.loads(said)

    assert (code, told["exit"]) == (0, 0)
    assert [check["name"] for check in told["checks"]] == [
        "versions", "key", "service", "clock", "balance", "output", "codecs"
    ]  # fmt: skip
    settings = told["settings"]
    assert settings.keys() == set(Settings.__dataclass_fields__)
    assert settings["rpm"] == {"value": 30.0, "origin": "s.toml"}
    assert settings["price"] == {"value": "0.25", "origin": "--price"}
    assert settings["attempts"] == {"value": 3, "origin": "BATCH_REIMAGINE_ATTEMPTS"}
    assert settings["exclude"] == {"value": ["drafts/"], "origin": "s.toml"}
    assert settings["concurrency"] == {"value": 32, "origin": "default"}
    assert KEY not in said


def test_what_a_store_is_told_is_shown_by_name_alone(ask: Doctor) -> None:
    options = ("--store-option", f"aws_secret_access_key={KEY}", "--store-option", "region=eu")
    for more in ((), ("--json",), ("-v",)):
        code, said = ask("--provider", "simulator", *options, *more)

        assert code == 0
        assert "aws_secret_access_key=…" in said
        assert "region=eu" not in said  # and nothing of KEY: the fixture looks


def test_a_call_that_is_not_known_to_be_free_is_not_made(
    service: Service, ask: Doctor, tmp_path: Path
) -> None:
    assert service.server is not None
    before = service.server.stats()["by_contract"]
    with another_package(tmp_path / "site", "other", OTHER):
        code, said = ask("--provider", "other", "--base-url", service.url, CLIPDROP_API_KEY=KEY)
        gone, _ = ask("--provider", "other", "--base-url", "http://127.0.0.1:9")

    assert (code, gone) == (0, 5)
    assert "unknown  service:" in said
    assert "no call to other is known to buy nothing" in said
    assert service.server.stats()["by_contract"] == before


def test_a_key_file_that_others_may_read_is_4(
    service: Service, ask: Doctor, tmp_path: Path
) -> None:
    path = tmp_path / "batch-reimagine" / "keys" / "novita"
    path.parent.mkdir(parents=True)
    path.write_text("x")
    path.chmod(0o644)
    code, said = ask("--base-url", service.url, XDG_CONFIG_HOME=str(tmp_path))

    assert code == 4
    assert "chmod 600" in said


@pytest.fixture
def asked() -> Callable[..., Any]:
    async def examined(*answers: Any, headers: dict[str, str] | None = None, key: str = KEY) -> Any:
        async with scripted(*answers, headers=headers, gets=True) as api:
            settings = Settings(base_url=api.url)
            found = await examine(settings, Key(key, "a test"), None, timeout_s=5)
            return named(found), api.seen

    return examined


NO_PHOTO = error(400, "INVALID_REQUEST_BODY")


@pytest.mark.parametrize(
    ("hours", "state", "says"),
    [
        (0, "ok", "0 s|1 s"),
        (-1, "warning", "3600 s ahead|3601 s ahead"),
        (2, "warning", "behind"),
    ],
)
async def test_a_clock_that_is_off_is_told(
    asked: Callable[..., Any], hours: int, state: str, says: str
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=hours), usegmt=True)
    checks, _ = await asked(NO_PHOTO, headers={"Date": date})

    assert checks["clock"].state == state
    assert any(word in checks["clock"].text for word in says.split("|"))


@pytest.mark.parametrize(
    ("answer", "state", "who"),
    [
        pytest.param(NO_PHOTO, "ok", None, id="it complains of the photo"),
        pytest.param(error(404, "API_NOT_FOUND"), "failed", "service", id="the call is retired"),
        pytest.param((302, b""), "failed", "service", id="a redirect"),
        pytest.param((502, b"<html>"), "failed", "service", id="a gateway's page"),
        pytest.param(error(429, "RATE_LIMIT_EXCEEDED"), "warning", None, id="busy"),
        pytest.param(error(400, "BILLING_BALANCE_NOT_ENOUGH"), "failed", "account", id="no money"),
    ],
)
async def test_the_call_itself_is_looked_at_not_only_the_balance(
    asked: Callable[..., Any], answer: Any, state: str, who: str | None
) -> None:
    checks, seen = await asked(answer, (200, {"availableBalance": "10000"}))

    assert (checks["service"].state, checks["service"].who) == (state, who)
    assert checks["balance"].text.startswith("1 USD")
    assert [(one.path, one.body) for one in seen] == [
        ("/v3/reimagine", b"{}"), ("/openapi/v1/billing/balance/detail", b"")
    ]  # fmt: skip


async def test_a_server_of_ones_own_without_a_balance_is_no_failure(
    asked: Callable[..., Any],
) -> None:
    checks, _ = await asked(NO_PHOTO, error(404, "API_NOT_FOUND"))

    assert checks["balance"].state == "unknown"
    assert not any(check.state == "failed" for check in checks.values())


async def test_a_key_that_cannot_stand_in_a_header_is_not_shown(asked: Callable[..., Any]) -> None:
    checks, seen = await asked(good(), key=f"{KEY} {KEY}")

    assert checks["key"].state == "failed"
    assert KEY not in str(checks)
    assert seen == []


def test_a_missing_codec_that_photos_need_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import features  # noqa: PLC0415 - to play an odd build of it

    has = features.check
    monkeypatch.setattr(features, "check", lambda name: name != "jpg" and bool(has(name)))
    (check,) = doctor._codecs(Settings())

    assert (check.state, check.who) == ("failed", "local")
    assert "not JPEG" in check.text
