"""Whether a listing was read completely, over real HTTP."""

from collections.abc import Callable

import anyio
import pytest

from retrovue.core.runs import FULL
from retrovue.errors import CollectionGone, IncompleteEnumeration
from retrovue.importers.http.paging import WINDOW
from retrovue.importers.seen import GuidSet
from retrovue.simulator import Fault, Request, faults
from retrovue.simulator.jellyfin import JellyfinLibrary, movie
from tests.support.jellyfin import a_series, collection, jellyfin, movies, read_all, shows

pytestmark = pytest.mark.anyio

ITEMS = "/Items"


def at_request(number: int, change: Callable[[], object]) -> Callable[[Request], None]:
    """Change the library when items are asked for the so-manieth time."""
    seen = 0

    def hook(request: Request) -> None:
        nonlocal seen
        if request.path == ITEMS:
            seen += 1
            if seen == number:
                change()

    return hook


class TestComplete:
    @pytest.mark.parametrize("count", [0, 1, 2, 9, 10, 11, 19, 20, 95])
    @pytest.mark.parametrize("page_size", [1, 2, 10])
    async def test_every_item_once(self, count: int, page_size: int) -> None:
        library = movies(count)
        async with jellyfin(library, config={"page_size": page_size}) as (_, importer):
            result = await read_all(importer, collection(library))
        assert result.titles == [f"Movie {number}" for number in range(1, count + 1)]
        assert (result.source_items, result.restarts) == (count, 0)

    @pytest.mark.fault(215)
    async def test_a_total_above_the_items_says_how_many_were_listed(self) -> None:
        library = movies(20)
        counted = faults.transform(lambda body: body.replace(b'"TotalRecordCount":20', b'"TotalRecordCount":21'))
        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(counted, path=ITEMS))
            with pytest.raises(IncompleteEnumeration, match=r"\(20 of 21 items\)") as caught:
                await read_all(importer, collection(library))
        assert caught.value.context["expected"] == 21

    async def test_no_page_says_that_nothing_else_is_asked(self) -> None:
        """The library is looked up after its listing."""
        library = movies(27)
        async with (
            jellyfin(library, config={"page_size": 10}) as (_, importer),
            importer.enumerate(collection(library), FULL) as pages,
        ):
            assert [page.last async for page in pages] == [False, False, False]

    async def test_pages_overlap_by_a_row_and_need_no_request_more(self) -> None:
        library = movies(27)
        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            await read_all(importer, collection(library))
        windows = [(request.start, request.size) for request in server.requests if request.path == ITEMS]
        assert windows == [(0, 10), (9, 10), (18, 10)]

    async def test_a_listing_that_ends_with_a_full_page_is_asked_for_a_row_more(self) -> None:
        library = movies(28)
        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            assert (await read_all(importer, collection(library))).restarts == 0
        windows = [(request.start, request.size) for request in server.requests if request.path == ITEMS]
        assert windows == [(0, 10), (9, 10), (18, 10), (28, 1)]

    async def test_a_total_too_low_that_ends_with_a_full_page(self) -> None:
        library = movies(35)
        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(faults.lie_about_total(-7), path=ITEMS))
            with pytest.raises(IncompleteEnumeration, match="holds more than it says"):
                await read_all(importer, collection(library))
        assert server.count(ITEMS) == 8

    async def test_what_is_asked_for(self) -> None:
        library = movies(3)
        async with jellyfin(library) as (server, importer):
            await read_all(importer, collection(library))
        (request,) = (request for request in server.requests if request.path == ITEMS)
        assert request.query == {
            "parentid": library.id,
            "includeitemtypes": "Movie",
            "recursive": "true",
            "fields": "Path,MediaSources,ProviderIds,Genres,Tags,Studios,Chapters",
            "sortby": "DateCreated,SortName",
            "sortorder": "Ascending",
            "startindex": "0",
            "limit": "500",
            "enabletotalrecordcount": "true",
            "collapseboxsetitems": "false",
            "enableimages": "false",
            "enableuserdata": "false",
        }
        assert request.token_from == "header"

    @pytest.mark.parametrize("cap", [1, 2, 7])
    async def test_a_server_that_caps_pages(self, cap: int) -> None:
        library = movies(40)
        async with jellyfin(library, config={"page_size": 20}, max_page_size=cap) as (_, importer):
            result = await read_all(importer, collection(library))
        assert (len(set(result.titles)), result.source_items, result.restarts) == (40, 40, 0)

    async def test_one_short_page(self) -> None:
        library = movies(60)
        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(faults.short_page(4), path=ITEMS, page=2, section=library.id, times=1))
            result = await read_all(importer, collection(library))
        assert len(set(result.titles)) == result.source_items == 60

    async def test_rows_that_cannot_be_read_are_accounted_for(self) -> None:
        library = movies(30)
        library.change(11, MediaSources=[[]])
        library.change(10, Id="ten")
        library.change(20, MediaSources=None)
        async with jellyfin(library, config={"page_size": 10}) as (_, importer):
            result = await read_all(importer, collection(library))
        assert result.source_items == 30
        assert sorted(one.code for one in result.rejected) == ["bad_id", "no_media", "no_media_id"]
        assert len(result.drafts) == 27


