"""The audit trail: for each collection of a run a start row and an outcome row, which are never changed.

Start and failure rows are written by a separate engine, so that a rollback doesn't remove them. A success row is
written in the transaction that it describes.
"""

import getpass
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import anyio
import orjson
from msgspec import Struct

from retrovue.core.cancelling import is_cancelled
from retrovue.core.errors import StoreError, StoreUnavailable
from retrovue.core.guide import advice
from retrovue.core.model import Collection
from retrovue.core.results import Failed, Ingested, Skipped
from retrovue.core.runs import Mode, Scope, Trigger
from retrovue.core.text import json_default, plain, storable
from retrovue.core.verdicts import COUNTS
from retrovue.store.session import CLEANUP_SECONDS, Store, translated
from retrovue.store.statements import Session, text

AUDIT_SECONDS = 30.0
"""How long writing failure rows may take, in seconds, unless the run is being cancelled."""


class Run(Struct, frozen=True):
    """A run: the ingest of a source or of one collection."""

    id: UUID
    trigger: Trigger
    scope: Scope
    version: str
    mode: Mode = "ingest"
    atomic: bool = False
    """Whether one transaction merges all of its collections."""

    @property
    def lock_holder(self) -> str:
        """The application name of the connection that holds the run's locks, in ``pg_stat_activity``."""
        return f"retrovue-ingest-{self.id}"


def started_by() -> str:
    """Return ``user@host`` of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # The user isn't in the password database, as in some containers.
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


# As text: for an array asyncpg would first query its type, which takes 16 ms on each connection.
ANY_OF_COLLECTIONS = "ANY(cast(string_to_array(:collections, ',') AS uuid[]))"


def id_list(collections: Iterable[Collection]) -> str:
    """Return the collections' ids as the parameter of ``ANY_OF_COLLECTIONS``."""
    return ",".join(str(collection.id) for collection in collections)


_START = text(
    "INSERT INTO ingest_start (run_id, collection_id, trigger, scope, version, started_by, mode, atomic)"
    " VALUES (:run, :collection, :trigger, cast(:scope AS jsonb), :version, :started_by, :mode, :atomic)"
    " ON CONFLICT DO NOTHING"
)
_COLUMNS = ("run_id", "collection_id", "status", "code", "message", "hint", *COUNTS, "read")
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
        "mode": run.mode,
        "atomic": run.atomic,
    }


def _failure_row(run: Run, failed: Failed) -> dict[str, Any]:
    details = {
        "context": storable(plain(failed.context)),
        "unreachable": failed.unreachable,
        "traceback": storable(failed.traceback),
        "durations": failed.durations,
    }
    status = "interrupted" if failed.interrupted else "unknown" if failed.code == "commit_unknown" else "failed"
    texts = {name: storable(getattr(failed, name)) for name in ("code", "message", "hint")}
    return _outcome_row(run, failed, status, details) | texts


def _skipped_row(run: Run, skipped: Skipped) -> dict[str, Any]:
    return {
        **dict.fromkeys(_COLUMNS),
        **dict.fromkeys(COUNTS, 0),
        "run_id": run.id,
        "collection_id": skipped.collection.id,
        "status": "skipped",
        "code": storable(skipped.code),
        "message": storable(skipped.reason),
        "hint": advice(skipped.code),
        "details": "{}",
    }


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
    return orjson.dumps(
        value, default=lambda value: storable(json_default(value)), option=orjson.OPT_NON_STR_KEYS
    ).decode()


async def start(store: Store, run: Run, collections: Sequence[Collection]) -> None:
    """Write start rows. A start row without an outcome row means that the run was interrupted."""
    if not collections:
        return
    who = started_by()
    with translated():
        async with store.audit.connect() as connection:
            # A single statement needs no transaction.
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(_START.clause(), [_start_row(run, collection, who) for collection in collections])


