"""What is left out of listings: what no asset holds; and of a known library all that nothing is recognised by."""

from dataclasses import replace

import pytest

from retrovue.core.model import FULL, Outline, Page
from retrovue.importers.plex.importer import PlexImporter
from retrovue.importers.plex.library import LEAN, SHORT
from retrovue.simulator import Fault, ListSection, Request, SimulatedPlex, faults, movie
from tests.support.plex import Result, collection, plex, read_all

pytestmark = pytest.mark.anyio

KNOWN = replace(collection(), assets_count=30)


def films(count: int = 30) -> ListSection:
    cast = [{"tag": "Somebody", "role": "Somebody Else"}]
    rows = [movie(i, summary="Long. " * 20, Genre=[{"tag": "Drama"}], Role=cast) for i in range(1, count + 1)]
    return ListSection("1", "Movies", "movie", rows, locations=["/films"])


def listings(simulated: SimulatedPlex) -> list[Request]:
    return [request for request in simulated.requests if request.path == "/library/sections/1/all"]


def in_short(request: Request) -> bool:
    return request.query.get("excludeElements") == SHORT["excludeElements"]


def leanly(request: Request) -> bool:
    return request.query.get("excludeElements") == LEAN["excludeElements"]


async def outlined(importer: PlexImporter, *, read: bool = True) -> tuple[list[type], Result]:
    """What kind each page is, and all of them as pages."""
    kinds: list[type] = []
    result = Result()
    async with importer.enumerate(KNOWN, FULL) as pages:
        async for step in pages:
            page = step
            if isinstance(step, Outline):
                kinds.append(Outline)
                page = await step.read() if read else Page([], step.rejected, step.source_items)
            else:
                kinds.append(Page)
            assert isinstance(page, Page)
            if page.restart:
                result = Result(restarts=result.restarts + 1)
            result.drafts += page.drafts
            result.rejected += page.rejected
            result.source_items += page.source_items
    return kinds, result


async def test_what_no_asset_holds_is_never_asked_for() -> None:
    async with plex(films(), config={"page_size": 10}) as (simulated, importer):
        lean = await read_all(importer, collection())
        assert all(leanly(request) for request in listings(simulated))
        simulated.requests.clear()
        simulated.faults.add(Fault(faults.status(400), path=leanly))
        whole = await read_all(importer, collection())
        refused = [request for request in listings(simulated) if leanly(request)]
        answered = [request for request in listings(simulated) if not leanly(request)]
    assert ({request.status for request in refused}, {request.status for request in answered}) == ({400}, {200})
    assert {request.query["sort"] for request in answered} == {"id"}
    assert not any("excludeElements" in request.query or "excludeFields" in request.query for request in answered)
    assert lean.drafts == whole.drafts
    assert lean.drafts[0].tags == {"genre": ["Drama"]}


async def test_outlines_say_what_the_whole_page_says() -> None:
    async with plex(films(), config={"page_size": 10}) as (simulated, importer):
        whole = await read_all(importer, collection())
        assert not any(in_short(request) for request in listings(simulated))
        simulated.requests.clear()
        async with importer.enumerate(KNOWN, FULL) as pages:
            outlines = [page async for page in pages]
    assert all(isinstance(page, Outline) for page in outlines)
    uris = [uri for page in outlines if isinstance(page, Outline) for uri in page.source_uris]
    paths = [path for page in outlines if isinstance(page, Outline) for path in page.source_paths]
    assert uris == [draft.source_uri for draft in whole.drafts]
    assert paths == [tuple(part.source_path for part in draft.parts) for draft in whole.drafts]
    assert sum(page.source_items for page in outlines) == whole.source_items
    assert all(in_short(request) for request in listings(simulated))
    assert {request.query["excludeFields"] for request in listings(simulated)} == {SHORT["excludeFields"]}


async def test_a_page_that_is_needed_whole_is_asked_for_once_more() -> None:
    async with plex(films(), config={"page_size": 10}) as (_, importer):
        whole = await read_all(importer, collection())
        _, again = await outlined(importer)
    assert again.drafts == whole.drafts
    assert again.drafts[0].tags == {"genre": ["Drama"]}


async def test_after_two_in_a_row_the_rest_is_asked_for_whole() -> None:
    async with plex(films(200), config={"page_size": 10}) as (simulated, importer):
        kinds, result = await outlined(importer)
        asked = len(listings(simulated))
    assert result.source_items == 200
    # What was on its way in short when that became clear is asked for again as well.
    assert kinds.count(Outline) <= 6
    assert asked <= 23 + 6


async def test_one_now_and_then_changes_nothing_about_the_others() -> None:
    async with plex(films(100), config={"page_size": 10}) as (simulated, importer):
        number = 0
        async with importer.enumerate(KNOWN, FULL) as pages:
            async for page in pages:
                assert isinstance(page, Outline)
                number += 1
                if number % 3 == 0:
                    await page.read()
        asked = listings(simulated)
    assert [in_short(request) for request in asked].count(False) == 3


async def test_what_lacks_its_file_in_short_is_looked_at_whole() -> None:
    """A server that leaves out more than it was asked to makes nothing disappear."""
    library = films()
    library.change("7", Media=None)
    async with plex(library, config={"page_size": 10}) as (_, importer):
        kinds, result = await outlined(importer, read=False)
    assert kinds == [Page, Outline, Outline, Outline]
    assert [rejection.code for rejection in result.rejected] == ["no_media"]


async def test_a_page_that_cannot_be_looked_over_is_read_in_full() -> None:
    library = films()
    library.change("5", Media="none")
    async with plex(library, config={"page_size": 10}) as (_, importer):
        kinds, _result = await outlined(importer, read=False)
    assert kinds == [Page, Outline, Outline, Outline]


async def test_a_server_that_refuses_is_asked_as_ever() -> None:
    async with plex(films(), config={"page_size": 10}) as (simulated, importer):
        simulated.faults.add(Fault(faults.status(400), path=in_short))
        kinds, result = await outlined(importer)
    assert set(kinds[1:]) == {Page}
    assert result.source_items == 30


async def test_rows_that_are_others_when_asked_for_again_begin_the_walk_anew() -> None:
    library = films()
    async with plex(library, config={"page_size": 10}) as (simulated, importer):
        changed = False

        def change(request: Request) -> None:
            nonlocal changed
            if not changed and request.start == 9 and not in_short(request):
                changed = True
                library.remove("12")
                library.add(movie(99))

        simulated.on_request = change
        kinds, result = await outlined(importer)
    assert changed
    assert (result.restarts, result.source_items) == (1, 30)
    assert {draft.source_uri.rpartition("/")[2].partition("?")[0] for draft in result.drafts} == {
        str(key) for key in (*range(1, 12), *range(13, 31), 99)
    }
    assert kinds
