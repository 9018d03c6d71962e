"""Paging over real HTTP: what is read is all there is, or an error."""

import re
from collections.abc import Callable

import anyio
import pytest
from msgspec.structs import replace

from retrovue.core.runs import FULL
from retrovue.errors import CollectionGone, IncompleteEnumeration, SourceError
from retrovue.importers.http.paging import WINDOW
from retrovue.simulator import Fault, GeneratedSection, ListSection, Reply, Request, Row, faults, movie
from tests.support.plex import collection, plex, read_all

pytestmark = pytest.mark.anyio

ALL = "/library/sections/1/all"


def movies(count: int, first: int = 1) -> ListSection:
    return ListSection("1", "Movies", "movie", [movie(first + number) for number in range(count)])


def at_request(number: int, change: Callable[[], None]) -> Callable[[Request], None]:
    """Change the library when the section is asked for the so-manieth time."""
    seen = 0

    def hook(request: Request) -> None:
        nonlocal seen
        if request.path == ALL:
            seen += 1
            if seen == number:
                change()

    return hook


class TestComplete:
    @pytest.mark.parametrize("count", [0, 1, 2, 9, 10, 11, 19, 20, 95])
    @pytest.mark.parametrize("page_size", [1, 2, 10])
    async def test_every_item_once(self, count: int, page_size: int) -> None:
        async with plex(movies(count), config={"page_size": page_size}) as (_, importer):
            result = await read_all(importer, collection())
        assert result.titles == [f"Movie {number}" for number in range(1, count + 1)]
        assert (result.source_items, result.restarts) == (count, 0)

    async def test_pages_overlap_by_a_row_and_need_no_request_more(self) -> None:
        async with plex(movies(27), config={"page_size": 10}) as (server, importer):
            await read_all(importer, collection())
        windows = [(request.start, request.size) for request in server.requests if request.path == ALL]
        assert windows == [(0, 10), (9, 10), (18, 10)]

    async def test_a_listing_that_ends_with_a_full_page_is_asked_for_a_row_more(self) -> None:
        async with plex(movies(28), config={"page_size": 10}) as (server, importer):
            assert (await read_all(importer, collection())).restarts == 0
        windows = [(request.start, request.size) for request in server.requests if request.path == ALL]
        assert windows == [(0, 10), (9, 10), (18, 10), (28, 1)]

    @pytest.mark.parametrize("known", [False, True], ids=["in full", "in short"])
    @pytest.mark.parametrize(
        ("count", "last"), [(5, [True]), (27, [False, False, True]), (28, [False] * 3), (10, [False]), (0, [])]
    )
    async def test_the_last_page_says_that_nothing_else_is_asked(
        self, count: int, last: list[bool], known: bool
    ) -> None:
        told: list[bool] = []
        async with plex(movies(count), config={"page_size": 10}) as (server, importer):
            read = replace(collection(), assets_count=count if known else 0)
            async with importer.enumerate(read, FULL) as pages:
                async for page in pages:
                    told.append(page.last)
                    asked = len(server.requests)
            assert told == last
            assert not any(told) or len(server.requests) == asked

    @pytest.mark.fault(12)
    @pytest.mark.parametrize("known", [False, True], ids=["in full", "in short"])
    async def test_a_total_too_low_that_ends_with_a_full_page(self, known: bool) -> None:
        what = replace(collection(), assets_count=35) if known else collection()
        async with plex(movies(35), config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(faults.lie_about_total(-7), path=ALL))
            async with importer.enumerate(what, FULL) as pages:
                with pytest.raises(IncompleteEnumeration, match="holds more than it says"):
                    [page async for page in pages]
        assert server.count(ALL) == 8

    async def test_a_total_too_low_that_passes_is_read_over(self) -> None:
        async with plex(movies(35), config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(faults.lie_about_total(-7), path=ALL, times=4))
            result = await read_all(importer, collection())
        assert (len(set(result.titles)), result.restarts) == (35, 1)

    @pytest.mark.parametrize("refusal", [400, 416])
    async def test_a_server_that_refuses_what_is_beyond_the_end(self, refusal: int) -> None:
        async with plex(movies(28), config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(faults.status(refusal), path=ALL, page=28))
            result = await read_all(importer, collection())
        assert (result.source_items, result.restarts) == (28, 0)

    async def test_a_server_that_clamps_what_is_beyond_the_end(self) -> None:
        async with plex(movies(28), config={"page_size": 10}) as (server, importer):
            last = faults.Action(label="clamp", ask=lambda request: request.from_start(27))
            server.faults.add(Fault(last, path=ALL, page=28))
            result = await read_all(importer, collection())
        assert (result.source_items, result.restarts) == (28, 0)

    async def test_requests_per_hundred_thousand_items(self) -> None:
        sections = [GeneratedSection(str(key), "M", count=2500, seed=key) for key in range(1, 5)]
        async with plex(*sections, config={"page_size": 100}) as (server, importer):
            await importer.check_reachable()
            for key in range(1, 5):
                assert (await read_all(importer, collection(str(key)))).source_items == 2500
        # Scaled down by ten: 26 pages of each library.
        assert server.count(f"/library/sections/{1}/all") == 26
        assert server.request_count <= 110

    async def test_what_is_asked_for(self) -> None:
        async with plex(movies(3)) as (server, importer):
            await read_all(importer, collection())
        (request,) = (request for request in server.requests if request.path == ALL)
        assert request.query["sort"] == "id"
        assert request.query["includeGuids"] == "1"
        assert request.item_type == 1
        assert request.size == 1000
        assert request.token_from == "header"

    @pytest.mark.parametrize("cap", [1, 2, 7])
    async def test_a_server_that_caps_pages(self, cap: int) -> None:
        async with plex(movies(40), config={"page_size": 20}, max_page_size=cap) as (_, importer):
            result = await read_all(importer, collection())
        assert (len(set(result.titles)), result.source_items, result.restarts) == (40, 40, 0)

    @pytest.mark.fault(2)
    async def test_one_short_page(self) -> None:
        async with plex(movies(60), config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(faults.short_page(4), path=ALL, page=2, times=1))
            result = await read_all(importer, collection())
        assert len(set(result.titles)) == result.source_items == 60

    async def test_a_server_that_refuses_the_order(self) -> None:
        async with plex(movies(35), config={"page_size": 10}, refuse_sort_id=True) as (server, importer):
            result = await read_all(importer, collection())
        assert sorted(set(result.titles)) == sorted(f"Movie {number}" for number in range(1, 36))
        accepted = {
            request.query.get("sort") for request in server.requests if request.path == ALL and request.status == 200
        }
        assert accepted == {"addedAt:asc"}

    async def test_a_server_that_refuses_large_pages(self) -> None:
        async with plex(movies(250), refuse_page_over=100) as (server, importer):
            result = await read_all(importer, collection())
        assert len(set(result.titles)) == 250
        assert server.count(ALL, status=400) == 1

    async def test_a_server_that_refuses_everything(self) -> None:
        async with plex(movies(5)) as (server, importer):
            server.faults.add(Fault(faults.status(400), path=ALL))
            with pytest.raises(SourceError) as caught:
                await read_all(importer, collection())
        assert caught.value.code == "request_refused"

    async def test_an_answer_that_is_not_paged(self) -> None:
        def unpaged(container: dict[str, object]) -> dict[str, object]:
            return {key: value for key, value in container.items() if key not in {"totalSize", "offset"}}

        def without_headers(reply: Reply) -> Reply:
            reply.headers = {name: value for name, value in reply.headers.items() if "Container" not in name}
            return reply

        async with plex(movies(5)) as (server, importer):
            server.faults.add(Fault(faults.Action(label="unpaged", alter=unpaged, send=without_headers), path=ALL))
            assert (await read_all(importer, collection())).source_items == 5
        async with plex(movies(5), config={"page_size": 5}) as (server, importer):
            server.faults.add(Fault(faults.Action(label="unpaged", alter=unpaged, send=without_headers), path=ALL))
            with pytest.raises(IncompleteEnumeration):
                await read_all(importer, collection())

    async def test_rows_that_cannot_be_read_are_accounted_for(self) -> None:
        section = movies(30)
        section.change(11, Media=[[]])
        section.change(10, ratingKey="ten")
        section.change(20, Media=None)
        async with plex(section, config={"page_size": 10}) as (_, importer):
            result = await read_all(importer, collection())
        assert result.source_items == 30
        assert sorted(one.code for one in result.rejected) == ["bad_rating_key", "no_media", "no_media_id"]
        assert len(result.drafts) == 27


