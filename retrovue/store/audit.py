"""The audit trail: a start row and an outcome row for each collection of each run, never changed, only added.

Start and failure rows go through an engine of their own, so that they survive the rollback they describe and
never wait for it; a success row is written inside the transaction that it describes.
"""

import getpass
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import anyio
import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from retrovue.core.cancelling import is_cancelled
from retrovue.core.errors import StoreError, StoreUnavailable
from retrovue.core.model import Collection, Scope, Trigger
from retrovue.core.results import Failed, Ingested
from retrovue.core.text import plain, storable
from retrovue.core.verdicts import COUNTS
from retrovue.store.session import CLEANUP_SECONDS, Store, translated

AUDIT_SECONDS = 30.0
"""How long a failure row may take while nobody waits for us to end."""


@dataclass(frozen=True, slots=True)
class Run:
    """One ingest: of a source in bulk, or of a collection by hand."""

    id: UUID
    trigger: Trigger
    scope: Scope
    version: str

    @property
    def lock_holder(self) -> str:
        """The name under which pg_stat_activity shows who holds the run's locks."""
        return f"retrovue-ingest-{self.id}"


def started_by() -> str:
    """Name the user and machine that started the run."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no such user in the password database, as in some containers
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


# As text: for an array asyncpg would first look its type up, 16 ms on each connection.
ANY_OF_COLLECTIONS = "ANY(cast(string_to_array(:collections, ',') AS uuid[]))"


def id_list(collections: Iterable[Collection]) -> str:
    """Write the collections' ids as ``ANY_OF_COLLECTIONS`` takes them."""
    return ",".join(str(collection.id) for collection in collections)


_START = text(
    "INSERT INTO ingest_start (run_id, collection_id, trigger, scope, version, started_by)"
    " VALUES (:run, :collection, :trigger, cast(:scope AS jsonb), :version, :started_by)"
    " ON CONFLICT DO NOTHING"
)
_COLUMNS = ("run_id", "collection_id", "status", "code", "message", "hint", *COUNTS)
_OUTCOME = text(
    f"INSERT INTO ingest_outcome ({', '.join(_COLUMNS)}, details)"
    f" VALUES ({', '.join(f':{column}' for column in _COLUMNS)}, cast(:details AS jsonb)) ON CONFLICT DO NOTHING"
)
_PROBE = text(
    "INSERT INTO ingest_outcome (run_id, collection_id, status, code)"
    " VALUES (:run, :collection, 'unknown', 'commit_unknown') ON CONFLICT DO NOTHING"
)


def _start_row(run: Run, collection: Collection, who: str) -> dict[str, Any]:
    scope = {"title": run.scope.title, "season": run.scope.season, "episode": run.scope.episode}
    return {
        "run": run.id,
        "collection": collection.id,
        "trigger": run.trigger,
        "scope": orjson.dumps({key: value for key, value in scope.items() if value is not None}).decode(),
        "version": run.version,
        "started_by": who,
    }


def _failure_row(run: Run, failed: Failed) -> dict[str, Any]:
    details = {
        "context": storable(plain(failed.context)),
        "unreachable": failed.unreachable,
        "traceback": storable(failed.traceback),
        "durations": failed.durations,
    }
    status = "interrupted" if failed.interrupted else "unknown" if failed.code == "commit_unknown" else "failed"
    said = {"code": failed.code, "message": failed.message, "hint": failed.hint}
    return _outcome_row(run, failed, status, details) | {name: storable(text) for name, text in said.items()}


def _outcome_row(run: Run, outcome: Ingested | Failed, status: str, details: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **dict.fromkeys(_COLUMNS),
        **{count: getattr(outcome.counts, count) for count in COUNTS},
        "run_id": run.id,
        "collection_id": outcome.collection.id,
        "status": status,
        "details": _json(details),
    }


def _json(value: object) -> str:
    return orjson.dumps(value, default=lambda odd: storable(str(odd)), option=orjson.OPT_NON_STR_KEYS).decode()


async def start(store: Store, run: Run, collections: Sequence[Collection]) -> None:
    """Write the start rows; from now on a run that vanishes shows as interrupted."""
    who = started_by()
    with translated():
        async with store.audit.connect() as connection:
            # One statement, which needs no transaction around it.
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(_START, [_start_row(run, collection, who) for collection in collections])


