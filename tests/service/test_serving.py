"""Schedules are worked by themselves: once over all hosts, caught up once, and again if their host is gone."""

import datetime as dt

import anyio
import pytest

from retrovue import add_schedule, get_schedule, list_schedules, remove_schedule, run_schedule_now, update_schedule
from retrovue.core.errors import NotFound, RequestError
from retrovue.store import schedules
from retrovue.store.schedules import KEPT_RUNS
from retrovue.store.session import Store
from tests.support.library import Library, draft, execute, page, rows
from tests.support.scheduling import NEVER, SOURCE, end, later, look, served

pytestmark = pytest.mark.anyio


class TestDueTimes:
    async def test_only_the_latest_runs_are_kept(self, library: Library) -> None:
        store = library.store
        await add_schedule(store, SOURCE, cron=NEVER, name="S")
        async with schedules.joined(store, "A") as host:
            await execute(
                store,
                "INSERT INTO schedule_run (schedule_id, due_at, host_id, host, ended_at, status)"
                " SELECT id, now() - n * interval '1 h', gen_random_uuid(), 'B', now(), 'ok'"
                f" FROM schedule, generate_series(1, {KEPT_RUNS}) AS n",
            )
            for _ in range(2):
                await run_schedule_now(store, "S")
                (claim,) = await look(host, store, await later(store, dt.timedelta()))
                await end(host, store, claim)
        assert await rows(store, "SELECT count(*), max(due_at) FROM schedule_run") == [(KEPT_RUNS, claim.due_at)]


class TestServing:
    @pytest.mark.parametrize("what", ["sync", "full-sync", "ingest"])
    async def test_a_run_is_in_the_audit_trail(self, library: Library, what: schedules.Work) -> None:
        library.script.listings["Movies"] = [page(draft("A"), draft("B"))]
        async with served(library.store) as ended, anyio.create_task_group() as group:
            await add_schedule(library.store, SOURCE, cron=NEVER, what=what, name="S")
            await run_schedule_now(library.store, "S")
            with anyio.fail_after(30):
                done = await ended.receive()
            group.cancel_scope.cancel()
        assert (done.status, done.message) == ("ok", None)
        assert await library.audit() == [("Movies", "ingested", None)]
        assert await library.rows("SELECT run_id FROM ingest_start") == [(done.run_id,)]
        assert set(await library.assets()) == {"A", "B"}
        ((run,),) = [listing.runs for listing in await list_schedules(library.store)]
        assert (run.run_id, run.status, run.host) == (done.run_id, "ok", "A")

    async def test_without_enrichers_there_is_nothing_to_enrich(self, library: Library) -> None:
        await add_schedule(library.store, SOURCE, cron=NEVER, what="enrich", name="S")
        async with served(library.store) as ended:
            await run_schedule_now(library.store, "S")
            with anyio.fail_after(30):
                assert (await ended.receive()).status == "ok"


class TestOperations:
    @pytest.fixture
    async def store(self, library: Library) -> Store:
        await add_schedule(library.store, SOURCE, cron="0 4 * * *", time_zone="Europe/Berlin")
        return library.store

    async def test_names(self, store: Store) -> None:
        (listing,) = await list_schedules(store)
        schedule = listing.schedule
        assert (schedule.name, schedule.what, schedule.enabled) == ("A source: sync", "sync", True)
        assert (await get_schedule(store, str(schedule.id))).schedule == schedule
        assert (await get_schedule(store, "A source: sync")).schedule == schedule
        with pytest.raises(RequestError) as refused:
            await add_schedule(store, SOURCE, cron="@daily")
        assert refused.value.code == "name_taken"
        await add_schedule(store, SOURCE, cron="@daily", name="other")
        with pytest.raises(RequestError) as refused:
            await update_schedule(store, "other", name="A source: sync")
        assert refused.value.code == "name_taken"
        with pytest.raises(NotFound) as unknown:
            await get_schedule(store, "nothing")
        assert unknown.value.code == "schedule_not_found"

    @pytest.mark.parametrize("name", ["", " ", "x" * 201, "a\nb", "\0"])
    async def test_bad_names_are_refused(self, store: Store, name: str) -> None:
        with pytest.raises(RequestError) as refused:
            await add_schedule(store, SOURCE, cron="@daily", name=name)
        assert refused.value.code == "bad_name"

    async def test_removal(self, store: Store) -> None:
        removed = await remove_schedule(store, "A source: sync")
        assert removed.schedule.cron == "0 4 * * *"
        assert await list_schedules(store) == []

    async def test_those_of_a_source_go_with_it(self, store: Store) -> None:
        await execute(store, "DELETE FROM path_mapping", "DELETE FROM collection", "DELETE FROM source")
        assert await list_schedules(store) == []

    async def test_whether_a_host_serves_is_told(self, store: Store) -> None:
        assert (await run_schedule_now(store, "A source: sync"))[1] is False
        async with schedules.joined(store, "A"):
            assert (await run_schedule_now(store, "A source: sync"))[1] is True
