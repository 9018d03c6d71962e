"""Marks of the sidecars of files that a media server lists. They show that an NFO file was edited since it was read.

They are computed only if an enricher that reads sidecars is attached.
"""

from collections.abc import Sequence
from math import ceil

import anyio
import anyio.to_thread

from retrovue.core import logs
from retrovue.enrichers.pages import PageMarks
from retrovue.importers.filesystem.sidecars import FileMarks, Marks

DEADLINE_S = 60.0
"""The time limit for a piece. A network mount answers some thousand questions in a second, a dead one none."""
THREADS = 4
"""The number of pieces read at the same time, so that they don't wait one by one for a network mount."""
_PIECE = 250
"""The number of files that a thread reads in a row."""

_log = logs.logger(__name__)


class SidecarMarks:
    """Computes the marks of the sidecars of one collection's files."""

    def __init__(self, find: FileMarks | None = None, *, deadline_s: float = DEADLINE_S) -> None:
        """``find`` reads the files, in threads; ``deadline_s`` is the time limit for each piece of 250 files."""
        self._find = FileMarks() if find is None else find
        self._deadline_s = deadline_s
        # Separate threads: one that waits for a dead mount can't be stopped, and would block other work.
        self._threads = anyio.CapacityLimiter(THREADS)
        self._lost = False
        """Whether a file system didn't answer. No more files are read then."""
        self._last: tuple[Sequence[str], PageMarks] = ((), PageMarks(()))
        """The last result: a page that isn't known is looked up by its outline first, and then in full."""

    async def of(self, files: Sequence[str]) -> PageMarks:
        """Return the marks of the sidecars of a page's files, given by their local paths."""
        if self._last[0] != files:
            self._last = files, PageMarks(await self._look(files))
        return self._last[1]

    async def _look(self, files: Sequence[str]) -> list[Marks | None]:
        found: list[Marks | None] = [None] * len(files)

        async def look(start: int) -> None:
            piece = files[start : start + _PIECE]
            run = anyio.to_thread.run_sync
            found[start : start + len(piece)] = await run(
                self._find.of, piece, abandon_on_cancel=True, limiter=self._threads
            )

        if self._lost:
            return found
        with anyio.move_on_after(self._deadline_s * max(1, ceil(len(files) / _PIECE / THREADS))) as scope:
            async with anyio.create_task_group() as group:
                for start in range(0, len(files), _PIECE):
                    group.start_soon(look, start)
        if scope.cancelled_caught:
            self._lost = True
            _log.warning(
                "Sidecars aren't read any more: the file system of %s didn't answer within %g seconds",
                files[0],
                self._deadline_s,
            )
        return found
