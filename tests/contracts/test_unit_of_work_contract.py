"""One unit of work for a whole source: UW-1 to UW-8 of docs/contract/unit-of-work.md."""

from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest

from retrovue.core.answers import Ingestibility
from retrovue.core.results import Ingested, IngestSummary
from retrovue.errors import SourceError
from retrovue.store.session import Store
from retrovue.store.url import URL
from tests.support.library import (
    Library,
    Step,
    agree,
    cancelled_at,
    codes,
    draft,
    failure,
    gate,
    left_clean,
    page,
    raise_on,
)
from tests.support.wire import When, cut_at_commit_of
from tests.support.world import MOVIES, NAME, World

pytestmark = pytest.mark.anyio

NAMES = ("Movies", "Shows", "Clips")
LISTINGS = {
    "Movies": [page(draft("a"), draft("b")), page(draft("c"))],
    "Shows": [page(draft("d"), draft("e", "d.mkv"))],
    "Clips": [page(draft("f"))],
}
EDITED: dict[str, list[Step]] = {
    "Movies": [page(draft("a", year=1990), draft("b", "moved.mkv"))],
    "Shows": [page(draft("d", title="Another"), draft("e", "d.mkv"), draft("g"))],
    "Clips": [page(draft("f", "other.mkv", runtime_ms=5), draft("h"))],
}
BROKEN = SourceError("it is broken", code="broken")


@pytest.fixture
async def three(library: Library) -> Library:
    return await Library.make(library.store, *NAMES)


def ingested(summary: IngestSummary) -> dict[str, Ingested]:
    assert len(summary.ingested) == len(summary.outcomes)
    return {outcome.collection.name: outcome for outcome in summary.ingested}


@pytest.mark.rule("UW-1")
class TestUW1:
    """UW-1: one transaction merges all targeted collections."""

    async def test_one_transaction_wrote_every_row(self, three: Library) -> None:
        summary = await three.ingest(LISTINGS, atomic=True)
        assert codes(summary) == dict.fromkeys(NAMES, "ingested")
        assert summary.status == "ok"
        written = await three.rows(
            "SELECT DISTINCT xmin::text FROM asset UNION SELECT DISTINCT xmin::text FROM ingest_outcome"
            " UNION SELECT DISTINCT xmin::text FROM asset_alias"
        )
        assert len(written) == 1
        assert {"a", "b", "c", "d", "f"} == set(await three.assets())
        assert await three.aliases() == {"e": "d"}

    async def test_a_sync_and_its_changes_in_the_feed(self, three: Library) -> None:
        await three.ingest(LISTINGS)
        summary = await three.ingest(EDITED, atomic=True, mode="sync")
        assert {name: outcome.counts.refreshed for name, outcome in ingested(summary).items()} == {
            "Movies": 1,
            "Shows": 1,
            "Clips": 0,
        }
        changes = await three.rows(
            "SELECT collection.name, what FROM asset_change JOIN collection ON id = collection_uuid ORDER BY position"
        )
        assert sorted(changes) == [
            ("Clips", "relocated"), ("Movies", "missing"), ("Movies", "refreshed"), ("Movies", "relocated"),
            ("Shows", "refreshed"),
        ]  # fmt: skip
        (writers,) = await three.rows("SELECT count(DISTINCT xmin::text) FROM asset_change")
        assert writers == (1,)

    async def test_it_finds_the_same_as_without(self, three: Library) -> None:
        apart = await Library.make(three.store, *NAMES)
        for listings in (LISTINGS, EDITED):
            for mode in ("ingest", "sync"):
                together = ingested(await three.ingest(listings, atomic=True, mode=mode))
                alone = ingested(await apart.ingest(listings, mode=mode))
                for name in NAMES:
                    assert together[name].counts == alone[name].counts
                    assert together[name].listed == alone[name].listed


@pytest.mark.rule("UW-2")
class TestUW2:
    """UW-2: the collections are read and staged at the same time, and no transaction waits for the source."""

    async def test_each_listing_waits_for_the_others(self, three: Library) -> None:
        reading = {name: anyio.Event() for name in NAMES}

        async def meet() -> None:
            for event in reading.values():
                with anyio.fail_after(20):
                    await event.wait()
            (open_,) = await three.rows(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name LIKE 'retrovue-unit%' AND state <> 'idle'"
            )
            assert open_ == (0,)

        def arrive(name: str) -> object:
            async def act() -> None:
                reading[name].set()

            return act

        listings = {name: [*LISTINGS[name], arrive(name), meet] for name in NAMES}
        assert codes(await three.ingest(listings, atomic=True)) == dict.fromkeys(NAMES, "ingested")
        assert three.script.peak == 3

    async def test_within_the_concurrency(self, three: Library) -> None:
        await three.ingest(LISTINGS, atomic=True, concurrency=1)
        assert three.script.peak == 1


