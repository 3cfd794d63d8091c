"""A simulator beside the test, for tests that call the commands themselves, in this process."""

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from batch_reimagine.simulator import Behaviour, Server, serve
from tests.support import KEY


class Service:
    """A simulator in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._down = asyncio.Event()
        self.server: Server | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._up.wait(10)

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    def behave(self, **changes: Any) -> None:
        assert self.server is not None
        change = self.server.change(**changes)
        asyncio.run_coroutine_threadsafe(change, self._loop).result(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._down.set)
        self._thread.join(10)

    def _run(self) -> None:
        async def live() -> None:
            async with serve(Behaviour(api_key=KEY)) as self.server:
                self._up.set()
                await self._down.wait()

        self._loop.run_until_complete(live())
        self._loop.close()


@pytest.fixture
def commands_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment without settings and keys, and a folder of the test's own to stand in."""
    for name in os.environ:
        if name.startswith("BATCH_REIMAGINE") or "API_KEY" in name:
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
