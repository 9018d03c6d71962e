"""A library that is known is listed in short: what items are recognised by, and no more unless it is needed."""

import pytest

from retrovue.core.model import FULL, Collection, Outline, Page
from retrovue.importers.jellyfin.importer import JellyfinImporter
from retrovue.importers.jellyfin.library import ITEM_FIELDS, SHORT_FIELDS
from retrovue.simulator import Request
from retrovue.simulator.jellyfin import SimulatedJellyfin, movie, part
from tests.support.jellyfin import collection, jellyfin, movies, read_all

pytestmark = pytest.mark.anyio


def listings(server: SimulatedJellyfin) -> list[Request]:
    return [request for request in server.requests if request.path == "/Items"]


def in_short(request: Request) -> bool:
    return request.query["fields"] == SHORT_FIELDS


async def unread(importer: JellyfinImporter, what: Collection) -> list[Page | Outline]:
    async with importer.enumerate(what, FULL) as pages:
        return [page async for page in pages]


async def test_nothing_but_what_items_are_recognised_by_is_asked_for() -> None:
    library = movies(30)
    async with jellyfin(library, config={"page_size": 10}) as (server, importer):
        pages = await unread(importer, collection(library, assets_count=30))
    assert all(isinstance(page, Outline) for page in pages)
    assert sum(page.source_items for page in pages) == 30
    assert all(in_short(request) for request in listings(server))


async def test_a_library_that_is_new_is_asked_for_whole() -> None:
    library = movies(30)
    async with jellyfin(library, config={"page_size": 10}) as (server, importer):
        pages = await unread(importer, collection(library))
    assert all(isinstance(page, Page) for page in pages)
    assert {request.query["fields"] for request in listings(server)} == {ITEM_FIELDS}


async def test_a_page_that_is_needed_whole_is_asked_for_once_more() -> None:
    library = movies(30)
    for number in range(1, 31):
        library.change(number, Genres=["Drama"])
    async with jellyfin(library, config={"page_size": 10}) as (server, importer):
        whole = await read_all(importer, collection(library))
        again = await read_all(importer, collection(library, assets_count=30))
    assert again.drafts == whole.drafts
    assert again.drafts[0].tags == {"genre": ["Drama"]}
    assert again.outlines > 0
    # Four pages each time; two are asked for in short before the others are asked for whole.
    assert len(listings(server)) <= 4 + 4 + 4


async def test_after_two_in_a_row_the_rest_is_asked_for_whole() -> None:
    library = movies(200)
    async with jellyfin(library, config={"page_size": 10}) as (server, importer):
        result = await read_all(importer, collection(library, assets_count=200))
    assert (result.source_items, result.restarts) == (200, 0)
    # What was on its way in short when that became clear is asked for again as well.
    assert result.outlines <= 6
    assert len(listings(server)) <= 23 + 6


async def test_what_lacks_its_file_in_short_is_looked_at_whole() -> None:
    """A server that leaves out more than it was asked to makes nothing disappear."""
    library = movies(30)
    library.change(12, MediaSources=None)
    async with jellyfin(library, config={"page_size": 10}) as (_, importer):
        pages = await unread(importer, collection(library, assets_count=29))
    assert [type(page) for page in pages] == [Outline, Page, Outline, Outline]
    assert [rejection.code for page in pages for rejection in page.rejected] == ["no_media"]


async def test_a_page_that_cannot_be_looked_over_is_read_in_full() -> None:
    library = movies(30)
    library.change(5, MediaSources="none")
    async with jellyfin(library, config={"page_size": 10}) as (_, importer):
        pages = await unread(importer, collection(library, assets_count=29))
    assert [type(page) for page in pages] == [Page, Outline, Outline, Outline]


async def test_a_page_with_parts_is_read_in_full() -> None:
    library = movies(30)
    library.add_parts(12, part(901, movie(12), "/data/movies/Movie 12 cd2.mkv"))
    async with jellyfin(library, config={"page_size": 10}) as (server, importer):
        result = await read_all(importer, collection(library, assets_count=30))
    assert len(next(draft for draft in result.drafts if draft.title == "Movie 12").parts) == 2
    assert server.count("/Videos/*/AdditionalParts") == 1


async def test_rows_that_are_others_when_asked_for_again_begin_the_walk_anew() -> None:
    library = movies(30)
    async with jellyfin(library, config={"page_size": 10}) as (server, importer):
        changed = False

        def change(request: Request) -> None:
            nonlocal changed
            if not changed and request.start == 9 and request.path == "/Items" and not in_short(request):
                changed = True
                library.remove(12)
                library.add(movie(99))

        server.on_request = change
        restarts, items = 0, 0
        async with importer.enumerate(collection(library, assets_count=30), FULL) as pages:
            async for step in pages:
                page = await step.read() if isinstance(step, Outline) else step
                restarts, items = (restarts + 1, 0) if page.restart else (restarts, items + page.source_items)
    assert changed
    assert (restarts, items) == (1, 30)
