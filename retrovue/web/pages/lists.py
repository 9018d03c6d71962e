"""Lists of rejected items, duplicates and changes, as pages and as files."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from msgspec.structs import asdict
from starlette.requests import Request
from starlette.responses import Response

from retrovue.core.errors import RequestError
from retrovue.operations.changes import newest_changes
from retrovue.operations.reports import (
    DuplicateItem,
    DuplicateListing,
    RejectedItem,
    RejectedListing,
    RejectionFilters,
    iter_duplicates,
    iter_rejected,
    list_duplicates,
    list_rejected,
)
from retrovue.web.answers import as_csv, as_json_lines
from retrovue.web.forms import number, page_size, text
from retrovue.web.rendering import query, render
from retrovue.web.state import state_of

_REJECTED = ("title", "code", "reason", "source_name", "collection_name", "source_uri", "run_id", "started_at")
_DUPLICATES = (
    "title", "season_number", "episode_number", "asset_title", "asset_uuid", "source_name", "collection_name",
    "source_uri", "found_at",
)  # fmt: skip


async def rejected(request: Request) -> Response:
    """List rejected items."""
    return await _page(request, "rejected.html", list_rejected)


async def duplicates(request: Request) -> Response:
    """List duplicates: items whose files are those of an asset."""
    return await _page(request, "duplicates.html", list_duplicates)


async def _page(
    request: Request, template: str, list_items: Callable[..., Awaitable[RejectedListing | DuplicateListing]]
) -> Response:
    values = request.query_params
    filters, limit = _filters(values), page_size(values)
    listing = await list_items(state_of(request).reads, limit=limit, after=text(values, "after"), **filters)
    given = {name: str(value) for name, value in filters.items()}
    return render(
        request, template, listing=listing, given=given, filtered=query(**given), limit=limit,
        following=query(**given, limit=limit, after=listing.next_cursor) if listing.next_cursor else None,
    )  # fmt: skip


async def rejected_file(request: Request) -> Response:
    """Return all rejected items that match the filters, as CSV or as lines of JSON."""
    store, filters = state_of(request).reads, _filters(request.query_params)
    await list_rejected(store, limit=0, **filters)  # Raises an error for an invalid filter before the response begins.
    return _file(request, "rejected", _REJECTED, iter_rejected(store, **filters))


async def duplicates_file(request: Request) -> Response:
    """Return all duplicates that match the filters, as CSV or as lines of JSON."""
    store, filters = state_of(request).reads, _filters(request.query_params)
    await list_duplicates(store, limit=0, **filters)  # raises for an invalid filter before the response begins
    return _file(request, "duplicates", _DUPLICATES, iter_duplicates(store, **filters))


def _file(
    request: Request,
    name: str,
    columns: Sequence[str],
    items: AsyncIterator[RejectedItem] | AsyncIterator[DuplicateItem],
) -> Response:
    async def rows() -> AsyncIterator[Mapping[str, Any]]:
        async for item in items:
            yield asdict(item)

    return as_csv(name, columns, rows()) if request.path_params["form"] == "csv" else as_json_lines(name, rows())


async def changes(request: Request) -> Response:
    """List the newest changes of assets."""
    values = request.query_params
    source, collection = text(values, "source"), text(values, "collection")
    limit = page_size(values)
    found = await newest_changes(
        state_of(request).reads, before=number(values, "before"), source=source, collection=collection, limit=limit
    )
    following = query(source=source, collection=collection, limit=limit, before=found[-1].position) if found else None
    return render(
        request, "changes.html", changes=found, source=source, collection=collection, limit=limit,
        following=following if len(found) == limit else None,
    )  # fmt: skip


def _filters(values: Mapping[str, Any]) -> RejectionFilters:
    found: dict[str, Any] = {name: text(values, name) for name in ("source", "collection", "reason")}
    if (run := text(values, "run")) is not None:
        try:
            found["run"] = uuid.UUID(run)
        except ValueError:
            raise RequestError("That isn't the id of a run.", hint="Open the list from the page of a run.") from None
    return cast("RejectionFilters", {name: value for name, value in found.items() if value is not None})
