"""A source whose importer does what the test says, and a look into the catalogue from outside."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar, cast

import anyio
import asyncpg
import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from retrovue.core.answers import DiscoveredCollection, Ingestibility, SourceIdentity
from retrovue.core.model import Collection, ConfigField, PathMapping, Source
from retrovue.core.pages import AssetDraft, Outline, Page, PartDraft, Rejection
from retrovue.core.results import CollectionOutcome, Failed, Ingested, IngestSummary
from retrovue.core.runs import Scope
from retrovue.importers.base import BaseImporter
from retrovue.ingest.collector import IngestRun
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.orchestrator import ingest_source
from retrovue.store.collections import (
    list_collections,
    record_discovery,
    set_check_files,
    set_enabled,
    set_path_mappings,
)
from retrovue.store.session import Store
from retrovue.store.sources import insert_source, new_source
from tests.support.databases import EMPTY, FORGET

T = TypeVar("T")
Act = Callable[[], Awaitable[object]]
Step = object
"""What the scripted importer does next: gives a Page (or whatever it is), raises, waits for an Event, or acts."""

DATA = "/data"
"""Where the source keeps its files."""


@dataclass
class Script:
    """What a scripted importer answers; each run hears it from the beginning."""

    listings: dict[str, Sequence[Step]] = field(default_factory=dict[str, Sequence[Step]])
    """By collection, what an enumeration does."""
    ingestible: dict[str, list[Ingestibility | BaseException]] = field(
        default_factory=dict[str, list[Ingestibility | BaseException]]
    )
    """By collection, answers in turn, of which the last one stays; without any it is ingestible."""
    reachable: list[Any] = field(default_factory=lambda: [SourceIdentity("machine", "Scripted")])
    """Answers, exceptions or acts in turn, of which the last one stays."""
    opening: BaseException | None = None
    closing: BaseException | None = None
    asked: list[str] = field(default_factory=list[str])
    """Everything the importer was asked, in order."""
    running: int = 0
    peak: int = 0
    """The most enumerations at once."""

    def pages(self, name: str) -> list[Page]:
        return [cast("Page", step) for step in self.listings[name]]


SCRIPTS: dict[str, Script] = {}
"""By the name in a source's configuration: importers are made by the registry, not by the test."""


def _next(answers: list[T]) -> T:
    return answers.pop(0) if len(answers) > 1 else answers[0]


class ScriptedImporter(BaseImporter):
    """A third party's importer, which the test installs by an entry point."""

    type_name: ClassVar[str] = "scripted"
    shares_loop: ClassVar[bool] = True
    """Scripts wait for the events of the test, which belong to the test's loop."""

    @property
    def script(self) -> Script:
        return SCRIPTS[self.config["script"]]

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        return [ConfigField("script", "the script's name")]

    async def __aenter__(self) -> Self:
        self.script.asked.append("open")
        if self.script.opening is not None:
            raise self.script.opening
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.script.asked.append("close")
        if self.script.closing is not None:
            raise self.script.closing

    async def check_reachable(self) -> SourceIdentity:
        self.script.asked.append("reachable")
        answer = _next(self.script.reachable)
        if callable(answer):
            await answer()
        if isinstance(answer, BaseException):
            raise answer
        return cast("SourceIdentity", answer)

    async def discover_collections(self) -> Sequence[DiscoveredCollection]:
        return [DiscoveredCollection(name, name, "movie", (DATA,)) for name in self.script.listings]

    async def check_ingestible(self, collection: Collection) -> Ingestibility:
        self.script.asked.append(f"ingestible {collection.name}")
        answers = self.script.ingestible.get(collection.name)
        answer = _next(answers) if answers else Ingestibility(ingestible=True)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def pages(self, collection: Collection, scope: Scope) -> AsyncIterator[Page]:  # noqa: ARG002
        script = self.script
        script.asked.append(f"pages {collection.name}")
        script.running += 1
        script.peak = max(script.peak, script.running)
        try:
            for step in script.listings[collection.name]:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, anyio.Event):
                    await step.wait()
                elif callable(step):
                    await cast("Act", step)()
                else:
                    yield cast("Page", step)
        finally:
            script.running -= 1


