"""One transaction a collection: all of it or nothing, and what is said is what is there."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from sqlalchemy import text

from retrovue.core.results import Ingested
from retrovue.errors import CommitUnknown, SourceUnreachable, StoreError
from retrovue.store import audit
from retrovue.store.session import CLEANUP_SECONDS, Store
from retrovue.store.url import URL
from tests.support.library import (
    Library,
    agree,
    by_name,
    cancelled_at,
    codes,
    contents,
    draft,
    execute,
    failure,
    gate,
    left_clean,
    page,
    raise_on,
)
from tests.support.wire import When, Wire, cut_at_commit_of

pytestmark = pytest.mark.anyio

PAGES = (page(draft("a"), draft("b", "a.mkv")), page(draft("c", "1", "2")))
OF_SUCCESS = "NEW.status = 'ingested'"


async def test_a_task_that_is_cancelled_without_a_scope_is_in_a_hurry_too() -> None:
    patience: list[float] = []

    async def end() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            patience.append(audit._shield().deadline - anyio.current_time())

    task = asyncio.ensure_future(end())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert 0 < patience[0] <= CLEANUP_SECONDS < audit.AUDIT_SECONDS


class TestFailure:
    @pytest.mark.parametrize("pages", [0, 1, 2])
    async def test_nothing_remains_of_an_enumeration_that_broke_off(self, library: Library, pages: int) -> None:
        before = await library.contents()
        broken = (*PAGES[:pages], SourceUnreachable("gone"), *PAGES[pages:])
        summary = await library.ingest({"Movies": broken})
        assert failure(summary, "Movies").code == "source_unreachable"
        assert [line for line in await library.contents() if line.startswith("asset")] == []
        assert len(await library.contents()) == len(before)
        assert await library.audit() == [("Movies", "failed", "source_unreachable")]

    async def test_what_was_there_before_stays_to_the_byte(self, library: Library) -> None:
        await library.ingest_one(*PAGES)
        before = await library.contents()
        await library.ingest({"Movies": [page(draft("a", "moved"), draft("new")), RuntimeError("broken")]})
        assert await library.contents() == before

    async def test_nothing_remains_of_a_merge_that_is_refused(self, library: Library) -> None:
        await raise_on(library.store, "asset", "NEW.title = 'C'")
        summary = await library.ingest({"Movies": PAGES})
        refused = failure(summary, "Movies")
        assert (refused.code, refused.message) == ("database_error", "The database refused: refused by the test")
        assert await contents(library.store, "asset", "asset_part", "asset_alias", "ingest_rejection") == []
        await agree(library, summary)

    @pytest.mark.fault(43)
    async def test_nothing_remains_of_a_merge_whose_connection_is_killed(self, library: Library) -> None:
        library.script.listings["Movies"] = PAGES
        async with gate(library.store, "asset", when="NEW.title = 'C'") as closed, anyio.create_task_group() as group:

            async def kill() -> None:
                await closed.reached()
                await closed.terminate()

            group.start_soon(kill)
            summary = await library.ingest()
        assert failure(summary, "Movies").code == "database_unavailable"
        await agree(library, summary)

    @pytest.mark.fault(26, 62)
    async def test_a_draft_that_the_catalogue_cannot_hold_is_rejected_and_the_rest_stays(
        self, library: Library
    ) -> None:
        nasty: list[dict[str, object]] = [
            {"title": "half \ud800"},
            {"title": "a\0b"},
            {"title": ""},
            {"title": None},
            {"year": "1999"},
            {"year": 0},
            {"season_number": -1},
            {"width": 2**40},
            {"rating": float("nan")},
            {"tags": {1: 2}},
            {"tags": {"genre": ["a\0b"]}},
            {"chapters": [{"title": "a\0b"}]},
        ]
        drafts = [draft(f"bad{number}", **values) for number, values in enumerate(nasty)]
        summary = await library.ingest({"Movies": [page(draft("a"), *drafts)]})
        assert codes(summary) == {"Movies": "ingested"}
        assert (summary.total("created"), summary.total("rejected")) == (1, len(nasty))
        reasons = await library.rows("SELECT DISTINCT code, reason LIKE '%scripted%' FROM ingest_rejection")
        assert [tuple(row) for row in reasons] == [("bad_draft", True)]
        await agree(library, summary)

    @pytest.mark.fault(43, 60)
    async def test_a_failed_collection_leaves_the_connection_fit_for_the_next(self, library: Library) -> None:
        many = await Library.make(library.store, "A", "B", "C", "D")
        broken = [page(draft("x")), RuntimeError("broken")]
        summary = await many.ingest({"A": broken, "B": PAGES, "C": broken, "D": PAGES}, concurrency=1)
        assert codes(summary) == {"A": "importer_failed", "B": "ingested", "C": "importer_failed", "D": "ingested"}
        await agree(many, summary)


class TestOnCommit:
    async def test_it_is_called_once_when_the_commit_has_succeeded(self, store: Store) -> None:
        called: list[str] = []
        async with store.transaction(on_commit=lambda: called.append("now")) as session:
            await session.execute(text("UPDATE catalogue_role SET role = role"))
            assert called == []
        assert called == ["now"]

    @pytest.mark.parametrize(
        "statement",
        [
            "SELECT 1 / 0",
            "CREATE TABLE t (x int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO t VALUES (1), (1)",
        ],
    )
    async def test_it_is_not_called_when_the_transaction_is_refused(self, store: Store, statement: str) -> None:
        called: list[str] = []

        async def attempt() -> None:
            async with store.transaction(on_commit=lambda: called.append("now")) as session:
                for part in statement.split("; "):
                    await session.execute(text(part))

        with pytest.raises(StoreError) as refused:
            await attempt()
        assert not isinstance(refused.value, CommitUnknown)
        assert called == []

    async def test_it_is_not_called_when_nobody_knows(self, store: Store) -> None:
        called: list[str] = []

        async def attempt() -> None:
            async with store.transaction(on_commit=lambda: called.append("now")) as session:
                await session.execute(
                    text("INSERT INTO source VALUES (gen_random_uuid(), 'a-00000000', 'n', 'a', '{}', '{}')")
                )

        async with gate(store, "source", deferred=True) as closed, anyio.create_task_group() as group:

            async def kill() -> None:
                await closed.reached()
                await closed.terminate()

            group.start_soon(kill)
            with pytest.raises(CommitUnknown):
                await attempt()
        assert called == []


@pytest.fixture
async def short() -> AsyncIterator[Path]:
    """A directory whose name is short enough for a socket's."""
    with tempfile.TemporaryDirectory(prefix="rv") as directory:
        yield Path(directory)


