"""Enrichment from end to end on a scripted source: states, failures, what is owed, the audit trail, interruptions."""

from typing import Any

import anyio
import pytest

from retrovue.core.results import Ingested
from retrovue.enrichers import guard
from retrovue.enrichers.base import Enrichment, Failure
from retrovue.enrichers.fields import FIELDS
from retrovue.errors import AlreadyRunning, RequestError, SourceUnreachable
from retrovue.ingest.enrichment import enrich_one
from retrovue.ingest.events import CollectionFinished, Enriching, RunFinished
from retrovue.operations.attachments import attach_enricher, detach_enricher, remove_enricher
from retrovue.store import enrichments
from retrovue.store.locks import open_locks
from retrovue.store.session import Store
from tests.conftest import Packages
from tests.support.library import AUDIT, CATALOGUE, Library, by_name, cancelled_at, contents, draft, execute, page
from tests.support.scripted_enrichers import MISDEEDS, Deeds, ScriptedEnricher, attached, hang

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(shared_store: Store) -> Store:
    """Nothing here leaves more behind than rows."""
    return shared_store


@pytest.fixture(autouse=True)
def enrichers(packages: Packages) -> None:
    packages.install(
        "scripted_enrichers",
        "retrovue.enrichers",
        scripted="tests.support.scripted_enrichers:ScriptedEnricher",
        pages="tests.support.scripted_enrichers:ScriptedPages",
        reading="tests.support.scripted_enrichers:ReadingEnricher",
        foreign="tests.support.scripted_enrichers:ForeignEnricher",
        foreign_pages="tests.support.scripted_enrichers:ForeignPages",
    )


def films(*names: str) -> Any:
    return page(*[draft(name) for name in names])


async def states(library: Library, collection: str = "%") -> dict[str, str]:
    return dict(
        await library.rows(
            "SELECT title, state FROM asset JOIN collection ON id = asset.collection_uuid WHERE name LIKE :collection",
            collection=collection,
        )
    )


async def statuses(library: Library, collection: str = "%") -> dict[str, str | None]:
    found = await library.rows(
        "SELECT title, e.code FROM asset_enrichment e JOIN asset ON uuid = asset_uuid"
        " JOIN collection ON id = asset.collection_uuid WHERE status IS NOT NULL AND name LIKE :collection",
        collection=collection,
    )
    return dict(found)


