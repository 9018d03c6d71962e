"""--log-level and --log-format: what is logged goes to the standard error, a line each, and holds no secret."""

import logging

import orjson

from tests.support.world import MOVIES, NAME, TOKEN, World


def ingest(world: World, *options: str) -> list[str]:
    done = world.cli(*options, "source", "ingest", NAME, "--json")
    assert done.document["collection_results"]
    assert TOKEN not in done.err
    return done.err.splitlines()


class TestLogs:
    def test_without_the_options_nothing_is_logged(self, world: World) -> None:
        assert ingest(world) == []

    def test_json_lines_hold_the_ids(self, world: World) -> None:
        world.break_listing(MOVIES)
        *lines, complaint = ingest(world, "--log-format", "json")
        assert complaint.startswith("Error: ")
        records = [orjson.loads(line) for line in lines]
        assert len({record["run_id"] for record in records}) == 1
        (failure,) = [record for record in records if record["level"] == "error"]
        assert failure["collection_id"] == world.id("Movies")
        assert failure["code"] == "incomplete_enumeration"
        assert list(failure)[:4] == ["time", "level", "logger", "message"]

    def test_text_says_the_same(self, world: World) -> None:
        lines = ingest(world, "--log-level", "info")
        assert f"collection_id={world.id('Movies')}" in "".join(lines)
        assert all("run_id=" in line for line in lines)

    def test_a_level_leaves_out_what_is_below(self, world: World) -> None:
        assert ingest(world, "--log-level", "warning") == []

    def test_afterwards_the_process_logs_as_before(self, world: World) -> None:
        logger = logging.getLogger("retrovue")
        before = (list(logger.handlers), logger.level)
        ingest(world, "--log-level", "debug")
        assert (list(logger.handlers), logger.level) == before
