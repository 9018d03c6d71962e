"""A thread with its own event loop, so that a plugin of another package can't delay the run.

A plugin may swallow its cancellation, block its loop or end it. Its caller waits for a bounded time and goes on. A
thread can't be ended from outside: one that doesn't end on its own is left behind. It is a daemon thread and ends with
the process.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, Self, TypeVar, cast

import anyio

from retrovue.core.logs import logger

_log = logger(__name__)

GRACE = 0.5
"""Seconds that a plugin may take to clean up after it is cancelled; an interrupted command has 2 s in all."""

TURN = 5.0
"""Seconds after its deadline within which a plugin's loop has to handle the cancellation; otherwise it counts as
blocked.
"""

T = TypeVar("T")


def is_isolated(plugin: object, ours: str) -> bool:
    """Return whether a plugin, given as a class or an instance, runs in its own thread.

    The plugins of RetroVue, from a module below ``ours``, don't, and neither do those with ``shares_loop``.
    """
    cls = plugin if isinstance(plugin, type) else type(plugin)
    return not cls.__module__.startswith(ours) and getattr(plugin, "shares_loop", False) is not True


class NoAnswer(Exception):
    """The call was abandoned at its deadline."""

    def __init__(self, *, blocking: bool) -> None:
        super().__init__()
        self.blocking = blocking
        """Whether the plugin's event loop is blocked."""


class LoopEnded(Exception):
    """There is no event loop: none could be made, or the plugin has ended it, for example by raising SystemExit."""


