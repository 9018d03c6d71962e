"""TLS for connections to a database: options of asyncpg for libpq's parameters, and explanations of failures."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg

from retrovue.core.errors import RequestError, RetrovueError, StoreUnavailable
from retrovue.store.addresses import at_home, bad_url

_PARAMETERS = {
    "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslpassword", "sslnegotiation",
    "ssl_min_protocol_version", "ssl_max_protocol_version",
}  # fmt: skip
_ENDED = (ConnectionError, asyncpg.ConnectionDoesNotExistError)
"""The errors when the other end has closed the connection."""
_OLD_SERVER = "PostgreSQL 17 and newer know sslnegotiation=direct; remove it for an older server or a pooler."


def tls_options(parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of asyncpg for a host on a network.

    Raises RequestError if a file is missing, and errors that `explained` accepts if a file can't be used.
    """
    if parameters.get("sslrootcert") == "system":
        return {"ssl": _system_context(parameters), "direct_tls": parameters.get("sslnegotiation") == "direct"}
    mode = parameters.get("sslmode", "prefer")
    authority = at_home(".postgresql/root.crt")
    if mode.startswith("verify-") and "sslrootcert" not in parameters and not authority.exists():
        raise bad_url(
            f"sslmode={mode} needs the certificate of an authority, and there is no {authority}.",
            "Name one by sslrootcert=FILE, or sslrootcert=system for the authorities of the system.",
        )
    # asyncpg accepts these only in a DSN.
    given = {name: value for name, value in parameters.items() if name in _PARAMETERS}
    return {"dsn": f"postgresql:///?{urlencode({**given, 'sslmode': mode})}"}


def explained(exc: Exception, parameters: Mapping[str, str]) -> RetrovueError | None:
    """Return an error that explains why TLS failed, or None for an error that isn't about TLS."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _error(f"The certificate of the database server isn't trusted: {exc.verify_message.rstrip('.')}.", exc)
    if isinstance(exc, ssl.SSLError | asyncpg.ClientConfigurationError | FileNotFoundError | PermissionError):
        error: RetrovueError | None = _unusable_file(parameters)
        if error is None and isinstance(exc, ssl.SSLError):
            return _error(f"The TLS connection to the database failed: {_reason(exc)}.", exc)
        if error is not None:
            error.__cause__ = exc
        return error
    if isinstance(exc, ConnectionError) and "rejected SSL upgrade" in str(exc):
        return _error("The database server doesn't offer TLS.", exc)
    if isinstance(exc, _ENDED) and not isinstance(exc, ConnectionRefusedError):
        return _ended(exc, parameters)
    return None


def _ended(exc: Exception, parameters: Mapping[str, str]) -> RetrovueError | None:
    """Return an error if TLS may be the reason that the other end closed the connection."""
    if parameters.get("sslnegotiation") == "direct":
        return _error("The database server doesn't begin with TLS (sslnegotiation=direct).", exc, _OLD_SERVER)
    certificate = _certificate(parameters)
    if isinstance(exc, asyncpg.ConnectionDoesNotExistError) and certificate is not None:
        return _error(
            f"The database server ended the connection. It may not accept the client certificate {certificate}.",
            exc,
            "Read the log of the database server. Its ssl_ca_file has to hold the certificate's authority.",
        )
    return None


def _error(message: str, cause: Exception, hint: str | None = None) -> StoreUnavailable:
    error = StoreUnavailable(message, code="database_tls", hint=hint)
    error.__cause__ = cause
    return error


def _reason(exc: ssl.SSLError) -> str:
    """Return the name of an OpenSSL error in words."""
    if exc.reason in {"NO_PROTOCOLS_AVAILABLE", "TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"}:
        return "both ends have no version of TLS in common (ssl_min_protocol_version, ssl_max_protocol_version)"
    return (exc.reason or type(exc).__name__).lower().replace("_", " ")


def _system_context(parameters: Mapping[str, str]) -> ssl.SSLContext:
    """Return a context that trusts the certificates of the system."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])  # a server demands it if the connection begins with TLS
    for bound in ("minimum", "maximum"):
        if version := parameters.get(f"ssl_{bound[:3]}_protocol_version"):
            setattr(context, f"{bound}_version", ssl.TLSVersion[version.replace(".", "_")])
    if revoked := parameters.get("sslcrl"):
        context.load_verify_locations(cafile=revoked)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    if (certificate := _certificate(parameters)) is not None:
        _load(context, certificate, parameters)
    return context


def _load(context: ssl.SSLContext, certificate: Path, parameters: Mapping[str, str]) -> None:
    context.load_cert_chain(certificate, _key(parameters), lambda: parameters.get("sslpassword", ""))


def _certificate(parameters: Mapping[str, str]) -> Path | None:
    """Return the client's certificate, by default the one in the user's home, or None if there is none."""
    if given := parameters.get("sslcert"):
        return Path(given)
    path = at_home(".postgresql/postgresql.crt")
    return path if path.exists() else None


def _key(parameters: Mapping[str, str]) -> Path | None:
    if given := parameters.get("sslkey"):
        return Path(given)
    path = at_home(".postgresql/postgresql.key")
    return path if path.exists() else None


def _unusable_file(parameters: Mapping[str, str]) -> RequestError | None:
    """Return an error that names the file that TLS can't use, or None. OpenSSL's own errors name no file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name, default, content in (
        ("sslrootcert", "root.crt", "certificate"),
        ("sslcrl", "root.crl", "list of revoked certificates"),
    ):
        path = Path(parameters.get(name) or at_home(f".postgresql/{default}"))
        if str(path) == "system" or not (name in parameters or path.exists()):
            continue
        try:
            context.load_verify_locations(cafile=path)
        except OSError:
            return bad_url(f"{path} ({name}) can't be read, or holds no {content} in PEM format.", "Correct the file.")
    certificate = _certificate(parameters)
    if certificate is None:
        return None
    try:
        _load(context, certificate, parameters)
    except (OSError, ValueError) as exc:
        return _unusable_pair(certificate, _key(parameters), exc, parameters)
    return None


def _unusable_pair(certificate: Path, key: Path | None, exc: Exception, parameters: Mapping[str, str]) -> RequestError:
    where = f"{key or certificate} (sslkey)"
    try:
        texts = [path.read_bytes() for path in (certificate, key or certificate)]
    except OSError as unreadable:
        return bad_url(f"{unreadable.filename} can't be read: {unreadable.strerror}.", "Correct its path or its mode.")
    if b"-----BEGIN CERTIFICATE" not in texts[0]:
        told = f"{certificate} (sslcert) holds no certificate in PEM format.", "Correct the file."
    elif b"PRIVATE KEY-----" not in texts[1] and key is None:
        told = f"{certificate} (sslcert) has no private key beside it.", "Name its file by sslkey=FILE."
    elif b"PRIVATE KEY-----" not in texts[1]:
        told = f"{where} holds no private key in PEM format.", "Correct the file."
    elif getattr(exc, "reason", None) == "KEY_VALUES_MISMATCH":
        told = f"{where} isn't the key of {certificate} (sslcert).", "Name the right one."
    elif b"ENCRYPTED" not in texts[1]:
        told = f"{certificate} (sslcert) and {where} can't be used.", "Correct the files."
    elif parameters.get("sslpassword"):
        told = f"sslpassword doesn't open {where}.", "Correct the passphrase."
    else:
        told = f"{where} is encrypted.", "Give its passphrase by sslpassword=PASSPHRASE."
    return bad_url(*told)
