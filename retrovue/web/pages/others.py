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
    """List the hosts that work on the catalogue now, their schedules, and the jobs that were requested."""
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
    """Stop a requested run: libraries that haven't begun never begin, and those at work are interrupted."""
    try:
        await stop_run(state_of(request).reads, uuid_of(await form_of(request), "request"))
    except RetrovueError as exc:
        return refused(request, "/hosts", exc)
    return done(request, "/hosts", "The run is being stopped. What is committed stays.")


async def doctor(request: Request) -> Response:
    """Show the page of the doctor.

    The checks are made only on request, because they contact each source and may take long.
    """
    findings = None
    if request.query_params.get("examine"):
        findings = [finding async for finding in examine(state_of(request).reads)]
    return render(request, "doctor.html", findings=findings)
