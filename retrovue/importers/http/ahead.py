"""Requests ahead: how many bytes they may take, and the tasks in which they run."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

import anyio
from anyio.abc import TaskGroup

from retrovue.core.pages import Outline, Page


class Budget:
    """The most bytes of all pages that are read ahead. The enumerations of one importer share it.

    A page that is needed now is always allowed, so that no enumeration waits for the bytes of another. Only a large
    page waits for its turn, which ends when its rows have been taken.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self.turn = anyio.Semaphore(1)
        """Held by the enumeration that has a large answer in memory."""

    def has_room_for(self, size: int) -> bool:
        """Return whether ``size`` more bytes are within the limit."""
        return self.held + size <= self.limit


class ReadingAhead(AbstractAsyncContextManager[AsyncIterator[Page | Outline]]):
    """Owns the tasks that read ahead for a generator of pages, so that no task group is open around a yield.

    Leaving it cancels them. An exception of the body, including a cancellation, leaves unchanged and without a group.
    """

    def __init__(self, make_pages: Callable[[TaskGroup], AsyncGenerator[Page | Outline, None]]) -> None:
        self._make_pages = make_pages
        self._tasks = anyio.create_task_group()

    async def __aenter__(self) -> AsyncIterator[Page | Outline]:
        await self._tasks.__aenter__()
        self._pages = self._make_pages(self._tasks)
        return self._pages

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._pages.aclose()
        finally:
            self._tasks.cancel_scope.cancel()
            # The group must see a cancellation, and would wrap any other error in a group. Python raises the body's
            # exception again in either case, because nothing is returned here.
            cancelled = isinstance(exc, anyio.get_cancelled_exc_class())
            details: tuple[Any, Any, Any] = (exc_type, exc, traceback) if cancelled else (None, None, None)
            await self._tasks.__aexit__(*details)
