"""The program as a process: killed at a failpoint, or sent a signal at a round trip."""

import signal

import pytest

from tests.faults.conftest import Programs, all_well
from tests.support.faults.campaigns import moments
from tests.support.faults.program import between_first_write_and_last_commit, interrupt, kill

pytestmark = pytest.mark.anyio

BOTH = pytest.mark.parametrize("again", [False, True], ids=["first ingest", "re-ingest"])


@pytest.mark.fault(57)
class TestKill:
    @pytest.mark.long
    @BOTH
    async def test_the_next_run_sees_it_and_makes_good(self, programs: Programs, again: bool) -> None:
        async with programs("killed", again=again) as program:
            points = await program.undisturbed()
            assert between_first_write_and_last_commit(points) >= 0.25
            all_well(await kill(program, points, range(1, len(points) + 1, 23)))

    async def test_of_a_unit_of_work_nothing_or_all_is_there(self, programs: Programs) -> None:
        async with programs("killed, unit of work", again=True, atomic=True) as program:
            points = await program.undisturbed()
            last = max(index for index, point in enumerate(points, 1) if point == "before COMMIT")
            all_well(await kill(program, points, [*range(1, len(points) + 1, 37), last, last + 1]))

    async def test_what_was_read_is_kept(self, programs: Programs) -> None:
        async with programs("killed, pages kept", again=False, keeps=True) as program:
            points = await program.undisturbed()
            kinds = {point.partition(" ")[2].partition("_")[0] for point in points}
            assert {"COPY kept", "INSERT INTO kept", "DELETE FROM kept"} <= kinds
            all_well(await kill(program, points, range(1, len(points) + 1, 43)))
            assert program.resumed

    async def test_it_is_killed_around_every_kind_of_thing(self, programs: Programs) -> None:
        async with programs("points", again=False) as program:
            points = await program.undisturbed()
        for kind in (
            "COMMIT",
            "COPY staged",
            "COPY staged_rejection",
            "INSERT INTO asset",
            "INSERT INTO ingest_outcome",
        ):
            whens = {point.partition(" ")[0] for point in points if point.partition(" ")[2].startswith(kind)}
            assert whens == {"before", "after"}


@pytest.mark.fault(55)
class TestSignals:
    @BOTH
    async def test_what_was_done_is_told_and_all_of_it(self, programs: Programs, again: bool) -> None:
        async with programs("signalled", again=again) as program:
            await program.undisturbed()
            trips = list(program.proxy.trips)
            tally, _ = await interrupt(program, moments(trips, 93), (signal.SIGINT, signal.SIGTERM))
        all_well(tally)

    async def test_while_the_merge_is_being_committed(self, programs: Programs) -> None:
        async with programs("signalled in COMMIT", again=False) as program:
            await program.undisturbed()
            trips = list(program.proxy.trips)
            merge = max(number for number, trip in enumerate(trips, 1) if trip.commits)
            await program.catalogue.widen_commits()
            tally, _ = await interrupt(program, [(merge, "before"), (merge, "before")], (signal.SIGINT, signal.SIGTERM))
        all_well(tally)