class TestMoving:
    @pytest.mark.fault(13)
    async def test_growth_is_read_again_once(self) -> None:
        section = movies(50)
        async with plex(section, config={"page_size": 10}) as (server, importer):
            server.on_request = at_request(3, lambda: section.add(movie(900)))
            result = await read_all(importer, collection())
        assert (len(set(result.titles)), result.source_items, result.restarts) == (51, 51, 1)

    @pytest.mark.fault(13)
    async def test_shrinking_and_growing_by_as_many_shows_at_the_boundary(self) -> None:
        section = movies(50)

        def swap() -> None:
            section.remove(2)
            section.add(movie(900))

        async with plex(section, config={"page_size": 10}) as (server, importer):
            server.on_request = at_request(2, swap)
            result = await read_all(importer, collection())
        assert result.restarts == 1
        assert "Movie 2" not in result.titles
        assert len(set(result.titles)) == result.source_items == 50

    @pytest.mark.fault(13)
    async def test_a_library_that_never_rests(self) -> None:
        section = movies(50)

        def hook(request: Request) -> None:
            if request.path == ALL:
                section.add(movie(1000 + server.request_count))

        async with plex(section, config={"page_size": 10}) as (server, importer):
            server.on_request = hook
            with pytest.raises(IncompleteEnumeration) as caught:
                await read_all(importer, collection())
        assert caught.value.context["collection"] == "Movies"
        assert {"expected", "received"} <= set(caught.value.context)

    @pytest.mark.fault(12, 14, 15)
    @pytest.mark.parametrize(
        "action",
        [
            faults.lie_about_total(7),
            faults.lie_about_total(-6),
            faults.duplicate_rows(),
            faults.repeat_first_page(),
            faults.rows_changed("nothing", lambda _: []),
            faults.giant_page(3),
        ],
        ids=lambda action: action.label,
    )
    @pytest.mark.parametrize("page", [1, None])
    async def test_a_listing_that_does_not_add_up(self, action: faults.Action, page: int | None) -> None:
        async with plex(movies(35), config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(action, path=ALL, page=page))
            with pytest.raises(IncompleteEnumeration):
                await read_all(importer, collection())
        assert server.request_count < 60

    @pytest.mark.fault(147)
    async def test_a_total_that_no_library_has(self) -> None:
        async with plex(movies(35), config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(faults.lie_about_total(10**15), path=ALL))
            with pytest.raises(IncompleteEnumeration, match="which no library holds"):
                await read_all(importer, collection())
        assert server.count(ALL) == 2

    async def test_a_fault_that_passes_is_read_over(self) -> None:
        async with plex(movies(35), config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(faults.duplicate_rows(), path=ALL, page=1, times=1))
            result = await read_all(importer, collection())
        assert (len(set(result.titles)), result.restarts) == (35, 1)

    @pytest.mark.fault(15)
    async def test_pages_that_dwindle(self) -> None:
        async with plex(movies(300), config={"page_size": 100}, max_page_size=2) as (server, importer):
            with pytest.raises(IncompleteEnumeration):
                await read_all(importer, collection())
        assert server.request_count < 500

    async def test_shows_that_move_restart_the_whole(self) -> None:
        section = GeneratedSection("1", "TV", "show", count=60)
        async with plex(section, config={"page_size": 5}) as (server, importer):
            server.faults.add(Fault(faults.lie_about_total(1), path=ALL, item_type=2, page=0, times=1))
            result = await read_all(importer, collection(kind="show"))
        assert (result.restarts, result.source_items) == (1, 60)


