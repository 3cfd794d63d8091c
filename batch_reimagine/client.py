"""The one place that posts: a call has its slot, its turn, its money and its journal line first.

tenacity decides when to try again; the provider's verdict decides whether.
No other layer below retries (aiohttp does not resend a POST, and follows no redirect here).
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from time import monotonic

import anyio
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from batch_reimagine.bench import Made, Outcome
from batch_reimagine.budget import Budget, Money
from batch_reimagine.engine import Stop, Stopped
from batch_reimagine.errors import (
    Exhausted,
    LimitReached,
    ReimagineError,
    RunError,
)
from batch_reimagine.exchange import NODE_LOST, Answer
from batch_reimagine.gate import Gate
from batch_reimagine.journal import End, Journal, Try, end_of
from batch_reimagine.observing import (
    AttemptBegan,
    AttemptEnded,
    CallEnded,
    Waiting,
    Watch,
    nobody,
)
from batch_reimagine.provider import request_of
from batch_reimagine.provider.contract import Action
from batch_reimagine.refusals import Again, Refusals, Trail, money_of
from batch_reimagine.settings import Settings
from batch_reimagine.work import Progress, utc_now

POISON_TRIES = 3  # TASK_FAILED: the first and two more
BACKOFF_S = 1.0  # doubles with each fault of a call
LONGEST_BACKOFF_S = 60.0

Send = Callable[[tuple[int, ...]], Awaitable[Outcome]]  #: posts once for these variations


@dataclass(slots=True)
class _Sent:
    """One attempt, and what has become of it so far."""

    attempt: Try
    began: float  #: of monotonic()
    answer: Answer | None = None
    money: Money = "unknown"
    came: int = 0  #: whole pictures
    kept: int = 0  #: of them
    torn: int = 0  #: pictures that came and are not whole
    out_of_sight: bool = False  #: nobody knows whether pictures came, or were kept


class Client:
    """Makes what one call can bring, as often as it is asked to, until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        *,
        gate: Gate,
        budget: Budget,
        journal: Journal,
        stop: Stop,
        progress: Progress,
        refusals: Refusals,
        refused_by_disk: Callable[[], bool],
        watch: Watch = nobody,
    ) -> None:
        self._watch = watch
        self._refused_by_disk = refused_by_disk
        self._settings = settings
        self._request = request_of(settings)
        self._gate = gate
        self._budget = budget
        self._journal = journal
        self._stop = stop
        self._progress = progress
        self._settled = anyio.Event()
        self._refusals = refusals

    async def make(
        self,
        send: Send,
        trail: Trail,
        keep: Callable[[Made], Awaitable[None]],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Send until there is a picture, and enter it in the books before the slot is free again.

        trail: which variations; those that came are taken from its numbers. An answer may
        bring fewer than it was asked for: then the rest is asked for by calling this again.
        send: posts once for some of them, and keeps the pictures that come; raises only if it
        did not post.
        keep: enters one.
        wanted: asked before each attempt is begun; "no" raises Stopped.

        Raises Rejected or Exhausted for these variations alone, Stopped when no
        attempt may be begun any more, and RunError when no photo can succeed.
        """
        first = trail.numbers[0]
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Again),
            wait=lambda state: self._wait_s(state, trail),
            stop=lambda state: self._is_last(state, trail),
            sleep=lambda seconds: self._sleep(seconds, len(trail.numbers)),
            before_sleep=lambda state: self._tell_wait(state, trail),
            reraise=True,
        )
        try:
            await retrying(self._attempt, send, trail, keep, wanted)
        except Again as last:
            verdict = last.verdict
            raise Exhausted(verdict.reason or "FAILED", verdict.message or "no picture") from None
        finally:
            self._watch(CallEnded(trail.source, first))

    async def _attempt(
        self,
        send: Send,
        trail: Trail,
        keep: Callable[[Made], Awaitable[None]],
        wanted: Callable[[], bool],
    ) -> None:
        if not wanted():
            raise Stopped
        async with self._gate.slot(first=trail.is_no_burden):
            if not wanted():
                raise Stopped
            sent = _Sent(await self._begin(trail), monotonic())
            trail.unknown = True
            self._progress.in_flight += 1
            name = f"{trail.source} #{sent.attempt.variation}"
            self._progress.flying[name] = sent.began
            try:
                try:
                    outcome = await send(sent.attempt.numbers)
                except ReimagineError:
                    sent.money, trail.unknown = "free", False
                    raise
                except Exception:  # a bug, or a program at its end: its picture may lie there
                    sent.out_of_sight = True
                    raise
                self._note_answer(outcome, sent, trail)
                for made in filter(None, outcome.made):
                    await keep(made)
                    sent.kept += 1
                trail.numbers = outcome.lacking(trail.numbers)
                if outcome.error is not None:
                    raise outcome.error
                if trail.ours:  # it says nothing about the service, nor about the photo
                    raise Again(outcome.answer.verdict)
                if not sent.came:
                    raise self._refusals.judged(outcome.answer, trail, sent.began)
            except RunError as error:
                # Before the slot is free: nobody begins another call after this one.
                self._stop.request(str(error), error)
                raise Stopped from None
            finally:
                in_flight = self._progress.in_flight
                self._progress.in_flight -= 1
                self._progress.flying.pop(name, None)
                self._settle(sent)
            self._refusals.forget()
            self._gate.succeeded(sent.began, in_flight)

    def _note_answer(self, outcome: Outcome, sent: "_Sent", trail: Trail) -> None:
        answer = sent.answer = outcome.answer
        sent.came, sent.torn = outcome.came, outcome.torn
        if outcome.posted:
            sent.money = "spent" if outcome.came else money_of(answer)
            trail.statuses[-1] = answer.status
        else:
            sent.money = "free"  # its call was accounted for when it was lost
            trail.statuses.pop()
            self._progress.calls -= 1
        trail.unknown = False
        trail.task_id = answer.verdict.task_id or trail.task_id
        trail.ours = answer.verdict.reason == NODE_LOST
        trail.brought = outcome.came > 0
        if trail.brought:
            trail.faults = 0
        if answer.verdict.credits_left is not None:
            self._progress.credits_left = answer.verdict.credits_left

    def paid_before(self, cost: Decimal) -> None:
        """A picture was found that this budget has not counted."""
        self._budget.spent += cost

    async def _begin(self, trail: Trail) -> Try:
        """Reserve the money and write the attempt down, durably; then it may be sent."""
        if self._stop.requested:
            raise Stopped
        try:
            while not (count := self._budget.reserve(len(trail.numbers))):
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
            variation=trail.numbers[0],
            also=trail.numbers[1:count],
            attempt=len(trail.statuses) + 1,
            base=trail.base,
            provider=self._settings.provider,
            request=self._request,
            price=None if self._budget.price is None else str(self._budget.price),
        )
        try:
            await self._journal.begin(attempt)
        except BaseException:
            self._budget.cancel(count)
            raise
        if self._is_held_back():
            self._journal.end(End(id=attempt.id, money="free"))
            self._budget.cancel(count)
            raise Stopped
        if not trail.statuses:
            trail.began = monotonic()
        trail.statuses.append(None)
        trail.asked = attempt.numbers
        self._progress.calls += 1
        self._watch(AttemptBegan(attempt))
        return attempt

    def _is_held_back(self) -> bool:
        """Whether a call that is ready to go must not: a limit is no reason, it still fits."""
        stopped = self._stop.requested and not isinstance(self._stop.error, LimitReached)
        return stopped or self._refused_by_disk()

    def _settle(self, sent: "_Sent") -> None:
        attempt, answer = sent.attempt, sent.answer
        status = None if answer is None else answer.status
        not_kept = sent.came - sent.kept
        if not_kept or sent.out_of_sight:  # it stays open: the next run looks for them
            self._progress.unknown += not_kept or len(attempt.numbers)
        elif sent.money == "spent":
            self._journal.end(end_of(attempt, sent.came, status, lost=sent.torn))
        else:
            self._journal.end(End(id=attempt.id, money=sent.money, http=status))
        asked, lost = len(attempt.numbers), not_kept + sent.torn
        self._budget.settle(sent.money, asked, sent.kept, lost)
        self._settled.set()
        self._settled = anyio.Event()
        if self._budget.price is not None:
            self._progress.spent = str(self._budget.spent)
            self._progress.at_risk = str(self._budget.at_risk)
        seconds, verdict = monotonic() - sent.began, None if answer is None else answer.verdict
        self._watch(AttemptEnded(attempt, status, seconds, verdict, sent.money, sent.came))

    def _is_last(self, state: RetryCallState, trail: Trail) -> bool:
        """Attempts and elapsed time are both bounded; being slowed down uses up time alone."""
        failure = state.outcome and state.outcome.exception()
        most = self._settings.attempts
        if isinstance(failure, Again) and failure.verdict.action is Action.RETRY_TWICE:
            most = min(most, POISON_TRIES)
        too_long = monotonic() - trail.began >= self._settings.retry_for_s
        return trail.faults >= most or too_long

    def _wait_s(self, state: RetryCallState, trail: Trail) -> float:
        """Seconds to the next try: jittered, growing with its own faults; or Retry-After.

        What all calls wait for together (the pace, an outage) the gate makes them wait for.
        """
        failure = state.outcome and state.outcome.exception()
        after_s = failure.after_s if isinstance(failure, Again) else 0.0
        longest_s = min(LONGEST_BACKOFF_S, BACKOFF_S * 2.0 ** min(trail.faults, 10))
        return max(random.uniform(BACKOFF_S / 5, longest_s), after_s)  # noqa: S311 - jitter

    def _tell_wait(self, state: RetryCallState, trail: Trail) -> None:
        failure = state.outcome and state.outcome.exception()
        if state.next_action is not None and isinstance(failure, Again):
            reason = failure.verdict.reason or "FAILED"
            wait_s = state.next_action.sleep
            self._watch(Waiting(trail.source, trail.numbers[0], wait_s, reason))

    async def _sleep(self, seconds: float, variations: int) -> None:
        """Wait for the next try, holding no slot; a stop ends the wait."""
        self._progress.retrying += variations
        try:
            with self._stop.interruptible():
                await anyio.sleep(seconds)
        finally:
            self._progress.retrying -= variations