@pytest.mark.rule("UW-3")
class TestUW3:
    """UW-3: one that fails rolls back the others, which say by whom."""

    @pytest.mark.parametrize("mode", ["ingest", "sync"])
    async def test_in_its_listing(self, three: Library, mode: str) -> None:
        await three.ingest(LISTINGS)
        before = await three.contents()
        broken: dict[str, list[Step]] = {**EDITED, "Shows": [page(draft("d")), BROKEN]}
        summary = await three.ingest(broken, atomic=True, mode=mode)
        assert codes(summary) == {"Movies": "rolled_back", "Shows": "broken", "Clips": "rolled_back"}
        assert await three.contents() == before
        assert summary.status == "error"
        for name in ("Movies", "Clips"):
            rolled_back = failure(summary, name)
            assert "Shows" in rolled_back.message
            assert rolled_back.context["failed"]["name"] == "Shows"
            assert rolled_back.context["failed"]["code"] == "broken"

    async def test_in_the_merge(self, three: Library) -> None:
        await raise_on(three.store, "asset", "NEW.title = 'D'")
        summary = await three.ingest(LISTINGS, atomic=True)
        assert {name: code == "rolled_back" for name, code in codes(summary).items()} == {
            "Movies": True,
            "Shows": False,
            "Clips": True,
        }
        assert await three.assets() == {}

    async def test_if_all_of_its_items_are_rejected(self, three: Library) -> None:
        await three.map("Clips", ("/elsewhere", "/mnt"))
        summary = await three.ingest(LISTINGS, atomic=True)
        assert codes(summary) == {"Movies": "rolled_back", "Shows": "rolled_back", "Clips": "all_rejected"}
        assert await three.assets() == {}
        again = await three.ingest({"Clips": [page(draft("f", "/elsewhere/f.mkv"))]}, atomic=True)
        assert codes(again) == dict.fromkeys(NAMES, "ingested")

    async def test_if_another_run_has_it(self, three: Library) -> None:
        """Nothing is read then."""
        release = anyio.Event()
        async with three.run() as run:
            three.script.listings.update({"Movies": [release], "Shows": [], "Clips": []})
            summary = await three.ingest(atomic=True)
            release.set()
        assert "already_running" in codes(summary).values()
        assert set(codes(summary).values()) <= {"already_running", "rolled_back"}
        assert run.summary.status == "ok"

    def test_the_command(self, world: World) -> None:
        world.break_listing(MOVIES)
        failed = world.cli("source", "ingest", NAME, "--atomic", "--json")
        assert failed.status == 1
        assert failed.document["status"] == "error"
        assert failed.document["atomic"] is True
        errors = {error["collection"]["name"]: error for error in failed.document["errors"]}
        assert errors["TV Shows"]["code"] == "rolled_back"
        assert "Movies" in errors["TV Shows"]["message"]
        assert errors["TV Shows"]["hint"]
        assert world.catalogue.rows("SELECT 1 FROM asset") == []
        world.plex.faults.clear()
        assert world.cli("source", "ingest", NAME, "--atomic").status == 0


@pytest.mark.rule("UW-4")
class TestUW4:
    """UW-4: a collection that isn't eligible is skipped, and keeps no other from being merged."""

    async def test_one_that_is_not_enabled(self, three: Library) -> None:
        await three.enable("Shows", enabled=False)
        assert codes(await three.ingest(LISTINGS, atomic=True)) == {
            "Movies": "ingested",
            "Shows": "sync_disabled",
            "Clips": "ingested",
        }

    async def test_one_that_is_not_ingestible_any_more(self, three: Library) -> None:
        lost = Ingestibility(ingestible=False, code="lost", reason="it is lost")
        three.script.ingestible["Clips"] = [Ingestibility(ingestible=True), lost]
        assert codes(await three.ingest(LISTINGS, atomic=True)) == {
            "Movies": "ingested",
            "Shows": "ingested",
            "Clips": "lost",
        }
        assert set(await three.assets()) == {"a", "b", "c", "d"}


