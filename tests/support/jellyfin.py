"""What the tests of the Jellyfin importer share."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import orjson

from retrovue.core.model import Collection, PathMapping, Secret
from retrovue.core.pages import Outline, Page
from retrovue.core.runs import FULL, Scope
from retrovue.importers.jellyfin.importer import JellyfinImporter
from retrovue.importers.jellyfin.rows import JellyfinListing, decode_listing
from retrovue.simulator import Row
from retrovue.simulator.jellyfin import JellyfinLibrary, SimulatedJellyfin, episode, movie, series
from tests.support.plex import IMPATIENT, Result

TOKEN = "c0ffee9f8e7d6c5b4a3c0ffee9f8e7d6"


@asynccontextmanager
async def jellyfin(
    *libraries: JellyfinLibrary, config: dict[str, Any] | None = None, http: dict[str, Any] | None = None, **server: Any
) -> AsyncIterator[tuple[SimulatedJellyfin, JellyfinImporter]]:
    """A simulated server and an entered importer for it."""
    simulated = SimulatedJellyfin(libraries, token=TOKEN, **server)
    async with simulated.serve() as url:
        settings = {"base_url": url, **IMPATIENT | (http or {})} | (config or {})
        async with JellyfinImporter(settings, {"token": Secret(TOKEN)}) as importer:
            yield simulated, importer


def collection(
    of: JellyfinLibrary, kind: str = "movie", mappings: Sequence[tuple[str, str]] = (), assets_count: int = 0
) -> Collection:
    return Collection(
        id=UUID(int=1),
        source_id=UUID(int=2),
        external_id=of.id,
        name=of.name,
        kind=kind,
        sync_enabled=True,
        path_mappings=tuple(PathMapping(source, local) for source, local in mappings),
        assets_count=assets_count,
    )


async def read_all(importer: JellyfinImporter, what: Collection, scope: Scope = FULL) -> Result:
    """Read to the end; outlines are read in full, and must say the same as what is behind them."""
    result = Result()
    async with importer.enumerate(what, scope) as pages:
        async for step in pages:
            page = await step.read() if isinstance(step, Outline) else step
            assert isinstance(page, Page)
            if isinstance(step, Outline):
                assert step.source_uris == [draft.source_uri for draft in page.drafts]
                paths = [tuple(part.source_path for part in draft.parts) for draft in page.drafts]
                assert step.source_paths == paths
                assert (step.rejected, step.source_items) == (page.rejected, page.source_items)
                result.outlines += 1
            if page.restart:
                result = Result(restarts=result.restarts + 1)
            result.drafts += page.drafts
            result.rejected += page.rejected
            result.source_items += page.source_items
            result.pages += 1
    return result


def movies(count: int = 45) -> JellyfinLibrary:
    return JellyfinLibrary("Movies", "movies", [movie(number) for number in range(1, count + 1)])


def shows(*rows: Row) -> JellyfinLibrary:
    return JellyfinLibrary("Shows", "tvshows", rows)


def a_series(number: int, name: str, seasons: int = 2, episodes: int = 3, **fields: Any) -> list[Row]:
    top = series(number, name, **fields)
    below = [
        episode(number + season * 100 + index, top, season, index)
        for season in range(1, seasons + 1)
        for index in range(1, episodes + 1)
    ]
    return [top, *below]


def listing(*rows: Any) -> JellyfinListing:
    return decode_listing(orjson.dumps({"Items": rows, "TotalRecordCount": len(rows), "StartIndex": 0}))
