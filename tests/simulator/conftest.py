from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import pytest

from retrovue.simulator import SimulatedPlex
from tests.support.http import NO_TLS

Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
TOKEN = "canary-7f3a"


@pytest.fixture
def connect() -> Connect:
    """Serve a simulated Plex and open a client that has its token and asks for JSON."""

    @asynccontextmanager
    async def connected(
        plex: SimulatedPlex, *, token: str = TOKEN, json: bool = True
    ) -> AsyncGenerator[httpx.AsyncClient]:
        headers = {"X-Plex-Token": token} | ({"Accept": "application/json"} if json else {})
        async with (
            plex.serve() as url,
            httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, verify=NO_TLS) as client,
        ):
            yield client

    return connected
