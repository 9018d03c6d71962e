"""A media server on the loopback interface: how requests come in, and how answers and scripted faults go out."""

from __future__ import annotations

import gzip
import inspect
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import formatdate
from fnmatch import fnmatchcase
from time import time

import anyio
import h11
from anyio.abc import SocketAttribute, SocketStream

from retrovue.simulator import replies
from retrovue.simulator.faults import Action, Faults
from retrovue.simulator.request import BadArgument, Reply, Request
from retrovue.simulator.wire import Connection

_GZIP_FROM = 1024
# Enough to look at any test's traffic; a benchmark's does not pile up.
_REMEMBERED = 100_000


class SimulatedServer(ABC):
    """A simulated media server: subclasses read requests in its terms and answer them from its library."""

    def __init__(
        self,
        *,
        latency: float = 0.0,
        latency_per_row: float = 0.0,
        gzip_replies: bool = False,
        idle_timeout: float = 20.0,
        record_requests: bool = True,
    ) -> None:
        self.latency = latency
        self.latency_per_row = latency_per_row
        self.gzip_replies = gzip_replies
        self.idle_timeout = idle_timeout
        self.record_requests = record_requests
        self.faults = Faults()
        self.on_request: Callable[[Request], Awaitable[None] | None] | None = None
        """Called with each request before it is answered; may change the library or wait."""
        self.clock: Callable[[], float] | None = time
        """The time that answers give in their header Date, in seconds since 1970; None: they have none."""
        self.requests: deque[Request] = deque(maxlen=_REMEMBERED)
        self.request_count = 0
        self.concurrency = 0
        """How many requests are being answered now."""
        self.max_concurrency = 0
        self.bytes_sent = 0
        self._attempts: Counter[tuple[object, ...]] = Counter()

    @abstractmethod
    def read(self, method: str, target: str, headers: dict[str, str]) -> Request:
        """Read a request; raises BadArgument for one that the server answers with 400."""

    @abstractmethod
    def refusal(self, request: Request) -> Reply | None:
        """Return what is answered to a request that isn't allowed, None if it is."""

    @abstractmethod
    def from_library(self, request: Request, actions: Sequence[Action]) -> Reply:
        """Answer a request, with the actions that change what is asked or answered."""

    def count(
        self,
        path: str | None = None,
        *,
        kinds: str | None = None,
        item_type: int | None = None,
        status: int | None = None,
        method: str | None = None,
    ) -> int:
        """How many recorded requests were for this path or pattern, this type, and ended with this status."""
        return sum(
            1
            for request in self.requests
            if (path is None or fnmatchcase(request.path, path))
            and (kinds is None or request.kinds == kinds)
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
            request = self.read(method, target, headers)
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
        if self.clock is not None:
            reply = replace(reply, headers={"Date": formatdate(self.clock(), usegmt=True)} | reply.headers)
        if self.gzip_replies and "gzip" in headers.get("accept-encoding", ""):
            reply = _packed(reply)
        for action in actions:
            if action.send is not None:
                reply = action.send(reply)
        # A connection that just ends has no status.
        request.status = None if reply.silent else reply.status
        return reply

    def _record(self, request: Request) -> None:
        window = (
            request.method,
            request.path,
            request.section,
            request.kinds,
            request.item_type,
            request.start,
            request.size,
        )
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
        return self.refusal(request) or self.from_library(request, actions)


def _packed(reply: Reply) -> Reply:
    if sum(len(piece) for piece in reply.body) < _GZIP_FROM:
        return reply
    headers = reply.headers | {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return replace(reply, headers=headers, body=(gzip.compress(reply.whole(), 1),))