@asynccontextmanager
async def cut(url: URL, when: When, directory: Path) -> AsyncIterator[tuple[Store, Wire]]:
    """A store whose connection is lost around the COMMIT of the first merge."""
    async with (
        cut_at_commit_of(url, b"INSERT INTO plan", when, directory) as (through, wire),
        Store(through) as store,
        left_clean(store),
    ):
        yield store, wire


@pytest.mark.fault(45)
class TestConflicts:
    """A transaction that the server undid in favour of another one is run again, three times at most: four tries."""

    @pytest.mark.parametrize(("sqlstate", "code"), [("40P01", "deadlock"), ("40001", "serialization_failure")])
    @pytest.mark.parametrize(("conflicts", "ingested"), [(3, True), (4, False)])
    async def test_again(self, library: Library, sqlstate: str, code: str, conflicts: int, *, ingested: bool) -> None:
        await execute(
            library.store,
            "CREATE SEQUENCE tries",  # the one thing that a rollback leaves alone
            "CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF nextval('tries') <= {conflicts} THEN RAISE EXCEPTION 'x' USING ERRCODE = '{sqlstate}'; END IF;"
            " RETURN NULL; END $$",
            "CREATE TRIGGER conflict AFTER INSERT ON asset FOR EACH STATEMENT EXECUTE FUNCTION conflict()",
        )
        summary = await library.ingest({"Movies": PAGES})
        assert codes(summary) == {"Movies": "ingested" if ingested else code}
        assert await library.rows("SELECT last_value FROM tries") == [(4,)]
        await agree(library, summary)


