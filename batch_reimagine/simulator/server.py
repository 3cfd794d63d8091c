"""The Reimagine API on localhost: reads a call, decides its end, sends it, writes it down.

What is checked, in this order: outage, key, form of the body, images a minute, calls at once, the
picture, the balance; then chance. Paths that begin with `/_` are the simulator's own.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web
from PIL import Image

from batch_reimagine.simulator import answers
from batch_reimagine.simulator.answers import Answer
from batch_reimagine.simulator.behaviour import Behaviour
from batch_reimagine.simulator.faults import Draw, Fate, draw
from batch_reimagine.simulator.intake import Ask, check_key, open_photo, read_ask
from batch_reimagine.simulator.limits import Bucket, Gate
from batch_reimagine.simulator.log import Call, Ledger
from batch_reimagine.simulator.pictures import vary
from batch_reimagine.simulator.reasons import Refusal
from batch_reimagine.simulator.sending import Dropped, hang, send, send_reset, send_truncated

MAX_BODY_BYTES: Final = 64 * 1000 * 1000
PRICE_UNITS: Final = 100  # what a picture takes from the balance shown, in 1/10000 USD; made up
ENDLESS_UNITS: Final = 100_000_000
_SHUTDOWN_S: Final = 0.1  # long enough for an answer on its way, too short to wait for a hang
_BACKLOG: Final = 1024

_T = TypeVar("_T")


class Simulator:
    """One account and its limits behind the service's paths."""

    def __init__(self, behaviour: Behaviour, log: Path | None) -> None:
        self.behaviour = behaviour
        self.ledger = Ledger(log)
        self._bucket = Bucket()
        self._gate = Gate()
        self._promised: set[int] = set()  # calls whose picture the balance is to pay
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, "simulator")
        self._paths: dict[tuple[str, str], Callable[[web.Request], Awaitable[Answer]]] = {
            ("GET", "/openapi/v1/billing/balance/detail"): self._balance,
            ("GET", "/v3/user"): self._user,
            ("POST", "/_control"): self._control,
            ("GET", "/_stats"): self._stats,
            ("GET", "/_calls"): self._calls,
        }

    async def aclose(self, _: object = None) -> None:
        # shutdown() waits for the picture that a thread may still be making: not on the loop.
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self.ledger.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request; several leading slashes count as one, as some clients send two."""
        try:
            return await self._handle(request)
        except Dropped:
            return web.Response()  # to nobody: the web server sees the closed connection and ends

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = "/" + request.path.lstrip("/")
        if (request.method, path) == ("POST", "/v3/reimagine"):
            return await self._reimagine(request)
        if self._is_out() and not path.startswith("/_"):
            return await self._send_outage(request, None)
        handler = self._paths.get((request.method, path), self._not_found)
        try:
            answer = await handler(request)
        except Refusal as error:
            answer = answers.refusal(error, self.behaviour.retry_after)
        return await send(request, answer, None)

    def _is_out(self) -> bool:
        return self.behaviour.in_outage(self.ledger.uptime_s)

    async def _send_outage(self, request: web.Request, call: Call | None) -> web.StreamResponse:
        if self.behaviour.outage_kind == "reset":
            await send_reset(request, None, call)
        error = Refusal("SERVICE_NOT_AVAILABLE")
        return await send(request, answers.refusal(error, self.behaviour.retry_after), call)

    async def _reimagine(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            error = Refusal("REQUEST_ENTITY_TOO_LARGE")
            return await send(request, answers.refusal(error, None), None)
        call = self.ledger.begin()
        try:
            if self._is_out():
                return await self._send_outage(request, call)
            return await self._meet(request, body, call)
        finally:
            # In one step, so that the balance sees a picture as promised or as paid, never neither.
            self._promised.discard(call.index)
            self.ledger.end(call)

    async def _meet(self, request: web.Request, body: bytes, call: Call) -> web.StreamResponse:
        try:
            check_key(request.headers.get("Authorization"), self.behaviour.api_key)
            ask = await self._in_thread(read_ask, body, request.content_type)
            del body  # the photo is enough, however long the call may queue
            call.image_type = ask.image_type
            nth = self.ledger.saw_photo(call, ask.photo_sha256)
            self._bucket.take(self.behaviour.images_per_minute, self.behaviour.burst)
            async with self._gate.admit(lambda: self.behaviour):
                return await self._work(request, ask, call, nth)
        except Refusal as error:
            return await send(request, answers.refusal(error, self.behaviour.retry_after), call)

    async def _work(
        self, request: web.Request, ask: Ask, call: Call, nth: int
    ) -> web.StreamResponse:
        behaviour = self.behaviour  # as it is now: the call may have queued through a change
        began_s = asyncio.get_running_loop().time()
        photo = await self._in_thread(open_photo, ask.photo, behaviour.picture_px)
        drawn = draw(behaviour, ask.photo_sha256, nth)
        self._reserve(call, drawn.fate)
        call.task_id = str(uuid.uuid4())
        try:
            answer = await self._make(behaviour, ask, photo, drawn, call)
        except Refusal as error:
            answer = answers.refusal(error, behaviour.retry_after)
        left_s = began_s + drawn.latency_s - asyncio.get_running_loop().time()
        await asyncio.sleep(max(0, left_s))
        # A photo that is refused always is refused whatever was drawn: only a picture is spoilt.
        if answer.outcome == "paid" and drawn.fate is Fate.RESET:
            await send_reset(request, answer if drawn.midway else None, call)
        if answer.outcome == "paid" and drawn.fate is Fate.TRUNCATED:
            await send_truncated(request, answer, call)
        return await send(request, answer, call)

    def _reserve(self, call: Call, fate: Fate) -> None:
        balance = self.behaviour.balance
        if balance is not None and self.ledger.paid + len(self._promised) >= balance:
            raise Refusal("BILLING_BALANCE_NOT_ENOUGH")
        if fate is Fate.PICTURE:
            self._promised.add(call.index)

    async def _make(
        self, behaviour: Behaviour, ask: Ask, photo: Image.Image, drawn: Draw, call: Call
    ) -> Answer:
        """Make the whole answer that the fate asks for, or raise Refusal; a hang never returns."""
        task_id = call.task_id or ""
        if ask.photo_sha256.startswith(behaviour.refuse_photo):
            raise Refusal(behaviour.reason_refused, field="image_file")
        if ask.photo_sha256.startswith(behaviour.fail_photo):
            raise Refusal("TASK_FAILED", task_id=task_id)
        match drawn.fate:
            case Fate.FAULT_500:
                raise Refusal(drawn.reason_500, task_id=task_id)
            case Fate.FAULT_503:
                raise Refusal("SERVICE_NOT_AVAILABLE")
            case Fate.FAULT_504:
                return answers.gateway_timeout()
            case Fate.THROTTLED:
                raise Refusal("RATE_LIMIT_EXCEEDED")
            case Fate.REFUSED:
                raise Refusal(behaviour.reason_refused, field="image_file")
            case Fate.HANG:
                return await hang(call)
            case Fate.MALFORMED:
                kind = drawn.malformed_kind
                return await self._in_thread(
                    answers.malformed, kind, photo, ask.image_type, task_id
                )
            case _:
                # Only a picture that is meant to arrive takes the next recipe.
                whole = drawn.fate is Fate.PICTURE
                nth = self.ledger.next_picture(ask.photo_sha256) if whole else 0
                chance = Random(f"{behaviour.seed}/{ask.photo_sha256}/{nth}/picture")
                return await self._in_thread(_paint, photo, nth, chance, ask.image_type, task_id)

    async def _balance(self, request: web.Request) -> Answer:
        check_key(request.headers.get("Authorization"), self.behaviour.api_key)
        units = str(self._units())
        return _json(
            {
                "availableBalance": units,
                "cashBalance": units,
                "creditLimit": "0",
                "pendingCharges": "0",
                "outstandingInvoices": "0",
            }
        )

    async def _user(self, request: web.Request) -> Answer:
        check_key(request.headers.get("Authorization"), self.behaviour.api_key)
        return _json({"credit_balance": self._units(), "allow_features": []})

    def _units(self) -> int:
        """The balance shown, in 1/10000 USD."""
        if self.behaviour.balance is None:
            return max(0, ENDLESS_UNITS - self.ledger.paid * PRICE_UNITS)
        return max(0, self.behaviour.balance - self.ledger.paid) * PRICE_UNITS

    async def _not_found(self, _: web.Request) -> Answer:
        raise Refusal("API_NOT_FOUND")

    async def _control(self, request: web.Request) -> Answer:
        """Replace the fields of Behaviour that come; all or, when one is wrong, none."""
        try:
            changes = msgspec.json.decode(await request.read())
            if not isinstance(changes, dict):
                raise Refusal("INVALID_REQUEST_BODY", "a JSON object of Behaviour's fields, please")
            await self.change(**changes)
        except ValueError as error:
            raise Refusal("INVALID_REQUEST_BODY", str(error)) from None
        shown = asdict(self.behaviour)
        del shown["api_key"]
        return _json(shown)

    async def change(self, **changes: Any) -> None:
        """Behave otherwise from now on, for calls that queue as well; raise ValueError."""
        self.behaviour = self.behaviour.replaced(changes)
        await self._gate.changed()

    async def _stats(self, _: web.Request) -> Answer:
        return _json(self.ledger.stats())

    async def _calls(self, _: web.Request) -> Answer:
        lines = self.ledger.lines()
        return Answer(status=200, body=lines, outcome="paid", content_type="application/x-ndjson")

    async def _in_thread(self, work: Callable[..., _T], *args: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)


def _paint(photo: Image.Image, nth: int, chance: Random, image_type: str, task_id: str) -> Answer:
    return answers.picture(vary(photo, nth, chance), image_type, task_id)


def _json(document: dict[str, Any]) -> Answer:
    return Answer(status=200, body=msgspec.json.encode(document), outcome="paid")


_SIMULATOR: Final = web.AppKey("simulator", Simulator)


def make_app(behaviour: Behaviour, *, log: Path | None = None) -> web.Application:
    """The simulator as an application; a runner needs `handler_cancellation=True` to end hangs."""
    simulator = Simulator(behaviour, log)
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app[_SIMULATOR] = simulator
    app.router.add_route("*", "/{path:.*}", simulator.handle)
    app.on_cleanup.append(simulator.aclose)
    return app


class Server:
    """A simulator that listens."""

    def __init__(self, simulator: Simulator, host: str, port: int) -> None:
        self._simulator = simulator
        self.host, self.port = host, port

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def behaviour(self) -> Behaviour:
        return self._simulator.behaviour

    async def change(self, **changes: Any) -> None:
        """Replace fields of the behaviour, as `POST /_control` does; raise ValueError."""
        await self._simulator.change(**changes)

    def stats(self) -> dict[str, Any]:
        """The same numbers as `GET /_stats`."""
        return self._simulator.ledger.stats()


@asynccontextmanager
async def serve(
    behaviour: Behaviour, *, host: str = "127.0.0.1", port: int = 0, log: Path | None = None
) -> AsyncIterator[Server]:
    """Listen until the block ends; port 0 takes a free one. The end does not wait for hangs."""
    app = make_app(behaviour, log=log)
    runner = web.AppRunner(
        app, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_S, access_log=None
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=_BACKLOG)
        await site.start()
        yield Server(app[_SIMULATOR], host, runner.addresses[0][1])
    finally:
        await runner.cleanup()
