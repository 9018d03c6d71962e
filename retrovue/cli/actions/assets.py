"""List and show assets."""

import datetime as dt
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Unpack
from uuid import UUID

from msgspec.structs import asdict

from retrovue.cli.actions.changes import change_line
from retrovue.cli.errors import InputError
from retrovue.cli.invocation import Invocation, opened
from retrovue.cli.streams import csv_lines, each, json_document, json_lines
from retrovue.cli.table import room, table
from retrovue.cli.text import local_time
from retrovue.core.results import place
from retrovue.core.text import item_key, quoted
from retrovue.ingest.documents import collection_identity, source_identity
from retrovue.operations import catalogue
from retrovue.operations.catalogue import (
    Asset,
    AssetAlias,
    AssetDecision,
    AssetDetails,
    AssetEnrichment,
    AssetFile,
    AssetFilters,
    AssetOrder,
    FormerIdentity,
    Store,
)
from retrovue.operations.documents import asset_document

_PAGE = 500
"""The number of rows of a table that are laid out together."""
_FIELDS = tuple(Asset.__struct_fields__)
_AS_FILTERED = {"path": "canonical_uri", "show": "show_title", "season": "season_number", "episode": "episode_number"}
"""The fields that go by the names of the options that filter by them."""
_OF_COLLECTION = ("collection", "source")
"""The columns with the name of an asset's collection, and with that of its source."""
_LABEL = 24
"""The width of the column of field names; approved_for_broadcast is the longest."""


async def list_assets(
    call: Invocation,
    *,
    order: AssetOrder | None = None,
    limit: int = 0,
    after: str | None = None,
    everything: bool = False,
    columns: str | None = None,
    jsonl: bool = False,
    as_csv: bool = False,
    **filters: Unpack[AssetFilters],
) -> int:
    """List assets: one page, or with ``everything`` all of them in constant memory."""
    if jsonl and as_csv and not everything:
        raise InputError("--jsonl and --csv can't be given together.")
    if everything and after is not None:
        raise InputError("--all and --after can't be given together.")
    if columns is not None and call.output.as_json:
        raise InputError("--columns and --json can't be given together.", hint="Give --jsonl or --csv.")
    names = _column_names(columns)
    async with opened(call, reading=True) as store:
        page = await catalogue.list_assets(store, order=order, limit=0 if everything else limit, after=after, **filters)
        assets = catalogue.iter_assets(store, order=order, **filters) if everything else each(page.assets)
        if call.output.as_json:
            document: dict[str, Any] = {
                "status": "ok",
                "total": page.total,
                "limit": None if everything else limit,
                "assets": [],
            }
            document["next_cursor"] = page.next_cursor
            await call.output.stream(json_document(document, "assets", _fields(assets)))
        elif as_csv:
            await call.output.stream(csv_lines(names or _FIELDS, _fields(assets, names, _Collections(store))))
        elif jsonl:
            await call.output.stream(json_lines(_fields(assets, names, _Collections(store))))
        else:
            await _print_tables(call, store, assets, names)
            if not everything:
                call.output.lines([f"{len(page.assets):,} of {page.total or len(page.assets):,} assets"])
            if page.next_cursor is not None:
                call.output.lines([f"The next page: --after {page.next_cursor}"])
    return 0


def _column_names(columns: str | None) -> list[str]:
    names = [] if columns is None else [_AS_FILTERED.get(name, name) for name in map(str.strip, columns.split(","))]
    if unknown := [name for name in names if name not in {*_FIELDS, *_OF_COLLECTION}]:
        message = f"An asset has no field {', '.join(map(quoted, unknown))}."
        raise InputError(message, hint=f"It has: {', '.join([*_FIELDS, *_OF_COLLECTION])}.")
    return names


async def _fields(
    assets: AsyncIterator[Asset], names: Sequence[str] = (), collections: "_Collections | None" = None
) -> AsyncIterator[dict[str, Any]]:
    async for asset in assets:
        if names and collections is not None:
            await collections.look_up([asset], names)
            yield _chosen(asset, names, collections)
        else:
            yield asdict(asset)


