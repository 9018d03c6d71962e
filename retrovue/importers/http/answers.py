"""Addresses, bodies and failures of HTTP requests. Only this module, ``client`` and ``refusals`` know httpx."""

import codecs
import email.utils
import errno
import os
import re
import socket
import ssl
import zlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import unquote, urlsplit

import httpx
from msgspec import Struct

from retrovue.core.errors import MalformedAnswer, RequestError, SourceError, SourceUnreachable
from retrovue.core.text import escaped_in_json, quoted
from retrovue.importers.http.settings import Dialect

_WEB_PAGE = re.compile(r"/web(/.*)?$")
"""The part of a path that belongs to the web page of a media server."""
_SCHEME = re.compile(r"^(https?)(?::/*|//+)(?=[^/])", re.IGNORECASE)
"""A scheme, including mistyped ones such as "http:/" and "http//"."""
_OPENSSL_WORDS = re.compile(r"^\[[^\]]*\] *| *\(_ssl\.c:[0-9]+\)$")
_NOT_TLS = re.compile(r"wrong.version.number|record.layer.failure|http.request|unknown.protocol", re.IGNORECASE)
_NOT_TEXT = "illegal request line"
"""The message of h11 for an answer that begins with a control character, such as an alert of TLS."""
_ERROR_BODY_CAP = 64 * 1024
_MOST_CHUNKS, _MOST_WAITING = 1024, 4 << 20
"""The chunks, and their bytes, that wait to be joined. Most bodies are joined once, in half the time of a buffer that
grows with each chunk. A larger body would be in memory twice, and a server may send a body byte by byte.
"""
_BRACKETS = ((b"{", b"}"), (b"[", b"]"))


IsKnown = Callable[[bytes | bytearray], bool]
"""Tells of a body whether its page is known, so that nothing will be read of it."""


def unknown(_body: bytes | bytearray) -> bool:
    """Return that a page isn't known."""
    return False


class Answer(Struct, frozen=True):
    """The decompressed body of a 200 or 201, and its paging headers, which are None if missing."""

    body: bytes | bytearray
    total: int | None
    offset: int | None
    clock_s: int | None = None
    """The server's time when it answered, in seconds since 1970; None if it doesn't tell."""


class TruncatedAnswer(MalformedAnswer):
    """An answer arrived incomplete. Another attempt may help."""

    default_code = "truncated_answer"


class AnswerTooLarge(MalformedAnswer):
    """An answer has more bytes than are allowed."""

    default_code = "answer_too_large"


