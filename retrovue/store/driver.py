"""Connections to a database through asyncpg, with the parameters of the database's URL."""

import getpass
import os
import random
import shlex
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg

from retrovue.core.errors import RetrovueError, StoreError, StoreUnavailable
from retrovue.store.addresses import CONNECT_SECONDS, SOCKET_OPTIONS, bad_url, hosts_of
from retrovue.store.passfile import Passwords, read_passwords
from retrovue.store.tls import explained, tls_options
from retrovue.store.url import URL

STATEMENT_SECONDS = 60.0
"""The time limit of a statement, in seconds. A network connection may stop answering without an error."""
LONG_STATEMENT_SECONDS = 900.0
"""The time limit of a statement that works on whole collections, such as a merge or a migration, in seconds."""

Connect = Callable[..., Awaitable[Any]]
"""A function that opens a connection. It takes ``server_settings`` and ignores other arguments."""

_NEXT_HOST = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.TargetServerAttributeNotMatched,
)
"""The errors after which the next host of the URL is tried."""
_BAD_SETTING = ("22", "42")
"""The classes of SQLSTATE with which a server refuses a setting of ``options``."""


def connect_to(url: URL) -> Connect:
    """Return a function that opens connections to a database by asyncpg, with the URL's parameters.

    The function raises RequestError for parameters that can't be used, and StoreError for a server that refuses them.
    """
    parameters = {name: str(value) for name, value in url.query.items()}
    seconds = float(parameters.get("connect_timeout", CONNECT_SECONDS))
    options: dict[str, Any] = {
        "user": url.username,
        "database": url.database,
        "timeout": seconds if seconds > 0 else None,
        "krbsrvname": parameters.get("krbsrvname"),
        "gsslib": parameters.get("gsslib") or ("sspi" if os.name == "nt" else "gssapi"),
    }
    settings = {name: parameters[name] for name in ("application_name", "options") if name in parameters}

    async def connect(*_arguments: Any, server_settings: Mapping[str, str], **_options: Any) -> Any:
        hosts = hosts_of(url)
        if parameters.get("load_balance_hosts") == "random":
            random.shuffle(hosts)
        wanted = parameters.get("target_session_attrs", "any")
        passes = ("standby", "any") if wanted == "prefer-standby" else (wanted,)
        passwords = read_passwords(parameters.get("passfile")) if url.password is None else None
        failure: Exception = StoreUnavailable("The database URL names no host.")
        for attributes in passes:
            for host, port in hosts:
                try:
                    connection = await asyncpg.connect(
                        host=host,
                        port=port or 5432,
                        target_session_attrs=attributes,
                        server_settings=dict(server_settings) | settings,
                        command_timeout=STATEMENT_SECONDS,
                        # Callable, because asyncpg without a password looks for its own files and variables.
                        password=_password(url, passwords, host, port),
                        # A socket needs no TLS, but asyncpg would read the settings and files of TLS.
                        **({"ssl": False} if host is not None and host.startswith("/") else tls_options(parameters)),
                        **options,
                    )
                except _NEXT_HOST as exc:
                    failure = _told(exc, parameters)
                except (asyncpg.PostgresError, asyncpg.ClientConfigurationError, ValueError) as exc:
                    if (told := _refused(exc, parameters, passwords)) is not None:
                        raise told from exc
                    raise
                else:
                    _keep_alive(connection, parameters)
                    return connection
        raise failure

    return connect


def _password(url: URL, passwords: Passwords | None, host: str | None, port: int | None) -> Callable[[], str | None]:
    if passwords is None:
        return lambda: url.password
    return lambda: passwords.find(host, port or 5432, url.database or "", url.username or getpass.getuser())


def _told(exc: Exception, parameters: Mapping[str, str]) -> Exception:
    """Return an error that explains why a host can't be connected to, or the error itself."""
    if isinstance(exc, asyncpg.TargetServerAttributeNotMatched):
        return StoreUnavailable(
            f"No server of the database URL fits target_session_attrs={parameters.get('target_session_attrs')}.",
            hint="Check the hosts in the URL: is another server the primary now?",
        )
    return explained(exc, parameters) or exc


def _refused(exc: Exception, parameters: Mapping[str, str], passwords: Passwords | None) -> RetrovueError | None:
    """Return an error that says which parameter a server or the driver refuses, or None."""
    if not isinstance(exc, asyncpg.PostgresError):
        reason = str(exc).splitlines()[0].rstrip(".")
        return explained(exc, parameters) or bad_url(f"The database URL can't be used: {reason}.")
    sqlstate = str(exc.sqlstate)
    if sqlstate.startswith(_BAD_SETTING) and "options" in parameters:
        return bad_url(f"The database server refuses the options of its URL: {exc.args[0]}.", "Correct options=….")
    if isinstance(exc, asyncpg.InvalidPasswordError) and passwords is not None:
        return _no_password(exc, passwords)
    return None


def _no_password(exc: asyncpg.InvalidPasswordError, passwords: Passwords) -> StoreError | None:
    """Return an error that says where a password was searched."""
    if passwords.fault is not None:
        found = f"{passwords.path} isn't used, because {passwords.fault}"
        hint = f"Run `chmod 600 {shlex.quote(str(passwords.path))}`, or give the password in the URL."
    else:
        found = f"the URL has no password, and {passwords.path} has no matching line"
        hint = "Give the password in the URL, in PGPASSWORD, or in a line host:port:database:user:password of the file."
    return StoreError(
        f"The database refused: {exc.args[0]}; {found}.",
        code="database_refused",
        hint=hint,
        context={"sqlstate": exc.sqlstate},
    )


def _keep_alive(connection: Any, parameters: Mapping[str, str]) -> None:
    """Have the system close the connection if the other end stops answering, for example because of a firewall."""
    # asyncpg has no public access to its socket.
    channel: socket.socket | None = connection._transport.get_extra_info("socket")  # noqa: SLF001
    if channel is None or channel.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    if parameters.get("keepalives") != "0":
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, (option, default) in SOCKET_OPTIONS.items():
        value = int(parameters.get(name, default))
        if value > 0 and hasattr(socket, option):  # The available options differ between systems.
            channel.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
