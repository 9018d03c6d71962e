"""The commands for assets."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import asyncclick as click

from retrovue.cli.invocation import Invocation
from retrovue.cli.options import NATURAL, POSITIVE, SPAN, TIME, TITLE, confirmed, examples, shared


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that select assets."""
    for option in (
        click.option("--changed-since", metavar="TIME", type=TIME, help="Only created or changed since then."),
        click.option("--created-since", metavar="TIME", type=TIME, help="Only created since then: 2026-03-01."),
        click.option("--path", metavar="PATH", help="Only of this local file, or below this directory."),
        click.option("--year", type=NATURAL, help="Only of this year."),
        click.option("--season", type=NATURAL, help="Only of the season of this number."),
        click.option("--album", type=TITLE, metavar="TEXT", help="Only of albums with this text in their title."),
        click.option("--artist", type=TITLE, metavar="TEXT", help="Only tracks with this text in an artist's name."),
        click.option("--show", type=TITLE, metavar="TEXT", help="Only of shows with this text in their title."),
        click.option("--title", type=TITLE, metavar="TEXT", help="Only with this text in their title."),
        click.option("--type", type=click.Choice(_TYPES), help="Only of this type."),
        click.option("--state", type=click.Choice(_STATES), help="Only in this state."),
        click.option("--availability", type=click.Choice(_AVAILABILITIES), help="Only present, missing or gone ones."),
        click.option("--source", metavar="SOURCE", help="Only of this source: its id or name."),
        click.option("--collection", metavar="COLLECTION", help="Only of this collection: its id, key or name."),
    ):
        command = option(command)
    return command


_TYPES = ("movie", "episode", "clip", "track")
_STATES = ("new", "enriching", "ready", "retired")
_AVAILABILITIES = ("present", "missing", "gone")
_ORDER = click.option(
    "--order", type=click.Choice(("added", "name", "aired")), help="The newest first (added), by name, or by date."
)
_COLUMNS = click.option("--columns", metavar="NAMES", help="Only these fields, in this order: title,year,state")
_CSV = click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")


@click.group("asset")
def command() -> None:
    """Assets in the catalogue."""


@command.command("list")
@filters
@_ORDER
@click.option("--limit", type=NATURAL, default=50, show_default=True, help="The size of a page.")
@click.option("--after", metavar="CURSOR", help="The page after this cursor, which the previous page prints.")
@click.option("--all", "everything", is_flag=True, help="All pages, one after the other.")
@_COLUMNS
@click.option("--jsonl", is_flag=True, help="Print a line of JSON for each asset.")
@_CSV
@shared()
async def list_(call: Invocation, **options: Any) -> int:
    """List assets, the newest first.

    With --show, --season, --artist or --album they are sorted by name: by the title of the show (or of the asset),
    season and episode, or by album, disc and track.
    """
    from retrovue.cli.actions.assets import list_assets

    return await list_assets(call, **options)


@command.command("export")
@filters
@_ORDER
@_COLUMNS
@_CSV
@shared()
async def export(call: Invocation, **options: Any) -> int:
    """Print all assets, each as a line of JSON.

    The order is that of the list. Memory doesn't depend on the number of assets, except that sorting by name takes 16
    bytes for each.
    """
    from retrovue.cli.actions.assets import list_assets

    return await list_assets(call, everything=True, jsonl=True, **options)


@command.command("show")
@click.argument("uuid", metavar="ID")
@shared()
async def show(call: Invocation, *, uuid: str) -> int:
    """Show all details of an asset.

    ID is its id, the unique beginning of it, or its address at the source, now or before it was relinked.
    """
    from retrovue.cli.actions.assets import show_asset

    return await show_asset(call, uuid)