class RatedImporter(ScriptedImporter):
    """One that can be asked at a given rate, and notes it."""

    type_name: ClassVar[str] = "rated"
    rate_setting: ClassVar[str | None] = "rate"

    @classmethod
    def describe_configuration(cls) -> Sequence[ConfigField]:
        return [*super().describe_configuration(), ConfigField("rate", "requests in a second", required=False)]

    async def __aenter__(self) -> Self:
        self.script.asked.append(f"rate {self.config['rate']}")
        return await super().__aenter__()


def uri(item: str) -> str:
    return f"scripted://machine/{item}"


def draft(item: str, *files: str, **fields: Any) -> AssetDraft:
    """One version of a source item; without files it has one of its own name."""
    parts = tuple(PartDraft(path if path[:1] == "/" else f"{DATA}/{path}") for path in files or (f"{item}.mkv",))
    values: dict[str, Any] = {"type": "movie", "title": item.title(), "parts": parts, **fields}
    return AssetDraft(source_uri=uri(item), **values)


def at(*files: str) -> str:
    """The identity of an asset with these files, where the library's mapping puts them."""
    paths = [f"/mnt/{file}" for file in files]
    return paths[0] if len(paths) == 1 else "[" + ",".join(f'"{path}"' for path in paths) + "]"


def outline(*items: AssetDraft | Rejection) -> Outline:
    """The page in outline, as importers give it where they expect that it is known."""
    whole = page(*items)
    whole.stamp = blake2b(msgspec.msgpack.encode(whole.drafts), digest_size=16).digest()

    async def read() -> Page:
        return whole

    return Outline(
        source_uris=[item.source_uri for item in whole.drafts],
        source_paths=[tuple(part.source_path for part in item.parts) for item in whole.drafts],
        rejected=whole.rejected,
        source_items=whole.source_items,
        read=read,
        stamp=whole.stamp,
    )


def page(*items: AssetDraft | Rejection, restart: bool = False) -> Page:
    drafts = [item for item in items if isinstance(item, AssetDraft)]
    rejected = [item for item in items if isinstance(item, Rejection)]
    return Page(drafts, rejected, source_items=len(items), restart=restart)


@dataclass
class Library:
    """A scripted source in the catalogue, with its collections enabled and mapped."""

    store: Store
    source: Source
    script: Script

    @classmethod
    async def make(cls, store: Store, *names: str, local: str = "/mnt") -> "Library":
        script = Script(listings={name: [] for name in names})
        key = uuid.uuid4().hex
        SCRIPTS[key] = script
        source = new_source("scripted", "A source", {"script": key}, {})
        found = [DiscoveredCollection(name, name, "movie", (DATA,)) for name in names]
        async with store.transaction() as session:
            await insert_source(session, source)
            await record_discovery(session, source, found)
            for collection in await list_collections(session, source):
                await set_enabled(session, collection, enabled=True)
                await set_path_mappings(session, collection, [PathMapping(DATA, local)])
                await set_check_files(session, collection, check_files=False)
        return cls(store, source, script)

    async def collections(self) -> dict[str, Collection]:
        async with self.store.transaction() as session:
            return {known.name: known for known in await list_collections(session, self.source)}

    async def collection(self, name: str) -> Collection:
        return (await self.collections())[name]

    async def map(self, name: str, *mappings: tuple[str, str]) -> None:
        collection = await self.collection(name)
        async with self.store.transaction() as session:
            await set_path_mappings(session, collection, [PathMapping(*mapping) for mapping in mappings])

    async def enable(self, name: str, *, enabled: bool) -> None:
        collection = await self.collection(name)
        async with self.store.transaction() as session:
            await set_enabled(session, collection, enabled=enabled)

    async def ingest(self, listing: Mapping[str, Sequence[Step]] | None = None, **options: Any) -> IngestSummary:
        """Ingest the source, with these listings from now on."""
        self.script.listings.update(listing or {})
        async with self.run(**options) as run:
            pass
        return run.summary

    def run(self, **options: Any) -> AbstractAsyncContextManager[IngestRun]:
        return ingest_source(self.store, str(self.source.id), IngestOptions(**options))

    async def ingest_one(self, *pages: Step, name: str = "Movies", **options: Any) -> Ingested:
        """Ingest a library of one collection, which has to succeed."""
        (outcome,) = (await self.ingest({name: pages}, **options)).outcomes
        assert isinstance(outcome, Ingested), outcome
        return outcome

    async def rows(self, statement: str, **bind: object) -> list[tuple[Any, ...]]:
        return await rows(self.store, statement, **bind)

    async def enable_only(self, *names: str) -> None:
        """Enable these collections, and no others; write nothing where that is so."""
        statement = (
            "UPDATE collection SET sync_enabled = NOT sync_enabled WHERE sync_enabled <> (name = ANY(:names))"
            " RETURNING id"
        )
        await self.rows(statement, names=list(names))

    async def ingest_each(self, listings: Mapping[str, Sequence[Step]], **options: Any) -> dict[str, Ingested]:
        """Ingest some of the collections in one run, each of which has to succeed."""
        await self.enable_only(*listings)
        outcomes = by_name(await self.ingest(listings, **options))
        found = {name: outcomes[name] for name in listings}
        failed = {name: outcome for name, outcome in found.items() if not isinstance(outcome, Ingested)}
        assert failed == {}
        return cast("dict[str, Ingested]", found)

    async def assets(self, of: str | None = None) -> dict[str, str]:
        """The items that have an asset of their own, and its identity; of one collection or of all."""
        found = await self.rows(
            "SELECT source_uri, canonical_key FROM asset JOIN collection ON id = collection_uuid"
            " WHERE coalesce(name = :of, true)",
            of=of,
        )
        return {item.rpartition("/")[2]: key for item, key in found}

    async def aliases(self, of: str | None = None) -> dict[str, str]:
        """The items that are an alias, and the item whose asset they stand for; of one collection or of all."""
        found = await self.rows(
            "SELECT asset_alias.source_uri, asset.source_uri FROM asset_alias JOIN asset ON asset.uuid = asset_uuid"
            " JOIN collection ON id = asset.collection_uuid WHERE coalesce(name = :of, true)",
            of=of,
        )
        return {item.rpartition("/")[2]: of.rpartition("/")[2] for item, of in found}

    async def audit(self) -> list[tuple[str, str | None, str | None]]:
        """The audit trail, oldest first: collection, status (None while it has none) and code."""
        found = await self.rows(
            "SELECT collection.name, status, code FROM ingest_start"
            " JOIN collection ON collection.id = collection_id LEFT JOIN ingest_outcome USING (run_id, collection_id)"
            " ORDER BY started_at, collection.name"
        )
        return [(name, status, code) for name, status, code in found]

    async def contents(self) -> list[str]:
        return await contents(self.store)


