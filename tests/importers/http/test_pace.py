"""How hard a server is asked: the pace of requests, and how little is read of a library that is known."""

import anyio
import pytest

from retrovue.importers.http.pace import CEILING, FLOOR, SLOW_FLOOR, Pace
from retrovue.simulator import Fault, ListSection, faults, movie
from tests.support.plex import collection, plex, read_all

pytestmark = pytest.mark.anyio


async def test_struggling_halves_the_requests_in_the_air_down_to_one() -> None:
    pace = Pace()
    seen = []
    for _ in range(6):
        pace.struggled()
        seen.append(pace.allowed)
    assert seen == [6, 3, 1, 1, 1, 1]
    assert pace.allowed == FLOOR


async def test_good_answers_give_them_back_one_in_a_round_up_to_the_ceiling() -> None:
    pace = Pace()
    pace.struggled()
    for _ in range(6):
        pace.answered(0.01)
    assert pace.allowed == 7
    for _ in range(200):
        pace.answered(0.01)
    assert pace.allowed == CEILING


async def test_answers_that_get_much_slower_take_requests_away_but_not_all() -> None:
    pace = Pace()
    for _ in range(CEILING):
        pace.answered(0.2)
    for _ in range(200):
        pace.answered(0.2)
        pace.answered(2.0)
    assert SLOW_FLOOR <= pace.allowed < CEILING


async def test_equally_slow_answers_are_no_reason_to_slow_down() -> None:
    pace = Pace()
    for _ in range(100):
        pace.answered(15.0)
    assert pace.allowed == CEILING


async def test_no_more_are_in_the_air_than_allowed() -> None:
    pace = Pace(ceiling=3)
    inside = most = 0
    entered, leave = anyio.Semaphore(0), anyio.Event()

    async def ask() -> None:
        nonlocal inside, most
        async with pace.turn():
            inside += 1
            most = max(most, inside)
            entered.release()
            await leave.wait()
            inside -= 1

    async with anyio.create_task_group() as group:
        for _ in range(9):
            group.start_soon(ask)
        for _ in range(3):
            await entered.acquire()
        await anyio.wait_all_tasks_blocked()
        assert most == 3
        leave.set()
    assert most == 3


async def test_a_rate_sets_each_turn_a_beat_after_the_one_before() -> None:
    pace = Pace(max_per_second=1000.0)
    began = anyio.current_time()
    for _ in range(5):
        async with pace.turn():
            pass
    assert pace._next - began >= 5 / 1000.0


async def test_a_server_that_struggles_is_asked_for_less_at_once() -> None:
    films = ListSection("1", "Movies", "movie", [movie(i) for i in range(1, 101)])
    async with plex(films, config={"page_size": 10}) as (simulated, importer):
        simulated.faults.add(Fault(faults.status(503), path="/library/sections/1/all", attempt=1))
        result = await read_all(importer, collection())
        assert (result.source_items, result.restarts) == (100, 0)
        assert importer._client._pace.allowed < CEILING
