"""The details of the audit trail: what several runs reject is stored once, and what is old is removed."""

import datetime as dt
from uuid import UUID

import pytest

from retrovue import get_run, prune_details
from retrovue.core.errors import RequestError
from retrovue.core.pages import Rejection
from retrovue.core.runs import Scope
from retrovue.ingest.orchestrator import ingest_one
from retrovue.store.session import Store
from tests.support.library import Library, draft, page

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(shared_store: Store) -> Store:
    return shared_store


def items(*names: str) -> list[Rejection]:
    return [Rejection("no_media", "it has no media", f"x://{name}", name) for name in names]


async def ingest(library: Library, *names: str, **options: object) -> UUID:
    """Ingest a library with one film and these rejected items; returns the run."""
    return (await library.ingest({"Movies": [page(draft("a"), *items(*names))]}, **options)).run_id


async def rejected(library: Library, run: UUID) -> list[str | None]:
    details = await get_run(library.store, run)
    return [rejection.title for rejections in details.rejections.values() for rejection in rejections]


async def stored(library: Library) -> int:
    return len(await library.rows("SELECT 1 FROM ingest_rejection"))


async def age(library: Library, run: UUID, days: int) -> None:
    """Let a run have ended so many days ago."""
    await library.rows(
        f"WITH outcome AS (UPDATE ingest_outcome SET ended_at = ended_at - interval '{days} days'"
        f" WHERE run_id = '{run}' RETURNING 1) SELECT * FROM outcome"
    )


@pytest.mark.fault(310)
class TestStoredOnce:
    async def test_each_run_has_its_own_and_the_same_are_stored_once(self, library: Library) -> None:
        listings = [("x", "y"), ("x", "y"), ("y", "z"), (), ("x", "y", "z"), ("x", "y", "z")]
        runs = [await ingest(library, *names) for names in listings]
        assert await stored(library) == 2 + 1 + 3
        for run, names in zip(runs, listings, strict=True):
            assert sorted(map(str, await rejected(library, run))) == list(names)

    async def test_items_that_look_alike_are_counted(self, library: Library) -> None:
        alike = Rejection("no_media", "it has no media")
        for number in (2, 3, 1):
            run = (await library.ingest({"Movies": [page(draft("a"), *[alike] * number)]})).run_id
            assert len(await rejected(library, run)) == number
        assert await stored(library) == 3

    async def test_the_order_is_the_source_s(self, library: Library) -> None:
        run = await ingest(library, *"zyxabc")
        assert await rejected(library, run) == list("zyxabc")
        assert await rejected(library, await ingest(library, *"zyxabc")) == list("zyxabc")

    async def test_another_reason_is_another_item(self, library: Library) -> None:
        first = await ingest(library, "x")
        again = [page(draft("a"), Rejection("no_file", "it has no file", "x://x", "x"))]
        second = (await library.ingest({"Movies": again})).run_id
        codes = [
            [one.code for found in (await get_run(library.store, run)).rejections.values() for one in found]
            for run in (first, second)
        ]
        assert codes == [["no_media"], ["no_file"]]

    async def test_a_surgical_ingest_has_its_own_and_ends_none(self, library: Library) -> None:
        whole = await ingest(library, "x", "y")
        library.script.listings["Movies"] = [page(draft("a"), *items("x"))]
        async with ingest_one(library.store, "Movies", Scope(title="A")) as run:
            pass
        assert await rejected(library, run.id) == ["x"]
        assert await rejected(library, whole) == ["x", "y"]
        assert await rejected(library, await ingest(library, "x", "y")) == ["x", "y"]
        assert await stored(library) == 3

    async def test_a_run_that_failed_or_was_skipped_has_none(self, library: Library) -> None:
        await ingest(library, "x")
        failed = (await library.ingest({"Movies": [page(draft("a")), ValueError("no")]})).run_id
        assert await rejected(library, failed) == []
        assert await rejected(library, await ingest(library, "x")) == ["x"]
        assert await stored(library) == 1

    async def test_a_collection_of_which_all_is_rejected_keeps_them_once_too(self, library: Library) -> None:
        for _ in range(2):
            run = (await library.ingest({"Movies": [page(*items("x", "y"))]})).run_id
            assert await rejected(library, run) == ["x", "y"]
        assert await stored(library) == 2

    async def test_a_dry_run_stores_none(self, library: Library) -> None:
        await ingest(library, "x", dry_run=True)
        assert await stored(library) == 0


@pytest.mark.fault(310)
class TestPruned:
    async def test_old_details_go_and_outcomes_stay(self, library: Library) -> None:
        old = await ingest(library, "x", "y")
        new = await ingest(library, "y")
        await age(library, old, 100)
        await library.rows("UPDATE ingest_rejection SET ended_at = ended_at - interval '99 days' RETURNING 1")
        preview = await prune_details(library.store, dt.timedelta(days=90), dry_run=True)
        assert (preview.outcomes, preview.rejections, preview.enrichments) == (1, 1, 0)
        assert await stored(library) == 2
        pruned = await prune_details(library.store, dt.timedelta(days=90))
        assert (pruned.outcomes, pruned.rejections, pruned.enrichments) == (1, 1, 0)
        (entry,) = (await get_run(library.store, old)).entries
        assert (entry.status, entry.counts["rejected"], entry.details) == ("ingested", 2, {})
        assert await rejected(library, new) == ["y"]
        (kept,) = (await get_run(library.store, new)).entries
        assert kept.details["durations"]
        assert (await prune_details(library.store, dt.timedelta(days=90))).outcomes == 0

    async def test_those_of_a_surgical_ingest_go_with_their_run(self, library: Library) -> None:
        await ingest(library, "x")
        library.script.listings["Movies"] = [page(draft("a"), *items("x"))]
        async with ingest_one(library.store, "Movies", Scope(title="A")) as run:
            pass
        await age(library, run.id, 100)
        assert (await prune_details(library.store, dt.timedelta(days=90))).rejections == 1
        assert await rejected(library, run.id) == []

    async def test_each_run_removes_what_is_older_than_it_keeps(self, library: Library) -> None:
        old = await ingest(library, "x")
        await age(library, old, 181)
        await ingest(library, "x", keep_details=None)
        assert (await get_run(library.store, old)).entries[0].details != {}
        await ingest(library, "x", dry_run=True)
        assert (await get_run(library.store, old)).entries[0].details != {}
        await ingest(library, "x")
        assert (await get_run(library.store, old)).entries[0].details == {}
        assert await rejected(library, old) == ["x"]  # it is rejected still

    async def test_the_confirmation_can_refuse(self, library: Library) -> None:
        old = await ingest(library, "x")
        await age(library, old, 100)

        def refuse(_: object) -> None:
            raise RequestError("no")

        with pytest.raises(RequestError, match="no"):
            await prune_details(library.store, dt.timedelta(days=90), confirm=refuse)
        assert (await get_run(library.store, old)).entries[0].details != {}
        await prune_details(library.store, dt.timedelta(days=900), confirm=refuse)  # there is nothing to confirm
        with pytest.raises(RequestError):
            await prune_details(library.store, dt.timedelta(days=-1))
