"""Runs that begin by themselves: SC-1 to SC-10 of docs/contract/scheduled-runs.md."""

import datetime as dt
from collections import Counter
from itertools import pairwise

import anyio
import pytest

from retrovue import add_schedule, get_schedule, list_schedules, remove_schedule, run_schedule_now, update_schedule
from retrovue.core.cron import Cron
from retrovue.core.errors import RequestError
from retrovue.service import serving
from retrovue.service.serving import Ended
from retrovue.store import outages, schedules
from retrovue.store.locks import open_locks
from retrovue.store.schedules import Claim
from retrovue.store.session import Store
from tests.support.library import Library, draft, execute, page, rows, until
from tests.support.scheduling import DAY, NEVER, SOURCE, end, later, look, served

pytestmark = pytest.mark.anyio


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


@pytest.mark.rule("SC-1")
class TestOnceOverAllHosts:
    """SC-1: each due time is worked once over all hosts."""

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


@pytest.mark.rule("SC-2")
class TestMissed:
    """SC-2: missed due times are caught up by one run."""

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


@pytest.mark.rule("SC-3")
class TestOneRunAtATime:
    """SC-3: one run at a time, and one waits."""

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


@pytest.mark.rule("SC-4")
class TestHostsThatAreGone:
    """SC-4: what a host that is gone has begun, another one does again."""

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


@pytest.mark.rule("SC-5")
class TestDisabled:
    """SC-5: a disabled schedule isn't due; what it missed doesn't count."""

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


@pytest.mark.rule("SC-6")
class TestFailures:
    """SC-6: a run that fails is recorded and ends no other."""

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


@pytest.mark.rule("SC-7")
class TestOthersAtWork:
    """SC-7: a run whose collections others are at work on waits."""

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


@pytest.mark.rule("SC-8")
class TestLostDatabase:
    """SC-8: a host that loses the database goes on when it is back."""

    async def test_a_host_that_has_lost_the_database_comes_back(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outages, "PAUSES", (0.0,))
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


@pytest.mark.rule("SC-9")
class TestClocksThatAreChanged:
    """SC-9: a local time that is skipped, or comes twice, is due once."""

    def test_a_time_that_is_skipped_is_due_once_after_the_gap(self) -> None:
        times = Cron.parse("30 2 * * *", "Europe/Berlin")
        assert times.next_after(moment("2026-03-28T12:00:00+00:00")) == moment("2026-03-29T01:00:00+00:00")
        assert times.next_after(moment("2026-03-29T01:00:00+00:00")) == moment("2026-03-30T00:30:00+00:00")
        assert times.latest_at(moment("2026-03-29T12:00:00+00:00")) == moment("2026-03-29T01:00:00+00:00")

    def test_a_time_that_comes_twice_is_due_once(self) -> None:
        times = Cron.parse("30 2 * * *", "Europe/Berlin")
        assert times.next_after(moment("2026-10-24T12:00:00+00:00")) == moment("2026-10-25T00:30:00+00:00")
        assert times.next_after(moment("2026-10-25T00:30:00+00:00")) == moment("2026-10-26T01:30:00+00:00")
        assert times.latest_at(moment("2026-10-25T12:00:00+00:00")) == moment("2026-10-25T00:30:00+00:00")

    def test_each_half_hour_goes_on_while_the_clocks_change(self) -> None:
        times = Cron.parse("*/30 * * * *", "Europe/Berlin")
        due = [moment("2026-10-24T23:20:00+00:00")]
        while len(due) < 6:
            due.append(times.next_after(due[-1]))
        assert {second - first for first, second in pairwise(due[1:])} == {dt.timedelta(minutes=30)}


@pytest.mark.rule("SC-10")
class TestDryRun:
    """SC-10: a dry-run checks the same, and writes nothing."""

    async def test_a_dry_run_writes_nothing(self, library: Library) -> None:
        store = library.store
        await add_schedule(store, SOURCE, cron="0 4 * * *", time_zone="Europe/Berlin")
        before = await rows(store, "SELECT xmin::text, s::text FROM schedule s")
        planned = await add_schedule(store, SOURCE, cron="@daily", name="other", dry_run=True)
        assert planned.next_due_at is not None
        _, after = await update_schedule(store, "A source: sync", cron="@hourly", dry_run=True)
        assert after.schedule.cron == "0 * * * *"
        await remove_schedule(store, "A source: sync", dry_run=True)
        assert await rows(store, "SELECT xmin::text, s::text FROM schedule s") == before
        with pytest.raises(RequestError):
            await add_schedule(store, SOURCE, cron="@daily", dry_run=True)
