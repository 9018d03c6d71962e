"""The database: its schema, the test database, and backups of the embedded one."""

from pathlib import Path
from typing import Any

from msgspec.structs import asdict

from retrovue.cli.asking import confirm
from retrovue.cli.errors import InputError
from retrovue.cli.invocation import Invocation, opened
from retrovue.operations.searching import set_search_index
from retrovue.store import databases, migrations
from retrovue.store.addresses import shown
from retrovue.store.databases import DatabaseState
from retrovue.store.migrations import wanted_revision
from retrovue.store.opening import open_embedded, open_test_server


async def upgrade_schema(call: Invocation) -> int:
    """Upgrade the schema to this program's version; for a dry-run, only report what would be done."""
    role = "test" if call.test_db else "production"
    async with opened(call, check=False) as store:
        before = await (migrations.check_upgrade if call.dry_run else migrations.upgrade)(store, role)
        database = shown(store.url)
    was = before.current or "no schema"
    if before.up_to_date:
        result = f"The schema is up to date: {before.wanted}."
    elif call.dry_run:
        result = f"The schema would be upgraded from {was} to {before.wanted}; nothing was written."
    else:
        result = f"The schema was upgraded from {was} to {before.wanted}."
    document = {
        "dry_run": call.dry_run,
        "database": database,
        "role": before.role or role,
        "before": before.current,
        "after": before.current if call.dry_run else before.wanted,
        "wanted": before.wanted,
        "changed": not before.up_to_date and not call.dry_run,
    }
    return call.answer(document, [f"Database: {database}", result])


async def show_status(call: Invocation) -> int:
    """Show the version of the schema, and the version that this program needs."""
    async with opened(call, check=False, read_only=True, reading=True) as store:
        status = await migrations.schema_status(store)
        database = shown(store.url)
    document = {
        "database": database,
        "role": status.role,
        "current": status.current,
        "wanted": status.wanted,
        "up_to_date": status.up_to_date,
    }
    return call.answer(
        document,
        [
            f"Database: {database}",
            f"Role:     {status.role or 'none yet'}",
            f"Schema:   {status.current or 'none'}",
            f"Wanted:   {status.wanted}",
            "The schema is up to date." if status.up_to_date else "Bring it up to date with `retrovue db upgrade`.",
        ],
    )


async def change_search_index(call: Invocation, *, wanted: bool) -> int:
    """Create the indexes of titles and shows, or drop them."""
    async with opened(call) as store:
        changed = await set_search_index(store, wanted=wanted, dry_run=call.dry_run)
        database = shown(store.url)
    did = "added" if wanted else "removed"
    if not changed:
        result = f"The search index is {'there already' if wanted else 'not there'}: nothing has changed."
    else:
        result = f"The search index {'would be ' if call.dry_run else 'was '}{did}."
    document = {
        "dry_run": call.dry_run,
        "database": database,
        "search_index": wanted,
        "changed": changed and not call.dry_run,
    }
    return call.answer(document, [f"Database: {database}", result])


async def create_database(call: Invocation) -> int:
    """Create the test database with its schema."""
    _require_test_db(call)
    async with open_test_server(call.settings) as (url, production):
        work = databases.inspect_test_database if call.dry_run else databases.create_test_database
        before = await work(url, production)
    done = "created" if not before.exists else "brought up to date" if before.revision != wanted_revision() else None
    return _report_test_database(call, before, done)


async def reset_database(call: Invocation, *, yes: bool) -> int:
    """Drop the test database and create it again, after confirmation."""
    _require_test_db(call)
    async with open_test_server(call.settings) as (url, production):
        before = await databases.inspect_test_database(url, production)
        rows = asdict(before.holdings)
        lines = [f"The test database {before.name} with", *_count_lines(rows)]
        if not call.dry_run:
            if before.role is not None:
                confirm(call, lines, yes=yes, context=rows)
            before = await databases.reset_test_database(url, production)
            rows = asdict(before.holdings)
    if call.dry_run and not call.output.as_json and before.role is not None:
        call.output.lines(["This would be destroyed:", *lines])
    return _report_test_database(call, before, "created" if not before.exists else "reset", {"destroyed": rows})


def _require_test_db(call: Invocation) -> None:
    if not call.test_db:
        raise InputError(
            "Only the test database can be created or reset.",
            code="test_db_only",
            hint="Give --test-db. For the production database there is `retrovue db upgrade`.",
        )


def _report_test_database(
    call: Invocation, before: DatabaseState, done: str | None, more: dict[str, Any] | None = None
) -> int:
    """Print what was done, or would be for a dry-run; ``done`` is None if there was nothing to do."""
    if done is None:
        result = "The test database exists and is up to date."
    elif call.dry_run:
        result = f"The test database would be {done}; nothing was written."
    else:
        result = f"The test database was {done}."
    document = {
        "dry_run": call.dry_run,
        "database": before.name,
        "role": databases.ROLE,
        "existed": before.exists,
        "before": before.revision,
        "after": before.revision if call.dry_run else wanted_revision(),
        "changed": done is not None and not call.dry_run,
        **(more or {}),
    }
    return call.answer(document, [f"Database: {before.name}", result])


async def back_up(call: Invocation, file: Path) -> int:
    """Write the database to a new file."""
    size = None
    async with open_embedded(call.settings, test_db=call.test_db) as (server, name):
        databases.check_new(file)
        held = await databases.holdings(server, name)
        if not call.dry_run:
            await server.ensure_database(name)
            size = await databases.back_up(server, name, file)
    head = "Dry run: nothing was written. Would back up" if size is None else f"Backed up ({size:,} bytes)"
    document = {
        "dry_run": call.dry_run,
        "database": name,
        "file": str(file),
        "size_bytes": size,
        "holds": asdict(held),
    }
    return call.answer(document, [f"{head} to {file}:", *_count_lines(asdict(held))])


async def restore(call: Invocation, file: Path, *, yes: bool) -> int:
    """Replace the database by a backup, after confirmation."""
    after = None
    async with open_embedded(call.settings, test_db=call.test_db) as (server, name):
        await databases.check_backup(server, file)
        before = await databases.holdings(server, name)
        if not call.dry_run:
            if before.sources:
                lines = ["The current content, which would be replaced:", *_count_lines(asdict(before))]
                confirm(call, lines, yes=yes, context=asdict(before))
            await databases.restore(server, name, "test" if call.test_db else "production", file)
            after = await databases.holdings(server, name)
    if after is None:
        lines = ["Dry run: nothing was written. This would be replaced:", *_count_lines(asdict(before))]
    else:
        lines = [f"Restored from {file}:", *_count_lines(asdict(after))]
    document = {
        "dry_run": call.dry_run,
        "database": name,
        "file": str(file),
        "destroyed": asdict(before),
        "holds": None if after is None else asdict(after),
    }
    return call.answer(document, lines)


def _count_lines(counts: dict[str, int]) -> list[str]:
    return [f"  {name + ':':<13} {count:,}" for name, count in counts.items()]
