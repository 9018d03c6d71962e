"""Jobs and workers: JB-1 to JB-9 of docs/contract/jobs-and-workers.md."""

import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

import anyio
import pytest
from msgspec.structs import replace
from procrastinate.schema import SchemaManager

from retrovue.core.answers import Ingestibility
from retrovue.core.results import Failed, Ingested, Skipped
from retrovue.enrichers.base import Failure
from retrovue.errors import RetrovueError, SourceError
from retrovue.ingest import progress_writer
from retrovue.ingest.documents import summary_document
from retrovue.ingest.options import IngestOptions
from retrovue.operations.progress import stop_run
from retrovue.service import engine, jobs
from retrovue.service.requesting import request_by, request_enrichment, request_run
from retrovue.store import batches, driver, outages, requests, session
from retrovue.store.addresses import database_url as parsed
from retrovue.store.locks import open_locks
from retrovue.store.migrations import scripts_directory
from retrovue.store.session import Store
from tests.support.library import Library, draft, execute, page, rows, until
from tests.support.relay import relay
from tests.support.scripted_enrichers import Deeds, attached
from tests.support.working import PATIENCE_S, QUICK, USUAL, asked, followed, worker

pytestmark = pytest.mark.anyio

NAMES = ("Movies", "Shows", "Clips")
JOBS = "retrovue_jobs.procrastinate_jobs"
UNREADABLE = Ingestibility(ingestible=False, code="missing_directory", reason="The directory isn't here.")


@pytest.fixture
async def three(library: Library) -> Library:
    await execute(library.store, "DELETE FROM path_mapping", "DELETE FROM collection", "DELETE FROM source")
    return await Library.make(library.store, *NAMES)


def without_times(document: Mapping[str, Any], *, ids: bool = False) -> Any:
    """A document without what differs from run to run."""

    def cut(value: Any) -> Any:
        if isinstance(value, dict):
            gone = {"durations", "duration", "duration_seconds", *(() if ids else ("run_id",))}
            return {key: cut(item) for key, item in value.items() if key not in gone}
        return [cut(item) for item in value] if isinstance(value, list) else value

    return cut(document)


async def empty_catalogue(library: Library) -> None:
    await execute(library.store, "DELETE FROM asset", "DELETE FROM known_listing", "DELETE FROM collection_reading",
                  "DELETE FROM ingest_outcome", "DELETE FROM ingest_start")  # fmt: skip


@pytest.mark.rule("JB-1")
class TestJB1:
    """JB-1: a run that is asked of the workers gives what the same run here gives."""

    async def test_the_summary_is_that_of_a_run_here(self, three: Library, packages: Any) -> None:
        deeds = Deeds()
        packages.install("enricher", "retrovue.enrichers", scripted="tests.support.scripted_enrichers:ScriptedEnricher")
        await attached(three.store, deeds)
        deeds.by_title["B"] = Failure("unreadable", "it can't be read")
        three.script.listings |= {
            "Movies": [page(draft("A"), draft("B"), draft("C", "A.mkv"))],
            "Shows": [page(draft("D")), SourceError("it is broken", code="broken", context={"b": 1, "a": [2]})],
            "Clips": [],
        }
        three.script.ingestible["Clips"] = [UNREADABLE]
        options = IngestOptions(strict=True)
        here = await three.ingest(strict=True)
        await empty_catalogue(three)
        async with worker(three.store):
            there = await asked(three.store, options)
        assert without_times(summary_document(there)) == without_times(summary_document(here))
        assert list(summary_document(there)) == list(summary_document(here))
        assert there.status == here.status == "partial"
        kinds = {type(outcome) for outcome in there.outcomes}
        assert kinds == {Ingested, Failed, Skipped}

    async def test_its_id_is_that_of_the_request(self, three: Library) -> None:
        three.script.listings |= {name: [page(draft(name))] for name in NAMES}
        async with worker(three.store):
            summary = await asked(three.store)
        assert await three.rows("SELECT DISTINCT run_id, trigger FROM ingest_start") == [(summary.run_id, "source")]
        assert await three.rows("SELECT id FROM run_request") == [(summary.run_id,)]

    async def test_without_an_ingestible_collection_it_is_the_same_error(self, three: Library) -> None:
        three.script.ingestible |= {name: [replace(UNREADABLE, reason=f"{name} isn't here.")] for name in NAMES}
        with pytest.raises(RetrovueError) as here:
            await three.ingest()
        async with worker(three.store):
            with pytest.raises(RetrovueError) as there:
                await asked(three.store)
        for error in (here.value, there.value):
            error.context["collections"].sort(key=lambda one: one["name"])
        assert (there.value.code, there.value.context) == (here.value.code, here.value.context)

    @pytest.mark.parametrize("options", [{"dry_run": True}, {"atomic": True}])
    async def test_what_jobs_cant_do_is_refused(self, library: Library, options: Any) -> None:
        with pytest.raises(RetrovueError) as refused:
            await request_run(library.store, "A source", IngestOptions(**options))
        assert refused.value.code == "bad_request"
        assert await library.rows("SELECT count(*) FROM run_request") == [(0,)]


