"""Several services on localhost: reads a call, decides its end, sends it, writes it down.

Each has its own path; all of them are one account with its limits. What is checked, in this order:
outage, key, form of the body, images a minute, calls at once, the picture, the balance; then
chance. Paths that begin with `/_` are the simulator's own.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from batch_reimagine.simulator import answers
from batch_reimagine.simulator.answers import Answer
from batch_reimagine.simulator.behaviour import Behaviour
from batch_reimagine.simulator.billing import bill
from batch_reimagine.simulator.clipdrop import Clipdrop
from batch_reimagine.simulator.contract import Ask, Contract, bearer
from batch_reimagine.simulator.faults import Fate, draw
from batch_reimagine.simulator.intake import check_key, open_photo
from batch_reimagine.simulator.limits import Bucket, Gate
from batch_reimagine.simulator.log import Call, Ledger
from batch_reimagine.simulator.making import Maker, Order
from batch_reimagine.simulator.reasons import Refusal
from batch_reimagine.simulator.reimagine import Reimagine
from batch_reimagine.simulator.sending import Dropped, send, send_reset, send_truncated
from batch_reimagine.simulator.variations import DeepInfra, Variations

MAX_BODY_BYTES: Final = 64 * 1000 * 1000
PRICE_UNITS: Final = 100  # what a picture takes from the balance shown, in 1/10000 USD; made up
ENDLESS_UNITS: Final = 100_000_000
ENDLESS_CREDITS: Final = 1_000_000
CONTRACTS: Final[Mapping[str, Contract]] = {
    "/v3/reimagine": Reimagine(),
    "/reimagine/v1/reimagine": Clipdrop(),
    "/v1/openai/images/variations": DeepInfra(),
    "/v1/images/variations": Variations(),
}
_SHUTDOWN_S: Final = 0.1  # long enough for an answer on its way, too short to wait for a hang
_BACKLOG: Final = 1024


class Simulator:
    """One account and its limits behind the service's paths."""

    def __init__(self, behaviour: Behaviour, log: Path | None) -> None:
        self.behaviour = behaviour
        self.ledger = Ledger(log)
        self._bucket = Bucket()
        self._gate = Gate()
        self._promised: dict[int, int] = {}  # calls, and the pictures that the balance is to pay
        self._maker = Maker(self.ledger)
        self._paths: dict[tuple[str, str], Callable[[web.Request], Awaitable[Answer]]] = {
            ("GET", "/openapi/v1/billing/balance/detail"): self._balance,
            ("GET", "/openapi/v1/billing/bill/list"): self._bill,
            ("GET", "/v3/user"): self._user,
            ("POST", "/_control"): self._control,
            ("GET", "/_stats"): self._stats,
            ("GET", "/_calls"): self._calls,
        }

    async def aclose(self, _: object = None) -> None:
        await self._maker.aclose()
        self.ledger.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request; several leading slashes count as one, as some clients send two."""
        try:
            return await self._handle(request)
        except Dropped:
            return web.Response()  # to nobody: the web server sees the closed connection and ends

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = "/" + request.path.lstrip("/")
        if request.method == "POST" and (contract := CONTRACTS.get(path)):
            return await self._serve(request, contract)
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

    async def _send_outage(
        self, request: web.Request, contract: Contract | None, call: Call | None = None
    ) -> web.StreamResponse:
        if self.behaviour.outage_kind == "reset":
            await send_reset(request, None, call)
        words = answers.flat if contract is None else contract.words
        error = Refusal("SERVICE_NOT_AVAILABLE")
        answer = answers.refusal(error, self.behaviour.retry_after, words)
        return await send(request, answer, call)

    async def _serve(self, request: web.Request, contract: Contract) -> web.StreamResponse:
        try:
            received = await contract.receive(request)
        except web.HTTPRequestEntityTooLarge:
            error = Refusal("REQUEST_ENTITY_TOO_LARGE")
            return await send(request, answers.refusal(error, None, contract.words), None)
        except ValueError as error:
            received = error
        call = self.ledger.begin(contract.name)
        try:
            if self._is_out():
                return await self._send_outage(request, contract, call)
            return await self._meet(request, contract, received, call)
        finally:
            # In one step, so that the balance sees a picture as promised or as paid, never neither.
            self._promised.pop(call.index, None)
            self.ledger.end(call)

    async def _meet(
        self, request: web.Request, contract: Contract, received: object, call: Call
    ) -> web.StreamResponse:
        try:
            check_key(contract.key_of(request.headers), self.behaviour)
            if isinstance(received, ValueError):
                raise Refusal("INVALID_REQUEST_BODY", f"body is no form: {received}")
            ask = await self._maker.in_thread(contract.read, received, request.content_type)
            del received  # the photo is enough, however long the call may queue
            call.image_type, call.asked = ask.image_type, ask.count
            nth = self.ledger.saw_photo(call, ask.photo_sha256)
            self._bucket.take(self.behaviour.images_per_minute, self.behaviour.burst)
            async with self._gate.admit(lambda: self.behaviour):
                return await self._work(request, contract, ask, call, nth)
        except Refusal as error:
            answer = answers.refusal(error, self.behaviour.retry_after, contract.words)
            return await send(request, answer, call)

    async def _work(
        self, request: web.Request, contract: Contract, ask: Ask, call: Call, nth: int
    ) -> web.StreamResponse:
        behaviour = self.behaviour  # as it is now: the call may have queued through a change
        began_s = asyncio.get_running_loop().time()
        photo = await self._maker.in_thread(open_photo, ask.photo, behaviour.picture_px)
        drawn = draw(behaviour, ask.photo_sha256, nth)
        call.pictures = drawn.brings(ask.count)
        left = self._reserve(call, drawn.fate)
        call.task_id = str(uuid.uuid4())
        order = Order(contract, ask, photo, call, left)
        try:
            answer = await self._maker.make(behaviour, order, drawn)
        except Refusal as error:
            answer = answers.refusal(error, behaviour.retry_after, contract.words)
        left_s = began_s + drawn.latency_s - asyncio.get_running_loop().time()
        await asyncio.sleep(max(0, left_s))
        # A photo that is refused always is refused whatever was drawn: only a picture is spoilt.
        if answer.outcome == "paid" and drawn.fate is Fate.RESET:
            await send_reset(request, answer if drawn.midway else None, call)
        if answer.outcome == "paid" and drawn.fate is Fate.TRUNCATED:
            await send_truncated(request, answer, call)
        return await send(request, answer, call)

    def _reserve(self, call: Call, fate: Fate) -> int:
        """Promise a call its pictures; return what the account can pay after it."""
        balance = self.behaviour.balance
        taken = self.ledger.paid + sum(self._promised.values()) + call.pictures
        if balance is not None and taken > balance:
            raise Refusal("BILLING_BALANCE_NOT_ENOUGH")
        if fate is Fate.PICTURE:
            self._promised[call.index] = call.pictures
        return max(0, (ENDLESS_CREDITS if balance is None else balance) - taken)

    async def _balance(self, request: web.Request) -> Answer:
        check_key(bearer(request.headers), self.behaviour)
        units = str(self._units())
        return answers.ok(
            {
                "availableBalance": units,
                "cashBalance": units,
                "creditLimit": "0",
                "pendingCharges": "0",
                "outstandingInvoices": "0",
            }
        )

    async def _bill(self, request: web.Request) -> Answer:
        check_key(bearer(request.headers), self.behaviour)
        return answers.ok(bill(self.ledger.ended(), request.query, PRICE_UNITS))

    async def _user(self, request: web.Request) -> Answer:
        check_key(bearer(request.headers), self.behaviour)
        return answers.ok({"credit_balance": self._units(), "allow_features": []})

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
        return answers.ok(shown)

    async def change(self, **changes: Any) -> None:
        """Behave otherwise from now on, for calls that queue as well; raise ValueError."""
        self.behaviour = self.behaviour.replaced(changes)
        await self._gate.changed()

    async def _stats(self, _: web.Request) -> Answer:
        return answers.ok(self.ledger.stats())

    async def _calls(self, _: web.Request) -> Answer:
        lines = self.ledger.lines()
        return Answer(status=200, body=lines, outcome="paid", content_type="application/x-ndjson")


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