class BodyReader:
    """Decodes a body from its chunks. Call `feed()` for each chunk, then `finish()`.

    httpx's own decoder accepts a gzip stream that ends early, and has no limit. The limit applies both to the bytes
    that arrive and to the decoded bytes: a gzip stream may be endless and decode to nothing.
    """

    def __init__(self, encoding: str, dialect: Dialect, *, cap: int, origin: str) -> None:
        encoding = encoding.strip().lower()
        if encoding not in {"identity", "", "gzip", "x-gzip"}:
            raise MalformedAnswer(
                f"The server at {origin} answers in the encoding {quoted(encoding)}, which wasn't asked for."
            )
        self._unpack = zlib.decompressobj(31) if "gzip" in encoding else None
        self._dialect = dialect
        self._cap = cap
        self._origin = origin
        self._received = 0
        self._body = bytearray()
        self._chunks: list[bytes] = []
        """The chunks after the body so far."""
        self._waiting = 0
        """The bytes of these chunks."""
        self.size = 0
        """The decoded bytes so far."""

    def feed(self, chunk: bytes) -> None:
        """Decode a chunk; raises MalformedAnswer if the bytes exceed the limit, or follow the end of a gzip stream."""
        self._received += len(chunk)
        if self._unpack is not None:
            chunk = self._unpack.decompress(chunk, self._cap + 1 - self.size)
            if self._unpack.unused_data:
                raise MalformedAnswer(
                    f"The server at {self._origin} sends bytes after the end of a compressed answer.",
                    hint="Check any proxy between here and the server, or give --no-gzip.",
                )
        self._chunks.append(chunk)
        self._waiting += len(chunk)
        self.size += len(chunk)
        if len(self._chunks) == _MOST_CHUNKS or self._waiting > _MOST_WAITING:
            self._body += b"".join(self._chunks)
            self._chunks.clear()
            self._waiting = 0
        if self.size > self._cap or self._received > self._cap:
            raise AnswerTooLarge(
                f"An answer of the server at {self._origin} is larger than {self._cap:,} bytes.",
                hint="If its items are that large, ask for fewer: `retrovue source update SOURCE --page-size N`.",
            )

    def finish(self, promised: int | None) -> bytes | bytearray:
        """Return the whole body; ``promised`` is its Content-Length, None if there was none.

        Raises TruncatedAnswer if a part is missing, MalformedAnswer if it is XML or a web page.
        """
        unfinished = self._unpack is not None and not self._unpack.eof
        if unfinished or promised not in {None, self._received}:
            raise _truncated(self._origin)
        last = b"".join(self._chunks)
        self._chunks.clear()
        # A reader may ignore a byte order mark (RFC 8259, 8.1).
        body: bytes | bytearray = last.removeprefix(codecs.BOM_UTF8)
        if self._body:
            self._body += last
            if self._body.startswith(codecs.BOM_UTF8):
                del self._body[: len(codecs.BOM_UTF8)]
            body = self._body
        if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise MalformedAnswer(
                f"An answer of the server at {self._origin} is in UTF-16 by its byte order mark, and not in UTF-8.",
                hint="Check any proxy between here and the server.",
            )
        start, end = bytes(body[:256]).lstrip(), bytes(body[-64:]).rstrip()
        if start.startswith(b"<"):
            dialect = self._dialect
            if dialect.xml_root is not None and dialect.xml_root in start:
                raise MalformedAnswer(
                    f"The {dialect.product} server at {self._origin} answers in XML although JSON was asked for."
                )
            raise dialect.wrong_server(self._origin, "it sent a web page")
        if (start[:1], end[-1:]) not in _BRACKETS:
            # Without a length, a connection that is closed early looks like the end of the body.
            raise _truncated(self._origin)
        return body


def _truncated(origin: str) -> TruncatedAnswer:
    """Make the error of an incomplete answer."""
    return TruncatedAnswer(
        f"An answer of the server at {origin} arrived incomplete.",
        hint="Check the network, and any proxy between here and the server.",
    )


def parse_base_url(text: str, dialect: Dialect) -> httpx.URL:
    """Parse a source's address, also one that was copied from a browser showing the server's web page.

    A host alone, without scheme and port, gets the default port of this kind of server. Raises RequestError with code
    ``bad_url``, also for addresses that httpx only refuses when it connects, such as port 70000.
    """
    text = _SCHEME.sub(r"\1://", text.strip(" \t\r\n\"'<>").lstrip("/"))
    try:
        url = httpx.URL(text if "://" in text else f"http://{text}")
        if "://" not in text and urlsplit(f"//{text}").port is None:
            url = url.copy_with(port=dialect.port)
        page = _WEB_PAGE.search(url.path)
        if page is not None:
            url = url.copy_with(path=url.path[: page.start()] or "/", fragment=None)
        problem = _url_problem(url, dialect)
    except (httpx.InvalidURL, ValueError, TypeError):
        problem = "it is malformed"
    if problem is not None:
        raise RequestError(
            f"The source's base URL can't be used: {problem}.",
            code="bad_url",
            hint=f"Give the server's address without credentials, e.g. {dialect.example}.",
        )
    return url