class _Call(Generic[T]):
    """A call to the plugin's thread, and its answer."""

    def __init__(self, function: Callable[[], Awaitable[T]]) -> None:
        self.function = function
        self.answered = anyio.Event()
        self.is_cancelled = False
        self.cancel_arrived = anyio.Event()
        """Set, in the caller's loop, when the plugin's loop has handled the cancellation."""
        self._caller = asyncio.get_running_loop()
        self._value: T | None = None
        self._error: BaseException | None = None

    def answer(self, value: T | None, error: BaseException | None) -> None:
        """Send the answer back; runs in the plugin's thread."""
        self._value, self._error = value, error
        self._notify(self.answered)

    def take_cancellation(self) -> None:
        """Confirm to the caller that the plugin's loop is running; runs in the plugin's thread."""
        self.is_cancelled = True
        self._notify(self.cancel_arrived)

    def result(self) -> T:
        """Return what the call returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return cast("T", self._value)

    def _notify(self, event: anyio.Event) -> None:
        with suppress(RuntimeError):  # The caller's loop is closed, so nobody waits any more.
            self._caller.call_soon_threadsafe(event.set)


class PluginThread:
    """A daemon thread that runs an event loop. Call ``start()``, then ``task()`` and its calls, then ``stop()``."""

    def __init__(self, name: str) -> None:
        """``name`` becomes the thread's name."""
        self.blocked = False
        """Whether the loop didn't handle a cancellation in time. No more calls are made in it."""
        self.has_lost_call = False
        """Whether an abandoned call hasn't returned yet. The loop can't end before it does."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._caller = asyncio.get_running_loop()
        self._ready = anyio.Event()
        self._ended = anyio.Event()
        self._pending: set[_Call[Any]] = set()
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._tasks: dict[PluginTask, asyncio.Task[None]] = {}
        self.is_ending = False
        """Whether the plugin has ended the loop."""

    async def start(self) -> Self:
        """Start the thread and wait until its loop runs; raises LoopEnded if that fails."""
        try:
            self._thread.start()
        except RuntimeError as exc:  # There are too many threads.
            self._ended.set()
            raise LoopEnded from exc
        # This takes no time, because no code of the plugin runs yet; a cancellation would leave the thread without an
        # owner.
        with anyio.CancelScope(shield=True):
            await self._ready.wait()
        if self._ended.is_set():
            raise LoopEnded
        return self

    @property
    def ended(self) -> bool:
        """Whether the loop has ended, for any reason."""
        return self._ended.is_set()

    async def stop(self) -> None:
        """End the loop and wait GRACE seconds for it; a loop that doesn't end in time is left behind."""
        self.post(self._stopping.set)
        if self.blocked or self.has_lost_call:
            return  # It was waited for already.
        with anyio.move_on_after(GRACE, shield=True):
            await self._ended.wait()

    def task(self) -> "PluginTask":
        """Make a task in the loop; the caller closes it."""
        return PluginTask(self)

    def post(self, callback: Callable[..., object], *arguments: object) -> None:
        """Schedule a function call in the loop; does nothing if the loop has ended."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)

    def add_call(self, call: _Call[Any]) -> None:
        """Register a call. It is answered with LoopEnded if the loop ends first."""
        self._pending.add(call)
        if self.ended:
            call.answer(None, LoopEnded())

    def discard_call(self, call: _Call[Any]) -> None:
        """Remove a call that has been answered or abandoned."""
        self._pending.discard(call)

    def start_task(self, task: "PluginTask") -> None:
        """Start serving a task's calls, unless the loop is ending; runs in the loop."""
        if self.is_ending:
            return
        # Not in a task group: if a plugin leaves a cancel scope open in a task, only that task may break.
        self._tasks[task] = served = asyncio.get_running_loop().create_task(task.serve())
        served.add_done_callback(lambda _: self._tasks.pop(task))

    def _run(self) -> None:
        try:
            # An exception outside of a call has no caller; the plugin's calls are answered by LoopEnded.
            with suppress(BaseException):
                asyncio.run(self._serve())
        finally:
            with suppress(RuntimeError):
                self._caller.call_soon_threadsafe(self._end)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._log_stray_exception)
        self._stopping = asyncio.Event()
        self._caller.call_soon_threadsafe(self._ready.set)
        try:
            await self._stopping.wait()
        except asyncio.CancelledError:
            # The plugin has ended the loop, which doesn't cancel what has started since.
            self.is_ending = True
            for served in self._tasks.values():
                served.cancel()
            await self._all_ended()
            raise
        for task in self._tasks:
            task.end()
        await self._all_ended()

    async def _all_ended(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def _log_stray_exception(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # asyncio would print the exception's text to standard error, and its own message repeats the arguments of a
        # callback: both may hold secrets.
        what = type(context["exception"]).__name__ if "exception" in context else "a task"
        _log.warning("The %s left behind in its event loop: %s", self._thread.name, what)

    def _end(self) -> None:
        self._ended.set()
        self._ready.set()  # This also happens if the loop couldn't be made, for lack of file descriptors.
        for call in list(self._pending):
            if not call.answered.is_set():
                call.answer(None, LoopEnded())


class PluginTask:
    """A task in a plugin's loop that runs one call after the other, so that one call can leave what another entered."""

    def __init__(self, thread: PluginThread) -> None:
        self.has_lost_call = False
        """Whether an abandoned call hasn't returned yet. No more calls can be made."""
        self._thread = thread
        self._calls: asyncio.Queue[_Call[Any] | None] = asyncio.Queue()
        self._task: asyncio.Task[Any] | None = None
        self._current: _Call[Any] | None = None
        thread.post(thread.start_task, self)

    async def run(self, function: Callable[[], Awaitable[T]], deadline_s: float) -> T:
        """Call an async function in the task; return or raise what the function does.

        Raises NoAnswer after ``deadline_s`` seconds, and LoopEnded. A call that is abandoned, at its deadline or
        because the caller is cancelled, is cancelled in the plugin's loop and has GRACE seconds to clean up.
        """
        if self.has_lost_call or self._thread.blocked:
            raise NoAnswer(blocking=self._thread.blocked)
        call = _Call(function)
        self._thread.add_call(call)
        self._thread.post(self._calls.put_nowait, call)
        try:
            with anyio.move_on_after(deadline_s):
                await call.answered.wait()
            if call.answered.is_set():
                return call.result()
            await self._give_up(call, TURN)
        except BaseException:
            if not call.answered.is_set():
                await self._give_up(call, GRACE)
            raise
        finally:
            self._thread.discard_call(call)
        raise NoAnswer(blocking=not call.is_cancelled)

    def close(self) -> None:
        """End the task after its last call."""
        self._thread.post(self.end)

    def end(self) -> None:
        """End the task after its last call; runs in the plugin's loop."""
        self._calls.put_nowait(None)

    async def _give_up(self, call: _Call[Any], turn_s: float) -> None:
        self._thread.post(self._cancel, call)
        with anyio.move_on_after(turn_s, shield=True):
            await call.cancel_arrived.wait()
        if call.is_cancelled:
            with anyio.move_on_after(GRACE, shield=True):
                await call.answered.wait()
        if not call.answered.is_set():
            self.has_lost_call = self._thread.has_lost_call = True
            self._thread.blocked = self._thread.blocked or not call.is_cancelled

    def _cancel(self, call: _Call[Any]) -> None:
        call.take_cancellation()
        if self._current is call and self._task is not None:
            self._task.cancel()

    async def serve(self) -> None:
        """Answer calls until the task is closed; runs in the plugin's loop."""
        self._task = asyncio.current_task()
        # A cancellation by the plugin looks like that of a call; at the end of the loop no call follows.
        while not self._thread.is_ending and (call := await self._calls.get()) is not None:
            if call.is_cancelled:
                call.answer(None, asyncio.CancelledError())
            else:
                await self._answer(call)

    async def _answer(self, call: _Call[Any]) -> None:
        self._current = call
        value, error = None, None
        try:
            value = await call.function()
        except BaseException as exc:  # noqa: BLE001 - any exception is the answer
            error = exc
            if isinstance(exc, asyncio.CancelledError) and not call.is_cancelled:
                error = LoopEnded()  # Otherwise a task is cancelled only by the end of the loop.
        self._current = None
        while self._task is not None and self._task.uncancel():
            pass  # Only the call was cancelled; the task goes on, so that what was entered can be left.
        call.answer(value, error)
