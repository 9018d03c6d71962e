"""The HTTP client of one run: retries, deadlines, limits.

Only this module, ``transport``, ``answers``, ``refusals`` and ``socket`` know httpx.
"""

import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio
import httpx
from msgspec.structs import replace

from retrovue.core.errors import RequestError, RetrovueError, SourceError, SourceUnreachable
from retrovue.core.extras import needing
from retrovue.core.logs import logger
from retrovue.core.model import Secret
from retrovue.importers.http.answers import (
    Answer,
    BodyReader,
    IsKnown,
    TruncatedAnswer,
    header_number,
    map_error,
    origin_of,
    parse_base_url,
    redirected,
    seconds_of,
    unknown,
    without_echoes,
)
from retrovue.importers.http.connections import Connections, NotConnected, Proof
from retrovue.importers.http.pace import CEILING, Pace
from retrovue.importers.http.refusals import Transient, refusal_of
from retrovue.importers.http.retries import answered
from retrovue.importers.http.settings import Dialect, HttpPolicy
from retrovue.importers.http.targets import target_of
from retrovue.importers.http.transport import make_transport
from retrovue.importers.http.trust import tls_context
from retrovue.importers.waiting import waiting_for_source

if TYPE_CHECKING:
    from retrovue.importers.http.socket import Socket

_log = logger(__name__)

Transport = httpx.AsyncBaseTransport
"""Carries the requests. An importer may be given one instead of the network."""

_MAX_REDIRECTS = 3
_SLOW_SECONDS = 10.0
"""Slower answers are logged."""


