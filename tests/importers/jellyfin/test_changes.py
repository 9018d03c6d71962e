"""What the Jellyfin importer says of changes: the items that its filter by the time of saving lists."""

import pytest

from retrovue.core.answers import ChangesRead, Since
from retrovue.core.pages import Page
from retrovue.errors import ChangesUnknown, CollectionGone
from retrovue.importers.jellyfin.importer import JellyfinImporter
from retrovue.simulator.jellyfin import JellyfinLibrary, episode, item_id, movie, series
from tests.support.jellyfin import collection, jellyfin, read_all

pytestmark = pytest.mark.anyio

NOW = 2_000_000_000
FILTER = "mindatelastsavedforuser"


def films() -> JellyfinLibrary:
    library = JellyfinLibrary("Movies", "movies", [movie(number, f"Film {number}") for number in range(1, 6)])
    library.clock = lambda: NOW
    return library


async def changes(
    importer: JellyfinImporter, library: JellyfinLibrary, kind: str = "movie"
) -> tuple[list[Page], ChangesRead]:
    pages = [page async for page in importer.changes(collection(library, kind), Since(NOW - 300))]
    proof = pages[-1].changes
    assert proof is not None
    return pages, proof


async def test_saved_films() -> None:
    library = films()
    library.edit(2, Name="Edited")
    library.arrive(movie(9, "Added"))
    async with jellyfin(library) as (_, importer):
        pages, proof = await changes(importer, library)
    assert sorted(draft.title for page in pages for draft in page.drafts) == ["Added", "Edited"]
    assert proof == ChangesRead(6, {"Movie&MinDateLastSavedForUser": True})


async def test_an_episode_has_what_it_inherits() -> None:
    lost = series(1, "Lost", Genres=["Drama"])
    library = JellyfinLibrary("TV", "tvshows", [lost, *(episode(number, lost, 1, number) for number in range(2, 5))])
    library.clock = lambda: NOW
    library.edit(3, Name="Edited")
    async with jellyfin(library) as (_, importer):
        pages, _ = await changes(importer, library, "show")
        every = {draft.source_uri: draft for draft in (await read_all(importer, collection(library, "show"))).drafts}
    [draft] = [draft for page in pages for draft in page.drafts]
    assert draft == every[draft.source_uri]
    assert draft.tags["genre"] == ["Drama"]


async def test_the_episodes_of_a_saved_series() -> None:
    lost, heroes = series(1, "Lost"), series(20, "Heroes")
    below = [episode(10 * number + 5, of, 1, 1) for number, of in enumerate((lost, heroes))]
    library = JellyfinLibrary("TV", "tvshows", [lost, heroes, *below])
    library.clock = lambda: NOW
    library.edit(1, Genres=["Drama"])
    async with jellyfin(library) as (_, importer):
        pages, _ = await changes(importer, library, "show")
    assert [draft.show_title for page in pages for draft in page.drafts] == ["Lost"]


async def test_a_filter_that_is_ignored() -> None:
    library = films()
    async with jellyfin(library) as (server, importer):
        server.ignored_filters.add(FILTER)
        with pytest.raises(ChangesUnknown, match="lists all 5 items"):
            await changes(importer, library)


async def test_a_filter_that_is_refused() -> None:
    library = films()
    async with jellyfin(library) as (server, importer):
        server.refused_filters.add(FILTER)
        with pytest.raises(ChangesUnknown, match="doesn't accept") as caught:
            await changes(importer, library)
    assert set(caught.value.filters.values()) == {False}


async def test_a_library_that_is_gone() -> None:
    async with jellyfin(films()) as (_, importer):
        with pytest.raises(CollectionGone):
            await changes(importer, JellyfinLibrary("Others"))


async def test_the_state_has_the_servers_time() -> None:
    library = films()
    async with jellyfin(library) as (server, importer):
        server.clock = lambda: 1234.9
        state = await importer.source_state()
    assert (state.libraries[library.id].stamp, state.clock_s) == (None, 1234)


async def items(
    importer: JellyfinImporter, library: JellyfinLibrary, *keys: str, kind: str = "movie"
) -> tuple[list[str], ChangesRead | None]:
    pages = [page async for page in importer.items(collection(library, kind), keys)]
    return sorted(draft.title for page in pages for draft in page.drafts), pages[-1].changes


async def test_single_films() -> None:
    library = films()
    async with jellyfin(library) as (_, importer):
        assert await items(importer, library, item_id(2), item_id(4)) == (["Film 2", "Film 4"], ChangesRead(5))
        for unknown in (item_id(99), "not an id"):
            with pytest.raises(ChangesUnknown, match="isn't"):
                await items(importer, library, item_id(2), unknown)


async def test_single_episodes_and_those_of_a_series() -> None:
    lost, heroes = series(1, "Lost", Genres=["Drama"]), series(20, "Heroes")
    below = [episode(10 * number + 5, of, 1, 1) for number, of in enumerate((lost, heroes))]
    library = JellyfinLibrary("TV", "tvshows", [lost, heroes, *below])
    async with jellyfin(library) as (_, importer):
        every = {draft.source_uri: draft for draft in (await read_all(importer, collection(library, "show"))).drafts}
        for key in (item_id(1), item_id(5)):
            pages = [page async for page in importer.items(collection(library, "show"), [key])]
            [draft] = [draft for page in pages for draft in page.drafts]
            assert (draft.show_title, draft.tags["genre"]) == ("Lost", ["Drama"])
            assert draft == every[draft.source_uri]


async def test_items_of_a_server_that_ignores_ids() -> None:
    library = films()
    async with jellyfin(library) as (server, importer):
        server.ignored_filters.add("ids")
        with pytest.raises(ChangesUnknown, match="by their keys alone"):
            await items(importer, library, item_id(2))
