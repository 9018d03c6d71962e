"""The collection pipeline by itself: what it counts, what it waits for, and what an outline spares it."""

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from retrovue.core.pages import Page, Rejection
from retrovue.core.results import FAR_SMALLER, Counts
from retrovue.core.runs import FULL
from retrovue.errors import ImporterFailed
from retrovue.importers.guard import GuardedImporter
from retrovue.ingest.events import Progress
from retrovue.ingest.pipeline import preview_collection
from retrovue.store.audit import Run
from retrovue.store.session import Store
from tests.support.library import Library, ScriptedImporter, codes, draft, outline, page, uri

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(shared_store: Store) -> Store:
    return shared_store


class TestCounts:
    async def test_items_of_the_source_and_versions_are_counted_apart(self, library: Library) -> None:
        versions = Page([draft("a", "1"), draft("a2", "2")], [Rejection("no_media", "none")], source_items=2)
        outcome = await library.ingest_one(versions)
        assert outcome.counts == Counts(source_items=2, discovered=3, created=2, rejected=1)

    @pytest.mark.fault(122)
    async def test_a_disc_image_is_rejected_whichever_importer_lists_it(self, library: Library) -> None:
        film, image = draft("a", "1"), draft("b", "2")
        image = replace(image, parts=(replace(image.parts[0], source_path=f"{image.parts[0].source_path}.ISO"),))
        outcome = await library.ingest_one(page(film, image))
        assert (outcome.counts.created, [rejection.code for rejection in outcome.listed.rejected]) == (
            1,
            ["disc_image"],
        )

    @pytest.mark.fault(122, 212)
    async def test_a_disc_is_one_rejection_however_many_of_its_files_are_listed(self, library: Library) -> None:
        files = [
            "Red/VIDEO_TS/VTS_01_1.VOB",
            "Red/VIDEO_TS/VTS_01_2.VOB",
            "Blue/BDMV/STREAM/00001.m2ts",
            "Loose/VTS_01_1.VOB",
            "Blue/BDMV/STREAM/00000.m2ts",
            "Camera/BDMV/STREAM/00000.MTS",
            "Film.m2ts",
        ]
        listed = page(*(draft(file, file) for file in files))
        for dry_run in (True, False, False):
            outcome = await library.ingest_one(listed, dry_run=dry_run)
            assert (outcome.counts.source_items, outcome.counts.discovered, outcome.counts.rejected) == (7, 5, 3)
            assert [rejection.code for rejection in outcome.listed.rejected] == ["disc_folder"] * 3
            assert outcome.listed.warnings == {"left_out_disc": 2}
        assert "/Blue'" in outcome.listed.rejected[1].reason

    async def test_warnings_are_counted_by_draft_and_by_kind(self, library: Library) -> None:
        outcome = await library.ingest_one(
            page(draft("a", warnings=("bad_year", "bad_rating")), draft("b", warnings=("bad_year",)), draft("c"))
        )
        assert outcome.counts.warnings == 2
        assert outcome.listed.warnings == {"bad_rating": 1, "bad_year": 2}

    @pytest.mark.fault(21)
    async def test_far_fewer_than_the_last_time_is_told_once(self, library: Library) -> None:
        def listing(count: int) -> Page:
            return page(*[draft(f"{number}") for number in range(count)])

        for count, fewer in ((30, 0), (20, 0), (21, 0), (10, 11), (10, 0), (9, 0), (30, 0), (14, 16)):
            odd = {FAR_SMALLER: fewer} if fewer else {}
            for dry_run in (True, False):
                outcome = await library.ingest_one(listing(count), dry_run=dry_run)
                assert (count, outcome.listed.warnings) == (count, odd)
                assert outcome.counts.warnings == 0
        assert len(await library.rows("SELECT 1 FROM asset")) == 30

    @pytest.mark.fault(21)
    async def test_what_was_rejected_counts_as_well(self, library: Library) -> None:
        def listing(*, good: int, bad: int) -> Page:
            items = [Rejection("no_media", "none", f"scripted://{number}") for number in range(bad)]
            return page(*[draft(f"{number}") for number in range(good)], *items)

        await library.ingest_one(listing(good=10, bad=40))
        outcome = await library.ingest_one(listing(good=10, bad=0))
        assert outcome.listed.warnings == {FAR_SMALLER: 40}

    @pytest.mark.fault(21)
    async def test_a_small_library_may_shrink(self, library: Library) -> None:
        for names in ("abcdefghijk", "ab"):
            outcome = await library.ingest_one(page(*[draft(name) for name in names]))
            assert outcome.listed.warnings == {}

    def test_a_number_that_does_not_add_up_is_a_bug(self) -> None:
        with pytest.raises(AssertionError, match="accounted"):
            Counts(discovered=2, created=1)

    async def test_progress_is_told_of_every_page(self, library: Library) -> None:
        library.script.listings["Movies"] = [page(draft("a")), page(), page(draft("b"), Rejection("x", "y"))]
        told: list[Progress] = []
        importer = GuardedImporter(ScriptedImporter(library.source.config))
        run = Run(library.source.id, "source", FULL, "0")
        movies = await library.collection("Movies")
        await preview_collection(library.store, importer, movies, run, progress=told.append)
        *pages, last = told
        assert [(one.source_items, one.discovered, one.rejected) for one in pages] == [(1, 1, 0), (1, 1, 0), (3, 3, 1)]
        assert {one.phase for one in pages} == {"reading"}
        assert (last.source_items, last.discovered, last.rejected, last.phase) == (3, 3, 1, "merging")
        assert {one.collection for one in told} == {movies}

    async def test_the_time_is_accounted_for(self, library: Library) -> None:
        outcome = await library.ingest_one(page(draft("a")))
        spent = outcome.durations
        assert 0 < spent.waiting_for_source + spent.staging + spent.merging <= spent.total


