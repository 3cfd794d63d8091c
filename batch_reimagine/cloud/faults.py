"""What an object store's library throws, as the errors of this package: who must act?"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from batch_reimagine.address import Address
from batch_reimagine.errors import AccountRefused, ReimagineError, ServiceGone, UsageError

_STATUS = re.compile(r"status code: (\d{3})")
#: Codes are words. The sentence beside one is not repeated: a server can put anything there,
#: the token that it was sent too.
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_KEY = re.compile(r'path: "((?:[^"\\]|\\.)*)"')
_PAUSES_S = (0.2, 0.6, 1.8)
_PATIENCE_S = 60.0
_SHOWN = 200  # characters of a name that a message repeats

_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "InvalidBucketName"}
_NO_CREDENTIALS = {
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "AuthenticationFailed",
    "InvalidAuthenticationInfo",
    "RequestTimeTooSkewed",
    "AllAccessDisabled",
    "AccountIsDisabled",
}
_OTHER_REGION = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "TemporaryRedirect",
}
_LOST_RACE = {"ConditionalRequestConflict", "OperationAborted"}
#: Where each cloud's machines ask for credentials; only asked when there are no others.
_ASKED_FOR_CREDENTIALS = (
    "169.254.169.254",
    "metadata.google",
    "performing token request",
    "credential",
    "Credential",
)

#: What to look at, a cloud each.
WAY_IN = {
    "s3": "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN), or AWS_PROFILE"
    " and the profile in ~/.aws (`aws sso login` renews an SSO session)",
    "gs": "check GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`",
    "az": "check AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY (or the AZURE_CLIENT_*"
    " of a service principal), or run `az login` and give --store-option use_azure_cli=true",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of an answer that was no success."""

    status: int  #: of HTTP; 0 if there was no answer
    code: str  #: the store's own word, or ""
    text: str  #: all that the library says; never shown


class Changed(ReimagineError):
    """The object is no longer the one that was seen: another has written it since."""


class Unreadable(UsageError):
    """A listing holds a key that the library cannot express."""


class Broken(ServiceGone):
    """There was no answer at all, or not the whole of one."""


class Patience:
    """Waits before asking again what the library does not: three times, within a minute.

    Of obstore these are a DELETE and a PUT with a condition that a broken connection ended
    (it cannot know that they may be sent again), and a list whose body was cut.
    """

    def __init__(self) -> None:
        self._pauses = iter(_PAUSES_S)
        self._end = time.monotonic() + _PATIENCE_S

    def wait(self, error: Broken) -> None:
        """Raises error when there is no patience left."""
        pause = next(self._pauses, None)
        if pause is None or time.monotonic() + pause > self._end:
            raise error
        time.sleep(pause)


@contextmanager
def told(address: Address, name: str, endpoint: str | None = None) -> Iterator[None]:
    """Turn what the store's library raises into errors of this package.

    name: of the object asked for, relative to address; "" for the bucket as a whole.
    endpoint: the URL of a server of the user's own, if there is one.
    """
    try:
        yield
    except ReimagineError:
        raise
    except Exception as error:
        ours = isinstance(error, (OSError, ValueError, NotImplementedError))
        if not ours and not type(error).__module__.startswith("obstore"):
            raise
        raise meaning(error, address, name, endpoint) from None


def meaning(error: Exception, address: Address, name: str, endpoint: str | None) -> Exception:
    """The error of ours that one of the library's stands for."""
    kind, text = type(error).__name__, str(error)
    answer = Answer(
        int(found[1]) if (found := _STATUS.search(text)) else 0,
        found[1] if (found := _CODE.search(text)) else "",
        text,
    )
    where = f"{address}/{shown(name)}" if name else str(address)
    if kind == "InvalidPathError":
        key = found[1] if (found := _KEY.search(text)) else "?"
        return Unreadable(
            f'{address}: the key "{shown(key)}" has an empty, "." or ".." part or a control'
            " character, and this kind of store cannot be listed past it: rename or remove it,"
            " or choose a folder without it"
        )
    if kind == "AlreadyExistsError":
        return FileExistsError(where)
    if kind in {"PreconditionError", "NotModifiedError"} or answer.code in _LOST_RACE:
        return Changed(f"{where} has been written by another since it was read")
    if isinstance(error, NotImplementedError) or kind == "NotSupportedError":
        return UsageError(f"{where}: this store cannot do what is needed here ({kind})")
    return by_answer(answer, address, name, endpoint)


def by_answer(  # noqa: PLR0911 one line a reason
    answer: Answer, address: Address, name: str, endpoint: str | None
) -> Exception:
    """The error of ours that an answer stands for."""
    status, code, text = answer.status, answer.code, answer.text
    at = f" at {server}" if (server := _server(endpoint)) else ""
    words = " ".join(filter(None, (str(status or ""), code)))
    if code in _NO_BUCKET or (not name and status == 404):  # noqa: PLR2004
        return no_bucket(address, endpoint)
    if code in _OTHER_REGION or status in {301, 307, 308} or "redirect without LOCATION" in text:
        return UsageError(
            f"{address} is in another region{at} ({words or 'redirected'}): give its region by"
            " --store-option region=REGION or AWS_REGION"
        )
    if code in _NO_CREDENTIALS or status in {401, 403} or text.startswith("The operation lacked"):
        refused = f"the store refused it ({words})" if words else "no valid credentials"
        return AccountRefused(
            f"{address}{at}: {refused}: {WAY_IN[address.scheme]}, and that they may list, read"
            " and write there"
        )
    if status == 404 or "not found" in text[:2000]:  # noqa: PLR2004
        return FileNotFoundError(f"{address}/{shown(name)}")
    if not status and any(word in text for word in _ASKED_FOR_CREDENTIALS):
        return AccountRefused(f"{address}: no credentials were found: {WAY_IN[address.scheme]}")
    start = f"{address}: the store{at}"
    if 400 <= status < 500 and status not in {408, 429}:  # noqa: PLR2004
        return ServiceGone(f"{start} refuses what it was asked ({words})")
    if words:
        return ServiceGone(f"{start} fails ({words}): the same command goes on later")
    return Broken(f"{start} {_trouble(text)}")


def no_bucket(address: Address, endpoint: str | None) -> UsageError:
    """What to say of a bucket that is not there."""
    at = f" at {server}" if (server := _server(endpoint)) else ""
    return UsageError(
        f"there is no {'container' if address.scheme == 'az' else 'bucket'}"
        f" {address.bucket}{at}: check its name, or create it first"
    )


def _trouble(text: str) -> str:
    if "kind: Timeout" in text or "imeout on endpoint" in text:
        return "does not answer in time: the same command goes on later"
    if "kind: Connect," in text or "Could not connect" in text:
        return "cannot be reached: check the network and the endpoint"
    return "broke off its answer: the same command goes on later"


def _server(endpoint: str | None) -> str:
    # Not the URL as given: what stands before an @ may be a password.
    try:
        parts = urlsplit(endpoint or "")
        port = parts.port
    except ValueError:
        return ""
    return f"{parts.hostname}:{port}" if port else parts.hostname or ""


def shown(text: str) -> str:
    """A name from outside for a message: bounded, one line."""
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return "".join(letter if letter.isprintable() else "�" for letter in text)
