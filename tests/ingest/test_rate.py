"""A run can be told how often the source may be asked, where its importer knows how."""

from pathlib import Path

import pytest

from retrovue.core.model import PathMapping, Secret
from retrovue.errors import RequestError
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.orchestrator import ingest_source
from retrovue.operations.curation import update_collection
from retrovue.operations.discovery import add_source, discover
from retrovue.simulator import ListSection, SimulatedPlex, movie
from retrovue.store.session import Store
from tests.support.library import Library

pytestmark = pytest.mark.anyio


async def test_a_run_at_a_given_rate_ingests_all(store: Store, media: Path) -> None:
    rows = [movie(i, file=f"/films/{i}.mkv") for i in range(1, 6)]
    films = ListSection("1", "Movies", "movie", rows, locations=["/films"])
    plex = SimulatedPlex([films], token="t")
    async with plex.serve() as url:
        source = await add_source(store, "plex", "Plex", {"base_url": url}, {"token": Secret("t")})
        (found,) = (await discover(store, "Plex")).collections
        await update_collection(
            store, str(found.id), map=[PathMapping("/films", str(media))], enabled=True, check_files=False
        )
        async with ingest_source(store, str(source.id), IngestOptions(max_rps=500)) as run:
            outcomes = [outcome async for outcome in run]
    assert len(outcomes) == 1
    assert run.summary.total("created") == 5


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_that_lets_nothing_through_is_refused(rate: float) -> None:
    with pytest.raises(RequestError) as caught:
        IngestOptions(max_rps=rate)
    assert caught.value.code == "bad_rate"


async def test_an_importer_without_a_rate_says_so(library: Library) -> None:
    with pytest.raises(RequestError) as caught:
        async with ingest_source(library.store, str(library.source.id), IngestOptions(max_rps=5)):
            pass
    assert caught.value.code == "no_rate_limit"
