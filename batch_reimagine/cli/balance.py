"""The plan beside the account's balance, where the provider tells one. It never fails a run."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from batch_reimagine.errors import ReimagineError
from batch_reimagine.settings import Settings
from batch_reimagine.work import Event, Note, Plan

if TYPE_CHECKING:
    from batch_reimagine.pipeline import Emit
    from batch_reimagine.provider.billing import Funds

PATIENCE_S = 5.0


async def short_of(plan: Plan, settings: Settings, key_of: Callable[[], str]) -> str | None:
    """One sentence if the account cannot pay what is planned; None if it can, or nobody knows.

    key_of: asked only if there is something to compare.
    """
    if not plan.to_make:
        return None
    from batch_reimagine.account import Account  # noqa: PLC0415 - heavy
    from batch_reimagine.provider import provider_of  # noqa: PLC0415
    from batch_reimagine.secret import Secret  # noqa: PLC0415

    try:
        if provider_of(settings).billing is None:
            return None
        key = Secret(await asyncio.to_thread(key_of))
        funds = await Account(settings, key, timeout_s=PATIENCE_S).funds()
    except ReimagineError:  # the run itself says what is wrong, if it matters
        return None
    return _compared(plan, settings, funds)


def _compared(plan: Plan, settings: Settings, funds: "Funds") -> str | None:
    if settings.price is None:
        if funds.available > 0:
            return None
        return (
            f"the account has {funds.available:f} {funds.currency}, which pays for no picture; then"
            " the run stops with 4, and the same command goes on"
        )
    cost = settings.price * plan.to_make
    if settings.budget is not None:
        cost = min(cost, settings.budget)
    if cost <= funds.available:
        return None
    enough = max(0, int(funds.available / settings.price))
    some = f"about {enough:,}" if enough else "none"
    return (
        f"the account has {funds.available:f} {funds.currency}, which pays {some} of the"
        f" {plan.to_make:,} pictures to make ({cost} at your price, if that is in"
        f" {funds.currency}); then the run stops with 4, and the same command goes on"
    )


@asynccontextmanager
async def warned(emit: "Emit", settings: Settings, key: str) -> "AsyncIterator[Emit]":
    """The same emit, and a note beside the work if the plan is more than the account can pay."""
    asking: list[asyncio.Task[None]] = []

    async def ask(plan: Plan) -> None:
        if text := await short_of(plan, settings, lambda: key):
            await emit(Note(text))

    async def emit_and_ask(event: Event) -> None:
        await emit(event)
        if isinstance(event, Plan) and not asking:
            asking.append(asyncio.create_task(ask(event)))

    try:
        yield emit_and_ask
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
