"""A web service: POST starts an ingest, GET streams its events, and shutting down cancels what is under way.

POST /ingests {"source": "My Plex Server"}   202 and the run's addresses; 400 with the reason
GET /ingests/{id}                            its summary so far
GET /ingests/{id}/events                     server-sent events, from the first one; with ?stop=on_disconnect the ingest
                                             is cancelled if this client disconnects, otherwise it goes on
DELETE /ingests/{id}                         cancels it
"""

import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from retrovue import (
    Event,
    IngestRun,
    RetrovueError,
    Settings,
    Store,
    event_document,
    ingest_source,
    open_store,
    summary_document,
)

KEPT = 100
"""The number of finished runs that stay available."""


@dataclass
class Ingests:
    """The ingests of this process, each a task of the service."""

    store: Store
    tasks: TaskGroup
    runs: dict[str, tuple[IngestRun, anyio.CancelScope]] = field(default_factory=dict[str, Any])
    over: deque[str] = field(default_factory=deque[str])

    async def start(self, source: str) -> IngestRun:
        """Start an ingest; raises the error of its pre-flight."""
        run: IngestRun = await self.tasks.start(self._ingest, source)
        return run

    async def _ingest(self, source: str, *, task_status: TaskStatus[IngestRun]) -> None:
        with anyio.CancelScope() as scope:
            async with ingest_source(self.store, source) as run:
                self.runs[str(run.id)] = run, scope
                task_status.started(run)
        self.over.append(str(run.id))
        if len(self.over) > KEPT:
            del self.runs[self.over.popleft()]

    def find(self, request: Request) -> tuple[IngestRun, anyio.CancelScope]:
        """Return the ingest that a request names; raises HTTPException 404 if there is none."""
        try:
            return self.runs[request.path_params["id"]]
        except KeyError:
            raise HTTPException(404) from None

    def stop(self) -> None:
        """Cancel all ingests under way; each records in the audit trail that it was interrupted."""
        for _, scope in self.runs.values():
            scope.cancel()


async def start(request: Request) -> Response:
    """Start an ingest."""
    ingests: Ingests = request.app.state.ingests
    try:
        run = await ingests.start((await request.json())["source"])
    except RetrovueError as error:
        return JSONResponse({"code": error.code, "message": error.message, "hint": error.hint}, 400)
    address = f"/ingests/{run.id}"
    return JSONResponse({"id": str(run.id), "events": f"{address}/events"}, 202, {"Location": address})


async def show(request: Request) -> Response:
    """Return the summary of an ingest so far."""
    run, _ = request.app.state.ingests.find(request)
    return JSONResponse(summary_document(run.summary))


async def cancel(request: Request) -> Response:
    """Cancel an ingest."""
    _, scope = request.app.state.ingests.find(request)
    scope.cancel()
    return Response(status_code=204)


async def events(request: Request) -> Response:
    """Stream the events of an ingest."""
    run, scope = request.app.state.ingests.find(request)
    stop = request.query_params.get("stop") == "on_disconnect"

    async def stream() -> AsyncIterator[str]:
        over = False
        try:
            async for event in run.events():
                yield written(event)
            over = True
        finally:
            if stop and not over:
                scope.cancel()

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def written(event: Event) -> str:
    """Write an event as a server-sent event: its type, and its document as a line of JSON."""
    document = event_document(event)
    return f"event: {document['type']}\ndata: {json.dumps(document)}\n\n"


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Hold the catalogue open; at the end cancel the ingests and wait for them."""
    async with open_store(Settings.from_environment(), connections=8) as store, anyio.create_task_group() as tasks:
        app.state.ingests = Ingests(store, tasks)
        yield
        app.state.ingests.stop()


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/ingests", start, methods=["POST"]),
        Route("/ingests/{id}", show),
        Route("/ingests/{id}", cancel, methods=["DELETE"]),
        Route("/ingests/{id}/events", events),
    ],
)
