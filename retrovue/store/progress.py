"""The progress of the runs at work, one row for each collection, and requests to stop a run."""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Literal
from uuid import UUID

import orjson
from msgspec import Struct

from retrovue.core.text import json_default
from retrovue.store.session import Store, translated
from retrovue.store.statements import Session, text

CHANNEL = "retrovue_progress"
"""The channel that announces that a run has begun, progressed or ended."""
KEPT_FOR = "1 day"
"""How long the rows of a run that was killed are kept."""

WorkPhase = Literal["waiting", "reading", "merging", "enriching", "ended"]


class CollectionProgress(Struct, frozen=True):
    """The progress of a run with one collection."""

    run_id: UUID
    collection_id: UUID
    phase: WorkPhase
    """``waiting`` for its turn, ``reading``, ``merging``, ``enriching``, or ``ended``."""
    source_items: int = 0
    """Distinct source items so far."""
    source_total: int | None = None
    """The total number of items according to the source; None if it doesn't tell."""
    discovered: int = 0
    """Versions so far, including rejected ones."""
    rejected: int = 0
    enriched: int = 0
    """The number of enrichments that succeeded. An enrichment is one enricher for one asset."""
    enrichments_failed: int = 0
    enrichments_owed: int | None = None
    """How many enrichments were owed when the enrichment began; None before that, and if they couldn't be counted in
    time.
    """
    seconds: float = 0.0
    """Seconds of wall time in this phase; for ``merging`` since reading began."""
    updated_at: dt.datetime | None = None
    """When the run wrote the row."""
    stop_asked_by: str | None = None
    """``user@host`` of the person who asked the run to stop."""

    @property
    def rate(self) -> float:
        """Versions per second since reading began."""
        return self.discovered / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimate the seconds until the phase ends, at the rate so far; None if the total isn't known."""
        done, total = self.source_items, self.source_total
        if self.phase == "enriching":
            done, total = self.enriched + self.enrichments_failed, self.enrichments_owed
        if self.phase not in {"reading", "enriching"} or total is None or not done or done > total:
            return None
        return (total - done) * self.seconds / done


_FIELDS = (
    "run_id", "collection_id", "phase", "source_items", "source_total", "discovered", "rejected", "enriched",
    "enrichments_failed", "enrichments_owed", "seconds",
)  # fmt: skip
_TOLD = (*_FIELDS, "updated_at", "stop_asked_by")

_WRITE = text(
    f"""
    WITH written AS (
        INSERT INTO run_progress ({", ".join(_FIELDS)})
        SELECT {", ".join(_FIELDS)}
        FROM json_populate_recordset(cast(NULL AS run_progress), cast(:rows AS json))
        WHERE collection_id IN (SELECT id FROM collection)
        ON CONFLICT (run_id, collection_id) DO UPDATE
        SET {", ".join(f"{name} = excluded.{name}" for name in _FIELDS[2:])}, updated_at = clock_timestamp()
        RETURNING 1
    ), told AS (SELECT pg_notify('{CHANNEL}', cast(:run AS text)) WHERE EXISTS (SELECT FROM written))
    SELECT max(stop_asked_by), (SELECT count(*) FROM told) FROM run_progress WHERE run_id = cast(:run AS uuid)
    """
)
_FORGET = text(
    f"""
    WITH forgotten AS (
        DELETE FROM run_progress
        WHERE run_id = cast(:run AS uuid) AND collection_id = ANY(cast(string_to_array(:collections, ',') AS uuid[]))
            OR updated_at < clock_timestamp() - interval '{KEPT_FOR}' RETURNING 1
    )
    SELECT pg_notify('{CHANNEL}', cast(:run AS text)), (SELECT count(*) FROM forgotten)
    """
)


async def write_progress(store: Store, run_id: UUID, rows: Sequence[CollectionProgress]) -> str | None:
    """Write the progress of a run, in one statement. Returns who asked the run to stop, None if nobody did."""
    fields = [{name: getattr(row, name) for name in _FIELDS} for row in rows]
    written = orjson.dumps(fields, default=json_default).decode()
    with translated():
        async with store.audit.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            result = await connection.execute(_WRITE.clause(), {"rows": written, "run": str(run_id)})
            asked_by: str | None = result.one()[0]
            return asked_by


async def forget_progress(store: Store, run_id: UUID, collections: Iterable[UUID]) -> None:
    """Delete the rows of a run that has ended, and old rows of runs that were killed; notify followers.

    Other hosts may be working on other collections of the same run.
    """
    with translated():
        async with store.audit.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(
                _FORGET.clause(), {"run": str(run_id), "collections": ",".join(map(str, collections))}
            )


async def list_progress(session: Session, run_id: UUID | None = None) -> list[CollectionProgress]:
    """Return the progress of the runs at work, or of one of them."""
    where = "" if run_id is None else "WHERE run_id = :run"
    result = await session.execute(
        text(f"SELECT {', '.join(_TOLD)} FROM run_progress {where} ORDER BY run_id, collection_id"),
        {} if run_id is None else {"run": run_id},
    )
    return [CollectionProgress(*row) for row in result]


async def ask_to_stop(session: Session, run_id: UUID, who: str) -> bool:
    """Ask a run to stop. Returns False if it has no rows, because it hasn't begun or has ended."""
    result = await session.execute(
        text(
            "UPDATE run_progress SET stop_asked_by = coalesce(stop_asked_by, :who) WHERE run_id = :run RETURNING run_id"
        ),
        {"run": run_id, "who": who},
    )
    return bool(result.all())
