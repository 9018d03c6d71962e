"""Creating the test database, and starting it over."""

from dataclasses import asdict
from typing import Any

from retrovue.cli.actions.asking import confirm
from retrovue.cli.errors import InputError
from retrovue.cli.session import Call
from retrovue.store import databases
from retrovue.store.databases import DatabaseState
from retrovue.store.migrations import wanted_revision
from retrovue.store.opening import open_test_server


async def create_database(call: Call) -> int:
    """Create the test database, with its schema."""
    _require_test_db(call)
    async with open_test_server(call.settings) as url:
        before = await (databases.inspect_test_database(url) if call.dry_run else databases.create_test_database(url))
    done = "created" if not before.exists else "brought up to date" if before.revision != wanted_revision() else None
    return _tell(call, before, done)


async def reset_database(call: Call, *, yes: bool) -> int:
    """Destroy the test database and create it anew, once that is confirmed."""
    _require_test_db(call)
    async with open_test_server(call.settings) as url:
        before = await databases.inspect_test_database(url)
        if not call.dry_run:
            if before.role is not None:
                confirm(call, _doomed_lines(before), yes=yes, context=_destroyed(before))
            before = await databases.reset_test_database(url)
    if call.dry_run and not call.output.as_json and before.role is not None:
        call.output.lines(["It would be destroyed:", *_doomed_lines(before)])
    return _tell(call, before, "created" if not before.exists else "reset", _destroyed(before))


def _require_test_db(call: Call) -> None:
    if not call.test_db:
        raise InputError(
            "Only the test database can be created or reset.",
            code="test_db_only",
            hint="Give --test-db. For the production database there is `retrovue db upgrade`.",
        )


def _tell(call: Call, before: DatabaseState, done: str | None, destroyed: dict[str, int] | None = None) -> int:
    if call.output.as_json:
        document: dict[str, Any] = {
            "status": "ok",
            "dry_run": call.dry_run,
            "database": before.name,
            "role": databases.ROLE,
            "existed": before.exists,
            "before": before.revision,
            "after": before.revision if call.dry_run else wanted_revision(),
            "changed": done is not None and not call.dry_run,
        }
        call.output.document(document if destroyed is None else {**document, "destroyed": destroyed})
        return 0
    if done is None:
        said = "The test database is there and up to date."
    elif call.dry_run:
        said = f"The test database would be {done}; nothing was written."
    else:
        said = f"The test database was {done}."
    call.output.lines([f"Database: {before.name}", said])
    return 0


def _destroyed(before: DatabaseState) -> dict[str, int]:
    return asdict(before.holdings)


def _doomed_lines(before: DatabaseState) -> list[str]:
    return [
        f"The test database {before.name} with",
        f"  sources:      {before.holdings.sources}",
        f"  collections:  {before.holdings.collections}",
        f"  assets:       {before.holdings.assets}",
    ]