class TestWindow:
    async def test_pages_ahead_are_bounded(self) -> None:
        async with plex(movies(300), config={"page_size": 10}, latency=0.002) as (server, importer):
            assert (await read_all(importer, collection())).source_items == 300
        assert 1 < server.max_concurrency <= WINDOW

    async def test_bytes_ahead_are_bounded_but_never_stop_the_walk(self) -> None:
        async with plex(movies(100), config={"page_size": 10}, latency=0.002) as (server, importer):
            importer._budget.limit = 0
            assert (await read_all(importer, collection())).source_items == 100
            assert importer._budget.held == 0
        assert server.max_concurrency == 1

    async def test_nothing_is_held_after_leaving_early(self) -> None:
        async with plex(movies(300), config={"page_size": 10}) as (_, importer):
            async with importer.enumerate(collection(), FULL) as pages:
                async for _ in pages:
                    break
            assert importer._budget.held == 0
            # The connections are free again.
            assert (await read_all(importer, collection())).source_items == 300

    async def test_only_as_much_is_read_as_is_used(self) -> None:
        settings = {"page_size": 10}
        async with (
            plex(movies(300), config=settings) as (server, importer),
            importer.enumerate(collection(), FULL) as pages,
        ):
            await anext(pages)
            await anext(pages)
            await anyio.wait_all_tasks_blocked()
            assert server.count(ALL) <= 1 + WINDOW

    async def test_pages_one_by_one(self) -> None:
        async with plex(movies(30), config={"page_size": 10}) as (server, importer):
            found = [page async for page in importer.pages(collection(), FULL)]
        assert sum(page.source_items for page in found) == 30
        assert server.max_concurrency == 1


