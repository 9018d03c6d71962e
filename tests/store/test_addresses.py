"""The URL of a database: what libpq documents works, or is refused by its name."""

import datetime as dt
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from retrovue.errors import RequestError, StoreError, StoreUnavailable
from retrovue.store.addresses import database_url as parsed
from retrovue.store.addresses import same_database
from retrovue.store.passfile import read_passwords
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


def private_key(word: bytes | None = None) -> bytes:
    """Return a new private key in PEM format, encrypted if there is a word."""
    encryption = serialization.NoEncryption() if word is None else serialization.BestAvailableEncryption(word)
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def self_signed(key: bytes) -> bytes:
    """Return a certificate of a private key that it signs itself, in PEM format."""
    signer = serialization.load_pem_private_key(key, password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "retrovue")])
    begin, end = (dt.datetime(year, 1, 1, tzinfo=dt.UTC) for year in (2020, 2120))
    builder = x509.CertificateBuilder(name, name, signer.public_key(), 1, begin, end)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


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
            (f"{HOST}?sslnegotiation=direct", "sslmode=require"),
            (f"{HOST}?ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2", "is above"),
            (f"{HOST}?ssl=false", "'ssl'"),
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

    def test_the_environment_fills_in_what_is_still_lacking(self, tmp_path: Path) -> None:
        file = tmp_path / "services"
        file.write_text("[nightly]\ndbname=db\nsslmode=require\n")
        environment = {
            "PGSERVICEFILE": str(file), "PGSERVICE": "nightly", "PGHOST": "h", "PGPORT": "5433", "PGUSER": "u",
            "PGDATABASE": "other", "PGSSLMODE": "disable", "PGCONNECT_TIMEOUT": "3", "PGCLIENTENCODING": "LATIN1",
        }  # fmt: skip
        assert parsed("postgresql:///?connect_timeout=4", environment).render_as_string() == (
            "postgresql+asyncpg://u@h:5433/db?connect_timeout=4&sslmode=require"
        )
        assert parsed(f"{HOST}?ssl=true", {"PGSSLMODE": "disable"}).query == {"sslmode": "require"}
        assert parsed(HOST, {}) == parsed(HOST)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("PGSSLMODE", "on"),
            ("PGSSLROOTCERT", "/nowhere"),
            ("PGREQUIREAUTH", "scram-sha-256"),
            ("PGCONNECT_TIMEOUT", "x"),
        ],
    )
    def test_the_environment_is_held_to_the_same_values(self, name: str, value: str) -> None:
        with pytest.raises(RequestError, match=name) as refused:
            parsed(HOST, {name: value})
        assert "URL" not in refused.value.message

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

    @pytest.mark.parametrize(
        ("parameters", "reason"),
        [
            ("sslmode=verify-full&sslrootcert={none}", "holds no certificate"),
            ("sslmode=verify-full&sslrootcert={ca}&sslcrl={none}", "holds no list of revoked certificates"),
            ("sslcert={none}&sslkey={key}", "holds no certificate"),
            ("sslcert={certificate}", "has no private key beside it"),
            ("sslcert={certificate}&sslkey={none}", "holds no private key"),
            ("sslcert={certificate}&sslkey={other}", "isn't the key of"),
            ("sslcert={certificate}&sslkey={other}&sslrootcert=system", "isn't the key of"),
            ("sslcert={certificate}&sslkey={encrypted}", "is encrypted"),
            ("sslcert={certificate}&sslkey={encrypted}&sslpassword=x", "sslpassword doesn't open"),
            ("sslmode=verify-ca", "there is no"),
        ],
    )
    async def test_files_that_cannot_be_used(
        self, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: str, reason: str
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        files = {"ca": DATA / "ca.crt", "certificate": DATA / "server.crt", "key": DATA / "server.key"}
        for name, content in (("none", b"none"), ("other", private_key()), ("encrypted", private_key(b"word"))):
            files[name] = tmp_path / name
            files[name].write_bytes(content)
        async with (
            relay(parsed(database_url), tls=True) as server,
            opened(address(server, database_url, parameters.format(**files))) as store,
        ):
            with pytest.raises(RequestError) as refused:
                await name_of(store)
        assert refused.value.code == "bad_database_url"
        assert reason in refused.value.message

    @pytest.mark.parametrize("accepted", [True, False])
    async def test_a_certificate_of_the_client(self, database_url: str, tmp_path: Path, accepted: bool) -> None:
        key, certificate = tmp_path / "key", tmp_path / "certificate"
        key.write_bytes(private_key())
        certificate.write_bytes(self_signed(key.read_bytes()))
        files = f"sslmode=require&sslcert={certificate}&sslkey={key}"
        authority = certificate if accepted else DATA / "other.crt"
        async with (
            relay(parsed(database_url), tls=True, authority=authority) as server,
            opened(address(server, database_url, files)) as store,
        ):
            if accepted:
                assert await name_of(store)
                return
            with pytest.raises(StoreUnavailable, match="client certificate") as refused:
                await name_of(store)
        assert refused.value.code == "database_tls"

    async def test_a_server_that_does_not_begin_with_tls(self, database_url: str) -> None:
        async with (
            relay(parsed(database_url)) as server,
            opened(address(server, database_url, "sslmode=require&sslnegotiation=direct")) as store,
        ):
            with pytest.raises(StoreUnavailable, match="sslnegotiation") as refused:
                await name_of(store)
        assert refused.value.code == "database_tls"

    async def test_a_socket_needs_no_tls(self, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """What psql is told by the environment isn't asyncpg's for the embedded server."""
        for name, value in (("PGSSLMODE", "verify-full"), ("PGTARGETSESSIONATTRS", "standby"), ("PGGSSLIB", "x")):
            monkeypatch.setenv(name, value)
        async with opened(f"{database_url}&sslmode=verify-full") as store:
            assert await name_of(store) == parsed(database_url).database


@pytest.mark.fault(102, 218)
class TestParameters:
    async def test_application_name_and_options(self, database_url: str) -> None:
        async with relay(parsed(database_url)) as server:
            text = address(server, database_url, "application_name=nightly", "options=-csearch_path%3Dmedia")
            async with opened(text) as store:
                query = "SELECT current_setting('application_name'), current_setting('search_path')"
                assert await rows(store, query) == [("nightly", "media")]

    @pytest.mark.parametrize("options", ["-cstatement_timeout%3Dx", "-cnosuch%3D1", "--nonsense"])
    async def test_options_that_the_server_refuses(self, database_url: str, options: str) -> None:
        async with (
            relay(parsed(database_url)) as server,
            opened(address(server, database_url, f"options={options}")) as store,
        ):
            with pytest.raises(RequestError, match="refuses the options") as refused:
                await name_of(store)
        assert refused.value.code == "bad_database_url"

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


@pytest.mark.fault(218)
class TestPasswordFile:
    """The file of libpq, which the driver reads in another way."""

    @pytest.mark.parametrize(
        ("line", "password"),
        [
            ("h:5432:db:u:word", "word"),
            ("*:*:*:*:a\\:b\\\\c", "a:b\\c"),
            ("h:5432:db:u:word:more", "word"),
            ("h:5433:db:u:word", None),
            ("# h:5432:db:u:word", None),
            ("h:5432:db", None),
        ],
    )
    def test_lines(self, tmp_path: Path, line: str, password: str | None) -> None:
        (tmp_path / "pass").write_text(f"garbage\n\n{line}\n")
        (tmp_path / "pass").chmod(0o600)
        assert read_passwords(str(tmp_path / "pass")).find("h", 5432, "db", "u") == password

    def test_a_socket_is_localhost(self, tmp_path: Path) -> None:
        (tmp_path / "pass").write_text("localhost:5432:*:*:word")
        (tmp_path / "pass").chmod(0o600)
        assert read_passwords(str(tmp_path / "pass")).find("/run/postgresql", 5432, "db", "u") == "word"

    def test_a_file_that_others_may_read_is_not_used(self, tmp_path: Path) -> None:
        (tmp_path / "pass").write_text("*:*:*:*:word")
        (tmp_path / "pass").chmod(0o640)
        found = read_passwords(str(tmp_path / "pass"))
        assert (found.lines, found.fault) == ((), "other accounts may read it")
        assert read_passwords(str(tmp_path / "none")).fault is None

    @pytest.mark.parametrize(
        ("mode", "content", "reason"),
        [(0o600, "", "has no matching line"), (0o644, "*:*:*:*:word", "chmod 600"), (0o600, "*:*:*:*:word", "")],
    )
    async def test_a_server_that_wants_a_password(self, tmp_path: Path, mode: int, content: str, reason: str) -> None:
        """What the driver sends is known from a server that takes none."""
        sent: list[bytes] = []

        async def refuse(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                await stream.receive()
                await stream.send(b"R" + struct.pack("!II", 8, 3))  # in clear text
                sent.append((await stream.receive())[5:-1])
                fields = b"SFATAL\0VFATAL\0C28P01\0Mno\0\0"
                await stream.send(b"E" + struct.pack("!I", len(fields) + 4) + fields)

        file = tmp_path / "pass"
        file.write_text(content)
        file.chmod(mode)
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as group,
        ):
            group.start_soon(listener.serve, refuse)
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            async with opened(f"postgresql://u@127.0.0.1:{port}/db?sslmode=disable&passfile={file}") as store:
                with pytest.raises(StoreError) as refused:
                    await name_of(store)
            group.cancel_scope.cancel()
        assert refused.value.code == "database_refused"
        assert reason in f"{refused.value.message} {refused.value.hint}"
        assert sent == [b"" if reason else b"word"]
