"""The feed of changes of assets, and purging assets that are gone."""

import datetime as dt
from collections.abc import AsyncIterator, Iterator

from retrovue.cli.asking import Destruction, confirm
from retrovue.cli.errors import InputError
from retrovue.cli.invocation import Invocation, opened
from retrovue.cli.streams import each
from retrovue.cli.table import room, table
from retrovue.cli.text import local_time
from retrovue.operations import changes
from retrovue.operations.changes import Change, GoneAssets, PrunedChanges
from retrovue.operations.documents import change_document

_SHOWN = 5
"""How many gone assets are listed before they are purged."""


async def show_changes(
    call: Invocation,
    *,
    source: str | None,
    collection: str | None,
    after: int | None,
    limit: int,
    follow: bool,
    jsonl: bool,
) -> int:
    """List the changes of assets after a cursor, or follow them."""
    if follow and call.output.as_json:
        raise InputError("--follow doesn't end, so --json can't print one document.", hint="Use --jsonl.")
    async with opened(call) as store:
        if follow:
            followed = changes.follow_changes(store, after=after, source=source, collection=collection)
            return await _print(call, followed, jsonl=jsonl)
        page = await changes.list_changes(store, after=after, source=source, collection=collection, limit=limit)
    if jsonl:
        return await _print(call, each(page.changes), jsonl=True)
    if call.output.as_json:
        document = {"status": "ok", "limit": limit, "changes": [change_document(change) for change in page.changes]}
        call.output.document({**document, "next_cursor": page.next_cursor})
        return 0
    rows = [
        (str(change.position), local_time(change.at), change.what, change.title, _fields(change))
        for change in page.changes
    ]
    lines = table(("Cursor", "When", "What", "Asset", "Fields"), rows, numbers=(0,), columns=room()) if rows else []
    call.output.lines([*lines, f"{len(rows):,} changes. The next page: --after {page.next_cursor}"])
    return 0


async def _print(call: Invocation, found: AsyncIterator[Change], *, jsonl: bool) -> int:
    """Print changes as they come, until there are no more or the reader of the output has gone."""
    async for change in found:
        if jsonl:
            call.output.event(change_document(change))
        else:
            call.output.lines([change_line(change)])
        if call.output.reader_gone:
            break
    return 0


def change_line(change: Change) -> str:
    """Return a change as a line."""
    fields = _fields(change)
    return f"{local_time(change.at)}  {change.what:<10} {change.title}{f' ({fields})' if fields else ''}"


def _fields(change: Change) -> str:
    return ", ".join(change.fields)


async def prune_changes(call: Invocation, older_than: dt.timedelta, *, yes: bool) -> int:
    """Remove old changes from the feed, after confirmation."""

    def confirm_removal(found: PrunedChanges) -> None:
        confirm(call, [_pruned_line(found)], "Remove them?", yes=yes, context={"changes": found.changes})

    async with opened(call) as store:
        pruned = await changes.prune_changes(store, older_than, confirm=confirm_removal, dry_run=call.dry_run)
    head = "Dry run: nothing was written. This would be removed:" if call.dry_run else "Removed:"
    document = {"dry_run": call.dry_run, "before": pruned.before, "changes": pruned.changes}
    return call.answer(document, [head, _pruned_line(pruned)])


def _pruned_line(pruned: PrunedChanges) -> str:
    before = local_time(pruned.before)
    return f"  {pruned.changes:,} changes of assets that were made before {before}"


async def purge_assets(
    call: Invocation, *, source: str | None, collection: str | None, older_than: dt.timedelta, yes: bool
) -> int:
    """Delete the assets that are gone, after confirmation."""

    def confirm_purge(gone: GoneAssets) -> None:
        _destruction(gone).confirm(call, yes=yes)

    async with opened(call) as store:
        gone = await changes.purge_assets(
            store,
            source=source,
            collection=collection,
            older_than=older_than,
            confirm=confirm_purge,
            dry_run=call.dry_run,
        )
    return _destruction(gone).report(call, {})


def _destruction(gone: GoneAssets) -> Destruction:
    return Destruction(
        list(_gone_lines(gone)), {"collections": 0, "assets": gone.number, "approved_assets": gone.approved}
    )


def _gone_lines(gone: GoneAssets) -> Iterator[str]:
    yield f"For good, with what is known of them: {gone.number:,} assets that are gone at their source,"
    yield f"  of which {gone.approved:,} are approved for broadcast"
    yield from (f"  {name}" for name in gone.first[:_SHOWN])
    if gone.number > _SHOWN:
        yield f"  and {gone.number - _SHOWN:,} more"