class TestMoving:
    async def test_growth_is_read_again_once(self) -> None:
        library = movies(50)
        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            server.on_request = at_request(3, lambda: library.add(movie(900)))
            result = await read_all(importer, collection(library))
        assert (len(set(result.titles)), result.source_items, result.restarts) == (51, 51, 1)

    async def test_shrinking_and_growing_by_as_many_shows_at_the_boundary(self) -> None:
        library = movies(50)

        def swap() -> None:
            library.remove(2)
            library.add(movie(900))

        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            server.on_request = at_request(2, swap)
            result = await read_all(importer, collection(library))
        assert result.restarts == 1
        assert "Movie 2" not in result.titles
        assert len(set(result.titles)) == result.source_items == 50

    async def test_a_library_that_never_rests(self) -> None:
        library = movies(50)

        def hook(request: Request) -> None:
            if request.path == ITEMS:
                library.add(movie(1000 + server.request_count))

        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            server.on_request = hook
            with pytest.raises(IncompleteEnumeration) as caught:
                await read_all(importer, collection(library))
        assert caught.value.context["collection"] == "Movies"
        assert {"expected", "received"} <= set(caught.value.context)

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
        library = movies(35)
        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(action, path=ITEMS, page=page))
            with pytest.raises(IncompleteEnumeration):
                await read_all(importer, collection(library))
        assert server.request_count < 60

    async def test_a_page_suddenly_empty(self) -> None:
        library = movies(35)
        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(faults.empty(), path=ITEMS, page=2))
            with pytest.raises(IncompleteEnumeration, match="held 35 items and now 0"):
                await read_all(importer, collection(library))

    async def test_an_answer_from_elsewhere(self) -> None:
        library = movies(35)

        def astray(container: dict[str, object]) -> dict[str, object]:
            return container | {"offset": 7}

        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(faults.Action(label="astray", alter=astray), path=ITEMS, page=0))
            with pytest.raises(IncompleteEnumeration, match="asked for row 0 and answered from row 7"):
                await read_all(importer, collection(library))

    async def test_a_fault_that_passes_is_read_over(self) -> None:
        library = movies(35)
        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(faults.duplicate_rows(), path=ITEMS, page=1, attempt=1))
            result = await read_all(importer, collection(library))
        assert (len(set(result.titles)), result.restarts) == (35, 1)

    async def test_pages_that_dwindle(self) -> None:
        library = movies(300)
        async with jellyfin(library, config={"page_size": 100}, max_page_size=2) as (server, importer):
            with pytest.raises(IncompleteEnumeration):
                await read_all(importer, collection(library))
        assert server.request_count < 500

    async def test_series_that_move_restart_the_whole(self) -> None:
        library = shows(*a_series(1000, "Lost"), *a_series(2000, "Dark"))
        async with jellyfin(library) as (server, importer):
            server.faults.add(Fault(faults.lie_about_total(1), path=ITEMS, kinds="Series", times=1))
            result = await read_all(importer, collection(library, "show"))
        assert (result.restarts, result.source_items) == (1, 12)