class TestAfterTheCommit:
    async def test_all_goes_well(self, library: Library) -> None:
        deeds = Deeds()
        enricher = await attached(library.store, deeds)
        outcome = await library.ingest_one(films("a", "b", "c", "d", "e"))
        assert outcome.counts.created == 5
        assert outcome.counts.failed_enrichments == 0
        assert outcome.enriched is not None
        assert outcome.enriched.problem is None
        assert (outcome.enriched.succeeded, outcome.enriched.failed, outcome.enriched.owed) == (5, 0, 0)
        assert [len(batch) for batch in deeds.batches] == [4, 1]
        assert (deeds.opened, deeds.closed) == (1, 1)
        assert set((await states(library)).values()) == {"new"}
        assert await library.rows("SELECT DISTINCT studio, provenance FROM asset") == [
            ("Scripted", {"studio": enricher.external_id})
        ]
        run = "SELECT status, succeeded, failed, owed FROM enrichment_outcome"
        assert await library.rows(run) == [("done", 5, 0, 0)]

    async def test_how_far_it_is_is_told(self, library: Library) -> None:
        deeds = Deeds(by_title={"B": Failure("no_file", "There is no file.")})
        await attached(library.store, deeds)
        library.script.listings["Movies"] = [films("a", "b", "c", "d", "e")]
        async with library.run() as run:
            told = [event async for event in run.events()]
        kinds = [type(event) for event in told]
        assert kinds.index(Enriching) > kinds.index(CollectionFinished)
        assert kinds[-1] is RunFinished
        far = [event for event in told if isinstance(event, Enriching)]
        assert {(event.collection.name, event.total) for event in far} == {("Movies", 5)}
        done = [event.succeeded + event.failed for event in far]
        assert done == sorted(done)
        assert (far[-1].succeeded, far[-1].failed) == (4, 1)

    async def test_an_asset_is_enriching_until_then(self, library: Library) -> None:
        deeds = Deeds()
        seen: list[dict[str, str]] = []

        async def look() -> Enrichment:
            seen.append(await states(library))
            return Enrichment()

        deeds.default = look
        await attached(library.store, deeds)
        await library.ingest_one(films("a"))
        assert seen == [{"A": "enriching"}]
        assert await states(library) == {"A": "new"}

    async def test_without_any_enricher_there_is_nothing_of_it(self, library: Library) -> None:
        outcome = await library.ingest_one(films("a"))
        assert outcome.enriched is None
        assert await library.rows("SELECT state, provenance, streams FROM asset") == [("new", None, None)]

    async def test_a_second_pass_changes_no_row(self, library: Library) -> None:
        deeds = Deeds()
        await attached(library.store, deeds)
        await library.ingest_one(films("a", "b"))
        before = await contents(library.store, *CATALOGUE, "enrichment_outcome")
        again = await library.ingest_one(films("a", "b"))
        assert again.counts.skipped == 2
        assert len(deeds.asked()) == 2
        assert await contents(library.store, *CATALOGUE, "enrichment_outcome") == before

    async def test_only_what_is_owed_is_done_at_the_next_ingest(self, library: Library) -> None:
        deeds = Deeds(by_title={"B": Failure("no_file", "There is no file.")})
        await attached(library.store, deeds)
        first = await library.ingest_one(films("a", "b"))
        assert first.counts.failed_enrichments == 1
        assert await states(library) == {"A": "new", "B": "enriching"}
        deeds.by_title.clear()
        deeds.batches.clear()
        second = await library.ingest_one(films("a", "b"))
        assert (second.counts.skipped, second.counts.created, second.counts.failed_enrichments) == (2, 0, 0)
        assert deeds.asked() == ["B"]
        assert await states(library) == {"A": "new", "B": "new"}
        assert await library.rows("SELECT max(attempts) FROM asset_enrichment") == [(2,)]

    async def test_at_most_so_many_batches_at_once(self, library: Library) -> None:
        deeds = Deeds()
        both = anyio.Event()

        async def meet() -> Enrichment:
            if deeds.running == 2:
                both.set()
            await both.wait()
            return Enrichment()

        deeds.default = meet
        await attached(library.store, deeds)
        await library.ingest({"Movies": [films(*"abcdefghijklmnop")]}, enrichment_concurrency=2)
        assert deeds.peak == 2

    async def test_the_summary_of_a_run_with_enrichments_is_ok(self, library: Library) -> None:
        deeds = Deeds(default=Failure("no_file", "There is no file."))
        await attached(library.store, deeds)
        summary = await library.ingest({"Movies": [films("a")]})
        assert summary.status == "ok"
        assert summary.total("failed_enrichments") == 1


