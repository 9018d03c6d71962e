"""The commands on enrichers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import asyncclick as click

from retrovue.cli.commands.source_settings import add_settings, type_argument
from retrovue.cli.options import confirmed, shared
from retrovue.cli.session import Call
from retrovue.core.errors import EnricherNotCompliant

if TYPE_CHECKING:
    from retrovue.core.model import ConfigField


class AddCommand(click.Command):
    """The command whose further options come from the enricher that ``--type`` names."""

    async def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Add the parameters of the type, or of all installed types, and then parse."""
        type_name = type_argument(args)
        add_settings(self, _parameters(type_name), required=type_name is not None, from_environment=False)
        return await super().make_context(info_name, args, parent, **extra)


class UpdateCommand(click.Command):
    """The command whose further options come from all enrichers: the type is in the catalogue."""

    async def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Add the parameters of all installed types, and then parse."""
        add_settings(self, _parameters(None), required=False, from_environment=False)
        return await super().make_context(info_name, args, parent, **extra)


def _parameters(type_name: str | None) -> "Mapping[str, ConfigField]":
    from retrovue.enrichers.registry import enricher_types, parameters_of

    fields: dict[str, ConfigField] = {}
    for known in enricher_types() if type_name is None else [type_name]:
        try:
            described = parameters_of(known)
        except EnricherNotCompliant:
            if type_name is not None:
                raise
            continue  # another type's help must not suffer for it
        fields |= {field.name: field for field in described if field.name not in fields}
    return fields


@click.group("enricher")
def command() -> None:
    """What is found out about assets besides what their source says."""


@command.command("list-types")
@shared()
async def list_types(call: Call) -> int:
    """List the types of enricher, with their parameters."""
    from retrovue.cli.actions.enrichers import show_types

    return await show_types(call)


@command.command("add", cls=AddCommand)
@click.option("--type", "type_name", required=True, metavar="TYPE", help="Type of the enricher, such as probe.")
@click.option("--name", required=True, help="Name of the enricher.")
@shared(writes=True)
async def add(call: Call, *, type_name: str, name: str, **parameters: str | None) -> int:
    """Add an enricher.

    The options that --type adds are the parameters of that type.
    """
    from retrovue.cli.actions.enrichers import add_enricher

    return await add_enricher(call, type_name, name, parameters)


@command.command("list")
@shared()
async def list_(call: Call) -> int:
    """List enrichers."""
    from retrovue.cli.actions.enrichers import show_enrichers

    return await show_enrichers(call)


@command.command("show")
@click.argument("enricher")
@shared()
async def show(call: Call, *, enricher: str) -> int:
    """Show one enricher and what it is attached to.

    ENRICHER is its id or its name.
    """
    from retrovue.cli.actions.enrichers import show_enricher

    return await show_enricher(call, enricher)


@command.command("update", cls=UpdateCommand)
@click.argument("enricher")
@click.option("--name", help="New name of the enricher.")
@click.option("--unset", multiple=True, metavar="PARAMETER", help="Forget what was given for a parameter.")
@shared(writes=True)
async def update(
    call: Call, *, enricher: str, name: str | None, unset: tuple[str, ...], **parameters: str | None
) -> int:
    """Change an enricher's name or parameters.

    What it has done stays done. ENRICHER is its id or its name.
    """
    from retrovue.cli.actions.enrichers import change_enricher

    return await change_enricher(call, enricher, name, unset, parameters)


@command.command("remove")
@click.argument("enricher")
@confirmed
@shared(writes=True)
async def remove(call: Call, *, enricher: str, yes: bool) -> int:
    """Remove an enricher from everywhere.

    What it gave to assets stays. ENRICHER is its id or its name.
    """
    from retrovue.cli.actions.enrichers import remove_enricher

    return await remove_enricher(call, enricher, yes=yes)
