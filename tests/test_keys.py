"""Where a key comes from, in which order, and who else may read what is kept."""

import json
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError

from batch_reimagine import keys
from batch_reimagine.errors import LocalResource, UsageError
from batch_reimagine.keys import every, file_of, find, forget, keep, key_of
from batch_reimagine.provider import find_provider
from batch_reimagine.settings import Settings
from tests.support import KEY

NOVITA = find_provider("novita")


class Ring(KeyringBackend):
    """A real keyring in a file, which can be weak, broken or stuck on demand."""

    priority = 5  # keyring's own way to declare it

    def __init__(self, path: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path = path
        self.broken = False
        self.stuck: threading.Event | None = None

    def _read(self) -> dict[str, str]:
        if self.stuck is not None:
            self.stuck.wait(20)
        if self.broken:
            raise RuntimeError(f"no dbus here; {KEY}")
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def get_password(self, service: str, username: str) -> str | None:
        return self._read().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self.path.write_text(json.dumps(self._read() | {f"{service}/{username}": password}))

    def delete_password(self, service: str, username: str) -> None:
        held = self._read()
        if f"{service}/{username}" not in held:
            raise PasswordDeleteError("there is none")
        del held[f"{service}/{username}"]
        self.path.write_text(json.dumps(held))


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    before = keyring.get_keyring()
    made = Ring(tmp_path / "ring.json")
    keyring.set_keyring(made)
    yield made
    if made.stuck is not None:
        made.stuck.set()
    keyring.set_keyring(before)


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with an empty home."""
    (tmp_path / "home").mkdir()
    return {"HOME": str(tmp_path / "home")}


def kept_file(home: dict[str, str]) -> Path:
    path = file_of("novita", home)
    assert path is not None
    return path


def test_the_first_place_that_has_a_key_wins_in_the_stated_order(
    tmp_path: Path, home: dict[str, str], ring: Ring
) -> None:
    keep("novita", "key-of-the-file", home, "file")
    ring.set_password("batch-reimagine", "novita", "key-of-the-ring")
    (tmp_path / "named").write_text("key-of-the-named-file\n")
    full = home | {
        "NOVITA_API_KEY": " key-of-the-variable\n",
        "NOVITA_API_KEY_FILE": str(tmp_path / "named"),
    }

    found = list(every(NOVITA, full))

    assert [key.value for key in found] == [
        "key-of-the-variable",
        "key-of-the-named-file",
        "key-of-the-ring",
        "key-of-the-file",
    ]
    assert find(NOVITA, full) == found[0]
    for key, says in zip(
        found, ["variable NOVITA_API_KEY", "NOVITA_API_KEY_FILE", "keyring", "keys/novita"],
        strict=True,
    ):  # fmt: skip
        assert says in key.origin
        assert key.value not in repr(key)


def test_nothing_is_read_that_was_not_handed_in(
    home: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NOVITA_API_KEY", KEY)
    (tmp_path / ".env").write_text(f"NOVITA_API_KEY={KEY}\n")
    monkeypatch.chdir(tmp_path)

    assert find(NOVITA, home) is None
    assert key_of(Settings(), home) == ""


def test_the_simulator_is_never_given_a_key(home: dict[str, str]) -> None:
    assert key_of(Settings(provider="simulator"), home | {"NOVITA_API_KEY": KEY}) == ""


def test_a_kept_file_is_for_its_owner_alone_and_replaced_whole(home: dict[str, str]) -> None:
    umask = os.umask(0)
    try:
        said = keep("novita", "first", home)
        keep("novita", KEY, home)
    finally:
        os.umask(umask)
    path = kept_file(home)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["novita"]
    assert path.read_text() == f"{KEY}\n"
    assert str(path) in said
    assert "not encrypted" in said
    assert find(NOVITA, home) == keys.Key(KEY, f"the file {path}")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_key_that_others_may_read_is_refused_with_the_way_out(
    home: dict[str, str], mode: int
) -> None:
    keep("novita", KEY, home)
    kept_file(home).chmod(mode)

    with pytest.raises(UsageError, match="chmod 600") as raised:
        find(NOVITA, home)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_key_file_that_is_no_file_is_refused_and_never_waited_for(
    home: dict[str, str], tmp_path: Path, kind: str
) -> None:
    keep("novita", "x", home)
    path = kept_file(home)
    path.unlink()
    (tmp_path / "elsewhere").write_text(KEY)
    (tmp_path / "elsewhere").chmod(0o600)
    match kind:
        case "link":
            path.symlink_to(tmp_path / "elsewhere")
        case "pipe":
            os.mkfifo(path, 0o600)
        case _:
            path.mkdir(0o700)

    with pytest.raises(UsageError, match="key file"):
        find(NOVITA, home)


def test_a_named_file_that_cannot_be_read_is_told(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path, why in ((tmp_path / "gone", "No such file"), (tmp_path / "binary", "not text")):
        with pytest.raises(UsageError, match=f"NOVITA_API_KEY_FILE: .*{why}"):
            find(NOVITA, home | {"NOVITA_API_KEY_FILE": str(path)})


@pytest.mark.parametrize("key", [KEY, f"{KEY}/{KEY}=", KEY * 20], ids=["plain", "base64", "long"])
def test_a_key_put_where_its_file_should_be_named_is_not_shown(
    home: dict[str, str], key: str
) -> None:
    environ = home | {"NOVITA_API_KEY_FILE": key}
    with pytest.raises(UsageError, match=r"_FILE: its value .*cannot be read") as told:
        find(NOVITA, environ)

    assert KEY not in str(told.value)
    (hidden,) = keys.to_hide(Settings(), environ)
    assert KEY not in hidden.redact(f"{key} was read")


def test_what_a_log_is_to_hide_is_the_variable_and_no_name_of_a_file(
    home: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "named").write_text("x")
    environ = home | {"NOVITA_API_KEY": KEY, "NOVITA_API_KEY_FILE": str(tmp_path / "named")}

    assert [secret.reveal() for secret in keys.to_hide(Settings(), environ)] == [KEY]
    assert keys.to_hide(Settings(provider="simulator"), home) == []
    assert keys.to_hide(Settings(), {"NOVITA_API_KEY": "no key has spaces"}) == []


def test_the_keyring_is_preferred_and_a_file_that_was_kept_before_goes(
    home: dict[str, str], ring: Ring
) -> None:
    keep("novita", "old", home, "file")
    said = keep("novita", KEY, home)

    assert "keyring" in said
    assert not kept_file(home).exists()
    assert [key.value for key in every(NOVITA, home)] == [KEY]
    assert forget("novita", home) == ["the system's keyring"]
    assert forget("novita", home) == []
    assert find(NOVITA, home) is None
    assert KEY not in ring.path.read_text()


def test_a_key_kept_in_a_file_on_request_leaves_none_in_the_keyring(
    home: dict[str, str], ring: Ring
) -> None:
    keep("novita", "old", home)
    keep("novita", KEY, home, "file")

    assert [key.value for key in every(NOVITA, home)] == [KEY]
    assert "old" not in ring.path.read_text()


def test_a_keyring_that_fails_gives_way_to_the_file_unless_it_was_asked_for(
    home: dict[str, str], ring: Ring
) -> None:
    ring.broken = True

    with pytest.raises(UsageError, match="did not take the key") as raised:
        keep("novita", KEY, home, "keyring")
    assert KEY not in str(raised.value)
    assert "the file" in keep("novita", KEY, home)
    assert find(NOVITA, home) == keys.Key(KEY, f"the file {kept_file(home)}")


def test_a_keyring_that_never_answers_is_not_waited_for(
    home: dict[str, str], ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep("novita", KEY, home, "file")
    monkeypatch.setattr(keys, "PATIENCE_S", 0.05)
    ring.stuck = threading.Event()
    began = time.monotonic()

    assert find(NOVITA, home) == keys.Key(KEY, f"the file {kept_file(home)}")
    assert time.monotonic() - began < 10


def test_a_keyring_of_plain_text_is_not_taken_for_one(
    home: dict[str, str], ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ring, "priority", 0.5)  # what keyring gives its plain text file

    with pytest.raises(UsageError, match="this system has none"):
        keep("novita", KEY, home, "keyring")
    assert "the file" in keep("novita", KEY, home)
    assert not ring.path.exists()


def test_without_a_home_nothing_is_kept_and_the_message_says_so() -> None:
    assert file_of("novita", {}) is None
    assert find(NOVITA, {}) is None
    with pytest.raises(UsageError, match="HOME"):
        keep("novita", KEY, {}, "file")


def test_a_config_home_counts_only_if_it_is_absolute(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    usual = tmp_path / ".config" / "batch-reimagine" / "keys" / "novita"

    assert file_of("novita", home) == usual
    assert file_of("novita", home | {"XDG_CONFIG_HOME": "here"}) == usual
    elsewhere = file_of("novita", home | {"XDG_CONFIG_HOME": str(tmp_path / "c")})
    assert elsewhere == tmp_path / "c" / "batch-reimagine" / "keys" / "novita"


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a" * 101, "a\n"])
def test_a_provider_whose_name_would_leave_the_folder_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a file"):
        file_of(name, {"HOME": "/home/x"})


def test_a_disk_that_refuses_is_a_local_matter_and_leaves_the_old_key(tmp_path: Path) -> None:
    (tmp_path / "batch-reimagine").write_text("in the way")

    with pytest.raises(LocalResource, match="cannot write") as raised:
        keep("novita", KEY, {"XDG_CONFIG_HOME": str(tmp_path)}, "file")
    assert KEY not in str(raised.value)
