"""Parse and use the URL of a PostgreSQL database, with the parameters that libpq documents.

Each parameter either works as libpq documents it or is refused by name: a misspelt ``sslmode`` must not lead to a
connection without TLS. Source: https://www.postgresql.org/docs/18/libpq-connect.html
"""

import configparser
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote

from retrovue.core.errors import RequestError
from retrovue.core.text import quoted, redact
from retrovue.store.url import URL

CONNECT_SECONDS = 10.0
"""The time limit of one attempt to connect to one host, in seconds; ``connect_timeout`` overrides it."""

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
SOCKET_OPTIONS = {
    "keepalives_idle": ("TCP_KEEPIDLE", 30),
    "keepalives_interval": ("TCP_KEEPINTVL", 10),
    "keepalives_count": ("TCP_KEEPCNT", 3),
    "tcp_user_timeout": ("TCP_USER_TIMEOUT", 60_000),
}
"""The options of a socket that these parameters set, and their defaults. The defaults detect within two minutes a
connection that a firewall has forgotten."""
_ENVIRONMENT = {
    "PGHOST": "host",
    "PGHOSTADDR": "hostaddr",
    "PGPORT": "port",
    "PGDATABASE": "dbname",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGPASSFILE": "passfile",
    "PGREQUIREAUTH": "require_auth",
    "PGCHANNELBINDING": "channel_binding",
    "PGOPTIONS": "options",
    "PGAPPNAME": "application_name",
    "PGSSLMODE": "sslmode",
    "PGSSLNEGOTIATION": "sslnegotiation",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGSSLCERTMODE": "sslcertmode",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCRL": "sslcrl",
    "PGSSLCRLDIR": "sslcrldir",
    "PGREQUIREPEER": "requirepeer",
    "PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version",
    "PGSSLMAXPROTOCOLVERSION": "ssl_max_protocol_version",
    "PGGSSENCMODE": "gssencmode",
    "PGKRBSRVNAME": "krbsrvname",
    "PGGSSLIB": "gsslib",
    "PGCONNECT_TIMEOUT": "connect_timeout",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
    "PGLOADBALANCEHOSTS": "load_balance_hosts",
}
"""The variables of libpq for connections. Others, such as PGCLIENTENCODING, are meant for programs like psql."""
_PROTECTED = {"require", "verify-ca", "verify-full"}
"""The values of ``sslmode`` that require TLS."""


def database_url(text: str, environment: Mapping[str, str] = MappingProxyType({})) -> URL:
    """Parse the URL of a PostgreSQL database: ``postgres://``, ``postgresql://`` or ``postgresql+asyncpg://``.

    What the URL lacks is taken from its ``service``, and then from the environment's variables of libpq, such as
    ``PGSSLMODE``. The directory of a socket and a list of hosts are put into the query, as ``host=a,b&port=5432,5433``.

    Raises RequestError with the code ``bad_database_url``. Its message doesn't repeat the URL, which may hold a
    password.
    """
    parts, query = _split(text)
    twice = parts.keys() & query.keys()
    if twice:
        raise bad_url(f"The database URL gives {quoted(min(twice))} twice.", "Give it once: before the question mark.")
    variables = {_ENVIRONMENT[name]: name for name in _ENVIRONMENT if environment.get(name)}
    service = _service(
        query.pop("service", "") or environment.get("PGSERVICE", ""),
        query.pop("servicefile", ""),
        environment,
    )
    given = {**service, **parts, **query}
    if given.get("ssl") == "true":  # as in JDBC URLs
        del given["ssl"]
        given.setdefault("sslmode", "require")
    for name in given:
        variables.pop(name, None)
    parameters = {**{name: environment[variable] for name, variable in variables.items()}, **given}
    login = {name: parameters.pop(name, None) for name in ("user", "password", "dbname")}
    if not login["dbname"]:
        raise bad_url("The database URL names no database.")
    for name, value in parameters.items():
        if name in variables:
            owner = "environment"
        else:
            owner = "service" if name in service and name not in parts and name not in query else "URL"
        _require_valid(owner, variables.get(name, name), name, value)
    _require_consistent(parameters)
    hosts = _hosts(parameters.get("host", ""), parameters.get("port", ""))
    host, port = hosts[0]
    if len(hosts) > 1 or host is None or host.startswith("/"):
        host = port = None
    else:
        parameters = {name: value for name, value in parameters.items() if name not in {"host", "port"}}
    driver = "postgresql+asyncpg"
    return URL(driver, login["user"], login["password"], host, port, login["dbname"], parameters)


