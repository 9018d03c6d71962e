"""The HTTP server of the page: its address, its health, its end."""

import socket

import anyio
import httpx
import pytest

from retrovue.core.errors import RequestError
from retrovue.service.serving import HostStatus
from retrovue.store.addresses import database_url
from retrovue.store.session import Store
from retrovue.web.server import page_served
from retrovue.web.settings import PageSettings
from tests.support.http import NO_TLS
from tests.web.conftest import served

pytestmark = pytest.mark.anyio


class TestAddress:
    async def test_one_that_is_taken_is_an_error(self, shared_store: Store) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            settings = PageSettings(port=other.getsockname()[1])
            with pytest.raises(RequestError) as raised:
                async with page_served(shared_store, settings, HostStatus("A")):
                    pytest.fail("it was served")
        assert raised.value.code == "address_taken"
        assert str(settings.port) in raised.value.message

    async def test_one_of_another_machine_is_an_error(self, shared_store: Store) -> None:
        with pytest.raises(RequestError) as raised:
            async with page_served(shared_store, PageSettings("192.0.2.7", 0, "0" * 16), HostStatus("A")):
                pytest.fail("it was served")
        assert raised.value.code == "bad_address"

    async def test_it_can_be_served_again_at_once(self, shared_store: Store) -> None:
        async with served(shared_store) as client:
            port = client.base_url.port
            assert port is not None
            await client.get("/health")
        async with served(shared_store, PageSettings(port=port)) as client:
            assert (await client.get("/health")).status_code == 200

    async def test_an_error_of_the_block_is_raised_as_it_is(self, shared_store: Store) -> None:
        with pytest.raises(ZeroDivisionError):
            async with page_served(shared_store, PageSettings(port=0), HostStatus("A")):
                _ = 1 // 0

    async def test_open_event_streams_end_with_it(self, shared_store: Store) -> None:
        async with httpx.AsyncClient(timeout=60, verify=NO_TLS) as client:
            async with page_served(shared_store, PageSettings(port=0), HostStatus("A", works=True)) as url:
                stream = await client.send(client.build_request("GET", f"{url}events"), stream=True)
                lines = stream.aiter_lines()
                assert await anext(lines) == "retry: 1000"
            with anyio.fail_after(30):
                assert "event: piece" in [line async for line in lines]

    async def test_a_cancellation_ends_it(self, shared_store: Store) -> None:
        with anyio.CancelScope() as scope:
            async with page_served(shared_store, PageSettings(port=0), HostStatus("A")) as url:
                scope.cancel()
                await anyio.sleep_forever()
        async with httpx.AsyncClient(verify=NO_TLS) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(url)


class TestHealth:
    async def test_it_tells_the_host_and_no_more(self, page: httpx.AsyncClient) -> None:
        answer = await page.get("/health")
        assert answer.status_code == 200
        document = answer.json()
        assert document.pop("version")
        assert document == {"status": "ok", "host": "test host", "database": "reachable", "schedules": "worked"}

    async def test_a_host_that_does_not_work_is_not_well(self, shared_store: Store) -> None:
        async with (
            page_served(shared_store, PageSettings(port=0), HostStatus("A")) as url,
            httpx.AsyncClient(verify=NO_TLS) as client,
        ):
            answer = await client.get(f"{url}health")
        assert (answer.status_code, answer.json()["schedules"]) == (503, "not worked")

    async def test_nor_is_one_that_has_lost_the_database(self) -> None:
        nowhere = Store(database_url("postgresql://nobody:canary-password-77@127.0.0.1:1/nothing"), patience=0.5)
        async with nowhere, served(nowhere) as client:
            answer = await client.get("/health")
        assert (answer.status_code, answer.json()["database"]) == (503, "unreachable")
        assert "canary" not in answer.text
