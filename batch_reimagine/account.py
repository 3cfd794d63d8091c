"""Ask a service about the account, and whether it is there at all; nothing here buys a picture.

Each question is one bounded request with one deadline; nothing is tried twice.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import monotonic
from typing import TypeVar

import aiohttp

from batch_reimagine import connection
from batch_reimagine.errors import AccountRefused, ServiceGone
from batch_reimagine.provider import provider_of
from batch_reimagine.provider.billing import Charge, Funds
from batch_reimagine.provider.contract import Action, Verdict
from batch_reimagine.secret import Secret
from batch_reimagine.settings import Settings

TIMEOUT_S = 10.0
_MOST_BYTES = 16_000_000  # a bill of a week has some thousand lines
_DAY_S = 86_400
_ABSENT = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}

T = TypeVar("T")


class NotTold(ServiceGone):
    """The service answers, but not to this question."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float  #: from the first byte sent to the last one read
    ahead_s: float | None  #: our clock before the service's; None if it told no time


class Account:
    """The questions that can be asked of one service with one key.

    Raises UsageError for settings that name no service. Every question raises AccountRefused
    (the key, the account), NotTold, or ServiceGone (no answer in time, or none that can be read).
    """

    def __init__(self, settings: Settings, key: Secret, *, timeout_s: float = TIMEOUT_S) -> None:
        self.provider = provider_of(settings)
        #: without a slash at its end
        self.base_url = (settings.base_url or self.provider.base_url or "").rstrip("/")
        self._key = key
        self._timeout_s = timeout_s

    @property
    def url(self) -> str:
        """Where calls go."""
        return self.base_url + self.provider.path

    async def knock(self) -> tuple[Reply, Verdict | None]:
        """Call without a photo: a request that can buy nothing shows who is there.

        Where that is not known of the provider's call, only whether its host answers is looked
        at, without the key; there is no verdict then. Its words want `words`. Raises ServiceGone
        only.
        """
        if not self.provider.knocks:
            return await self._ask("GET", "", with_key=False), None
        reply = await self._ask("POST", self.provider.path, b"{}")
        verdict = self.provider.judge(reply.status, reply.headers, reply.body)
        return reply, verdict

    async def funds(self) -> Funds:
        """What the account can still pay."""
        billing = self.provider.billing
        if billing is None:
            raise NotTold(f"{self.provider.name} tells no balance")
        return self._read(await self._ask("GET", billing.balance_path), billing.funds, "balance")

    async def charges(self, began: int, ended: int) -> list[Charge]:
        """The lines of the bill for calls in these Unix seconds, oldest first; safe to show.

        Asked in as many pieces as the vendor's longest window makes needed.
        """
        billing = self.provider.billing
        if billing is None:
            raise NotTold(f"{self.provider.name} tells no bill")
        found: list[Charge] = []
        step_s = billing.most_days * _DAY_S
        for start in range(began, ended, step_s):
            path = billing.bill_path(start, min(start + step_s, ended))
            lines = self._read(await self._ask("GET", path), billing.charges, "bill")
            found += (replace(line, product=self._key.redact(line.product)) for line in lines)
        within = (line for line in found if line.began < ended and line.ended > began)
        return sorted(within, key=lambda line: (line.began, line.product))

    def words(self, verdict: Verdict) -> str:
        """The service's own words, safe to show."""
        return self._key.redact(f"{verdict.reason or 'FAILED'}: {verdict.message or 'no reason'}")

    def _read(self, reply: Reply, read: Callable[[bytes], T], what: str) -> T:
        if reply.status in _ABSENT:
            raise NotTold(f"{self.base_url} tells no {what} (HTTP {reply.status})")
        if reply.status != HTTPStatus.OK:
            verdict = self.provider.judge(reply.status, reply.headers, reply.body)
            words = self.words(verdict)
            if verdict.action is Action.STOP_ACCOUNT:
                raise AccountRefused(f"{words}. Put the key or the account right")
            raise ServiceGone(f"{self.base_url} does not tell the {what} now ({words})")
        try:
            return read(reply.body)
        except ValueError as error:
            raise NotTold(f"{self.base_url} answers, but with no {what}: {error}") from None

    async def _ask(
        self, method: str, path: str, body: bytes | None = None, *, with_key: bool = True
    ) -> Reply:
        with_key = with_key and bool(self._key)
        headers = self.provider.authorization(self._key.reveal()) if with_key else {}
        if body is not None:
            headers = {**headers, "Content-Type": "application/json"}
        began = monotonic()
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                connection.session(self._timeout_s) as session,
                session.request(
                    method, self.base_url + path, data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                data = await response.content.read(_MOST_BYTES + 1)
                while len(data) <= _MOST_BYTES and (more := await response.content.readany()):
                    data += more
                if len(data) > _MOST_BYTES:
                    why = f"{self.base_url} answers with more bytes than any account has"
                    raise ServiceGone(why)
                return Reply(
                    response.status,
                    response.headers,
                    data,
                    monotonic() - began,
                    _ahead_s(response.headers.get("Date", "")),
                )
        except TimeoutError:
            raise ServiceGone(
                f"{self.base_url} cannot be reached: no answer within {self._timeout_s:g} s"
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            why = self._key.redact(str(error) or type(error).__name__)
            raise ServiceGone(f"{self.base_url} cannot be reached: {why}") from None


def _ahead_s(date: str) -> float | None:
    """Seconds by which our clock is before the one that wrote an HTTP date."""
    try:
        told = parsedate_to_datetime(date)
    except (TypeError, ValueError, IndexError):
        return None
    if told.tzinfo is None:
        told = told.replace(tzinfo=UTC)
    return (datetime.now(UTC) - told).total_seconds()
