"""The connection to PostgreSQL is lost, or the caller cancels, at a round trip: nothing is torn, nothing false is said.

A part of what `make soak` does, chosen so that it takes its turn at every kind of round trip.
"""

import pytest

from tests.faults.conftest import Staged, all_well
from tests.support.faults.campaigns import Moment, cancel, commits, cut, moments, pair
from tests.support.faults.proxy import WHENS
from tests.support.faults.scenarios import (
    AGAIN,
    FAILING,
    FIRST,
    ONE,
    PAIRS,
    SURGICAL,
    SYNC,
    SYNC_UNIT,
    TINY,
    TOGETHER,
    UNIT,
    Scenario,
)

pytestmark = pytest.mark.anyio

SHARDS = 2
STEP = 61
"""Odd, so that cuts before and after take turns."""
PAIRED = 6
LARGER = pytest.mark.parametrize("scenario", [FIRST, AGAIN, ONE, SURGICAL, SYNC], ids=lambda scenario: scenario.name)


@pytest.mark.fault(43, 44)
class TestCut:
    @pytest.mark.parametrize("shard", range(SHARDS))
    async def test_a_tiny_ingest_at_every_fifth_moment(self, stage: Staged, shard: int) -> None:
        async with stage(TINY) as tiny:
            trips = await tiny.trips()
            all_well(await cut(tiny, moments(trips, 5)[shard::SHARDS]))

    async def test_around_every_commit(self, stage: Staged) -> None:
        async with stage(TINY) as tiny:
            chosen: list[Moment] = [(number, when) for number, _ in commits(await tiny.trips()) for when in WHENS]
            all_well(await cut(tiny, chosen))

    @pytest.mark.long
    @LARGER
    async def test_a_larger_one_here_and_there(self, stage: Staged, scenario: Scenario) -> None:
        async with stage(scenario) as larger:
            all_well(await cut(larger, moments(await larger.trips(), STEP)))

    async def test_with_collections_at_work_at_once(self, stage: Staged) -> None:
        async with stage(TOGETHER) as together:
            # Their order differs, and with it the last round trips' numbers.
            chosen = moments(await together.trips(), 71)[:-1]
            all_well(await cut(together, chosen))

    @pytest.mark.parametrize("scenario", [UNIT, SYNC_UNIT], ids=lambda scenario: scenario.name)
    async def test_a_unit_of_work_changes_all_or_nothing(self, stage: Staged, scenario: Scenario) -> None:
        async with stage(scenario) as unit:
            trips = await unit.trips()
            around: list[Moment] = [(number, when) for number, _ in commits(trips)[-2:] for when in WHENS]
            all_well(await cut(unit, [*moments(trips, 53)[:-1], *around]))

    async def test_while_a_failure_is_written_down(self, stage: Staged) -> None:
        async with stage(FAILING) as failing:
            trips = await failing.trips()
            # The first one reaps what went before.
            _, row, *_ = (number for number, trip in enumerate(trips, 1) if "INTO ingest_outcome" in trip.text)
            assert trips[row + 1].commits
            chosen: list[Moment] = [(number, when) for number in range(row - 2, row + 3) for when in WHENS]
            all_well(await cut(failing, chosen))


class TestControl:
    async def test_the_naive_ingest_is_found_wrong_at_more_than_half_of_the_moments(self, stage: Staged) -> None:
        async with stage(FIRST, control=True) as control:
            tally = await cut(control, moments(await control.trips()))
        assert tally.missed == 0
        assert tally.wrong > tally.injected / 2
        assert tally.inconsistent > 0
        assert tally.false_outcomes > 0


class TestCancellation:
    """The caller cancels a scope of its own around the run."""

    async def test_of_a_unit_of_work(self, stage: Staged) -> None:
        async with stage(UNIT) as unit:
            trips = await unit.trips()
            all_well(await cancel(unit, [*moments(trips, 53)[:-1], *commits(trips)[-1:]]))

    @LARGER
    async def test_at_a_round_trip(self, stage: Staged, scenario: Scenario) -> None:
        async with stage(scenario) as larger:
            all_well(await cancel(larger, moments(await larger.trips(), STEP)))

    @pytest.mark.parametrize("scenario", [FIRST, AGAIN], ids=lambda scenario: scenario.name)
    async def test_while_every_other_commit_is_under_way(self, stage: Staged, scenario: Scenario) -> None:
        async with stage(scenario) as larger:
            chosen = commits(await larger.trips())[::2]
            await larger.catalogue.widen_commits()
            all_well(await cancel(larger, chosen))


@pytest.mark.fault(45, 50)
class TestPairs:
    @pytest.mark.long
    @pytest.mark.parametrize("scenario", PAIRS, ids=lambda scenario: scenario.name)
    async def test_of_two_that_start_together_one_ingests(self, stage: Staged, scenario: Scenario) -> None:
        async with stage(scenario) as both:
            await both.trips()
            pairs = await pair(both, PAIRED, seed=1)
        all_well(pairs.tally)
        assert pairs.deadlocks == 0
        assert pairs.codes == {"already_running"}
        assert pairs.ingested == PAIRED * len(scenario.listings)
