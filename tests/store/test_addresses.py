"""The URL of a database: what libpq documents works, or is refused by its name."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest

from retrovue.errors import RequestError, StoreError, StoreUnavailable
from retrovue.store.addresses import database_url as parsed
from retrovue.store.addresses import same_database
from retrovue.store.session import Store
from tests.support.library import rows
from tests.support.relay import DATA, Relay, relay

pytestmark = pytest.mark.anyio

HOST = "postgresql://u:p@h/db"


def address(server: Relay, url: str, *parameters: str, host: str = "localhost") -> str:
    query = "&".join(parameters)
    return f"postgresql://retrovue@{host}:{server.port}/{parsed(url).database}?{query}"


@asynccontextmanager
async def opened(text: str, *, patience: float = 0.2) -> AsyncIterator[Store]:
    async with Store(parsed(text), connections=1, patience=patience) as store:
        yield store


async def name_of(store: Store) -> Any:
    return (await rows(store, "SELECT current_database()"))[0][0]


@pytest.mark.fault(102, 218)
class TestParse:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (f"{HOST}?sslmod=require", "'sslmod'"),
            (f"{HOST}?sslmode=on", "sslmode"),
            (f"{HOST}?hostaddr=10.0.0.1", "'hostaddr'"),
            (f"{HOST}?require_auth=scram-sha-256", "'require_auth'"),
            (f"{HOST}?requirepeer=postgres", "'requirepeer'"),
            (f"{HOST}?replication=database", "'replication'"),
            (f"{HOST}?channel_binding=require", "channel_binding"),
            (f"{HOST}?gssencmode=require", "gssencmode"),
            (f"{HOST}?client_encoding=LATIN1", "client_encoding"),
            (f"{HOST}?connect_timeout=soon", "connect_timeout"),
            (f"{HOST}?target_session_attrs=writable", "target_session_attrs"),
            (f"{HOST}?sslrootcert=/nowhere/ca.crt", "sslrootcert"),
            (f"{HOST}?sslrootcert=system&sslmode=require", "verify-full"),
            (f"{HOST}?service=nightly&servicefile=/nowhere", "'nightly'"),
            (f"{HOST}?dbname=other", "'dbname' twice"),
            (f"{HOST}?host=other", "'host' twice"),
            (f"{HOST}?user=other", "'user' twice"),
            (f"{HOST}?database=other", "'database'"),
            ("postgresql://h:99999/db", "99999"),
            ("postgresql://h:0/db", "port"),
            ("postgresql://a,b,c/db?port=1,2", "3 hosts and 2 ports"),
            ("postgresql://h", "no database"),
            ("mysql://h/db", "mysql"),
            ("host=h dbname=db", "can't be read"),
        ],
    )
    def test_refused_by_name(self, text: str, reason: str) -> None:
        with pytest.raises(RequestError) as refused:
            parsed(text)
        assert refused.value.code == "bad_database_url"
        assert reason in refused.value.message
        assert ":p@" not in refused.value.message

    @pytest.mark.parametrize("line", (Path(__file__).parents[1] / "data" / "addresses.txt").read_text().split())
    def test_documented_parameters_are_taken(self, line: str) -> None:
        assert parsed(line).database == "rv"

    def test_login_and_database_in_the_query(self) -> None:
        assert parsed("postgresql://h?user=u&password=p&dbname=db") == parsed(HOST)

    def test_a_service_fills_in_what_the_url_lacks(self, tmp_path: Path) -> None:
        file = tmp_path / "services"
        file.write_text("[nightly]\nhost=h\nport=5433\ndbname=db\nuser=u\npassword=p%q\nsslmode=require\n")
        url = parsed(f"postgresql:///?service=nightly&servicefile={file}")
        assert (url.host, url.port, url.username, url.password, url.database) == ("h", 5433, "u", "p%q", "db")
        assert url.query == {"sslmode": "require"}
        assert (
            parsed(f"postgresql://me@/mine?service=nightly&servicefile={file}&sslmode=disable").render_as_string(
                hide_password=False
            )
            == "postgresql+asyncpg://me:p%25q@h:5433/mine?sslmode=disable"
        )

    def test_a_service_is_held_to_the_same_names(self, tmp_path: Path) -> None:
        file = tmp_path / "services"
        file.write_text("[nightly]\ndbname=db\nsslmod=require\n")
        with pytest.raises(RequestError, match="'sslmod'"):
            parsed(f"postgresql:///?service=nightly&servicefile={file}")

    @pytest.mark.parametrize(
        ("first", "second", "same"),
        [
            ("postgresql://h/db", "postgresql://h:5432/db?sslmode=require", True),
            ("postgresql://localhost/db", "postgresql://127.0.0.1/db", True),
            ("postgresql://a,h/db", "postgresql://h/db", True),
            ("postgresql://a:1,h:2/db", "postgresql://h:3/db", False),
            ("postgresql://%2Frun%2Fpg/db", "postgresql:///db?host=/run/pg", True),
            ("postgresql://h/db", "postgresql://h/other", False),
        ],
    )
    def test_same_database(self, first: str, second: str, same: bool) -> None:
        assert same_database(parsed(first), parsed(second)) is same


@pytest.mark.fault(103, 218)
class TestTls:
    @pytest.mark.parametrize(
        ("parameters", "encrypted"),
        [
            (["sslmode=disable"], False),
            (["sslmode=allow"], False),
            ([], True),
            (["sslmode=prefer"], True),
            (["sslmode=require"], True),
            (["ssl=true"], True),
            (["sslmode=verify-ca", f"sslrootcert={DATA / 'ca.crt'}"], True),
            (["sslmode=verify-full", f"sslrootcert={DATA / 'ca.crt'}", "ssl_min_protocol_version=TLSv1.3"], True),
        ],
    )
    async def test_modes(self, database_url: str, parameters: list[str], encrypted: bool) -> None:
        async with relay(parsed(database_url), tls=True) as server:
            async with opened(address(server, database_url, *parameters)) as store:
                assert await name_of(store) == parsed(database_url).database
            assert (server.encrypted > 0) is encrypted

    @pytest.mark.parametrize(
        ("host", "parameters", "reason"),
        [
            ("localhost", ["sslmode=verify-full", f"sslrootcert={DATA / 'other.crt'}"], "isn't trusted"),
            ("localhost", ["sslmode=verify-ca", f"sslrootcert={DATA / 'other.crt'}"], "isn't trusted"),
            ("localhost", ["sslrootcert=system"], "isn't trusted"),
            ("127.0.0.1", ["sslmode=verify-full", f"sslrootcert={DATA / 'ca.crt'}"], "127.0.0.1"),
        ],
    )
    async def test_a_certificate_that_does_not_fit(
        self, database_url: str, host: str, parameters: list[str], reason: str
    ) -> None:
        async with relay(parsed(database_url), tls=True) as server:
            async with opened(address(server, database_url, *parameters, host=host)) as store:
                with pytest.raises(StoreUnavailable) as refused:
                    await name_of(store)
            assert refused.value.code == "database_tls"
            assert reason in refused.value.message

    async def test_a_server_without_tls(self, database_url: str) -> None:
        async with relay(parsed(database_url)) as server:
            async with opened(address(server, database_url, "sslmode=require")) as store:
                with pytest.raises(StoreUnavailable) as refused:
                    await name_of(store)
            assert (refused.value.code, refused.value.message) == (
                "database_tls",
                "The database server doesn't offer TLS.",
            )
            async with opened(address(server, database_url, "sslmode=prefer")) as store:
                assert await name_of(store)

    async def test_files_that_hold_no_certificate(self, database_url: str, tmp_path: Path) -> None:
        (tmp_path / "ca.crt").write_text("none")
        async with relay(parsed(database_url), tls=True) as server:
            text = address(server, database_url, "sslmode=verify-full", f"sslrootcert={tmp_path / 'ca.crt'}")
            async with opened(text) as store:
                with pytest.raises(StoreUnavailable) as refused:
                    await name_of(store)
            assert refused.value.code == "database_tls"


@pytest.mark.fault(102, 218)
class TestParameters:
    async def test_application_name_and_options(self, database_url: str) -> None:
        async with relay(parsed(database_url)) as server:
            text = address(server, database_url, "application_name=nightly", "options=-csearch_path%3Dmedia")
            async with opened(text) as store:
                query = "SELECT current_setting('application_name'), current_setting('search_path')"
                assert await rows(store, query) == [("nightly", "media")]

    @pytest.mark.parametrize("order", ["closed first", "silent first", "random"])
    async def test_several_hosts(self, database_url: str, order: str) -> None:
        async def never_answer(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                await anyio.sleep_forever()

        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        async with (
            relay(parsed(database_url)) as server,
            await anyio.create_tcp_listener(local_host="127.0.0.1") as silent,
            anyio.create_task_group() as group,
        ):
            group.start_soon(silent.serve, never_answer)
            other = silent.extra(anyio.abc.SocketAttribute.local_port) if order == "silent first" else port
            query = "connect_timeout=1&load_balance_hosts=" + ("random" if order == "random" else "disable")
            name = parsed(database_url).database
            text = f"postgresql://retrovue@127.0.0.1:{other},localhost:{server.port}/{name}?{query}"
            async with opened(text) as store:
                assert await name_of(store) == name
            group.cancel_scope.cancel()

    @pytest.mark.parametrize("wanted", ["any", "read-write", "primary", "prefer-standby"])
    async def test_the_kind_of_server(self, database_url: str, wanted: str) -> None:
        async with (
            relay(parsed(database_url)) as server,
            opened(address(server, database_url, f"target_session_attrs={wanted}")) as store,
        ):
            assert await name_of(store)

    @pytest.mark.parametrize("wanted", ["read-only", "standby"])
    async def test_another_kind_of_server(self, database_url: str, wanted: str) -> None:
        async with relay(parsed(database_url)) as server:
            async with opened(address(server, database_url, f"target_session_attrs={wanted}")) as store:
                with pytest.raises(StoreError) as refused:
                    await name_of(store)
            assert f"target_session_attrs={wanted}" in refused.value.message

    async def test_keep_alives(self, database_url: str) -> None:
        async with relay(parsed(database_url)) as server:
            text = address(server, database_url, "keepalives_idle=7", "tcp_user_timeout=9000")
            async with opened(text) as store, store.data.connect() as connection:
                raw = await connection.get_raw_connection()
                driver: Any = raw.driver_connection
                channel = driver._transport.get_extra_info("socket")
                assert channel.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert channel.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7
                assert channel.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 9000
