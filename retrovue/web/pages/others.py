"""Hosts, enrichers, and the doctor."""

from starlette.requests import Request
from starlette.responses import Response

from retrovue.operations.catalogue import list_enrichers
from retrovue.operations.doctor import examine
from retrovue.operations.documents import enricher_listing_document
from retrovue.operations.schedules import list_schedules
from retrovue.operations.watching import list_programs
from retrovue.web.rendering import render
from retrovue.web.state import state_of


async def hosts(request: Request) -> Response:
    """List who works on the catalogue now, and what of the schedules each host does."""
    store = state_of(request).reads
    under_way = [
        (listing.schedule, run)
        for listing in await list_schedules(store, runs=1)
        for run in listing.runs
        if run.ended_at is None
    ]
    return render(request, "hosts.html", programs=await list_programs(store), under_way=under_way)


async def enrichers(request: Request) -> Response:
    """List the enrichers, their collections and results."""
    found = [enricher_listing_document(one) for one in await list_enrichers(state_of(request).reads)]
    return render(request, "enrichers.html", enrichers=found)


async def doctor(request: Request) -> Response:
    """Examine everything, if that is asked for: it asks each source, and may take a while."""
    findings = None
    if request.query_params.get("examine"):
        findings = [finding async for finding in examine(state_of(request).reads)]
    return render(request, "doctor.html", findings=findings)
