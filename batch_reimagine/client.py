"""The one place that posts: a call has its slot, its turn, its money and its journal line first.

tenacity decides when to try again; the provider's verdict decides whether.
No other layer below retries (aiohttp does not resend a POST, and follows no redirect here).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

import aiohttp
import anyio
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from anyio import to_thread
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from batch_reimagine import proof
from batch_reimagine.budget import Budget, Money
from batch_reimagine.engine import Stop, Stopped
from batch_reimagine.errors import (
    AccountRefused,
    Exhausted,
    Halted,
    LimitReached,
    Rejected,
    ServiceGone,
)
from batch_reimagine.journal import Journal, Try
from batch_reimagine.pace import Pace
from batch_reimagine.provider.contract import Action, Provider, Verdict
from batch_reimagine.retry_after import retry_after_s
from batch_reimagine.secret import Secret
from batch_reimagine.settings import Settings
from batch_reimagine.work import Picture, Progress, utc_now

MAX_ANSWER_BYTES = 96_000_000  # a picture of 64 MP is refused anyway; base64 adds a third
MAX_RETRY_AFTER_S = 3600.0
MAX_WORD = 80  # characters of a server's reason or task id
POISON_TRIES = 3  # TASK_FAILED: the first and two more
UNKNOWN_REFUSALS = 5  # alike, on so many photos in a row, they are not the photos' fault
ABSENT_AT_START_S = 8.0
ABSENT_LATER_S = 300.0
_BACKOFF = wait_random_exponential(multiplier=1.0, max=60.0, min=0.2)

T = TypeVar("T")


class Body(Payload):
    """A request body of few byte parts that may be sent again, and is never copied together."""

    def __init__(self, parts: tuple[bytes, ...], content_type: str) -> None:
        super().__init__(parts, content_type=content_type)
        self._size = sum(map(len, parts))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        for part in self._value:
            await writer.write(part)


@dataclass(slots=True)
class Trail:
    """What happened to one variation in this run, attempt by attempt."""

    source: str
    source_sha256: str
    variation: int
    base: str
    statuses: list[int | None] = field(default_factory=list)
    faults: int = 0  #: attempts that count against the most allowed
    began: float = 0.0  #: of the first attempt; the loop's clock
    task_id: str | None = None
    unknown: bool = False  #: the last attempt was sent and its outcome was not seen


class _Again(Exception):
    """This attempt brought nothing; whether there is another one tenacity decides."""

    def __init__(self, verdict: Verdict, *, after_s: float = 0.0) -> None:
        super().__init__(verdict)
        self.verdict, self.after_s = verdict, after_s


class Client:
    """Makes one variation at a time, as often as it is asked to, until it is told to stop."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        provider: Provider,
        settings: Settings,
        key: Secret,
        *,
        base_url: str,
        pace: Pace,
        budget: Budget,
        journal: Journal,
        stop: Stop,
        progress: Progress,
        note: Callable[[str], None],
        cpu: anyio.CapacityLimiter,
    ) -> None:
        self._session = session
        self._provider = provider
        self._settings = settings
        self._key = key
        self._url = base_url.rstrip("/") + provider.path
        self._pace = pace
        self._budget = budget
        self._journal = journal
        self._stop = stop
        self._progress = progress
        self._note = note
        self._cpu = cpu
        self._slots = anyio.CapacityLimiter(pace.limit)
        self._settled = anyio.Event()
        self._refusals: tuple[str, set[str]] = ("", set())
        self._last_answer: float | None = None
        self._absent_since: float | None = None
        self._timeout = aiohttp.ClientTimeout(total=settings.timeout_s)

    async def make(
        self,
        body: Body,
        trail: Trail,
        keep: Callable[[Picture], Awaitable[T]],
        wanted: Callable[[], bool] = lambda: True,
    ) -> T:
        """Post until there is a picture, and keep it before the slot is free again.

        wanted: asked before each attempt is begun; "no" raises Stopped.

        Raises Rejected or Exhausted for this variation alone, Stopped when no
        attempt may be begun any more, and RunError when no photo can succeed.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_Again),
            wait=self._wait_s,
            stop=lambda state: self._is_last(state, trail),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return await retrying(self._attempt, body, trail, keep, wanted)
        except _Again as last:
            verdict = last.verdict
            raise Exhausted(verdict.reason or "FAILED", verdict.message or "no picture") from None

    async def _attempt(
        self,
        body: Body,
        trail: Trail,
        keep: Callable[[Picture], Awaitable[T]],
        wanted: Callable[[], bool],
    ) -> T:
        async with self._slot():
            if not wanted():
                raise Stopped
            attempt = await self._begin(trail)
            money: Money = "unknown"
            status: int | None = None
            began = anyio.current_time()
            trail.unknown = True
            self._progress.in_flight += 1
            try:
                status, verdict, retry_after = await self._post(body)
                trail.statuses[-1] = status
                trail.task_id = self._safe(verdict).task_id or trail.task_id
                picture, verdict = await self._proven(verdict)
                money = _money(verdict, picture)
                trail.unknown = False
                if picture is None:
                    raise self._refused(verdict, trail, began, retry_after)
                result = await keep(picture)
            finally:
                self._progress.in_flight -= 1
                self._settle(attempt, money, status)
            self._succeeded()
            return result

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """Hold one of the slots in flight from its turn on until the answer is durable."""
        borrower = object()
        with self._stop.interruptible():
            await self._slots.acquire_on_behalf_of(borrower)
        try:
            with self._stop.interruptible():
                turn = self._pace.turn(anyio.current_time())
                while turn > anyio.current_time():
                    await anyio.sleep_until(turn)
                    if self._pace.paused_until > anyio.current_time():  # paused meanwhile
                        turn = self._pace.turn(anyio.current_time())
            yield
        finally:
            self._slots.release_on_behalf_of(borrower)

    async def _begin(self, trail: Trail) -> Try:
        """Reserve the money and write the attempt down, durably; then it may be sent."""
        if self._stop.requested:
            raise Stopped
        try:
            while not self._budget.reserve():
                with self._stop.interruptible():
                    await self._settled.wait()
        except LimitReached as limit:
            self._stop.request(str(limit), limit)
            raise Stopped from None
        attempt = Try(
            id=self._journal.next_id(),
            time=utc_now(),
            source=trail.source,
            source_sha256=trail.source_sha256,
            variation=trail.variation,
            attempt=len(trail.statuses) + 1,
            base=trail.base,
            price=None if self._budget.price is None else str(self._budget.price),
        )
        try:
            await self._journal.begin(attempt)
        except BaseException:
            self._budget.cancel()
            raise
        # A limit is no reason to hold back a call that still fits it.
        if self._stop.requested and not isinstance(self._stop.error, LimitReached):
            self._journal.end(attempt.id, "free", None)
            self._budget.cancel()
            raise Stopped
        if not trail.statuses:
            trail.began = anyio.current_time()
        trail.statuses.append(None)
        self._progress.calls += 1
        return attempt

    def _settle(self, attempt: Try, money: Money, status: int | None) -> None:
        self._journal.end(attempt.id, money, status)
        self._budget.settle(money)
        self._settled.set()
        self._settled = anyio.Event()
        if self._budget.price is not None:
            self._progress.spent = str(self._budget.spent)
            self._progress.at_risk = str(self._budget.at_risk)

    async def _post(self, body: Body) -> tuple[int | None, Verdict, float | None]:
        """One request, judged: (status, verdict, seconds of its Retry-After)."""
        headers = self._provider.authorization(self._key.reveal()) if self._key else {}
        try:
            async with self._session.post(
                self._url, data=body, headers=headers, allow_redirects=False, timeout=self._timeout
            ) as response:
                answer = bytearray()
                async for chunk in response.content.iter_any():
                    answer += chunk
                    if len(answer) > MAX_ANSWER_BYTES:
                        response.close()
                        reason = "an answer of more bytes than any picture has"
                        return (
                            response.status,
                            Verdict(Action.RETRY, "OVERSIZED_ANSWER", reason),
                            None,
                        )
                verdict = self._provider.judge(response.status, response.headers, bytes(answer))
                return response.status, verdict, retry_after_s(response.headers)
        except aiohttp.ClientConnectorError as error:
            return None, Verdict(Action.RETRY, "NOT_REACHED", _one_line(error)), None
        except TimeoutError:
            message = f"no whole answer within {self._settings.timeout_s:g} s"
            return None, Verdict(Action.RETRY, "TIMEOUT", message), None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return None, Verdict(Action.RETRY, "BROKEN_CONNECTION", _one_line(error)), None

    async def _proven(self, verdict: Verdict) -> tuple[Picture | None, Verdict]:
        """The answer's picture if it is complete; else none, and the verdict on that."""
        if verdict.action is not Action.KEEP or verdict.picture is None:
            return None, verdict
        try:
            return await to_thread.run_sync(
                proof.prove, verdict.picture, limiter=self._cpu
            ), verdict
        except proof.IncompleteError as error:
            return None, Verdict(
                Action.RETRY, "MALFORMED_ANSWER", str(error), task_id=verdict.task_id
            )

    def _refused(
        self, verdict: Verdict, trail: Trail, began: float, retry_after: float | None
    ) -> Exception:
        """What to raise for an answer without a picture."""
        now = anyio.current_time()
        verdict = self._safe(verdict)
        reason, message = verdict.reason or "FAILED", verdict.message or "no picture"
        if reason == "NOT_REACHED":
            self._absent(now, message)
        else:
            self._last_answer, self._absent_since = now, None
        match verdict.action:
            case Action.STOP_ACCOUNT:
                return AccountRefused(f"{reason}: {message}. Put the key or the account right")
            case Action.STOP_SERVICE:
                return ServiceGone(f"{self._url} is not there ({reason}: {message})")
            case Action.REJECT:
                return Rejected(reason, message)
            case Action.REJECT_UNKNOWN:
                self._count_refusal(reason, trail.source)
                return Rejected(reason, message)
        if retry_after is not None and retry_after > MAX_RETRY_AFTER_S:
            return ServiceGone(
                f"the service asks to wait {retry_after:.0f} s ({reason}: {message})"
            )
        if verdict.action is Action.SLOW_DOWN:
            self._slow_down(now, began, reason, retry_after)
        elif reason != "NOT_REACHED":
            trail.faults += 1
        return _Again(verdict, after_s=retry_after or 0.0)

    def _safe(self, verdict: Verdict) -> Verdict:
        """The same verdict; the server's words in it bounded, on one line and without the key."""
        redact = self._key.redact
        return replace(
            verdict,
            reason=verdict.reason and redact(verdict.reason)[:MAX_WORD],
            message=verdict.message and redact(verdict.message),
            task_id=verdict.task_id and redact(verdict.task_id)[:MAX_WORD],
        )

    def _slow_down(self, now: float, began: float, reason: str, retry_after: float | None) -> None:
        before = self._pace.limit
        pause = self._pace.refused(now, began, retry_after)
        self._slots.total_tokens = self._pace.limit
        if pause is not None:
            self._note(
                f"{reason} at {before} in flight: now {self._pace.limit}, goes on in {pause:.1f} s"
            )

    def _succeeded(self) -> None:
        self._last_answer, self._absent_since = anyio.current_time(), None
        self._refusals = ("", set())
        self._pace.succeeded(self._slots.borrowed_tokens)
        self._slots.total_tokens = self._pace.limit

    def _count_refusal(self, reason: str, source: str) -> None:
        """The same unrecognised refusal on several photos in a row is not about the photos."""
        alike, sources = self._refusals
        self._refusals = (reason, sources | {source} if alike == reason else {source})
        if len(self._refusals[1]) >= UNKNOWN_REFUSALS:
            error = Halted(
                f"the service refused {UNKNOWN_REFUSALS} photos in a row with {reason}, which is"
                " not known to be about pictures. Once that is put right, add --retry-failed"
            )
            self._stop.request(str(error), error)

    def _absent(self, now: float, message: str) -> None:
        """Nobody answers: say so, and stop the run when that lasts."""
        if self._absent_since is None:
            self._absent_since = now
            self._note(f"{self._url} cannot be reached ({message}); trying again")
        patience = ABSENT_AT_START_S if self._last_answer is None else ABSENT_LATER_S
        if now - self._absent_since >= patience:
            error = ServiceGone(f"{self._url} cannot be reached: {message}")
            self._stop.request(str(error), error)

    def _is_last(self, state: RetryCallState, trail: Trail) -> bool:
        """Attempts and elapsed time are both bounded; being slowed down uses up time alone."""
        failure = state.outcome and state.outcome.exception()
        most = self._settings.attempts
        if isinstance(failure, _Again) and failure.verdict.action is Action.RETRY_TWICE:
            most = min(most, POISON_TRIES)
        too_long = (state.seconds_since_start or 0.0) >= self._settings.retry_for_s
        return trail.faults >= most or too_long

    def _wait_s(self, state: RetryCallState) -> float:
        """Seconds to the next try: jittered and growing, or Retry-After if that is longer."""
        failure = state.outcome and state.outcome.exception()
        after_s = failure.after_s if isinstance(failure, _Again) else 0.0
        return max(_BACKOFF(state), after_s)

    async def _sleep(self, seconds: float) -> None:
        """Wait for the next try, holding no slot; a stop ends the wait."""
        self._progress.retrying += 1
        try:
            with self._stop.interruptible():
                await anyio.sleep(seconds)
        finally:
            self._progress.retrying -= 1


def _money(verdict: Verdict, picture: Picture | None) -> Money:
    """What an attempt may have cost. Source: nothing is stated of failed calls, so assume it."""
    if picture is not None:
        return "spent"
    if verdict.action in {Action.RETRY, Action.RETRY_TWICE} and verdict.reason != "NOT_REACHED":
        return "unknown"
    return "free"


def _one_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).replace("\n", " ")
