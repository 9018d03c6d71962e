"""The checks before every request: its host, its origin, the session, the rate and the size of the body.

Listening on loopback alone protects nothing: any website in a browser on this machine can send requests there, and by
DNS rebinding it can also read the responses. The check of the Origin header stops the first, the check of the Host
header the second.
"""

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit

import anyio
from msgspec import Struct, field
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retrovue.core.errors import Problem
from retrovue.web.answers import refusal
from retrovue.web.settings import PageSettings

COOKIE = "retrovue_session"
SESSION_SECONDS = 30 * 24 * 3600
"""After this time a browser has to enter the token again."""
BODY_BYTES = 256 * 1024
"""The largest body of a form, in bytes."""
HOOK_BODY_BYTES = 4 * 1024 * 1024
"""The largest body of a webhook, in bytes: media servers include a picture."""
HOOKS = "/webhooks/"
"""The prefix of the paths that programs request. Each of these paths holds a secret, so origin and session aren't
checked.
"""
OPEN = ("/health", "/login", "/static/", HOOKS)
"""The paths that need no session."""
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


class Rate(Struct):
    """A rate limit for each client: ``burst`` requests at once, then ``per_second``.

    A bounded number of clients is kept.
    """

    per_second: float
    burst: int
    _left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict[str, tuple[float, float]])

    def take(self, client: str, now: float) -> bool:
        """Count a request made at ``now``, in seconds; return whether the client may make it."""
        left, since = self._left.pop(client, (float(self.burst), now))
        left = min(left + (now - since) * self.per_second, self.burst)
        allowed = left >= 1
        self._left[client] = (left - allowed, now)
        if len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)
        return allowed


class Sessions:
    """The sessions of browsers. A session is a cookie that can only be made with the token."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def begin(self, given: str) -> str | None:
        """Return the cookie of a new session; None if the given text isn't the token."""
        if not self.is_token(given):
            return None
        return self._signed(int(time.time()))

    def is_token(self, given: str) -> bool:
        """Return whether the given text is the token."""
        return hmac.compare_digest(given.encode(), self._token)

    def holds(self, cookie: str) -> bool:
        """Return whether a cookie belongs to a session that hasn't expired."""
        since, _, _ = cookie.partition(".")
        if not (since.isascii() and since.isdecimal() and len(since) < 12):
            return False
        right = hmac.compare_digest(cookie.encode(), self._signed(int(since)).encode())
        return right and 0 <= time.time() - int(since) < SESSION_SECONDS

    def _signed(self, since: int) -> str:
        signature = hmac.new(self._token, f"retrovue page {since}".encode(), hashlib.sha256).hexdigest()
        return f"{since}.{signature}"


class Guard:
    """ASGI middleware that rejects forbidden requests and adds security headers to responses."""

    def __init__(
        self, app: ASGIApp, settings: PageSettings, sessions: Sessions | None, failed: Failed | None = None
    ) -> None:
        """``failed`` makes the response to a request whose handler raised an exception, which is a bug."""
        self._app, self._settings, self._sessions, self._failed = app, settings, sessions, failed
        self._rate = Rate(per_second=50, burst=300)
        self._logins = Rate(per_second=0.2, burst=10)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reject a request, or pass it to the application."""
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
        except Exception as exc:  # Any exception of a handler becomes a response here, so that it has the headers.
            if self._failed is None:
                raise
            answer = self._failed(Request(scope), exc)
            if not bounded.started:
                await answer(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        request = Request(scope)
        name = _host_name(request.headers.get("host", ""))
        if name is None or not self._settings.allows(name):
            return _refused(421, "The page isn't served under this host name.", code="bad_host")
        client = request.client.host if request.client else ""
        now = anyio.current_time()
        if not self._rate.take(client, now):
            return _refused(429, "Too many requests.", code="too_often")
        path, hook = request.url.path, request.url.path.startswith(HOOKS)
        if request.method not in _SAFE and not hook:
            if not _same_origin(request.headers):
                return _refused(403, "The request comes from another website.", code="other_origin")
            if path == "/login" and not self._logins.take(client, now):
                return _refused(429, "Too many attempts to sign in.", "Wait a minute.", code="too_often")
        if self._sessions is None or any(
            path == allowed or (allowed[-1] == "/" and path.startswith(allowed)) for allowed in OPEN
        ):
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
    """The body of one request, of which at most ``most`` bytes are read."""

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
    """The body of a request exceeds its limit."""


def _host_name(host: str) -> str | None:
    """Return the host name in a Host header, without port and brackets; None if the header is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == host and "@" not in host and parts.path == "" else None


def _same_origin(headers: Headers) -> bool:
    """Return whether a request that changes something comes from the page itself. Old browsers send only Origin."""
    if (site := headers.get("sec-fetch-site")) is not None:
        return site in {"same-origin", "none"}
    if (origin := headers.get("origin")) is not None:
        return urlsplit(origin).netloc == headers.get("host")
    # Every browser sends at least one of the two headers.
    return headers.get("authorization", "").lower().startswith("bearer ")


def _too_large(most: int) -> Response:
    return _refused(413, f"The request has more than {most:,} bytes.", code="too_large")


def _refused(status: int, message: str, hint: str | None = None, *, code: str) -> Response:
    return refusal(status, Problem(code, message, hint))
