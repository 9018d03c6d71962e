"""The catalogue as the harnesses see it: put back to its beginning, and compared with what was said of it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import asyncpg

from retrovue.core.results import CollectionOutcome, Failed, Ingested, IngestSummary
from tests.support import observers
from tests.support.databases import EMPTY
from tests.support.library import AUDIT, CATALOGUE, KNOWN

TABLES = (*CATALOGUE, *KNOWN, *AUDIT)
State = tuple[str, ...]
"""All that the catalogue holds of one collection, without what differs between two ingests alike."""

_STATES = """
    SELECT collection.name, held.kind || ' ' || held.content FROM collection LEFT JOIN (
        SELECT asset.collection_uuid, 'asset' AS kind, coalesce(known.uuid::text, 'new') || ' '
            || (to_jsonb(asset) - '{uuid,created_at,updated_at,unavailable_since,unavailable_run}'::text[])::text
            AS content
        FROM asset LEFT JOIN beginning.asset AS known USING (uuid)
        UNION ALL
        SELECT asset.collection_uuid, 'part', asset.source_uri || (to_jsonb(asset_part) - 'asset_uuid')::text
        FROM asset_part JOIN asset ON asset.uuid = asset_uuid
        UNION ALL
        SELECT asset_alias.collection_uuid, 'alias', asset.source_uri
            || (to_jsonb(asset_alias) - '{asset_uuid,created_at}'::text[])::text
        FROM asset_alias JOIN asset ON asset.uuid = asset_uuid
        UNION ALL
        SELECT collection_uuid, 'former identity', source_uri || ' ' || rule FROM asset_identity
        UNION ALL
        SELECT collection_uuid, 'change', concat_ws(' ', what, title, fields) FROM asset_change
    ) AS held ON held.collection_uuid = collection.id ORDER BY 1, 2
"""
_TRAIL = """
    SELECT collection.name, run_id::text, coalesce(status, 'none') AS status, code, coalesce(created, 0) AS created,
        coalesce(rejected, 0) AS rejected,
        (SELECT count(*) FROM run_rejection AS r WHERE (r.run_id, r.collection_id) = (s.run_id, s.collection_id))
            AS kept
    FROM ingest_start AS s JOIN collection ON collection.id = collection_id
        LEFT JOIN ingest_outcome USING (run_id, collection_id)
    WHERE (run_id, collection_id) NOT IN (SELECT run_id, collection_id FROM beginning.ingest_start)
    ORDER BY started_at, collection.name
"""
_TORN = """
    SELECT source_uri FROM asset
    WHERE part_count > 1 AND part_count <> (SELECT count(*) FROM asset_part WHERE asset_uuid = uuid)
"""
_WIDTH = 0.005
"""Seconds for each row that a COMMIT makes valid."""
_BACKENDS = f"""
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
        AND application_name <> '{observers.NAME}'