CATALOGUE = (
    "source", "collection", "path_mapping", "asset", "asset_part", "asset_alias", "enricher", "collection_enricher",
    "asset_enrichment", "asset_identity", "asset_change", "asset_change_pruned",
)  # fmt: skip
KNOWN = ("known_listing", "known_page", "known_exception")
AUDIT = ("ingest_start", "ingest_outcome", "ingest_rejection", "enrichment_outcome")


async def rows(store: Store, statement: str, **bind: object) -> list[tuple[Any, ...]]:
    async with store.data.begin() as connection:
        return [tuple(row) for row in await connection.execute(text(statement), bind)]


@asynccontextmanager
async def other_program(store: Store) -> AsyncIterator[asyncpg.Connection]:
    """Connect to a store's database as another program does, by asyncpg alone."""
    connection = await asyncpg.connect(store.url.set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        yield connection
    finally:
        await connection.close()


async def execute(store: Store, *statements: str) -> None:
    async with store.data.begin() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


async def empty(store: Store) -> None:
    for statement in (EMPTY, *FORGET):
        await execute(store, statement)


async def contents(store: Store, *tables: str) -> list[str]:
    """All rows to the byte, with the transaction that wrote each and its place in the table."""
    found: list[str] = []
    for table in tables or CATALOGUE:
        lines = await rows(store, f"SELECT xmin::text, ctid::text, t::text FROM {table} t ORDER BY ctid")
        found += [f"{table} {line}" for line in lines]
    return found


async def until(store: Store, condition: str, **bind: object) -> None:
    """Wait until a query says true: PostgreSQL has no event for what its other backends do."""
    with anyio.fail_after(20):
        while not (await rows(store, f"SELECT {condition}", **bind))[0][0]:  # noqa: ASYNC110
            await anyio.sleep(0.005)


WAITING_FOR_LOCK = (
    "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    " AND application_name = 'retrovue')"
)
AT_WORK = (
    "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND application_name LIKE 'retrovue%' AND state <> 'idle')"
)


