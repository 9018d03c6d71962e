"""The commands on assets."""

from uuid import UUID

import asyncclick as click

from retrovue.cli.invocation import Invocation
from retrovue.cli.options import NATURAL, shared


@click.group("asset")
def command() -> None:
    """Assets in the catalogue."""


@command.command("list")
@click.option("--collection", metavar="COLLECTION", help="Only assets of this collection: its id, key or name.")
@click.option("--source", metavar="SOURCE", help="Only assets of this source: its id or name.")
@click.option("--limit", type=NATURAL, default=50, show_default=True, help="Most assets to list.")
@shared()
async def list_(call: Invocation, *, collection: str | None, source: str | None, limit: int) -> int:
    """List assets."""
    from retrovue.cli.actions.assets import show_assets

    return await show_assets(call, collection, source, limit)


@command.command("show")
@click.argument("uuid", type=click.UUID)
@shared()
async def show(call: Invocation, *, uuid: UUID) -> int:
    """Show an asset with its files, aliases and enrichments.

    UUID is its id.
    """
    from retrovue.cli.actions.assets import show_asset

    return await show_asset(call, uuid)


@command.command("approve")
@click.argument("uuids", metavar="UUID...", type=click.UUID, nargs=-1, required=True)
@shared(writes=True)
async def approve(call: Invocation, *, uuids: tuple[UUID, ...]) -> int:
    """Approve assets for broadcast.

    UUID is an asset's id. If one of them can't be approved, none is.
    """
    from retrovue.cli.actions.assets import approve_assets

    return await approve_assets(call, uuids)


@command.command("retire")
@click.argument("uuids", metavar="UUID...", type=click.UUID, nargs=-1, required=True)
@shared(writes=True)
async def retire(call: Invocation, *, uuids: tuple[UUID, ...]) -> int:
    """Retire assets, so that they aren't broadcast any more.

    UUID is an asset's id. If one of them can't be retired, none is.
    """
    from retrovue.cli.actions.assets import retire_assets

    return await retire_assets(call, uuids)
