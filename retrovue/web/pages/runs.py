"""Runs: start, follow and stop them, and show their results."""

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from retrovue.core.errors import NotFound, RequestError, RetrovueError
from retrovue.core.model import Collection, Source
from retrovue.ingest.collector import IngestRun
from retrovue.ingest.documents import summary_document
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.orchestrator import ingest_one, ingest_source
from retrovue.ingest.sync import sync_one, sync_source
from retrovue.operations.catalogue import (
    RunDetails,
    find_source,
    find_target,
    get_run,
    list_log,
    list_runs,
)
from retrovue.operations.documents import run_details_document
from retrovue.operations.progress import list_progress, stop_run
from retrovue.service.requesting import follow_run, list_workers, request_run
from retrovue.web.answers import json_bytes
from retrovue.web.forms import form_of, page_size, path_id, text
from retrovue.web.live import live
from retrovue.web.rendering import done, piece, query, refused, render
from retrovue.web.starting import Opened, StartedRun
from retrovue.web.state import PageState, state_of

WHAT = {
    "sync": "Sync",
    "full-sync": "Full sync",
    "ingest": "Ingest",
    "retry": "Retry of failed collections",
    "dry-run": "Dry run of a sync",
    "dry-ingest": "Dry run of an ingest",
}
"""The runs that can be started on the page, with their labels."""


async def source_of(request: Request) -> Source:
    """Return the source whose id is in the path of a request."""
    return await find_source(state_of(request).reads, str(path_id(request)))


async def start(request: Request) -> Response:
    """Start a run of a source, or of one of its collections."""
    source = await source_of(request)
    form = await form_of(request)
    try:
        started = await begin(state_of(request), source, text(form, "what") or "", text(form, "collection"))
    except RetrovueError as exc:
        return refused(request, f"/sources/{source.id}", exc)
    return RedirectResponse(address_of_started(started), 303)


async def begin(
    state: PageState, source: Source, what: str, collection: str | None = None, confirm: str | None = None
) -> StartedRun:
    """Start a run. ``confirm`` is the token of removals that a person has reviewed. Raises RetrovueError."""
    if what not in WHAT:
        raise RequestError("The page can't start that.", hint="Choose one of the buttons.")
    dry_run = what.startswith("dry-")
    options = IngestOptions(
        concurrency=min(state.store.connections, IngestOptions().concurrency),
        dry_run=dry_run,
        retry_failed=what == "retry",
        full=what == "full-sync",
        confirm_removals=frozenset({confirm} if confirm else ()),
    )
    target: Collection | None = None
    if collection is not None:
        _, target = await find_target(state.reads, collection, str(source.id))
    syncs = what in {"sync", "full-sync", "dry-run"}
    of = source.name if target is None else f"{target.name} of {source.name}"
    by_workers = target is None and not dry_run and await _has_workers(state, source)
    if by_workers:
        opened = _asked_of_workers(state, source, replace(options, mode="sync" if syncs else "ingest"))
    else:
        opened = _opened(state, source, target, options, syncs=syncs)
    return await state.runs.start(
        f"{WHAT[what]}: {of}", source.id, opened, dry_run=dry_run, by_workers=by_workers
    )  # fmt: skip


async def _has_workers(state: PageState, source: Source) -> bool:
    """Return whether a worker takes jobs of the source.

    If so the run is left to workers and doesn't depend on this server.
    """
    return any(worker.sources is None or source.id in worker.sources for worker in await list_workers(state.reads))


def _asked_of_workers(state: PageState, source: Source, options: IngestOptions) -> Opened:
    @asynccontextmanager
    async def opened() -> AsyncIterator[IngestRun]:
        asked = await request_run(state.store, str(source.id), options)
        async with follow_run(state.store, asked.id) as run:
            yield run

    return opened


def _opened(
    state: PageState, source: Source, target: Collection | None, options: IngestOptions, *, syncs: bool
) -> Opened:
    store, reference = state.store, str(source.id if target is None else target.id)
    if target is None:
        return lambda: (sync_source if syncs else ingest_source)(store, reference, options)
    if syncs:
        return lambda: sync_one(store, reference, options=options)
    return lambda: ingest_one(store, reference, options=options)


def address_of_started(started: StartedRun) -> str:
    """Return the address of a run that was started here."""
    return f"/started/{started.id}"


async def _address_of_run(state: PageState, started: StartedRun) -> str | None:
    """Return the address of a run in the audit trail; None if it isn't there yet, or for a dry-run."""
    if started.run is None or started.dry_run:
        return None
    try:
        await list_log(state.reads, run=started.run.id, limit=0)
    except NotFound:
        return None
    return f"/runs/{started.run.id}"


