"""Addresses that can't be used, and what foreign exceptions mean: one place that knows those of httpx."""

import errno
import os
import re
import socket
import ssl
import zlib

import httpx

from retrovue.core.errors import RequestError, SourceError, SourceUnreachable
from retrovue.importers.http.bodies import cut_short


def parse_base_url(text: str, example: str) -> httpx.URL:
    """Read a source's address, before anything is sent to it; ``example`` is one that would do.

    Raises RequestError with code ``bad_url``, whatever httpx makes of the text: it has its InvalidURL for
    some mistakes, and lets others, such as a port of 70000, pass until they fail on connecting.
    """
    problem = None
    try:
        url = httpx.URL(text.strip())
        if url.scheme not in {"http", "https"}:
            problem = "it doesn't begin with http:// or https://"
        elif not re.fullmatch(rb"[A-Za-z0-9._:-]+", url.raw_host):
            problem = "it names no host"
        elif url.userinfo:
            problem = "it holds a user name or password"
        elif url.query or url.fragment:
            problem = "it has a query or a fragment"
        elif url.port is not None and not 0 < url.port < 65536:
            problem = "its port is out of range"
    except (httpx.InvalidURL, ValueError, TypeError):
        problem = "it is malformed"
    if problem is not None:
        raise RequestError(
            f"The source's base URL can't be used: {problem}.",
            code="bad_url",
            hint=f"Give the server's address without credentials, e.g. {example}.",
        )
    return url


def map_error(exc: Exception, origin: str, product: str) -> tuple[SourceError, bool]:
    """Translate whatever httpx, TLS or the system raised, and say whether another try may help.

    The one place that knows foreign exceptions. Texts of exceptions aren't passed on as they may quote
    what was sent, except those of the operating system and of TLS, which quote addresses at most.
    """
    cause = _system_cause(exc)
    where = f"the {product} server at {origin}"
    if isinstance(cause, ssl.SSLCertVerificationError):
        detail = getattr(cause, "verify_message", "it can't be verified")
        return (
            SourceUnreachable(
                f"The TLS certificate of {where} was not accepted: {detail}.",
                code="tls_certificate",
                hint="Set ca_file to the certificate of its authority, or use the address that the certificate names.",
            ),
            False,
        )
    if isinstance(exc, zlib.error | httpx.DecodingError):
        return cut_short(origin), True
    if isinstance(exc, httpx.InvalidURL | httpx.UnsupportedProtocol | UnicodeError):
        return SourceError(f"The address of {where} or of its redirect can't be used.", code="bad_url"), False
    if isinstance(exc, httpx.TooManyRedirects):
        return SourceError(f"{where} redirects without end.", code="redirect_loop"), False
    detail = _said_by(cause) or type(cause or exc).__name__
    if isinstance(exc, httpx.ConnectTimeout):
        message, hint = f"Connecting to {where} took too long.", "Check address, port and firewall."
    elif isinstance(exc, httpx.TimeoutException | TimeoutError):
        message, hint = f"The answer of {where} took too long.", "Check that the server isn't overloaded."
    elif isinstance(exc, httpx.ConnectError | ExceptionGroup):
        message = f"No connection to {where}: {detail}."
        hint = "Check that the server is running, and the source's base URL: scheme, host and port."
    elif isinstance(exc, httpx.HTTPError | httpx.StreamError | httpx.CookieConflict | OSError):
        message = f"The connection to {where} broke: {detail}."
        hint = 'If the server requires secure connections, the base URL must begin with "https://".'
    else:
        message, hint = f"Asking {where} failed: {detail}.", "This is a fault of RetroVue; please report it."
        return SourceError(message, hint=hint), False
    return SourceUnreachable(message, hint=hint), True


def origin_of(url: httpx.URL) -> str:
    """Spell an address's scheme, host and port, which is all of it that messages tell."""
    default = {"http": 80, "https": 443}.get(url.scheme)
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = url.port or default
    return f"{url.scheme}://{host}:{port}" if port else f"{url.scheme}://{host}"


def _system_cause(exc: BaseException) -> OSError | None:
    """Find the system's own error behind httpx's, httpcore's and anyio's layers, of which the last is one as well."""
    seen: set[int] = set()
    unnumbered: OSError | None = None
    link: BaseException | None = exc
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if isinstance(link, OSError) and not isinstance(link, TimeoutError):
            if link.errno is not None or isinstance(link, ssl.SSLError):
                return link
            unnumbered = unnumbered or link
        if isinstance(link, BaseExceptionGroup):
            return next((found for inner in link.exceptions if (found := _system_cause(inner))), unnumbered)
        link = link.__cause__ or link.__context__
    return unnumbered


def _said_by(cause: OSError | None) -> str | None:
    """Say what the system said; of failed connections asyncio tells only the address."""
    if cause is None:
        return None
    if cause.errno is None or cause.errno not in errno.errorcode or isinstance(cause, socket.gaierror | ssl.SSLError):
        return cause.strerror  # the other two number their errors by themselves
    return os.strerror(cause.errno)
