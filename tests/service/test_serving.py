"""Schedules are worked by themselves: once over all hosts, caught up once, and again if their host is gone."""

import datetime as dt
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import ObjectReceiveStream

from retrovue import add_schedule, get_schedule, list_schedules, remove_schedule, run_schedule_now, update_schedule
from retrovue.core.errors import NotFound, RequestError
from retrovue.service import serving
from retrovue.service.serving import Ended, serve
from retrovue.store import schedules
from retrovue.store.locks import open_locks
from retrovue.store.schedules import KEPT_RUNS, Claim, Host
from retrovue.store.session import Store
from tests.support.library import Library, draft, execute, page, rows, until

pytestmark = pytest.mark.anyio

SOURCE = "A source"
NEVER = "0 0 29 2 *"
"""An expression that isn't due within the tests."""
DAY = dt.timedelta(days=1)


async def later(store: Store, by: dt.timedelta) -> dt.datetime:
    async with store.reading() as session:
        return await schedules.now_of(session) + by


async def look(host: Host, store: Store, now: dt.datetime) -> list[Claim]:
    async with store.transaction() as session:
        return await schedules.claim(session, host, now)


async def end(host: Host, store: Store, claim: Claim) -> bool:
    async with store.transaction() as session:
        return await schedules.end_run(session, host, claim, "ok", run_id=None, message=None)


class TestDueTimes:
    async def test_over_three_hosts_that_come_and_go_each_is_worked_once(self, library: Library) -> None:
        store = library.store
        began = (await later(store, DAY)).replace(hour=0, minute=0, second=0, microsecond=0)
        await execute(
            store,
            "INSERT INTO schedule (id, source_id, name, what, cron, time_zone, due_after)"
            f" SELECT gen_random_uuid(), '{library.source.id}', 'number ' || n, 'sync',"
            f" concat(n % 60, ' ', n % 24, ' * * *'), 'UTC', '{began.isoformat()}'::timestamptz - interval '1 s'"
            " FROM generate_series(0, 299) AS n",
        )
        worked: Counter[tuple[str, dt.datetime]] = Counter()

        async def work(name: str, now: dt.datetime) -> None:
            async with schedules.joined(store, name) as host:
                for claim in await look(host, store, now):
                    worked[claim.schedule.name, claim.due_at] += 1
                    assert await end(host, store, claim)

        async with schedules.joined(store, "always here") as here:
            for hour in range(1, 25):
                now = began + dt.timedelta(hours=hour, seconds=-1)
                async with anyio.create_task_group() as group:
                    for name in ("one", "two")[: hour % 3]:
                        group.start_soon(work, name, now)
                    for claim in await look(here, store, now):
                        worked[claim.schedule.name, claim.due_at] += 1
                        assert await end(here, store, claim)
        assert len(worked) == 300
        assert set(worked.values()) == {1}
        assert {name for name, _ in worked} == {f"number {number}" for number in range(300)}
        assert await rows(store, "SELECT count(*), count(ended_at) FROM schedule_run") == [(300, 300)]

    async def test_missed_ones_are_caught_up_by_one_run(self, library: Library) -> None:
        store = library.store
        await add_schedule(store, SOURCE, cron="0 * * * *")
        async with schedules.joined(store, "A") as host:
            now = await later(store, 3 * DAY)
            (claim,) = await look(host, store, now)
            assert claim.due_at == now.replace(minute=0, second=0, microsecond=0)
            await end(host, store, claim)
            assert await look(host, store, now) == []
            assert len(await look(host, store, now + dt.timedelta(hours=1))) == 1

    async def test_one_run_at_a_time_and_one_waits(self, library: Library) -> None:
        store = library.store
        await add_schedule(store, SOURCE, cron="0 * * * *", name="hourly")
        async with schedules.joined(store, "A") as host, schedules.joined(store, "B") as other:
            now = await later(store, DAY)
            (claim,) = await look(host, store, now)
            for _ in range(100):
                await run_schedule_now(store, "hourly")
            for at_work in (host, other):
                assert await look(at_work, store, now + DAY) == []
            assert await end(host, store, claim)
            (again,) = await look(other, store, now + DAY)
            assert again.due_at > claim.due_at
            assert await end(other, store, again)
            assert await look(host, store, now + DAY) == []

    async def test_disabled_ones_are_not_due_and_missed_nothing_when_they_are_enabled(self, library: Library) -> None:
        store = library.store
        await add_schedule(store, SOURCE, cron="* * * * *", name="S")
        await update_schedule(store, "S", enabled=False)
        async with schedules.joined(store, "A") as host:
            assert await look(host, store, await later(store, DAY)) == []
            await execute(store, "UPDATE schedule SET due_after = now() - interval '1 day'")
            await update_schedule(store, "S", enabled=True)
            assert await look(host, store, (await get_schedule(store, "S")).schedule.due_after) == []
            assert len(await look(host, store, await later(store, DAY))) == 1

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


