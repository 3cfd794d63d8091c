"""Open a bucket as its cloud's own tools would: their environment, their profiles.

S3: AWS_* and ~/.aws by botocore (AWS_PROFILE, SSO, roles, endpoint_url of a profile). GCS:
application default credentials. Azure: AZURE_*. All else by `--store-option`, which takes
obstore's own words: https://developmentseed.org/obstore/latest/api/store/aws/ (gcs/, azure/).
"""

import difflib
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from batch_reimagine.address import Address
from batch_reimagine.cloud.faults import WAY_IN, shown
from batch_reimagine.errors import AccountRefused, UsageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

EXTRA = "pip install 'batch-reimagine[cloud]'"

#: A request is tried again for a minute at most; then the store counts as gone.
RETRY_S = 60.0
_MOST_RETRY_S = 300.0
_MOST_RETRIES = 8
_TIMES = {"timeout": "120s", "connect_timeout": "5s", "read_timeout": "30s"}
_CLIENT = {*_TIMES, "proxy_url", "proxy_excludes", "user_agent"}
_CLIENT_SWITCHES = {"allow_http", "allow_invalid_certificates", "http1_only", "http2_only"}
_RETRY = {"max_retries", "retry_timeout"}

#: Words of obstore 0.12 to compare a mistyped one with; it judges itself which are right.
_WORDS = {
    "s3": "access_key_id bucket checksum_algorithm conditional_put copy_if_not_exists"
    " default_region disable_bulk_delete disable_tagging endpoint imdsv1_fallback"
    " metadata_endpoint region request_payer role_arn role_session_name s3_express"
    " server_side_encryption skip_signature sse_bucket_key_enabled sse_kms_key_id sts_endpoint"
    " unsigned_payload virtual_hosted_style_request web_identity_token_file",
    "gs": "application_credentials base_url service_account skip_signature",
    "az": "account_name authority_host client_id credential_type disable_tagging endpoint"
    " federated_token_file msi_endpoint msi_resource_id object_id skip_signature tenant_id"
    " use_azure_cli use_emulator use_fabric_endpoint",
}
#: Read here too: the names that `az` has for them, and what obstore must be told so that a
#: server without TLS is allowed and that its store can be shown (0.12 panics in `repr` if not).
_ENVIRONMENT = {
    "az": {
        "AZURE_STORAGE_ACCOUNT_NAME": "account_name",
        "AZURE_STORAGE_ACCOUNT": "account_name",
        "AZURE_STORAGE_KEY": "account_key",
        "AZURE_STORAGE_SAS_TOKEN": "sas_key",
        "AZURE_STORAGE_ENDPOINT": "endpoint",
        "AZURE_ENDPOINT": "endpoint",
    }
}
_SECRET = re.compile(
    r"secret|password|bearer|master_key|account_key|account_access|session_token|customer_key"
    r"|encryption_key|service_account_key|sas_|_sas|^(aws_|azure_|azure_storage_|google_)?"
    r"(token|access_key|sas|authorization_token)$|^azure_storage_access_key$"
)
_FROM_WHERE = {
    "s3": "AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN or a profile (AWS_PROFILE)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT_KEY",
    "az": "AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_KEY or AZURE_CLIENT_SECRET",
}


