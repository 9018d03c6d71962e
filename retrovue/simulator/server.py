"""A Plex server on the loopback interface, with the library and the faults that its owner scripts."""

from __future__ import annotations

import gzip
import inspect
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from fnmatch import fnmatchcase

import anyio
import h11
from anyio.abc import SocketAttribute, SocketStream

from retrovue.simulator import replies
from retrovue.simulator.faults import Action, Faults
from retrovue.simulator.library import Answer, Library, write_listing
from retrovue.simulator.model import Section
from retrovue.simulator.render import to_json, to_xml
from retrovue.simulator.request import BadArgument, Reply, Request, read_request
from retrovue.simulator.wire import Connection

_GZIP_FROM = 1024
# Enough to look at any test's traffic; a benchmark's does not pile up.
_REMEMBERED = 100_000


class SimulatedPlex:
    """A simulated Plex server."""

    def __init__(
        self,
        sections: Sequence[Section] = (),
        *,
        token: str | None = "simulated-plex-token",  # noqa: S107 - it opens nothing but this simulator
        machine_identifier: str = "5ca1ab1e00000000000000000000000000000001",
        friendly_name: str = "Simulated Plex",
        version: str = "1.43.3.10828-00000000",
        latency: float = 0.0,
        latency_per_row: float = 0.0,
        max_page_size: int | None = None,
        refuse_page_over: int | None = None,
        refuse_sort_id: bool = False,
        gzip_replies: bool = False,
        idle_timeout: float = 20.0,
        record_requests: bool = True,
    ) -> None:
        """Take the sections; nothing listens before `serve`.

        `latency` is added to each request, and `latency_per_row` for each row that comes before the window, as a
        server whose pages take longer the further on they are; both are seconds. A page is never longer than
        `max_page_size`; one that is asked to be longer than `refuse_page_over` is refused with 400.
        """
        self.library = Library(
            sections=list(sections),
            machine_identifier=machine_identifier,
            friendly_name=friendly_name,
            version=version,
            max_page_size=max_page_size,
            refuse_page_over=refuse_page_over,
            refuse_sort_id=refuse_sort_id,
        )
        self._token = token
        self.latency = latency
        self.latency_per_row = latency_per_row
        self.gzip_replies = gzip_replies
        self.idle_timeout = idle_timeout
        self.record_requests = record_requests
        self.faults = Faults()
        self.on_request: Callable[[Request], Awaitable[None] | None] | None = None
        """Called with each request before it is answered; may change the library or wait."""
        self.requests: deque[Request] = deque(maxlen=_REMEMBERED)
        self.request_count = 0
        self.concurrency = 0
        """How many requests are being answered now."""
        self.max_concurrency = 0
        self.bytes_sent = 0
        self._attempts: Counter[tuple[str, str, int | None, int | None, int | None]] = Counter()

    @property
    def sections(self) -> list[Section]:
        """The sections, which may be added to and taken from while the server runs."""
        return self.library.sections

    @property
    def machine_identifier(self) -> str:
        """The server's identity; a test may put another server in its place by changing it."""
        return self.library.machine_identifier

    @machine_identifier.setter
    def machine_identifier(self, value: str) -> None:
        self.library.machine_identifier = value

    def count(
        self,
        path: str | None = None,
        *,
        item_type: int | None = None,
        status: int | None = None,
        method: str | None = None,
    ) -> int:
        """How many recorded requests were for this path or pattern, this type, and ended with this status."""
        return sum(
            1
            for request in self.requests
            if (path is None or fnmatchcase(request.path, path))
            and (item_type is None or request.item_type == item_type)
            and (status is None or request.status == status)
            and (method is None or request.method == method)
        )

    def reset_counters(self) -> None:
        """Start counting anew; attempts are counted anew as well."""
        self.requests.clear()
        self._attempts.clear()
        self.request_count = self.bytes_sent = 0
        self.max_concurrency = self.concurrency

    @asynccontextmanager
    async def serve(self, *, port: int = 0) -> AsyncGenerator[str]:
        """Listen on 127.0.0.1 and give the URL; on leaving, open connections are cut.

        Raises OSError if the port is taken.
        """
        failure: Exception | None = None
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
        async with listener, anyio.create_task_group() as connections:
            connections.start_soon(listener.serve, self._converse)
            try:
                yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"  # noqa: S610 - anyio's
            except Exception as error:  # noqa: BLE001 - raised again below, outside the group that would wrap it
                failure = error
            connections.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _converse(self, stream: SocketStream) -> None:
        connection = Connection(stream)
        async with stream:
            try:
                while await self._exchange(connection):
                    pass
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                # The client has left, perhaps in the middle of an answer.
                return

    async def _exchange(self, connection: Connection) -> bool:
        try:
            asked = await connection.request(self.idle_timeout)
        except h11.RemoteProtocolError:
            await connection.send(replies.error(400), head_only=False, close=True)
            return False
        if asked is None:
            return False
        self.request_count += 1
        self.concurrency += 1
        self.max_concurrency = max(self.max_concurrency, self.concurrency)
        before = connection.bytes_sent
        try:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in asked.headers}
            close = headers.get("connection", "").lower() == "close" or asked.http_version == b"1.0"
            method = asked.method.decode("latin-1")
            reply = await self._reply(method, asked.target.decode("latin-1"), headers)
            return await connection.send(reply, head_only=method == "HEAD", close=close)
        finally:
            self.concurrency -= 1
            self.bytes_sent += connection.bytes_sent - before

    async def _reply(self, method: str, target: str, headers: dict[str, str]) -> Reply:
        try:
            request = read_request(method, target, headers, self._token)
        except BadArgument:
            return replies.error(400)
        self._record(request)
        if self.on_request is not None:
            waiting = self.on_request(request)
            if inspect.isawaitable(waiting):
                await waiting
        actions = self.faults.take(request)
        await self._delay(request, actions)
        reply = self._answer(request, actions)
        if self.gzip_replies and "gzip" in headers.get("accept-encoding", ""):
            reply = _packed(reply)
        for action in actions:
            if action.send is not None:
                reply = action.send(reply)
        # A connection that just ends has no status.
        request.status = None if reply.silent else reply.status
        return reply

    def _record(self, request: Request) -> None:
        window = (request.method, request.path, request.item_type, request.start, request.size)
        self._attempts[window] += 1
        request.attempt = self._attempts[window]
        if self.record_requests:
            self.requests.append(request)

    async def _delay(self, request: Request, actions: Sequence[Action]) -> None:
        for action in actions:
            if action.hold is not None:
                await action.hold(request)
        pause = self.latency + self.latency_per_row * (request.start or 0)
        if pause > 0:
            await anyio.sleep(pause)

    def _answer(self, request: Request, actions: Sequence[Action]) -> Reply:
        for action in actions:
            if action.replace is not None:
                return action.replace(request)
        return self._refusal(request) or self._from_library(request, actions)

    def _refusal(self, request: Request) -> Reply | None:
        if not request.authorised and request.path != "/identity":
            return replies.error(401)
        if request.method not in ("GET", "HEAD"):
            return replies.error(404)
        return None

    def _from_library(self, request: Request, actions: Sequence[Action]) -> Reply:
        asked = request
        for action in actions:
            if action.ask is not None:
                asked = action.ask(asked)
        changes = [action.alter for action in actions if action.alter is not None]
        answer = self.library.answer(asked, as_rows=bool(changes) or not request.wants_json)
        if isinstance(answer, Reply):
            return answer
        if asked is not request and "offset" in answer.container:
            # The answer claims to be the one that was asked for.
            answer.container["offset"] = request.start or 0
            answer.headers["X-Plex-Container-Start"] = str(request.start or 0)
        for change in changes:
            answer.container = change(answer.container)
        if "totalSize" in answer.container:
            answer.headers["X-Plex-Container-Total-Size"] = str(answer.container["totalSize"])
        return _written(answer, as_json=request.wants_json)

    def __repr__(self) -> str:
        return f"SimulatedPlex({self.library.friendly_name!r}, sections={self.sections!r})"


def _written(answer: Answer, *, as_json: bool) -> Reply:
    if not as_json:
        headers = {"Content-Type": "text/xml;charset=utf-8"} | answer.headers
        return Reply(headers=headers, body=(to_xml(answer.container),))
    body = (to_json(answer.container),) if answer.rows_json is None else write_listing(answer)
    return Reply(headers={"Content-Type": "application/json"} | answer.headers, body=body)


def _packed(reply: Reply) -> Reply:
    if sum(len(piece) for piece in reply.body) < _GZIP_FROM:
        return reply
    headers = reply.headers | {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return replace(reply, headers=headers, body=(gzip.compress(reply.whole(), 1),))
