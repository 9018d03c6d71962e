"""The commands on the database."""

import asyncclick as click

from retrovue.cli.options import shared
from retrovue.cli.session import Call


@click.group("db")
def command() -> None:
    """The catalogue's database."""


@command.command("upgrade")
@shared(writes=True)
async def upgrade(call: Call) -> int:
    """Bring the database's schema to this program's version."""
    from retrovue.cli.actions.databases import upgrade_schema  # noqa: PLC0415 - keeps help quick

    return await upgrade_schema(call)


@command.command("status")
@shared()
async def status(call: Call) -> int:
    """Show how far the database's schema is."""
    from retrovue.cli.actions.databases import show_status  # noqa: PLC0415 - keeps help quick

    return await show_status(call)
