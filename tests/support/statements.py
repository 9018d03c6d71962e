"""What the sessions of a store execute, for tests that look at it."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import pytest

from retrovue.store.statements import HasText, Session, numbered

Around = Callable[[str, Sequence[Any]], AbstractAsyncContextManager[None]]
"""Is entered for each statement, which has numbers for its parameters, with the values of the first execution."""


def surround(patch: pytest.MonkeyPatch, around: Around) -> None:
    """From now on execute each statement of a session within a context."""

    def within(method: str) -> None:
        original = getattr(Session, method)

        async def execute(session: Session, statement: HasText, parameters: Any = None) -> Any:
            sql, names = numbered(statement.text)
            first = parameters[0] if isinstance(parameters, Sequence) else parameters or {}
            async with around(sql, [first[name] for name in names]):
                return await original(session, statement, parameters)

        patch.setattr(Session, method, execute)

    within("execute")
    within("change")


@contextmanager
def statements(note: Callable[[str, Sequence[Any]], None]) -> Iterator[None]:
    """Note each statement of the sessions, whatever their store."""

    @asynccontextmanager
    async def around(sql: str, values: Sequence[Any]) -> AsyncIterator[None]:
        note(sql, values)
        yield

    with pytest.MonkeyPatch.context() as patch:
        surround(patch, around)
        yield
