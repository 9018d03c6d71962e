"""A thread with an event loop of its own, in which a third party's importer or enricher can't hold up the run.

What runs there may swallow its cancellation, block its loop or end it: whoever asked waits for a bounded time,
gives up, and goes on. A thread can't be ended from outside, so one that doesn't end by itself is left behind; it
is a daemon and ends with the process.
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
"""Seconds that a plugin may take to clean up once it is cancelled; an interrupted command has 2 s in all."""

TURN = 5.0
"""Seconds without a turn of its loop after which a plugin, whose time is up, counts as blocking it."""

T = TypeVar("T")


def is_isolated(plugin: object, ours: str) -> bool:
    """Whether a plugin runs in a thread of its own.

    Those that come with RetroVue, from a module below ``ours``, don't; nor do those that say ``shares_loop``.
    """
    kind = plugin if isinstance(plugin, type) else type(plugin)
    return not kind.__module__.startswith(ours) and getattr(plugin, "shares_loop", False) is not True


class Unanswered(Exception):
    """No answer came in time, and the call has been given up."""

    def __init__(self, *, blocking: bool) -> None:
        super().__init__()
        self.blocking = blocking
        """Whether the plugin's event loop didn't even turn."""


class LoopEnded(Exception):
    """There is no event loop: none could be made, or the plugin has ended it, such as by a SystemExit of its own."""


class _Request(Generic[T]):
    """A call on its way to the plugin's thread, and its answer on the way back."""

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self.call = call
        self.answered = anyio.Event()
        self.cancel_arrived = False
        self.turned = anyio.Event()
        """Set, in the host's loop, once the plugin's loop has taken the cancellation."""
        self._host = asyncio.get_running_loop()
        self._value: T | None = None
        self._error: BaseException | None = None

    def answer(self, value: T | None, error: BaseException | None) -> None:
        """Send the answer back; called in the plugin's thread."""
        self._value, self._error = value, error
        with suppress(RuntimeError):  # the host's loop is closed: nobody waits any more
            self._host.call_soon_threadsafe(self.answered.set)

    def take_cancellation(self) -> None:
        """Let the host know that the loop turns; called in the plugin's thread."""
        self.cancel_arrived = True
        with suppress(RuntimeError):
            self._host.call_soon_threadsafe(self.turned.set)

    def result(self) -> T:
        """Return or raise what the plugin did."""
        if self._error is not None:
            raise self._error
        return cast("T", self._value)


class PluginLoop:
    """An event loop in a daemon thread; everything asked of it has a deadline."""

    def __init__(self, name: str) -> None:
        """``name`` is the thread's: the kind of plugin and its own name."""
        self.blocked = False
        """Whether it didn't turn when it had to; nothing more is asked of it then."""
        self.lost = False
        """Whether a call in it was given up that hasn't returned: the loop won't end before it does."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._host = asyncio.get_running_loop()
        self._ready = anyio.Event()
        self._ended = anyio.Event()
        self._pending: set[_Request[Any]] = set()
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._lanes: dict[Lane, asyncio.Task[None]] = {}

    async def start(self) -> Self:
        """Start the thread and wait until its loop turns; raises LoopEnded if there can be none."""
        try:
            self._thread.start()
        except RuntimeError as exc:  # there are too many
            self._ended.set()
            raise LoopEnded from exc
        # Without a cancellation, which would leave a loop behind that nobody knows: nothing of the plugin runs yet.
        with anyio.CancelScope(shield=True):
            await self._ready.wait()
        if self._ended.is_set():
            raise LoopEnded
        return self

    @property
    def ended(self) -> bool:
        """Whether the loop has ended, by us or by the plugin."""
        return self._ended.is_set()

    async def stop(self) -> None:
        """End the loop, or leave it behind if it doesn't end by itself."""
        self.post(self._stopping.set)
        if self.blocked or self.lost:
            return  # it has had its time
        with anyio.move_on_after(GRACE, shield=True):
            await self._ended.wait()

    def lane(self) -> "Lane":
        """Make a task in the loop that runs what it is given, one call after the other."""
        return Lane(self)

    def post(self, callback: Callable[..., object], *arguments: object) -> None:
        """Have something called in the loop; silently not, if it has ended."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)

    def expect(self, request: _Request[Any]) -> None:
        """Take note of a request that has to be answered even if the loop ends."""
        self._pending.add(request)
        if self._ended.is_set():
            request.answer(None, LoopEnded())

    def settle(self, request: _Request[Any]) -> None:
        """Forget a request."""
        self._pending.discard(request)

    def open_lane(self, lane: "Lane") -> None:
        """Start a lane's task; called in the loop."""
        # Not in a task group: a lane in which a plugin left a scope open breaks when it ends, and breaks alone.
        self._lanes[lane] = asyncio.get_running_loop().create_task(self._serve_lane(lane))

    async def _serve_lane(self, lane: "Lane") -> None:
        try:
            await lane.serve()
        finally:
            del self._lanes[lane]

    def _run(self) -> None:
        try:
            # What a plugin raises outside of any call has nobody to be told to; its calls then get no answer.
            with suppress(BaseException):
                asyncio.run(self._serve())
        finally:
            with suppress(RuntimeError):
                self._host.call_soon_threadsafe(self._over)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._unhandled)
        self._stopping = asyncio.Event()
        self._host.call_soon_threadsafe(self._ready.set)
        await self._stopping.wait()
        for lane in self._lanes:
            lane.end()
        if self._lanes:
            await asyncio.wait(self._lanes.values())

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # asyncio would print the exception's text on the standard error, and its own message repeats the arguments of
        # a callback: both may hold what mustn't be shown.
        what = type(context["exception"]).__name__ if "exception" in context else "a task"
        _log.warning("The %s left behind in its event loop: %s", self._thread.name, what)

    def _over(self) -> None:
        self._ended.set()
        self._ready.set()  # also where the loop could not even be made, for want of file descriptors
        for request in list(self._pending):
            if not request.answered.is_set():
                request.answer(None, LoopEnded())