def _chosen(asset: Asset, names: Sequence[str], collections: "_Collections") -> dict[str, Any]:
    """Return the values of some columns of an asset, by the names that were given."""
    return {
        name: collections.of(asset)[_OF_COLLECTION.index(name)] if name in _OF_COLLECTION else getattr(asset, name)
        for name in names
    }


class _Collections:
    """The names of the collections of assets, and of their sources. Each is looked up once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[UUID, tuple[str, str]] = {}

    async def look_up(self, assets: Sequence[Asset], columns: Sequence[str] = ("collection",)) -> None:
        """Look up the collections of assets, if one of the columns needs them, before ``of`` is asked for them."""
        if not set(columns) & set(_OF_COLLECTION):
            return
        for asset in assets:
            if asset.collection_uuid not in self._known:
                source, collection = await catalogue.find_target(self._store, str(asset.collection_uuid))
                self._known[asset.collection_uuid] = (collection.name, source.name)

    def of(self, asset: Asset) -> tuple[str, str]:
        """Return the names of the collection and the source of an asset."""
        return self._known[asset.collection_uuid]


async def _print_tables(call: Invocation, store: Store, assets: AsyncIterator[Asset], names: Sequence[str]) -> None:
    """Print a table for each page of assets. Assets with the same title are printed with their collections."""
    page: list[Asset] = []
    collections = _Collections(store)
    async for asset in assets:
        page.append(asset)
        if len(page) == _PAGE:
            call.output.lines(await _table(store, page, names, collections))
            page.clear()
            if call.output.reader_gone:
                return
    if page:
        call.output.lines(await _table(store, page, names, collections))


async def _table(store: Store, page: Sequence[Asset], names: Sequence[str], collections: "_Collections") -> list[str]:
    if names:
        await collections.look_up(page, names)
        fields = [_chosen(asset, names, collections) for asset in page]
        return table(names, [[_value(value) for value in row.values()] for row in fields], columns=room())
    heads = ["Title", "Type", "Min", "State", "Id"]
    ids = await catalogue.short_ids(store, [asset.uuid for asset in page])
    namesakes = _namesakes(page)
    titles = [_title(asset, namesakes) for asset in page]
    rows: list[list[object]] = [
        [title, asset.type, _runtime(asset), asset.state, ids.get(asset.uuid, asset.uuid)]
        for title, asset in zip(titles, page, strict=True)
    ]
    if len(set(titles)) < len(rows):  # what tells them apart
        await collections.look_up(page)
        for place, (head, values) in enumerate(_distinctions(titles, page, collections), 1):
            heads.insert(place, head)
            for row, value in zip(rows, values, strict=True):
                row.insert(place, value)
    return table(heads, rows, numbers=(heads.index("Min"),), columns=room())


def _distinctions(
    titles: Sequence[str], page: Sequence[Asset], collections: "_Collections"
) -> Iterator[tuple[str, list[str | None]]]:
    """Yield the columns that tell assets of one title apart, each with its heading: as few as are enough."""
    files: dict[str, list[str | None]] = {
        "Picture": [asset.video_resolution for asset in page],
        "Codec": [asset.video_codec for asset in page],
        "Size": [None if asset.size_bytes is None else _size(asset.size_bytes) for asset in page],
    }
    columns: dict[str, list[str | None]] = {
        "Collection": [collections.of(asset)[0] for asset in page],
        "Source": [collections.of(asset)[1] for asset in page],
    }
    told: list[tuple[str | None, ...]] = [(title,) for title in titles]
    for last in (False, True):
        for head, values in columns.items():
            with_it = [(*before, value) for before, value in zip(told, values, strict=True)]
            if len(set(with_it)) > len(set(told)):
                told = with_it
                yield head, values
        if not last:
            enough = [head for head in files if len(set(zip(told, files[head], strict=True))) == len(page)]
            keys: dict[str, list[str | None]] = {"Key": [item_key(asset.source_uri) for asset in page], **files}
            columns = {enough[0]: files[enough[0]]} if enough else keys


def _namesakes(assets: Sequence[Asset]) -> dict[str, dict[str | None, int | None]]:
    """Return the titles that several shows have, each with the year of each show by its key."""
    shows: dict[str, dict[str | None, int | None]] = {}
    for asset in assets:
        if asset.show_title is not None:
            shows.setdefault(asset.show_title, {})[asset.show_key] = asset.show_year
    return {title: keys for title, keys in shows.items() if len(keys) > 1}


def _title(asset: Asset, namesakes: Mapping[str, Mapping[str | None, int | None]] = MappingProxyType({})) -> str:
    """Return an asset's label. Shows with the same title are distinguished as filters and --title accept it."""
    edition = "" if asset.edition is None else f" [{asset.edition}]"
    if asset.show_title is None and asset.album is None:
        return f"{asset.title}{'' if asset.year is None else f' ({asset.year})'}{edition}"
    show, years = asset.show_title, list(namesakes.get(asset.show_title or "", {}).values())
    if years:
        told_by_year = asset.show_year is not None and years.count(asset.show_year) == 1
        remark = str(asset.show_year) if told_by_year else None if asset.show_key is None else f"key {asset.show_key}"
        show = show if remark is None else f"{show} ({remark})"
    number = place(asset.season_number, asset.episode_number, asset.disc_number, asset.track_number)
    own_artist = None if asset.artist in {None, asset.show_title} else asset.artist
    title = asset.title if own_artist is None else f"{asset.title} ({own_artist})"
    return " - ".join(part for part in (show, asset.album, number, title) if part) + edition