def _url_problem(url: httpx.URL, dialect: Dialect) -> str | None:
    query = url.query.lower()
    problems = {
        "it doesn't begin with http:// or https://": url.scheme not in {"http", "https"},
        "it names no host": not url.host,
        f"{quoted(unquote(url.host))} can't be the name of a host": not re.fullmatch(
            rb"[A-Za-z0-9._:-]*", url.raw_host
        ),
        f"{url.host} shows servers, but isn't one itself": url.host in dialect.web_apps,
        "it holds a user name or password": bool(url.userinfo),
        "it holds a token, which has its own setting": b"token" in query or b"api_key" in query,
        "it has a query or a fragment": bool(query or url.fragment),
        "its port is out of range": url.port is not None and not 0 < url.port < 65536,
    }
    return next((problem for problem, applies in problems.items() if applies), None)


def map_error(exc: Exception, origin: str, dialect: Dialect) -> tuple[SourceError, bool]:
    """Translate an exception of httpx, TLS or the system, and return whether another attempt may help.

    The text of an exception may quote what was sent, such as the token. Only the texts of the operating system and of
    TLS, which at most quote addresses, become part of the message.
    """
    cause = _system_cause(exc)
    where = f"the {dialect.product} server at {origin}"
    if (error := _tls_error(exc, cause, where)) is not None:
        return error, False
    if isinstance(exc, zlib.error | httpx.DecodingError):
        return _truncated(origin), True
    if isinstance(exc, httpx.InvalidURL | httpx.UnsupportedProtocol | UnicodeError):
        return SourceError(f"The address of {where} or of its redirect can't be used.", code="bad_url"), False
    if isinstance(exc, httpx.TooManyRedirects):
        return SourceError(f"{where} redirects without end.", code="redirect_loop"), False
    detail = _system_text(cause) or _in_words(cause or exc)
    if isinstance(exc, httpx.ConnectTimeout):
        message, hint = f"Connecting to {where} took too long.", "Check address, port and firewall."
    elif isinstance(exc, httpx.TimeoutException | TimeoutError):
        message, hint = f"The answer of {where} took too long.", "Check that the server isn't overloaded."
    elif isinstance(exc, httpx.ConnectError | ExceptionGroup):
        message = f"No connection to {where}: {detail}."
        hint = _connecting_hint(cause, origin, dialect)
    elif isinstance(exc, httpx.HTTPError | httpx.StreamError | httpx.CookieConflict | OSError):
        message = f"The connection to {where} broke: {detail}."
        hint = 'If the server requires secure connections, the base URL must begin with "https://".'
    else:
        message, hint = f"The request to {where} failed: {detail}.", "This is a fault of RetroVue; please report it."
        return SourceError(message, hint=hint), False
    return SourceUnreachable(message, hint=hint), True


def _connecting_hint(cause: OSError | None, origin: str, dialect: Dialect) -> str:
    if isinstance(cause, ssl.SSLError):
        return 'If the port is one for plain HTTP, let the base URL begin with "http://".'
    hint = "Check that the server is running, and the source's base URL: scheme, host and port."
    usual = origin.endswith(f":{dialect.port}")
    return hint if usual else f"{hint} {dialect.product} usually listens on port {dialect.port}."


def _tls_error(exc: Exception, cause: OSError | None, where: str) -> SourceUnreachable | None:
    """Make the error for an untrusted certificate, or for TLS on one side only; None for another exception."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        detail = getattr(cause, "verify_message", "it can't be verified")
        return SourceUnreachable(
            f"The TLS certificate of {where} was not accepted: {detail}.",
            code="tls_certificate",
            hint="Give its authority's certificate with --ca-file FILE, or the address that the certificate names.",
        )
    if isinstance(cause, ssl.SSLError) and _NOT_TLS.search(cause.reason or ""):
        return SourceUnreachable(
            f"{where} doesn't answer by TLS: the port is one for plain HTTP.",
            code="not_tls",
            hint='Let the base URL begin with "http://", or give the port for https.',
        )
    if isinstance(exc, httpx.RemoteProtocolError) and _NOT_TEXT in str(exc):
        return SourceUnreachable(
            f"{where} answers by TLS only.", code="tls_required", hint='Let the base URL begin with "https://".'
        )
    return None


def _in_words(exc: BaseException) -> str:
    """Describe what happened to a connection if the system's error has no text."""
    if isinstance(exc, httpx.RemoteProtocolError):
        return "it was closed before the answer was whole, or the answer isn't HTTP"
    return "it was closed" if isinstance(exc, httpx.NetworkError) else type(exc).__name__