@pytest.mark.fault(59)
async def test_a_clock_that_is_wrong_changes_no_time(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 1.0)
        await library.ingest_one(*PAGES)
    recent = "between now() - interval '1 hour' and now() + interval '1 second'"
    assert await library.rows(
        f"SELECT DISTINCT started_at {recent}, ended_at {recent}, created_at {recent}, ended_at >= started_at"
        " FROM ingest_start JOIN ingest_outcome USING (run_id, collection_id), asset"
    ) == [(True, True, True, True)]


@pytest.mark.fault(44)
@pytest.mark.usefixtures("scripted")
class TestLostAnswer:
    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_the_outcome_is_what_the_database_says(self, database_url: str, short: Path, when: When) -> None:
        url: URL = URL.parse(database_url)
        async with cut(url, when, short) as (store, wire):
            library = await Library.make(store, "Movies", "Shows")
            summary = await library.ingest({"Movies": PAGES, "Shows": []}, concurrency=1)
            assert wire.cuts == 1
            assert codes(summary) == {
                "Movies": "ingested" if when == "after" else "database_unavailable",
                "Shows": "ingested",
            }
            await agree(library, summary)

    async def test_a_collection_of_which_nothing_could_be_used_keeps_its_reasons(
        self, database_url: str, short: Path
    ) -> None:
        url: URL = URL.parse(database_url)
        async with cut(url, "after", short) as (store, _):
            library = await Library.make(store, "Movies")
            summary = await library.ingest({"Movies": [page(draft("a", "/elsewhere"))]})
            assert codes(summary) == {"Movies": "all_rejected"}
            assert await library.audit() == [("Movies", "failed", "all_rejected")]

    async def test_a_commit_that_is_still_under_way_is_waited_for(self, library: Library) -> None:
        """The client is gone, and the server goes on: only the end of its transaction tells what became of it."""
        library.script.listings["Movies"] = PAGES
        barred = gate(library.store, "ingest_outcome", when=OF_SUCCESS, deferred=True)
        async with barred as closed, anyio.create_task_group() as group:

            async def kill() -> None:
                await closed.reached()
                await closed.terminate()

            group.start_soon(kill)
            summary = await library.ingest()
        assert failure(summary, "Movies").code == "database_unavailable"
        await agree(library, summary)


Moment = Callable[[], Awaitable[None]]


