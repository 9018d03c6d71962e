"""Parse and use the URL of a PostgreSQL database, with the parameters that libpq documents.

Each parameter either works as libpq documents it or is refused by name: a misspelt ``sslmode`` must not lead to a
connection without TLS. Source: https://www.postgresql.org/docs/18/libpq-connect.html
"""

import configparser
import os
import random
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

import asyncpg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from retrovue.core.errors import RequestError, StoreUnavailable
from retrovue.core.text import quoted, redact

CONNECT_SECONDS = 10.0
"""The time limit of one attempt to connect to one host, in seconds; ``connect_timeout`` overrides it."""

STATEMENT_SECONDS = 60.0
"""The time limit of a statement, in seconds: a network connection may become silent without an error."""
LONG_STATEMENT_SECONDS = 900.0
"""The time limit of a statement that works on whole collections, such as a merge or a migration, in seconds."""

Connect = Callable[..., Awaitable[Any]]
"""A function that opens a connection. It takes ``server_settings`` and ignores other arguments."""

_HINT = "Write it as postgresql://user:password@host:5432/database."
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,9}")
_TLS_VERSION = {"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"}
_CHOICES: Mapping[str, set[str]] = {
    "sslmode": {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
    "sslnegotiation": {"postgres", "direct"},
    "ssl_min_protocol_version": _TLS_VERSION,
    "ssl_max_protocol_version": _TLS_VERSION,
    "target_session_attrs": {"any", "read-write", "read-only", "primary", "standby", "prefer-standby"},
    "load_balance_hosts": {"disable", "random"},
    "keepalives": {"0", "1"},
    "gsslib": {"gssapi", "sspi"},
    # The parameters of libpq that asyncpg supports.
    "client_encoding": {"UTF8", "utf8", "UTF-8", "utf-8"},
    "channel_binding": {"disable", "prefer"},
    "gssencmode": {"disable", "prefer"},
    "sslcertmode": {"allow"},
    "sslcompression": {"0"},
    "sslsni": {"1"},
    "gssdelegation": {"0"},
    "min_protocol_version": {"3.0"},
    "max_protocol_version": {"3.0", "latest"},
}
"""The values that each of these parameters accepts."""
_NUMBERS = {"connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"}
_FILES = {"sslrootcert", "sslcert", "sslkey", "sslcrl"}
_TEXTS = {
    "host",
    "port",
    "application_name",
    "fallback_application_name",
    "options",
    "passfile",
    "sslpassword",
    "krbsrvname",
}
_TLS = _FILES | {
    "sslmode", "sslpassword", "sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version",
}  # fmt: skip
_SOCKET_OPTIONS = {  # The defaults detect within two minutes a connection that a firewall has forgotten.
    "keepalives_idle": ("TCP_KEEPIDLE", 30),
    "keepalives_interval": ("TCP_KEEPINTVL", 10),
    "keepalives_count": ("TCP_KEEPCNT", 3),
    "tcp_user_timeout": ("TCP_USER_TIMEOUT", 60_000),
}


def database_url(text: str) -> URL:
    """Parse the URL of a PostgreSQL database: ``postgres://``, ``postgresql://`` or ``postgresql+asyncpg://``.

    The parameters of a ``service`` are read from its file and added. The directory of a socket and a list of hosts are
    put into the query, as ``host=a,b&port=5432,5433``.

    Raises RequestError with the code ``bad_database_url``. Its message doesn't repeat the URL, which may hold a
    password.
    """
    parts, query = _split(text)
    twice = parts.keys() & query.keys()
    if twice:
        raise _bad(f"The database URL gives {quoted(min(twice))} twice.", "Give it once: before the question mark.")
    service = _service(query.pop("service", ""), query.pop("servicefile", ""))
    parameters = {**service, **parts, **query}
    if parameters.pop("ssl", "") == "true":  # as in JDBC URLs
        parameters.setdefault("sslmode", "require")
    login = {name: parameters.pop(name, None) for name in ("user", "password", "dbname")}
    if not login["dbname"]:
        raise _bad("The database URL names no database.")
    for name, value in parameters.items():
        _require_valid(name, value)
    if parameters.get("sslrootcert") == "system" and parameters.setdefault("sslmode", "verify-full") != "verify-full":
        raise _bad("The database URL's sslrootcert=system needs sslmode=verify-full.")
    hosts = _hosts(parameters.get("host", ""), parameters.get("port", ""))
    host, port = hosts[0]
    if len(hosts) > 1 or host is None or host.startswith("/"):
        host = port = None
    else:
        parameters = {name: value for name, value in parameters.items() if name not in {"host", "port"}}
    driver = "postgresql+asyncpg"
    return URL.create(driver, login["user"], login["password"], host, port, login["dbname"], parameters)


def _split(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Split a URL into the parameters before and after its question mark, with libpq's names."""
    # SQLAlchemy doesn't parse several hosts.
    several = re.match(r"(?s)([^:/?#]+://(?:[^:/?#@]*(?::[^/?#@]*)?@)?)([^/?#@]*,[^/?#@]*)(.*)", text)
    try:
        url = make_url(several[1] + several[3] if several else text)
    except (ArgumentError, ValueError) as exc:
        raise _bad("The database URL can't be read.") from exc
    if url.drivername not in {"postgres", "postgresql", "postgresql+asyncpg"}:
        raise _bad(f"The database URL's scheme {quoted(url.drivername)} isn't PostgreSQL.")
    parts = {
        "user": url.username,
        "password": url.password,
        "host": unquote(several[2] if several else url.host or ""),
        "port": "" if url.port is None else str(url.port),
        "dbname": url.database,
    }
    query = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
    return {name: value for name, value in parts.items() if value}, {name: v for name, v in query.items() if v}


def same_database(first: URL, second: URL) -> bool:
    """Return whether two URLs name the same database, as far as that can be decided without connecting."""

    def places(url: URL) -> set[tuple[str, int]]:
        return {
            ("localhost" if host in {None, "127.0.0.1", "::1"} else str(host), port or 5432)
            for host, port in _hosts_of(url)
        }

    return first.database == second.database and not places(first).isdisjoint(places(second))


def shown(url: URL) -> str:
    """Return a URL for people, without its passwords."""
    return redact(url.set(drivername="postgresql").render_as_string(hide_password=True))


def shown_to_sqlalchemy(url: URL) -> URL:
    """Return a URL without the parameters that only `connect_to` handles."""
    known = {name: value for name, value in url.query.items() if name in {"host", "port"} and "," not in value}
    return url.set(query=known)


def libpq(url: URL, application_name: str) -> str:
    """Return a database's URL for libpq, which the job engine uses. It has the same limits for a silent connection."""
    defaults = {name: str(default) for name, (_, default) in _SOCKET_OPTIONS.items()}
    query = {
        **defaults, "connect_timeout": f"{CONNECT_SECONDS:.0f}", **url.query, "application_name": application_name
    }  # fmt: skip
    return url.set(drivername="postgresql", query=query).render_as_string(hide_password=False)


def connect_to(url: URL) -> Connect:
    """Return a function that opens connections to a database by asyncpg, with the URL's parameters."""
    parameters = {name: str(value) for name, value in url.query.items()}
    tls: dict[str, Any] = {}
    if parameters.get("sslrootcert") == "system":
        tls["ssl"] = _system_context(parameters)
    elif given := {name: parameters[name] for name in parameters if name in _TLS}:
        # asyncpg accepts these only in a DSN.
        tls["dsn"] = f"postgresql:///?{urlencode(given)}"
    seconds = float(parameters.get("connect_timeout", CONNECT_SECONDS))
    options: dict[str, Any] = {
        **tls,
        **{name: parameters[name] for name in ("passfile", "krbsrvname", "gsslib") if name in parameters},
        "user": url.username,
        "password": url.password,
        "database": url.database,
        "timeout": seconds if seconds > 0 else None,
    }
    settings = {name: parameters[name] for name in ("application_name", "options") if name in parameters}

    async def connect(*_arguments: Any, server_settings: Mapping[str, str], **_options: Any) -> Any:
        hosts = _hosts_of(url)
        if parameters.get("load_balance_hosts") == "random":
            random.shuffle(hosts)
        wanted = parameters.get("target_session_attrs")
        passes = ("standby", "any") if wanted == "prefer-standby" else (wanted,)
        failure: Exception = StoreUnavailable("The database URL names no host.")
        for attributes in passes:
            for host, port in hosts:
                try:
                    connection = await asyncpg.connect(
                        host=host,
                        port=port,
                        target_session_attrs=attributes,
                        server_settings=dict(server_settings) | settings,
                        command_timeout=STATEMENT_SECONDS,
                        **options,
                    )
                except (OSError, asyncpg.TargetServerAttributeNotMatched, asyncpg.CannotConnectNowError) as exc:
                    failure = _explained(exc, wanted)
                except (asyncpg.ClientConfigurationError, ValueError) as exc:
                    raise _bad(f"The database URL's TLS settings can't be used: {exc}.") from exc
                else:
                    _keep_alive(connection, parameters)
                    return connection
        raise failure

    return connect


def _explained(exc: Exception, wanted: str | None) -> Exception:
    """Return an error that says why TLS or ``target_session_attrs`` failed, or else the error itself."""
    if isinstance(exc, asyncpg.TargetServerAttributeNotMatched):
        message = f"No server of the database URL fits target_session_attrs={wanted}."
        return StoreUnavailable(message, hint="Check the hosts in the URL: is the server another one now?")
    if isinstance(exc, ssl.SSLCertVerificationError):
        message = f"The certificate of the database server isn't trusted: {exc.verify_message}."
    elif isinstance(exc, ssl.SSLError):
        message = f"The TLS connection to the database failed: {exc.reason or type(exc).__name__}."
    elif isinstance(exc, ConnectionError) and "rejected SSL upgrade" in str(exc):
        message = "The database server doesn't offer TLS."
    else:
        return exc
    error = StoreUnavailable(message, code="database_tls")
    error.__cause__ = exc
    return error


def _keep_alive(connection: Any, parameters: Mapping[str, str]) -> None:
    """Let the system close the connection if the other end is silent, as when a firewall has forgotten it."""
    # asyncpg has no public access to its socket.
    channel: socket.socket | None = connection._transport.get_extra_info("socket")  # noqa: SLF001
    if channel is None or channel.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    if parameters.get("keepalives") != "0":
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, (option, default) in _SOCKET_OPTIONS.items():
        value = int(parameters.get(name, default))
        if value > 0 and hasattr(socket, option):  # The available options differ between systems.
            channel.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _service(name: str | None, file: str | None) -> dict[str, str]:
    """Read the parameters of a service from its file: that in the URL, of PGSERVICEFILE, of the user or the system."""
    if not name:
        return {}
    places = [file or os.environ.get("PGSERVICEFILE") or str(Path("~/.pg_service.conf").expanduser())]
    if system := os.environ.get("PGSYSCONFDIR"):
        places.append(f"{system}/pg_service.conf")
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(places, encoding="utf-8")
    except (OSError, configparser.Error, UnicodeDecodeError) as exc:
        raise _bad("The file of the database URL's service can't be read.") from exc
    if not parser.has_section(name):
        raise _bad(f"The database URL's service {quoted(name)} is in none of the files {', '.join(places)}.")
    return {key: value for key, value in parser.items(name) if value}


def _require_valid(name: str, value: str) -> None:
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            choices = ", ".join(sorted(_CHOICES[name]))
            raise _bad(f"The database URL's {name} can't be {quoted(value)}.", f"RetroVue takes: {choices}.")
    elif name in _NUMBERS:
        if not _WHOLE_NUMBER.fullmatch(value):
            raise _bad(f"The database URL's {name} isn't a whole number.")
    elif name in _FILES:
        if (name, value) != ("sslrootcert", "system"):
            _require_readable(name, value)
    elif name not in _TEXTS:
        raise _bad(
            f"The database URL's parameter {quoted(name)} isn't supported.", "Remove it, or correct its spelling."
        )


def _require_readable(name: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise _bad(f"The file of the database URL's {name} can't be read: {reason}.", "Correct its path.") from exc


def _hosts(host: str, port: str) -> list[tuple[str | None, int | None]]:
    """Split lists of hosts and ports into pairs. None means the driver's default."""
    hosts, ports = host.split(","), port.split(",")
    if len(ports) not in {1, len(hosts)}:
        raise _bad(f"The database URL has {len(hosts)} hosts and {len(ports)} ports.")
    pairs: list[tuple[str | None, int | None]] = []
    for item, default in zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=True):
        name, own = item, ""
        if (not item.startswith("/") and item.count(":") < 2) or item.startswith("["):
            name, _, own = item.rpartition(":") if re.search(r":[^]]*$", item) else (item, "", "")
        number = own or default
        if number and not (number.isascii() and number.isdigit() and 0 < int(number) < 65536):
            raise _bad(f"The database URL's port {quoted(number)} isn't a number from 1 to 65535.")
        pairs.append((name.strip("[]") or None, int(number) if number else None))
    return pairs


def _hosts_of(url: URL) -> list[tuple[str | None, int | None]]:
    if url.host:
        return [(url.host, url.port)]
    return _hosts(str(url.query.get("host", "")), str(url.query.get("port", url.port or "")))


def _system_context(parameters: Mapping[str, str]) -> ssl.SSLContext:
    """Return a context that trusts the certificates of the system."""
    context = ssl.create_default_context()
    if certificate := parameters.get("sslcert"):
        context.load_cert_chain(certificate, parameters.get("sslkey"), parameters.get("sslpassword", ""))
    return context


def _bad(message: str, hint: str = _HINT) -> RequestError:
    return RequestError(message, code="bad_database_url", hint=hint)
