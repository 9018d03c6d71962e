"""The host of a plugin: opens it, calls it with deadlines, closes it, and translates its exceptions."""

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Any, ClassVar, TypeVar

import anyio

from retrovue.core.cancelling import is_cancelled
from retrovue.core.errors import RetrovueError, normalized
from retrovue.plugins.isolation import GRACE, LoopEnded, NoAnswer, PluginTask, PluginThread

CLOSING_S = 10.0
"""Seconds that a plugin may take to close: all calls have been answered by then."""

T = TypeVar("T")


class PluginHost(ABC):
    """Runs one plugin. Call ``open()``, then ``call()``, also several at the same time, then ``close()``.

    An isolated plugin runs in a thread with its own event loop from opening to closing: it may block or swallow
    its cancellation without delaying others. Any other plugin runs in the caller's event loop.
    """

    allowed: ClassVar[tuple[type[Exception], ...]] = ()
    """Exceptions that a call may raise; they are passed on unchanged."""

    def __init__(self, name: str, *, isolated: bool, opening_s: float, closing_s: float) -> None:
        """``name`` becomes the thread's name; ``opening_s`` and ``closing_s`` are deadlines in seconds.

        An infinite deadline also means that the call has no cancel scope: in the caller's loop a plugin may enter a
        task group when it is opened and leave it when it is closed, and scopes have to nest.
        """
        self.isolated = isolated
        self._name = name
        self._opening_s = opening_s
        self._closing_s = closing_s
        self._opened: AbstractAsyncContextManager[Any] | None = None
        self._thread: PluginThread | None = None
        self._lifetime: PluginTask | None = None
        """The task that opens and closes an isolated plugin."""
        self._loop_ended = False

    @property
    def is_gone(self) -> bool:
        """Whether no more calls can be made, because the plugin's event loop is blocked or has ended."""
        return self._thread is not None and (self._loop_ended or self._thread.blocked or self._thread.ended)

    @property
    def left_thread_behind(self) -> bool:
        """Whether the plugin has been closed but its thread is still running."""
        return self._thread is not None and not self._thread.ended

    async def open(self, make: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        """Make the plugin where it is going to run, and enter it."""
        if self.isolated:
            thread = PluginThread(self._name)
            try:
                self._thread = await thread.start()
            except LoopEnded as exc:
                raise self.bug("opening", exc) from exc
            self._lifetime = thread.task()

        async def enter() -> None:
            plugin = make()
            await plugin.__aenter__()
            # Stored here, in the plugin's thread, because the caller may be cancelled before it gets the result.
            self._opened = plugin

        try:
            await self.call("opening", enter, self._opening_s, self._lifetime)
        except BaseException as exc:
            await self.close(exc)
            raise

    async def close(self, exc: BaseException | None = None) -> None:
        """Leave the plugin, with the exception that ends its use, and end its thread."""
        plugin, self._opened = self._opened, None
        try:
            if plugin is not None:
                # All calls have been answered, so a failure to close doesn't change the answers.
                with suppress(Exception):
                    await self.leave("closing", plugin, exc, self._lifetime)
        finally:
            if self._thread is not None:
                await self._thread.stop()

    async def leave(
        self, what: str, manager: AbstractAsyncContextManager[Any], exc: BaseException | None, task: PluginTask | None
    ) -> None:
        """Leave a context manager of the plugin, in the task that entered it; it can't replace or suppress ``exc``."""
        exc_type, traceback = (None, None) if exc is None else (type(exc), exc.__traceback__)

        async def leave() -> None:
            try:
                await manager.__aexit__(exc_type, exc, traceback)
            except BaseException as raised:
                if raised is not exc:  # The caller raises it again.
                    raise

        if self._thread is not None and is_cancelled():
            with anyio.CancelScope(shield=True):
                await self.call(what, leave, GRACE, task)
        else:
            await self.call(what, leave, self._closing_s, task)

    def task(self) -> PluginTask | None:
        """Make a task for calls that belong together; the caller closes it.

        None if the plugin runs in the caller's loop.
        """
        return None if self._thread is None else self._thread.task()

    async def call(
        self, what: str, function: Callable[[], Awaitable[T]], deadline_s: float, task: PluginTask | None = None
    ) -> T:
        """Call an async function where the plugin runs, in its own task unless one is given.

        ``what`` names the call in errors. Raises exceptions that are ``allowed``, and the errors that ``translate``,
        ``bug`` and ``no_answer`` return.
        """
        if self._thread is None:
            if deadline_s == math.inf:
                return await self._call(what, function)
            with anyio.move_on_after(deadline_s):
                return await self._call(what, function)
            raise self.no_answer(what, deadline_s, blocking=False)
        used = task or self._thread.task()
        try:
            return await used.run(partial(self._call, what, function), deadline_s)
        except NoAnswer as exc:
            raise self.no_answer(what, deadline_s, blocking=exc.blocking) from None
        except LoopEnded as exc:
            self._loop_ended = True
            raise self.bug(what, exc) from exc
        finally:
            if used is not task:
                used.close()

    async def _call(self, what: str, function: Callable[[], Awaitable[T]]) -> T:
        """Call the function and raise RetroVue's errors; runs where the plugin runs."""
        try:
            return await function()
        except BaseException as exc:
            if self._is_of_caller(exc):
                raise
            if isinstance(exc, RetrovueError) and not normalized(exc):
                raise self.bug(what, exc) from None
            if isinstance(exc, self.allowed):
                raise
            raise self.translate(what, exc) from exc

    def _is_of_caller(self, exc: BaseException) -> bool:
        if isinstance(exc, asyncio.CancelledError):
            return is_cancelled()
        # In the caller's thread a KeyboardInterrupt comes from the operator, in the plugin's thread from the plugin.
        return not self.isolated and not isinstance(exc, Exception | SystemExit | BaseExceptionGroup)

    def translate(self, what: str, raised: BaseException) -> Exception:
        """Return the error for an exception of a call that isn't allowed: by default that of ``bug``."""
        return self.bug(what, raised)

    @abstractmethod
    def bug(self, what: str, raised: BaseException) -> Exception:
        """Return the error for an exception that a call must not raise; LoopEnded stands for a loop that has ended."""

    @abstractmethod
    def no_answer(self, what: str, deadline_s: float, /, *, blocking: bool) -> Exception:
        """Return the error for a call that missed its deadline; ``blocking`` if the plugin blocks its event loop."""