def open_store(address: Address, options: Mapping[str, str]) -> "ObjectStore":
    """The bucket of `address` as an obstore store; nothing is asked of it yet.

    options: obstore's configuration of that cloud, and of its client (timeout, connect_timeout,
    read_timeout, proxy_url, …: "30s") and retries (max_retries, retry_timeout in seconds).
    Raises UsageError: without the extra `cloud`, for a word that obstore does not know, for a
    secret (those come from the environment or a profile) and for what else is wrong with an
    option or a profile. Raises AccountRefused where S3's credentials are missing or have ended.
    """
    try:
        from obstore import store as stores  # noqa: PLC0415 an extra; told below
    except ImportError:
        raise UsageError(f"{address} needs the extra: {EXTRA}") from None
    config = {word.strip().lower(): value for word, value in options.items()}
    for word, value in config.items():
        _refuse_secret(address, word, value)
    client, retry = _client_of(config), _retry_of(config)
    # obstore's own types are dicts of single words, which options of a user's cannot be.
    make: Any = {"s3": stores.S3Store, "gs": stores.GCSStore, "az": stores.AzureStore}
    more: dict[str, Any] = {}
    if address.scheme == "s3":
        try:
            from batch_reimagine.cloud.aws import s3_settings  # noqa: PLC0415
        except ImportError:
            raise UsageError(f"{address} needs the extra: {EXTRA}") from None
        config, more["credential_provider"] = s3_settings(address, config)
    for variable, word in _ENVIRONMENT.get(address.scheme, {}).items():
        if variable in os.environ:
            config.setdefault(word, os.environ[variable])
    if config.get("endpoint", config.get("base_url", "")).startswith("http://"):
        client.setdefault("allow_http", True)
    try:
        opened: ObjectStore = make[address.scheme](
            address.bucket, config=config, client_options=client, retry_config=retry, **more
        )
    except Exception as error:
        if not type(error).__module__.startswith("obstore") and not isinstance(error, ValueError):
            raise
        raise _refused(address, options, error) from None
    return opened


def _refuse_secret(address: Address, word: str, value: str) -> None:
    if _SECRET.search(word):
        raise UsageError(
            f"--store-option {shown(word)}: a secret is no option, since others can read a"
            f" command line: give it by {_FROM_WHERE[address.scheme]}"
        )
    if "://" in value:
        try:
            parts = urlsplit(value)
            hidden = bool(parts.username or parts.password or parts.query)
        except ValueError:
            raise UsageError(f"--store-option {shown(word)}: no URL") from None
        if hidden:
            raise UsageError(
                f"--store-option {shown(word)}: a URL with a user, password or query, which may"
                " be secret: give the plain URL"
            )


def _client_of(config: dict[str, str]) -> dict[str, Any]:
    client: dict[str, Any] = dict(_TIMES)
    for word in _CLIENT & config.keys():
        client[word] = config.pop(word)
    for word in _CLIENT_SWITCHES & config.keys():
        value = config.pop(word).lower()
        if value not in {"true", "false"}:
            raise UsageError(f"--store-option {word}: true or false")
        client[word] = value == "true"
    return client


def _retry_of(config: dict[str, str]) -> dict[str, Any]:
    return {
        "max_retries": int(_number(config, "max_retries", _MOST_RETRIES, 100)),
        "retry_timeout": timedelta(
            seconds=_number(config, "retry_timeout", RETRY_S, _MOST_RETRY_S)
        ),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=10),
            "base": 2,
        },
    }


def _number(config: dict[str, str], word: str, default: float, most: float) -> float:
    text = config.pop(word, str(default)).removesuffix("s")
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text) or float(text) > most:
        raise UsageError(f"--store-option {word}: a number from 0 to {most:g}")
    return float(text)


def _refused(address: Address, options: Mapping[str, str], error: Exception) -> Exception:
    if type(error).__name__ == "UnknownConfigurationKeyError":
        known = [*_WORDS[address.scheme].split(), *_CLIENT, *_CLIENT_SWITCHES, *_RETRY]
        wrong = next((word for word in options if word.strip().lower() in _named(error)), "?")
        near = difflib.get_close_matches(wrong, known, 3, 0.5)
        return UsageError(
            f"--store-option {shown(wrong)} is not known for {address.scheme}://"
            + (f": did you mean {' or '.join(near)}?" if near else "")
        )
    if "Account must be specified" in str(error):
        return UsageError(
            f"{address}: no storage account: give AZURE_STORAGE_ACCOUNT_NAME or"
            " --store-option account_name=NAME"
        )
    if address.scheme == "gs":
        return AccountRefused(f"{address}: the credentials cannot be read: {WAY_IN['gs']}")
    # Not the library's words: they may repeat what they were given.
    return UsageError(
        f"{address}: an option has a value that cannot be used"
        f" ({shown(', '.join(sorted(options)))}): switches are true or false, times are 30s"
    )


def _named(error: Exception) -> set[str]:
    """The quoted words of a message, such as the key that is not known."""
    return set(re.findall(r"'([^']*)'", str(error).partition("\n")[0]))