@asynccontextmanager
async def left_clean(store: Store) -> AsyncIterator[None]:
    """Afterwards no connection is held, no backend is at work, and no run is without an outcome.

    For stores that are closed, and servers that are stopped, before the plugin looks that does so after every test.
    """
    yield
    assert store.data.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert store.audit.pool.checkedout() == 0  # type: ignore[attr-defined]
    await until(store, f"NOT {AT_WORK}")
    unended = "ingest_start LEFT JOIN ingest_outcome o USING (run_id, collection_id) WHERE o.run_id IS NULL"
    assert await rows(store, f"SELECT run_id FROM {unended}") == []
    torn = "asset WHERE part_count > 1 AND part_count <> (SELECT count(*) FROM asset_part WHERE asset_uuid = uuid)"
    assert await rows(store, f"SELECT source_uri FROM {torn}") == []


def by_name(summary: IngestSummary) -> dict[str, CollectionOutcome]:
    return {outcome.collection.name: outcome for outcome in summary.outcomes}


def codes(summary: IngestSummary) -> dict[str, str]:
    """What became of each collection, in a word."""
    return {
        outcome.collection.name: "ingested" if isinstance(outcome, Ingested) else outcome.code
        for outcome in summary.outcomes
    }


def failure(summary: IngestSummary, name: str) -> Failed:
    outcome = by_name(summary)[name]
    assert isinstance(outcome, Failed), outcome
    return outcome


GATE = 4711
"""The advisory lock at which the triggers below wait."""


class Gate:
    """Holds up whoever comes to it inside PostgreSQL, until it is opened."""

    def __init__(self, store: Store, connection: AsyncConnection) -> None:
        self._store = store
        self._connection = connection

    async def reached(self, backends: int = 1) -> None:
        await until(
            self._store,
            "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = :key"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) = :backends",
            key=GATE,
            backends=backends,
        )

    async def open(self) -> None:
        await self._connection.rollback()

    async def terminate(self) -> None:
        """End the backends that wait at the gate."""
        await rows(
            self._store,
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND objid = :key AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            key=GATE,
        )


@asynccontextmanager
async def gate(store: Store, table: str, *, when: str = "true", deferred: bool = False) -> AsyncIterator[Gate]:
    """Put a gate before each row of a table, or for ``deferred`` into the COMMIT of whoever inserts one."""
    kind = "CONSTRAINT TRIGGER gate AFTER" if deferred else "TRIGGER gate BEFORE"
    await execute(
        store,
        "CREATE OR REPLACE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NEW; END $$",
        f"CREATE {kind} INSERT ON {table} {'DEFERRABLE INITIALLY DEFERRED' if deferred else ''}"
        f" FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION wait_at_gate()",
    )
    async with store.unpooled("test gate") as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": GATE})
        yield Gate(store, connection)


async def raise_on(store: Store, table: str, condition: str) -> None:
    """From now on PostgreSQL refuses such rows."""
    await execute(
        store,
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'refused by the test' USING ERRCODE = 'P0001'; END $$",
        f"CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse()",
    )


async def cancelled_at(library: Library, moment: Callable[[], Awaitable[object]], **options: Any) -> IngestSummary:
    """Ingest, and cancel it when the moment has come."""
    scope = anyio.CancelScope()

    async def cancel() -> None:
        await moment()
        scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(cancel)
        with scope:
            async with library.run(**options) as run:
                pass
    return run.summary


async def agree(library: Library, summary: IngestSummary) -> None:
    """What the summary says of each collection is what the catalogue holds, and what the audit trail says."""
    trail = {
        name: (status, created)
        for name, status, created in await library.rows(
            "SELECT name, status, created FROM ingest_outcome JOIN collection ON id = collection_id"
            " WHERE run_id = :run",
            run=summary.run_id,
        )
    }
    held = dict(
        await library.rows(
            "SELECT c.name, count(a) FROM collection c LEFT JOIN asset a ON collection_uuid = id GROUP BY 1"
        )
    )
    for name, outcome in by_name(summary).items():
        if isinstance(outcome, Ingested):
            assert trail[name] == ("ingested", outcome.counts.created)
            assert held[name] >= outcome.counts.created
        elif isinstance(outcome, Failed):
            assert trail[name] == ("interrupted" if outcome.interrupted else "failed", 0)
            assert held[name] == 0