async def skip(store: Store, run: Run, skipped: Iterable[Skipped], *, started: bool = False) -> None:
    """Write rows for enabled collections that were ingested before and aren't ingestible now, as after a lost mount.

    Other skipped collections have no row, because nothing of them is missing in the catalogue. ``started``: the
    collections have start rows, so that each gets an outcome.
    """
    rows = [outcome for outcome in skipped if started or _was_ingested(outcome.collection)]
    if not rows:
        return
    who = started_by()
    with translated():
        async with store.audit.begin() as connection:
            await connection.execute(_START.clause(), [_start_row(run, outcome.collection, who) for outcome in rows])
            await connection.execute(_OUTCOME.clause(), [_skipped_row(run, outcome) for outcome in rows])


def _was_ingested(collection: Collection) -> bool:
    return collection.sync_enabled and collection.last_ingest_at is not None


async def fail(store: Store, run: Run, failures: Iterable[Failed]) -> None:
    """Write failure rows, and start rows where they are missing. An existing success row isn't changed.

    A cancellation doesn't stop it: it takes at most CLEANUP_SECONDS if the caller is cancelled, else AUDIT_SECONDS.
    Raises StoreUnavailable if the database takes longer.
    """
    rows = list(failures)
    if not rows:
        return
    with _shield() as shield:
        try:
            await _insert_failures(store, run, rows)
        except StoreUnavailable:
            # The lost connection may have written them; writing them again changes nothing.
            await _insert_failures(store, run, rows)
    if shield.cancelled_caught:
        raise StoreUnavailable("The database took too long to write the audit trail.")


async def _insert_failures(store: Store, run: Run, rows: Sequence[Failed]) -> None:
    who = started_by()
    with translated():
        async with store.audit.begin() as connection:
            await connection.execute(_START.clause(), [_start_row(run, failed.collection, who) for failed in rows])
            await connection.execute(_OUTCOME.clause(), [_failure_row(run, failed) for failed in rows])


async def succeed(session: Session, run: Run, ingested: Ingested) -> None:
    """Write the success row, in the transaction that it describes."""
    details: dict[str, Any] = {"durations": ingested.durations, "warnings": ingested.listed.warnings}
    if ingested.held_back is not None:
        # Without the assets, whose names would make the rows of the audit trail large.
        details["held_back"] = {
            "guards": [{"code": guard.code, "reason": guard.reason} for guard in ingested.held_back.guards],
            "number": ingested.held_back.number,
            "token": ingested.held_back.token,
        }
    if ingested.reading is not None:
        details["reading"] = ingested.reading.document()
    row = _outcome_row(run, ingested, "ingested", details)
    await session.execute(_OUTCOME, row | {"read": ingested.read})


async def reject_all(session: Session, run: Run, failed: Failed) -> None:
    """Write the failure row of a collection whose drafts were all rejected, in the transaction of the rejections."""
    await session.execute(_OUTCOME, _failure_row(run, failed))


async def reap(store: Store, run: Run, collections: Sequence[Collection]) -> None:
    """Write ``interrupted`` for start rows of earlier runs without an outcome row.

    The caller holds the collections' locks, so no other run is at work on them.
    """
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
                ).clause(),
                {"run": run.id, "collections": id_list(collections)},
            )


def _shield() -> anyio.CancelScope:
    patience = CLEANUP_SECONDS if is_cancelled() else AUDIT_SECONDS
    return anyio.CancelScope(shield=True, deadline=anyio.current_time() + patience)


async def committed(store: Store, run: Run, collection: Collection) -> bool | None:
    """Return whether the collection's transaction was committed; None if the database doesn't answer.

    The transaction may still be open. Inserting a row with the key of its outcome row waits for its end; this insertion
    is rolled back.
    """
    with suppress(StoreError), _shield(), translated():
        async with store.audit.connect() as connection:
            probe = await connection.execute(_PROBE.clause(), {"run": run.id, "collection": collection.id})
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


async def failed_last_time(session: Session, collections: Sequence[Collection]) -> set[UUID]:
    """Return the ids of the collections whose latest full ingest failed, was interrupted or has an unknown outcome."""
    result = await session.execute(text(_FAILED_LAST), {"collections": id_list(collections)})
    return set(result.scalars())
