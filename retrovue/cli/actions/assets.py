"""Showing assets."""

from dataclasses import asdict
from typing import Any

from retrovue.cli.actions.opening import opened
from retrovue.cli.session import Call
from retrovue.cli.table import table
from retrovue.store.assets import Asset, list_assets
from retrovue.store.collections import find_collection
from retrovue.store.sources import find_source


async def show_assets(call: Call, collection: str | None, source: str | None, limit: int) -> int:
    """List assets of a collection, a source or all."""
    async with opened(call) as store, store.transaction() as session:
        within = None if source is None else await find_source(session, source)
        of = None if collection is None else await find_collection(session, collection, within)
        listing = await list_assets(session, collection=of, source=within, limit=limit)
    if call.output.as_json:
        assets = [_fields(asset) for asset in listing.assets]
        call.output.document({"status": "ok", "total": listing.total, "limit": limit, "assets": assets})
        return 0
    rows = [(_title(asset), asset.type, _runtime(asset), asset.state, asset.uuid) for asset in listing.assets]
    lines = table(("Title", "Type", "Min", "State", "Id"), rows, numbers=(2,)) if rows else []
    call.output.lines([*lines, f"{len(rows)} of {listing.total} assets"])
    return 0


def _fields(asset: Asset) -> dict[str, Any]:
    return asdict(asset)


def _title(asset: Asset) -> str:
    if asset.show_title is None:
        return asset.title if asset.year is None else f"{asset.title} ({asset.year})"
    season = "" if asset.season_number is None else f"S{asset.season_number:02}"
    episode = "" if asset.episode_number is None else f"E{asset.episode_number:02}"
    number = f"{season}{episode}"
    return " - ".join(part for part in (asset.show_title, number, asset.title) if part)


def _runtime(asset: Asset) -> int | None:
    return None if asset.runtime_ms is None else round(asset.runtime_ms / 60_000)
