"""What is left out of listings, and what of a known library is decoded: what items are recognised by, and a stamp."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from retrovue.core.model import Collection, Secret
from retrovue.core.pages import Outline, Page
from retrovue.core.runs import FULL
from retrovue.importers.plex.importer import PlexImporter
from retrovue.importers.plex.library import LEAN
from retrovue.simulator import Fault, ListSection, Request, SimulatedPlex, faults, movie
from tests.support.plex import Known, collection, plex, read_all, series, tv

pytestmark = pytest.mark.anyio

KNOWN = replace(collection(), assets_count=30)
SHOWS = replace(collection("2", "show", "TV"), assets_count=30)


def films(count: int = 30) -> ListSection:
    cast = [{"tag": "Somebody", "role": "Somebody Else"}]
    rows = [movie(i, summary="Long. " * 20, Genre=[{"tag": "Drama"}], Role=cast) for i in range(1, count + 1)]
    return ListSection("1", "Movies", "movie", rows, locations=["/films"])


def listings(simulated: SimulatedPlex) -> list[Request]:
    return [request for request in simulated.requests if request.path == "/library/sections/1/all"]


def leanly(request: Request) -> bool:
    return request.query.get("excludeElements") == LEAN["excludeElements"]


async def steps(importer: PlexImporter, what: Collection = KNOWN) -> list[Page | Outline]:
    async with importer.enumerate(what, FULL) as pages:
        return [page async for page in pages]


async def stamps(importer: PlexImporter, what: Collection = KNOWN) -> list[bytes]:
    found = [step.stamp for step in await steps(importer, what)]
    assert None not in found
    return [stamp for stamp in found if stamp is not None]


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


async def test_outlines_say_what_the_whole_page_says_and_cost_no_request() -> None:
    async with plex(films(), config={"page_size": 10}) as (simulated, importer):
        whole = await read_all(importer, collection())
        asked = len(listings(simulated))
        outlines = [step for step in await steps(importer) if isinstance(step, Outline)]
        pages = [await outline.read() for outline in outlines]
        assert len(listings(simulated)) == 2 * asked
    assert len(outlines) == 4
    for outline, page in zip(outlines, pages, strict=True):
        assert outline.source_uris == [draft.source_uri for draft in page.drafts]
        assert outline.source_paths == [tuple(part.source_path for part in draft.parts) for draft in page.drafts]
        assert (outline.source_items, outline.stamp) == (page.source_items, page.stamp)
    assert [draft for page in pages for draft in page.drafts] == whole.drafts


async def test_a_page_and_its_outline_have_the_same_stamp_in_each_run() -> None:
    async with plex(films(), tv(*series(100, "Firefly")), config={"page_size": 10}) as (_, importer):
        for known in (KNOWN, SHOWS):
            first = await stamps(importer, replace(known, assets_count=0))
            assert await stamps(importer, known) == await stamps(importer, known) == first
            assert len(set(first)) == len(first)


@pytest.mark.parametrize(
    "change",
    [
        lambda library: library.edit(15, title="Another"),
        lambda library: library.edit(15, Genre=[{"tag": "Crime"}]),
        lambda library: library.change(15, audienceRating=3.5),
        lambda library: library.change(15, Guid=[{"id": "imdb://tt0000001"}]),
        lambda library: library.replace_file(15),
        lambda library: library.trash(15),
        lambda library: library.change_file(15, "/films/else.mkv"),
    ],
)
async def test_whatever_changes_in_a_row_changes_the_stamp_of_its_page_and_no_other(
    change: Callable[[ListSection], object],
) -> None:
    library = films()
    async with plex(library, config={"page_size": 10}) as (_, importer):
        before = await stamps(importer)
        change(library)
        after = await stamps(importer)
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True, True]


async def test_what_comes_at_the_end_changes_the_stamps_of_the_pages_before_it_by_nothing() -> None:
    library = films()
    async with plex(library, config={"page_size": 10}) as (_, importer):
        before = await stamps(importer)
        library.add(movie(31))
        after = await stamps(importer)
    assert after[:3] == before[:3]
    assert after[3:] != before[3:]


async def test_a_show_changes_the_stamps_of_the_pages_with_its_episodes() -> None:
    rows = [*series(100, "Aa"), *series(2000, "Bb"), *series(4000, "Cc")]
    library = tv(*rows)
    async with plex(library, config={"page_size": 6}) as (_, importer):
        before = await stamps(importer, SHOWS)
        library.change(4000, contentRating="TV-MA")
        after = await stamps(importer, SHOWS)
    same = [old == new for old, new in zip(before, after, strict=True)]
    assert (same[0], same[-1]) == (True, False)


async def test_an_episode_without_its_show_may_inherit_from_any() -> None:
    library = tv(*series(100, "Aa"), *series(2000, "Bb"))
    library.change(201, grandparentRatingKey=None)
    async with plex(library, config={"page_size": 6}) as (_, importer):
        before = await stamps(importer, SHOWS)
        library.change(2000, contentRating="TV-MA")
        after = await stamps(importer, SHOWS)
    assert before[0] != after[0]


@pytest.mark.fault(202)
async def test_what_lacks_its_file_is_rejected_without_another_request() -> None:
    library = films()
    library.change("7", Media=None)
    async with plex(library, config={"page_size": 10}) as (simulated, importer):
        found = await steps(importer)
        assert len(listings(simulated)) == 4
    assert [rejection.code for page in found for rejection in page.rejected] == ["no_media"]


@pytest.mark.fault(202)
async def test_a_page_that_cannot_be_looked_over_is_decoded_in_full() -> None:
    library = films()
    library.change("5", Media="none")
    async with plex(library, config={"page_size": 10}) as (simulated, importer):
        found = await steps(importer)
        assert len(listings(simulated)) == 4
    assert [type(step) for step in found] == [Page, Outline, Outline, Outline]


async def test_a_file_is_told_from_the_one_before_it() -> None:
    library = films(2)
    async with plex(library) as (_, importer):
        before = [draft.parts[0].stamp for draft in (await read_all(importer, collection())).drafts]
        library.replace_file(2)
        library.change_file(1, "/films/moved.mkv")
        after = [draft.parts[0].stamp for draft in (await read_all(importer, collection())).drafts]
    assert before[0] == after[0] == "1/1700000000"
    assert (before[1], after[1]) == ("2/1700000000", "2/1700000001")


@pytest.mark.parametrize(
    "key", [None, "", "/library/parts/7/file.mkv", "/library/parts/a/b/file.mkv", "\0", "x" * 9999]
)
async def test_an_odd_key_gives_no_stamp(key: str | None) -> None:
    library = films(1)
    library.item("1")["Media"][0]["Part"][0]["key"] = key  # type: ignore[index]
    async with plex(library) as (_, importer):
        (draft,) = (await read_all(importer, collection())).drafts
    assert draft.parts[0].stamp is None


@pytest.mark.parametrize("tells", [True, False])
async def test_the_token_is_removed_from_a_page_that_is_decoded_although_its_text_is_known(tells: bool) -> None:
    later = "a-token-of-later"
    library = films()
    for number in range(1, 31):
        library.edit(number, title=f"Film {later}")
    async with plex(library, config={"page_size": 10}) as (simulated, importer):
        texts = [step.text for step in await steps(importer) if step.text is not None]
        machine = simulated.machine_identifier
    again = SimulatedPlex([library], token=later, machine_identifier=machine)
    async with again.serve() as url, PlexImporter({"base_url": url, "page_size": 10}, {"token": Secret(later)}) as own:
        async with own.enumerate_recalling(KNOWN, FULL, Known(texts, tells=tells)) as pages:
            found = [step async for step in pages if isinstance(step, Outline)]
        # What is read after the first window has been requested ahead, and is as it came.
        assert [step.recognised for step in found] == [tells] * len(texts)
        titles = {draft.title for step in found for draft in (await step.read()).drafts}
    assert titles == {"Film ..."}