class TestBackpressure:
    async def test_the_next_page_is_asked_for_when_the_last_one_is_staged(self, library: Library) -> None:
        staged: list[int] = []

        async def look() -> None:
            # The temporary table is its session's own; that its transaction is over is seen from outside.
            open_ = await library.rows(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'retrovue' AND state = 'idle in transaction'"
            )
            staged.append(open_[0][0])

        await library.ingest_one(page(draft("a")), look, page(draft("b")), look)
        assert staged == [0, 0], "nothing is held while the source is waited for"


class TestOutline:
    async def test_what_is_known_is_never_read_in_full(self, library: Library) -> None:
        await library.ingest_one(outline(draft("a"), draft("b", "1", "2")))
        known = outline(draft("a"), draft("b", "1", "2"), Rejection("no_media", "none"))
        known.read = _never
        outcome = await library.ingest_one(known)
        assert outcome.counts == Counts(source_items=3, discovered=3, skipped=2, rejected=1)

    @pytest.mark.parametrize("dry_run", [False, True])
    async def test_one_unknown_draft_and_the_page_is_read(self, library: Library, dry_run: bool) -> None:
        await library.ingest_one(page(draft("a"), draft("b")))
        for changed, counts in (
            (outline(draft("a"), draft("c")), Counts(2, 2, created=1, skipped=1, absent=1)),
            (outline(draft("a"), draft("b", "moved")), Counts(2, 2, skipped=2, relocated=1)),
            (outline(draft("a"), draft("b", "a.mkv")), Counts(2, 2, skipped=1, duplicates=1)),
            (outline(draft("a"), draft("b", "/elsewhere")), Counts(2, 2, skipped=1, rejected=1)),
        ):
            assert (await library.ingest_one(changed, dry_run=True)).counts == counts
        if not dry_run:
            await library.ingest_one(outline(draft("a"), draft("c")))
            assert set(await library.assets()) == {"a", "b", "c"}

    async def test_of_an_empty_collection_it_is_always_read(self, library: Library) -> None:
        outcome = await library.ingest_one(outline(draft("a")))
        assert outcome.counts.created == 1

    async def test_one_that_breaks_or_lies_fails_the_collection(self, library: Library) -> None:
        await library.ingest_one(page(draft("a")))
        short = outline(draft("a"), draft("b"))
        short.source_paths.pop()
        broken = outline(draft("b"))
        broken.read = _never
        nothing = outline(draft("b"))
        nothing.read = anyio.lowlevel.checkpoint  # type: ignore[assignment]
        for odd in (short, broken, nothing):
            assert codes(await library.ingest({"Movies": [odd]})) == {"Movies": "importer_failed"}
        assert await library.assets() == {"a": "/mnt/a.mkv"}


async def _never() -> Page:
    raise AssertionError("the page was read")


class TestPatience:
    @pytest.mark.fault(61)
    async def test_an_importer_that_hangs_fails_its_collection(self, library: Library) -> None:
        library.script.listings["Movies"] = [page(draft("a")), anyio.Event()]
        importer = GuardedImporter(ScriptedImporter(library.source.config), patience=0.01)
        run = Run(library.source.id, "source", FULL, "0")
        with pytest.raises(ImporterFailed) as failed:
            await preview_collection(
                library.store,
                importer,
                await library.collection("Movies"),
                run,
                progress=lambda _: None,
            )
        assert failed.value.code == "importer_timeout"
        assert library.script.running == 0


class TestPreview:
    async def test_it_knows_titles_in_any_script(self, library: Library) -> None:
        titles = ["Ω", "🎬" * 50, "Amélie"]
        listing = page(*(draft(f"i{number}", title=title) for number, title in enumerate(titles)))
        outcome = await library.ingest_one(listing, dry_run=True)
        assert [named.title for named in outcome.listed.created] == titles

    async def test_it_names_what_a_duplicate_duplicates(self, library: Library) -> None:
        await library.ingest_one(page(draft("a")))
        outcome = await library.ingest_one(page(draft("b", "a.mkv"), draft("c"), draft("d", "c.mkv")), dry_run=True)
        assert [(named.title, named.detail) for named in outcome.listed.duplicates] == [("B", "A"), ("D", "C")]
        assert uri("a") not in {named.source_uri for named in outcome.listed.created}
