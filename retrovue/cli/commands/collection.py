"""The commands on collections."""

import asyncclick as click

from retrovue.cli.invocation import Invocation
from retrovue.cli.options import (
    INTEGER,
    NATURAL,
    POSITIVE,
    TITLE,
    confirmed,
    examples,
    followed,
    keep_details,
    patience,
    shared,
)

_SOURCE = click.option("--source", metavar="SOURCE", help="Source of the collection, if several have one of this name.")


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
) -> int:
    """Map paths of a collection, enable or disable it.

    COLLECTION is its id, its key at the source, or its name. --no-check-files is for a catalogue whose media files are
    on another machine: its directories may be empty here.
    """
    from retrovue.cli.actions.collections import change_collection

    return await change_collection(call, collection, source, maps, unmap, enabled=enabled, check_files=check_files)


@command.command(
    "ingest",
    epilog=examples(
        "collection ingest 'TV Shows' --title 'The Big Bang Theory' --season 2", "collection ingest Movies"
    ),
)
@click.argument("collection")
@_SOURCE
@click.option("--title", type=TITLE, metavar="TITLE", help="Only the movie or show of this title.")
@click.option("--season", type=NATURAL, metavar="N", help="Only this season; needs --title.")
@click.option("--episode", type=NATURAL, metavar="N", help="Only this episode; needs --season.")
@patience
@keep_details
@followed
@shared(writes=True)
async def ingest(
    call: Invocation,
    *,
    collection: str,
    source: str | None,
    title: str | None,
    season: int | None,
    episode: int | None,
    patience: float | None,
    keep_details: int | None,
) -> int:
    """Ingest a collection, or one title of it.

    COLLECTION is its id, its key at the source, or its name.
    """
    from retrovue.cli.actions.ingest import ingest_collection

    return await ingest_collection(
        call,
        collection,
        source,
        title=title,
        season=season,
        episode=episode,
        patience=patience,
        keep_details=keep_details,
    )


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
@shared(writes=True)
async def enrich(
    call: Invocation, *, collection: str, source: str | None, retry_failed: bool, concurrency: int | None
) -> int:
    """Enrich assets that attached enrichers still owe.

    The source isn't listed again. COLLECTION is its id, its key at the source, or its name.
    """
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
