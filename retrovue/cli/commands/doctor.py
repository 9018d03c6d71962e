"""The doctor."""

import asyncclick as click

from retrovue.cli.options import shared
from retrovue.cli.session import Call


@click.command("doctor", epilog="Exit status: 0 no problem, 1 a problem, 3 nothing but sources that can't be reached.")
@shared()
async def command(call: Call) -> int:
    """Look at all that an ingest relies on, and say what to do about what isn't right."""
    from retrovue.cli.actions.doctor import diagnose

    return await diagnose(call)
