"""The commands for collections."""

from typing import Any

import asyncclick as click

from retrovue.cli.errors import InputError
from retrovue.cli.invocation import Invocation
from retrovue.cli.options import (
    INTEGER,
    NATURAL,
    POSITIVE,
    TITLE,
    Action,
    confirmed,
    examples,
    followed,
    intervals,
    keep_changes,
    keep_details,
    patience,
    removals,
    shared,
)

_SOURCE = click.option("--source", metavar="SOURCE", help="Source of the collection, if several have one of this name.")


def _scoped(action: Action) -> Action:
    """Give a command its collection, and the options that narrow it."""
    for option in (
        click.option("--episode", type=NATURAL, metavar="N", help="Only this episode; needs --season."),
        click.option("--season", type=NATURAL, metavar="N", help="Only this season; needs --title."),
        click.option("--title", type=TITLE, metavar="TITLE", help="Only the movie or show of this title."),
        _SOURCE,
        click.argument("collection"),
    ):
        action = option(action)
    return action


@click.group("collection")
def command() -> None:
    """Libraries of a source."""


@command.command("list")
@click.option("--source", metavar="SOURCE", help="Only collections of this source: its id or name.")
@shared()
async def list_(call: Invocation, *, source: str | None) -> int:
    """List collections."""
    from retrovue.cli.actions.collections import show_collections

    return await show_collections(call, source)


@command.command("show")
@click.argument("collection")
@_SOURCE
@shared()
async def show(call: Invocation, *, collection: str, source: str | None) -> int:
    """Show a collection.

    COLLECTION is its id, its key at the source, or its name.
    """
    from retrovue.cli.actions.collections import show_collection

    return await show_collection(call, collection, source)


@command.command("update", epilog=examples("collection update Movies --map /data/movies=/mnt/movies --enable"))
@click.argument("collection")
@_SOURCE
@click.option(
    "--map", "maps", multiple=True, metavar="FROM=TO", help="Local directory TO of the source's directory FROM."
)
@click.option("--unmap", multiple=True, metavar="FROM", help="Remove the mapping of FROM.")
@click.option("--enable/--disable", "enabled", default=None, help="Whether `source ingest` includes the collection.")
@click.option(
    "--check-files/--no-check-files",
    default=None,
    help="Whether an ingest looks for some of the listed files here, and fails if none is there; default: yes.",
)
@click.option(
    "--keep-approval/--withdraw-approval",
    "keep_approval",
    default=None,
    help="Whether an asset stays approved when a sync finds that its file was replaced; default: it doesn't.",
)
@shared(writes=True)
async def update(
    call: Invocation,
    *,
    collection: str,
    source: str | None,
    maps: tuple[str, ...],
    unmap: tuple[str, ...],
    enabled: bool | None,
    check_files: bool | None,
    keep_approval: bool | None,
) -> int:
    """Map paths of a collection, enable or disable it.

    COLLECTION is its id, its key at the source, or its name. --no-check-files is for a catalogue whose media files are
    on another machine: its directories may be empty here.
    """
    from retrovue.cli.actions.collections import change_collection

    return await change_collection(
        call,
        collection,
        source,
        maps,
        unmap,
        enabled=enabled,
        check_files=check_files,
        keep_approval=keep_approval,
    )


@command.command(
    "ingest",
    epilog=examples(
        "collection ingest 'TV Shows' --title 'The Big Bang Theory' --season 2", "collection ingest Movies"
    ),
)
@_scoped
@patience
@keep_details
@keep_changes
@followed
@shared(writes=True)
async def ingest(call: Invocation, *, collection: str, **options: Any) -> int:
    """Ingest a collection, or one title of it.

    COLLECTION is its id, its key at the source, or its name.
    """
    from retrovue.cli.actions.ingest import ingest_collection

    return await ingest_collection(call, collection, **options)


