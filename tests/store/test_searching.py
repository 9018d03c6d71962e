"""Assets are found by a part of their title, with the index for it and without."""

import pytest
from sqlalchemy import text

from retrovue import list_assets, set_search_index
from retrovue.store.listing import select
from tests.support.library import Library, draft, page

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


async def found(library: Library) -> dict[str, list[str]]:
    listings = {part: await list_assets(library.store, title=part, order="added") for part in FOUND}
    return {part: sorted(asset.title for asset in listing.assets) for part, listing in listings.items()}


async def test_a_part_of_a_title_is_found_with_the_index_and_without(library: Library) -> None:
    drafts = [draft(title, year=year, edition=edition) for title, (year, edition) in TITLES.items()]
    await library.ingest_one(page(*drafts))
    assert await found(library) == FOUND
    assert await set_search_index(library.store, dry_run=True)
    assert [await set_search_index(library.store) for _ in range(2)] == [True, False]
    async with library.store.reading() as session:
        selection = await select(session, {"title": "heat"})
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        await session.execute(text("SET LOCAL enable_indexscan = off"))
        plan = await session.execute(
            text(f"EXPLAIN SELECT * FROM asset WHERE {selection.condition}"), selection.parameters
        )
        assert "asset_search" in "".join(plan.scalars())
    assert await found(library) == FOUND
    assert [await set_search_index(library.store, wanted=False) for _ in range(2)] == [True, False]
    assert await library.rows("SELECT to_regclass('asset_search')") == [(None,)]
