"""Removals that were held back: review them, and confirm exactly the reviewed ones."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from retrovue.core.errors import RetrovueError
from retrovue.operations.catalogue import find_source
from retrovue.operations.watching import list_held_back
from retrovue.web.forms import form_of, required
from retrovue.web.pages.runs import address_of_started, begin
from retrovue.web.rendering import refused, render
from retrovue.web.state import state_of


async def removals(request: Request) -> Response:
    """List the removals that have to be confirmed."""
    return render(request, "removals.html", held_back=await list_held_back(state_of(request).reads))


async def act(request: Request) -> Response:
    """Start the dry-run that lists the assets, or the sync that confirms their removal."""
    form = await form_of(request)
    state = state_of(request)
    try:
        source = await find_source(state.reads, required(form, "source", "The source"))
        collection = required(form, "collection", "The library")
        if form.get("action") == "review":
            started = await begin(state, source, "dry-run", collection)
        else:
            token = required(form, "token", "The token of the removals")
            started = await begin(state, source, "sync", collection, confirm=token)
    except RetrovueError as exc:
        return refused(request, "/removals", exc)
    return RedirectResponse(address_of_started(started), 303)
