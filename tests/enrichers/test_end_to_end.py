"""A Plex library whose files exist as small real media, with all enrichers attached, one of them failing on some."""

from pathlib import Path

import pytest

from benchmarks.media import make_media
from retrovue.core.model import PathMapping, Secret
from retrovue.core.results import Ingested, IngestSummary
from retrovue.ingest.orchestrator import ingest_source
from retrovue.operations.attachments import add_enricher, attach_enricher
from retrovue.operations.discovery import add_source, discover
from retrovue.simulator import ListSection, SimulatedPlex, movie
from retrovue.store.collections import list_collections, set_check_files, set_enabled, set_path_mappings
from retrovue.store.session import Store
from tests.enrichers.test_enrichers import MOVIE
from tests.support.library import CATALOGUE, contents, rows

pytestmark = pytest.mark.anyio

TYPES = ("filename", "nfo", "plex-details", "probe")


async def ingest(store: Store, name: str) -> tuple[IngestSummary, Ingested]:
    async with ingest_source(store, name) as run:
        pass
    (outcome,) = run.summary.outcomes
    assert isinstance(outcome, Ingested), outcome
    return run.summary, outcome


async def test_all_enrichers_at_once(store: Store, media: Path) -> None:
    films = []
    for key in range(1, 9):
        row = movie(key, f"Film {key}", file=f"/data/Film {key} (2000) {{edition-Final Cut}}.mkv")
        row["Chapter"] = [{"tag": "Begin", "startTimeOffset": 0, "endTimeOffset": 500}]
        row["Marker"] = [{"type": "credits", "startTimeOffset": 500, "endTimeOffset": 900}]
        row["Media"][0].pop("videoCodec", None)
        films.append(row)
        local = media / Path(row["Media"][0]["Part"][0]["file"]).name
        if key <= 6:
            make_media(local)
        else:
            local.write_bytes(b"broken")
    (media / "Film 1 (2000) {edition-Final Cut}.nfo").write_text(MOVIE)

    simulated = SimulatedPlex([ListSection("1", "Movies", "movie", films, locations=["/data"])], token="t")
    async with simulated.serve() as url:
        await add_source(store, "plex", "P", {"base_url": url}, {"token": Secret("t")})
        await discover(store, "P")
        async with store.transaction() as session:
            (collection,) = await list_collections(session)
            await set_enabled(session, collection, enabled=True)
            await set_check_files(session, collection, check_files=False)
            await set_path_mappings(session, collection, [PathMapping("/data", str(media))])
        ids = {}
        for priority, name in enumerate(TYPES):
            enricher = await add_enricher(store, name, name, {})
            await attach_enricher(store, "Movies", str(enricher.id), priority=priority)
            ids[name] = enricher.external_id

        summary, outcome = await ingest(store, "P")
        assert summary.status == "ok"
        assert (outcome.counts.created, outcome.counts.failed_enrichments) == (8, 2)
        assert {(one["asset"], one["enricher"], one["code"]) for one in outcome.listed.failed_enrichments} == {
            ("Film 7 [Final Cut]", ids["probe"], "not_media"),
            ("Film 8 [Final Cut]", ids["probe"], "not_media"),
        }
        states = await rows(store, "SELECT state, count(*) FROM asset GROUP BY 1 ORDER BY 1")
        assert states == [("enriching", 2), ("new", 6)]
        (first,) = await rows(
            store,
            "SELECT edition, markers, chapters, jsonb_array_length(streams), provider_ids ->> 'imdb', provenance"
            " FROM asset WHERE title = 'Film 1'",
        )
        assert first[0] == "Final Cut"
        assert first[1] == [{"type": "credits", "start_ms": 500, "end_ms": 900}]
        assert first[2] == [{"title": "Begin", "start_ms": 0, "end_ms": 500}]
        assert first[3] >= 1
        provenance = first[5]
        assert provenance["edition"] == ids["filename"]
        assert provenance["markers"] == provenance["streams"] == ids["plex-details"]
        assert provenance["tags"] == ids["nfo"]
        assert provenance["video_codec"] == ids["probe"]
        trail = "SELECT succeeded, failed, owed FROM enrichment_outcome WHERE run_id = :run"
        assert await rows(store, trail, run=summary.run_id) == [(22, 2, 2)]
        assert simulated.count("/library/metadata/*") == 1

        for key in (7, 8):
            make_media(media / f"Film {key} (2000) {{edition-Final Cut}}.mkv")
        second, again = await ingest(store, "P")
        assert (again.counts.skipped, again.counts.failed_enrichments) == (8, 0)
        assert await rows(store, trail, run=second.run_id) == [(2, 0, 0)]
        assert await rows(store, "SELECT DISTINCT state FROM asset") == [("new",)]
        assert simulated.count("/library/metadata/*") == 1

        before = await contents(store, *CATALOGUE, "enrichment_outcome")
        await ingest(store, "P")
        assert await contents(store, *CATALOGUE, "enrichment_outcome") == before
