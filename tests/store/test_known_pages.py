"""Pages that the catalogue holds whole are recognised by their fingerprint, and only while that is true."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio
import pytest
from sqlalchemy import text

from retrovue.core.pages import Outline
from retrovue.core.runs import Scope
from retrovue.ingest.orchestrator import ingest_one
from retrovue.store.session import Store
from tests.support.library import KNOWN, Library, contents, draft, execute, gate, outline, until
from tests.support.statements import statements

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("scripted")]

FIRST = (draft("a"), draft("b", "1", "2"))
SECOND = (draft("c"),)


def listing() -> list[Outline]:
    return [outline(*FIRST), outline(*SECOND)]


@pytest.fixture
async def library(shared_store: Store) -> AsyncIterator[Library]:
    library = await Library.make(shared_store, "Movies", "Shows")
    await library.ingest({"Movies": listing(), "Shows": [outline(draft("z"))]})
    yield library
    await execute(shared_store, "DROP TRIGGER IF EXISTS gate ON ingest_outcome")


async def known(library: Library) -> dict[str, int]:
    """How many known pages each collection has."""
    rows = await library.rows(
        "SELECT name, count(fingerprint) FROM collection JOIN known_listing ON collection_uuid = id"
        " LEFT JOIN known_page USING (collection_uuid) GROUP BY name"
    )
    return {name: count for name, count in rows if count}


@contextmanager
def look_ups() -> Iterator[list[str]]:
    """Collect the queries that look the items of a page up."""
    seen: list[str] = []

    def note(statement: str, _values: object) -> None:
        if "item.canonical_hash" in statement:
            seen.append(statement)

    with statements(note):
        yield seen


async def looked_up(library: Library, *pages: Outline) -> tuple[int, int, int]:
    """Ingest once more: look-ups, created and skipped."""
    with look_ups() as seen:
        counts = (await library.ingest({"Movies": pages or listing()})).outcomes[0].counts  # type: ignore[union-attr]
    return len(seen), counts.created, counts.skipped


async def test_a_page_that_was_ingested_whole_is_not_looked_up_again(library: Library) -> None:
    assert await known(library) == {"Movies": 2, "Shows": 1}
    before = await contents(library.store, *KNOWN)
    assert await looked_up(library) == (0, 0, 3)
    assert await contents(library.store, *KNOWN) == before


async def test_a_page_with_something_new_is_looked_up_and_known_afterwards(library: Library) -> None:
    grown = [outline(*FIRST), outline(*SECOND, draft("d"))]
    assert (await looked_up(library, *grown))[1:] == (1, 3)
    assert await known(library) == {"Movies": 2, "Shows": 1}
    assert await looked_up(library, *grown) == (0, 0, 4)


async def test_a_page_with_a_duplicate_is_looked_up_every_time(library: Library) -> None:
    doubled = [outline(*FIRST), outline(*SECOND, draft("twin", "c.mkv"))]
    await looked_up(library, *doubled)
    assert await known(library) == {"Movies": 1, "Shows": 1}
    with look_ups() as seen:
        outcome = await library.ingest({"Movies": doubled})
    assert seen
    assert outcome.outcomes[0].counts.duplicates == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "created"),
    [
        ("DELETE FROM asset WHERE source_uri LIKE '%/a'", 1),
        ("UPDATE asset SET deleted_at = now() WHERE source_uri LIKE '%/a'", 0),
        ("UPDATE asset SET source_hash = repeat('x', 16)::bytea WHERE source_uri LIKE '%/c'", 0),
    ],
)
async def test_a_change_by_hand_makes_the_database_forget_the_collection_s_pages(
    library: Library, change: str, created: int
) -> None:
    await execute(library.store, change)
    assert await known(library) == {"Shows": 1}
    assert (await looked_up(library))[1] == created
    assert await known(library) == {"Shows": 1}
    await looked_up(library)
    assert (await known(library))["Movies"] >= 1


async def test_emptying_the_table_forgets_all_pages(library: Library) -> None:
    await execute(library.store, "TRUNCATE asset CASCADE")
    assert await known(library) == {}
    assert (await looked_up(library))[1:] == (3, 0)


async def test_a_change_that_is_none_of_identity_forgets_nothing(library: Library) -> None:
    await execute(library.store, "UPDATE asset SET title = 'X', state = 'retired' WHERE source_uri LIKE '%/a'")
    assert await looked_up(library) == (0, 0, 3)


async def test_another_mapping_makes_other_pages(library: Library) -> None:
    await library.map("Movies", ("/data", "/elsewhere"))
    with look_ups() as seen:
        outcome = (await library.ingest({"Movies": listing()})).outcomes[0]
    assert (len(seen) > 0, outcome.counts.relocated) == (True, 3)  # type: ignore[union-attr]
    assert await looked_up(library) == (0, 0, 3)


async def test_a_move_that_is_ingested_by_hand_forgets_the_pages(library: Library) -> None:
    library.script.listings["Movies"] = [outline(draft("a", "moved.mkv"))]
    reference = str((await library.collection("Movies")).id)
    async with ingest_one(library.store, reference, Scope(title="A")) as run:
        pass
    assert run.summary.outcomes[0].counts.relocated == 1  # type: ignore[union-attr]
    assert await known(library) == {"Shows": 1}


async def test_a_dry_run_recognises_them_and_writes_nothing(library: Library) -> None:
    before = await contents(library.store, *KNOWN)
    with look_ups() as seen:
        outcome = (await library.ingest({"Movies": listing()}, dry_run=True)).outcomes[0]
    assert (seen, outcome.counts.skipped) == ([], 3)  # type: ignore[union-attr]
    assert await contents(library.store, *KNOWN) == before


async def test_an_asset_deleted_while_its_page_becomes_known_is_missed_by_nobody(library: Library) -> None:
    """The deletion waits for the commit, and takes the pages that it brought along."""
    grown = [*listing(), outline(draft("d"))]

    async def delete() -> None:
        await execute(library.store, "DELETE FROM asset WHERE source_uri LIKE '%/a'")

    await library.enable("Shows", enabled=False)
    waits = "wait_event_type = 'Lock' AND query LIKE 'DELETE FROM asset%'"
    barred = gate(library.store, "ingest_outcome", when="NEW.status = 'ingested'", deferred=True)
    async with barred as closed, anyio.create_task_group() as group:
        group.start_soon(library.ingest, {"Movies": grown})
        await closed.reached()
        group.start_soon(delete)
        await until(library.store, f"EXISTS (SELECT FROM pg_stat_activity WHERE {waits})")
        await closed.open()
    assert "Movies" not in await known(library)
    assert (await looked_up(library, *grown))[1:] == (1, 3)


async def test_every_index_of_the_pages_is_one_that_the_queries_need(library: Library) -> None:
    found = await library.rows("SELECT indexname FROM pg_indexes WHERE tablename = ANY(:tables)", tables=list(KNOWN))
    assert sorted(name for (name,) in found) == ["known_exception_pkey", "known_listing_pkey", "known_page_pkey"]
    async with library.store.data.begin() as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = await connection.execute(
            text("EXPLAIN SELECT string_agg(fingerprint, '') FROM known_page WHERE collection_uuid = gen_random_uuid()")
        )
        assert "known_page_pkey" in "".join(plan.scalars())
