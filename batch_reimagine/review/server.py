"""The server, from start to Ctrl-C."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import anyio
from aiohttp import web
from anyio import to_thread

from batch_reimagine.errors import ReimagineError, RunError, UsageError
from batch_reimagine.last_run import Originals
from batch_reimagine.output import Tree
from batch_reimagine.picks import CSV_FILE
from batch_reimagine.places import Place
from batch_reimagine.renditions import Renditions, open_renditions
from batch_reimagine.review.ahead import make_ahead
from batch_reimagine.review.api import Api
from batch_reimagine.review.far import EVERY_S, Far
from batch_reimagine.review.guard import Guard, set_headers
from batch_reimagine.review.more import How, More
from batch_reimagine.review.pictures import Pictures
from batch_reimagine.review.shelf import Shelf, Turn
from batch_reimagine.review.tabs import Tabs

_EVERY_S = 0.5
_CSV_AFTER_S = 1.0  # after the last decision
_CSV_AT_LATEST_S = 10.0  # after the first one that is not in it
_SHUTDOWN_S = 0.3
_RATE_S = 60.0
_LINGER_S = 2.0  # for the rest of a body that was refused
_ID, _N = "{id:[0-9a-f]{20}}", "{n:[0-9]{1,4}}"


@dataclass(frozen=True, slots=True)
class Options:
    """What to serve, and where."""

    tree: Tree
    photos: tuple[Place, ...]  #: the inputs, to show originals from
    store_options: Mapping[str, str]  #: for those in object stores
    how: Callable[[], How]  #: to make more; blocks
    unexpected: Callable[[BaseException], None]  #: told of what is a bug
    host: str
    port: int  #: 0: a free one


async def serve(
    options: Options,
    announce: Callable[[str], None],
    warn: Callable[[str], None],
    ended: anyio.Event,
    dropped: anyio.Event,
) -> None:
    """Serve until `ended` is set; then finish what may have been paid for, unless `dropped` is.

    announce: told the address, anew each time that its token was used.
    Raises OutputMismatch for an output that cannot be read, UsageError for a port that is taken.
    """
    originals = await to_thread.run_sync(Originals, options.photos, options.store_options)
    shelf = Shelf(options.tree, originals)
    far = Far(options.tree, shelf)
    try:
        await to_thread.run_sync(far.share)
    except ReimagineError as error:  # what is here can be looked at all the same
        warn(str(error))
    first = await to_thread.run_sync(shelf.look)
    last = (await to_thread.run_sync(options.how)).last
    most = int((last.settings.max_megapixels if last else 200.0) * 1_000_000)
    async with open_renditions(options.tree, originals, max_pixels=most) as renditions:
        server = _Server(options, shelf, far, renditions, warn)
        guard = Guard(options.host, announce, options.unexpected)
        await server.run(first, guard, ended, dropped)


class _Server:
    def __init__(
        self,
        options: Options,
        shelf: Shelf,
        far: Far,
        renditions: Renditions,
        warn: Callable[[str], None],
    ) -> None:
        self._options = options
        self._shelf = shelf
        self._far = far
        self._renditions = renditions
        self._warn = warn
        self._tabs = Tabs(shelf)
        self._look_now = anyio.Event()
        self._more = More(
            options.tree,
            shelf.originals,
            options.how,
            note=self._tabs.note,
            begun_or_ended=self._more_turned,
        )
        self._api = Api(options.tree, shelf, self._tabs, self._more, self._decided)
        self._rate: deque[tuple[float, int]] = deque()
        self._told = ""
        self._undone: tuple[float, float] | None = None  # first and last decision not in the CSV

    async def run(
        self, first: Turn, guard: Guard, ended: anyio.Event, dropped: anyio.Event
    ) -> None:
        self._tabs.run(self._standing(first))
        runner = web.AppRunner(
            self._app(guard),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=_SHUTDOWN_S,
            lingering_time=_LINGER_S,
        )
        await runner.setup()
        try:
            options = self._options
            try:
                await web.TCPSite(runner, options.host, options.port).start()
            except OSError as error:
                raise UsageError(
                    f"cannot listen on {options.host} port {options.port}: {error.strerror}"
                ) from None
            guard.open(runner.addresses[0][1])
            async with anyio.create_task_group() as group:
                group.start_soon(self._follow)
                group.start_soon(make_ahead, self._shelf, self._renditions)
                group.start_soon(self._more.work)
                group.start_soon(self._keep_up)
                await ended.wait()
                await self._finish(dropped)
                group.cancel_scope.cancel()
        finally:
            self._tabs.end()
            self._api.ended.set()
            with anyio.CancelScope(shield=True):
                await runner.cleanup()
                with suppress(RunError, OSError):
                    if (await to_thread.run_sync(self._shelf.look)).decided:
                        self._decided()
                await self._write_csv(at_once=True)
                await self._share_at_last()

    async def _finish(self, dropped: anyio.Event) -> None:
        """Calls in flight are paid for: they are kept, unless somebody says no twice."""
        self._more.end()
        self._shelf.give_up()
        if self._more.making is None:
            return
        self._warn("finishing the calls in flight; Ctrl-C again drops them")

        async def drop() -> None:
            await dropped.wait()
            self._more.drop()

        async with anyio.create_task_group() as group:
            group.start_soon(drop)
            await self._more.idle.wait()
            group.cancel_scope.cancel()

    def _app(self, guard: Guard) -> web.Application:
        app = web.Application(middlewares=[guard.middleware])
        app.on_response_prepare.append(set_headers)
        pictures, api = Pictures(self._shelf, self._renditions), self._api
        add = app.router.add_get
        for path, handler in {
            "/login": guard.login,
            "/": api.page,
            "/page/{name:.+}": api.page,
            "/api/state": api.state,
            "/api/events": self._tabs.listen,
            f"/api/pictures/{_ID}/{_N}": pictures.picture,
            f"/api/thumbs/{_ID}/{_N}": pictures.thumbnail,
        }.items():
            add(path, handler, allow_head=False)  # a look at its head must not use up a token
        app.router.add_put(f"/api/products/{_ID}/choice", api.choose)
        app.router.add_post(f"/api/products/{_ID}/more", api.more)
        app.router.add_post("/api/export", api.export)
        return app

    async def _follow(self) -> None:
        """Tell the tabs what changes on the disk."""
        while True:
            try:
                turn = await to_thread.run_sync(self._shelf.look)
            except (RunError, OSError) as error:
                self._complain(str(error))
            else:
                self._tabs.products(turn.changed)
                if turn.decided and self._undone is None:
                    self._decided()
                self._tabs.run(self._standing(turn))
            await self._write_csv(at_once=False)
            with anyio.move_on_after(_EVERY_S):
                await self._look_now.wait()
            self._look_now = anyio.Event()

    async def _keep_up(self) -> None:
        """Take in and give what a store has, every two seconds."""
        while self._options.tree.remote:
            try:
                notes = await to_thread.run_sync(self._far.turn, abandon_on_cancel=True)
            except (ReimagineError, OSError) as error:
                self._complain(str(error))
            else:
                for note in notes:
                    self._complain(note)
            await anyio.sleep(EVERY_S)

    async def _share_at_last(self) -> None:
        try:
            for note in await to_thread.run_sync(self._far.finish):
                self._warn(note)
        except (ReimagineError, OSError) as error:
            self._warn(
                f"{error}. What was decided is kept in {self._options.tree.root}, and goes to the"
                " store with the next review or pick"
            )

    def _more_turned(self) -> None:
        if self._more.making is not None:
            self._tabs.run(self._making())
        self._look_now.set()

    def _making(self) -> dict[str, object]:
        made, asked = self._more.progress.made, self._more.making
        wanted = asked and asked.count
        return {"running": True, "made": made, "wanted": wanted, "per_minute": None}

    def _standing(self, turn: Turn) -> dict[str, object]:
        if self._more.making is not None:
            return self._making()
        now, rate = time.monotonic(), self._rate
        if not turn.running:
            rate.clear()
        rate.append((now, self._shelf.done))
        while now - rate[0][0] > _RATE_S:
            rate.popleft()
        seconds, made = now - rate[0][0], self._shelf.done - rate[0][1]
        return {
            "running": turn.running,
            "made": self._shelf.done,
            "wanted": turn.wanted,
            "per_minute": round(made / seconds * 60, 1) if made > 0 and seconds > 1 else None,
        }

    def _decided(self) -> None:
        now = time.monotonic()
        self._undone = (self._undone[0] if self._undone else now, now)
        self._look_now.set()

    async def _write_csv(self, *, at_once: bool) -> None:
        if self._undone is None:
            return
        first, last = self._undone
        now = time.monotonic()
        if at_once or now - last >= _CSV_AFTER_S or now - first >= _CSV_AT_LATEST_S:
            self._undone = None
            try:
                aside = await to_thread.run_sync(self._shelf.write_csv)
            except ReimagineError as error:
                self._undone = (now, now)  # and again, until the disk takes it
                self._complain(str(error))
            else:
                if aside is not None:
                    self._complain(
                        f"{CSV_FILE} had been edited: it is {aside.name} now;"
                        f" `batch-reimagine pick OUT --from {aside.name}` takes it in"
                    )

    def _complain(self, text: str) -> None:
        """Once each."""
        if text != self._told:
            self._told = text
            self._tabs.note(text)
            with suppress(OSError):
                self._warn(text)
