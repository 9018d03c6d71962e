"""What another program, or another server, changes while a command waits for its source, its lock or its user."""

import asyncio
from collections.abc import Awaitable, Callable
from threading import Thread
from typing import Any

import anyio
import pytest
from sqlalchemy import text

from retrovue.core.answers import SourceIdentity
from retrovue.core.model import PathMapping
from retrovue.core.results import Ingested, Skipped
from retrovue.errors import RequestError
from retrovue.operations.attachments import (
    add_enricher,
    attach_enricher,
    detach_enricher,
    remove_enricher,
    update_enricher,
)
from retrovue.operations.curation import delete_source, update_collection, wipe_collection
from retrovue.store.enrichers import lock_enrichers
from retrovue.store.session import Store
from tests.support.library import DATA, WAITING_FOR_LOCK, Library, by_name, codes, draft, execute, failure, page, until

pytestmark = pytest.mark.anyio

ONE, OTHER = SourceIdentity("one"), SourceIdentity("another")
FILMS = {"Movies": [page(draft("a"), draft("b"))]}


def meanwhile(action: Callable[[], Awaitable[Any]]) -> SourceIdentity:
    """Return the answer of a source that takes so long that something is done meanwhile."""

    class Slow(SourceIdentity, frozen=True):
        async def __call__(self) -> None:
            await action()

    return Slow("one")


class TestAnotherServer:
    @pytest.mark.fault(77)
    async def test_takes_the_address_before_the_merge(self, library: Library) -> None:
        library.script.reachable = [ONE, OTHER]
        failed = failure(await library.ingest(FILMS), "Movies")
        assert failed.code == "wrong_identity"
        assert failed.context == {"expected": "one", "found": "another"}
        assert await library.assets() == {}

    async def test_ends_the_run(self, store: Store, scripted: None) -> None:  # noqa: ARG002
        several = await Library.make(store, "Movies", "Shows")
        several.script.reachable = [ONE, OTHER]
        listings = {"Movies": [page(draft("a"))], "Shows": [page(draft("b"))]}
        summary = await several.ingest(listings, concurrency=1)
        assert codes(summary) == dict.fromkeys(listings, "wrong_identity")
        assert len([asked for asked in several.script.asked if asked.startswith("pages")]) == 1

    async def test_moves_no_asset_of_a_known_library(self, library: Library) -> None:
        library.script.reachable = [ONE]
        await library.ingest(FILMS)
        before = await library.assets()
        library.script.reachable = [ONE, OTHER]
        moved = {"Movies": [page(draft("a", "elsewhere"), draft("b", "else"))]}
        assert failure(await library.ingest(moved), "Movies").code == "wrong_identity"
        assert await library.assets() == before

    @pytest.mark.parametrize("identifier", ["", "  ", "x" * 4097, "a\0b"])
    async def test_needs_an_identifier(self, library: Library, identifier: str) -> None:
        library.script.reachable = [SourceIdentity(identifier)]
        assert failure(await library.ingest(FILMS), "Movies").code == "malformed_answer"


class TestAnIngest:
    @pytest.mark.fault(79)
    async def test_takes_the_mappings_of_now(self, library: Library) -> None:
        library.script.reachable = [meanwhile(lambda: library.map("Movies", (DATA, "/elsewhere"))), ONE]
        outcome = by_name(await library.ingest(FILMS))["Movies"]
        assert isinstance(outcome, Ingested)
        assert {path.partition("/a.mkv")[0] for path in (await library.assets()).values() if "a.mkv" in path} == {
            "/elsewhere"
        }

    async def test_leaves_out_what_was_disabled(self, library: Library) -> None:
        library.script.reachable = [meanwhile(lambda: library.enable("Movies", enabled=False)), ONE]
        outcome = by_name(await library.ingest(FILMS))["Movies"]
        assert isinstance(outcome, Skipped)
        assert outcome.code == "sync_disabled"
        assert await library.assets() == {}

    async def test_fails_for_a_source_that_was_changed(self, library: Library) -> None:
        library.script.reachable = [meanwhile(lambda: execute(library.store, "UPDATE source SET name = 'New'")), ONE]
        failed = failure(await library.ingest(FILMS), "Movies")
        assert failed.code == "conflict"
        assert await library.assets() == {}

    async def test_fails_for_a_collection_that_was_deleted(self, library: Library) -> None:
        gone = "DELETE FROM collection WHERE name = 'Movies'"
        await execute(library.store, "DELETE FROM path_mapping")
        library.script.reachable = [meanwhile(lambda: execute(library.store, gone)), ONE]
        assert failure(await library.ingest(FILMS), "Movies").code == "conflict"


