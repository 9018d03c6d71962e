"""Every index is paid for on every row: each has a statement of the product that is planned with it."""

import datetime as dt
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import orjson
import pytest
from sqlalchemy import event

from retrovue.core.pages import Rejection
from retrovue.ingest.enrichment import enrich_one
from retrovue.operations.curation import wipe_collection
from retrovue.store.assets import get_asset
from retrovue.store.batches import open_batches
from retrovue.store.changes import list_changes, prune_changes
from retrovue.store.collections import find_collection, list_collections
from retrovue.store.listing import list_assets
from retrovue.store.log import list_log, list_rejections
from retrovue.store.requests import waiting_for
from retrovue.store.session import Store
from retrovue.store.sources import list_sources
from retrovue.store.temporary import ENRICHER_TABLES, SYNC_TABLES, TABLES, create
from tests.conftest import Packages
from tests.support.library import Library, draft, execute, other_program, outline, page
from tests.support.scripted_enrichers import Deeds, attached
from tests.support.statements import statements

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("scripted")]

RULES = {
    "catalogue_role_pkey": "there is one row, and this says so",
    "path_mapping_pkey": "no prefix is mapped twice",
    "ingest_rejection_pkey": "no rejection is kept twice",
    "collection_enricher_pkey": "nothing is attached twice",
    "enricher_pkey": "what others refer to",
    "enricher_external_id_key": "no two have one name",
    "enrichment_outcome_pkey": "an enrichment ends once",
    "source_external_id_key": "no two have one name",
    "schedule_pkey": "what others refer to",
    "schedule_name_key": "no two have one name",
    "run_progress_pkey": "a run writes a row for each collection",
    "schedule_run_pkey": "no due time is taken twice",
    "listener_pkey": "one host listens to a source",
    "schedule_run_unended": "a schedule has one run at a time",
    "run_request_pkey": "what others refer to",
    "requested_collection_pkey": "a request names a collection once",
    "enrichment_batch_pkey": "a batch is one part of a run",
    "job_host_pkey": "what others refer to",
    "job_refusal_pkey": "a host says once why it can't work a collection",
}
"""Unique indexes of small tables that are there for what they forbid."""


class Recorder:
    """The statements of a store, with what was bound to them."""

    def __init__(self) -> None:
        self.statements: dict[str, tuple[Any, ...]] = {}

    @contextmanager
    def listening(self, store: Store) -> Iterator[None]:
        def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
            first = parameters[0] if many else parameters
            self.statements.setdefault(statement, tuple(first or ()))

        def note_of_session(statement: str, values: Sequence[Any]) -> None:
            self.statements.setdefault(statement, tuple(values))

        event.listen(store.audit.sync_engine, "before_cursor_execute", note)
        try:
            with statements(note_of_session):
                yield
        finally:
            event.remove(store.audit.sync_engine, "before_cursor_execute", note)


def indexes_of(plan: Any) -> Iterator[str]:
    """The indexes that a plan reads or asks for conflicts."""
    if isinstance(plan, dict):
        for key, value in plan.items():
            if key == "Index Name":
                yield value
            elif key == "Conflict Arbiter Indexes":
                yield from value
            else:
                yield from indexes_of(value)
    elif isinstance(plan, list):
        for one in plan:
            yield from indexes_of(one)


def filters_of(plan: Any) -> Iterator[str]:
    """What a plan compares of assets that it has found by something else."""
    if isinstance(plan, dict):
        if plan.get("Relation Name") == "asset" and "Filter" in plan:
            yield plan["Filter"]
        for value in plan.values():
            yield from filters_of(value)
    elif isinstance(plan, list):
        for one in plan:
            yield from filters_of(one)


def reads_of_assets(plan: Any) -> Iterator[tuple[str | None, str]]:
    """The indexes by which a plan reads assets, and how."""
    if isinstance(plan, dict):
        if plan.get("Relation Name") == "asset":
            yield plan.get("Index Name"), plan["Node Type"]
        for value in plan.values():
            yield from reads_of_assets(value)
    elif isinstance(plan, list):
        for one in plan:
            yield from reads_of_assets(one)


async def planned_with(connection: Any, statements: dict[str, tuple[Any, ...]]) -> set[str]:
    """Explain statements, as if the tables were large, and name the indexes of their plans."""
    found: set[str] = set()
    for statement, bound in statements.items():
        if statement.split(None, 1)[0].upper() not in {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}:
            continue
        explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *bound)
        found.update(indexes_of(orjson.loads(explained)))
    return found


@pytest.fixture
async def connection(library: Library) -> AsyncIterator[Any]:
    tables = {**TABLES, **SYNC_TABLES, **ENRICHER_TABLES}
    made = [create(name, columns) for name, columns in tables.items()]
    async with other_program(library.store) as connection:
        for statement in (*made, "SET enable_seqscan = off", "SET enable_bitmapscan = off"):
            await connection.execute(statement)
        yield connection