@pytest.mark.fault(66)
class TestMisdeeds:
    @pytest.mark.parametrize("where", ["scripted", "foreign"])
    @pytest.mark.usefixtures("scripted")
    async def test_it_costs_that_asset_only(self, store: Store, where: str) -> None:
        """Each misdeed has a collection of its own, so that one run shows them all."""
        library = await Library.make(store, *MISDEEDS)
        enrichers = {
            what: await attached(store, Deeds(by_title={"B": deed}), what, type_name=where, to=what)
            for what, (deed, _) in MISDEEDS.items()
        }
        summary = await library.ingest({what: [films("a", "b", "c")] for what in MISDEEDS})
        for what, (_, code) in MISDEEDS.items():
            outcome = by_name(summary)[what]
            assert isinstance(outcome, Ingested), (what, outcome)
            assert (what, outcome.counts.created, outcome.counts.failed_enrichments) == (what, 3, 1)
            (failure,) = outcome.listed.failed_enrichments
            said = (what, failure["asset"], failure["enricher"], failure["code"])
            assert said == (what, "B", enrichers[what].external_id, code)
            assert "secret" not in failure["cause"]
            assert (what, await states(library, what)) == (what, {"A": "new", "B": "enriching", "C": "new"})
            assert (what, await statuses(library, what)) == (what, {"A": None, "B": code, "C": None})
            (row,) = await library.rows(
                "SELECT status, succeeded, failed, owed, details FROM enrichment_outcome"
                " JOIN collection ON id = collection_id WHERE name = :what",
                what=what,
            )
            assert (what, *row[:4]) == (what, "done", 2, 1, 1)
            assert row[4]["failures"] == [dict(failure)]

    async def test_after_some_deadlines_in_a_row_the_rest_of_the_batch_stays_owed(self, library: Library) -> None:
        deeds = Deeds(default=hang)
        await attached(library.store, deeds)
        outcome = await library.ingest_one(films("a", "b", "c", "d"))
        assert outcome.counts.failed_enrichments == 3
        assert outcome.enriched is not None
        assert outcome.enriched.owed == 4
        assert set((await states(library)).values()) == {"enriching"}

    @pytest.mark.parametrize("where", ["scripted", "foreign"])
    async def test_a_source_that_is_gone_is_not_asked_for_each_asset(self, library: Library, where: str) -> None:
        deeds = Deeds()

        async def go_down() -> object:
            deeds.opening = SourceUnreachable("The server is down.")
            raise SourceUnreachable("The server gave no answer.")

        deeds.default = go_down
        enricher = await attached(library.store, deeds, type_name=where)
        outcome = await library.ingest_one(films(*"abcdefghi"), enrichment_concurrency=1)
        assert outcome.enriched is not None
        assert outcome.enriched.problem is not None
        assert "The server is down." in outcome.enriched.problem.message
        assert outcome.enriched.owed == 9
        # Those that were asked for have failed, the others were not tried. Where each batch opens an instance of its
        # own to find out who is to blame, that it can't says it at once.
        alone = [3, 0][where == "foreign"]
        assert [len(batch) for batch in deeds.batches] == [4] + [1] * alone
        assert outcome.counts.failed_enrichments == alone
        assert {(one["enricher"], one["code"]) for one in outcome.listed.failed_enrichments} == (
            {(enricher.external_id, "source_unreachable")} if alone else set()
        )
        assert await library.rows("SELECT count(*) FROM asset_enrichment WHERE status = 'failed'") == [(alone,)]
        assert await library.rows("SELECT status, failed, owed FROM enrichment_outcome") == [("failed", alone, 9)]
        deeds.default, deeds.opening = Enrichment(), None
        again = await library.ingest_one(films(*"abcdefghi"))
        assert again.enriched is not None
        assert (again.enriched.succeeded, again.enriched.owed, again.enriched.problem) == (9, 0, None)

    @pytest.mark.parametrize("where", ["scripted", "foreign"])
    async def test_one_that_cannot_be_opened_was_not_tried_with_any_asset(self, library: Library, where: str) -> None:
        deeds = Deeds(opening=SourceUnreachable("The server is down."))
        await attached(library.store, deeds, type_name=where)
        outcome = await library.ingest_one(films(*"ab"))
        assert outcome.enriched is not None
        assert outcome.enriched.problem is not None
        assert (outcome.enriched.failed, outcome.enriched.owed) == (0, 2)
        assert await library.rows("SELECT count(*) FROM asset_enrichment") == [(0,)]

    async def test_a_source_that_fails_for_many_in_a_row_is_gone_whatever_opening_says(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guard, "MOST_OUTAGES", 5)
        deeds = Deeds(default=SourceUnreachable("The server is busy."))
        await attached(library.store, deeds)
        outcome = await library.ingest_one(films(*"abcdefghi"), enrichment_concurrency=1)
        assert outcome.enriched is not None
        assert outcome.enriched.problem is not None
        assert "The server is busy." in outcome.enriched.problem.message
        assert (outcome.enriched.failed, outcome.enriched.owed) == (5, 9)

    @pytest.mark.parametrize("size", [1, 4])
    async def test_a_source_that_stumbles_over_an_asset_is_asked_for_the_others(
        self, library: Library, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        monkeypatch.setattr(ScriptedEnricher, "batch_size", size)
        # More in a row than it takes to ask whether the source is gone.
        deeds = Deeds(by_title=dict.fromkeys("BCDEFG", SourceUnreachable("It answers 500.")))
        await attached(library.store, deeds)
        outcome = await library.ingest_one(films(*"abcdefghi"), enrichment_concurrency=1)
        failed = {(one["asset"], one["code"]) for one in outcome.listed.failed_enrichments}
        assert failed == {(title, "source_unreachable") for title in "BCDEFG"}
        assert outcome.enriched is not None
        assert (outcome.enriched.succeeded, outcome.enriched.owed, outcome.enriched.problem) == (3, 6, None)

    async def test_one_whose_package_is_gone_fails_each_asset(self, library: Library) -> None:
        await attached(library.store, Deeds())
        await execute(
            library.store, "UPDATE enricher SET type = 'betamax', external_id = replace(external_id, type, 'betamax')"
        )
        outcome = await library.ingest_one(films("a", "b"))
        assert outcome.counts.failed_enrichments == 2
        assert {one["code"] for one in outcome.listed.failed_enrichments} == {"unsupported_enricher"}

    async def test_a_value_that_the_database_refuses_is_its_assets_failure(self, library: Library) -> None:
        await execute(library.store, "ALTER TABLE asset ADD CONSTRAINT no_mono CHECK (audio_channels <> 1)")
        deeds = Deeds(by_title={"B": Enrichment(fields={"audio_channels": 1})})
        await attached(library.store, deeds)
        outcome = await library.ingest_one(films("a", "b", "c"))
        await execute(library.store, "ALTER TABLE asset DROP CONSTRAINT no_mono")
        assert outcome.counts.failed_enrichments == 1
        assert await states(library) == {"A": "new", "B": "enriching", "C": "new"}

    async def test_text_is_cleaned(self, library: Library) -> None:
        deeds = Deeds(default=Enrichment(fields={"studio": "a\0b"}, data={"x\0": ["\udc80"]}))
        await attached(library.store, deeds)
        outcome = await library.ingest_one(films("a"))
        assert outcome.counts.failed_enrichments in {0, 1}
        assert "\0" not in str(await library.rows("SELECT studio FROM asset"))


class TestFields:
    def test_the_catalogue_and_the_enrichers_know_the_same_fields(self) -> None:
        assert set(enrichments._FIELDS) == set(FIELDS)

    async def test_only_what_is_empty_is_filled(self, library: Library) -> None:
        given = {"studio": "New", "year": 1999, "provider_ids": {"imdb": "tt1", "tmdb": "2"}, "tags": {"genre": ["X"]}}
        deeds = Deeds(default=Enrichment(fields=given))
        enricher = await attached(library.store, deeds)
        await library.ingest_one(page(draft("a", studio="Old", provider_ids={"imdb": "tt0"})))
        assert await library.rows("SELECT studio, year, provider_ids, tags FROM asset") == [
            ("Old", 1999, {"imdb": "tt0", "tmdb": "2"}, {"genre": ["X"]})
        ]
        ((provenance,),) = await library.rows("SELECT provenance FROM asset")
        assert provenance == dict.fromkeys(("year", "provider_ids", "tags"), enricher.external_id)

    async def test_overwrite_replaces(self, library: Library) -> None:
        await attached(library.store, Deeds(default=Enrichment(fields={"studio": "New"})), overwrite="true")
        await library.ingest_one(page(draft("a", studio="Old")))
        assert await library.rows("SELECT studio FROM asset") == [("New",)]

    async def test_the_first_by_priority_fills_and_the_next_one_sees_it(self, library: Library) -> None:
        first, second = Deeds(default=Enrichment(fields={"studio": "First"})), Deeds()
        second.default = Enrichment(fields={"studio": "Second", "year": 2000})
        later = await attached(library.store, second, "second", priority=20)
        sooner = await attached(library.store, first, "first", priority=10)
        await library.ingest_one(films("a"))
        assert [asset.studio for asset in second.seen] == ["First"]
        assert await library.rows("SELECT studio, year, provenance FROM asset") == [
            ("First", 2000, {"studio": sooner.external_id, "year": later.external_id})
        ]

    async def test_what_an_enricher_sees(self, library: Library) -> None:
        deeds = Deeds()
        await attached(library.store, deeds)
        await library.ingest_one(page(draft("a", "one.mkv", "two.mkv", year=1979)))
        (asset,) = deeds.seen
        assert (asset.title, asset.year, asset.type) == ("A", 1979, "movie")
        assert [file.local_path for file in asset.files] == ["/mnt/one.mkv", "/mnt/two.mkv"]
        assert asset.uuid is not None

    async def test_the_fingerprint_of_the_last_success_is_kept(self, library: Library) -> None:
        deeds = Deeds(default=Enrichment(fingerprint={"size": 1}, data={"raw": [1]}))
        enricher = await attached(library.store, deeds)
        await library.ingest_one(films("a"))
        await detach_enricher(library.store, "Movies", enricher.external_id)
        await execute(library.store, "UPDATE asset_enrichment SET status = 'failed', code = 'x'")
        await attach_enricher(library.store, "Movies", enricher.external_id)
        await library.ingest_one(films("a"))
        assert [asset.fingerprint for asset in deeds.seen] == [None, {"size": 1}]
        assert await library.rows("SELECT data FROM asset_enrichment") == [({"raw": [1]},)]


class TestOnPages:
    async def test_drafts_are_refined_before_they_are_merged(self, library: Library) -> None:
        deeds = Deeds()
        enricher = await attached(library.store, deeds, type_name="pages")
        outcome = await library.ingest_one(films("a", "b"))
        assert await library.rows("SELECT DISTINCT studio, state, provenance FROM asset") == [
            ("Scripted", "new", {"studio": enricher.external_id})
        ]
        assert await statuses(library) == {"A": None, "B": None}
        assert deeds.seen[0].uuid is None
        assert outcome.enriched is not None
        assert (outcome.enriched.succeeded, outcome.enriched.failed) == (0, 0)

    @pytest.mark.parametrize("where", ["pages", "foreign_pages"])
    @pytest.mark.usefixtures("scripted")
    async def test_a_misdeed_costs_that_asset_only(self, store: Store, where: str) -> None:
        """Each misdeed has a collection of its own, so that one run shows them all."""
        library = await Library.make(store, *MISDEEDS)
        deeds = {what: Deeds(by_title={"B": deed}) for what, (deed, _) in MISDEEDS.items()}
        enrichers = {what: await attached(store, deeds[what], what, type_name=where, to=what) for what in MISDEEDS}
        listings = {what: [films("a", "b", "c")] for what in MISDEEDS}
        summary = await library.ingest(listings)
        failed = await library.rows(
            "SELECT name, failed_enrichments FROM ingest_outcome JOIN collection ON id = collection_id"
        )
        assert dict(failed) == dict.fromkeys(MISDEEDS, 1)
        for what, (_, code) in MISDEEDS.items():
            outcome = by_name(summary)[what]
            assert isinstance(outcome, Ingested), (what, outcome)
            assert (what, outcome.counts.failed_enrichments) == (what, 1)
            (failure,) = outcome.listed.failed_enrichments
            said = (what, failure["asset"], failure["enricher"], failure["code"])
            assert said == (what, "B", enrichers[what].external_id, code)
            assert (what, await states(library, what)) == (what, {"A": "new", "B": "enriching", "C": "new"})
            deeds[what].by_title.clear()
        again = await library.ingest(listings)
        for what, outcome in by_name(again).items():
            assert isinstance(outcome, Ingested), (what, outcome)
            assert (what, outcome.counts.failed_enrichments, outcome.counts.skipped) == (what, 0, 3)
            assert (what, await states(library, what)) == (what, {"A": "new", "B": "new", "C": "new"})

    async def test_a_dry_run_refines_and_writes_nothing(self, library: Library) -> None:
        await attached(library.store, Deeds(default=Enrichment(fields={"title": "Other"})), type_name="pages",
                       overwrite="yes")  # fmt: skip
        before = await contents(library.store, *CATALOGUE, *AUDIT)
        outcome = await library.ingest_one(films("a"), dry_run=True)
        assert [named.title for named in outcome.listed.created] == ["Other"]
        assert await contents(library.store, *CATALOGUE, *AUDIT) == before


class TestFilesThatMoved:
    async def test_a_dry_run_says_what_will_be_owed(self, library: Library) -> None:
        await attached(library.store, Deeds(), "reads", type_name="reading")
        await attached(library.store, Deeds(by_title={"B": Failure("x", "x")}), "second", type_name="reading")
        await attached(library.store, Deeds(), "other")
        await library.ingest_one(page(draft("a"), draft("b"), draft("c"), draft("d")))
        await execute(
            library.store, "UPDATE asset SET state = 'ready', approved_for_broadcast = true WHERE title = 'C'"
        )
        moved = page(*[draft(name, f"there/{name}.mkv") for name in "abc"], draft("d"), draft("e"))
        before = await library.ingest_one(moved, dry_run=True)
        assert before.enriched is not None
        after = await library.ingest_one(moved)
        assert after.counts.relocated == before.counts.relocated == 3
        assert after.enriched is not None
        # To A what reads files; to B one of these again, the other still; nothing to C, whose state stands; to E all.
        assert before.enriched.owed == after.enriched.succeeded + after.enriched.failed == 2 + 2 + 3

    async def test_an_enricher_takes_back_what_it_gave_itself(self, library: Library) -> None:
        given = {"chapters": [{"start_ms": 0}], "year": 1999, "tags": {"genre": ["X"]}, "width": 1}
        reading = Deeds(default=Enrichment(fields=given))
        enricher = await attached(library.store, reading, type_name="reading")
        await library.ingest_one(page(draft("a", height=3)))
        reading.default = Enrichment(fields={"title": "", "chapters": [], "year": None, "tags": {}, "height": None})
        await library.ingest_one(page(draft("a", "there/a.mkv", height=3)))
        # The title and the height are the source's, mappings belong to several, the width wasn't told.
        assert await library.rows("SELECT title, chapters IS NULL, year, tags, height, width FROM asset") == [
            ("A", True, None, {"genre": ["X"]}, 3, 1)
        ]
        ((provenance,),) = await library.rows("SELECT provenance FROM asset")
        assert provenance == dict.fromkeys(("tags", "width"), enricher.external_id)

    async def test_one_that_overwrites_takes_nothing_back(self, library: Library) -> None:
        """What it replaced is gone, and an ingest doesn't bring it again: its own value is better than none."""
        reading = Deeds(default=Enrichment(fields={"title": "Mine", "year": 1999}))
        await attached(library.store, reading, type_name="reading", overwrite="yes")
        await library.ingest_one(page(draft("a", year=1985)))
        reading.default = Enrichment(fields={"title": "", "year": None})
        await library.ingest_one(page(draft("a", "there/a.mkv", year=1985)))
        assert await library.rows("SELECT title, year FROM asset") == [("Mine", 1999)]

    async def test_those_who_read_them_look_again_and_no_others(self, library: Library) -> None:
        reading = Deeds(default=Enrichment(fields={"width": 1, "studio": "Mine"}, fingerprint={"size": 1}))
        other = Deeds()
        await attached(library.store, reading, "reads", type_name="reading", priority=1)
        await attached(library.store, other, "other", priority=2)
        await library.ingest_one(page(draft("a", height=3), draft("b")))
        await execute(
            library.store, "UPDATE asset SET state = 'ready', approved_for_broadcast = true WHERE title = 'B'"
        )
        reading.default = Enrichment(fields={"width": 2, "height": 4})
        other.batches.clear()
        moved = await library.ingest_one(page(draft("a", "there/a.mkv", height=3), draft("b", "there/b.mkv")))
        assert (moved.counts.relocated, moved.counts.skipped) == (2, 2)
        assert moved.enriched is not None
        assert (moved.enriched.succeeded, moved.enriched.owed) == (1, 0)
        again = reading.seen[-1]
        assert (again.title, again.files[0].local_path) == ("A", "/mnt/there/a.mkv")
        assert again.fingerprint == {"size": 1}
        assert other.asked() == []
        # What it gave itself it may correct, what the source says it may not.
        assert await library.rows("SELECT title, width, height, studio, state FROM asset ORDER BY title") == [
            ("A", 2, 3, "Mine", "new"),
            ("B", 1, None, "Mine", "ready"),
        ]

    async def test_it_stays_owed_until_it_succeeds(self, library: Library) -> None:
        deeds = Deeds()
        await attached(library.store, deeds, type_name="reading")
        await library.ingest_one(films("a"))
        deeds.default = Failure("no_file", "There is no file.")
        moved = await library.ingest_one(page(draft("a", "there/a.mkv")))
        assert moved.counts.failed_enrichments == 1
        assert await states(library) == {"A": "enriching"}
        deeds.default = Enrichment(unchanged=True)
        again = await library.ingest_one(page(draft("a", "there/a.mkv")))
        assert (again.counts.relocated, again.counts.failed_enrichments) == (0, 0)
        assert await states(library) == {"A": "new"}


class TestAttaching:
    async def test_new_assets_become_enriching_and_detached_new_again(self, library: Library) -> None:
        await library.ingest_one(films("a", "b", "c"))
        await execute(
            library.store,
            "UPDATE asset SET state = 'ready', approved_for_broadcast = true WHERE title = 'A'",
            "UPDATE asset SET state = 'retired' WHERE title = 'B'",
        )
        enricher = await attached(library.store, Deeds())
        assert await states(library) == {"A": "ready", "B": "retired", "C": "enriching"}
        change = await detach_enricher(library.store, "Movies", enricher.name)
        assert (change.assets, change.changed) == (1, True)
        assert await states(library) == {"A": "ready", "B": "retired", "C": "new"}

    async def test_detaching_one_of_two_leaves_what_the_other_owes(self, library: Library) -> None:
        await library.ingest_one(films("a"))
        one = await attached(library.store, Deeds(), "one")
        two = await attached(library.store, Deeds(), "two")
        await detach_enricher(library.store, "Movies", one.external_id)
        assert await states(library) == {"A": "enriching"}
        await detach_enricher(library.store, "Movies", two.external_id)
        assert await states(library) == {"A": "new"}

    async def test_attached_again_it_owes_only_what_it_has_not_done(self, library: Library) -> None:
        deeds = Deeds()
        enricher = await attached(library.store, deeds)
        await library.ingest_one(films("a"))
        await detach_enricher(library.store, "Movies", enricher.external_id)
        await library.ingest_one(films("a", "b"))
        await attach_enricher(library.store, "Movies", enricher.external_id)
        assert await states(library) == {"A": "new", "B": "enriching"}

    async def test_removing_it_everywhere(self, library: Library) -> None:
        await library.ingest_one(films("a"))
        enricher = await attached(library.store, Deeds())

        listing = await remove_enricher(library.store, enricher.external_id)
        assert [name for _, name, _ in listing.collections] == ["Movies"]
        assert await states(library) == {"A": "new"}
        assert await library.rows("SELECT id FROM enricher") == []

    async def test_refused_while_the_collection_is_held(self, library: Library) -> None:
        enricher = await attached(library.store, Deeds())
        async with open_locks(library.store, "somebody") as locks:
            assert await locks.take([await library.collection("Movies")]) == {}
            with pytest.raises(AlreadyRunning):
                await detach_enricher(library.store, "Movies", enricher.external_id)
            with pytest.raises(AlreadyRunning):
                async with enrich_one(library.store, "Movies"):
                    pass

    async def test_a_dry_run_says_what_would_be_owed(self, library: Library) -> None:
        await attached(library.store, Deeds(), "one")
        await attached(library.store, Deeds(default=Failure("x", "x")), "two")
        await library.ingest_one(films("a"))
        outcome = await library.ingest_one(films("a", "b", "c"), dry_run=True)
        assert outcome.enriched is not None
        assert (outcome.enriched.owed, outcome.enriched.succeeded) == (1 + 2 * 2, 0)


class TestByHand:
    async def test_it_does_what_is_owed_and_does_not_ask_the_source(self, library: Library) -> None:
        await library.ingest_one(films("a", "b"))
        deeds = Deeds()
        await attached(library.store, deeds)
        library.script.asked.clear()
        told: list[Enriching] = []
        async with enrich_one(library.store, "Movies", progress=told.append) as work:
            await work.run()
        assert (work.result.succeeded, work.result.owed, work.result.interrupted) == (2, 0, False)
        assert [(one.succeeded, one.failed, one.total, one.ended) for one in (told[0], told[-1])] == [
            (0, 0, 2, False),
            (2, 0, 2, True),
        ]
        assert library.script.asked == []
        assert await states(library) == {"A": "new", "B": "new"}
        assert await library.rows("SELECT run_id, status FROM enrichment_outcome") == [(work.run_id, "done")]

    async def test_only_what_failed(self, library: Library) -> None:
        deeds = Deeds(by_title={"A": Failure("x", "x")})
        await attached(library.store, deeds)
        await library.ingest_one(films("a"))
        other = Deeds()
        await attached(library.store, other, "other")
        deeds.by_title.clear()
        async with enrich_one(library.store, "Movies", only_failed=True) as work:
            await work.run()
        assert (work.result.succeeded, work.result.owed) == (1, 1)
        assert other.asked() == []

    async def test_more_than_a_page(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("retrovue.ingest.enrichment.PAGE", 2)
        await library.ingest_one(films(*"abcdefg"))
        deeds = Deeds(by_title={"C": Failure("x", "x")})
        await attached(library.store, deeds)
        async with enrich_one(library.store, "Movies") as work:
            await work.run()
        assert (work.result.succeeded, work.result.failed, work.result.owed) == (6, 1, 1)
        assert sorted(deeds.asked()) == list("ABCDEFG")

    async def test_a_collection_without_any_is_refused(self, library: Library) -> None:
        with pytest.raises(RequestError) as refused:
            async with enrich_one(library.store, "Movies"):
                pass
        assert refused.value.code == "no_enrichers"


class TestInterrupted:
    async def test_what_is_committed_stays_and_the_rest_is_owed(self, library: Library) -> None:
        reached = anyio.Event()

        async def wait() -> None:
            reached.set()
            await anyio.sleep_forever()

        deeds = Deeds(by_title={"B": wait})
        first = await attached(library.store, Deeds(), "first", priority=1)
        await attached(library.store, deeds, "second", priority=2)
        library.script.listings["Movies"] = [films("a", "b")]
        summary = await cancelled_at(library, reached.wait)
        outcome = by_name(summary)["Movies"]
        assert isinstance(outcome, Ingested)
        assert outcome.counts.created == 2
        assert outcome.enriched is not None
        assert outcome.enriched.interrupted
        assert (outcome.enriched.succeeded, outcome.enriched.owed) == (2, 2)
        assert summary.interrupted
        assert summary.status == "partial"
        assert await states(library) == {"A": "enriching", "B": "enriching"}
        assert await library.rows("SELECT status, succeeded FROM enrichment_outcome") == [("interrupted", 2)]
        assert await library.rows("SELECT status FROM ingest_outcome") == [("ingested",)]
        done = "SELECT DISTINCT external_id FROM asset_enrichment JOIN enricher ON id = enricher_id"
        assert await library.rows(done) == [(first.external_id,)]
        deeds.by_title.clear()
        again = await library.ingest_one(films("a", "b"))
        assert again.enriched is not None
        assert (again.enriched.succeeded, again.enriched.owed) == (2, 0)
