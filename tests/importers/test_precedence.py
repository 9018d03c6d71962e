"""Which of several enumerations goes first with its page."""

from itertools import count

import anyio
import pytest

from retrovue.importers.precedence import Precedence

pytestmark = pytest.mark.anyio


def always_busy() -> float:
    """Return a process's time that advances much faster than the clock."""
    return float(next(_SECONDS))


_SECONDS = count(step=1000)
AT_ONCE = 2


class TestPrecedence:
    async def test_as_many_as_may_work_at_once_never_wait(self) -> None:
        precedence = Precedence(AT_ONCE, used_s=always_busy)
        places = [precedence.place() for _ in range(AT_ONCE)]
        with anyio.fail_after(5):
            for place in [*places, *places]:
                await precedence.turn(place)

    async def test_a_later_enumeration_waits_until_an_earlier_one_has_no_page(self) -> None:
        precedence = Precedence(AT_ONCE, used_s=always_busy, longest_s=60)
        *earlier, last = [precedence.place() for _ in range(AT_ONCE + 1)]
        order: list[str] = []
        for place in earlier:
            await precedence.turn(place)

        async def later() -> None:
            await precedence.turn(last)
            order.append("last")

        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(later)
                await anyio.wait_all_tasks_blocked()
                await precedence.turn(earlier[0])
                order.append("first")
                precedence.rest(earlier[0])
        assert order == ["first", "last"]

    async def test_an_earlier_enumeration_doesnt_wait_for_later_ones(self) -> None:
        precedence = Precedence(AT_ONCE, used_s=always_busy)
        first, *later = [precedence.place() for _ in range(AT_ONCE + 1)]
        with anyio.fail_after(5):
            for place in (*later, first):
                await precedence.turn(place)

    async def test_the_wait_ends_if_the_process_waits_as_well(self) -> None:
        precedence = Precedence(AT_ONCE, used_s=lambda: 0.0, longest_s=60)
        with anyio.fail_after(5):
            for place in [precedence.place() for _ in range(AT_ONCE + 1)]:
                await precedence.turn(place)

    async def test_no_wait_is_longer_than_the_longest(self) -> None:
        precedence = Precedence(AT_ONCE, used_s=always_busy, longest_s=0)
        with anyio.fail_after(5):
            for place in [precedence.place() for _ in range(AT_ONCE + 1)]:
                await precedence.turn(place)