@command.command(
    "sync", epilog=examples("collection sync Movies", "collection sync 'TV Shows' --title 'The Big Bang Theory'")
)
@_scoped
@patience
@keep_details
@keep_changes
@intervals
@removals
@followed
@shared(writes=True)
async def sync(call: Invocation, *, collection: str, **options: Any) -> int:
    """Sync a collection, or one title of it.

    Known assets follow their source. Assets that the source doesn't list any more are marked, but not with --title.
    COLLECTION is its id, its key at the source, or its name.
    """
    from retrovue.cli.actions.ingest import ingest_collection

    return await ingest_collection(call, collection, mode="sync", **options)


@command.command("adopt", epilog=examples("collection adopt Movies 7 --source Plex --dry-run"))
@click.argument("old")
@click.argument("new")
@_SOURCE
@confirmed
@shared(writes=True)
async def adopt(call: Invocation, *, old: str, new: str, source: str | None, yes: bool) -> int:
    """Let a library take the place of another one.

    Use it for a library that was deleted and created again at its source, with another key and new ids. NEW must have
    at least 90 % of the assets of OLD. OLD takes over the key, name and directories of NEW; its assets keep their ids,
    states and approvals. OLD and NEW are ids, keys at the source, or names.
    """
    from retrovue.cli.actions.collections import adopt_collection

    return await adopt_collection(call, old, new, source, yes=yes)


@command.command("attach-enricher")
@click.argument("collection")
@click.argument("enricher")
@_SOURCE
@click.option("--priority", type=INTEGER, metavar="N", help="Enrichers with lower numbers run first; default: 100.")
@shared(writes=True)
async def attach_enricher(
    call: Invocation, *, collection: str, enricher: str, source: str | None, priority: int | None
) -> int:
    """Attach an enricher, or change its priority.

    COLLECTION is its id, its key at the source, or its name. ENRICHER is its id or its name.
    """
    from retrovue.cli.actions.enrichers import attach

    return await attach(call, collection, enricher, source, priority=priority)


@command.command("detach-enricher")
@click.argument("collection")
@click.argument("enricher")
@_SOURCE
@shared(writes=True)
async def detach_enricher(call: Invocation, *, collection: str, enricher: str, source: str | None) -> int:
    """Detach an enricher from a collection.

    COLLECTION is its id, its key at the source, or its name. ENRICHER is its id or its name.
    """
    from retrovue.cli.actions.enrichers import detach

    return await detach(call, collection, enricher, source)


@command.command("enrich")
@click.argument("collection")
@_SOURCE
@click.option("--retry-failed", is_flag=True, help="Only the enrichments that failed.")
@click.option("--concurrency", type=POSITIVE, metavar="N", help="Batches of assets at the same time; default: 4.")
@click.option("--enqueue", is_flag=True, help="Leave it to `retrovue worker` on any host, in batches.")
@click.option("--wait", is_flag=True, help="With --enqueue: wait for the end, and report it.")
@shared(writes=True)
async def enrich(
    call: Invocation,
    *,
    collection: str,
    source: str | None,
    retry_failed: bool,
    concurrency: int | None,
    enqueue: bool,
    wait: bool,
) -> int:
    """Do the owed enrichments of a collection.

    The source isn't read again. COLLECTION is its id, its key at the source, or its name.
    """
    if wait and not enqueue:
        raise InputError("--wait needs --enqueue.", hint="Without --enqueue the command waits anyway.")
    if enqueue:
        if retry_failed or concurrency is not None or call.dry_run:
            raise InputError("--enqueue takes no --retry-failed, --concurrency or --dry-run.")
        from retrovue.cli.actions.jobs import enqueue_enrichment

        return await enqueue_enrichment(call, collection, source, wait=wait)
    from retrovue.cli.actions import enrichers

    return await enrichers.enrich(call, collection, source, only_failed=retry_failed, concurrency=concurrency)


@command.command("wipe")
@click.argument("collection")
@_SOURCE
@confirmed
@shared(writes=True)
async def wipe(call: Invocation, *, collection: str, source: str | None, yes: bool) -> int:
    """Delete all assets of a collection.

    The collection and its audit trail stay. COLLECTION is its id, its key at the source, or its name.
    """
    from retrovue.cli.actions.collections import wipe_collection

    return await wipe_collection(call, collection, source, yes=yes)
