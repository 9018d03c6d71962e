"""Assets: search, show one, decide about many."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, cast

from msgspec.structs import asdict
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from retrovue.core.errors import RequestError, RetrovueError
from retrovue.operations.catalogue import AssetOrder, get_asset, iter_assets, list_assets
from retrovue.operations.decisions import (
    approve_assets,
    approve_matching,
    retire_assets,
    retire_matching,
    unretire_assets,
    unretire_matching,
)
from retrovue.operations.documents import asset_document
from retrovue.web.answers import as_csv, as_json_lines, json_bytes
from retrovue.web.forms import FILTERS, asset_filters, form_of, number, page_size, path_id, text
from retrovue.web.rendering import done, query, refused, render
from retrovue.web.state import state_of

DECISIONS = {
    "approve": (approve_assets, approve_matching, "approved"),
    "retire": (retire_assets, retire_matching, "retired"),
    "unretire": (unretire_assets, unretire_matching, "unretired"),
}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "state": ("new", "enriching", "ready", "retired"),
    "availability": ("present", "missing", "gone"),
    "type": ("movie", "episode", "clip", "track"),
}
_COLUMNS = (
    "uuid", "type", "title", "show_title", "season_number", "episode_number", "year", "runtime_ms", "state",
    "availability", "canonical_uri", "source_uri", "created_at", "updated_at",
)  # fmt: skip

Decision = Literal["approve", "retire", "unretire"]


async def assets(request: Request) -> Response:
    """List the assets that match the filters."""
    values = request.query_params
    problem: RetrovueError | None = None
    listing = None
    limit = page_size(values)
    try:
        filters, order = asset_filters(values), _order(values)
        after = text(values, "after")
        listing = await list_assets(
            state_of(request).reads, order=order, limit=limit, after=after, counted=False, **filters
        )  # fmt: skip
    except RequestError as exc:
        problem = exc
    given = _given(values)
    template = "asset_table.html" if "hx-request" in request.headers else "assets.html"
    return render(
        request,
        template,
        200 if problem is None else 400,
        listing=listing,
        given=given,
        problem=problem,
        choices=CHOICES,
        order=text(values, "order"),
        limit=limit,
        filtered=query(**given),
        following=None if listing is None or listing.next_cursor is None else query(
            **given, order=text(values, "order"), limit=limit, after=listing.next_cursor
        ),
        first=text(values, "after") is None,
    )  # fmt: skip


async def download(request: Request) -> Response:
    """Return all assets that match the filters, as CSV or as lines of JSON."""
    values = request.query_params
    filters, order = asset_filters(values), _order(values)
    store = state_of(request).reads
    if filters:
        await list_assets(store, limit=0, **filters)  # raises for an invalid filter before the response begins

    async def rows() -> AsyncIterator[Mapping[str, Any]]:
        async for asset in iter_assets(store, order=order, **filters):
            yield asdict(asset)

    if request.path_params["form"] == "csv":
        return as_csv("assets", _COLUMNS, rows())
    return as_json_lines("assets", rows())


async def show(request: Request) -> Response:
    """Show an asset: its files, where its fields come from, its history."""
    details = await get_asset(state_of(request).reads, path_id(request))
    fields = {
        name: value
        for name, value in asdict(details.asset).items()
        if value not in (None, "", [], {}) and name not in {"uuid", "provenance", "collection_uuid"}
    }
    return render(request, "asset.html", details=details, fields=fields, provenance=details.asset.provenance or {})


async def show_json(request: Request) -> Response:
    """Return the document of an asset, as ``retrovue asset show --json`` prints it."""
    details = await get_asset(state_of(request).reads, path_id(request))
    return Response(json_bytes({"status": "ok", "asset": asset_document(details)}), media_type="application/json")


async def decide(request: Request) -> Response:
    """Approve, retire or unretire one asset."""
    asset_id = path_id(request)
    one, _, did = DECISIONS[_decision(await form_of(request))]
    state = state_of(request)
    try:
        (change,) = await one(state.reads, asset_id)
    except RetrovueError as exc:
        return refused(request, f"/assets/{asset_id}", exc)
    state.counting.forget()
    if change.before == change.after:
        return done(request, f"/assets/{asset_id}", f"It was {change.after} already.")
    return done(request, f"/assets/{asset_id}", f"{did.capitalize()}: {change.title} was {change.before}.")


async def review(request: Request) -> Response:
    """Show how many assets a decision would change, before the decision is made."""
    values = request.query_params
    decision = _decision(values)
    filters = asset_filters(values)
    _, many, did = DECISIONS[decision]
    decided = await many(state_of(request).reads, dry_run=True, **filters)
    given = _given(values)
    return render(
        request, "review.html", decision=decision, did=did, decided=decided, given=given, filtered=query(**given)
    )  # fmt: skip


async def decide_all(request: Request) -> Response:
    """Approve, retire or unretire all assets that match the filters, if their number is still the one shown."""
    form = await form_of(request)
    decision = _decision(form)
    expected = number(form, "expected")
    address = f"/assets?{query(**_given(form))}"
    state = state_of(request)
    if expected is None:
        return RedirectResponse(f"/assets/review?{query(decision=decision, **_given(form))}", 303)
    _, many, did = DECISIONS[decision]
    try:
        decided = await many(state.reads, expected=expected, **asset_filters(form))
    except RetrovueError as exc:
        return refused(request, address, exc)
    state.counting.forget()
    return done(request, address, f"{decided.changed:,} assets {did}.")


def _decision(values: Mapping[str, Any]) -> Decision:
    wanted = text(values, "decision")
    if wanted not in DECISIONS:
        raise RequestError("The page has no such decision.", hint="Approve, retire or unretire.")
    return cast("Decision", wanted)


def _order(values: Mapping[str, Any]) -> AssetOrder | None:
    wanted = text(values, "order")
    return cast("AssetOrder", wanted) if wanted in {"added", "name", "aired"} else None


def _given(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name in FILTERS if (value := text(values, name)) is not None}