class Lane:
    """One task in a plugin's loop: what is entered there by one call can be left by another."""

    def __init__(self, loop: PluginLoop) -> None:
        self.lost = False
        """Whether a call was given up that hasn't returned: there is nobody left to ask."""
        self._loop = loop
        self._requests: asyncio.Queue[_Request[Any] | None] = asyncio.Queue()
        self._task: asyncio.Task[Any] | None = None
        self._current: _Request[Any] | None = None
        loop.post(loop.open_lane, self)

    async def run(self, call: Callable[[], Awaitable[T]], patience: float) -> T:
        """Run a call in the lane and return its answer; raises what it raises.

        Raises Unanswered if none comes within ``patience`` seconds, and LoopEnded. Whether by time-out or because the
        caller is cancelled, a call that is given up is cancelled and has GRACE seconds to clean up.
        """
        if self.lost or self._loop.blocked:
            raise Unanswered(blocking=self._loop.blocked)
        request = _Request(call)
        self._loop.expect(request)
        self._loop.post(self._requests.put_nowait, request)
        try:
            with anyio.move_on_after(patience):
                await request.answered.wait()
            if request.answered.is_set():
                return request.result()
            await self._give_up(request, TURN)
        except BaseException:
            if not request.answered.is_set():
                await self._give_up(request, GRACE)
            raise
        finally:
            self._loop.settle(request)
        raise Unanswered(blocking=not request.cancel_arrived)

    def close(self) -> None:
        """End the lane's task once it is idle."""
        self._loop.post(self.end)

    def end(self) -> None:
        """End the lane's task once it is idle; called in the loop."""
        self._requests.put_nowait(None)

    async def _give_up(self, request: _Request[Any], turn: float) -> None:
        self._loop.post(self._cancel, request)
        with anyio.move_on_after(turn, shield=True):
            await request.turned.wait()
        if request.cancel_arrived:
            with anyio.move_on_after(GRACE, shield=True):
                await request.answered.wait()
        if not request.answered.is_set():
            self.lost = self._loop.lost = True
            self._loop.blocked = self._loop.blocked or not request.cancel_arrived

    def _cancel(self, request: _Request[Any]) -> None:
        request.take_cancellation()
        if self._current is request and self._task is not None:
            self._task.cancel()

    async def serve(self) -> None:
        """Answer requests until the lane is closed; runs in the plugin's loop."""
        self._task = asyncio.current_task()
        while (request := await self._requests.get()) is not None:
            if request.cancel_arrived:
                request.answer(None, asyncio.CancelledError())
            else:
                await self._answer(request)

    async def _answer(self, request: _Request[Any]) -> None:
        self._current = request
        value, error = None, None
        try:
            value = await request.call()
        except BaseException as exc:  # noqa: BLE001 - whatever it is, it is the answer
            error = exc
            if isinstance(exc, asyncio.CancelledError) and not request.cancel_arrived:
                error = LoopEnded()  # nobody else cancels a lane than the end of its loop
        self._current = None
        while self._task is not None and self._task.uncancel():
            pass  # the cancellation was the call's; the lane goes on, so that what was entered can be left
        request.answer(value, error)
