"""The database's schema: how far it is, and bringing it further."""

from typing import Any

from retrovue.cli.actions.opening import opened
from retrovue.cli.session import Call
from retrovue.store import migrations
from retrovue.store.migrations import SchemaStatus
from retrovue.store.session import Store


async def upgrade_schema(call: Call) -> int:
    """Bring the schema to this program's version; for a dry-run only say what that would be."""
    role = "test" if call.test_db else "production"
    async with opened(call, check=False) as store:
        if call.dry_run:
            before = await migrations.schema_status(store)
        else:
            before = await migrations.upgrade(store, role)
        database = _database(store)
    if call.output.as_json:
        call.output.document(
            {
                "status": "ok",
                "dry_run": call.dry_run,
                "database": database,
                "role": before.role or role,
                "before": before.current,
                "after": before.current if call.dry_run else before.wanted,
                "wanted": before.wanted,
                "changed": not before.up_to_date and not call.dry_run,
            }
        )
        return 0
    was = before.current or "no schema"
    if before.up_to_date:
        said = f"The schema is up to date: {before.wanted}."
    elif call.dry_run:
        said = f"The schema would be upgraded from {was} to {before.wanted}; nothing was written."
    else:
        said = f"The schema was upgraded from {was} to {before.wanted}."
    call.output.lines([f"Database: {database}", said])
    return 0


async def show_status(call: Call) -> int:
    """Show how far the schema is."""
    async with opened(call, check=False, read_only=True) as store:
        status = await migrations.schema_status(store)
        database = _database(store)
    if call.output.as_json:
        call.output.document(_fields(status, database))
        return 0
    call.output.lines(
        [
            f"Database: {database}",
            f"Role:     {status.role or 'none yet'}",
            f"Schema:   {status.current or 'none'}",
            f"Wanted:   {status.wanted}",
            "The schema is up to date." if status.up_to_date else "Bring it up to date with `retrovue db upgrade`.",
        ]
    )
    return 0


def _fields(status: SchemaStatus, database: str) -> dict[str, Any]:
    return {
        "status": "ok",
        "database": database,
        "role": status.role,
        "current": status.current,
        "wanted": status.wanted,
        "up_to_date": status.up_to_date,
    }


def _database(store: Store) -> str:
    """Name the database without its password."""
    return store.url.set(drivername="postgresql").render_as_string(hide_password=True)