class TestGone:
    """Asked for the items of a library that is gone, a server lists those of all its libraries."""

    async def test_before(self) -> None:
        gone, other = movies(5), JellyfinLibrary("Other", "movies", [movie(100), movie(101)])
        async with jellyfin(other) as (server, importer):
            with pytest.raises(CollectionGone):
                await read_all(importer, collection(gone))
        assert server.count(ITEMS) == 0

    async def test_just_before_it_is_listed(self) -> None:
        library, other = movies(5), JellyfinLibrary("Other", "movies", [movie(100), movie(101)])
        async with jellyfin(library, other) as (server, importer):
            server.on_request = at_request(1, lambda: server.libraries.remove(library))
            with pytest.raises(CollectionGone):
                await read_all(importer, collection(library))
        assert server.count(ITEMS) == 1

    async def test_a_server_that_says_so(self) -> None:
        library = movies(5)
        async with jellyfin(library) as (server, importer):
            server.faults.add(Fault(faults.status(404), path=ITEMS))
            with pytest.raises(CollectionGone):
                await read_all(importer, collection(library))


class TestWindow:
    async def test_pages_ahead_are_bounded(self) -> None:
        library = movies(300)
        async with jellyfin(library, config={"page_size": 10}, latency=0.002) as (server, importer):
            assert (await read_all(importer, collection(library))).source_items == 300
        assert 1 < server.max_concurrency <= WINDOW

    async def test_bytes_ahead_are_bounded_but_never_stop_the_walk(self) -> None:
        library = movies(100)
        async with jellyfin(library, config={"page_size": 10}, latency=0.002) as (server, importer):
            importer._budget.limit = 0
            assert (await read_all(importer, collection(library))).source_items == 100
            assert importer._budget.held == 0
        assert server.max_concurrency == 1

    async def test_only_as_much_is_read_as_is_used_and_nothing_is_held_afterwards(self) -> None:
        library = movies(300)
        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            async with importer.enumerate(collection(library), FULL) as pages:
                await anext(pages)
                await anext(pages)
                await anyio.wait_all_tasks_blocked()
                assert server.count(ITEMS) <= 1 + WINDOW
            assert importer._budget.held == 0
            # The connections are free again.
            assert (await read_all(importer, collection(library))).source_items == 300

    async def test_pages_one_by_one(self) -> None:
        library = movies(30)
        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            found = [page async for page in importer.pages(collection(library), FULL)]
        assert sum(page.source_items for page in found) == 30
        assert server.max_concurrency == 1

    async def test_an_error_of_a_page_ahead_surfaces_as_it_is(self) -> None:
        library = movies(100)
        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            server.faults.add(Fault(faults.status(404), path=ITEMS, page=2))
            with pytest.raises(CollectionGone):
                await read_all(importer, collection(library))

    async def test_cancellation(self) -> None:
        library = movies(100)
        async with jellyfin(library, config={"page_size": 10}) as (server, importer):
            release = anyio.Event()
            server.faults.add(Fault(faults.hang(release), path=ITEMS, page=3))
            with anyio.CancelScope() as scope:
                async with importer.enumerate(collection(library), FULL) as pages:
                    async for _ in pages:
                        if server.count(ITEMS) > 3:
                            scope.cancel()
            assert scope.cancelled_caught
            release.set()
            server.faults.clear()
            assert (await read_all(importer, collection(library))).source_items == 100


class TestGuidSet:
    def test_tells_new_from_seen(self) -> None:
        seen = GuidSet()
        ids = [number.to_bytes(16) for number in range(5000)]
        assert all(seen.add(one) for one in ids)
        assert not any(seen.add(one) for one in ids)
        assert len(seen) == 5000

    def test_ids_that_read_like_the_seam_between_two(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("retrovue.importers.seen._BUCKETS", 1)
        seen = GuidSet()
        first, second = b"0123456789abcdef", b"fedcba9876543210"
        assert seen.add(first)
        assert seen.add(second)
        seam = (first + second)[3:19]
        assert seen.add(seam)
        assert not seen.add(seam)
        assert not seen.add(second)
