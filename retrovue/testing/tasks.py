"""Checks of the conformance kits for any coroutine: no task or file is left behind, no cancellation is swallowed."""

import asyncio
import gc
import threading
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, TypeVar

import anyio

T = TypeVar("T")
DEADLINE_S = 60.0
"""Seconds for any one answer: the plugin reads a sample."""
CLEANING_UP_S = 5.0
"""Seconds for cleaning up after a cancellation."""
PATIENCE_S = 300.0
"""Seconds for a check as a whole."""
MOST_AWAITS = 300
"""How many awaits are cancelled in turn."""


def run(answer: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
    """Run a coroutine function in its own event loop and context.

    Where sniffio is installed, anyio's pytest plug-in marks a test's context as having a running loop while an
    asynchronous fixture of the session lives. In that context anyio refuses to start another loop.
    """
    return Context().run(anyio.run, answer, *arguments)


def run_bounded(seconds: float, answer: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
    """Run a check in its own thread; it fails after that time.

    Nothing else ends a plugin that blocks its event loop or swallows its cancellation for ever. Its thread is left
    behind.
    """
    returned: list[T] = []
    raised: list[BaseException] = []

    def check() -> None:
        try:
            returned.append(run(answer, *arguments))
        except BaseException as exc:  # noqa: BLE001 - raised again by the caller
            raised.append(exc)

    thread = threading.Thread(target=check, name=f"conformance {answer.__name__}", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    assert returned, (
        f"after {seconds:g} s there is no answer: what is tested blocks its event loop, or swallows its cancellation"
    )
    return returned[0]


async def check_cancelled_everywhere(who: str, run: Callable[[], Coroutine[Any, Any, None]], most_awaits: int) -> None:
    """Check that a coroutine, cancelled at each await in turn, stops and leaves no task behind; errors name ``who``."""
    for number in range(1, most_awaits + 1):
        async with _no_task_left(f"after it was cancelled at await {number}, {who}"):
            if not await _cancelled_at(who, number, run):
                return


async def check_leaves_nothing(who: str, when: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Check that a coroutine leaves no task, file or socket behind; errors name ``who`` and ``when``."""
    gc.collect()
    with warnings.catch_warnings(record=True) as unclosed:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ResourceWarning)
        async with _no_task_left(f"{when}, {who}"):
            await run()
        gc.collect()
    assert not unclosed, f"{who} leaves something open: {unclosed[0].message}"


async def _cancelled_at(who: str, number: int, run: Callable[[], Coroutine[Any, Any, None]]) -> bool:
    """Run a coroutine and cancel it at the await with that number; returns whether it got there."""
    reached = False

    def cancel() -> None:
        nonlocal reached
        reached = True
        task.cancel()

    async def counted() -> None:
        await _CountedAwaits(run(), number, cancel)

    task = asyncio.get_running_loop().create_task(counted())  # not in a group, which would wait for it for ever
    done, _ = await asyncio.wait({task}, timeout=DEADLINE_S if number == 1 else DEADLINE_S + CLEANING_UP_S)
    assert done, f"cancelled at await {number}, {who} goes on for ever: it swallows its cancellation"
    if task.cancelled():
        return True
    error = task.exception()
    if reached:
        what = "goes on" if error is None else f"raises {type(error).__name__}"
        message = f"cancelled at await {number}, {who} {what}: the cancellation has to leave it as it came"
        raise AssertionError(message) from error
    if error is not None:
        raise error
    return False


class _CountedAwaits(Awaitable[None]):
    """Awaits a coroutine, and calls a function when it waits for the n-th time."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], number: int, reached: Callable[[], None]) -> None:
        self._coroutine = coroutine
        self._number = number
        self._reached = reached

    def __await__(self) -> Generator[Any, Any, None]:
        waits = 0
        error: BaseException | None = None
        while True:
            try:
                waited = self._coroutine.send(None) if error is None else self._coroutine.throw(error)
            except StopIteration:
                return
            waits += 1
            if waits == self._number:
                self._reached()
            error = None
            try:
                yield waited
            except BaseException as exc:  # noqa: BLE001 - thrown into the coroutine, as await does
                error = exc


class _no_task_left:  # noqa: N801 - reads as a statement
    """A context manager that asserts that the block leaves no task behind."""

    def __init__(self, when: str) -> None:
        self._when = when

    async def __aenter__(self) -> None:
        self._before = asyncio.all_tasks()

    async def __aexit__(self, exc_type: type[BaseException] | None, *error: object) -> None:
        if exc_type is not None:
            return
        left = asyncio.all_tasks() - self._before
        if left:
            _done, left = await asyncio.wait(left, timeout=CLEANING_UP_S)
        names = ", ".join(sorted(task.get_name() for task in left))
        assert not left, f"{self._when} leaves tasks behind: {names}"


@contextmanager
def deadline(what: str) -> Iterator[None]:
    """Assert that the block takes no longer than DEADLINE_S."""
    with anyio.move_on_after(DEADLINE_S) as scope:
        yield
    assert not scope.cancelled_caught, f"{what} gave no answer within {DEADLINE_S:g} s"


def expect(kind: type[T], value: object, what: str) -> T:
    """Assert that a value is of a type."""
    assert isinstance(value, kind), f"{what} gave a {type(value).__name__} where a {kind.__name__} belongs"
    return value