@pytest.mark.rule("JB-2")
class TestJB2:
    """JB-2: one job of a collection is worked and one waits; requests during a run give one further run."""

    async def test_a_hundred_requests_during_a_run_give_one_further_run(self, library: Library) -> None:
        reading, go_on = anyio.Event(), anyio.Event()

        async def read() -> None:
            reading.set()

        library.script.listings["Movies"] = [read, go_on, page(draft("A"))]
        async with worker(library.store, concurrency=3), worker(library.store, "B", concurrency=3):
            first = await request_run(library.store, "A source")
            with anyio.fail_after(PATIENCE_S):
                await reading.wait()
            async with engine.opened(library.store) as opened:
                further = [await request_by(opened, library.store, "A source") for _ in range(100)]
            waiting = await rows(library.store, f"SELECT status::text, count(*) FROM {JOBS} GROUP BY 1 ORDER BY 1")
            assert waiting == [("doing", 1), ("todo", 1)]
            go_on.set()
            summaries = [await followed(library.store, one.id) for one in (first, further[0], further[-1])]
        assert await library.rows("SELECT count(*) FROM requested_collection WHERE ended_at IS NULL") == [(0,)]
        assert {summary.status for summary in summaries} == {"ok"}
        assert library.script.asked.count("pages Movies") == 2
        assert await library.audit() == [("Movies", "ingested", None)] * 2

    async def test_requests_that_ask_something_else_are_worked_too(self, library: Library) -> None:
        library.script.listings["Movies"] = [page(draft("A"))]
        asks = [IngestOptions(), IngestOptions(mode="sync", full=True), IngestOptions(concurrency=2, strict=True)]
        given = [await request_run(library.store, "A source", options) for options in asks]
        async with worker(library.store):
            for one in given:
                assert (await followed(library.store, one.id)).status == "ok"
        assert await library.rows("SELECT mode FROM ingest_start ORDER BY 1") == [("ingest",), ("sync",)]

    async def test_while_a_person_is_at_work_it_waits(self, library: Library) -> None:
        library.script.listings["Movies"] = [page(draft("A"))]
        async with worker(library.store):
            async with open_locks(library.store, "somebody else") as locks:
                await locks.take([await library.collection("Movies")])
                request = await request_run(library.store, "A source")
                await until(
                    library.store,
                    f"EXISTS (SELECT FROM {JOBS} WHERE scheduled_at IS NOT NULL)",
                )
                assert await library.audit() == []
            assert (await followed(library.store, request.id)).status == "ok"


