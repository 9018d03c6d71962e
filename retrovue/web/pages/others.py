"""Hosts with their jobs, and the doctor."""

from starlette.requests import Request
from starlette.responses import Response

from retrovue.core.errors import RetrovueError
from retrovue.operations.doctor import examine
from retrovue.operations.progress import stop_run
from retrovue.operations.schedules import list_schedules
from retrovue.operations.watching import list_programs
from retrovue.service.requesting import list_jobs, list_workers
from retrovue.web.forms import form_of, uuid_of
from retrovue.web.rendering import done, refused, render
from retrovue.web.state import state_of


async def hosts(request: Request) -> Response:
    """List who works on the catalogue now, what of the schedules each host does, and what workers were asked for."""
    store = state_of(request).reads
    under_way = [
        (listing.schedule, run)
        for listing in await list_schedules(store, runs=1)
        for run in listing.runs
        if run.ended_at is None
    ]
    return render(
        request, "hosts.html", programs=await list_programs(store), under_way=under_way,
        jobs=await list_jobs(store), workers=await list_workers(store),
    )  # fmt: skip


async def stop_job(request: Request) -> Response:
    """Stop a run that workers were asked for: its libraries that wait never begin, the others end."""
    try:
        await stop_run(state_of(request).reads, uuid_of(await form_of(request), "request"))
    except RetrovueError as exc:
        return refused(request, "/hosts", exc)
    return done(request, "/hosts", "The run is being stopped. What is committed stays.")


async def doctor(request: Request) -> Response:
    """Examine everything, if that is asked for: it asks each source, and may take a while."""
    findings = None
    if request.query_params.get("examine"):
        findings = [finding async for finding in examine(state_of(request).reads)]
    return render(request, "doctor.html", findings=findings)
