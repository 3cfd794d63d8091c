"""How a bucket is opened: environment, profiles, options, and what is refused at once."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_reimagine.address import Address
from batch_reimagine.cloud.objects import Objects
from batch_reimagine.cloud.opening import open_store
from batch_reimagine.errors import AccountRefused, UsageError
from tests.spoiling import Proxy, always
from tests.stores import KEY_ID, SECRET, Store, moto, rclone

S3, GS, AZ = Address("s3", "photos"), Address("gs", "photos"), Address("az", "photos")


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    with moto() as store:
        yield store


@pytest.fixture
def signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A server that checks signatures, and an environment that says nothing of it."""
    with rclone(tmp_path / "data") as store:
        store.use(monkeypatch)
        store.bucket("photos")
        for name in store.environment:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        yield store


def works(options: dict[str, str]) -> bool:
    objects = Objects(open_store(S3, options), S3)
    objects.put("probe", b"x")
    return objects.get("probe")[0] == b"x"


def write_profile(folder: Path, store: Store, name: str = "shop") -> None:
    (folder / "config").write_text(
        f"[profile {name}]\nregion = eu-west-3\nendpoint_url = {store.endpoint}\n"
    )
    (folder / "credentials").write_text(
        f"[{name}]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n"
    )


def test_the_environment_is_enough(signed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    signed.use(monkeypatch)

    assert works({})


def test_a_profile_is_enough(
    signed: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_profile(tmp_path, signed)
    monkeypatch.setenv("AWS_PROFILE", "shop")

    assert works({})
    assert dict(open_store(S3, {}).config)["region"] == "eu-west-3"  # type: ignore[union-attr]


def test_a_profile_with_a_services_section_is_enough(
    signed: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_profile(tmp_path, signed)
    (tmp_path / "config").write_text(
        "[profile shop]\nservices = own\n"
        f"[services own]\ns3 =\n  endpoint_url = {signed.endpoint}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "shop")

    assert works({})


def test_credentials_of_a_program_that_a_profile_names_are_used(
    signed: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    teller = tmp_path / "teller.py"
    teller.write_text(
        "import json\nprint(json.dumps({'Version': 1,"
        f" 'AccessKeyId': '{KEY_ID}', 'SecretAccessKey': '{SECRET}'}}))\n"
    )
    (tmp_path / "config").write_text(
        f"[profile shop]\ncredential_process = {sys.executable} {teller}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "shop")

    assert works({"endpoint": signed.endpoint})


def test_an_option_goes_before_the_environment(
    signed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed.use(monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")

    assert works({"endpoint": signed.endpoint, "access_key_id": KEY_ID, "region": "us-west-2"})


def test_requests_may_go_unsigned(server: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    server.use(monkeypatch)
    server.bucket("photos")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    objects = Objects(open_store(S3, {"skip_signature": "true"}), S3)

    assert objects.about("none") is None
    assert list(objects.pages(after="a//b")) == []


def test_nothing_is_asked_before_the_first_request(
    server: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(server.port, always("503")) as proxy:
        server.use(monkeypatch, proxy.port)
        open_store(S3, {})

    assert proxy.seen == []


@pytest.mark.usefixtures("signed")
def test_no_credentials_at_all_are_told_at_once() -> None:
    with pytest.raises(AccountRefused, match=r"no credentials were found.*AWS_ACCESS_KEY_ID"):
        open_store(S3, {})


@pytest.mark.usefixtures("signed")
def test_a_profile_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    with pytest.raises(UsageError, match=r"ProfileNotFound.*AWS_PROFILE"):
        open_store(S3, {})


@pytest.mark.usefixtures("signed")
def test_a_session_that_has_ended_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text(
        "[profile shop]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n"
        "[sso-session s]\nsso_region = us-east-1\nsso_start_url = http://127.0.0.1:1/start\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "shop")
    monkeypatch.setenv("HOME", str(tmp_path))

    with pytest.raises(AccountRefused, match="aws sso login"):
        open_store(S3, {})


def test_credentials_for_google_that_cannot_be_read_are_told_without_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", '{"private_key": "verysecret"')

    with pytest.raises(AccountRefused, match="gcloud auth application-default login") as refused:
        open_store(GS, {})

    assert "verysecret" not in str(refused.value)


def test_azure_without_an_account_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(UsageError, match="AZURE_STORAGE_ACCOUNT_NAME"):
        open_store(AZ, {})


def test_an_azure_store_can_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "shop")
    monkeypatch.setenv("AZURE_STORAGE_KEY", "dmVyeXNlY3JldA==")

    shown = repr(open_store(AZ, {}))

    assert "shop" in shown
    assert "dmVyeXNlY3JldA" not in shown


@pytest.mark.parametrize(
    ("address", "word", "near"),
    [
        (S3, "endpont", "endpoint"),
        (S3, "regoin", "region"),
        (S3, "virtual_hosted_style", "virtual_hosted_style_request"),
        (S3, "time_out", "timeout"),
        (GS, "aplication_credentials", "application_credentials"),
        (AZ, "acount_name", "account_name"),
    ],
)
def test_a_mistyped_option_is_told_with_a_near_one(
    server: Store, monkeypatch: pytest.MonkeyPatch, address: Address, word: str, near: str
) -> None:
    server.use(monkeypatch)

    with pytest.raises(UsageError, match=rf"{word} is not known for .*did you mean.*{near}"):
        open_store(address, {word: "x"})


@pytest.mark.parametrize(
    ("address", "word"),
    [
        *((S3, word) for word in ("secret_access_key", "AWS_SECRET_ACCESS_KEY", "session_token")),
        *((S3, word) for word in ("token", "aws_token", "sse_customer_key_base64")),
        *((GS, word) for word in ("service_account_key", "bearer_token")),
        *((AZ, word) for word in ("account_key", "access_key", "azure_storage_access_key")),
        *((AZ, word) for word in ("sas_key", "sas_token", "client_secret", "master_key", "token")),
        *((AZ, word) for word in ("azure_storage_token", "encryption_key", "fabric_session_token")),
    ],
)
def test_a_secret_is_no_option(address: Address, word: str) -> None:
    with pytest.raises(UsageError, match="a secret is no option") as refused:
        open_store(address, {word: "verysecret"})

    assert "verysecret" not in str(refused.value)


@pytest.mark.parametrize(
    "value", ["http://me:verysecret@127.0.0.1/", "https://127.0.0.1/?sig=verysecret", "http://[x"]
)
@pytest.mark.parametrize("word", ["endpoint", "proxy_url"])
def test_a_url_that_may_hold_a_secret_is_no_option(word: str, value: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_store(S3, {word: value})

    assert "verysecret" not in str(refused.value)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("timeout", "soon"),
        ("allow_http", "perhaps"),
        ("max_retries", "-1"),
        ("retry_timeout", "10000"),
        ("virtual_hosted_style_request", "perhaps"),
    ],
)
def test_a_value_that_cannot_be_used_is_told(
    server: Store, monkeypatch: pytest.MonkeyPatch, word: str, value: str
) -> None:
    server.use(monkeypatch)

    with pytest.raises(UsageError, match=word):
        open_store(S3, {word: value})


@pytest.mark.parametrize("hidden", ["obstore", "botocore"])
def test_without_the_extra_its_name_is_told(hidden: str) -> None:
    script = f"""
import sys
sys.modules[{hidden!r}] = None
from batch_reimagine.address import Address
from batch_reimagine.cloud.objects import Objects
from batch_reimagine.cloud.opening import open_store
from batch_reimagine.errors import UsageError
try:
    open_store(Address("s3", "photos"), {{}})
except UsageError as refused:
    print(refused)
"""
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )

    assert "pip install 'batch-reimagine[cloud]'" in told.stdout
