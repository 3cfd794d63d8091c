"""What runs of several providers share: their server on this machine, and what it saw."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from batch_reimagine.provider import PROVIDERS
from batch_reimagine.simulator import Behaviour, Server, serve
from tests.support import rows

FAR = [name for name in PROVIDERS if name != "simulator"]
SEVERAL = {"deepinfra": 4, "variations": 10}  #: most pictures that a call brings; of others one


def job(name: str, url: str, **more: Any) -> dict[str, Any]:
    """Settings of a run there, that a pace which the vendor states does not hold up."""
    pace = {} if PROVIDERS[name].rpm is None else {"rpm": 60_000}
    return {"provider": name, "base_url": url} | pace | more


@asynccontextmanager
async def served(**knobs: Any) -> AsyncIterator[Server]:
    """All services at once, with small pictures."""
    knobs = {"picture_px": 16} | knobs
    async with serve(Behaviour(**knobs)) as server:
        yield server


def bought(server: Server, name: str) -> tuple[int, int]:
    """Calls and paid pictures of one provider's contract, as the server saw them; no other's."""
    contract = "reimagine" if name == "novita" else name
    seen = server.stats()["by_contract"]
    assert set(seen) <= {contract}
    of = seen.get(contract, {"calls": 0, "paid": 0})
    return of["calls"], of["paid"]


def spent(out: Path) -> Decimal:
    """What the rows of an output say."""
    return sum((Decimal(row["cost"]) for row in rows(out) if row["cost"]), Decimal(0))
