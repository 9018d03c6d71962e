"""What stands before every request: who asks, under which name, from which page, how often and with how much.

A loopback address is no boundary: any page that a browser on this machine shows can send requests there, and by DNS
rebinding also read the answers. The check of the Host header stops the second, that of the origin the first.
"""

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retrovue.core.errors import Problem
from retrovue.web.answers import refusal
from retrovue.web.settings import PageSettings

COOKIE = "retrovue_session"
SESSION_SECONDS = 30 * 24 * 3600
"""After which a browser has to give the token again."""
BODY_BYTES = 256 * 1024
"""The largest form."""
HOOK_BODY_BYTES = 4 * 1024 * 1024
"""The largest body of a webhook: media servers send a picture along."""
HOOKS = "/webhooks/"
"""Below it programs ask, not browsers. Each path has a secret of its own, so neither origin nor session is checked."""
OPEN = ("/health", "/login", "/static/", HOOKS)
"""What needs no session."""
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_MOST_CLIENTS = 1_000

Failed = Callable[[Request, Exception], Response]


@dataclass(slots=True)
class Rate:
    """How often each client may ask: ``burst`` times at once, then ``per_second``. It remembers so many clients."""

    per_second: float
    burst: int
    _left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict[str, tuple[float, float]])

    def take(self, client: str, now: float) -> bool:
        """Count a request at a time in seconds; returns whether the client may make it."""
        left, since = self._left.pop(client, (float(self.burst), now))
        left = min(left + (now - since) * self.per_second, self.burst)
        allowed = left >= 1
        self._left[client] = (left - allowed, now)
        if len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)
        return allowed


class Sessions:
    """The sessions of browsers that have given the token: a cookie that only who knows the token can make."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def begin(self, given: str) -> str | None:
        """Return the cookie of a new session; None if what was given isn't the token."""
        if not self.is_token(given):
            return None
        return self._signed(int(time.time()))

    def is_token(self, given: str) -> bool:
        """Whether what was given is the token."""
        return hmac.compare_digest(given.encode(), self._token)

    def holds(self, cookie: str) -> bool:
        """Whether a cookie is that of a session which isn't over."""
        since, _, _ = cookie.partition(".")
        if not (since.isascii() and since.isdecimal() and len(since) < 12):
            return False
        right = hmac.compare_digest(cookie.encode(), self._signed(int(since)).encode())
        return right and 0 <= time.time() - int(since) < SESSION_SECONDS

    def _signed(self, since: int) -> str:
        signature = hmac.new(self._token, f"retrovue page {since}".encode(), hashlib.sha256).hexdigest()
        return f"{since}.{signature}"


class Guard:
    """ASGI middleware that refuses what must not reach the page, and adds the headers that browsers hold to."""

    def __init__(
        self, app: ASGIApp, settings: PageSettings, sessions: Sessions | None, failed: Failed | None = None
    ) -> None:
        """``failed`` makes the answer to a request whose handler has raised, which is a bug."""
        self._app, self._settings, self._sessions, self._failed = app, settings, sessions, failed
        self._rate = Rate(per_second=50, burst=300)
        self._logins = Rate(per_second=0.2, burst=10)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if (refusal := self._refusal(scope)) is not None:
            await refusal(scope, receive, with_headers)
            return
        most = HOOK_BODY_BYTES if scope["path"].startswith(HOOKS) else BODY_BYTES
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal() or int(announced) > most:
            await _too_large(most)(scope, receive, with_headers)
            return
        bounded = _BoundedBody(self._app, receive, with_headers, most)
        try:
            await bounded.answer(scope)
        except Exception as exc:  # whatever a handler raises is answered here, with the headers
            if self._failed is None:
                raise
            answer = self._failed(Request(scope), exc)
            if not bounded.started:
                await answer(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        request = Request(scope)
        name = _host_name(request.headers.get("host", ""))
        if name is None or not self._settings.allows(name):
            return _refused(421, "The page isn't served under this name.", code="bad_host")
        client = request.client.host if request.client else ""
        now = anyio.current_time()
        if not self._rate.take(client, now):
            return _refused(429, "Too many requests.", code="too_often")
        path, hook = request.url.path, request.url.path.startswith(HOOKS)
        if request.method not in _SAFE and not hook:
            if not _same_origin(request.headers):
                return _refused(403, "The request comes from another page.", code="other_origin")
            if path == "/login" and not self._logins.take(client, now):
                return _refused(429, "Too many attempts to sign in.", "Wait a minute.", code="too_often")
        if self._sessions is None or any(path == one or (one[-1] == "/" and path.startswith(one)) for one in OPEN):
            return None
        return self._signed_in(request, self._sessions)

    def _signed_in(self, request: Request, sessions: Sessions) -> Response | None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and sessions.is_token(given.strip()):
            return None
        if sessions.holds(cookie_parser(request.headers.get("cookie", "")).get(COOKIE, "")):
            return None
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            beyond = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/login?next={quote(beyond, safe='')}", 303)
        return _refused(401, "The page needs a token.", code="token_needed")


class _BoundedBody:
    """One request, of whose body no more than so many bytes are read."""

    def __init__(self, app: ASGIApp, receive: Receive, send: Send, most: int) -> None:
        self._app, self._receive, self._send, self._most = app, receive, send, most
        self._read = 0
        self.started = False

    async def answer(self, scope: Scope) -> None:
        try:
            await self._app(scope, self._take, self._give)
        except _TooLarge:
            if not self.started:
                await _too_large(self._most)(scope, self._receive, self._send)

    async def _take(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read > self._most:
            raise _TooLarge
        return message

    async def _give(self, message: Message) -> None:
        self.started = True
        await self._send(message)


class _TooLarge(Exception):
    """A body is larger than it may be."""


def _host_name(host: str) -> str | None:
    """Return the name in a Host header, without port and brackets; None if it isn't one."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == host and "@" not in host and parts.path == "" else None


def _same_origin(headers: Headers) -> bool:
    """Whether a request that changes something comes from the page itself. Old browsers send only Origin."""
    if (site := headers.get("sec-fetch-site")) is not None:
        return site in {"same-origin", "none"}
    if (origin := headers.get("origin")) is not None:
        return urlsplit(origin).netloc == headers.get("host")
    # No browser leaves both out.
    return headers.get("authorization", "").lower().startswith("bearer ")


def _too_large(most: int) -> Response:
    return _refused(413, f"The request has more than {most:,} bytes.", code="too_large")


def _refused(status: int, message: str, hint: str | None = None, *, code: str) -> Response:
    return refusal(status, Problem(code, message, hint))