@lru_cache(8)
def seconds_of(date: str | None) -> int | None:
    """Return the time in a header, in seconds since 1970; None if there is none."""
    if date is None:
        return None
    try:
        return max(0, int(email.utils.parsedate_to_datetime(date).timestamp()))
    except (ValueError, TypeError, OverflowError):
        return None


def retry_after_seconds(value: str | None) -> float | None:
    """Read a Retry-After header, seconds or an HTTP date; None if it is missing or malformed."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def origin_of(url: httpx.URL) -> str:
    """Return scheme, host and port of an address, which is all that messages may show of it."""
    default = {"http": 80, "https": 443}.get(url.scheme)
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = url.port or default
    return f"{url.scheme}://{host}:{port}" if port else f"{url.scheme}://{host}"


def redirected(url: httpx.URL, response: httpx.Response, origin: str) -> httpx.URL:
    """Return where a redirect leads to; raises SourceError unless that is the same origin."""
    target = url.join(response.headers.get("Location", ""))
    if origin_of(target) != origin:
        # The header with the token would be sent as well: httpx removes only Authorization.
        raise SourceError(
            f"The server at {origin} redirects to {origin_of(target)}, which is not followed: the token would "
            "go there.",
            code="foreign_redirect",
            hint="If that is the server's real address, make it the source's base URL.",
            context={"origin": origin, "target": origin_of(target)},
        )
    return target


def _system_cause(exc: BaseException) -> OSError | None:
    """Find the operating system's error among those of httpx, httpcore and anyio. anyio's is an OSError as well."""
    visited: set[int] = set()
    unnumbered: OSError | None = None
    link: BaseException | None = exc
    while link is not None and id(link) not in visited:
        visited.add(id(link))
        if isinstance(link, OSError) and not isinstance(link, TimeoutError):
            if link.errno is not None or isinstance(link, ssl.SSLError):
                return link
            unnumbered = unnumbered or link
        if isinstance(link, BaseExceptionGroup):
            return next((found for inner in link.exceptions if (found := _system_cause(inner))), unnumbered)
        link = link.__cause__ or link.__context__
    return unnumbered


def _system_text(cause: OSError | None) -> str | None:
    """Return the system's text for an error; asyncio's text of a failed connection holds only the address."""
    if cause is None:
        return None
    if isinstance(cause, ssl.SSLEOFError):
        return "it ended the TLS handshake"
    if isinstance(cause, ssl.SSLError):
        return _OPENSSL_WORDS.sub("", cause.strerror or "") or None
    if cause.errno is None or cause.errno not in errno.errorcode or isinstance(cause, socket.gaierror):
        return cause.strerror  # It has its own error numbers.
    return os.strerror(cause.errno)


def without_echoes(body: bytes | bytearray, secrets: Iterable[str]) -> bytes | bytearray:
    """Return an answer with dots in place of these texts, also where JSON escapes some of their characters."""
    for secret in secrets:
        if (echo := secret.encode()) in body:
            body = body.replace(echo, b"...")
        if (escaped := escaped_in_json(secret, body)) is not None:
            body = escaped.sub(b"...", body)
    return body


def header_number(response: httpx.Response, name: str | None) -> int | None:
    """Return the number in a header of an answer; None if it has none."""
    text = response.headers.get(name, "") if name else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


async def error_text(response: httpx.Response) -> str:
    """Read the beginning of an error's body, for the message."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) >= _ERROR_BODY_CAP:
            break
    return body[:_ERROR_BODY_CAP].decode("utf-8", "replace")
