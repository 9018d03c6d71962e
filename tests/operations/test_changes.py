"""Following the feed of changes, and purging what is gone."""

import datetime as dt
import uuid

import anyio
import pytest
from sqlalchemy import text

from retrovue.core.errors import CursorExpired, NotFound, RequestError
from retrovue.operations.changes import (
    GoneAssets,
    follow_changes,
    list_changes,
    prune_changes,
    purge_assets,
)
from retrovue.store.session import Store
from tests.store.test_changes import change, record
from tests.support.library import Library, draft, page, rows

pytestmark = pytest.mark.anyio


class TestListing:
    async def test_each_page_begins_after_the_one_before(self, shared_store: Store) -> None:
        await record(shared_store, *(change(title) for title in "ABC"))
        first = await list_changes(shared_store, limit=2)
        rest = await list_changes(shared_store, after=first.next_cursor, limit=2)
        assert [row.title for row in (*first.changes, *rest.changes)] == ["A", "B", "C"]
        assert (await list_changes(shared_store, after=rest.next_cursor)).changes == ()

    async def test_a_page_that_is_not_full_moves_on_over_the_changes_of_others(self, library: Library) -> None:
        await record(library.store, change("A"), change("B"))
        mine = await list_changes(library.store, collection="Movies")
        assert mine.changes == ()
        assert mine.next_cursor == (await list_changes(library.store)).next_cursor > 0

    async def test_of_a_source_or_a_collection(self, library: Library) -> None:
        ours = (await library.collection("Movies")).id
        await record(library.store, change("A"), change("B", collection_uuid=ours))
        of_collection = await list_changes(library.store, collection="Movies")
        of_source = await list_changes(library.store, source=library.source.external_id)
        for listing in (of_collection, of_source):
            assert [row.title for row in listing.changes] == ["B"]
        with pytest.raises(NotFound):
            await list_changes(library.store, collection="Nothing")

    async def test_what_is_pruned_is_told(self, shared_store: Store) -> None:
        await record(shared_store, change("A"))
        assert (await prune_changes(shared_store, dt.timedelta(days=1))).changes == 0
        assert (await prune_changes(shared_store, dt.timedelta(), dry_run=True)).changes == 1
        assert [row.title for row in (await list_changes(shared_store, after=0)).changes] == ["A"]
        assert (await prune_changes(shared_store, dt.timedelta())).changes == 1
        with pytest.raises(CursorExpired):
            await list_changes(shared_store, after=0)


class TestFollowing:
    async def test_it_gives_each_change_as_it_is_committed(self, shared_store: Store) -> None:
        await record(shared_store, change("before"))
        found: list[str] = []
        idle = anyio.Event()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:

                async def follow() -> None:
                    async for row in follow_changes(shared_store, on_idle=lambda _cursor: idle.set()):
                        found.append(row.title)
                        if len(found) == 3:
                            group.cancel_scope.cancel()

                group.start_soon(follow)
                await idle.wait()
                await record(shared_store, change("A"))
                await record(shared_store, change("B"), change("C"))
        assert found == ["A", "B", "C"]

    async def test_it_goes_on_from_a_cursor_and_after_its_connection_was_ended(self, store: Store) -> None:
        await record(store, change("A"), change("B"))
        first = (await list_changes(store, limit=1)).next_cursor
        found: list[str] = []
        idle = anyio.Event()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:

                async def follow() -> None:
                    async for row in follow_changes(store, after=first, on_idle=lambda _cursor: idle.set()):
                        found.append(row.title)
                        if row.title == "C":
                            group.cancel_scope.cancel()

                group.start_soon(follow)
                await idle.wait()
                async with store.transaction() as session:
                    await session.execute(
                        text(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                            " WHERE application_name = 'retrovue-changes' AND datname = current_database()"
                        )
                    )
                await record(store, change("C"))
        assert found == ["B", "C"]


class TestPurging:
    async def gone(self, library: Library, *titles: str, days: int = 1) -> None:
        async with library.store.transaction() as session:
            await session.execute(
                text(
                    "UPDATE asset SET availability = 'gone', unavailable_reason = 'not_listed',"
                    " unavailable_since = now() - make_interval(days => :days) WHERE title = ANY(:titles)"
                ),
                {"titles": list(titles), "days": days},
            )

    async def test_only_what_is_gone_is_deleted(self, library: Library) -> None:
        await library.ingest({"Movies": [page(draft("a"), draft("b"), draft("c"))]})
        await self.gone(library, "A", "B")
        seen: list[GoneAssets] = []
        purged = await purge_assets(library.store, confirm=seen.append)
        assert (purged.number, sorted(purged.first)) == (2, ["A", "B"])
        assert seen == [purged]
        assert await rows(library.store, "SELECT title FROM asset") == [("C",)]
        told = await list_changes(library.store)
        assert [(row.title, row.what, row.run_id) for row in told.changes] == [
            ("A", "purged", None),
            ("B", "purged", None),
        ]
        assert all(row.by for row in told.changes)

    async def test_a_dry_run_and_a_refusal_delete_nothing(self, library: Library) -> None:
        await library.ingest({"Movies": [page(draft("a"), draft("b"))]})
        await self.gone(library, "A")

        def refuse(_gone: GoneAssets) -> None:
            raise RequestError("no", code="not_confirmed")

        assert (await purge_assets(library.store, confirm=refuse, dry_run=True)).number == 1
        with pytest.raises(RequestError):
            await purge_assets(library.store, confirm=refuse)
        assert await rows(library.store, "SELECT count(*) FROM asset") == [(2,)]

    async def test_of_a_collection_and_of_an_age(self, library: Library) -> None:
        await library.ingest({"Movies": [page(draft("a"), draft("b"))]})
        await self.gone(library, "A", days=10)
        await self.gone(library, "B", days=2)
        old = await purge_assets(library.store, collection="Movies", older_than=dt.timedelta(days=5))
        assert old.first == ("A",)
        with pytest.raises(NotFound):
            await purge_assets(library.store, collection=str(uuid.uuid4()))
