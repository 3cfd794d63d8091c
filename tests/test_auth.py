"""`auth`: a key is tested, kept where it is said, shown nowhere, and forgotten."""

import io
import json
import os
import pty
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batch_reimagine.cli import main
from tests.providing import another_package
from tests.serving import Service, commands_alone  # noqa: F401 - a fixture
from tests.support import KEY
from tests.test_doctor import OTHER

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.usefixtures("commands_alone")

Auth = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


@pytest.fixture
def auth(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Auth:
    def asked(*arguments: str, piped: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(piped))
        code = main(["auth", *arguments])
        said = capfd.readouterr()
        assert KEY not in said.out + said.err
        return code, said.out, said.err

    return asked


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "config" / "batch-reimagine" / "keys" / "novita"


def test_a_piped_key_is_tested_kept_for_its_owner_shown_as_kept_and_removed(
    auth: Auth, service: Service, kept: Path
) -> None:
    code, out, _ = auth("set", "novita", "--base-url", service.url, piped=f"{KEY}\nrest\n")
    assert code == 0
    assert "tested: novita takes it; the account has 10000 USD" in out
    assert f"kept in the file {kept}, which only you may read; it is not encrypted" in out
    assert kept.read_text() == f"{KEY}\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600

    code, out, _ = auth("status", "novita")
    assert (code, out) == (0, f"novita: the file {kept}\n")

    code, out, _ = auth("remove", "novita")
    assert (code, out) == (0, f"removed from the file {kept}\n")
    assert not kept.exists()
    assert auth("remove", "novita")[1] == "there was none to remove\n"
    assert auth("status", "novita")[:2] == (4, "novita: none\n")


def test_a_key_that_the_service_refuses_is_not_kept(
    auth: Auth, service: Service, kept: Path
) -> None:
    code, out, err = auth("set", "novita", "--base-url", service.url, piped="sk_wrong_012345\n")

    assert code == 4
    assert out == ""
    assert "INVALID_API_KEY" in err
    assert "The key is not kept" in err
    assert not kept.exists()


def test_a_key_that_cannot_be_tested_is_kept_only_on_request(auth: Auth, kept: Path) -> None:
    nowhere = ("--base-url", "http://127.0.0.1:9")
    code, _, err = auth("set", "novita", *nowhere, piped=KEY)
    assert code == 5
    assert "--no-test" in err
    assert not kept.exists()

    assert auth("set", "novita", *nowhere, "--no-test", piped=KEY)[0] == 0
    assert kept.read_text() == f"{KEY}\n"


def test_a_service_without_a_balance_is_called_without_a_photo(
    auth: Auth, service: Service
) -> None:
    asked = ("set", "clipdrop", "--base-url", service.url)
    assert auth(*asked, piped="wrong-key-0123456")[0] == 4
    code, out, _ = auth(*asked, piped=KEY)

    assert code == 0
    assert f"tested: {service.url}/reimagine/v1/reimagine does not refuse it" in out
    assert service.server is not None
    assert service.server.stats()["paid"] == 0


def test_a_server_of_ones_own_is_tested_only_where_it_is_known(auth: Auth) -> None:
    code, out, _ = auth("set", "reimagine", piped=KEY)

    assert code == 0
    assert "not tested: reimagine is a server of your own" in out


def test_the_variable_comes_first_and_auth_says_so(
    auth: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOVITA_API_KEY", KEY)
    assert "note: NOVITA_API_KEY is set, and comes before it" in auth(
        "set", "novita", "--no-test", piped=KEY[::-1]
    )[1]  # fmt: skip
    said = auth("status", "novita")[1]
    assert said.startswith("novita: the environment variable NOVITA_API_KEY; the file ")
    assert said.endswith("has one too, not used\n")
    assert "NOVITA_API_KEY is still set" in auth("remove", "novita")[1]


def test_status_of_all_is_no_failure_and_has_a_json_form(auth: Auth) -> None:
    auth("set", "novita", "--no-test", piped=KEY)
    code, out, _ = auth("status", "--json")
    found = {one["provider"]: one for one in json.loads(out)["keys"]}

    assert code == 0
    assert found["novita"]["origin"].endswith("keys/novita")
    assert found["clipdrop"]["origin"] is None
    assert "simulator" not in found


def test_a_package_that_is_broken_has_its_own_line_and_spoils_no_other(
    auth: Auth, tmp_path: Path
) -> None:
    with another_package(tmp_path / "site", "broken", "raise RuntimeError('no such thing')"):
        code, out, err = auth("status")
        told = json.loads(auth("status", "--json")[1])["keys"]
        alone = auth("status", "broken")

    assert (code, err) == (0, "")
    lines = dict(line.split(": ", 1) for line in out.splitlines())
    assert lines["novita"] == "none"
    assert "cannot be loaded" in lines["broken"]
    assert "no such thing" in lines["broken"]
    assert told[-1]["provider"] == "broken"
    assert "no such thing" in told[-1]["error"]
    assert (alone[0], "no such thing" in alone[2]) == (2, True)


def test_a_key_file_that_others_may_read_has_its_own_line_and_spoils_no_other(
    auth: Auth, kept: Path
) -> None:
    auth("set", "novita", "--no-test", piped=KEY)
    kept.chmod(0o644)
    code, out, err = auth("status")

    lines = dict(line.split(": ", 1) for line in out.splitlines())
    assert (code, err) == (0, "")
    assert "chmod 600" in lines["novita"]
    assert lines["clipdrop"] == "none"
    assert auth("status", "novita")[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [("set", KEY), ("set", "novita", KEY), (KEY,), ("status", KEY), ("remove", f"{KEY}.x/y"),
     ("set", "novita", "--where", KEY), ("set", "novita", f"--key={KEY}")],
)  # fmt: skip
def test_a_key_among_the_arguments_is_not_repeated(auth: Auth, arguments: tuple[str, ...]) -> None:
    code, out, err = auth(*arguments, piped="x")

    assert (code, out) == (2, "")
    assert KEY[:12] not in err
    assert err.count("\n") == 2


def test_a_key_is_not_tested_by_a_call_that_may_cost(
    auth: Auth, service: Service, tmp_path: Path
) -> None:
    assert service.server is not None
    before = service.server.stats()["by_contract"]
    with another_package(tmp_path / "site", "other", OTHER):
        code, out, _ = auth("set", "other", "--base-url", service.url, piped=KEY)
        gone, _, err = auth("set", "other", "--base-url", "http://127.0.0.1:9", piped=KEY)

    assert code == 0
    assert f"not tested: {service.url} answers, and no call to other is known to be free" in out
    assert service.server.stats()["by_contract"] == before
    assert (gone, "--no-test" in err) == (5, True)


@pytest.mark.parametrize(
    ("arguments", "piped", "says"),
    [
        pytest.param(("set",), KEY, "say whose key", id="whose"),
        pytest.param(("set", "novitta"), KEY, "did you mean novita", id="unknown"),
        pytest.param(("set", "simulator"), KEY, "takes no key", id="simulator"),
        pytest.param(("set", "novita"), "\n", "no key came", id="nothing"),
        pytest.param(("set", "novita"), f"{KEY} x\n", "the key holds spaces", id="not a key"),
        pytest.param(("set", "novita", "--no-test", "--where", "keyring"), KEY, "pip install",
                     id="no keyring"),
        pytest.param(("sett", "novita"), KEY, "sett", id="unknown action"),
    ],
)  # fmt: skip
def test_a_wrong_call_says_what_and_the_way_out(
    auth: Auth, kept: Path, arguments: tuple[str, ...], piped: str, says: str
) -> None:
    code, out, err = auth(*arguments, piped=piped)

    assert code == 2
    assert out == ""
    assert says in err
    assert not kept.exists()


def test_a_typed_key_is_never_echoed(kept: Path, tmp_path: Path) -> None:
    """In a terminal, as that shows it."""
    terminal, its = pty.openpty()
    environ = os.environ | {"XDG_CONFIG_HOME": str(tmp_path / "config"), "PYTHONPATH": str(ROOT)}
    words = ["-m", "batch_reimagine", "auth", "set", "novita", "--no-test"]
    child = subprocess.Popen(
        [sys.executable, *words],
        env=environ,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    late = threading.Timer(30, child.kill)
    late.start()
    shown = b""
    try:
        while some := _read(terminal):
            shown += some
            if shown.endswith(b"not shown): "):
                os.write(terminal, f"{KEY}\n".encode())
        code = child.wait(10)
    finally:
        late.cancel()
        os.close(terminal)

    assert code == 0, shown
    assert KEY.encode() not in shown
    assert b"kept in the file" in shown
    assert kept.read_text() == f"{KEY}\n"


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # it is gone with the process
        return b""
