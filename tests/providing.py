"""What runs of several providers share: their server on this machine, and what it saw."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine import journal
from batch_reimagine.provider import GROUP, PROVIDERS, find_provider
from batch_reimagine.simulator import Behaviour, Server, serve
from tests.support import rows

FAR = [name for name in PROVIDERS if name != "simulator"]
SEVERAL = {"deepinfra": 4, "variations": 10}  #: most pictures that a call brings; of others one
PRICE = Decimal("0.01")


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


@contextmanager
def another_package(folder: Path, name: str, code: str) -> Iterator[None]:
    """A provider of another package, as pip would leave it; `code` is its module."""
    info = folder / f"{name}-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {name}_module:PROVIDER\n")
    (folder / f"{name}_module.py").write_text(code)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        find_provider.cache_clear()
        yield
    sys.modules.pop(f"{name}_module", None)
    find_provider.cache_clear()


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


def balance(out: Path, price: Decimal = PRICE) -> tuple[Decimal, Decimal, int]:
    """Spent and not known, in pictures, and calls, as the journal alone has it."""
    found, pending = journal.read(out / ".batch-reimagine" / journal.FILE)
    found.risk(pending.values())
    return found.spent / price, found.at_risk / price, found.calls