@pytest.mark.fault(78)
async def test_two_updates_at_once_lose_no_mapping(library: Library) -> None:
    collection = await library.collection("Movies")

    async def second() -> None:
        library.script.reachable = [ONE]
        await update_collection(library.store, str(collection.id), map=[PathMapping("/second", "/mnt")])

    library.script.reachable = [meanwhile(second)]
    with pytest.raises(RequestError) as caught:
        await update_collection(library.store, str(collection.id), map=[PathMapping("/first", "/mnt")])
    assert caught.value.code == "conflict"
    prefixes = {mapping.source_prefix for mapping in (await library.collection("Movies")).path_mappings}
    assert "/second" in prefixes
    assert "/first" not in prefixes


@pytest.mark.fault(146)
class TestEnrichers:
    """What a command has read before it waits for a lock is read again under it."""

    @staticmethod
    async def _meanwhile(store: Store, command: Awaitable[Any], statement: str) -> Any:
        """Return what the command returns, which waits while another program carries out the statement."""
        results: list[Any] = []

        async def carry_out() -> None:
            try:
                results.append(await command)
            except RequestError as exc:
                results.append(exc)

        async with (
            Store(store.url, connections=1) as other,
            anyio.create_task_group() as tasks,
            other.transaction() as session,
        ):
            await lock_enrichers(session)
            tasks.start_soon(carry_out)
            await until(store, WAITING_FOR_LOCK)
            await session.execute(text(statement))
        return results[0]

    async def test_two_updates_at_once_are_both_kept(self, library: Library) -> None:
        added = await add_enricher(library.store, "nfo", "Sidecars", {})
        renamed = "UPDATE enricher SET name = 'Renamed'"
        update = update_enricher(library.store, str(added.id), config={"overwrite": "true"})
        before, after = await self._meanwhile(library.store, update, renamed)
        assert (before.name, after.name) == ("Renamed", "Renamed")
        assert await library.rows("SELECT name, config FROM enricher") == [("Renamed", {"overwrite": "true"})]

    async def test_a_priority_that_changed_stays(self, library: Library) -> None:
        added = await add_enricher(library.store, "nfo", "Sidecars", {})
        await attach_enricher(library.store, "Movies", "Sidecars", priority=7)
        attach = attach_enricher(library.store, "Movies", str(added.id))
        change = await self._meanwhile(library.store, attach, "UPDATE collection_enricher SET priority = 3")
        assert [own.priority for own in change.attached] == [3]
        assert await library.rows("SELECT priority FROM collection_enricher") == [(3,)]

    async def test_one_that_was_removed_is_not_attached(self, library: Library) -> None:
        added = await add_enricher(library.store, "nfo", "Sidecars", {})
        attach = attach_enricher(library.store, "Movies", str(added.id))
        refused = await self._meanwhile(library.store, attach, "DELETE FROM enricher")
        assert refused.code == "enricher_not_found"

    async def test_one_that_was_detached_is_reported_so(self, library: Library) -> None:
        added = await add_enricher(library.store, "nfo", "Sidecars", {})
        await attach_enricher(library.store, "Movies", str(added.id))
        detach = detach_enricher(library.store, "Movies", str(added.id))
        change = await self._meanwhile(library.store, detach, "DELETE FROM collection_enricher")
        assert (change.changed, change.attached) == (False, ())

    async def test_one_that_was_attached_is_not_removed(self, library: Library) -> None:
        added = await add_enricher(library.store, "nfo", "Sidecars", {})
        attach = f"INSERT INTO collection_enricher SELECT id, '{added.id}', 1 FROM collection WHERE name = 'Movies'"
        refused = await self._meanwhile(library.store, remove_enricher(library.store, str(added.id)), attach)
        assert refused.code == "conflict"
        assert await library.rows("SELECT name FROM enricher") == [("Sidecars",)]


class TestADeletion:
    """What is confirmed is what is deleted."""

    @staticmethod
    def _add_an_asset(library: Library) -> Callable[..., None]:
        async def add() -> None:
            async with Store(library.store.url, connections=1) as store:
                await execute(
                    store,
                    "INSERT INTO asset (collection_uuid, source_hash, canonical_hash, type, title, source_uri,"
                    " canonical_uri, canonical_key) SELECT id, decode(md5('s'), 'hex'), decode(md5('c'), 'hex'),"
                    " 'movie', 'A', 's', 'c', 'c' FROM collection WHERE name = 'Movies'",
                )

        def confirm(*_: object) -> None:
            thread = Thread(target=lambda: asyncio.run(add()))
            thread.start()
            thread.join()

        return confirm

    async def test_wipe(self, library: Library) -> None:
        collection = await library.collection("Movies")
        with pytest.raises(RequestError) as caught:
            await wipe_collection(library.store, str(collection.id), confirm=self._add_an_asset(library))
        assert caught.value.code == "conflict"
        assert len(await library.assets()) == 1

    async def test_delete(self, library: Library) -> None:
        with pytest.raises(RequestError) as caught:
            await delete_source(library.store, str(library.source.id), confirm=self._add_an_asset(library))
        assert caught.value.code == "conflict"
        assert len(await library.assets()) == 1
