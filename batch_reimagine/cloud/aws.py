"""S3 as its own tools know it, by botocore: profiles, and listings that obstore cannot read."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.configprovider import ConfiguredEndpointProvider  # type: ignore[import-untyped]
from botocore.credentials import Credentials  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from batch_reimagine.address import Address
from batch_reimagine.cloud.faults import WAY_IN, Answer, by_answer
from batch_reimagine.cloud.listing import Found
from batch_reimagine.errors import AccountRefused, UsageError

#: How long obstore may keep credentials before it asks again. Botocore renews them ten minutes
#: before they end at the latest (its mandatory refresh), so those that it gives live longer.
_KEPT = timedelta(minutes=5)

_ATTEMPTS = 6
_CONNECT_S = 5
_READ_S = 30


class Keys:
    """What obstore calls for credentials: asks botocore, which renews them."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials
        self.config: dict[str, str] = {}  # obstore reads it

    def __call__(self) -> dict[str, Any]:
        held = self._credentials.get_frozen_credentials()
        return {
            "access_key_id": held.access_key,
            "secret_access_key": held.secret_key,
            "token": held.token,
            "expires_at": datetime.now(UTC) + _KEPT,
        }


def s3_settings(address: Address, given: dict[str, str]) -> tuple[dict[str, str], Keys | None]:
    """What obstore needs: the options given, then the environment, then the profile.

    given: obstore's words. The second value is None where requests are not to be signed.
    Raises UsageError for a profile that is not there, AccountRefused without credentials.
    """
    config = {word.removeprefix("aws_"): value for word, value in given.items()}
    # One request more for a thousand objects, and every S3-like store knows it.
    config.setdefault("disable_bulk_delete", "true")
    try:
        session = botocore.session.Session()
        config["region"] = (
            config.get("region")
            or config.pop("default_region", None)
            or os.environ.get("AWS_REGION")
            or session.get_config_variable("region")
            or "us-east-1"
        )
        endpoint = (
            config.pop("endpoint_url_s3", None)
            or config.pop("endpoint_url", None)
            or config.get("endpoint")
            or _endpoint(session)
        )
        if endpoint:
            config["endpoint"] = endpoint
            # obstore reads this variable itself, and would prefer it to `endpoint`.
            config["aws_endpoint_url_s3"] = endpoint
        if config.get("skip_signature", "").lower() == "true":
            return config, None
        keys = _keys(address, config.pop("access_key_id", None), session)
        keys()  # a session that has ended is told before anything is begun
    except (BotoCoreError, ClientError) as error:
        kind = type(error).__name__
        if kind in {"ProfileNotFound", "ConfigParseError", "ConfigNotFound"}:
            raise UsageError(
                f"{address}: the AWS profile cannot be used ({kind}): check AWS_PROFILE and"
                " ~/.aws/config"
            ) from None
        raise AccountRefused(f"{address}: no valid credentials ({kind}): {WAY_IN['s3']}") from None
    return config, keys


def _endpoint(session: Any) -> str | None:
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    provider = ConfiguredEndpointProvider(
        full_config=session.full_config,
        scoped_config=session.get_scoped_config(),
        client_name="s3",
    )
    endpoint: str | None = provider.provide()
    return endpoint


def _keys(address: Address, identity: str | None, session: Any) -> Keys:
    if identity:
        secret = os.environ.get("AWS_SECRET_ACCESS_KEY")
        if not secret:
            raise UsageError(
                "--store-option access_key_id needs AWS_SECRET_ACCESS_KEY in the environment"
            )
        return Keys(Credentials(identity, secret, os.environ.get("AWS_SESSION_TOKEN")))
    credentials = session.get_credentials()
    if credentials is None:
        raise AccountRefused(f"{address}: no credentials were found: {WAY_IN['s3']}")
    return Keys(credentials)


def keys_after(
    store: Any, address: Address, wanted: str, floor: str, endpoint: str | None
) -> Iterator[list[Found]]:
    """Pages of the keys that begin with `wanted` and follow `floor`, whatever is in them.

    The credentials, endpoint and region are the store's own. Raises AccountRefused, UsageError
    or ServiceGone.
    """
    client = _client(store, endpoint)
    asked: dict[str, Any] = {"Bucket": address.bucket, "Prefix": wanted, "StartAfter": floor}
    try:
        while True:
            page = _page(client, asked, address, endpoint)
            yield [
                (key["Key"], key["Size"], key["LastModified"].astimezone(UTC), key.get("ETag"))
                for key in page.get("Contents", [])
            ]
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]
    finally:
        client.close()


def _page(client: Any, asked: dict[str, Any], address: Address, endpoint: str | None) -> Any:
    try:
        return client.list_objects_v2(**asked)
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = str(error.response.get("Error", {}).get("Code", ""))
        answer = Answer(status, code if code.isalpha() else "", "")
    except BotoCoreError as error:
        answer = Answer(0, "", str(error))
    raise by_answer(answer, address, "", endpoint)


def _client(store: Any, endpoint: str | None) -> Any:
    config, provider = store.config, store.credential_provider
    held = provider() if provider else config
    style = "virtual" if config.get("virtual_hosted_style_request") == "true" else "path"
    signing = {} if held.get("access_key_id") else {"signature_version": botocore.UNSIGNED}
    return botocore.session.Session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=config.get("region"),
        aws_access_key_id=held.get("access_key_id"),
        aws_secret_access_key=held.get("secret_access_key"),
        aws_session_token=held.get("token") or held.get("session_token"),
        config=Config(
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
            s3={"addressing_style": style if endpoint else "auto"},
            **signing,
        ),
    )
