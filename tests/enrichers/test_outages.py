"""A source that can't be asked by an enricher: told once, held against no asset, and made up for."""

import pytest

from retrovue.simulator import faults
from tests.contracts.world import World

DETAILS = "/library/metadata/*"


@pytest.mark.parametrize(
    ("fault", "said"), [(faults.status(401), "refused"), (faults.status(503), "503")], ids=["refused", "unreachable"]
)
def test_it_is_told_once_and_all_stay_owed(world: World, fault: faults.Action, said: str) -> None:
    world.cli("enricher", "add", "--type", "plex-details", "--name", "Details")
    for name in ("Movies", "TV Shows"):
        world.cli("collection", "attach-enricher", name, "Details")
    world.fault(fault, DETAILS)
    first = world.document()
    assert (first["status"], first["total_created_assets"], first["total_failed_enrichments"]) == ("ok", 11, 0)
    found = {one["name"]: one["enrichment"] for one in first["collection_results"] if one["enrichment"]}
    assert {name: one["owed"] for name, one in found.items()} == {"Movies": 3, "TV Shows": 8}
    for one in found.values():
        assert "can't ask its source" in one["problem"]
        assert said in one["problem"]
    assert world.catalogue.value("SELECT count(*) FROM asset_enrichment") == 0
    by_hand = world.cli("collection", "enrich", "Movies")
    assert (by_hand.status, "can't ask its source" in by_hand.err) == (1, True)

    world.plex.faults.clear()
    second = world.document()
    assert second["total_failed_enrichments"] == 0
    assert world.catalogue.rows("SELECT DISTINCT state FROM asset") == [("new",)]
