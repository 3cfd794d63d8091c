"""What happens in a run, told to whoever wants to know: a log, metrics, traces.

The engine calls one function with small values, in the loop's thread, and knows none of those
who listen. A listener returns at once and awaits nothing.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from batch_reimagine.budget import Money
from batch_reimagine.journal import Try
from batch_reimagine.provider.contract import Action, Verdict
from batch_reimagine.settings import Settings
from batch_reimagine.work import Event, Progress

_LOG = logging.getLogger("batch_reimagine.run")


@dataclass(frozen=True, slots=True)
class Began:
    """The output is open, and nothing was sent yet."""

    run: str  #: id, as in the rows
    settings: Settings
    progress: Progress  #: kept up to date; for reading at any time


@dataclass(frozen=True, slots=True)
class AttemptBegan:
    """One post is written down and about to be sent."""

    attempt: Try


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """What became of it. By now its pictures, if any came, are durable."""

    attempt: Try
    status: int | None  #: None: no answer came
    seconds: float  #: until its pictures were durable
    verdict: Verdict | None  #: None: dropped, or refused on this machine; without its pictures
    money: Money
    came: int  #: pictures

    @property
    def reason(self) -> str | None:
        """Why it brought nothing: the service's word, or ours; None if it brought a picture."""
        if self.verdict is None:
            return "NOT_SENT" if self.money == "free" else "DROPPED"
        return None if self.verdict.action is Action.KEEP else self.verdict.reason or "FAILED"


@dataclass(frozen=True, slots=True)
class Waiting:
    """An attempt brought nothing, and there will be another."""

    source: str
    variation: int  #: the first that is asked for
    seconds: float  #: at least; all that wait for the pace wait longer
    reason: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """Pictures came, or there will be no more attempts; or the run is over."""

    source: str
    variation: int  #: the first that was asked for; no two calls at a time have the same


@dataclass(frozen=True, slots=True)
class Stopping:
    """From here on no new call is begun."""

    reason: str
    error: BaseException | None  #: None: asked for, as by Ctrl-C


Moment = Began | AttemptBegan | AttemptEnded | Waiting | CallEnded | Stopping | Event
Watch = Callable[[Moment], None]


def nobody(moment: Moment) -> None:
    """Listen to nothing."""
    del moment


class Everyone:
    """Tells several listeners. One that raises is told nothing more; the run goes on."""

    def __init__(self, *watches: Watch) -> None:
        self._watches = [watch for watch in watches if watch is not nobody]

    def __call__(self, moment: Moment) -> None:
        for watch in self._watches:
            try:
                watch(moment)
            except Exception:  # noqa: BLE001 - whoever looks on must not cost a picture
                self._watches = [other for other in self._watches if other is not watch]
                _LOG.exception("a listener failed and is told nothing more")
