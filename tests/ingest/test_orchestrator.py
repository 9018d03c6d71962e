"""The run: who is targeted, that a failure stays with its collection, and that every collection has one outcome."""

import asyncio
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from retrovue.core.answers import Ingestibility, SourceIdentity
from retrovue.core.pages import Page, Rejection
from retrovue.core.results import Failed, Ingested, Skipped
from retrovue.core.runs import Scope
from retrovue.errors import (
    CollectionGone,
    ImporterNotCompliant,
    IncompleteEnumeration,
    NotFound,
    NothingEligible,
    RequestError,
    SourceError,
    SourceRefused,
    SourceUnreachable,
    StoreError,
    StoreUnavailable,
    UnsupportedImporter,
    WrongIdentity,
)
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.orchestrator import ingest_one, ingest_source
from retrovue.store.session import Store
from retrovue.store.staging import Staging
from retrovue.store.url import URL
from tests.conftest import Packages
from tests.support.library import (
    AUDIT,
    CATALOGUE,
    Library,
    agree,
    by_name,
    codes,
    contents,
    draft,
    execute,
    failure,
    left_clean,
    page,
    raise_on,
    rows,
)

pytestmark = pytest.mark.anyio

PAGES = (page(draft("a")), page(draft("b")))
NOT_INGESTIBLE = Ingestibility(ingestible=False, code="unreadable_directory", reason="the disk is missing")


@pytest.fixture
async def store(shared_store: Store) -> Store:
    return shared_store


async def make(library: Library, names: str) -> Library:
    many = await Library.make(library.store, *names)
    many.script.listings.update(dict.fromkeys(names, PAGES))
    return many


def _page_of(draft: Any) -> Page:
    return Page([draft], [], 1)


_NUMBER: Any = 7
_PAGES_OF_REJECTIONS = [
    Page([], [rejection], 1)
    for rejection in (_NUMBER, Rejection(_NUMBER, "r"), Rejection("x", "r", _NUMBER), Rejection("x", "r", "u", _NUMBER))
]

FAILURES: tuple[tuple[BaseException, str], ...] = (
    (SourceError("x"), "source_error"),
    (IncompleteEnumeration("x"), "incomplete_enumeration"),
    (CollectionGone("x"), "gone_from_source"),
    (WrongIdentity("x"), "wrong_identity"),
    (SourceUnreachable("x"), "source_unreachable"),
    (RequestError("x"), "bad_request"),
    (StoreError("x"), "importer_failed"),
    (StoreUnavailable("x"), "importer_failed"),
    (RuntimeError("x"), "importer_failed"),
    (AssertionError("x"), "importer_failed"),
    (TimeoutError("x"), "importer_failed"),
    (OSError("x"), "importer_failed"),
    (StopIteration("x"), "importer_failed"),
    (RecursionError("x"), "importer_failed"),
    (SystemExit(0), "importer_failed"),
    (asyncio.CancelledError("x"), "importer_failed"),
    (BaseExceptionGroup("x", [SystemExit(1), ValueError("x")]), "importer_failed"),
    (ExceptionGroup("x", [SourceUnreachable("x")]), "importer_failed"),
)
"""What an importer may raise, and the code of the failure that comes of it."""


class TestOrder:
    async def test_the_largest_starts_first_and_before_it_what_is_new(self, library: Library) -> None:
        """What starts last would end alone."""
        many = await make(library, "ABCD")
        await many.enable("D", enabled=False)
        await many.ingest({"A": [page(draft("1"))], "B": [page(*map(draft, "234"))], "C": [page(*map(draft, "56"))]})
        await many.enable("D", enabled=True)
        many.script.asked.clear()
        await many.ingest(concurrency=1)
        assert [asked for asked in many.script.asked if asked.startswith("pages")] == [
            "pages D", "pages B", "pages C", "pages A",
        ]  # fmt: skip

    async def test_a_huge_one_holds_no_other_one_up(self, library: Library) -> None:
        many = await make(library, "ABCDEFGH")
        others_done = anyio.Event()
        many.script.listings["A"] = (PAGES[0], others_done, PAGES[1])
        finished: list[str] = []
        async with many.run(concurrency=2) as run:
            with anyio.fail_after(60):
                async for outcome in run:
                    finished.append(outcome.collection.name)
                    if len(finished) == 7:
                        others_done.set()
        assert finished[-1] == "A"
        assert run.summary.status == "ok"


