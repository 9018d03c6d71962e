"""The commands on assets."""

import asyncclick as click

from retrovue.cli.options import shared
from retrovue.cli.session import Call


@click.group("asset")
def command() -> None:
    """What has been ingested."""


@command.command("list")
@click.option("--collection", metavar="COLLECTION", help="Only of this collection: its id, key or name.")
@click.option("--source", metavar="SOURCE", help="Only of this source: its id or name.")
@click.option("--limit", type=click.IntRange(min=0), default=50, show_default=True, help="Show so many at most.")
@shared()
async def list_(call: Call, *, collection: str | None, source: str | None, limit: int) -> int:
    """List assets."""
    from retrovue.cli.actions.assets import show_assets  # noqa: PLC0415 - keeps help quick

    return await show_assets(call, collection, source, limit)
