"""One ingest of a collection at a time: who comes second is told, and who vanishes is noticed."""

import anyio
import pytest

from retrovue.core.model import PathMapping
from retrovue.errors import AlreadyRunning, StoreUnavailable
from retrovue.operations.curation import update_collection
from retrovue.store.locks import lock_key, open_locks
from tests.support.library import Library, agree, codes, draft, execute, failure, gate, page, until

pytestmark = pytest.mark.anyio

PAGES = (page(draft("a")), page(draft("b")))
TERMINATE_LOCKS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name LIKE 'retrovue-ingest-%'"
)
UNENDED: list[tuple[str, str | None, str | None]] = [("Movies", None, None)]
HOLDERS = (
    "(SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name LIKE 'retrovue-ingest-%') = :holders"
)


class Pause:
    """A step at which an enumeration waits until the test goes on."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self.over = anyio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self.over.wait()


class Meeting:
    """A step at which enumerations wait until as many of them have come."""

    def __init__(self, guests: int) -> None:
        self._missing = guests
        self._complete = anyio.Event()

    async def __call__(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._complete.set()
        await self._complete.wait()


@pytest.mark.fault(50)
class TestSecondIngest:
    async def test_it_fails_at_once_and_names_the_holder(self, library: Library) -> None:
        both = await Library.make(library.store, "A", "B")
        pause = Pause()
        both.script.listings.update({"A": [*PAGES, pause], "B": PAGES})
        async with both.run() as first:
            await pause.reached.wait()
            # B is done, but the first run isn't: it holds the locks of all its collections until its end.
            second = await both.ingest()
            assert codes(second) == {"A": "already_running", "B": "already_running"}
            refused = failure(second, "A")
            holder = f"retrovue-ingest-{first.id}"
            assert refused.context["holder"] == holder
            assert holder in refused.message
            assert str(refused.context["pid"]) in refused.message
            pause.over.set()
        assert codes(first.summary) == {"A": "ingested", "B": "ingested"}
        assert (second.status, first.summary.status) == ("error", "ok")
        assert codes(await both.ingest()) == {"A": "ingested", "B": "ingested"}

    async def test_other_collections_go_on(self, library: Library) -> None:
        both = await Library.make(library.store, "A", "B")
        both.script.listings.update({"A": PAGES, "B": PAGES})
        held = (await both.collections())["A"]
        async with open_locks(both.store, "somebody else") as locks:
            assert await locks.take([held]) == {}
            summary = await both.ingest()
        assert codes(summary) == {"A": "already_running", "B": "ingested"}
        assert failure(summary, "A").context["holder"] == "somebody else"
        assert summary.status == "partial"

    async def test_its_refusal_does_not_replace_the_last_outcome(self, library: Library) -> None:
        await library.ingest({"Movies": [RuntimeError("broken")]})
        async with open_locks(library.store, "somebody else") as locks:
            await locks.take([await library.collection("Movies")])
            assert codes(await library.ingest({"Movies": PAGES})) == {"Movies": "already_running"}
        again = await library.ingest(retry_failed=True)
        assert codes(again) == {"Movies": "ingested"}
        async with open_locks(library.store, "somebody else") as locks:
            await locks.take([await library.collection("Movies")])
            await library.ingest()
        assert codes(await library.ingest(retry_failed=True)) == {"Movies": "not_failed"}

    async def test_of_many_at_once_each_collection_is_ingested_once(self, library: Library) -> None:
        many = await Library.make(library.store, *"ABCDEF")
        summaries = []
        pause = Pause()
        many.script.listings.update({name: [pause, page(draft("x"), draft("y"))] for name in "ABCDEF"})

        async def one() -> None:
            summaries.append(await many.ingest(concurrency=2))
            pause.over.set()

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(one)
            await pause.reached.wait()
            # The losers of every lock are through before a winner may go on.
            await until(many.store, "(SELECT count(*) FROM ingest_outcome WHERE code = 'already_running') > 0")
            pause.over.set()
        assert await many.rows("SELECT count(*), count(DISTINCT collection_uuid) FROM asset") == [(12, 6)]
        assert {code for summary in summaries for code in codes(summary).values()} <= {"ingested", "already_running"}

    async def test_a_dry_run_takes_no_lock_and_minds_none(self, library: Library) -> None:
        async with open_locks(library.store, "somebody else") as locks:
            await locks.take([await library.collection("Movies")])
            assert codes(await library.ingest({"Movies": PAGES}, dry_run=True)) == {"Movies": "ingested"}


class TestUpdate:
    async def test_it_is_refused_while_the_collection_is_ingested(self, library: Library) -> None:
        pause = Pause()
        library.script.listings["Movies"] = [*PAGES, pause]
        async with library.run() as run:
            await pause.reached.wait()
            with pytest.raises(AlreadyRunning) as refused:
                await update_collection(library.store, "Movies", map=[PathMapping("/x", "/y")])
            assert refused.value.context["holder"] == f"retrovue-ingest-{run.id}"
            pause.over.set()
        assert (await library.collection("Movies")).path_mappings == (PathMapping("/data", "/mnt"),)
        await update_collection(library.store, "Movies", map=[PathMapping("/x", "/y")])


class TestLostLocks:
    async def test_nothing_more_is_written(self, library: Library) -> None:
        many = await Library.make(library.store, "A", "B", "C")
        pause = Pause()
        many.script.listings.update({name: [*PAGES, pause] for name in "ABC"})
        async with many.run(concurrency=3) as run:
            await pause.reached.wait()
            await execute(many.store, TERMINATE_LOCKS)
            await until(many.store, HOLDERS, holders=0)
            pause.over.set()
        assert codes(run.summary) == dict.fromkeys("ABC", "locks_lost")
        await agree(many, run.summary)

    async def test_collections_that_end_at_one_moment_do_not_take_them_for_lost(self, library: Library) -> None:
        many = await Library.make(library.store, *"ABCDEFGH")
        meeting = Meeting(8)
        many.script.listings.update({name: [page(draft("a")), meeting] for name in "ABCDEFGH"})
        summary = await many.ingest(concurrency=8)
        assert codes(summary) == dict.fromkeys("ABCDEFGH", "ingested")

    async def test_that_they_cannot_be_had_fails_every_collection(self, library: Library) -> None:
        both = await Library.make(library.store, "A", "B")
        async with gate(both.store, "ingest_outcome") as closed:
            # A run that was killed has to be closed before the locks' owner goes on; here that is held up and killed.
            await execute(
                both.store,
                "INSERT INTO ingest_start SELECT gen_random_uuid(), id, 'source', '{}', '0', 'me' FROM collection"
                " WHERE name = 'A'",
            )
            async with anyio.create_task_group() as group:

                async def kill() -> None:
                    await closed.reached()
                    await closed.terminate()
                    await closed.open()

                group.start_soon(kill)
                summary = await both.ingest({"A": PAGES, "B": PAGES})
        assert codes(summary) == {"A": "database_unavailable", "B": "database_unavailable"}
        await agree(both, summary)
        assert codes(await both.ingest()) == {"A": "ingested", "B": "ingested"}

    async def test_verifying_says_so(self, library: Library) -> None:
        async with open_locks(library.store, "retrovue-ingest-x") as locks:
            await locks.verify()
            await execute(library.store, TERMINATE_LOCKS)
            await until(library.store, HOLDERS, holders=0)
            for _ in range(2):
                with pytest.raises(StoreUnavailable) as lost:
                    await locks.verify()
                assert lost.value.code == "locks_lost"


@pytest.mark.fault(57)
class TestVanishedRun:
    async def test_the_next_run_closes_it_as_interrupted(self, library: Library) -> None:
        await execute(
            library.store,
            "INSERT INTO ingest_start SELECT gen_random_uuid(), id, 'source', '{}', '0', 'me' FROM collection",
        )
        assert await library.audit() == UNENDED
        await library.ingest({"Movies": PAGES})
        assert await library.audit() == [("Movies", "interrupted", "interrupted"), ("Movies", "ingested", None)]

    async def test_it_is_retried(self, library: Library) -> None:
        await library.ingest({"Movies": PAGES})
        await execute(
            library.store,
            "INSERT INTO ingest_start SELECT gen_random_uuid(), id, 'source', '{}', '0', 'me' FROM collection",
        )
        assert codes(await library.ingest(retry_failed=True)) == {"Movies": "ingested"}

    async def test_one_that_is_at_work_is_left_alone(self, library: Library) -> None:
        pause = Pause()
        library.script.listings["Movies"] = [*PAGES, pause]
        async with library.run() as run:
            await pause.reached.wait()
            await library.ingest()
            assert UNENDED[0] in await library.audit()
            pause.over.set()
        assert codes(run.summary) == {"Movies": "ingested"}

    async def test_a_dry_run_closes_nothing(self, library: Library) -> None:
        await execute(
            library.store,
            "INSERT INTO ingest_start SELECT gen_random_uuid(), id, 'source', '{}', '0', 'me' FROM collection",
        )
        await library.ingest({"Movies": PAGES}, dry_run=True)
        assert await library.audit() == UNENDED
        await library.ingest()


class TestLockKey:
    async def test_it_is_the_beginning_of_the_collections_id(self, library: Library) -> None:
        collection = await library.collection("Movies")
        async with open_locks(library.store, "me") as locks:
            await locks.take([collection])
            ((held,),) = await library.rows(
                "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            assert held == lock_key(collection.id)
