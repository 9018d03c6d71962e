"""The demo."""

import asyncclick as click

from retrovue.cli.errors import require_utf8
from retrovue.cli.session import Session


@click.command("demo")
@click.option(
    "--items", type=click.IntRange(1, 10_000_000), default=20_000, show_default=True, help="Items in all libraries."
)
@click.option("--collections", type=click.IntRange(2, 40), default=8, show_default=True, help="Number of libraries.")
@click.option("--keep", is_flag=True, help="Keep the catalogue, and say where it is.")
@click.pass_obj
async def command(session: Session, *, items: int, collections: int, keep: bool) -> int:
    """Ingest a simulated Plex server into a catalogue of its own, and show each command."""
    require_utf8()
    from retrovue.cli.actions.demo import demonstrate

    return await demonstrate(session, items=items, collections=collections, keep=keep)
