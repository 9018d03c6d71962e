"""Enrichers: list, add, remove, attach and run them."""

from starlette.requests import Request
from starlette.responses import Response

from retrovue.core.errors import RequestError, RetrovueError
from retrovue.operations.attachments import (
    add_enricher,
    attach_enricher,
    detach_enricher,
    remove_enricher,
    types_without_parameters,
)
from retrovue.operations.catalogue import list_enrichers
from retrovue.operations.documents import enricher_listing_document
from retrovue.web.forms import form_of, number, path_id, required, text
from retrovue.web.rendering import done, refused, render
from retrovue.web.state import state_of

_HERE = "/enrichers"


async def enrichers(request: Request) -> Response:
    """List the enrichers with their collections and results, and a form to add one."""
    found = [enricher_listing_document(listing) for listing in await list_enrichers(state_of(request).reads)]
    return render(request, "enrichers.html", enrichers=found, types=types_without_parameters())


async def add(request: Request) -> Response:
    """Add an enricher with the default parameters of its type."""
    form = await form_of(request)
    try:
        type_name = required(form, "type", "The type")
        if type_name not in types_without_parameters():
            raise RequestError("The page can't add an enricher of this type.", hint="Choose one of the list.")
        added = await add_enricher(state_of(request).reads, type_name, text(form, "name") or type_name, {})
    except RetrovueError as exc:
        return refused(request, _HERE, exc)
    return done(request, _HERE, f"Added: {added.name}. Attach it to the libraries that it is for, on their pages.")


async def change(request: Request) -> Response:
    """Remove an enricher."""
    form = await form_of(request)
    try:
        if text(form, "action") != "remove":
            raise RequestError("The page can't do that.", hint="Choose one of the buttons.")
        listing = await remove_enricher(state_of(request).reads, str(path_id(request)))
    except RetrovueError as exc:
        return refused(request, _HERE, exc)
    return done(request, _HERE, f"Removed: {listing.enricher.name}. The values that it gave stay.")


async def change_library(request: Request) -> Response:
    """Attach an enricher to a library, detach it, or run the library's enrichers."""
    state, collection_id = state_of(request), path_id(request)
    form = await form_of(request)
    address, reference = f"/libraries/{collection_id}", str(collection_id)
    try:
        match action := text(form, "action"):
            case "attach":
                attachment = await attach_enricher(
                    state.reads,
                    reference,
                    required(form, "enricher", "The enricher"),
                    priority=number(form, "priority"),
                )
                message = f"Attached: {attachment.enricher.name}. It owes enrichments of {attachment.assets:,} assets."
            case "detach":
                attachment = await detach_enricher(
                    state.reads, reference, required(form, "enricher", "The enricher")
                )  # fmt: skip
                message = f"Detached: {attachment.enricher.name}. The values that it gave stay."
            case "enrich" | "retry":
                started = await state.enrichments.start(state.store, collection_id, only_failed=action == "retry")
                if started.problem is not None:
                    return done(request, address, started.problem.message, started.problem.hint, failed=True)
                message = "The enrichers are at work. This page shows their progress."
            case "stop":
                if (under_way := state.enrichments.of(collection_id)) is None or under_way.over:
                    raise RequestError("No enrichment that was started here is at work.", code="not_running")
                under_way.scope.cancel()
                message = "The enrichment is being stopped. What is committed stays, the rest is still owed."
            case _:
                raise RequestError("The page can't do that.", hint="Choose one of the buttons.")
    except RetrovueError as exc:
        return refused(request, address, exc)
    state.counting.forget()
    return done(request, address, message)
