"""What discovery keeps of a library that the server doesn't identify, or whose locations it hides."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from retrovue.simulator import Fault, faults
from tests.support.world import NAME, World


def answer_sections(world: World, change: Callable[[list[dict[str, Any]]], None]) -> None:
    def changed(body: bytes) -> bytes:
        document = orjson.loads(body)
        change(document["MediaContainer"]["Directory"])
        return orjson.dumps(document)

    world.plex.faults.add(Fault(faults.transform(changed), path="/library/sections"))


def hide_locations(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        del row["Location"]


def stored(world: World) -> dict[str, Any]:
    rows = world.catalogue.rows("SELECT name, locations, not_ingestible_reason FROM collection ORDER BY name")
    return {row[0]: (list(row[1]), row[2]) for row in rows}


@pytest.mark.fault(203)
class TestOddLibraries:
    def test_a_library_without_a_key_is_not_gone(self, world: World) -> None:
        before = stored(world)
        answer_sections(world, lambda rows: rows[0].pop("key"))
        document = world.cli.ok("source", "discover", NAME)
        assert (document["added"], document["gone"]) == ([], [])
        assert stored(world) == before

    @pytest.mark.fault(206)
    def test_hidden_locations_are_kept(self, world: World) -> None:
        before = stored(world)
        assert all(locations for locations, _ in before.values())
        answer_sections(world, hide_locations)
        document = world.cli.ok("source", "discover", NAME)
        assert (document["added"], document["updated"], document["gone"]) == ([], [], [])
        assert stored(world) == before

    def test_an_ingest_says_whose_token_is_needed(self, world: World) -> None:
        answer_sections(world, hide_locations)
        done = world.cli("source", "ingest", NAME, "--json")
        (error,) = done.document["errors"]
        assert (done.status, error["code"]) == (1, "no_ingestible_collections")
        assert error["hint"] == "Set the owner's token with `retrovue source update`."
