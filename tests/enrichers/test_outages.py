"""A source that can't be asked by an enricher: told once, held against few assets, and made up for."""

import pytest

from retrovue.simulator import faults
from retrovue.simulator.request import Request
from tests.support.world import World

DETAILS = "/library/metadata/"


@pytest.fixture(autouse=True)
def details(world: World) -> None:
    world.cli("enricher", "add", "--type", "plex-details", "--name", "Details")
    world.cli("collection", "attach-enricher", "TV Shows", "Details")


@pytest.mark.parametrize(
    ("fault", "said", "status"),
    [(faults.status(401), "refused", 1), (faults.status(503), "503", 3)],
    ids=["refused", "unreachable"],
)
def test_a_server_that_is_gone_is_told_once_and_all_stay_owed(
    world: World, fault: faults.Action, said: str, status: int
) -> None:
    gone = False

    def since_details_were_asked_for(request: Request) -> bool:
        nonlocal gone
        gone = gone or request.path.startswith(DETAILS)
        return gone

    world.fault(fault, since_details_were_asked_for)
    ingested = world.ingest("--json")
    first = ingested.document
    assert ingested.status == 0
    assert "Warning: Collection 'TV Shows' of source 'My Plex': The enricher plex-details-" in ingested.err
    # Three episodes were asked for one by one before the server was asked who it is.
    assert (first["status"], first["total_created_assets"], first["total_failed_enrichments"]) == ("ok", 11, 3)
    (enrichment,) = [one["enrichment"] for one in first["collection_results"] if one["enrichment"]]
    assert (enrichment["failed"], enrichment["owed"]) == (3, 8)
    assert "can't ask its source" in enrichment["problem"]
    assert said in enrichment["problem"]
    assert world.catalogue.value("SELECT count(*) FROM asset_enrichment WHERE status = 'failed'") == 3
    by_hand = world.cli("collection", "enrich", "TV Shows", "--json")
    assert (by_hand.status, "can't ask its source" in by_hand.err) == (status, True)
    (error,) = by_hand.document["errors"]
    assert error["message"] == by_hand.document["problem"]
    assert error["hint"]
    assert world.catalogue.value("SELECT sum(attempts) FROM asset_enrichment") == 3  # it could not be opened

    world.plex.faults.clear()
    second = world.document()
    assert second["total_failed_enrichments"] == 0
    assert world.catalogue.rows("SELECT DISTINCT state FROM asset") == [("new",)]


def test_a_server_that_stumbles_over_episodes_side_by_side_is_asked_for_the_others(world: World) -> None:
    stumbling: set[str] = set()

    def five_of_them(request: Request) -> bool:
        if not request.path.startswith(DETAILS):
            return False
        asked = request.path.removeprefix(DETAILS).split(",")
        if not stumbling:
            stumbling.update(asked[1:6])
        return not stumbling.isdisjoint(asked)

    world.fault(faults.status(500), five_of_them)
    document = world.document()
    assert document["total_failed_enrichments"] == 5
    (enrichment,) = [one["enrichment"] for one in document["collection_results"] if one["enrichment"]]
    assert (enrichment["succeeded"], enrichment["failed"], enrichment["owed"]) == (3, 5, 5)
    assert enrichment["problem"] is None
