"""The one place that posts: a call has its slot, its turn, its money and its journal line first.

tenacity decides when to try again; the provider's verdict decides whether.
No other layer below retries (aiohttp does not resend a POST, and follows no redirect here).
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from http import HTTPStatus
from time import monotonic
from typing import TypeVar

import anyio
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from batch_reimagine.bench import Made, Outcome
from batch_reimagine.budget import Budget, Money
from batch_reimagine.engine import Stop, Stopped
from batch_reimagine.errors import (
    AccountRefused,
    Exhausted,
    Halted,
    LimitReached,
    ReimagineError,
    Rejected,
    RunError,
    ServiceGone,
)
from batch_reimagine.exchange import NODE_LOST, NOT_REACHED, Answer
from batch_reimagine.gate import Gate
from batch_reimagine.journal import Journal, Try
from batch_reimagine.provider.contract import Action, Verdict
from batch_reimagine.settings import Settings
from batch_reimagine.work import Progress, utc_now

MAX_RETRY_AFTER_S = 3600.0
POISON_TRIES = 3  # TASK_FAILED: the first and two more
UNKNOWN_REFUSALS = 5  # alike, on so many photos in a row, they are not the photos' fault
ABSENT_S = 8.0  # with --no-wait
PATIENCE_S = 1800.0  # without
BACKOFF_S = 1.0  # doubles with each fault of a call
LONGEST_BACKOFF_S = 60.0

T = TypeVar("T")


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
    ours: bool = False  #: it failed by a machine of ours, so the next is no burden on the service


class _Again(Exception):
    """This attempt brought nothing; whether there is another one tenacity decides."""

    def __init__(self, verdict: Verdict, *, after_s: float = 0.0) -> None:
        super().__init__(verdict)
        self.verdict, self.after_s = verdict, after_s


class Client:
    """Makes one variation at a time, as often as it is asked to, until it is told to stop."""

    def __init__(
        self,
        url: str,
        settings: Settings,
        *,
        gate: Gate,
        budget: Budget,
        journal: Journal,
        stop: Stop,
        progress: Progress,
        note: Callable[[str], None],
        refused_by_disk: Callable[[], bool],
    ) -> None:
        self._refused_by_disk = refused_by_disk
        self._url = url
        self._settings = settings
        self._gate = gate
        self._budget = budget
        self._journal = journal
        self._stop = stop
        self._progress = progress
        self._note = note
        self._settled = anyio.Event()
        self._refusals: tuple[str, set[str]] = ("", set())
        self._absent_since: float | None = None

    async def make(
        self,
        send: Callable[[], Awaitable[Outcome]],
        trail: Trail,
        keep: Callable[[Made], Awaitable[T]],
        wanted: Callable[[], bool] = lambda: True,
    ) -> T:
        """Send until there is a picture, and enter it in the books before the slot is free again.

        send: posts once, and keeps the picture that comes; raises only if it did not post.
        keep: enters it.
        wanted: asked before each attempt is begun; "no" raises Stopped.

        Raises Rejected or Exhausted for this variation alone, Stopped when no
        attempt may be begun any more, and RunError when no photo can succeed.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_Again),
            wait=lambda state: self._wait_s(state, trail),
            stop=lambda state: self._is_last(state, trail),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return await retrying(self._attempt, send, trail, keep, wanted)
        except _Again as last:
            verdict = last.verdict
            raise Exhausted(verdict.reason or "FAILED", verdict.message or "no picture") from None

    async def _attempt(
        self,
        send: Callable[[], Awaitable[Outcome]],
        trail: Trail,
        keep: Callable[[Made], Awaitable[T]],
        wanted: Callable[[], bool],
    ) -> T:
        if not wanted():
            raise Stopped
        async with self._gate.slot(first=trail.ours or not trail.statuses):
            if not wanted():
                raise Stopped
            attempt = await self._begin(trail)
            kept = False
            money: Money = "unknown"
            status: int | None = None
            began = monotonic()
            trail.unknown = True
            self._progress.in_flight += 1
            name = f"{trail.source} #{trail.variation}"
            self._progress.flying[name] = began
            try:
                try:
                    outcome = await send()
                except ReimagineError:
                    money, trail.unknown = "free", False
                    raise
                answer = outcome.answer
                trail.statuses[-1] = status = answer.status
                trail.task_id = answer.verdict.task_id or trail.task_id
                money = "spent" if outcome.paid else _money(answer)
                trail.unknown = False
                if outcome.error is not None:
                    raise outcome.error
                trail.ours = answer.verdict.reason == NODE_LOST
                if trail.ours:  # it says nothing about the service, nor about the photo
                    raise _Again(answer.verdict)
                if outcome.made is None:
                    raise self._refused(answer, trail, began)
                result, kept = await keep(outcome.made), True
            except RunError as error:
                # Before the slot is free: nobody begins another call after this one.
                self._stop.request(str(error), error)
                raise Stopped from None
            finally:
                in_flight = self._progress.in_flight
                self._progress.in_flight -= 1
                self._progress.flying.pop(name, None)
                # A picture that could not be kept stays open: the next run looks for it.
                self._settle(attempt, money, status, stays_open=money == "spent" and not kept)
            self._absent_since = None
            self._refusals = ("", set())
            self._gate.succeeded(began, in_flight)
            return result

    def paid_before(self, cost: Decimal) -> None:
        """A picture was found that this budget has not counted."""
        self._budget.spent += cost

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
            provider=self._settings.provider,
            request=self._settings.request,
            price=None if self._budget.price is None else str(self._budget.price),
        )
        try:
            await self._journal.begin(attempt)
        except BaseException:
            self._budget.cancel()
            raise
        if self._is_held_back():
            self._journal.end(attempt.id, "free", None)
            self._budget.cancel()
            raise Stopped
        if not trail.statuses:
            trail.began = monotonic()
        trail.statuses.append(None)
        self._progress.calls += 1
        return attempt

    def _is_held_back(self) -> bool:
        """Whether a call that is ready to go must not: a limit is no reason, it still fits."""
        stopped = self._stop.requested and not isinstance(self._stop.error, LimitReached)
        return stopped or self._refused_by_disk()

    def _settle(
        self, attempt: Try, money: Money, status: int | None, *, stays_open: bool = False
    ) -> None:
        if stays_open:
            self._progress.unknown += 1
        else:
            self._journal.end(attempt.id, money, status)
        self._budget.settle("unknown" if stays_open else money)
        self._settled.set()
        self._settled = anyio.Event()
        if self._budget.price is not None:
            self._progress.spent = str(self._budget.spent)
            self._progress.at_risk = str(self._budget.at_risk)

    def _refused(self, answer: Answer, trail: Trail, began: float) -> Exception:
        """What to raise for an answer without a picture."""
        now = monotonic()
        verdict, retry_after = answer.verdict, answer.retry_after_s
        reason, message = verdict.reason or "FAILED", verdict.message or "no picture"
        if reason == NOT_REACHED:
            self._absent(now, message)
        else:
            self._absent_since = None
        match verdict.action:
            case Action.STOP_ACCOUNT:
                return AccountRefused(f"{reason}: {message}. Put the key or the account right")
            case Action.STOP_SERVICE:
                return ServiceGone(f"{self._url} is not there ({reason}: {message})")
            case Action.REJECT:
                self._gate.refused_picture(began)
                return Rejected(reason, message)
            case Action.REJECT_UNKNOWN:
                self._gate.refused_picture(began)
                self._count_refusal(reason, trail.source)
                return Rejected(reason, message)
        if retry_after is not None and retry_after > MAX_RETRY_AFTER_S:
            return ServiceGone(
                f"the service asks to wait {retry_after:.0f} s ({reason}: {message})"
            )
        in_flight, throttle = self._progress.in_flight, verdict.action is Action.SLOW_DOWN
        if throttle or answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            self._gate.slow_down(began, in_flight, retry_after, throttle=throttle)
        else:
            self._gate.failed(began)
        if not (throttle or reason == NOT_REACHED or self._gate.in_outage(began)):
            trail.faults += 1
        return _Again(verdict, after_s=retry_after or 0.0)

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
            self._note(
                f"{self._url} cannot be reached ({message}); waiting for it"
                f" (at most {PATIENCE_S / 60:.0f} min; --no-wait ends at once)"
            )
        patience = ABSENT_S if self._settings.no_wait else PATIENCE_S
        if now - self._absent_since >= patience:
            error = ServiceGone(f"{self._url} cannot be reached: {message}")
            self._stop.request(str(error), error)

    def _is_last(self, state: RetryCallState, trail: Trail) -> bool:
        """Attempts and elapsed time are both bounded; being slowed down uses up time alone."""
        failure = state.outcome and state.outcome.exception()
        most = self._settings.attempts
        if isinstance(failure, _Again) and failure.verdict.action is Action.RETRY_TWICE:
            most = min(most, POISON_TRIES)
        too_long = monotonic() - trail.began >= self._settings.retry_for_s
        return trail.faults >= most or too_long

    def _wait_s(self, state: RetryCallState, trail: Trail) -> float:
        """Seconds to the next try: jittered, growing with its own faults; or Retry-After.

        What all calls wait for together (the pace, an outage) the gate makes them wait for.
        """
        failure = state.outcome and state.outcome.exception()
        after_s = failure.after_s if isinstance(failure, _Again) else 0.0
        longest_s = min(LONGEST_BACKOFF_S, BACKOFF_S * 2.0 ** min(trail.faults, 10))
        return max(random.uniform(BACKOFF_S / 5, longest_s), after_s)  # noqa: S311 - jitter

    async def _sleep(self, seconds: float) -> None:
        """Wait for the next try, holding no slot; a stop ends the wait."""
        self._progress.retrying += 1
        try:
            with self._stop.interruptible():
                await anyio.sleep(seconds)
        finally:
            self._progress.retrying -= 1


def _money(answer: Answer) -> Money:
    """What an attempt without a picture may have cost: nothing is stated, so assume the worst."""
    verdict = answer.verdict
    if verdict.action in {Action.RETRY, Action.RETRY_TWICE} and verdict.reason != NOT_REACHED:
        return "unknown"
    return "free"