def _runtime(asset: Asset) -> int | None:
    return None if asset.runtime_ms is None else round(asset.runtime_ms / 60_000)


async def show_asset(call: Invocation, reference: str) -> int:
    """Show all details of an asset."""
    async with opened(call, reading=True) as store:
        details = await catalogue.get_asset(store, await catalogue.find_asset(store, reference))
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
    yield from _list("decisions", [_decision(decision) for decision in details.decisions])
    yield from _list("changes", [change_line(change) for change in details.changes])
    yield from _list("former identities", [_identity(identity) for identity in details.identities])


def _identity(identity: FormerIdentity) -> str:
    return f"{identity.source_uri}, until {local_time(identity.until, 'minutes')} (same {identity.rule})"


def _value(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dt.datetime):
        return local_time(value)
    if isinstance(value, float):
        return f"{value:g}"  # Stored in single precision, so further digits are meaningless.
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(item)}" for key, item in value.items()) or "-"
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
    size = "" if file.size_bytes is None else f", {_size(file.size_bytes)}"
    duration = "" if file.duration_ms is None else f", {_clock(file.duration_ms)}"
    return f"{file.position}. {file.local_path}{size}{duration}"


def _size(size: int) -> str:
    """Return a size as text for people: 950 bytes, 4.4 GB."""
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:,.3g} TB" if amount < 999.5 else f"{amount:,.0f} TB"


def _stream(stream: dict[str, Any]) -> str:
    shown = ("type", "codec", "language", "channels", "width", "height", "title")
    words = [str(stream[name]) for name in shown if stream.get(name) is not None]
    return " ".join([*words, *(name for name in ("default", "forced", "external") if stream.get(name) is True)])


def _enrichment(enrichment: AssetEnrichment) -> str:
    cause = "" if enrichment.message is None else f": {enrichment.message} [{enrichment.code}]"
    return f"{enrichment.name} ({enrichment.enricher}): {enrichment.status}{cause}"


def _alias(alias: AssetAlias) -> str:
    number = place(alias.season_number, alias.episode_number, None, None)
    return " ".join(part for part in (number, alias.title, f"({alias.source_uri})") if part)


def _decision(decision: AssetDecision) -> str:
    states = "" if decision.before is None else f", {decision.before} before"
    by = "a sync" if decision.by is None else decision.by
    return f"{decision.what} {local_time(decision.at)} by {by}{states}"