def chosen(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the arguments and options that choose assets for a decision: ids, or filters."""
    for option in (
        confirmed,
        click.option("--all", "everything", is_flag=True, help="All assets of the catalogue."),
        filters,
        click.argument("ids", metavar="[ID|-]...", nargs=-1),
    ):
        command = option(command)
    return command


@command.command("approve", epilog=examples("asset approve 0199c0de", "asset approve --collection Movies --year 1979"))
@chosen
@click.option("--despite-enrichment", is_flag=True, help="Also assets that are enriching, as they are now.")
@shared(writes=True)
async def approve(call: Invocation, *, ids: tuple[str, ...], **options: Any) -> int:
    """Approve assets for broadcast.

    ID is an asset's id, or the unique beginning of it; - reads ids from standard input, one on each line, or the lines
    of `asset export`. If one of the assets can't be approved, none is. Instead of ids, filters choose all new assets
    that match all of them; you are asked for confirmation.
    """
    from retrovue.cli.actions.decisions import decide

    return await decide(call, "approved", ids, **options)


@command.command("retire", epilog=examples("asset retire --show 'The Late Desk' --season 3"))
@chosen
@shared(writes=True)
async def retire(call: Invocation, *, ids: tuple[str, ...], **options: Any) -> int:
    """Retire assets, so that they aren't broadcast any more.

    ID is an asset's id, or the unique beginning of it; - reads ids from standard input, one on each line, or the lines
    of `asset export`. If one of the assets can't be retired, none is. Instead of ids, filters choose all assets that
    match all of them; you are asked for confirmation.
    """
    from retrovue.cli.actions.decisions import decide

    return await decide(call, "retired", ids, **options)


@command.command("unretire")
@chosen
@shared(writes=True)
async def unretire(call: Invocation, *, ids: tuple[str, ...], **options: Any) -> int:
    """Undo the retirement of assets.

    An asset that was approved is approved again, unless its file was replaced since. All others become new, or
    enriching if an enrichment is owed. Assets are chosen as by `asset retire`.
    """
    from retrovue.cli.actions.decisions import decide

    return await decide(call, "unretired", ids, **options)


_OF_SOURCE = click.option("--source", metavar="SOURCE", help="Only of this source: its id or name.")
_OF_COLLECTION = click.option(
    "--collection", metavar="COLLECTION", help="Only of this collection: its id, key or name."
)


@command.command(
    "changes", epilog=examples("asset changes --after 48121 --jsonl", "asset changes --follow --collection Movies")
)
@_OF_SOURCE
@_OF_COLLECTION
@click.option("--after", type=NATURAL, metavar="CURSOR", help="The changes after this cursor, which a list prints.")
@click.option("--limit", type=POSITIVE, default=500, show_default=True, help="Most changes to list.")
@click.option("--follow", is_flag=True, help="Print changes as they are made, from now or after the cursor.")
@click.option("--jsonl", is_flag=True, help="Print a line of JSON for each change.")
@shared()
async def changes(call: Invocation, **options: Any) -> int:
    """List the changes of assets, the oldest first.

    These are changes by syncs and people: refreshed, replaced, relocated, relinked, restored, missing, gone, approved,
    retired, unretired, withdrawn, purged. A reader that passes the last cursor to the next call gets every change once.
    """
    from retrovue.cli.actions.changes import show_changes

    return await show_changes(call, **options)


@command.command("prune-changes", epilog=examples("asset prune-changes --older-than 365d --dry-run"))
@click.option("--older-than", type=SPAN, required=True, metavar="SPAN", help="Only changes at least this old: 365d.")
@confirmed
@shared(writes=True)
async def prune_changes(call: Invocation, *, older_than: dt.timedelta, yes: bool) -> int:
    """Remove old changes from the feed.

    The assets don't change. A reader with an older cursor gets an error. Each ingest and sync also removes changes that
    are older than its --keep-changes.
    """
    from retrovue.cli.actions.changes import prune_changes as prune

    return await prune(call, older_than, yes=yes)


@command.command("purge", epilog=examples("asset purge --older-than 90d --dry-run"))
@_OF_SOURCE
@_OF_COLLECTION
@click.option(
    "--older-than",
    type=SPAN,
    default="0",
    metavar="SPAN",
    help="Only assets that have been missing for longer than this: 90d, 12h.",
)
@confirmed
@shared(writes=True)
async def purge(call: Invocation, **options: Any) -> int:
    """Delete for good the assets that are gone at their source.

    No other command deletes single assets: until then an asset can come back with its state and its approval.
    """
    from retrovue.cli.actions.changes import purge_assets

    return await purge_assets(call, **options)


@command.command(
    "relink", epilog=examples("asset relink --source 'My Plex'", "asset relink 0199c0de 0199d1f3", "asset relink --all")
)
@click.argument("ids", metavar="[OLD NEW]", nargs=-1)
@_OF_SOURCE
@_OF_COLLECTION
@click.option("--other-sources", is_flag=True, help="Look for their items in other sources as well.")
@click.option("--all", "everything", is_flag=True, help="Relink all unambiguous pairs.")
@confirmed
@shared(writes=True)
async def relink(call: Invocation, **options: Any) -> int:
    """Relink assets whose item has moved to another collection.

    Without OLD NEW and --all it only lists them: assets that are missing or gone, each with the new asset of the same
    item, and ambiguous ones. OLD keeps its id and approval, and takes the item of NEW with its collection and files;
    the approval is withdrawn if the file differs. NEW takes the lost item of OLD: nothing is deleted, and relinking NEW
    OLD undoes it.
    """
    from retrovue.cli.actions.relinking import relink as relink_

    return await relink_(call, **options)
