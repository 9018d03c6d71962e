"""A source: its libraries, their path mappings, and their settings."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import anyio
from starlette.requests import Request
from starlette.responses import Response

from retrovue.core.errors import RequestError, RetrovueError
from retrovue.core.model import Collection, PathMapping
from retrovue.core.paths import check_mapping
from retrovue.operations.catalogue import get_collection, list_collections, list_enrichers, list_runs
from retrovue.operations.curation import update_collection
from retrovue.operations.discovery import discover
from retrovue.operations.documents import source_document
from retrovue.operations.finding import FilesFound, find_files
from retrovue.operations.listening import get_listening
from retrovue.operations.schedules import list_schedules
from retrovue.operations.watching import list_held_back
from retrovue.web.forms import form_of, path_id, required, text
from retrovue.web.pages.runs import source_of
from retrovue.web.rendering import done, refused, render
from retrovue.web.state import PageState, state_of

_LATEST = 10
_CHECK_S = 45.0
"""How long a check of files may take, in seconds; it reads the first page of a library from the server."""


async def show(request: Request) -> Response:
    """Show a source."""
    state, source = state_of(request), await source_of(request)
    reference = str(source.id)
    return render(
        request,
        "source.html",
        source=source_document(source),
        listening=await get_listening(state.reads, reference),
        collections=await list_collections(state.reads, reference, counted=False),
        counted=await _counted(state),
        schedules=await list_schedules(state.reads, source=reference),
        runs=(await list_runs(state.reads, source=reference, limit=_LATEST)).runs,
        started=state.runs.under_way(source.id),
        held_back=[removals for removals in await list_held_back(state.reads) if removals.source_id == source.id],
    )


async def _counted(state: PageState) -> Mapping[UUID, Collection]:
    """Return the libraries with their cached counts: counting a million assets takes longer than a page may take."""
    figures = await state.counting.figures()
    return (
        {}
        if figures is None
        else {listing.collection.id: listing.collection for listing in figures.statistics.collections}
    )


async def look_up(request: Request) -> Response:
    """Discover the libraries of a source."""
    state, source = state_of(request), await source_of(request)
    address = f"/sources/{source.id}"
    try:
        found = await discover(state.reads, str(source.id))
    except RetrovueError as exc:
        return refused(request, address, exc)
    state.counting.forget()
    new = ", ".join(found.added) or "none"
    return done(request, address, f"{len(found.collections)} libraries; new: {new}; gone: {len(found.gone)}.")


async def library(request: Request) -> Response:
    """Show a library, its enrichers and its path mappings, and check whether its files are found."""
    return await _library(request)


async def _library(
    request: Request,
    found: Sequence[FilesFound] | None = None,
    tried: PathMapping | None = None,
    problem: RetrovueError | None = None,
) -> Response:
    """Show a library, with the result of a check of its files if there is one."""
    state, library_id = state_of(request), path_id(request)
    details = await get_collection(state.reads, str(library_id), counted=False)
    attached = {attached_enricher.enricher.id for attached_enricher in details.enrichers}
    others = [listing.enricher for listing in await list_enrichers(state.reads) if listing.enricher.id not in attached]
    return render(
        request, "library.html", details=details, counted=await _counted(state), found=found, tried=tried,
        problem=problem, others=others, enriching=state.enrichments.of(library_id),
    )  # fmt: skip


async def change_library(request: Request) -> Response:
    """Enable or disable a library, add, check or remove a mapping, or change how the library is ingested."""
    state, collection_id = state_of(request), path_id(request)
    form = await form_of(request)
    address = f"/libraries/{collection_id}"
    action = required(form, "action", "What to do")
    try:
        if action == "check":
            return await _check(request, _mapping_or_none(text(form, "prefix"), text(form, "local")))
        values: dict[str, Any] = dict(_VALUES.get(action, {}))
        if action == "map":
            values["map"] = [_mapping(required(form, "prefix", "The path"), required(form, "local", "The directory"))]
        if action == "unmap":
            values["unmap"] = [required(form, "prefix", "The path")]
        if not values:
            raise RequestError("The page can't do that.", hint="Choose one of the buttons.")
        update = await update_collection(state.reads, str(collection_id), **values)
    except RetrovueError as exc:
        return refused(request, address, exc)
    state.counting.forget()
    answer = update.ingestibility
    told = list(update.warnings)
    if answer is not None and not answer.ingestible and answer.reason:
        told.append(answer.reason)
    return done(request, address, f"Changed: {update.collection.name}.", " ".join(told) or None, failed=bool(told))


_VALUES: dict[str, dict[str, bool]] = {
    "enable": {"enabled": True},
    "disable": {"enabled": False},
    "check-files": {"check_files": True},
    "no-check-files": {"check_files": False},
    "keep-approval": {"keep_approval": True},
    "no-keep-approval": {"keep_approval": False},
}


async def _check(request: Request, tried: PathMapping | None) -> Response:
    store, reference = state_of(request).reads, str(path_id(request))
    problem: RetrovueError | None = None
    found = None
    with anyio.move_on_after(_CHECK_S) as waited:
        try:
            found = await find_files(store, reference, [] if tried is None else [tried])
        except RetrovueError as exc:
            problem = exc
    if waited.cancelled_caught:
        problem = RequestError("The source took too long.", hint="Look at it with the doctor.")
    return await _library(request, found, tried, problem)


def _mapping(prefix: str, local: str) -> PathMapping:
    return check_mapping(PathMapping(prefix, local))


def _mapping_or_none(prefix: str | None, local: str | None) -> PathMapping | None:
    return None if prefix is None or local is None else _mapping(prefix, local)
