"""Where a run's calls go: the service's address, and the connections to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from batch_reimagine.provider import SIMULATOR, provider_of
from batch_reimagine.settings import Settings


@asynccontextmanager
async def service(settings: Settings) -> AsyncIterator[str]:
    """The address to post to; the simulator lives as long as the run does."""
    provider = provider_of(settings)
    if provider is not SIMULATOR:
        base_url = settings.base_url or provider.base_url
        assert base_url is not None  # noqa: S101 - provider_of saw to that
        yield base_url
        return
    from batch_reimagine.simulator import Behaviour, serve  # noqa: PLC0415 - only where used

    async with serve(Behaviour()) as server:
        yield server.url


def session(timeout_s: float) -> aiohttp.ClientSession:
    """Connections that we bound ourselves; no cookie kept, no body inflated behind our back."""
    return aiohttp.ClientSession(
        # A connection a call: what arrives unasked on an idle one would be read as the answer
        # to the next request, another photo's picture. Calls take seconds; a handshake does not.
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity", "User-Agent": "batch-reimagine"},
        auto_decompress=False,
        # Each attempt has a deadline of its own; a connection that is not made costs nothing.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(15.0, timeout_s / 2)),
    )
