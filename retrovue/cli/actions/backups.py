"""Backing the embedded database up, and restoring it."""

from dataclasses import asdict
from pathlib import Path

from retrovue.cli.actions.asking import confirm
from retrovue.cli.session import Call
from retrovue.store import databases
from retrovue.store.databases import Holdings
from retrovue.store.opening import open_embedded


async def back_up(call: Call, file: Path) -> int:
    """Write the database to a new file."""
    size = None
    async with open_embedded(call.settings, test_db=call.test_db) as (server, name):
        databases.check_new(file)
        held = await databases.holdings(server, name)
        if not call.dry_run:
            await server.ensure_database(name)
            size = await databases.back_up(server, name, file)
    if call.output.as_json:
        call.output.document(
            {
                "status": "ok",
                "dry_run": call.dry_run,
                "database": name,
                "file": str(file),
                "size_bytes": size,
                "holds": asdict(held),
            }
        )
        return 0
    said = "Dry run: nothing was written. Would back up" if size is None else f"Backed up ({size} bytes)"
    call.output.lines([f"{said} to {file}:", *_lines(held)])
    return 0


async def restore(call: Call, file: Path, *, yes: bool) -> int:
    """Put a backup in the database's place, once that is confirmed."""
    after = None
    async with open_embedded(call.settings, test_db=call.test_db) as (server, name):
        await databases.check_backup(server, file)
        before = await databases.holdings(server, name)
        if not call.dry_run:
            if before.sources:
                confirm(
                    call,
                    ["What is there now, and would be replaced:", *_lines(before)],
                    yes=yes,
                    context=asdict(before),
                )
            await databases.restore(server, name, "test" if call.test_db else "production", file)
            after = await databases.holdings(server, name)
    if call.output.as_json:
        call.output.document(
            {
                "status": "ok",
                "dry_run": call.dry_run,
                "database": name,
                "file": str(file),
                "destroyed": asdict(before),
                "holds": None if after is None else asdict(after),
            }
        )
        return 0
    if after is None:
        call.output.lines(["Dry run: nothing was written. It would be replaced:", *_lines(before)])
    else:
        call.output.lines([f"Restored from {file}:", *_lines(after)])
    return 0


def _lines(held: Holdings) -> list[str]:
    return [f"  {name + ':':<12} {count}" for name, count in asdict(held).items()]
