"""What an answer without a picture means: for this photo, for the pace, for the run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from time import monotonic

from batch_reimagine.budget import Money
from batch_reimagine.engine import Stop
from batch_reimagine.errors import AccountRefused, Halted, Rejected, ServiceGone
from batch_reimagine.exchange import NOT_REACHED, Answer
from batch_reimagine.gate import Gate
from batch_reimagine.provider.contract import Action, Verdict
from batch_reimagine.provider.guarded import BROKEN
from batch_reimagine.provider.judging import is_success
from batch_reimagine.settings import Settings
from batch_reimagine.work import Progress

MAX_RETRY_AFTER_S = 3600.0
UNKNOWN_REFUSALS = 5  # alike, on so many photos in a row, they are not the photos' fault
ABSENT_S = 8.0  # with --no-wait
PATIENCE_S = 1800.0  # without


@dataclass(slots=True)
class Trail:
    """What happened in this run to variations that are asked for together, attempt by attempt."""

    source: str
    source_sha256: str
    numbers: tuple[int, ...]  #: variations that are still to come
    base: str
    statuses: list[int | None] = field(default_factory=list)
    faults: int = 0  #: attempts, since pictures came, that count against the most allowed
    brought: bool = False  #: the last attempt brought pictures, and the service is well
    began: float = 0.0  #: of the first attempt; the loop's clock
    task_id: str | None = None
    asked: tuple[int, ...] = ()  #: those that the last attempt asked for
    unknown: bool = False  #: it was sent and its outcome was not seen
    ours: bool = False  #: it failed by a machine of ours

    @property
    def is_no_burden(self) -> bool:
        """Whether the next attempt is no repetition of what the service refused or failed."""
        return self.ours or self.brought or not self.statuses


class Again(Exception):
    """This attempt brought nothing; whether there is another one tenacity decides."""

    def __init__(self, verdict: Verdict, *, after_s: float = 0.0) -> None:
        super().__init__(verdict)
        self.verdict, self.after_s = verdict, after_s


class Refusals:
    """One for a run; knows what was refused in a row, and since when nobody answers."""

    def __init__(
        self,
        url: str,
        settings: Settings,
        *,
        gate: Gate,
        stop: Stop,
        progress: Progress,
        note: Callable[[str], None],
    ) -> None:
        self._url = url
        self._settings = settings
        self._gate = gate
        self._stop = stop
        self._progress = progress
        self._note = note
        self._alike: tuple[str, set[str]] = ("", set())
        self._absent_since: float | None = None

    def forget(self) -> None:
        """A picture came: whatever was refused before it stands for itself."""
        self._absent_since = None
        self._alike = ("", set())

    def judged(self, answer: Answer, trail: Trail, began: float) -> Exception:
        """What to raise for an answer without a picture.

        began: when it was asked for; of monotonic().
        """
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
                gone = f"{self._url} is not there ({reason}: {message})"
                return ServiceGone(gone if reason != BROKEN else message)
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
        return Again(verdict, after_s=retry_after or 0.0)

    def _count_refusal(self, reason: str, source: str) -> None:
        """The same unrecognised refusal on several photos in a row is not about the photos."""
        alike, sources = self._alike
        self._alike = (reason, sources | {source} if alike == reason else {source})
        if len(self._alike[1]) >= UNKNOWN_REFUSALS:
            error = Halted(
                f"the service refused {UNKNOWN_REFUSALS} photos in a row with {reason}, which is"
                " not known to be about pictures. Once that is put right, add --retry-failed"
            )
            self._stop.request(str(error), error)

    def _absent(self, now: float, message: str) -> None:
        """Nobody answers: say so, and stop the run when that lasts."""
        patience = ABSENT_S if self._settings.no_wait else PATIENCE_S
        if self._absent_since is None:
            self._absent_since = now
            most = f"{patience / 60:.0f} min; --no-wait ends soon"
            if self._settings.no_wait:
                most = f"{patience:.0f} s"
            self._note(
                f"{self._url} cannot be reached ({message}); waiting for it (at most {most})"
            )
        if now - self._absent_since >= patience:
            error = ServiceGone(f"{self._url} cannot be reached: {message}")
            self._stop.request(str(error), error)


def money_of(answer: Answer) -> Money:
    """What an attempt without a picture may have cost: nothing is stated, so assume the worst."""
    verdict = answer.verdict
    if verdict.action in {Action.RETRY, Action.RETRY_TWICE} and verdict.reason != NOT_REACHED:
        return "unknown"
    if verdict.action is Action.STOP_SERVICE and is_success(answer.status or 0):
        return "unknown"  # it was made, and is no answer that we can read
    return "free"
