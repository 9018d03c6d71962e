"""Assets are found by a part of their title or of their show's, with the indexes for it and without."""

import pytest
from sqlalchemy import text

from retrovue import list_assets, set_search_index
from retrovue.store.listing import AssetFilters, select
from tests.support.library import Library, draft, execute, page

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("scripted")]

TITLES = {"Heat": (1995, "Director's Cut"), "100% Wolf": (2020, None), "A_B": (None, None), "Back\\Slash": (None, None)}
FOUND = {
    "hea": ["Heat"],
    "HEAT (1995) [Director's": ["Heat"],
    "1995)": ["Heat"],
    "cut]": ["Heat"],
    "0% w": ["100% Wolf"],
    "a_b": ["A_B"],
    "k\\s": ["Back\\Slash"],
    "e%t": [],
    "h_at": [],
    "\\": ["Back\\Slash"],
    "": sorted(TITLES),
}

SHOWS = {"a": ("DuckTales", 1987, "10"), "b": ("DuckTales", 2017, "20"), "c": ("100% Duck", None, None)}
FOUND_BY_SHOW = {
    "tales": ["A", "B"],
    "DUCKTALES (2017": ["B"],
    "10": ["A", "C"],
    "20": ["B"],
    "ducktales (key 10)": ["A"],
    "ducktales (key": [],
    "key 10": [],
    "0% d": ["C"],
    "du_k": [],
}


async def found(library: Library) -> dict[str, list[str]]:
    listings = {part: await list_assets(library.store, title=part, order="added") for part in FOUND}
    return {part: sorted(asset.title for asset in listing.assets) for part, listing in listings.items()}


async def plan_of(library: Library, filters: AssetFilters) -> str:
    """Explain a search, as if the table were large."""
    async with library.store.reading() as session:
        selection = await select(session, filters)
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        await session.execute(text("SET LOCAL enable_indexscan = off"))
        plan = await session.execute(
            text(f"EXPLAIN SELECT * FROM asset WHERE {selection.condition}"), selection.parameters
        )
        return "".join(plan.scalars())


async def test_a_part_of_a_title_is_found_with_the_index_and_without(library: Library) -> None:
    drafts = [draft(title, year=year, edition=edition) for title, (year, edition) in TITLES.items()]
    await library.ingest_one(page(*drafts))
    assert await found(library) == FOUND
    assert await set_search_index(library.store, dry_run=True)
    assert [await set_search_index(library.store) for _ in range(2)] == [True, False]
    assert "asset_search" in await plan_of(library, {"title": "heat"})
    assert await found(library) == FOUND
    assert [await set_search_index(library.store, wanted=False) for _ in range(2)] == [True, False]
    assert await library.rows("SELECT to_regclass('asset_search')") == [(None,)]


async def test_so_is_a_show_by_its_title_year_or_key(library: Library) -> None:
    drafts = [
        draft(title, type="episode", show_title=show, show_year=year, show_key=key)
        for title, (show, year, key) in SHOWS.items()
    ]
    await library.ingest_one(page(*drafts, draft("a film")))

    async def found_by_show() -> dict[str, list[str]]:
        listings = {part: await list_assets(library.store, show=part) for part in FOUND_BY_SHOW}
        return {part: sorted(asset.title for asset in listing.assets) for part, listing in listings.items()}

    assert await found_by_show() == FOUND_BY_SHOW
    await set_search_index(library.store)
    # A catalogue of an earlier version has only the index of titles.
    await execute(library.store, "DROP INDEX asset_show_search")
    assert [await set_search_index(library.store) for _ in range(2)] == [True, False]
    assert "asset_show_search" in await plan_of(library, {"show": "tales"})
    assert await found_by_show() == FOUND_BY_SHOW
    await set_search_index(library.store, wanted=False)
    assert await library.rows("SELECT to_regclass('asset_show_search')") == [(None,)]
