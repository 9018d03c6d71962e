"""Tasks of the server that were started by a request and outlast it."""

from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct, field

from retrovue.core.errors import Problem, RetrovueError
from retrovue.core.logs import logger
from retrovue.core.text import redacted_traceback

_PATIENCE_S = 2.0
"""How long a request waits for a task to begin, in seconds, so that the response can lead to it or show its error."""
_log = logger(__name__)


class StartedTask(Struct, kw_only=True):
    """A task that was started on the page, from the time of the request."""

    problem: Problem | None = None
    """Why it didn't begin, or failed as a whole."""
    began: anyio.Event = field(default_factory=anyio.Event)
    """Set when it has begun, or has failed before that."""
    over: bool = False
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def start(self, group: TaskGroup, work: Callable[[], Awaitable[None]], noun: str) -> None:
        """Do the work in a task group; returns when it has begun or failed, or after two seconds.

        ``work`` sets ``began``. ``noun`` names the task in the log and in messages, such as ``run``.
        """
        group.start_soon(self._do, work, noun)
        with anyio.move_on_after(_PATIENCE_S):
            await self.began.wait()

    async def _do(self, work: Callable[[], Awaitable[None]], noun: str) -> None:
        try:
            with self.scope:
                await work()
        except RetrovueError as exc:
            self.problem = Problem(exc.code, exc.message, exc.hint, exc.context)
        except Exception as exc:  # noqa: BLE001 - an error of one task must not end the server
            _log.error("The %s that the page started failed:\n%s", noun, redacted_traceback(exc))
            self.problem = Problem("internal", f"The {noun} failed: {type(exc).__name__}. The log has more.")
        finally:
            self.over = True
            self.began.set()
