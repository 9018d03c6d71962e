"""Which of several walks goes on first."""

from itertools import count

import anyio
import pytest

from retrovue.importers.filesystem.precedence import Precedence

pytestmark = pytest.mark.anyio


def always_busy() -> float:
    """Return a process's time that advances much faster than the clock."""
    return float(next(_SECONDS))


_SECONDS = count(step=1000)


class TestPrecedence:
    async def test_a_walk_alone_never_waits(self) -> None:
        precedence = Precedence(used_s=always_busy)
        place = precedence.place()
        with anyio.fail_after(5):
            await precedence.turn(place)
            await precedence.turn(place)

    async def test_a_later_walk_waits_until_the_earlier_one_rests(self) -> None:
        precedence = Precedence(used_s=always_busy, longest_s=60)
        first, second = precedence.place(), precedence.place()
        order: list[str] = []
        await precedence.turn(first)

        async def later() -> None:
            await precedence.turn(second)
            order.append("second")

        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(later)
                await anyio.wait_all_tasks_blocked()
                await precedence.turn(first)
                order.append("first")
                precedence.rest(first)
        assert order == ["first", "second"]

    async def test_an_earlier_walk_doesnt_wait_for_a_later_one(self) -> None:
        precedence = Precedence(used_s=always_busy)
        first, second = precedence.place(), precedence.place()
        with anyio.fail_after(5):
            await precedence.turn(second)
            await precedence.turn(first)

    async def test_the_wait_ends_if_the_process_waits_as_well(self) -> None:
        precedence = Precedence(used_s=lambda: 0.0, longest_s=60)
        first, second = precedence.place(), precedence.place()
        await precedence.turn(first)
        with anyio.fail_after(5):
            await precedence.turn(second)

    async def test_no_wait_is_longer_than_the_longest(self) -> None:
        precedence = Precedence(used_s=always_busy, longest_s=0)
        first, second = precedence.place(), precedence.place()
        await precedence.turn(first)
        with anyio.fail_after(5):
            await precedence.turn(second)
