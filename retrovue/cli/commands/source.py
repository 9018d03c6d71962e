"""The commands on sources."""

import asyncclick as click

from retrovue.cli.commands.source_ingest import IngestCommand
from retrovue.cli.commands.source_settings import AddCommand, UpdateCommand, complete_type
from retrovue.cli.options import POSITIVE, RATE, confirmed, examples, followed, patience, shared
from retrovue.cli.session import Call


@click.group("source")
def command() -> None:
    """Media servers."""


@command.command("list-types")
@shared()
async def list_types(call: Call) -> int:
    """List the types of source, with their settings."""
    from retrovue.cli.actions.sources import show_types

    return await show_types(call)


@command.command(
    "add",
    cls=AddCommand,
    epilog=examples("source add --type plex --name Plex --base-url http://192.168.1.10:32400 --token-file token.txt"),
)
@click.option(
    "--type",
    "type_name",
    required=True,
    metavar="TYPE",
    shell_complete=complete_type,
    help="Type of the source, such as plex.",
)
@click.option("--name", required=True, help="Name of the source.")
@click.option("--discover", is_flag=True, help="Find its collections right away.")
@shared(writes=True)
async def add(call: Call, *, type_name: str, name: str, discover: bool, **settings: str | None) -> int:
    """Add a source, after reaching it.

    The options that --type adds are the settings of that type. A secret setting, such as Plex's token, is best
    given by a file (- is the standard input) or by the environment (RETROVUE_TOKEN); else it is asked for.
    """
    from retrovue.cli.actions.sources import add_source

    return await add_source(call, type_name, name, settings, discover=discover)


@command.command("list")
@shared()
async def list_(call: Call) -> int:
    """List sources."""
    from retrovue.cli.actions.sources import show_sources

    return await show_sources(call)


@command.command("show")
@click.argument("source")
@shared()
async def show(call: Call, *, source: str) -> int:
    """Show one source and its collections.

    SOURCE is its id or its name.
    """
    from retrovue.cli.actions.sources import show_source

    return await show_source(call, source)


@command.command("update", cls=UpdateCommand)
@click.argument("source")
@click.option("--name", help="New name of the source.")
@click.option("--unset", multiple=True, metavar="SETTING", help="Forget what was given for an optional setting.")
@click.option("--accept-new-identity", is_flag=True, help="Take the server that answers now for the source's.")
@shared(writes=True)
async def update(
    call: Call,
    *,
    source: str,
    name: str | None,
    unset: tuple[str, ...],
    accept_new_identity: bool,
    **settings: str | None,
) -> int:
    """Change a source's name or settings, after reaching it.

    SOURCE is its id or its name. Another server than the one that was added is refused, unless --accept-new-identity
    says that it is meant.
    """
    from retrovue.cli.actions.source_changes import change_source

    return await change_source(call, source, name, settings, unset=unset, accept_new_identity=accept_new_identity)


@command.command("delete")
@click.argument("source")
@confirmed
@shared(writes=True)
async def delete(call: Call, *, source: str, yes: bool) -> int:
    """Delete a source and all that hangs on it.

    Its collections, their assets and their audit trail go with it. SOURCE is its id or its name.
    """
    from retrovue.cli.actions.source_changes import remove_source

    return await remove_source(call, source, yes=yes)


@command.command("discover")
@click.argument("source")
@shared(writes=True)
async def discover(call: Call, *, source: str) -> int:
    """Find the collections of a source.

    New ones are not enabled; what was decided about known ones stays. SOURCE is its id or its name.
    """
    from retrovue.cli.actions.sources import discover_collections

    return await discover_collections(call, source)


@command.command(
    "ingest",
    cls=IngestCommand,
    epilog=examples("source ingest Plex --dry-run", "source ingest Plex --retry-failed"),
)
@click.argument("source")
@click.option("--concurrency", type=POSITIVE, metavar="N", help="Collections at work at once; default: 4.")
@click.option(
    "--max-rps",
    type=RATE,
    metavar="R",
    help="Most requests to the source in a second; default: what its answers allow.",
)
@patience
@click.option(
    "--enrichment-concurrency",
    type=POSITIVE,
    metavar="N",
    help="Batches of assets under enrichment at once; default: 4.",
)
@click.option("--strict", is_flag=True, help="Count an enabled collection that can't be ingested as a failure.")
@click.option("--retry-failed", is_flag=True, help="Only the collections that failed or were interrupted last time.")
@followed
@shared(writes=True)
async def ingest(
    call: Call,
    *,
    source: str,
    concurrency: int | None,
    max_rps: float | None,
    patience: float | None,
    enrichment_concurrency: int | None,
    strict: bool,
    retry_failed: bool,
) -> int:
    """Ingest all enabled collections of a source.

    SOURCE is its id or its name.
    """
    from retrovue.cli.actions.ingest import ingest_source

    return await ingest_source(
        call,
        source,
        concurrency=concurrency,
        max_rps=max_rps,
        patience=patience,
        enrichment_concurrency=enrichment_concurrency,
        strict=strict,
        retry_failed=retry_failed,
    )