class TestHosts:
    async def test_what_a_host_that_is_gone_had_taken_another_one_takes_over(self, library: Library) -> None:
        store = library.store
        await add_schedule(store, SOURCE, cron=NEVER, name="S")
        await run_schedule_now(store, "S")
        now = await later(store, dt.timedelta())
        async with schedules.joined(store, "B") as other:
            async with schedules.joined(store, "A") as host:
                (claim,) = await look(host, store, now)
                assert await look(other, store, now) == []
            (taken,) = await look(other, store, now)
            assert (taken.schedule.id, taken.due_at) == (claim.schedule.id, claim.due_at)
            # The first one was only cut off from the database: its result doesn't count.
            assert not await end(host, store, claim)
            assert await end(other, store, taken)
        ((run,),) = [listing.runs for listing in await list_schedules(store)]
        assert (run.host, run.status) == ("B", "ok")


@asynccontextmanager
async def served(store: Store, name: str = "A") -> AsyncIterator[ObjectReceiveStream[Ended]]:
    """Serve in a task until the block ends; gives the runs that end."""
    send, receive = anyio.create_memory_object_stream[Ended](100)
    async with anyio.create_task_group() as group, send, receive:

        async def work() -> None:
            await serve(store, name, on_ended=send.send_nowait)

        group.start_soon(work)
        yield receive
        group.cancel_scope.cancel()


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

    async def test_a_due_time_comes_by_itself(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        library.script.listings["Movies"] = [page(draft("A"))]
        await add_schedule(library.store, SOURCE, cron="* * * * *")
        tomorrow = await later(library.store, DAY)

        async def clock(_: object) -> dt.datetime:
            return tomorrow

        monkeypatch.setattr(schedules, "now_of", clock)
        async with served(library.store) as ended:
            with anyio.fail_after(30):
                done = await ended.receive()
        assert (done.status, done.due_at) == ("ok", tomorrow.replace(second=0, microsecond=0))

    async def test_failures_are_told(self, library: Library) -> None:
        library.script.listings["Movies"] = [RuntimeError("the disk is gone")]
        await add_schedule(library.store, SOURCE, cron=NEVER, what="sync", name="fails")
        await library.enable("Movies", enabled=True)
        async with served(library.store) as ended:
            await run_schedule_now(library.store, "fails")
            with anyio.fail_after(30):
                done = await ended.receive()
            assert done.status == "error"
            assert "RuntimeError" in (done.message or "")
            await library.enable("Movies", enabled=False)
            await run_schedule_now(library.store, "fails")
            with anyio.fail_after(30):
                done = await ended.receive()
        assert (done.status, done.run_id) == ("error", None)
        assert "no enabled collections" in (done.message or "")
        (listing,) = await list_schedules(library.store, runs=5)
        assert [run.status for run in listing.runs] == ["error", "error"]

    async def test_without_enrichers_there_is_nothing_to_enrich(self, library: Library) -> None:
        await add_schedule(library.store, SOURCE, cron=NEVER, what="enrich", name="S")
        async with served(library.store) as ended:
            await run_schedule_now(library.store, "S")
            with anyio.fail_after(30):
                assert (await ended.receive()).status == "ok"

    async def test_a_run_that_is_stopped_is_done_by_the_next_host(self, library: Library) -> None:
        reading = anyio.Event()

        async def stall() -> None:
            reading.set()
            await anyio.sleep_forever()

        library.script.listings["Movies"] = [page(draft("A")), stall]
        await add_schedule(library.store, SOURCE, cron=NEVER, what="ingest", name="S")
        await run_schedule_now(library.store, "S")
        async with served(library.store, "A"):
            with anyio.fail_after(30):
                await reading.wait()
        assert await library.audit() == [("Movies", "interrupted", "interrupted")]
        assert await library.assets() == {}
        library.script.listings["Movies"] = [page(draft("A"))]
        async with served(library.store, "B") as ended:
            with anyio.fail_after(30):
                assert (await ended.receive()).status == "ok"
        assert set(await library.assets()) == {"A"}
        ((run,),) = [listing.runs for listing in await list_schedules(library.store)]
        assert (run.host, run.status) == ("B", "ok")

    async def test_a_host_that_has_lost_the_database_comes_back(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(serving, "_PAUSES", (0.0,))
        library.script.listings["Movies"] = [page(draft("A"))]
        await add_schedule(library.store, SOURCE, cron=NEVER, what="ingest", name="S")
        here = "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = :name)"
        async with served(library.store) as ended:
            for name in ("retrovue-serve", "retrovue-serve-listen"):
                await until(library.store, here, name=name)
                await rows(
                    library.store,
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = :name",
                    name=name,
                )
                await run_schedule_now(library.store, "S")
                with anyio.fail_after(60):
                    assert (await ended.receive()).status == "ok"

    async def test_while_somebody_else_is_at_work_a_run_waits(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(serving, "_WAITS", (0.01,) * 10_000)
        library.script.listings["Movies"] = [page(draft("A"))]
        await add_schedule(library.store, SOURCE, cron=NEVER, what="ingest", name="S")
        async with served(library.store) as ended:
            async with open_locks(library.store, "somebody else") as locks:
                await locks.take([await library.collection("Movies")])
                await run_schedule_now(library.store, "S")
                await until(library.store, "(SELECT count(*) > 1 FROM ingest_outcome WHERE code = 'already_running')")
            with anyio.fail_after(30):
                assert (await ended.receive()).status == "ok"
        ((run,),) = [listing.runs for listing in await list_schedules(library.store)]
        assert (run.status, run.message) == ("ok", None)

    async def test_a_fault_of_one_run_ends_no_other(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        library.script.listings["Movies"] = [page(draft("A"))]
        await add_schedule(library.store, SOURCE, cron=NEVER, what="ingest", name="S")
        await add_schedule(library.store, SOURCE, cron=NEVER, what="enrich", name="faulty")

        async def fault(_store: Store, _claim: Claim) -> Ended:
            raise ZeroDivisionError

        monkeypatch.setattr(serving, "_enrich", fault)
        async with served(library.store) as ended:
            results: dict[str, Ended] = {}
            for name in ("faulty", "S"):
                await run_schedule_now(library.store, name)
                with anyio.fail_after(30):
                    results[name] = await ended.receive()
        assert results["faulty"].message == "ZeroDivisionError; see the log."
        assert (results["faulty"].status, results["S"].status) == ("error", "ok")


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

    async def test_a_dry_run_writes_nothing(self, store: Store) -> None:
        before = await rows(store, "SELECT xmin::text, s::text FROM schedule s")
        planned = await add_schedule(store, SOURCE, cron="@daily", name="other", dry_run=True)
        assert planned.next_due_at is not None
        _, after = await update_schedule(store, "A source: sync", cron="@hourly", dry_run=True)
        assert after.schedule.cron == "0 * * * *"
        await remove_schedule(store, "A source: sync", dry_run=True)
        assert await rows(store, "SELECT xmin::text, s::text FROM schedule s") == before
        with pytest.raises(RequestError):
            await add_schedule(store, SOURCE, cron="@daily", dry_run=True)

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
