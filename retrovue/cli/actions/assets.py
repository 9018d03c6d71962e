"""Assets: list, show, approve and retire them."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from retrovue.cli.invocation import Invocation, opened
from retrovue.cli.table import room, table
from retrovue.ingest.documents import collection_identity, source_identity
from retrovue.operations import catalogue
from retrovue.operations.catalogue import Asset, AssetAlias, AssetDetails, AssetEnrichment, AssetFile, StateChange
from retrovue.operations.documents import asset_document

_LABEL = 24
"""The width of the column of field names: the longest is approved_for_broadcast."""


async def show_assets(call: Invocation, collection: str | None, source: str | None, limit: int) -> int:
    """List assets of a collection, a source or all."""
    async with opened(call) as store:
        listing = await catalogue.list_assets(store, collection=collection, source=source, limit=limit)
    if call.output.as_json:
        assets = [asdict(asset) for asset in listing.assets]
        call.output.document({"status": "ok", "total": listing.total, "limit": limit, "assets": assets})
        return 0
    rows = [(_title(asset), asset.type, _runtime(asset), asset.state, asset.uuid) for asset in listing.assets]
    lines = table(("Title", "Type", "Min", "State", "Id"), rows, numbers=(2,), columns=room()) if rows else []
    call.output.lines([*lines, f"{len(rows)} of {listing.total} assets"])
    return 0


def _title(asset: Asset) -> str:
    if asset.show_title is None:
        return asset.title if asset.year is None else f"{asset.title} ({asset.year})"
    number = _number(asset.season_number, asset.episode_number)
    return " - ".join(part for part in (asset.show_title, number, asset.title) if part)


def _number(season: int | None, episode: int | None) -> str:
    return f"{'' if season is None else f'S{season:02}'}{'' if episode is None else f'E{episode:02}'}"


def _runtime(asset: Asset) -> int | None:
    return None if asset.runtime_ms is None else round(asset.runtime_ms / 60_000)


async def show_asset(call: Invocation, uuid: UUID) -> int:
    """Show all that is known of an asset."""
    async with opened(call) as store:
        details = await catalogue.get_asset(store, uuid)
        source, collection = await catalogue.find_target(store, str(details.asset.collection_uuid))
    if call.output.as_json:
        call.output.document(
            {
                "status": "ok",
                "source": source_identity(source),
                "collection": collection_identity(collection),
                "asset": asset_document(details),
            }
        )
        return 0
    origin = f"of collection {collection.name} of source {source.name} ({source.external_id})"
    call.output.lines([_title(details.asset), origin, "", *_details(details)])
    return 0


def _details(details: AssetDetails) -> Iterator[str]:
    for name, value in asdict(details.asset).items():
        if name not in {"tags", "chapters", "markers", "streams"}:
            yield f"{name + ':':<{_LABEL}}{_value(value)}".rstrip()
    yield from _list("tags", [f"{kind}: {', '.join(tags)}" for kind, tags in details.asset.tags.items()])
    for name, spans in (("chapters", details.asset.chapters), ("markers", details.asset.markers)):
        yield from _list(name, None if spans is None else [_span(span) for span in spans])
    streams = details.asset.streams
    yield from _list("streams", None if streams is None else [_stream(stream) for stream in streams])
    yield from _list("files", [_file(file) for file in details.files])
    yield from _list("aliases", [_alias(alias) for alias in details.aliases])
    yield from _list("enrichments", [_enrichment(enrichment) for enrichment in details.enrichments])


def _value(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"  # stored in single precision: further digits are noise
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items()) or "-"
    return str(value)


def _list(name: str, lines: Sequence[str] | None) -> Iterator[str]:
    if not lines:
        yield f"{name + ':':<{_LABEL}}{'-' if lines is None else 'none'}"
        return
    yield f"{name} ({len(lines)}):"
    yield from (f"  {line}" for line in lines)


def _span(span: dict[str, Any]) -> str:
    start, end = _clock(span.get("start_ms")), _clock(span.get("end_ms"))
    return f"{start} - {end}  {span.get('title') or span.get('type') or ''}".rstrip()


def _clock(ms: int | None) -> str:
    if ms is None:
        return "-:--:--"
    seconds = ms // 1000
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _file(file: AssetFile) -> str:
    size = "" if file.size_bytes is None else f", {file.size_bytes} bytes"
    duration = "" if file.duration_ms is None else f", {_clock(file.duration_ms)}"
    return f"{file.position}. {file.local_path}{size}{duration}"


def _stream(stream: dict[str, Any]) -> str:
    shown = ("type", "codec", "language", "channels", "width", "height", "title")
    words = [str(stream[name]) for name in shown if stream.get(name) is not None]
    return " ".join([*words, *(name for name in ("default", "forced", "external") if stream.get(name) is True)])


def _enrichment(enrichment: AssetEnrichment) -> str:
    cause = "" if enrichment.message is None else f": {enrichment.message} [{enrichment.code}]"
    return f"{enrichment.name} ({enrichment.enricher}): {enrichment.status}{cause}"


def _alias(alias: AssetAlias) -> str:
    number = _number(alias.season_number, alias.episode_number)
    return " ".join(part for part in (number, alias.title, f"({alias.source_uri})") if part)


async def approve_assets(call: Invocation, uuids: Sequence[UUID]) -> int:
    """Approve assets for broadcast, all of them or none."""
    async with opened(call) as store:
        changes = await catalogue.approve_assets(store, *uuids, dry_run=call.dry_run)
    return _report_changes(call, changes, "approved")


async def retire_assets(call: Invocation, uuids: Sequence[UUID]) -> int:
    """Retire assets, all of them or none."""
    async with opened(call) as store:
        changes = await catalogue.retire_assets(store, *uuids, dry_run=call.dry_run)
    return _report_changes(call, changes, "retired")


def _report_changes(call: Invocation, changes: Sequence[StateChange], done: str) -> int:
    changed = sum(change.before != change.after for change in changes)
    if call.output.as_json:
        assets = [
            {"uuid": change.uuid, "title": change.title, "state_before": change.before, "state": change.after}
            for change in changes
        ]
        document = {"status": "ok", "dry_run": call.dry_run, "total": len(changes), "changed": changed}
        call.output.document({**document, "assets": assets})
        return 0
    rows = [(change.title, change.before, change.after, change.uuid) for change in changes]
    head = "Dry run: nothing was written. Would be" if call.dry_run else "Assets"
    call.output.lines([*table(("Title", "Was", "Is", "Id"), rows), f"{head} {done}: {changed} of {len(changes)}"])
    return 0