def _split(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Split a URL into the parameters before and after its question mark, with libpq's names."""
    # `URL` has one host.
    several = re.match(r"(?s)([^:/?#]+://(?:[^:/?#@]*(?::[^/?#@]*)?@)?)([^/?#@]*,[^/?#@]*)(.*)", text)
    try:
        url = URL.parse(several[1] + several[3] if several else text)
    except ValueError as exc:
        raise bad_url("The database URL can't be read.") from exc
    if url.drivername not in {"postgres", "postgresql", "postgresql+asyncpg"}:
        raise bad_url(f"The database URL's scheme {quoted(url.drivername)} isn't PostgreSQL.")
    parts = {
        "user": url.username,
        "password": url.password,
        "host": unquote(several[2] if several else url.host or ""),
        "port": "" if url.port is None else str(url.port),
        "dbname": url.database,
    }
    return {name: value for name, value in parts.items() if value}, {name: v for name, v in url.query.items() if v}


def same_database(first: URL, second: URL) -> bool:
    """Return whether two URLs name the same database, as far as that can be decided without connecting."""

    def places(url: URL) -> set[tuple[str, int]]:
        return {
            ("localhost" if host in {None, "127.0.0.1", "::1"} else str(host), port or 5432)
            for host, port in hosts_of(url)
        }

    return first.database == second.database and not places(first).isdisjoint(places(second))


def shown(url: URL) -> str:
    """Return a URL for people, without its passwords."""
    return redact(url.set(drivername="postgresql").render_as_string(hide_password=True))


def libpq(url: URL, application_name: str) -> str:
    """Return a database's URL for libpq, which the job engine uses. It has the same limits for a silent connection."""
    defaults = {name: str(default) for name, (_, default) in SOCKET_OPTIONS.items()}
    query = {
        **defaults, "connect_timeout": f"{CONNECT_SECONDS:.0f}", **url.query, "application_name": application_name
    }  # fmt: skip
    return url.set(drivername="postgresql", query=query).render_as_string(hide_password=False)


def _service(name: str, file: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Read the parameters of a service from its file: that of the URL, of PGSERVICEFILE, of the user or the system."""
    if not name:
        return {}
    places = [file or environment.get("PGSERVICEFILE") or str(at_home(".pg_service.conf"))]
    if system := environment.get("PGSYSCONFDIR"):
        places.append(f"{system}/pg_service.conf")
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(places, encoding="utf-8")
    except (OSError, configparser.Error, UnicodeDecodeError) as exc:
        raise bad_url(
            f"The file of the database's service {quoted(name)} can't be read: {', '.join(places)}.",
            "Write it in lines of the form name=value, below a line with the service's name in square brackets.",
        ) from exc
    if not parser.has_section(name):
        raise bad_url(
            f"The database's service {quoted(name)} is in none of the files {', '.join(places)}.",
            "Correct its name, or name its file in PGSERVICEFILE.",
        )
    return {key: value for key, value in parser.items(name) if value}


def _require_valid(owner: str, spelling: str, name: str, value: str) -> None:
    """Check a parameter.

    Messages use its own spelling, and say whether the URL, the service or the environment sets it.
    """
    subject = f"The database URL's {spelling}" if owner == "URL" else f"{spelling} of the {owner}"
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            choices = ", ".join(sorted(_CHOICES[name]))
            raise bad_url(f"{subject} can't be {quoted(value)}.", f"RetroVue takes: {choices}.")
    elif name in _NUMBERS:
        if not _WHOLE_NUMBER.fullmatch(value):
            raise bad_url(f"{subject} isn't a whole number.", "Write a number of seconds, or remove it.")
    elif name in _FILES:
        if (name, value) != ("sslrootcert", "system"):
            _require_readable(subject, value)
    elif name not in _TEXTS:
        name = quoted(spelling)
        subject = f"The database URL's parameter {name}" if owner == "URL" else f"{name} of the {owner}"
        raise bad_url(f"{subject} isn't supported.", "Remove it, or correct its spelling.")


def _require_consistent(parameters: dict[str, str]) -> None:
    """Check TLS parameters that depend on each other."""
    if parameters.get("sslrootcert") == "system" and parameters.setdefault("sslmode", "verify-full") != "verify-full":
        raise bad_url("sslrootcert=system of the database's URL needs sslmode=verify-full.", "Correct one of the two.")
    if parameters.get("sslnegotiation") == "direct" and parameters.get("sslmode") not in _PROTECTED:
        raise bad_url(
            "sslnegotiation=direct of the database's URL needs sslmode=require, verify-ca or verify-full.",
            "Add one of these, or remove sslnegotiation.",
        )
    lowest, highest = (parameters.get(f"ssl_{bound}_protocol_version") for bound in ("min", "max"))
    if lowest and highest and lowest > highest:
        raise bad_url(
            f"ssl_min_protocol_version={lowest} of the database's URL is above ssl_max_protocol_version={highest}.",
            "Correct one of the two.",
        )


def _require_readable(subject: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise bad_url(f"{subject} can't be read: {path}: {reason}.", "Correct its path.") from exc


def _hosts(host: str, port: str) -> list[tuple[str | None, int | None]]:
    """Split lists of hosts and ports into pairs. None means the driver's default."""
    hosts, ports = host.split(","), port.split(",")
    if len(ports) not in {1, len(hosts)}:
        raise bad_url(f"The database URL has {len(hosts)} hosts and {len(ports)} ports.")
    pairs: list[tuple[str | None, int | None]] = []
    for item, default in zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=True):
        name, own = item, ""
        if (not item.startswith("/") and item.count(":") < 2) or item.startswith("["):
            name, _, own = item.rpartition(":") if re.search(r":[^]]*$", item) else (item, "", "")
        number = own or default
        if number and not (number.isascii() and number.isdigit() and 0 < int(number) < 65536):
            raise bad_url(f"The database URL's port {quoted(number)} isn't a number from 1 to 65535.")
        pairs.append((name.strip("[]") or None, int(number) if number else None))
    return pairs


def hosts_of(url: URL) -> list[tuple[str | None, int | None]]:
    """Return the hosts of a URL with their ports. None stands for the driver's default."""
    if url.host:
        return [(url.host, url.port)]
    return _hosts(str(url.query.get("host", "")), str(url.query.get("port", url.port or "")))


def at_home(name: str) -> Path:
    """Return the path of a file in the user's home, or a path that doesn't exist if the account has no home."""
    try:
        return Path.home() / name
    except RuntimeError:
        return Path("~") / name


def bad_url(message: str, hint: str = _HINT) -> RequestError:
    """Return an error about the database's URL."""
    return RequestError(message, code="bad_database_url", hint=hint)
