"""Reading ahead for a generator of pages, without a task group around a yield."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

import anyio
from anyio.abc import TaskGroup

from retrovue.core.model import Outline, Page


class ReadingAhead(AbstractAsyncContextManager[AsyncIterator[Page | Outline]]):
    """Owns the tasks that read ahead for a generator of pages, so that no group is open around a yield.

    Leaving it cancels them. What the body raises, a cancellation included, leaves as it is and not in a group.
    """

    def __init__(self, make: Callable[[TaskGroup], AsyncGenerator[Page | Outline, None]]) -> None:
        self._make = make
        self._tasks = anyio.create_task_group()

    async def __aenter__(self) -> AsyncIterator[Page | Outline]:
        await self._tasks.__aenter__()
        self._pages = self._make(self._tasks)
        return self._pages

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._pages.aclose()
        finally:
            self._tasks.cancel_scope.cancel()
            # The group has to see a cancellation, and would wrap anything else; whatever it answers, Python
            # raises the body's exception on, as nothing is returned here.
            cancelled = isinstance(exc, anyio.get_cancelled_exc_class())
            details: tuple[Any, Any, Any] = (exc_type, exc, traceback) if cancelled else (None, None, None)
            await self._tasks.__aexit__(*details)
