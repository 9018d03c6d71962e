"""What the commands do to the catalogue, a program that embeds RetroVue can do with the public names alone."""

import pytest

import retrovue
from retrovue.errors import NotFound
from tests.support.library import Library, draft, page

pytestmark = pytest.mark.anyio


class TestAuditTrail:
    async def test_a_run_and_what_it_rejected(self, library: Library) -> None:
        rejection = retrovue.Rejection("odd", "It is odd.", "x:2", "Odd")
        await library.ingest_one(page(draft("a"), rejection))
        listing = await retrovue.list_log(library.store, collection="Movies")
        assert [(entry.collection_name, entry.status) for entry in listing.entries] == [("Movies", "ingested")]
        details = await retrovue.get_run(library.store, listing.entries[0].run_id)
        assert [list(rejected) for rejected in details.rejections.values()] == [[rejection]]


class TestDeleting:
    async def test_a_collection_is_wiped_and_a_source_deleted(self, library: Library) -> None:
        await library.ingest_one(page(draft("a"), draft("b")))
        *_, contents = await retrovue.wipe_collection(library.store, "Movies", dry_run=True)
        assert contents.assets == (await retrovue.list_assets(library.store)).total == 2
        await retrovue.wipe_collection(library.store, "Movies")
        assert (await retrovue.list_assets(library.store)).total == 0
        source, _ = await retrovue.delete_source(library.store, str(library.source.id))
        assert await retrovue.list_sources(library.store) == []
        with pytest.raises(NotFound):
            await retrovue.list_collections(library.store, source.external_id)


class TestSync:
    async def test_a_source_and_one_of_its_collections(self, library: Library) -> None:
        await library.ingest_one(page(*map(draft, "abc")))
        library.script.listings["Movies"] = [page(draft("a"), draft("b", title="Better"))]
        async with retrovue.sync_source(library.store, str(library.source.id)) as run:
            pass
        assert [run.summary.total(name) for name in ("refreshed", "missing")] == [1, 1]
        library.script.listings["Movies"] = [page(*map(draft, "abc"))]
        async with retrovue.sync_one(library.store, "Movies", options=retrovue.IngestOptions(dry_run=True)) as run:
            pass
        assert [run.summary.total(name) for name in ("refreshed", "restored")] == [1, 1]
        listing = await retrovue.list_changes(library.store)
        assert sorted(change.what for change in listing.changes) == ["missing", "refreshed"]


async def test_the_doctor(library: Library) -> None:
    findings = [finding async for finding in retrovue.examine(library.store)]
    assert {finding.check for finding in findings} >= {"database", "schema", "source"}