class TestConcurrency:
    @pytest.mark.parametrize("concurrency", [1, 3, 8])
    async def test_it_is_bounded_and_used(self, library: Library, concurrency: int) -> None:
        names = "ABCDEFGHIJ"
        many = await make(library, names)
        full = anyio.Event()

        async def until_full() -> None:
            if many.script.running == concurrency:
                full.set()
            await full.wait()

        many.script.listings.update({name: [until_full, *PAGES] for name in names})
        summary = await many.ingest(concurrency=concurrency)
        assert codes(summary) == dict.fromkeys(names, "ingested")
        assert many.script.peak == concurrency

    @pytest.mark.fault(49)
    async def test_a_pool_that_is_too_small_is_refused(self, library: Library) -> None:
        with pytest.raises(RequestError) as refused:
            await library.ingest(concurrency=library.store.connections + 1)
        assert refused.value.code == "pool_too_small"
        assert library.script.asked == []

    async def test_more_than_the_server_has_room_for_is_refused(self, library: Library) -> None:
        async with Store(library.store.url, connections=10_000) as store:
            library.store = store
            with pytest.raises(RequestError) as refused:
                await library.ingest(concurrency=10_000)
        assert refused.value.code == "too_many_connections"
        assert refused.value.hint is not None
        assert "--concurrency" in refused.value.hint

    @pytest.mark.parametrize("concurrency", [0, -1])
    async def test_none_is_refused(self, concurrency: int) -> None:
        with pytest.raises(RequestError):
            IngestOptions(concurrency=concurrency)


