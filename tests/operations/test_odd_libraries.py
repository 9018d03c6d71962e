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
        assert sorted(document["locations_hidden"]) == sorted(before)
        assert "to its owner or an administrator only" in world.cli("source", "discover", NAME).out
        assert stored(world) == before

    def test_an_ingest_says_whose_token_is_needed(self, world: World) -> None:
        answer_sections(world, hide_locations)
        done = world.cli("source", "ingest", NAME, "--json")
        (error,) = done.document["errors"]
        assert (done.status, error["code"]) == (1, "no_ingestible_collections")
        assert error["hint"] == "Set the owner's token with `retrovue source update`."

    @pytest.mark.fault(26, 154)
    def test_what_cannot_be_stored_is_repaired_or_left_out(self, world: World) -> None:
        def odd(rows: list[dict[str, Any]]) -> None:
            rows[:] = [
                rows[0] | {"key": "91", "title": "Nul\0 films", "Location": [{"path": "/a\0b"}, {"path": "/films"}]},
                rows[0] | {"key": "92", "title": "x" * 5000, "Location": [{"path": "/" + "y" * 40_000}]},
                rows[0] | {"key": "9" * 5000, "title": "No key"},
                *rows,
            ]

        answer_sections(world, odd)
        assert world.cli.ok("source", "discover", NAME)["gone"] == []
        assert world.catalogue.rows(
            "SELECT external_id, name, locations FROM collection WHERE external_id LIKE '9%' ORDER BY 1"
        ) == [("91", "Nul\ufffd films", ["/films"]), ("92", "Library 92", [])]

    def test_libraries_that_the_source_does_not_tell_apart_are_left_out_alone(self, world: World) -> None:
        before = stored(world)

        def odd(rows: list[dict[str, Any]]) -> None:
            rows.append(rows[0] | {"title": "Twice"})
            rows.append({"type": "movie"})
            rows.append(rows[0] | {"key": "70", "title": "Fine"})

        answer_sections(world, odd)
        document = world.cli.ok("source", "discover", NAME)
        assert (document["added"], document["gone"], document["unidentified"]) == (["Fine"], [], ["Twice", ""])
        assert stored(world) == before | {"Fine": (["/data/movies"], None)}
        assert "Left out: Twice, one without a name" in world.discover().out

    @pytest.mark.parametrize("title", [None, "", " ", [], 5])
    def test_a_library_without_a_title_has_a_name(self, world: World, title: object) -> None:
        before = stored(world)

        def odd(rows: list[dict[str, Any]]) -> None:
            rows.append(rows[0] | {"key": "70", "title": title})
            rows[0]["title"] = title

        answer_sections(world, odd)
        assert world.cli.ok("source", "discover", NAME)["added"] == ["Library 70"]
        assert stored(world) == before | {"Library 70": (["/data/movies"], None)}

    @pytest.mark.fault(154)
    def test_libraries_without_end(self, world: World) -> None:
        answer_sections(world, lambda rows: rows.extend([{"key": str(key)} for key in range(100, 11_000)]))
        done = world.cli("source", "discover", NAME, "--json")
        assert [error["code"] for error in done.document["errors"]] == ["malformed_answer"]
