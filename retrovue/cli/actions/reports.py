"""Reports: rejected items, duplicates, statistics."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar, Unpack

from msgspec.structs import asdict

from retrovue.cli.errors import InputError
from retrovue.cli.invocation import Invocation, opened
from retrovue.cli.streams import csv_lines, each, json_document, json_lines
from retrovue.cli.table import room, table
from retrovue.cli.text import local_time
from retrovue.operations import reports
from retrovue.operations.documents import statistics_document
from retrovue.operations.reports import (
    CollectionStatistics,
    DuplicateItem,
    RejectedItem,
    RejectionFilters,
    Statistics,
)

ItemT = TypeVar("ItemT", RejectedItem, DuplicateItem)

_PAGE = 500
"""The number of rows of a table that are laid out together."""
_STATES = ("new", "enriching", "ready", "retired")


async def show_rejected(
    call: Invocation,
    *,
    limit: int,
    after: str | None,
    everything: bool,
    jsonl: bool,
    as_csv: bool,
    **filters: Unpack[RejectionFilters],
) -> int:
    """List rejected items: one page, or with ``everything``, ``jsonl`` or ``as_csv`` all of them in constant memory."""
    whole = _is_whole(everything=everything, jsonl=jsonl, as_csv=as_csv, after=after)
    async with opened(call, reading=True) as store:
        page = await reports.list_rejected(store, limit=0 if whole else limit, after=after, **filters)
        items = reports.iter_rejected(store, **filters) if whole else each(page.items)
        head: dict[str, Any] = {"total": page.total, "limit": None if whole else limit, "items": []}
        head["next_cursor"] = page.next_cursor
        head["reasons"] = page.reasons
        lines = await _print(call, head, items, _rejected_table, jsonl=jsonl, as_csv=as_csv, kind=RejectedItem)
        if lines:
            reasons = ", ".join(f"{code} {number:,}" for code, number in page.reasons.items())
            _print_end(call, len(page.items), page.total, page.next_cursor, whole=whole, noun="rejected items")
            call.output.lines([f"By reason: {reasons}"] if reasons else [])
    return 0


async def show_duplicates(
    call: Invocation,
    *,
    limit: int,
    after: str | None,
    everything: bool,
    jsonl: bool,
    as_csv: bool,
    **filters: Unpack[RejectionFilters],
) -> int:
    """List duplicates: one page, or with ``everything``, ``jsonl`` or ``as_csv`` all of them in constant memory."""
    whole = _is_whole(everything=everything, jsonl=jsonl, as_csv=as_csv, after=after)
    async with opened(call, reading=True) as store:
        page = await reports.list_duplicates(store, limit=0 if whole else limit, after=after, **filters)
        items = reports.iter_duplicates(store, **filters) if whole else each(page.items)
        head: dict[str, Any] = {"total": page.total, "limit": None if whole else limit, "items": []}
        head["next_cursor"] = page.next_cursor
        if await _print(call, head, items, _duplicate_table, jsonl=jsonl, as_csv=as_csv, kind=DuplicateItem):
            _print_end(call, len(page.items), page.total, page.next_cursor, whole=whole, noun="duplicate items")
    return 0


def _is_whole(*, everything: bool, jsonl: bool, as_csv: bool, after: str | None) -> bool:
    if jsonl and as_csv:
        raise InputError("--jsonl and --csv can't be given together.")
    whole = everything or jsonl or as_csv
    if whole and after is not None:
        raise InputError("--after is for pages: it can't be given with --all, --jsonl or --csv.")
    return whole


async def _fields(items: AsyncIterator[ItemT]) -> AsyncIterator[dict[str, Any]]:
    async for item in items:
        yield asdict(item)


async def _print(
    call: Invocation,
    head: dict[str, Any],
    items: AsyncIterator[ItemT],
    lay_out: Callable[[Sequence[ItemT]], list[str]],
    *,
    jsonl: bool,
    as_csv: bool,
    kind: type[ItemT],
) -> bool:
    """Print a list in the requested form; return whether it was printed for people."""
    if call.output.as_json:
        await call.output.stream(json_document({"status": "ok", **head}, "items", _fields(items)))
    elif as_csv:
        await call.output.stream(csv_lines(tuple(kind.__struct_fields__), _fields(items)))
    elif jsonl:
        await call.output.stream(json_lines(_fields(items)))
    else:
        rows: list[ItemT] = []
        async for item in items:
            rows.append(item)
            if len(rows) == _PAGE:
                call.output.lines(lay_out(rows))
                rows.clear()
        call.output.lines(lay_out(rows) if rows else [])
        return True
    return False


def _print_end(call: Invocation, shown: int, total: int, cursor: str | None, *, whole: bool, noun: str) -> None:
    if not total:
        call.output.lines([f"No {noun}."])
    elif not whole:
        call.output.lines([f"{shown:,} of {total:,} {noun}"])
    if cursor is not None:
        call.output.lines([f"The next page: --after {cursor}"])


def _rejected_table(items: Sequence[RejectedItem]) -> list[str]:
    rows = [
        (
            f"{item.title or item.source_uri or 'untitled'}: {item.reason}",
            item.code,
            f"{item.collection_name} of {item.source_name}",
            local_time(item.started_at, "minutes"),
        )
        for item in items
    ]
    return table(("Item", "Reason", "Collection", "Run"), rows, columns=room())


def _duplicate_table(items: Sequence[DuplicateItem]) -> list[str]:
    rows = [
        (
            f"{_numbered(item)} (same file as {item.asset_title})",
            f"{item.collection_name} of {item.source_name}",
            item.asset_uuid,
        )
        for item in items
    ]
    return table(("Item", "Collection", "Asset"), rows, columns=room())


def _numbered(item: DuplicateItem) -> str:
    season = "" if item.season_number is None else f"S{item.season_number:02}"
    episode = "" if item.episode_number is None else f"E{item.episode_number:02}"
    return f"{season}{episode} {item.title}".strip()


async def show_statistics(call: Invocation, source: str | None) -> int:
    """Show what the catalogue holds."""
    async with opened(call, reading=True) as store:
        numbers = await reports.statistics(store, source)
    return call.answer(statistics_document(numbers), _statistics_lines(numbers))


def _statistics_lines(numbers: Statistics) -> list[str]:
    if not numbers.collections:
        return ["No collections. Find them with `retrovue source discover SOURCE`."]
    rows = [_statistics_row(_name(collection), [collection]) for collection in numbers.collections]
    foot = len(rows) > 1
    if foot:
        rows.append(_statistics_row("Total", numbers.collections))
    heads = ("Collection", "Assets", "New", "Enrich-\ning", "Ready", "Retired", "Hours", "GB", "Failed\nenrich.")
    lines = table(heads, rows, numbers=range(1, len(heads)), foot=foot, columns=room())
    lines += ["", *(line for collection in numbers.collections for line in _last_run(collection))]
    types: dict[str, int] = {}
    for group in numbers.groups:
        types[group.type] = types.get(group.type, 0) + group.assets
    unknown = sum(group.without_runtime for group in numbers.groups)
    lines += ["", f"By type: {', '.join(f'{name} {number:,}' for name, number in types.items())}"] if types else []
    return [*lines, *([f"Without a known runtime: {unknown:,}"] if unknown else [])]


def _name(collection: CollectionStatistics) -> str:
    return f"{collection.collection.name} of {collection.collection.source_name}"


def _last_run(collection: CollectionStatistics) -> list[str]:
    if collection.last_run is None:
        return [f"Never ingested: {_name(collection)}"] if collection.collection.sync_enabled else []
    started = local_time(collection.last_run.started_at, "minutes")
    return [f"Last run of {_name(collection)}: {started}, {collection.last_run.status}"]


def _statistics_row(name: str, collections: Sequence[CollectionStatistics]) -> tuple[object, ...]:
    return (
        name,
        f"{sum(collection.assets for collection in collections):,}",
        *(f"{sum(collection.in_state(state) for collection in collections):,}" for state in _STATES),
        f"{sum(collection.runtime_ms for collection in collections) / 3_600_000:,.1f}",
        f"{sum(collection.size_bytes for collection in collections) / 1e9:,.1f}",
        f"{sum(collection.failed_enrichments for collection in collections):,}",
    )
