"""Schedules: list, add, change, remove and run them."""

from typing import cast

from starlette.requests import Request
from starlette.responses import Response

from retrovue.core.errors import RequestError, RetrovueError
from retrovue.operations.catalogue import list_sources
from retrovue.operations.schedules import (
    WORKS,
    Work,
    add_schedule,
    list_schedules,
    remove_schedule,
    run_schedule_now,
    update_schedule,
)
from retrovue.web.forms import form_of, path_id, required, text
from retrovue.web.rendering import done, refused, render
from retrovue.web.state import state_of

_HERE = "/schedules"
_RUNS = 5


async def schedules(request: Request) -> Response:
    """List schedules, with a form to add one."""
    state = state_of(request)
    figures = await state.counting.figures()
    sources = await list_sources(state.reads) if figures is None else figures.sources
    listings = await list_schedules(state.reads, runs=_RUNS)
    return render(
        request, "schedules.html", listings=listings, sources=[listing.source for listing in sources], works=WORKS
    )


async def add(request: Request) -> Response:
    """Add a schedule."""
    form = await form_of(request)
    try:
        added = await add_schedule(
            state_of(request).reads,
            required(form, "source", "The source"),
            cron=required(form, "cron", "The times"),
            time_zone=text(form, "time_zone") or "UTC",
            what=cast("Work", text(form, "what") or "sync"),  # add_schedule checks the value.
            name=text(form, "name"),
        )
    except RetrovueError as exc:
        return refused(request, _HERE, exc)
    return done(request, _HERE, f"Added: {added.schedule.name}.")


async def change(request: Request) -> Response:
    """Change, enable, disable, remove or run a schedule."""
    store, reference = state_of(request).reads, str(path_id(request))
    form = await form_of(request)
    action = text(form, "action")
    try:
        match action:
            case "enable" | "disable":
                _, listing = await update_schedule(store, reference, enabled=action == "enable")
                message = f"{action.capitalize()}d: {listing.schedule.name}."
            case "change":
                _, listing = await update_schedule(
                    store,
                    reference,
                    name=required(form, "name", "The name"),
                    cron=required(form, "cron", "The times"),
                    time_zone=text(form, "time_zone") or "UTC",
                    what=cast("Work", text(form, "what")),  # update_schedule checks the value.
                )
                message = f"Changed: {listing.schedule.name}."
            case "remove":
                listing = await remove_schedule(store, reference)
                message = f"Removed: {listing.schedule.name}. A run of it that is at work isn't stopped."
            case "run-now":
                schedule, served = await run_schedule_now(store, reference)
                when = "as soon as no other run of it is at work" if served else "when a host serves"
                message = f"{schedule.name} runs {when}."
            case _:
                raise RequestError("The page can't do that.", hint="Choose one of the buttons.")
    except RetrovueError as exc:
        return refused(request, _HERE, exc)
    return done(request, _HERE, message)