@pytest.mark.rule("UW-5")
class TestUW5:
    """UW-5: an interrupted run writes nothing of any collection."""

    async def test_while_one_is_read(self, three: Library) -> None:
        reading = anyio.Event()

        async def arrive() -> None:
            reading.set()
            await anyio.sleep_forever()

        three.script.listings.update({**LISTINGS, "Clips": [page(draft("f")), arrive]})
        summary = await cancelled_at(three, reading.wait, atomic=True)
        assert codes(summary) == dict.fromkeys(NAMES, "interrupted")
        assert await three.assets() == {}

    async def test_in_the_transaction(self, three: Library) -> None:
        three.script.listings.update(LISTINGS)
        async with gate(three.store, "asset", when="NEW.title = 'D'") as held:
            summary = await cancelled_at(three, held.reached, atomic=True)
        assert codes(summary) == dict.fromkeys(NAMES, "interrupted")
        assert await three.assets() == {}


@pytest.mark.rule("UW-6")
class TestUW6:
    """UW-6: a lost answer to COMMIT is resolved for all collections together."""

    @pytest.mark.usefixtures("scripted")
    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_by_what_the_database_says(self, database_url: str, when: When) -> None:
        with TemporaryDirectory(prefix="rv") as directory:  # short enough for the name of a socket
            async with (
                cut_at_commit_of(URL.parse(database_url), b"INSERT INTO plan", when, Path(directory)) as (
                    through,
                    wire,
                ),
                Store(through) as store,
                left_clean(store),
            ):
                three = await Library.make(store, *NAMES)
                summary = await three.ingest(LISTINGS, atomic=True)
                assert wire.cuts == 1
                assert set(codes(summary).values()) == {"ingested" if when == "after" else "database_unavailable"}
                await agree(three, summary)

    async def test_a_commit_that_the_server_refuses(self, three: Library) -> None:
        three.script.listings.update(LISTINGS)
        barred = gate(three.store, "ingest_outcome", when="NEW.status = 'ingested'", deferred=True)
        async with barred as closed, anyio.create_task_group() as group:

            async def kill() -> None:
                await closed.reached()
                await closed.terminate()

            group.start_soon(kill)
            summary = await three.ingest(atomic=True)
        assert set(codes(summary).values()) == {"database_unavailable"}
        await agree(three, summary)


@pytest.mark.rule("UW-7")
class TestUW7:
    """UW-7: a dry-run writes nothing, and says what the run would do."""

    @pytest.mark.parametrize("mode", ["ingest", "sync"])
    async def test_the_same_counts(self, three: Library, mode: str) -> None:
        await three.ingest(LISTINGS)
        before = await three.contents()
        told = ingested(await three.ingest(EDITED, atomic=True, mode=mode, dry_run=True))
        assert await three.contents() == before
        done = ingested(await three.ingest(EDITED, atomic=True, mode=mode))
        for name in NAMES:
            assert told[name].counts == done[name].counts

    async def test_one_that_would_fail(self, three: Library) -> None:
        summary = await three.ingest({**LISTINGS, "Shows": [BROKEN]}, atomic=True, dry_run=True)
        assert codes(summary) == {"Movies": "rolled_back", "Shows": "broken", "Clips": "rolled_back"}
        assert summary.status == "error"
        assert await three.audit() == []


@pytest.mark.rule("UW-8")
class TestUW8:
    """UW-8: the audit trail has an outcome for each collection, and says that the run was one unit of work."""

    async def test_what_was_rolled_back_is_tried_again(self, three: Library) -> None:
        await three.ingest({**LISTINGS, "Shows": [BROKEN]}, atomic=True)
        assert await three.audit() == [
            ("Clips", "failed", "rolled_back"),
            ("Movies", "failed", "rolled_back"),
            ("Shows", "failed", "broken"),
        ]
        again = await three.ingest(LISTINGS, atomic=True, retry_failed=True)
        assert codes(again) == dict.fromkeys(NAMES, "ingested")

    def test_the_log_says_so(self, world: World) -> None:
        world.cli.ok("source", "ingest", NAME, "--atomic")
        world.cli.ok("source", "ingest", NAME)
        log = world.cli.ok("ingest", "log")["entries"]
        assert {entry["atomic"] for entry in log} == {True, False}
        assert len([entry for entry in log if entry["atomic"]]) == 2
