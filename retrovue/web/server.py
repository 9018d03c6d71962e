"""The HTTP server of the web page: uvicorn in a task. It installs no signal handlers."""

import errno
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from uvicorn.protocols.http.h11_impl import H11Protocol

from retrovue.core.errors import RequestError
from retrovue.operations.catalogue import Store
from retrovue.service.serving import HostStatus
from retrovue.web.app import create_app
from retrovue.web.enriching import StartedEnrichments
from retrovue.web.figures import Counting
from retrovue.web.guard import Sessions
from retrovue.web.settings import PageSettings
from retrovue.web.starting import StartedRuns
from retrovue.web.state import PageState, wake

_CONNECTIONS = 4
"""Database connections for the page alone."""
_MOST_REQUESTS = 200
"""The most connections at the same time, event streams included. Further ones get a response 503."""
_FINISH_SECONDS = 1
"""How long a request may continue after the server was told to stop, in seconds."""
_STOP_SECONDS = 5.0


class _Protocol(H11Protocol):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # The host program configures uvicorn's loggers, and its access log would hold the secrets in the paths of
        # webhooks.
        self.access_log = False
        self.logger = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the host program."""
        yield


@asynccontextmanager
async def page_served(
    store: Store, settings: PageSettings, host: HostStatus, hooks: Sequence[BaseRoute] = ()
) -> AsyncIterator[str]:
    """Serve the page within the block; yields its URL.

    Raises RequestError with code ``address_taken`` or ``bad_address`` if the server can't listen at the address.
    Leaving the block ends open event streams and lets other requests end within 5 seconds.
    """
    listener = _listen(settings)
    error: BaseException | None = None
    async with store.beside(_CONNECTIONS) as own:
        scope = anyio.CancelScope(shield=True)

        async def run() -> None:
            with scope:
                await server.serve([listener])

        async with anyio.create_task_group() as group:
            sessions = None if settings.token is None else Sessions(settings.token)
            state = PageState(
                store, own, host, settings, sessions, StartedRuns(group), StartedEnrichments(group),
                Counting(own, group),
            )  # fmt: skip
            server = _Server(_configured(create_app(state, hooks)))
            group.start_soon(run)
            state.group = group
            try:
                yield _url(settings, listener)
            except BaseException as exc:  # noqa: BLE001 - raised again outside of the group, which would wrap it
                error = exc
            state.closing.set()
            wake(state)
            server.should_exit = True
            scope.deadline = anyio.current_time() + _STOP_SECONDS
            # The server stops on its own while the runs that it has started are being interrupted.
            group.cancel_scope.cancel()
    if error is not None:
        raise error


def _configured(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_REQUESTS,
        timeout_graceful_shutdown=_FINISH_SECONDS,
    )


def _listen(settings: PageSettings) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
    except OSError as exc:
        where = f"{settings.host} port {settings.port}"
        if exc.errno == errno.EADDRINUSE:
            raise RequestError(f"Another program serves at {where}.", code="address_taken") from exc
        raise RequestError(
            f"The page can't be served at {where}: {exc.strerror or type(exc).__name__}.", code="bad_address"
        ) from exc
    return listener


def _url(settings: PageSettings, listener: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listener.getsockname()[1]}/"