async def test_every_index_is_one_that_the_product_asks_for(
    library: Library, packages: Packages, connection: Any
) -> None:
    packages.install(
        "scripted_enrichers", "retrovue.enrichers", scripted="tests.support.scripted_enrichers:ScriptedEnricher"
    )
    recorder = Recorder()
    with recorder.listening(library.store):
        await attached(library.store, Deeds())
        first = page(draft("a"), draft("b", "1", "2"), draft("twin", "a.mkv"), Rejection("no_media", "none"))
        await library.ingest_one(first)
        await library.ingest_one(outline(draft("a"), draft("b", "3", "4"), draft("c")))
        await library.ingest(retry_failed=True)
        await library.ingest(dry_run=True)
        movies = await library.collection("Movies")
        async with enrich_one(library.store, str(movies.id)) as work:
            await work.run()
        async with library.store.transaction() as session:
            log = await list_log(session, limit=1)
            await list_rejections(session, log.entries[0].run_id)
            (uuid,) = (await library.rows("SELECT uuid FROM asset WHERE source_uri LIKE '%/a'"))[0]
            await get_asset(session, uuid)
            await list_assets(session, {"collection": str(movies.id)}, limit=1)
            await list_changes(session, asset=uuid)
            await prune_changes(session, dt.datetime.now(dt.UTC))
            await waiting_for(session, movies.id)
            await open_batches(session, movies.id)
        again = [page(draft("relinked", "a.mkv"), draft("b", "3", "4"))]
        await library.ingest_one(*again, mode="sync")
        await library.ingest_one(*again, mode="sync", dry_run=True)
        await wipe_collection(library.store, str(movies.id))
    # So many that it matters by which key an asset is looked up.
    await library.ingest_one(page(*(draft(f"film {number}") for number in range(500))))
    await execute(
        library.store,
        "INSERT INTO run_request (id, source_id, what, scope, options, skipped, requested_by)"
        " SELECT gen_random_uuid(), source_id, 'ingest', 'source', '{}', '[]', 'me'"
        f" FROM collection, generate_series(1, 500) WHERE id = '{movies.id}'",
        "INSERT INTO requested_collection (request_id, collection_id, outcome, ended_at)"
        f" SELECT id, '{movies.id}', '{{}}', now() FROM run_request",
        "INSERT INTO enrichment_batch (run_id, collection_id, number)"
        " SELECT run_request.id, collection.id, 1 FROM run_request, collection",
        "ANALYZE",
    )
    found = await planned_with(connection, recorder.statements)
    # What the foreign keys ask when a row goes, in PostgreSQL's own words.
    for table, column in (
        ("asset_alias", "asset_uuid"),
        ("asset_part", "asset_uuid"),
        ("asset_enrichment", "asset_uuid"),
        ("asset_identity", "asset_uuid"),
        ("run_request", "source_id"),
    ):
        plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) DELETE FROM {table} WHERE {column} = $1", uuid)
        found.update(indexes_of(orjson.loads(plan)))
    all_ = {name for (name,) in await library.rows("SELECT indexname FROM pg_indexes WHERE schemaname = 'public'")}
    all_ -= {"alembic_version_pkc"}
    assert all_ - found - set(RULES) == set()
    assert set(RULES) <= all_


async def test_assets_are_looked_up_by_their_hashes_in_a_collection_that_seems_empty(
    library: Library, connection: Any
) -> None:
    """By the statistics it is: they were made before its assets, which may be many."""
    recorder = Recorder()
    listing = [draft("a"), draft("b", "1", "2"), draft("twin", "a.mkv")]
    with recorder.listening(library.store):
        await library.ingest_one(page(*listing))
        await library.ingest_one(page(*listing, draft("c", "3", "4"), draft("other", "1", "2")))
        await library.ingest_one(page(*listing), mode="sync")
        await library.ingest_one(page(*listing, draft("new")), dry_run=True)
    # All assets are in one collection; the statements are explained for another.
    await library.ingest_one(page(*(draft(f"film {number}") for number in range(2000))))
    await execute(library.store, "ANALYZE asset")
    full, seemingly_empty = (await library.collection("Movies")).id, uuid4()
    looked_up = 0
    for statement, bound in recorder.statements.items():
        if "staged" in statement and "source_hash" in statement:
            values = [seemingly_empty if value == full else value for value in bound]
            explained = orjson.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *values))
            assert not [condition for condition in filters_of(explained) if "_hash = " in condition], statement
            looked_up += "asset_source_identity" in set(indexes_of(explained))
    assert looked_up > 3


async def test_assets_are_counted_without_their_rows(library: Library, connection: Any) -> None:
    """Those that are marked as deleted don't count."""
    await library.ingest_one(page(*(draft(f"film {number}") for number in range(500))))
    await execute(library.store, "UPDATE asset SET deleted_at = now() WHERE title = 'Film 7'")
    await connection.execute("VACUUM (ANALYZE) asset")
    recorder = Recorder()
    with recorder.listening(library.store):
        async with library.store.reading() as session:
            (movies,) = await list_collections(session)
            assert (
                (await find_collection(session, str(movies.id), statistics=True)).assets_count
                == movies.assets_count
                == 499
            )
            assert [source.assets_count for source in await list_sources(session)] == [499]
        outcome = await library.ingest_one(page(*(draft(f"film {number}") for number in range(498))))
    assert outcome.counts.absent == 2
    counts = 0
    for statement, bound in recorder.statements.items():
        if statement.lstrip().startswith("SELECT"):
            plan = orjson.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *bound))
            reads = dict(reads_of_assets(plan))
            if "asset_deleted" in reads:
                counts += 1
                assert reads.pop("asset_unavailable", "Index Scan") == "Index Scan"
                assert set(reads.values()) == {"Index Only Scan"}
    assert counts >= 4
