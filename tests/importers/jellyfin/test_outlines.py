"""What of a known library is decoded: what items are recognised by, and a stamp of the rest."""

from collections.abc import Callable

import pytest

from retrovue.core.model import Collection
from retrovue.core.pages import Outline, Page
from retrovue.core.runs import FULL
from retrovue.importers.jellyfin.importer import JellyfinImporter
from retrovue.importers.jellyfin.library import ITEM_FIELDS
from retrovue.simulator import Request
from retrovue.simulator.jellyfin import JellyfinLibrary, SimulatedJellyfin, movie, part
from tests.support.jellyfin import a_series, collection, jellyfin, movies, read_all, shows

pytestmark = pytest.mark.anyio


def listings(server: SimulatedJellyfin) -> list[Request]:
    return [request for request in server.requests if request.path == "/Items"]


async def steps(importer: JellyfinImporter, what: Collection) -> list[Page | Outline]:
    async with importer.enumerate(what, FULL) as pages:
        return [page async for page in pages]


async def stamps(importer: JellyfinImporter, what: Collection) -> list[bytes | None]:
    return [step.stamp for step in await steps(importer, what)]


async def test_a_known_library_is_outlined_and_read_in_full_without_another_request() -> None:
    library = movies(30)
    for number in range(1, 31):
        library.change(number, Genres=["Drama"])
    async with jellyfin(library, config={"page_size": 10}) as (server, importer):
        whole = await read_all(importer, collection(library))
        again = await read_all(importer, collection(library, assets_count=30))
        assert len(listings(server)) == 8
        assert {request.query["fields"] for request in listings(server)} == {ITEM_FIELDS}
    assert (whole.outlines, again.outlines) == (0, 4)
    assert again.drafts == whole.drafts
    assert again.drafts[0].tags == {"genre": ["Drama"]}


@pytest.mark.parametrize(
    "change",
    [
        lambda library: library.edit(15, Name="Another"),
        lambda library: library.change(15, Genres=["Crime"]),
        lambda library: library.change(15, ProviderIds={"Tmdb": "7"}),
        lambda library: library.replace_file(15),
    ],
)
async def test_whatever_changes_in_a_row_changes_the_stamp_of_its_page_and_no_other(
    change: Callable[[JellyfinLibrary], object],
) -> None:
    library = movies(30)
    async with jellyfin(library, config={"page_size": 10}) as (_, importer):
        first = await stamps(importer, collection(library))
        before = await stamps(importer, collection(library, assets_count=30))
        change(library)
        after = await stamps(importer, collection(library, assets_count=30))
        library.add(movie(99))  # the total stands behind the rows
        later = await stamps(importer, collection(library, assets_count=30))
    assert first == before
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True, True]
    assert later[:3] == after[:3]


async def test_a_series_changes_the_stamps_of_the_pages_with_its_episodes() -> None:
    library = shows(*a_series(1000, "Aa"), *a_series(5000, "Bb"))
    what = collection(library, "show", assets_count=12)
    async with jellyfin(library, config={"page_size": 6}) as (_, importer):
        before = await stamps(importer, what)
        library.change(5000, OfficialRating="TV-MA")
        after = await stamps(importer, what)
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, *[False] * (len(after) - 1)]


async def test_what_lacks_its_file_is_rejected_without_another_request() -> None:
    library = movies(30)
    library.change(12, MediaSources=None)
    async with jellyfin(library, config={"page_size": 10}) as (server, importer):
        pages = await steps(importer, collection(library, assets_count=29))
        assert len(listings(server)) == 4
    assert [rejection.code for page in pages for rejection in page.rejected] == ["no_media"]


@pytest.mark.fault(202)
async def test_a_page_that_cannot_be_looked_over_is_decoded_in_full() -> None:
    library = movies(30)
    library.change(5, MediaSources="none")
    async with jellyfin(library, config={"page_size": 10}) as (_, importer):
        pages = await steps(importer, collection(library, assets_count=29))
    assert [type(page) for page in pages] == [Page, Outline, Outline, Outline]


async def test_a_page_with_parts_is_decoded_in_full_and_has_no_stamp() -> None:
    library = movies(30)
    library.add_parts(12, part(901, movie(12), "/data/movies/Movie 12 cd2.mkv"))
    async with jellyfin(library, config={"page_size": 10}) as (server, importer):
        result = await read_all(importer, collection(library, assets_count=30))
        assert server.count("/Videos/*/AdditionalParts") == 1
        found = await stamps(importer, collection(library, assets_count=30))
    assert len(next(draft for draft in result.drafts if draft.title == "Movie 12").parts) == 2
    assert [stamp is None for stamp in found] == [False, True, False, False]


async def test_a_file_is_told_from_the_one_before_it_and_an_edit_is_none() -> None:
    library = movies(3)
    library.change(3, RunTimeTicks=None)["MediaSources"][0]["RunTimeTicks"] = None
    async with jellyfin(library) as (_, importer):
        before = [draft.parts[0].stamp for draft in (await read_all(importer, collection(library))).drafts]
        library.edit(1, Name="Another")
        library.replace_file(2, Size=5)
        after = [draft.parts[0].stamp for draft in (await read_all(importer, collection(library))).drafts]
    assert before == ["1000000000/54000000000"] * 2 + [None]
    assert after == ["1000000000/54000000000", "5/54000000000", None]