@pytest.mark.rule("JB-3")
class TestJB3:
    """JB-3: another worker does what one that is gone had begun, and nothing is done twice."""

    async def test_what_a_worker_that_is_gone_had_begun(self, library: Library) -> None:
        library.script.listings["Movies"] = [page(draft("A"))]
        request = await request_run(library.store, "A source")
        await execute(
            library.store,
            "UPDATE requested_collection SET run_id = request_id, host_id = gen_random_uuid(), attempts = 1",
            "INSERT INTO job_host (id, name, beaten_at) SELECT host_id, 'gone', now() - interval '1 h'"
            " FROM requested_collection",
            "SET LOCAL search_path TO retrovue_jobs",
            "UPDATE procrastinate_jobs SET status = 'doing'",
        )
        async with worker(library.store, "B", times=QUICK):
            summary = await followed(library.store, request.id)
        assert summary.status == "ok"
        ((run,),) = await library.rows("SELECT run_id FROM ingest_start")
        assert run != request.id  # the first attempt's rows are its own

    async def test_a_job_for_a_worker_that_is_gone(self, library: Library) -> None:
        library.script.listings["Movies"] = [page(draft("A"))]
        request = await request_run(library.store, "A source")
        gone = uuid.uuid4()
        await execute(
            library.store,
            f"INSERT INTO job_host (id, name, beaten_at) VALUES ('{gone}', 'gone', now() - interval '20 min')",
            "SET LOCAL search_path TO retrovue_jobs",
            f"UPDATE procrastinate_jobs SET queue_name = '{jobs.queue_for(gone)}'",
        )
        async with worker(library.store, "B", times=QUICK):
            assert (await followed(library.store, request.id)).status == "ok"

    async def test_a_worker_that_seemed_to_be_gone_keeps_what_it_works(self, library: Library) -> None:
        reading, go_on = anyio.Event(), anyio.Event()

        async def read() -> None:
            reading.set()

        library.script.listings["Movies"] = [read, go_on, page(draft("A"))]
        # As one whose event loop is blocked: it gives no sign of life.
        silent = replace(QUICK, engine=replace(QUICK.engine, heartbeat_s=1000), look_s=1000, lease_s=600.0)
        async with worker(library.store, times=silent):
            request = await request_run(library.store, "A source")
            with anyio.fail_after(PATIENCE_S):
                await reading.wait()
            await execute(
                library.store,
                "UPDATE job_host SET beaten_at = now() - interval '1 h'",
                "SET LOCAL search_path TO retrovue_jobs",
                "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 h'",
            )
            async with worker(library.store, "B", times=QUICK):
                await until(library.store, f"EXISTS (SELECT FROM {JOBS} WHERE scheduled_at IS NOT NULL)")
                go_on.set()
                assert (await followed(library.store, request.id)).status == "ok"
                await until(library.store, f"NOT EXISTS (SELECT FROM {JOBS} WHERE status IN ('todo', 'doing'))")
        assert library.script.asked.count("pages Movies") == 1
        assert await library.audit() == [("Movies", "ingested", None)]

    async def test_all_lose_the_database(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(outages, "PAUSES", (0.0,))
        reading = anyio.Event()

        async def read() -> None:
            reading.set()
            await anyio.sleep_forever()

        library.script.listings["Movies"] = [page(draft("A")), read]
        async with worker(library.store, times=QUICK), worker(library.store, "B", times=QUICK):
            request = await request_run(library.store, "A source")
            with anyio.fail_after(PATIENCE_S):
                await reading.wait()
            library.script.listings["Movies"] = [page(draft("B"))]
            await rows(
                library.store,
                "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            assert (await followed(library.store, request.id)).status == "ok"
        assert set(await library.assets()) == {"B"}


@pytest.mark.rule("JB-4")
class TestJB4:
    """JB-4: a worker that is cut off writes nothing after another one has taken over."""

    async def test_the_network_is_silent(
        self, library: Library, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outages, "PAUSES", (0.0,))
        for module in (driver, session):
            monkeypatch.setattr(module, "STATEMENT_SECONDS", 2.0)
            monkeypatch.setattr(module, "LONG_STATEMENT_SECONDS", 2.0)
        reading, go_on = anyio.Event(), anyio.Event()

        async def read() -> None:
            reading.set()

        library.script.listings["Movies"] = [page(draft("A")), read, go_on]
        name = parsed(database_url).database
        async with relay(parsed(database_url)) as far:
            address = f"postgresql://retrovue@127.0.0.1:{far.port}/{name}?connect_timeout=1"
            async with Store(parsed(address)) as cut_off, worker(cut_off, times=QUICK):
                request = await request_run(library.store, "A source")
                with anyio.fail_after(PATIENCE_S):
                    await reading.wait()
                with far.resumed():
                    far.stall("up", "down")
                    library.script.listings["Movies"] = [page(draft("B"))]
                    async with worker(library.store, "B", times=QUICK):
                        assert (await followed(library.store, request.id)).status == "ok"
                    # What the first one has read it would write now.
                    go_on.set()
                await until(library.store, "NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory')")
                assert set(await library.assets()) == {"B"}
        assert set(await library.assets()) == {"B"}
        assert ("Movies", "ingested", None) in await library.audit()


@pytest.mark.rule("JB-5")
class TestJB5:
    """JB-5: a source's limits hold over all hosts."""

    async def test_no_more_collections_at_once_than_allowed(self, three: Library) -> None:
        two, go_on = anyio.Event(), anyio.Event()

        async def read() -> None:
            if three.script.running == 2:
                two.set()

        three.script.listings |= {name: [read, go_on, page(draft(name))] for name in NAMES}
        request = await request_run(three.store, "A source", IngestOptions(concurrency=2))
        async with worker(three.store), worker(three.store, "B"):
            with anyio.fail_after(PATIENCE_S):
                await two.wait()
            # The third one is looked at, and left.
            await until(three.store, f"(SELECT count(*) FROM {JOBS} WHERE status = 'doing') = 2")
            go_on.set()
            assert (await followed(three.store, request.id)).status == "ok"
        assert three.script.peak == 2

    async def test_the_requests_of_a_second_are_shared(self, three: Library, packages: Any) -> None:
        packages.install("rated", rated="tests.support.library:RatedImporter")
        await execute(
            three.store,
            """UPDATE source SET type = 'rated', external_id = 'rated-00000000', config = config || '{"rate": 9}'""",
        )
        three.script.listings |= {name: [page(draft(name))] for name in NAMES}
        async with worker(three.store, concurrency=3):
            assert (await asked(three.store, IngestOptions(concurrency=2))).status == "ok"
            assert (await asked(three.store, IngestOptions(concurrency=9))).status == "ok"
        rates = [one for one in three.script.asked if one.startswith("rate")]
        assert rates == ["rate 4.5"] * 3 + ["rate 3.0"] * 3

    async def test_which_limit_holds(self, three: Library) -> None:
        source = replace(three.source, type="plex", config={"max_requests_per_second": 9.0})
        assert jobs.rate_of(source, IngestOptions()) == 9
        assert jobs.rate_of(source, IngestOptions(max_rps=3)) == 3
        assert jobs.rate_of(three.source, IngestOptions()) is None


@pytest.mark.rule("JB-6")
class TestJB6:
    """JB-6: a collection is left to a worker that can read its files."""

    async def test_another_host_works_it(self, library: Library) -> None:
        library.script.listings["Movies"] = [page(draft("A"))]
        # The first host that asks can't read it.
        library.script.ingestible["Movies"] = [UNREADABLE, Ingestibility(ingestible=True)]
        async with worker(library.store), worker(library.store, "B"):
            summary = await asked(library.store)
        assert summary.status == "ok"
        assert await library.audit() == [("Movies", "ingested", None)]

    async def test_if_none_can_it_is_skipped_with_the_reasons_of_each(self, library: Library) -> None:
        library.script.listings["Movies"] = []
        library.script.ingestible["Movies"] = [UNREADABLE]
        async with worker(library.store), worker(library.store, "B"):
            with pytest.raises(RetrovueError) as nothing:
                await asked(library.store)
        (reason,) = [one["reason"] for one in nothing.value.context["collections"]]
        assert reason in {
            "On A: The directory isn't here. On B: The directory isn't here.",
            "On B: The directory isn't here. On A: The directory isn't here.",
        }


@pytest.mark.rule("JB-7")
class TestJB7:
    """JB-7: enrichment is worked in batches, and its result is folded from them."""

    async def test_batches(self, library: Library, packages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        packages.install("enricher", "retrovue.enrichers", scripted="tests.support.scripted_enrichers:ScriptedEnricher")
        deeds = Deeds()
        await library.ingest({"Movies": [page(*[draft(f"{number:02}") for number in range(20)])]})
        await attached(library.store, deeds)
        deeds.by_title["07"] = Failure("unreadable", "it can't be read")
        monkeypatch.setattr(batches, "split", partial(batches.split, size=6))
        request = await request_enrichment(library.store, "Movies")
        async with worker(library.store), worker(library.store, "B"):
            summary = await followed(library.store, request.id)
        (outcome,) = summary.ingested
        assert outcome.enriched is not None
        assert (outcome.enriched.succeeded, outcome.enriched.failed, outcome.enriched.owed) == (19, 1, 1)
        assert [failed["asset"] for failed in outcome.enriched.failures] == ["07"]
        assert sorted(deeds.asked()) == [f"{number:02}" for number in range(20)]
        assert len(deeds.batches) >= 4
        assert await library.rows("SELECT status, succeeded, failed, owed FROM enrichment_outcome") == [
            ("done", 19, 1, 1)
        ]
        assert await library.rows("SELECT count(*) FROM enrichment_batch") == [(0,)]


@pytest.mark.rule("JB-8")
class TestJB8:
    """JB-8: a request that is committed is worked, though its jobs were lost."""

    async def test_without_a_job(self, library: Library) -> None:
        library.script.listings["Movies"] = [page(draft("A"))]
        request = await request_run(library.store, "A source")
        await execute(library.store, "SET LOCAL search_path TO retrovue_jobs", "DELETE FROM procrastinate_jobs")
        async with worker(library.store):
            assert (await followed(library.store, request.id)).status == "ok"

    async def test_ended_requests_are_kept_for_a_while(self, library: Library) -> None:
        library.script.listings["Movies"] = [page(draft("A"))]
        async with worker(library.store):
            old, new = await asked(library.store), await asked(library.store)
            old_age = requests.KEPT_FOR.total_seconds() + 60
            for table, column in (("run_request", "requested_at"), ("requested_collection", "ended_at")):
                key = "id" if table == "run_request" else "request_id"
                await execute(
                    library.store,
                    f"UPDATE {table} SET {column} = now() - interval '{old_age} s' WHERE {key} = '{old.run_id}'",
                )
            await until(library.store, "(SELECT count(*) = 1 FROM run_request)")
        assert await library.rows("SELECT id FROM run_request") == [(new.run_id,)]


@pytest.mark.rule("JB-9")
class TestJB9:
    """JB-9: a worker that is stopped hands back what it holds."""

    async def test_the_next_worker_works_it(self, library: Library) -> None:
        reading = anyio.Event()

        async def stall() -> None:
            reading.set()
            await anyio.sleep_forever()

        library.script.listings["Movies"] = [page(draft("A")), stall]
        async with worker(library.store):
            request = await request_run(library.store, "A source")
            with anyio.fail_after(PATIENCE_S):
                await reading.wait()
        assert await library.assets() == {}
        async with library.store.reading() as reader:
            assert await requests.living(reader, USUAL.gone_s) == []
            (gone,) = await requests.gone(reader, USUAL.gone_s)
        # Somebody has left the job to it just before.
        await execute(
            library.store,
            "SET LOCAL search_path TO retrovue_jobs",
            f"UPDATE procrastinate_jobs SET queue_name = '{jobs.queue_for(gone.id)}' WHERE status = 'todo'",
        )
        library.script.listings["Movies"] = [page(draft("B"))]
        async with worker(library.store, "B"):
            summary = await followed(library.store, request.id)
        assert summary.status == "ok"
        assert set(await library.assets()) == {"B"}
        assert await library.audit() == [("Movies", "interrupted", "interrupted"), ("Movies", "ingested", None)]


@pytest.mark.rule("JB-10")
class TestJB10:
    """JB-10: a run that somebody stops ends on all hosts."""

    @pytest.fixture(autouse=True)
    def often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(progress_writer, "PAUSE_SECONDS", 0.05)

    async def test_what_has_begun_and_what_waits(self, three: Library) -> None:
        three.script.listings |= {name: [page(draft(name)), anyio.Event()] for name in NAMES}
        request = await request_run(three.store, "A source", IngestOptions(concurrency=1))
        async with worker(three.store), worker(three.store, "B"):
            await until(three.store, "EXISTS (SELECT FROM run_progress WHERE phase = 'reading')")
            await stop_run(three.store, request.id)
            summary = await followed(three.store, request.id)
            await until(three.store, f"NOT EXISTS (SELECT FROM {JOBS} WHERE status IN ('todo', 'doing'))")
        assert [outcome.code for outcome in summary.failed] == ["interrupted"] * 3
        assert sum(one.startswith("pages") for one in three.script.asked) == 1
        assert await three.assets() == {}

    async def test_after_a_part_of_it_has_ended(self, three: Library) -> None:
        go_on = anyio.Event()
        three.script.listings |= {name: [page(draft(name)), anyio.Event()] for name in NAMES}
        three.script.listings["Movies"] = [page(draft("A")), go_on]
        request = await request_run(three.store, "A source")
        async with worker(three.store), worker(three.store, "B"):
            await until(three.store, "(SELECT count(*) FROM run_progress WHERE phase = 'reading') = 3")
            go_on.set()
            await until(three.store, "(SELECT count(*) FROM run_progress) = 2")
            await stop_run(three.store, request.id)
            summary = await followed(three.store, request.id)
        assert {outcome.collection.name for outcome in summary.ingested} == {"Movies"}
        assert [outcome.code for outcome in summary.failed] == ["interrupted"] * 2


class TestEngine:
    def test_the_tables_are_those_of_the_installed_engine(self) -> None:
        script = scripts_directory() / "procrastinate" / f"{engine.wanted_version()}.sql"
        assert script.read_text("utf-8").endswith(SchemaManager.get_schema())

    async def test_tables_of_another_version_are_refused(self, store: Store) -> None:
        await execute(store, "COMMENT ON SCHEMA retrovue_jobs IS 'procrastinate 01.00.00'")
        with pytest.raises(RetrovueError) as refused:
            async with engine.opened(store):
                pass
        assert refused.value.code == "job_engine_version"
