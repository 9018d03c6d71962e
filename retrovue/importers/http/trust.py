"""The certificates that are trusted: those of the system's authorities, or of an operator's own."""

import os
import ssl
import sys
from pathlib import Path

import certifi
import truststore

from retrovue.core.errors import RequestError

_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Environment variables that name the system's authorities; OpenSSL ignores them if they name nothing that exists."""


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Make the TLS context of a client that checks certificates.

    Without ``ca_file`` it trusts the system's authorities: the key chain of macOS, the store of Windows, else those of
    SSL_CERT_FILE, SSL_CERT_DIR or the distribution. With it, only the certificates in that PEM file, which may be the
    server's own. Raises RequestError with code ``bad_ca_file``.
    """
    return _of_the_system() if ca_file is None else _of_a_file(ca_file)


def _of_the_system() -> ssl.SSLContext:
    for name in _VARIABLES:
        if (path := os.environ.get(name)) and not Path(path).exists():
            raise RequestError(
                f"The environment variable {name} names {path}, which doesn't exist.",
                code="bad_ca_file",
                hint="Correct the variable, or remove it to trust the system's usual authorities.",
            )
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not _system_has_authorities():
        context.load_verify_locations(certifi.where())
    return context


def _system_has_authorities() -> bool:
    """Return whether the system has authorities; small containers have none."""
    paths = ssl.get_default_verify_paths()
    # Its type annotations are wrong: without such a file or directory the values are None.
    file, directory = str(paths.cafile or ""), str(paths.capath or "")
    return sys.platform in {"darwin", "win32"} or bool(file) or bool(directory and any(Path(directory).iterdir()))


def _of_a_file(path: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=path)
    except FileNotFoundError as exc:
        raise _refused(path, "doesn't exist") from exc
    except ssl.SSLError as exc:
        raise _refused(path, "holds no certificate in PEM") from exc
    except OSError as exc:
        raise _refused(path, f"can't be read: {exc.strerror or type(exc).__name__}") from exc
    # The server's own certificate may be the anchor, and a self-made one lacks extensions that Python 3.13 requires.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _refused(path: str, problem: str) -> RequestError:
    return RequestError(
        f"The certificate file {path} {problem}.",
        code="bad_ca_file",
        hint="Give a PEM file with the certificate of the authority that signed the server's: --ca-file FILE.",
    )