"""
_AT_WORK = f"SELECT pid, application_name, state, query {_BACKENDS} AND state <> 'idle'"


@dataclass(frozen=True, slots=True)
class Told:
    """What an ingest said of one collection."""

    status: str
    """As in the audit trail: ``ingested``, ``failed``, ``interrupted`` or ``unknown``."""
    created: int = 0
    code: str | None = None
    """Of a failure."""
    note: str = ""
    """What it added to a failure; that the audit trail could not be written, for one."""


Report = Mapping[str, Told] | None
"""What an ingest said of each collection that it targeted; None if it was refused, or said nothing."""


def told(summary: IngestSummary) -> Report:
    """What a summary says."""
    return {
        outcome.collection.name: _report_of(outcome)
        for outcome in summary.outcomes
        if isinstance(outcome, Ingested | Failed)
    }


def _report_of(outcome: CollectionOutcome) -> Told:
    if isinstance(outcome, Ingested):
        return Told("ingested", outcome.counts.created)
    assert isinstance(outcome, Failed)
    status = "interrupted" if outcome.interrupted else "unknown" if outcome.code == "commit_unknown" else "failed"
    return Told(status, code=outcome.code, note=str(outcome.context.get("audit", "")))


class Catalogue:
    """A database with a beginning to which it can be put back, seen through a connection of its own."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._before: dict[str, State] = {}
        self._after: dict[str, State] = {}

    async def rows(self, statement: str, *bind: object) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self._connection.fetch(statement, *bind)]

    async def begin_here(self) -> None:
        """From now on this is the beginning."""
        copies = [f"CREATE TABLE beginning.{table} AS TABLE {table}" for table in TABLES]
        await self._connection.execute("; ".join(["CREATE SCHEMA beginning", *copies]))
        self._before = await self.states()

    async def end_here(self) -> None:
        """This is what an undisturbed ingest makes of the beginning."""
        self._after = await self.states()

    async def reset(self) -> None:
        """Put all rows back to the beginning, once nobody is at work any more."""
        await self.at_rest()
        copies = [f"INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE beginning.{table}" for table in TABLES]
        # Triggers, foreign keys' own among them, have nothing to do here.
        silent = ("SET session_replication_role = replica", "SET session_replication_role = origin")
        await self._connection.execute("; ".join([EMPTY, silent[0], *copies, silent[1]]))

    async def states(self) -> dict[str, State]:
        """What each collection holds."""
        found: dict[str, list[str]] = {}
        for name, line in await self.rows(_STATES):
            lines = found.setdefault(name, [])
            if line is not None:
                lines.append(line)
        return {name: tuple(lines) for name, lines in found.items()}

    async def widen_commits(self) -> None:
        """From now on the COMMIT of whoever writes takes a moment."""
        tables = ("asset", "asset_alias", "collection", "ingest_start", "ingest_outcome")
        await self._connection.execute(
            "CREATE FUNCTION widen() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN PERFORM pg_sleep({_WIDTH}); RETURN NULL; END $$"
        )
        for table in tables:
            await self._connection.execute(
                f"CREATE CONSTRAINT TRIGGER widen AFTER INSERT OR UPDATE ON {table} DEFERRABLE INITIALLY DEFERRED"
                " FOR EACH ROW EXECUTE FUNCTION widen()"
            )

    async def deadlocks(self) -> int:
        """How many deadlocks the server has broken up in this database."""
        await self._connection.execute("SELECT pg_stat_clear_snapshot()")
        return int(
            await self._connection.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        )

    async def backends(self) -> int:
        """How many connections there are, this one excepted."""
        return int(await self._connection.fetchval(f"SELECT count(*) {_BACKENDS}"))

    async def at_rest(self) -> list[str]:
        """Wait until no backend is at work, and say which ones stay."""
        busy: list[tuple[Any, ...]] = []
        with anyio.move_on_after(20):
            while busy := await self.rows(_AT_WORK):  # noqa: ASYNC110 - PostgreSQL has no event for this
                await anyio.sleep(0.002)
        return [f"a backend is left at work: {backend}" for backend in busy]

    async def until_backends(self, expected: int) -> list[str]:
        """Wait until as many connections are left as the client knows of."""
        with anyio.move_on_after(20):
            while await self.backends() > expected:  # noqa: ASYNC110 - PostgreSQL has no event for this
                await anyio.sleep(0.002)
            return []
        return [f"backends leaked: {await self.backends()} where {expected} are known"]

    # What is wrong

    async def inconsistent(self, *, atomic: bool = False) -> list[str]:
        """Say which collections hold rows of no one version of the source, or of an ingest that isn't on record.

        ``atomic``: also say which ones have changed, if only some of those that should have.
        """
        problems = [f"{uri} has lost a part" for (uri,) in await self.rows(_TORN)]
        states = await self.states()
        for name, state in states.items():
            if state not in {self._before[name], self._after[name]}:
                problems.append(f"{name} is neither as it was nor as it should become")
        recorded = {name for name, _, status, *_ in await self.rows(_TRAIL) if status == "ingested"}
        for name, state in states.items():
            changed = self._before[name] != self._after[name] and state == self._after[name]
            if changed and name not in recorded:
                problems.append(f"{name} was changed, and the audit trail knows of no success")
            if name in recorded and state != self._after[name]:
                problems.append(f"the audit trail says that {name} was ingested, which isn't so")
        should = {name for name in states if self._before[name] != self._after[name]}
        done = {name for name in should if self._changed(states, name)}
        if atomic and done not in (set(), should):
            problems.append(f"of {sorted(should)} only {sorted(done)} have changed")
        for name, _, status, code, _, rejected, kept in await self.rows(_TRAIL):
            if rejected != kept:
                problems.append(f"{name} rejected {rejected} by its outcome ({status} {code}), {kept} by its rows")
        return problems

    async def false_outcomes(self, report: Report) -> list[str]:
        """Say where what was said, what is on record and what the catalogue holds are not the same."""
        problems: list[str] = []
        states = await self.states()
        trail = {name: (status, created) for name, _, status, _, created, *_ in await self.rows(_TRAIL)}
        if report is None:
            problems += [
                f"nothing was said of {name}, and it changed" for name in states if self._changed(states, name)
            ]
            problems += [
                f"nothing was said of {name}, and the trail says {status}"
                for name, (status, _) in trail.items()
                if status != "none"
            ]
            return problems
        for name, said in report.items():
            status, created = trail.get(name, ("nothing", 0))
            if (said.status, said.created) != (status, created):
                problems.append(f"of {name} was said {said}, and the trail says {status}, {created} created")
            if said.note:
                problems.append(f"of {name} was said that its outcome is {said.note}")
            if said.status == "ingested" and states[name] != self._after[name]:
                problems.append(f"{name} was said to be ingested, and isn't")
            if said.status in {"failed", "interrupted"} and self._changed(states, name):
                problems.append(f"{name} was said to be {said.status}, and is ingested")
            if said.status == "unknown":
                problems.append(f"nobody knows what became of {name}, though the database could be asked")
        problems += [f"the trail knows of {name}, of which nothing was said" for name in trail if name not in report]
        return problems

    def _changed(self, states: Mapping[str, State], name: str) -> bool:
        return states[name] != self._before[name]

    async def not_converged(self, report: Report) -> list[str]:
        """Say what an ingest that nothing disturbed has left undone after one that something did."""
        if report is None:
            return ["it was refused"]
        problems = [f"{name}: {said}" for name, said in report.items() if said.status != "ingested"]
        states = await self.states()
        problems += [f"{name} isn't as it should become" for name in states if states[name] != self._after[name]]
        problems += [
            f"run {run} of {name} has no outcome"
            for name, run, status, *_ in await self.rows(_TRAIL)
            if status == "none"
        ]
        return problems


@asynccontextmanager
async def watched(url: str) -> AsyncIterator[Catalogue]:
    """Look at a database from outside."""
    connection: Any = await asyncpg.connect(
        url.replace("+asyncpg", ""), server_settings={"application_name": "the test"}
    )
    try:
        # Statements of a session are planned once; here every run of a test makes its own catalogue.
        yield Catalogue(connection)
    finally:
        await connection.close()