class TestIsolation:
    @pytest.mark.fault(60, 65)
    @pytest.mark.parametrize("dry_run", [False, True], ids=["real", "dry-run"])
    async def test_a_failure_stays_with_its_collection(self, library: Library, dry_run: bool) -> None:
        """Each collection that fails is between two that don't."""
        expected: dict[str, str] = {}
        for number, (_, code) in enumerate(FAILURES):
            expected |= {f"{number:02} fails": code, f"{number:02} fine": "ingested"}
        many = await Library.make(library.store, *expected)
        many.script.listings.update(dict.fromkeys(expected, PAGES))
        many.script.listings.update(
            {f"{number:02} fails": [PAGES[0], error] for number, (error, _) in enumerate(FAILURES)}
        )
        summary = await many.ingest(dry_run=dry_run, concurrency=2)
        assert codes(summary) == expected
        assert summary.status == "partial"
        assert not summary.interrupted
        if dry_run:
            assert await many.audit() == []
        else:
            await agree(many, summary)

    async def test_the_only_other_one_is_ingested(self, library: Library) -> None:
        many = await make(library, "AB")
        many.script.listings["A"] = [PAGES[0], SystemExit(0)]
        summary = await many.ingest(concurrency=1)
        assert codes(summary) == {"A": "importer_failed", "B": "ingested"}
        assert summary.status == "partial"

    async def test_so_does_one_of_the_live_check(self, library: Library) -> None:
        for error in (RuntimeError("x"), asyncio.CancelledError(), SystemExit(3), StoreError("x"), RequestError("x")):
            many = await make(library, "ABC")
            fine = Ingestibility(ingestible=True)
            many.script.ingestible.update({"A": [error], "B": [fine, error]})
            summary = await many.ingest()
            code = "bad_request" if isinstance(error, RequestError) else "importer_failed"
            assert codes(summary) == {"A": code, "B": code, "C": "ingested"}
            assert [(await many.collection(name)).ingestible for name in "ABC"] == [None, True, True]
            if code == "importer_failed":  # in the pre-flight, and at its turn: the trail says where
                for name in "AB":
                    assert type(error).__name__ in str(failure(summary, name).traceback)

    @pytest.mark.fault(62)
    async def test_what_is_no_page_is_refused(self, library: Library) -> None:
        answers: tuple[object, ...] = (None, 7, [], "page", _page_of("draft"), _page_of(None), *_PAGES_OF_REJECTIONS)
        odd = {repr(answer): answer for answer in answers}
        assert len(odd) == 10
        many = await Library.make(library.store, "A page", *odd)
        listings: dict[str, Sequence[object]] = {name: [answer] for name, answer in odd.items()} | {"A page": PAGES}
        assert codes(await many.ingest(listings)) == dict.fromkeys(odd, "importer_failed") | {"A page": "ingested"}

    async def test_so_does_a_bug_of_our_own(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        many = await make(library, "ABC")
        whole = Staging.add

        async def add(self: Staging, *arguments: Any) -> None:
            if self.collection.name == "B":
                raise ZeroDivisionError
            await whole(self, *arguments)

        monkeypatch.setattr(Staging, "add", add)
        summary = await many.ingest()
        assert codes(summary) == {"A": "ingested", "B": "internal", "C": "ingested"}
        assert "ZeroDivisionError" in str(failure(summary, "B").traceback)
        await agree(many, summary)

    @pytest.mark.fault(46, 47)
    async def test_so_does_what_the_database_refuses(self, library: Library) -> None:
        many = await make(library, "ABC")
        many.script.listings["B"] = [page(draft("bad", title="Boom"))]
        await raise_on(many.store, "asset", "NEW.title = 'Boom'")
        try:
            summary = await many.ingest()
        finally:
            await execute(many.store, "DROP TRIGGER refuse ON asset")
        assert codes(summary) == {"A": "ingested", "B": "database_error", "C": "ingested"}
        await agree(many, summary)

    async def test_one_of_twenty(self, library: Library) -> None:
        names = [f"C{number:02}" for number in range(20)]
        many = await Library.make(library.store, *names)
        many.script.listings.update(dict.fromkeys(names, PAGES))
        many.script.listings["C13"] = [*PAGES, IncompleteEnumeration("short")]
        summary = await many.ingest()
        assert (len(summary.ingested), len(summary.failed), summary.processed) == (19, 1, 20)
        assert summary.total("created") == 38
        await agree(many, summary)

    async def test_a_broken_close_changes_nothing(self, library: Library) -> None:
        library.script.closing = RuntimeError("x")
        assert codes(await library.ingest({"Movies": PAGES})) == {"Movies": "ingested"}


class TestOutcomes:
    async def test_each_comes_when_it_is_ready_and_the_summary_is_in_name_order(self, library: Library) -> None:
        many = await make(library, "ABC")
        turn = {name: anyio.Event() for name in "ABC"}
        turn["B"].set()
        many.script.listings.update({name: [turn[name], *PAGES] for name in "ABC"})
        order = []
        async with many.run(concurrency=3) as run:
            async for outcome in run:
                name = outcome.collection.name
                order.append(name)
                following = {"B": "C", "C": "A"}.get(name)
                if following:
                    assert set(codes(run.summary)) == set("ABC"), "the summary is whole at any moment"
                    turn[following].set()
        assert order == ["B", "C", "A"]
        assert [outcome.collection.name for outcome in run.summary.outcomes] == ["A", "B", "C"]

    async def test_what_is_still_at_work_counts_as_interrupted(self, library: Library) -> None:
        asked, over = anyio.Event(), anyio.Event()

        async def wait() -> None:
            asked.set()
            await over.wait()

        library.script.listings["Movies"] = [wait, *PAGES]
        async with library.run() as run:
            await asked.wait()
            assert codes(run.summary) == {"Movies": "interrupted"}
            assert run.summary.interrupted
            over.set()
        assert codes(run.summary) == {"Movies": "ingested"}
        assert not run.summary.interrupted

    async def test_nobody_has_to_read_them(self, library: Library) -> None:
        many = await make(library, "ABCDEFGH")
        assert len((await many.ingest()).ingested) == 8

    async def test_who_stops_reading_early_stops_nothing(self, library: Library) -> None:
        many = await make(library, "ABCDEFGH")
        async with many.run(concurrency=1) as run:
            async for _ in run:
                break
        assert len(run.summary.ingested) == 8

    async def test_skipped_ones_are_among_them(self, library: Library) -> None:
        many = await make(library, "ABC")
        await many.enable("A", enabled=False)
        many.script.ingestible["B"] = [NOT_INGESTIBLE]
        async with many.run() as run:
            seen = [outcome async for outcome in run]
        assert sorted(outcome.collection.name for outcome in seen) == ["A", "B", "C"]
        assert run.targeted[0].name == "C"
        assert len(run.targeted) == 1


class TestBody:
    @pytest.mark.parametrize("error", [ValueError("mine"), StoreError("mine"), KeyboardInterrupt(), SystemExit(5)])
    async def test_an_exception_stops_the_run_and_comes_out_as_it_is(
        self, library: Library, error: BaseException
    ) -> None:
        many = await make(library, "AB")
        asked = anyio.Event()

        async def wait() -> None:
            asked.set()
            await anyio.sleep_forever()

        many.script.listings["B"] = [wait]

        async def embed() -> None:
            async with many.run(concurrency=2) as run:
                runs.append(run)
                async for outcome in run:
                    assert outcome.collection.name == "A"
                    await asked.wait()
                    raise error

        runs: list[object] = []
        with pytest.raises(type(error)) as raised:
            await embed()
        assert raised.value is error
        (run,) = runs
        summary = run.summary  # type: ignore[attr-defined]
        assert codes(summary) == {"A": "ingested", "B": "interrupted"}
        await agree(many, summary)

    async def test_a_cancellation_of_the_host_comes_out_as_it_is(self, library: Library) -> None:
        asked = anyio.Event()

        async def wait() -> None:
            asked.set()
            await anyio.sleep_forever()

        library.script.listings["Movies"] = [*PAGES, wait]
        host = asyncio.ensure_future(library.ingest())
        await asked.wait()
        host.cancel()
        with pytest.raises(asyncio.CancelledError):
            await host
        assert await library.audit() == [("Movies", "interrupted", "interrupted")]


class TestTargets:
    async def test_what_is_not_enabled_or_not_ingestible_is_skipped_with_its_reason(self, library: Library) -> None:
        many = await make(library, "ABC")
        await many.enable("A", enabled=False)
        many.script.ingestible["B"] = [NOT_INGESTIBLE]
        summary = await many.ingest()
        found = by_name(summary)
        assert isinstance(found["A"], Skipped)
        assert found["A"].code == "sync_disabled"
        assert isinstance(found["B"], Skipped)
        assert (found["B"].code, found["B"].reason) == ("unreadable_directory", "the disk is missing")
        assert isinstance(found["C"], Ingested)
        assert (summary.processed, summary.status, summary.lost) == (1, "ok", (found["B"],))
        assert {name for name, *_ in await many.audit()} == {"C"}
        assert "pages A" not in many.script.asked
        assert "pages B" not in many.script.asked
        assert "ingestible A" not in many.script.asked
        stored = await many.collection("B")
        assert (stored.ingestible, stored.not_ingestible_reason) == (
            False,
            "unreadable_directory: the disk is missing",
        )
        assert (await many.ingest(strict=True)).status == "partial"

    async def test_the_live_answer_decides_and_is_stored(self, library: Library) -> None:
        library.script.listings["Movies"] = PAGES
        library.script.ingestible["Movies"] = [NOT_INGESTIBLE]
        with pytest.raises(NothingEligible):
            await library.ingest()
        assert (await library.collection("Movies")).ingestible is False
        library.script.ingestible["Movies"] = [Ingestibility(ingestible=True)]
        assert codes(await library.ingest()) == {"Movies": "ingested"}
        assert (await library.collection("Movies")).ingestible is True

    async def test_it_is_asked_again_right_before_the_ingest(self, library: Library) -> None:
        library.script.listings["Movies"] = PAGES
        library.script.ingestible["Movies"] = [Ingestibility(ingestible=True), NOT_INGESTIBLE]
        summary = await library.ingest()
        assert codes(summary) == {"Movies": "unreadable_directory"}
        assert library.script.asked == ["open", "reachable", "ingestible Movies", "ingestible Movies", "close"]
        assert await library.audit() == [("Movies", "skipped", "unreadable_directory")]

    @pytest.mark.parametrize("dry_run", [False, True])
    async def test_without_any_the_run_is_refused_with_every_reason(self, library: Library, dry_run: bool) -> None:
        for names, prepare, code in (
            ("", "none", "no_collections"),
            ("AB", "disabled", "no_enabled_collections"),
            ("AB", "lost", "no_ingestible_collections"),
        ):
            many = await make(library, names)
            for name in names:
                await many.enable(name, enabled=prepare != "disabled")
                many.script.ingestible[name] = [NOT_INGESTIBLE]
            with pytest.raises(NothingEligible) as refused:
                await many.ingest(dry_run=dry_run)
            assert refused.value.code == code
            assert refused.value.hint
            reasons = refused.value.context["collections"]
            assert [reason["name"] for reason in reasons] == list(names)
            assert all(reason["reason"] for reason in reasons)
            assert await many.audit() == []

    async def test_a_source_that_is_not_there(self, library: Library) -> None:
        with pytest.raises(NotFound) as refused:
            async with ingest_source(library.store, "nobody"):
                pass
        assert refused.value.code == "source_not_found"

    async def test_a_legitimately_empty_library_succeeds(self, library: Library) -> None:
        outcome = await library.ingest_one()
        assert outcome.counts.discovered == 0

    @pytest.mark.parametrize("dry_run", [False, True])
    async def test_one_that_had_assets_and_is_empty_now_is_suspicious(self, library: Library, dry_run: bool) -> None:
        await library.ingest_one(*PAGES)
        before = await library.contents()
        summary = await library.ingest({"Movies": []}, dry_run=dry_run)
        assert codes(summary) == {"Movies": "suspicious_empty"}
        assert await library.contents() == before

    @pytest.mark.parametrize("dry_run", [False, True])
    async def test_one_of_which_nothing_can_be_used_fails_and_keeps_all_reasons(
        self, library: Library, dry_run: bool
    ) -> None:
        rejected = [Rejection("no_file", "rare"), *(Rejection("no_media", f"reason {number}") for number in range(119))]
        summary = await library.ingest({"Movies": [page(*rejected)]}, dry_run=dry_run)
        outcome = failure(summary, "Movies")
        assert outcome.code == "all_rejected"
        assert outcome.message.endswith("for example: reason 0")  # the reason of most
        assert outcome.context == {"rejected": 120, "first_code": "no_media"}
        assert len(outcome.listed.rejected) == 100
        stored = await library.rows("SELECT discovered, rejected FROM ingest_outcome")
        assert stored == ([] if dry_run else [(120, 120)])
        assert await library.rows("SELECT count(*) FROM ingest_rejection") == [(0 if dry_run else 120,)]


@pytest.mark.rule("B-1")
class TestUnreachable:
    """B-1: the source is reached, and has its identity, before any collection is asked for."""

    @pytest.mark.parametrize(
        "error", [SourceUnreachable("down"), SourceRefused("no"), WrongIdentity("other"), RuntimeError("bug")]
    )
    async def test_in_the_pre_flight_every_enabled_collection_fails(self, library: Library, error: Exception) -> None:
        many = await make(library, "ABC")
        await many.enable("C", enabled=False)
        many.script.reachable = [error]
        summary = await many.ingest()
        code = getattr(error, "code", "importer_failed")
        assert codes(summary) == {"A": code, "B": code, "C": "sync_disabled"}
        assert summary.status == "error"
        assert summary.all_unreachable == isinstance(error, SourceUnreachable)
        assert await many.audit() == [("A", "failed", code), ("B", "failed", code)]
        assert many.script.asked == ["open", "reachable", "close"]
        many.script.reachable = [SourceIdentity("machine")]
        again = await many.ingest(retry_failed=True)
        assert codes(again) == {"A": "ingested", "B": "ingested", "C": "sync_disabled"}

    async def test_so_it_does_when_the_importer_cannot_be_opened(self, library: Library) -> None:
        library.script.opening = SourceUnreachable("down")
        summary = await library.ingest()
        assert codes(summary) == {"Movies": "source_unreachable"}
        assert summary.all_unreachable

    async def test_a_dry_run_says_the_same_and_writes_nothing(self, library: Library) -> None:
        library.script.reachable = [SourceUnreachable("down")]
        summary = await library.ingest(dry_run=True)
        assert codes(summary) == {"Movies": "source_unreachable"}
        assert await library.audit() == []

    async def test_midway_the_token_is_refused_what_has_not_begun_is_not_asked(self, library: Library) -> None:
        many = await make(library, "ABCD")
        many.script.listings["B"] = [PAGES[0], SourceRefused("the token was refused")]
        summary = await many.ingest(concurrency=1)
        assert codes(summary) == {"A": "ingested", "B": "auth", "C": "auth", "D": "auth"}
        assert [asked for asked in many.script.asked if asked[-1] in "CD"] == ["ingestible C", "ingestible D"]
        assert {name: status for name, status, _ in await many.audit()} == {
            "A": "ingested", "B": "failed", "C": "failed", "D": "failed",
        }  # fmt: skip
        assert not summary.all_unreachable

    async def test_midway_the_source_is_gone_what_is_unfinished_fails_and_what_is_committed_stays(
        self, library: Library
    ) -> None:
        many = await make(library, "ABCDE")
        waiting = anyio.Event()
        gone = SourceUnreachable("no answer")

        async def wait() -> None:
            waiting.set()
            await anyio.sleep_forever()

        many.script.listings.update({"B": [waiting, gone], "C": [*PAGES, wait]})
        machine = SourceIdentity("machine")  # answers in the pre-flight and before A is merged
        many.script.reachable = [machine, machine, SourceUnreachable("still no answer")]
        summary = await many.ingest(concurrency=2)
        unfinished = dict.fromkeys("BCDE", "source_unreachable")
        assert codes(summary) == {"A": "ingested", **unfinished}
        assert all(outcome.unreachable for outcome in summary.failed)
        assert not summary.interrupted
        assert (summary.status, summary.all_unreachable) == ("partial", True)
        assert many.script.asked.count("reachable") == 3
        await agree(many, summary)

    async def test_midway_one_answer_is_lost_but_the_source_lives(self, library: Library) -> None:
        many = await make(library, "ABC")
        many.script.listings["A"] = [SourceUnreachable("reset by peer")]
        summary = await many.ingest(concurrency=1)
        assert codes(summary) == {"A": "source_unreachable", "B": "ingested", "C": "ingested"}

    async def test_a_probe_that_breaks_is_no_answer(self, library: Library) -> None:
        many = await make(library, "AB")
        many.script.listings["A"] = [SourceUnreachable("x")]
        for error in (RuntimeError("x"), RequestError("x")):
            many.script.reachable = [SourceIdentity("machine"), error]
            summary = await many.ingest(concurrency=1)
            assert set(codes(summary)) == {"A", "B"}
            assert codes(summary)["A"] == "source_unreachable"
            assert isinstance(by_name(summary)["B"], Failed)


class TestRetry:
    async def test_it_takes_what_failed_was_interrupted_or_is_unknown(self, library: Library) -> None:
        names = ["failed", "fine", "interrupted", "never", "surgical", "unknown", "vanished"]
        many = await Library.make(library.store, *names)
        many.script.listings.update(dict.fromkeys(names, PAGES))
        for name, status, scope in (
            ("failed", "failed", "{}"),
            ("fine", "failed", "{}"),
            ("fine", "ingested", "{}"),
            ("interrupted", "interrupted", "{}"),
            ("surgical", "ingested", "{}"),
            ("surgical", "failed", '{"title": "x"}'),
            ("unknown", "unknown", "{}"),
            ("vanished", None, "{}"),
        ):
            key = "SELECT run_id, collection_id"
            code = "NULL" if status == "ingested" else "'x'"
            await execute(
                many.store,
                f"INSERT INTO ingest_start SELECT gen_random_uuid(), id, 'source', '{scope}', '0', 'me'"
                f" FROM collection WHERE name = '{name}'",
                f"INSERT INTO ingest_outcome (run_id, collection_id, status, code) {key}, '{status}', {code}"
                " FROM ingest_start WHERE (run_id, collection_id) NOT IN (SELECT run_id, collection_id FROM"
                f" ingest_outcome) AND {'true' if status else 'false'}",
            )
        summary = await many.ingest(retry_failed=True)
        assert codes(summary) == {
            name: "ingested" if name in {"failed", "interrupted", "unknown", "vanished"} else "not_failed"
            for name in names
        }
        nothing = await many.ingest(retry_failed=True)
        assert (nothing.status, nothing.processed, set(codes(nothing).values())) == ("ok", 0, {"not_failed"})

    async def test_of_a_killed_run_it_takes_what_had_not_begun_as_well(self, library: Library) -> None:
        many = await make(library, "ABC")
        await many.ingest()
        started: list[object] = []

        async def look() -> None:
            # A run that is killed here leaves these rows, and no others.
            started.extend(
                await many.rows(
                    "SELECT 1 FROM ingest_start LEFT JOIN ingest_outcome"
                    " USING (run_id, collection_id) WHERE status IS NULL"
                )
            )

        many.script.listings["A"] = [look, *PAGES]
        await many.ingest(concurrency=1)
        assert len(started) == 3
        await execute(
            many.store,
            "DELETE FROM ingest_outcome WHERE run_id = (SELECT run_id FROM ingest_start"
            " ORDER BY started_at DESC LIMIT 1) AND collection_id <> (SELECT id FROM collection WHERE name = 'A')",
        )
        assert codes(await many.ingest(retry_failed=True)) == {"A": "not_failed", "B": "ingested", "C": "ingested"}


@pytest.mark.usefixtures("store")
class TestCompliance:
    """Nothing of an importer runs before it is known to comply."""

    @pytest.mark.parametrize("target", ["MissingMethod", "PlainMethod", "OpenMethod", "NotAClass", "Nowhere"])
    async def test_one_that_does_not_comply_is_refused(
        self, store: Store, packages: Packages, library: Library, target: str
    ) -> None:
        packages.install("other", other=f"tests.support.odd_importers:{target}")
        await execute(store, "UPDATE source SET external_id = 'other-00000000', type = 'other'")
        with pytest.raises(ImporterNotCompliant) as refused:
            await library.ingest()
        assert refused.value.code == "importer_not_compliant"
        assert await library.audit() == []

    async def test_one_that_is_not_installed(self, store: Store, library: Library) -> None:
        await execute(store, "UPDATE source SET external_id = 'absent-00000000', type = 'absent'")
        with pytest.raises(UnsupportedImporter):
            await library.ingest()


class TestIngestOne:
    async def test_all_of_a_collection_only_while_it_is_enabled(self, library: Library) -> None:
        await library.enable("Movies", enabled=False)
        with pytest.raises(NothingEligible) as refused:
            async with ingest_one(library.store, "Movies"):
                pass
        assert refused.value.code == "no_enabled_collections"

    async def test_a_scope_also_while_it_is_not(self, library: Library) -> None:
        await library.enable("Movies", enabled=False)
        library.script.listings["Movies"] = PAGES
        async with ingest_one(library.store, "Movies", Scope(title="A", season=1)) as run:
            pass
        assert codes(run.summary) == {"Movies": "ingested"}
        assert await library.rows("SELECT trigger, scope FROM ingest_start") == [
            ("collection", {"title": "A", "season": 1})
        ]

    async def test_never_while_it_is_not_ingestible(self, library: Library) -> None:
        library.script.ingestible["Movies"] = [NOT_INGESTIBLE]
        for scope in (Scope(), Scope(title="A")):
            with pytest.raises(NothingEligible) as refused:
                async with ingest_one(library.store, "Movies", scope):
                    pass
            assert refused.value.code == "no_ingestible_collections"

    async def test_an_empty_scope_is_not_suspicious(self, library: Library) -> None:
        await library.ingest_one(*PAGES)
        library.script.listings["Movies"] = []
        async with ingest_one(library.store, "Movies", Scope(title="A")) as run:
            pass
        assert codes(run.summary) == {"Movies": "ingested"}


class TestDryRun:
    @pytest.mark.usefixtures("scripted")
    async def test_it_says_what_the_real_run_then_does_and_writes_nothing(self, database_url: str) -> None:
        """By the word of the server, which is told to refuse every write."""
        async with Store(URL.parse(database_url)) as store, left_clean(store):
            many = await make(await Library.make(store, "Movies"), "ABCDE")
            await many.enable("D", enabled=False)
            many.script.ingestible["E"] = [NOT_INGESTIBLE]
            many.script.listings["A"] = [page(draft("a"), draft("b", "a.mkv"), Rejection("no_media", "none"))]
            many.script.listings["B"] = [*PAGES, IncompleteEnumeration("short")]

            before = await everything(store)
            async with Store(URL.parse(database_url), read_only=True) as locked:
                many.store = locked
                preview = await many.ingest(dry_run=True)
            assert await everything(store) == before
            many.store = store
            real = await many.ingest()

        assert preview.dry_run
        assert codes(preview) == codes(real)
        assert preview.status == real.status
        for name in ("created", "skipped", "duplicates", "rejected", "discovered"):
            assert preview.total(name) == real.total(name)

    async def test_a_read_only_store_is_refused_for_a_real_run(self, library: Library) -> None:
        async with Store(library.store.url, read_only=True) as locked:
            library.store = locked
            with pytest.raises(StoreError) as refused:
                await library.ingest({"Movies": PAGES})
        assert refused.value.code == "database_read_only"
        assert library.script.asked == []


async def everything(store: Store) -> list[str]:
    """Every row with the transaction that wrote it, every sequence, and which tables there are."""
    found = await contents(store, *CATALOGUE, *AUDIT, "alembic_version", "catalogue_role", "pg_sequence")
    tables = await rows(store, "SELECT oid::int, relname, relfilenode::int FROM pg_class ORDER BY oid")
    return [*found, *(str(row) for row in tables)]
