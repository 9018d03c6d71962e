"""The commands for enrichers."""

import asyncclick as click

from retrovue.cli.invocation import Invocation
from retrovue.cli.options import confirmed, shared
from retrovue.cli.plugin_options import PluginCommand, PluginType, enricher_parameters, enricher_types


@click.group("enricher")
def command() -> None:
    """Enrichers, which add facts to assets that the source doesn't have."""


@command.command("list-types")
@shared()
async def list_types(call: Invocation) -> int:
    """List the types of enricher and their parameters."""
    from retrovue.cli.actions.enrichers import show_types

    return await show_types(call)


@command.command("add", cls=PluginCommand, types=enricher_types, describe=enricher_parameters)
@click.option("--type", "type_name", required=True, type=PluginType(enricher_types), help="Type of the enricher.")
@click.option("--name", required=True, help="Name of the enricher.")
@shared(writes=True)
async def add(call: Invocation, *, type_name: str, name: str, **parameters: str | None) -> int:
    """Add an enricher.

    The parameters of the type become options with --type.
    """
    from retrovue.cli.actions.enrichers import add_enricher

    return await add_enricher(call, type_name, name, parameters)


@command.command("list")
@shared()
async def list_(call: Invocation) -> int:
    """List enrichers."""
    from retrovue.cli.actions.enrichers import show_enrichers

    return await show_enrichers(call)


@command.command("show")
@click.argument("enricher")
@shared()
async def show(call: Invocation, *, enricher: str) -> int:
    """Show an enricher and the collections that use it.

    ENRICHER is its id or its name.
    """
    from retrovue.cli.actions.enrichers import show_enricher

    return await show_enricher(call, enricher)


@command.command("update", cls=PluginCommand, types=enricher_types, describe=enricher_parameters)
@click.argument("enricher")
@click.option("--name", help="New name of the enricher.")
@click.option("--unset", multiple=True, metavar="PARAMETER", help="Reset a parameter to its default.")
@shared(writes=True)
async def update(
    call: Invocation, *, enricher: str, name: str | None, unset: tuple[str, ...], **parameters: str | None
) -> int:
    """Change an enricher's name or parameters.

    Assets that it has enriched don't change. ENRICHER is its id or its name.
    """
    from retrovue.cli.actions.enrichers import change_enricher

    return await change_enricher(call, enricher, name, unset, parameters)


@command.command("remove")
@click.argument("enricher")
@confirmed
@shared(writes=True)
async def remove(call: Invocation, *, enricher: str, yes: bool) -> int:
    """Remove an enricher from all collections and the catalogue.

    Assets that it has enriched don't change. ENRICHER is its id or its name.
    """
    from retrovue.cli.actions.enrichers import remove_enricher

    return await remove_enricher(call, enricher, yes=yes)