async def fail(store: Store, run: Run, failures: Iterable[Failed]) -> None:
    """Write failure rows, with the start rows where the failure came before them; a success row is kept.

    Shielded from cancellation, for CLEANUP_SECONDS if the caller is cancelled already: these rows tell why.
    Raises StoreUnavailable if the database takes longer.
    """
    rows = list(failures)
    if not rows:
        return
    with _shield() as shield:
        try:
            await _insert_failures(store, run, rows)
        except StoreUnavailable:
            # Nobody knows whether a connection that was lost had written them; to write them again changes nothing.
            await _insert_failures(store, run, rows)
    if shield.cancelled_caught:
        raise StoreUnavailable("The database took too long to write the audit trail.")


async def _insert_failures(store: Store, run: Run, rows: Sequence[Failed]) -> None:
    who = started_by()
    with translated():
        async with store.audit.begin() as connection:
            await connection.execute(_START, [_start_row(run, failed.collection, who) for failed in rows])
            await connection.execute(_OUTCOME, [_failure_row(run, failed) for failed in rows])


async def succeed(session: AsyncSession, run: Run, ingested: Ingested) -> None:
    """Write the success row inside the transaction that it describes."""
    details = {"durations": ingested.durations, "warnings": ingested.listed.warnings}
    await session.execute(_OUTCOME, _outcome_row(run, ingested, "ingested", details))


async def reject_all(session: AsyncSession, run: Run, failed: Failed) -> None:
    """Write the failure row of a collection of which nothing could be used, beside its rejections."""
    await session.execute(_OUTCOME, _failure_row(run, failed))


async def reap(store: Store, run: Run, collections: Sequence[Collection]) -> None:
    """Close the runs that vanished: whoever holds a collection's lock knows that nobody else is at work on it."""
    if not collections:
        return
    with translated():
        async with store.audit.begin() as connection:
            await connection.execute(
                text(
                    "INSERT INTO ingest_outcome (run_id, collection_id, status, code, message)"
                    " SELECT run_id, collection_id, 'interrupted', 'interrupted',"
                    "  'The run ended without an outcome: it was killed, or lost its database.'"
                    " FROM ingest_start LEFT JOIN ingest_outcome USING (run_id, collection_id)"
                    " WHERE ingest_outcome.run_id IS NULL AND ingest_start.run_id <> :run"
                    f"  AND collection_id = {ANY_OF_COLLECTIONS}"
                    " ON CONFLICT DO NOTHING"
                ),
                {"run": run.id, "collections": id_list(collections)},
            )


def _shield() -> anyio.CancelScope:
    patience = CLEANUP_SECONDS if is_cancelled() else AUDIT_SECONDS
    return anyio.CancelScope(shield=True, deadline=anyio.current_time() + patience)


async def committed(store: Store, run: Run, collection: Collection) -> bool | None:
    """Find out whether the collection's transaction was committed; None if the database doesn't say.

    The transaction may still be ending when this is asked. A row with the key of its outcome makes PostgreSQL wait
    until it has ended; that row is then rolled back.
    """
    with suppress(StoreError), _shield(), translated():
        async with store.audit.connect() as connection:
            probe = await connection.execute(_PROBE, {"run": run.id, "collection": collection.id})
            await connection.rollback()
            return probe.rowcount == 0
    return None


_FAILED_LAST = f"""
    SELECT collection_id FROM (
        SELECT DISTINCT ON (ingest_start.collection_id)
            ingest_start.collection_id, coalesce(ingest_outcome.status, 'interrupted') AS status
        FROM ingest_start LEFT JOIN ingest_outcome USING (run_id, collection_id)
        WHERE ingest_start.collection_id = {ANY_OF_COLLECTIONS} AND ingest_start.scope = '{{}}'
            AND ingest_outcome.code IS DISTINCT FROM 'already_running'
        ORDER BY ingest_start.collection_id, ingest_start.started_at DESC
    ) AS last WHERE status <> 'ingested'
"""


async def failed_last_time(session: AsyncSession, collections: Sequence[Collection]) -> set[UUID]:
    """Tell which of the collections failed, were interrupted or are unknown at their latest full ingest."""
    result = await session.execute(text(_FAILED_LAST), {"collections": id_list(collections)})
    return set(result.scalars())