def _started(request: Request) -> StartedRun:
    found = state_of(request).runs.find(path_id(request))
    if found is None:
        raise HTTPException(404, "The server that started this run has ended since; the list of runs has what it did.")
    return found


async def started(request: Request) -> Response:
    """Show a run that was started here and isn't in the audit trail: it hasn't begun, or is a dry-run."""
    started_run = _started(request)
    over = started_run.over  # Checked before the audit trail is read: a run that has ended is found there.
    if (address := await _address_of_run(state_of(request), started_run)) is not None:
        return RedirectResponse(address, 303)
    return render(request, "started.html", one=started_run, over=over, summary=_summary(started_run))


async def started_json(request: Request) -> Response:
    """Return the document of a dry-run."""
    summary = _started(request).summary
    if summary is None:
        raise HTTPException(404)
    return JSONResponse(summary_document(summary))


async def started_events(request: Request) -> Response:
    """Stream the progress of a run that was started here."""
    state, one = state_of(request), _started(request)

    async def pieces() -> Mapping[str, str] | None:
        if one.over or await _address_of_run(state, one) is not None:
            return None
        return {"summary": _summary(one)}

    return live(request, pieces)


def _summary(run: StartedRun) -> str:
    return piece("summary.html", one=run, document=None if run.summary is None else summary_document(run.summary))


async def stop_started(request: Request) -> Response:
    """Stop a run that hasn't begun, or a dry-run."""
    started_run = _started(request)
    if started_run.by_workers and started_run.run is not None and not started_run.over:
        try:
            await stop_run(state_of(request).reads, started_run.run.id)
        except (RequestError, NotFound) as exc:
            return refused(request, address_of_started(started_run), exc)
    else:
        started_run.scope.cancel()
    return done(request, f"/sources/{started_run.source_id}", f"Stopped: {started_run.title}.")


async def runs(request: Request) -> Response:
    """List runs."""
    values = request.query_params
    limit = page_size(values)
    source, status = text(values, "source"), text(values, "status")
    listing = await list_runs(state_of(request).reads, source=source, status=status, limit=limit)
    return render(
        request, "runs.html", listing=listing, limit=limit, source=source,
        chosen=status,
        more=query(source=source, status=status, limit=200),
    )  # fmt: skip


async def _details(request: Request) -> RunDetails:
    return await get_run(state_of(request).reads, path_id(request))


async def show(request: Request) -> Response:
    """Show the progress of a run, or its results."""
    own = state_of(request).runs.of_run(path_id(request))
    try:
        details = await _details(request)
    except NotFound:
        if own is None:
            raise
        return RedirectResponse(address_of_started(own), 303)  # It has just begun, or there was nothing to do.
    pieces, running = await _run_pieces(state_of(request), path_id(request), details)
    return render(
        request, "run.html", run=details.entries[0], table=pieces["collections"], running=running,
        rejected=sum(map(len, details.rejections.values())),
    )  # fmt: skip


async def show_json(request: Request) -> Response:
    """Return the document of a run, as ``retrovue ingest show --json`` prints it."""
    document = {"status": "ok", **run_details_document(await _details(request))}
    return Response(json_bytes(document), media_type="application/json")


async def run_events(request: Request) -> Response:
    """Stream the progress of a run until it ends."""
    state, run_id = state_of(request), path_id(request)

    async def pieces() -> Mapping[str, str] | None:
        found, running = await _run_pieces(state, run_id, await get_run(state.reads, run_id))
        return found if running else None

    return live(request, pieces)


async def stop(request: Request) -> Response:
    """Stop a run on any host."""
    state, run_id = state_of(request), path_id(request)
    address = f"/runs/{run_id}"
    own = state.runs.of_run(run_id)
    if own is not None and not own.over and not own.by_workers:
        own.scope.cancel()
        return done(request, address, "The run is being stopped. What is committed stays.")
    try:
        await stop_run(state.reads, run_id)
    except (RequestError, NotFound) as exc:
        return refused(request, address, exc)
    return done(request, address, "The run was asked to stop; it takes two seconds. What is committed stays.")


async def _run_pieces(state: PageState, run_id: uuid.UUID, details: RunDetails) -> tuple[dict[str, str], bool]:
    told = {progress.collection_id: progress for progress in await list_progress(state.reads, run_id)}
    running = any(entry.status == "running" for entry in details.entries)
    values: dict[str, Any] = {"entries": details.entries, "told": told, "running": running}
    return {"collections": piece("run_table.html", **values, rejections=details.rejections)}, running
