"""A page that is served over real HTTP, on a catalogue of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from retrovue.service.serving import HostStatus
from retrovue.store.session import Store
from retrovue.web.server import page_served
from retrovue.web.settings import PageSettings
from tests.support.http import NO_TLS

TOKEN = "canary-page-token-4711"
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@asynccontextmanager
async def served(store: Store, settings: PageSettings | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the page within the block; gives a client that asks from the page's own origin."""
    settings = settings or PageSettings(port=0)
    async with (
        page_served(store, settings, HostStatus("test host", works=True)) as url,
        httpx.AsyncClient(
            base_url=url.replace("0.0.0.0", "127.0.0.1"), headers=SAME_ORIGIN, timeout=60, verify=NO_TLS
        ) as client,
    ):
        yield client


@pytest.fixture
async def page(shared_store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """The page of a catalogue that begins empty, without a token.

    It is served until after the test is looked at: whatever starts a run, counts or follows events, which goes on when
    the test is over, takes `served` instead.
    """
    async with served(shared_store) as client:
        yield client


@pytest.fixture
async def locked(shared_store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """The page of an empty catalogue, which wants a token."""
    async with served(shared_store, PageSettings(port=0, token=TOKEN)) as client:
        yield client