class HttpClient:
    """Requests JSON from one media server. Enter it once; requests may run at the same time."""

    proof: Proof | None = None
    """How the server proves its identity before the token is sent on a new connection. One proof is valid for all
    connections that are opened in the next `PROOF_SERVES_S` seconds, until a connection is lost.
    """

    def __init__(
        self,
        dialect: Dialect,
        base_url: str,
        token: Secret | None,
        policy: HttpPolicy,
        *,
        verify: bool = True,
        ca_file: str | None = None,
        transport: Transport | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.dialect = dialect
        self._base = parse_base_url(base_url, dialect)
        self.origin = origin_of(self._base)
        self._server = f"The {dialect.product} server at {self.origin}"
        self.policy = policy
        self._token = token
        if token is not None and not re.fullmatch(dialect.allowed_in_token, token.reveal()):
            # httpx would refuse such a header with an error that shows the token.
            raise RequestError(
                f"The {dialect.product} token holds characters that no token has.",
                code="bad_token",
                hint="Give the token alone, without quotes, blanks or line breaks.",
            )
        self._verify, self._ca_file, self._transport = verify, ca_file, transport
        self._http: Transport | None = None
        self._headers = httpx.Headers(
            {
                "Accept": "application/json",
                "Accept-Encoding": "gzip" if policy.gzip else "identity",
                "Connection": "keep-alive",
                "User-Agent": f"python-httpx/{httpx.__version__}",
                **dialect.headers,
            }
        )
        # httpx 0.28 leaks a pool slot for each request that is cancelled while it waits for one. No request waits,
        # because the pool has a connection for every turn.
        self._pace = pace or Pace()
        self._connections = Connections()

    async def __aenter__(self) -> Self:
        # A client of httpx would add cookies, authentication and redirects, which aren't wanted here, to each request.
        # Media servers close idle connections after 20 s; closing them earlier avoids a race.
        self._http = self._transport or make_transport(self._tls(), connections=CEILING, keepalive_s=15)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A transport of the caller's stays open.
        if self._http is not None and self._transport is None:
            # Closing shuts down TLS on each connection, and a dead peer must not delay the end of a run.
            with anyio.move_on_after(1, shield=True):
                await self._http.aclose()
        self._http = None

    async def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        with_token: bool = True,
        most: int | None = None,
        is_known: IsKnown = unknown,
    ) -> Answer:
        """Get a path below the base URL, with retries. The token is removed from the answer if the server repeats it.

        ``most`` is the most bytes of the answer, if fewer than the policy allows. An answer that ``is_known`` is
        returned as it came, and has to be ``cleaned`` before it is read after all. Raises SourceUnreachable,
        SourceRefused, MalformedAnswer (including AnswerTooLarge), Refusal (another 4xx) or SourceError (redirect to
        another server). May be cancelled at any time.
        """
        answer = await self._request("GET", path, params or {}, with_token=with_token, most=most)
        return answer if is_known(answer.body) else self.cleaned(answer)

    async def post(self, path: str, params: Mapping[str, str] | None = None) -> Answer:
        """Post to a path, without token and body. The request may be repeated.

        Raises what ``get`` raises.
        """
        return self.cleaned(await self._request("POST", path, params or {}, with_token=False))

    async def _request(
        self, method: str, path: str, params: Mapping[str, str], *, with_token: bool, most: int | None = None
    ) -> Answer:
        policy = self.policy
        cap = policy.body_cap if most is None else min(most, policy.body_cap)
        last: Transient | None = None

        async def attempt() -> Answer:
            nonlocal last
            try:
                return await self._attempt(method, path, params, with_token=with_token, cap=cap)
            except Transient as exc:
                last = exc
                _log.warning("No usable answer to %s: %s", path, exc.error.message, extra={"code": exc.error.code})
                if exc.error.unreachable:
                    self._pace.struggled()
                raise

        with waiting_for_source(), anyio.move_on_after(policy.total_deadline_s):
            try:
                return await answered(attempt, policy)
            except Transient as exc:
                raise exc.error from exc.__cause__
        error = last.error if last else None
        raise SourceUnreachable(
            f"{self._server} didn't answer a request within {policy.total_deadline_s:g} seconds"
            + (f"; last: {error.message}" if error else "."),
            hint="Check that the server is running and not overloaded.",
        ) from error

    async def pause(self, number: int) -> None:
        """Wait before the next attempt, after attempt ``number`` gave no usable answer."""
        await anyio.sleep(min(self.policy.base_wait_s * 2 ** (number - 1), self.policy.max_wait_s))

    async def _attempt(
        self, method: str, path: str, params: Mapping[str, str], *, with_token: bool, cap: int
    ) -> Answer:
        async with self._pace.turn():
            asked = anyio.current_time()
            try:
                with anyio.fail_after(self.policy.page_deadline_s):
                    answer = await self._ask(method, path, params, with_token=with_token, cap=cap)
                if anyio.current_time() - asked > _SLOW_SECONDS:
                    _log.warning("The answer to %s took %.1f s", path, anyio.current_time() - asked)
                return answer
            except TruncatedAnswer as exc:
                raise Transient(exc) from exc.__cause__
            except (Transient, SourceError, RequestError):
                raise
            except Exception as exc:
                error, transient = map_error(exc, self.origin, self.dialect)
                if transient:
                    raise Transient(error) from exc
                raise error from exc

    async def prove(self) -> Answer:
        """Ask the server for its identity, with retries, and return the answer once the proof has checked it.

        Raises what ``get`` and the check raise.
        """
        assert self.proof is not None  # noqa: S101 - set by the importer that calls this
        asked = anyio.current_time()
        answer = await self.get(self.proof.path, with_token=False)
        self.proof.check(answer)
        self._connections.proven = asked
        return answer

    async def _ask(self, method: str, path: str, params: Mapping[str, str], *, with_token: bool, cap: int) -> Answer:
        send = partial(self._send, method, path, params, with_token=with_token, cap=cap)
        proof = self.proof if with_token and self._token else None
        if proof is None:
            return await send()
        try:
            return await send(connect=False)
        except NotConnected:
            if not await self._connections.only_grow():
                asked = anyio.current_time()
                # This opens a connection, which is then free for the request with the token.
                proof.check(self.cleaned(await self._send("GET", proof.path, {}, with_token=False, cap=cap)))
                self._connections.prove(asked)
        try:
            return await send(connect=False)
        except NotConnected:
            # Another request took it, or the server closes its connections: it has just proven its identity.
            return await send()

    async def _send(
        self, method: str, path: str, params: Mapping[str, str], *, with_token: bool, cap: int, connect: bool = True
    ) -> Answer:
        """Make a request and follow redirects; raises NotConnected if it needs a connection and may not ``connect``."""
        url, target = self._address(path, params)
        for _ in range(_MAX_REDIRECTS + 1):
            headers = self._token_headers() if with_token else {}
            asked = anyio.current_time()
            async with self._response(method, url, headers, connect=connect, target=target) as response:
                began = anyio.current_time() - asked
                if response.has_redirect_location:
                    url = redirected(self._url(path, params) if target else url, response, self.origin)
                    target = None
                    continue
                if response.status_code not in {200, 201}:
                    raise await refusal_of(response, self._server)
                answer = Answer(
                    await self._body(response, cap),
                    header_number(response, self.dialect.total_header),
                    header_number(response, self.dialect.offset_header),
                    seconds_of(response.headers.get("Date")),
                )
                self._pace.answered(began)
                return answer
        raise SourceError(f"The server at {self.origin} redirects without end.", code="redirect_loop")

    @asynccontextmanager
    async def streaming(
        self, path: str, params: Mapping[str, str], *, accept: str, silence_s: float
    ) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """Open an endless answer, after the server has proven its identity; yields its bytes as they come.

        It isn't counted as a turn, and nothing is repeated: a client that reads pages must not be used for it. Raises
        what ``get`` raises, and SourceUnreachable when the answer breaks off or no bytes come for ``silence_s``
        seconds. The bytes end if the server ends its answer.
        """
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        async with (
            self._held(self._url(path, params), headers, status=200, silence_s=silence_s) as response,
            aclosing(self._pieces(response)) as pieces,
        ):
            yield pieces

    @asynccontextmanager
    async def socket(self, path: str, *, most: int) -> AsyncIterator["Socket"]:
        """Open a WebSocket, after the server has proven its identity. ``most`` is the most bytes of a message.

        Otherwise as ``streaming``. Raises RequestError if the package for it isn't installed.
        """
        with needing("wsproto", "to listen to a Jellyfin server"):
            from retrovue.importers.http.socket import Handshake, Socket  # noqa: PLC0415 - an extra
        handshake = Handshake()
        held = self._held(self._url(path, {}), handshake.headers, status=101, silence_s=self.policy.read_timeout_s)
        async with held as response:
            with self._mapped_errors():
                handshake.check(response)
            yield Socket(response, most=most, errors=self._mapped_errors)

    @asynccontextmanager
    async def _held(
        self, url: httpx.URL, headers: Mapping[str, str], *, status: int, silence_s: float
    ) -> AsyncIterator[httpx.Response]:
        """Make a request with its own connection, after the server has proven its identity."""
        headers = {**headers, **self._token_headers()}
        if self.proof is not None:
            await self.prove()
        async with AsyncExitStack() as stack:
            with self._mapped_errors():
                try:
                    opening = self._response("GET", url, headers, connect=self.proof is None, read_timeout_s=silence_s)
                    response = await stack.enter_async_context(opening)
                except NotConnected:
                    # The server closes its connections: it has just proven its identity.
                    opening = self._response("GET", url, headers, connect=True, read_timeout_s=silence_s)
                    response = await stack.enter_async_context(opening)
                if response.status_code != status:
                    raise await refusal_of(response, self._server)
            yield response

    async def _pieces(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        with self._mapped_errors():
            async for piece in response.aiter_raw():
                yield piece

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except Transient as exc:
            raise exc.error from exc
        except (RetrovueError, NotConnected):
            raise
        except Exception as exc:
            raise map_error(exc, self.origin, self.dialect)[0] from exc

    def _address(self, path: str, params: Mapping[str, str]) -> tuple[httpx.URL, bytes | None]:
        """Return the URL of a path; or the base URL, and what is requested there in place of its own path."""
        # A transport of the caller's may not know of targets.
        target = None if self._transport is not None else target_of(self._base.raw_path, path, params)
        return (self._url(path, params), None) if target is None else (self._base, target)

    def _url(self, path: str, params: Mapping[str, str]) -> httpx.URL:
        query = {"params": params} if params else {}
        return self._base.copy_with(path=self._base.path.rstrip("/") + path, **query)  # parsed and checked once

    def _token_headers(self) -> Mapping[str, str]:
        return self.dialect.token_headers(self._token.reveal()) if self._token else {}

    @asynccontextmanager
    async def _response(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        *,
        connect: bool,
        read_timeout_s: float | None = None,
        target: bytes | None = None,
    ) -> AsyncIterator[httpx.Response]:
        http, policy = self._http, self.policy
        if http is None:
            raise RequestError("The importer has to be entered before it is used.", code="not_entered")
        timeout = httpx.Timeout(read_timeout_s or policy.read_timeout_s, connect=policy.connect_timeout_s)
        sent = self._headers.copy()
        sent.update(headers)
        with self._connections.tracing(connect=connect) as trace:
            extensions: dict[str, Any] = {"timeout": timeout.as_dict(), "trace": trace}
            if target is not None:
                extensions["target"] = target
            request = httpx.Request(method, url, headers=sent, extensions=extensions)
            try:
                response = await http.handle_async_request(request)
                try:
                    yield response
                finally:
                    await response.aclose()
            except httpx.TransportError:
                self._connections.proven = None
                raise

    async def _body(self, response: httpx.Response, cap: int) -> bytes | bytearray:
        encoding = response.headers.get("Content-Encoding", "")
        reader = BodyReader(encoding, self.dialect, cap=cap, origin=self.origin)
        async for chunk in response.aiter_raw():
            reader.feed(chunk)
        return reader.finish(header_number(response, "Content-Length"))

    def cleaned(self, answer: Answer) -> Answer:
        """Remove the token from an answer: one that a server repeats would be stored as a title, and shown."""
        body = without_echoes(answer.body, self._token.forms() if self._token else ())
        return answer if body is answer.body else replace(answer, body=body)

    def _tls(self) -> ssl.SSLContext | bool:
        # Without https there is no TLS, because redirects to other origins are refused: the certificates aren't read.
        # A file that was given is read all the same, so that a mistake isn't stored.
        context = None if self._ca_file is None else tls_context(self._ca_file)
        if not self._verify or self._base.scheme == "http":
            return False
        return context or tls_context(None)