class TestLeaving:
    async def test_the_bodys_exception_leaves_unchanged(self) -> None:
        class OwnError(Exception):
            pass

        own = OwnError()
        async with plex(movies(100), config={"page_size": 10}) as (_, importer):

            async def use() -> None:
                async with importer.enumerate(collection(), FULL) as pages:
                    await anext(pages)
                    raise own

            with pytest.raises(OwnError) as caught:
                await use()
        assert caught.value is own

    async def test_an_error_of_a_page_ahead_surfaces_as_it_is(self) -> None:
        async with plex(movies(100), config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(faults.status(404), path=ALL, page=2))
            with pytest.raises(CollectionGone):
                await read_all(importer, collection())

    async def test_cancellation_by_a_scope(self) -> None:
        async with plex(movies(100), config={"page_size": 10}) as (server, importer):
            release = anyio.Event()
            server.faults.add(Fault(faults.hang(release), path=ALL, page=3))
            with anyio.CancelScope() as scope:
                async with importer.enumerate(collection(), FULL) as pages:
                    async for _ in pages:
                        if server.count(ALL) > 3:
                            scope.cancel()
            assert scope.cancelled_caught
            release.set()
            server.faults.clear()
            assert (await read_all(importer, collection())).source_items == 100

    async def test_cancellation_beside_a_failing_sibling(self) -> None:
        class OwnError(Exception):
            pass

        async with plex(movies(100), config={"page_size": 10}) as (server, importer):
            release = anyio.Event()
            server.faults.add(Fault(faults.hang(release), path=ALL, page=1))
            left: list[str] = []

            async def read() -> None:
                try:
                    await read_all(importer, collection())
                finally:
                    left.append("left")

            async def fail() -> None:
                await anyio.wait_all_tasks_blocked()
                raise OwnError

            async def both() -> None:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(read)
                    tasks.start_soon(fail)

            with pytest.raises(ExceptionGroup) as caught:
                await both()
            assert [type(one) for one in caught.value.exceptions] == [OwnError]
            assert left == ["left"]

    async def test_many_enumerations_at_once(self) -> None:
        sections = [
            ListSection(str(key), f"M{key}", "movie", [movie(key * 1000 + number) for number in range(55)])
            for key in range(1, 17)
        ]
        found: dict[int, int] = {}
        async with plex(*sections, config={"page_size": 10}, latency=0.001) as (_, importer):

            async def read(key: int) -> None:
                found[key] = (await read_all(importer, collection(str(key)))).source_items

            async with anyio.create_task_group() as tasks:
                for key in range(1, 17):
                    tasks.start_soon(read, key)
            assert importer._budget.held == 0
        assert found == dict.fromkeys(range(1, 17), 55)


async def test_growing_ids_are_no_condition() -> None:
    rows: list[Row] = [movie(number, f"T{number:03}") for number in (900, 5, 77, 3, 600, 12)]
    async with plex(ListSection("1", "M", "movie", rows), config={"page_size": 2}) as (_, importer):
        result = await read_all(importer, collection())
    assert len(result.titles) == 6
    assert all(re.fullmatch(r"T\d{3}", title) for title in result.titles)
