"""The commands for the database."""

from pathlib import Path

import asyncclick as click

from retrovue.cli.invocation import Invocation
from retrovue.cli.options import confirmed, shared


@click.group("db")
def command() -> None:
    """The database of the catalogue."""


@command.command("upgrade")
@shared(writes=True)
async def upgrade(call: Invocation) -> int:
    """Upgrade the schema to the version that this program needs."""
    from retrovue.cli.actions.database import upgrade_schema

    return await upgrade_schema(call)


@command.command("status")
@shared()
async def status(call: Invocation) -> int:
    """Show the version of the schema, and whether it is up to date."""
    from retrovue.cli.actions.database import show_status

    return await show_status(call)


@command.command("index")
@click.option("--drop", is_flag=True, help="Remove the index.")
@shared(writes=True)
async def index(call: Invocation, *, drop: bool) -> int:
    """Create the indexes that find a part of a title or show quickly.

    Without them a search reads all assets, which takes seconds for a million. With them each title that a run writes
    takes longer. While they are created, no run can write. They need PostgreSQL's extension pg_trgm.
    """
    from retrovue.cli.actions.database import change_search_index

    return await change_search_index(call, wanted=not drop)


@command.command("create")
@shared(writes=True)
async def create(call: Invocation) -> int:
    """Create the test database with its schema; needs --test-db."""
    from retrovue.cli.actions.database import create_database

    return await create_database(call)


@command.command("reset")
@confirmed
@shared(writes=True)
async def reset(call: Invocation, *, yes: bool) -> int:
    """Drop the test database and create it again; needs --test-db."""
    from retrovue.cli.actions.database import reset_database

    return await reset_database(call, yes=yes)


@command.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@shared(writes=True)
async def backup(call: Invocation, *, file: Path) -> int:
    """Back up the embedded database to a new file.

    Other commands may run at the same time. The file contains the tokens of the sources, so only its owner can read it.
    It can also be read by pg_restore of PostgreSQL 18 or newer.
    """
    from retrovue.cli.actions.database import back_up

    return await back_up(call, file)


@command.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@confirmed
@shared(writes=True)
async def restore(call: Invocation, *, file: Path, yes: bool) -> int:
    """Replace the embedded database by a backup.

    The schema of the backup is upgraded if it is older than this program needs.
    """
    from retrovue.cli.actions import database

    return await database.restore(call, file, yes=yes)
