"""The overview: sources, runs at work, and removals to confirm."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from retrovue.core.errors import RetrovueError
from retrovue.operations.catalogue import list_runs
from retrovue.operations.progress import list_progress
from retrovue.operations.schedules import list_schedules
from retrovue.operations.survey import check_server
from retrovue.operations.watching import list_held_back
from retrovue.web.figures import Figures
from retrovue.web.live import live
from retrovue.web.pages.runs import source_of
from retrovue.web.rendering import piece, render
from retrovue.web.state import PageState, state_of

_LATEST = 8
_COUNT_WAIT_S = 60.0


async def overview(request: Request) -> Response:
    """Show the overview."""
    state = state_of(request)
    figures = await state.counting.figures()
    return render(
        request,
        "overview.html",
        figures=figures,
        counts=_counts(figures),
        sources=await _sources(state, figures),
        working=await _working(state),
        latest=(await list_runs(state.reads, limit=_LATEST)).runs,
        held_back=await list_held_back(state.reads),
    )


async def counts(request: Request) -> Response:
    """Return the part of the overview that takes long for a large catalogue."""
    state = state_of(request)
    figures = await state.counting.figures(_COUNT_WAIT_S)
    return HTMLResponse(_counts(figures) + await _sources(state, figures))


async def events(request: Request) -> Response:
    """Stream the runs at work."""
    state = state_of(request)

    async def pieces() -> Mapping[str, str]:
        return {"working": await _working(state)}

    return live(request, pieces)


async def reachable(request: Request) -> Response:
    """Return whether a source can be reached now."""
    source = await source_of(request)
    problem: RetrovueError | None = None
    try:
        await check_server(source.type, source.config, source.credentials)
    except RetrovueError as exc:
        problem = exc
    return HTMLResponse(piece("reachable.html", source=source, problem=problem))


def _counts(figures: Figures | None) -> str:
    return piece("counts.html", figures=figures)


async def _sources(state: PageState, figures: Figures | None) -> str:
    rows: list[dict[str, Any]] = []
    if figures is not None:
        due = {listing.schedule.source_id: listing for listing in reversed(await list_schedules(state.reads))}
        for listing in figures.sources:
            last = await list_runs(state.reads, source=str(listing.source.id), limit=1)
            rows.append(
                {"listing": listing, "last": next(iter(last.runs), None), "schedule": due.get(listing.source.id)}
            )  # fmt: skip
    return piece("source_table.html", figures=figures, rows=rows)


async def _working(state: PageState) -> str:
    running = (await list_runs(state.reads, status="running", limit=50)).runs
    told: dict[Any, list[Any]] = {}
    for progress in await list_progress(state.reads):
        told.setdefault(progress.run_id, []).append(progress)
    begun = {started.run.id for started in state.runs.under_way() if started.run is not None}
    waiting = [started for started in state.runs.under_way() if started.run is None or started.dry_run]
    return piece("working.html", running=running, told=told, waiting=waiting, begun=begun)
