"""Further variations of one product, made by the same engine as every run. One at a time."""

import dataclasses
import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import anyio
from anyio import to_thread

from batch_reimagine.engine import Stop, Stopped
from batch_reimagine.errors import OutputBusy, ReimagineError, UsageError
from batch_reimagine.last_run import LastRun, Originals
from batch_reimagine.lock import holder_of
from batch_reimagine.naming import STATE_DIR
from batch_reimagine.output import Tree
from batch_reimagine.places import place_of
from batch_reimagine.settings import Settings
from batch_reimagine.work import Event, Note, Progress

MOST = 20  #: variations at once
_MOST_QUEUED = 100
_ESCAPED = re.compile(r"[\\*?\[\]!# ]")


@dataclass(frozen=True, slots=True)
class Asked:
    """So many more of this source."""

    source: str
    content: str  #: sha256 of the photo that it shall be of
    count: int


@dataclass(frozen=True, slots=True)
class How:
    """How more would be made."""

    last: LastRun | None
    key: str
    why_not: str | None  #: it cannot be


def pattern(source: str) -> str:
    r"""The .gitignore pattern that matches this one source.

    Source: gitignore(5), "Pattern format": a leading slash anchors, a backslash escapes.
    """
    return "/" + _ESCAPED.sub(r"\\\g<0>", source)


class More:
    """The queue, and what works it off."""

    def __init__(
        self,
        tree: Tree,
        originals: Originals,
        how: Callable[[], How],
        *,
        note: Callable[[str], None],
        begun_or_ended: Callable[[], None],
    ) -> None:
        self.why_not: str | None = None  #: None: it can be asked for
        self.last: LastRun | None = None
        self.making: Asked | None = None
        self.idle = anyio.Event()  #: set when what is being made is made
        self.progress = Progress()
        self._how = how
        self._ended = Stop()  # of all; each run has one of its own, for what stops that alone
        self._run = Stop()
        self._tree = tree
        self._originals = originals
        self._key = ""
        self._note = note
        self._begun_or_ended = begun_or_ended
        self._queue: deque[Asked] = deque()
        self._news = anyio.Event()

    def recall(self) -> None:
        """Look how it would be made now: the last run may be another by this time. Blocks."""
        try:
            how = self._how()
        except ReimagineError as error:
            how = How(None, "", str(error))
        self.last, self._key, self.why_not = how.last, how.key, how.why_not

    def end(self) -> None:
        """Begin nothing more; what is in flight is kept."""
        self._ended.request("interrupted")
        self._run.request("interrupted")

    def drop(self) -> None:
        """Do not even finish that."""
        self.end()
        self._run.drop("interrupted twice")

    async def ask(self, asked: Asked) -> None:
        """Queue it. Raises UsageError if it cannot be made, and OutputBusy."""
        await to_thread.run_sync(self.recall)
        if self._ended.requested:
            raise UsageError("the server is ending")
        if self.why_not is not None or self.last is None:
            raise UsageError(self.why_not or "nothing is known of the run that made this output")
        if len(self._queue) >= _MOST_QUEUED:
            raise UsageError("too many are waiting: ask again when some are made")
        if self.making is None:
            holder = await to_thread.run_sync(holder_of, self._tree.root / STATE_DIR)
            if holder is not None and self.making is None:
                raise OutputBusy(
                    f"a run is going on ({holder[0]}): more can be made when it has ended"
                )
        await to_thread.run_sync(self._plan, asked)
        self._queue.append(asked)
        self._news.set()

    async def work(self) -> None:
        """Make what is asked for, until the stop is requested."""
        try:
            while not self._ended.requested:
                while self._queue and not self._ended.requested:
                    self.making, self.idle = self._queue[0], anyio.Event()
                    self.progress = Progress()
                    self._begun_or_ended()
                    try:
                        await self._make(self._queue.popleft())
                    finally:
                        self.making = None
                        self.idle.set()
                        self._begun_or_ended()
                self._news = anyio.Event()
                with suppress(Stopped), self._ended.interruptible():
                    await self._news.wait()
        finally:
            self._queue.clear()

    async def _make(self, asked: Asked) -> None:
        from batch_reimagine import batch  # noqa: PLC0415 - heavy, and seldom needed

        self._run = Stop()
        try:
            await to_thread.run_sync(self.recall)
            settings = await to_thread.run_sync(self._plan, asked)
            assert self.last is not None  # noqa: S101 - `_plan` refuses without
            if self._ended.requested:
                return
            await batch.run(
                [place_of(text) for text in self.last.inputs],
                self._tree.place,
                settings,
                key=self._key,
                emit=self._tell,
                stop=self._run,
                progress=self.progress,
                only=bytes.fromhex(asked.content),
            )
            if self.progress.made < asked.count and not self.progress.failed:
                self._note(f"{asked.source}: it was changed meanwhile, and nothing was bought")
            if self.progress.failed:
                why = ", ".join(sorted(self.progress.failures)) or "see its reason"
                self._note(f"{asked.source}: not all could be made ({why})")
        except ReimagineError as error:
            self._note(f"{asked.source}: {error}")
        except OSError as error:
            self._note(f"{asked.source}: {error.strerror or error}")

    def _plan(self, asked: Asked) -> Settings:
        """The settings that make just so many new ones. Raises UsageError, or as a run would.

        The engine itself is asked, without touching anything: what counts as there is its
        to say (whole, of this content, not held), and copies from elsewhere cost nothing.
        """
        from batch_reimagine import batch  # noqa: PLC0415 - heavy, and seldom needed

        last = self.last
        if last is None:
            raise UsageError(self.why_not or "nothing is known of the run that made this output")
        inputs = [place_of(text) for text in last.inputs]
        if self._originals.read(asked.source, asked.content) is None:
            raise UsageError(
                "its original is gone or was changed since: put it back, name its folder with"
                " --photos, or make variations of the new one with the command run"
            )

        def plan(variations: int) -> tuple[Settings, int, int]:
            settings = dataclasses.replace(
                last.settings,
                variations=variations,
                include=(pattern(asked.source),),
                exclude=(),
                limit=None,
                retry_failed=True,
                rehash=False,
            )
            content = bytes.fromhex(asked.content)
            found = batch.plan(inputs, self._tree.place, settings, only=content)
            if found.photos != 1:
                raise UsageError(f"{found.photos} photos bear its name: use the command run")
            return settings, found.here + found.held, found.to_make

        _, here, _ = plan(1)
        settings, _, to_make = plan(here + asked.count)
        if to_make < asked.count:  # some are copies of what another source has
            settings, _, to_make = plan(here + 2 * asked.count - to_make)
        if to_make != asked.count:
            raise UsageError(
                f"{to_make} would be made, not {asked.count}: another photo has the same content;"
                " use the command run"
            )
        return settings

    async def _tell(self, event: Event) -> None:
        if isinstance(event, Note):
            self._note(event.text)