class TestCancellation:
    @pytest.mark.parametrize("steps", [0, 1, 2])
    async def test_while_a_page_is_waited_for(self, library: Library, steps: int) -> None:
        asked = anyio.Event()

        async def wait() -> None:
            asked.set()
            await anyio.sleep_forever()

        library.script.listings["Movies"] = [*PAGES[:steps], wait, *PAGES[steps:]]
        summary = await cancelled_at(library, asked.wait)
        assert codes(summary) == {"Movies": "interrupted"}
        assert summary.interrupted
        await agree(library, summary)
        assert library.script.running == 0
        assert library.script.asked[-1] == "close"

    @pytest.mark.parametrize(
        ("table", "when"),
        [
            ("asset", "NEW.title = 'A'"),
            ("asset_part", "true"),
            ("asset_alias", "true"),
            ("ingest_outcome", OF_SUCCESS),
        ],
    )
    async def test_in_the_middle_of_the_merge(self, library: Library, table: str, when: str) -> None:
        library.script.listings["Movies"] = PAGES
        async with gate(library.store, table, when=when) as closed:
            summary = await cancelled_at(library, closed.reached)
        assert codes(summary) == {"Movies": "interrupted"}
        await agree(library, summary)
        again = await library.ingest()
        assert codes(again) == {"Movies": "ingested"}

    async def test_before_the_start_row(self, library: Library) -> None:
        library.script.listings["Movies"] = PAGES
        async with gate(library.store, "ingest_start") as closed:

            async def moment() -> None:
                await closed.reached()
                await closed.open()

            summary = await cancelled_at(library, moment)
        await agree(library, summary)

    async def test_during_a_commit_that_then_succeeds(self, library: Library) -> None:
        library.script.listings["Movies"] = PAGES
        async with gate(library.store, "ingest_outcome", when=OF_SUCCESS, deferred=True) as closed:
            scope = anyio.CancelScope()
            async with anyio.create_task_group() as group:

                async def cancel() -> None:
                    await closed.reached()
                    scope.cancel()
                    await anyio.wait_all_tasks_blocked()
                    await closed.open()

                group.start_soon(cancel)
                with scope:
                    async with library.run() as run:
                        pass
        assert isinstance(by_name(run.summary)["Movies"], Ingested)
        await agree(library, run.summary)

    async def test_during_a_commit_that_takes_longer_than_there_is_time(self, library: Library) -> None:
        library.script.listings["Movies"] = PAGES
        async with gate(library.store, "ingest_outcome", when=OF_SUCCESS, deferred=True) as closed:
            summary = await cancelled_at(library, closed.reached)
        assert codes(summary) == {"Movies": "interrupted"}
        await agree(library, summary)

    async def test_what_is_committed_stays_when_the_rest_is_cancelled(self, library: Library) -> None:
        many = await Library.make(library.store, "A", "B", "C")
        waiting, reported = anyio.Event(), anyio.Event()

        async def wait() -> None:
            waiting.set()
            await anyio.sleep_forever()

        many.script.listings.update({"A": PAGES, "B": [*PAGES, wait], "C": PAGES})
        with anyio.CancelScope() as scope:
            async with many.run(concurrency=3) as run:
                seen = 0
                async for _ in run:
                    seen += 1
                    if seen == 2:
                        reported.set()
                        await waiting.wait()
                        scope.cancel()
        assert codes(run.summary) == {"A": "ingested", "B": "interrupted", "C": "ingested"}
        assert [outcome.collection.name for outcome in run.summary.outcomes] == ["A", "B", "C"]
        await agree(many, run.summary)

    async def test_at_every_statement_of_the_pre_flight(self, library: Library) -> None:
        """Before anything is entered there is no run to speak of, and nothing is written."""
        before = await library.contents()
        asked = anyio.Event()

        async def hang() -> None:
            asked.set()
            await anyio.sleep_forever()

        library.script.reachable = [hang]
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def cancel() -> None:
                    await asked.wait()
                    scope.cancel()

                group.start_soon(cancel)
                await library.ingest()
        assert scope.cancelled_caught
        assert await library.contents() == before
        assert await library.audit() == []
        assert library.script.asked[-1] == "close"


class TestAuditTrail:
    async def test_a_failure_whose_text_is_odd_is_written_all_the_same(self, library: Library) -> None:
        for nasty in ("half \udc80 pair", "nul \0", "back\\u0000slash", "\x1b[31m"):
            summary = await library.ingest({"Movies": [RuntimeError(nasty)]})
            assert codes(summary) == {"Movies": "importer_failed"}
            source = await library.ingest({"Movies": [SourceUnreachable(nasty, context={nasty: [nasty]})]})
            assert codes(source) == {"Movies": "source_unreachable"}
            assert "audit" not in failure(source, "Movies").context
        assert [status for _, status, _ in await library.audit()] == ["failed"] * 8

    async def test_that_it_cannot_be_written_is_said(self, library: Library) -> None:
        await raise_on(library.store, "ingest_outcome", "NEW.code = 'source_unreachable'")
        summary = await library.ingest({"Movies": [SourceUnreachable("gone")]})
        assert failure(summary, "Movies").context["audit"] == "not written: The database refused: refused by the test"
        await execute(library.store, "DROP TRIGGER refuse ON ingest_outcome")
        assert codes(await library.ingest({"Movies": PAGES})) == {"Movies": "ingested"}

    async def test_a_bug_of_the_importer_is_there_with_its_traceback(self, library: Library) -> None:
        await library.ingest({"Movies": [ZeroDivisionError("of the importer")]})
        ((trace,),) = await library.rows("SELECT details ->> 'traceback' FROM ingest_outcome")
        assert "ZeroDivisionError: of the importer" in trace
        assert "library.py" in trace
