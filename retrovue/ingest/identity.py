"""The check of the source's identity after a collection was read."""

from collections.abc import Awaitable, Callable

import anyio

from retrovue.importers.guard import GuardedImporter


class IdentityCheck:
    """Checks after the last request for a collection that the source is still the same; without that nothing is merged.

    The check is a request to the source. `during()` makes it while the last page is staged, if it is known that nothing
    else will be requested. `passed()` makes it otherwise.
    """

    def __init__(self, importer: GuardedImporter) -> None:
        self._importer = importer
        self._checked = False
        self._error: Exception | None = None

    async def during(self, work: Callable[[], Awaitable[None]], *, last: bool) -> None:
        """Do the work on a page, and check meanwhile if it is the last one; raises what the work raises.

        An earlier check proves nothing of a page that was requested after it.
        """
        self._checked, self._error = False, None
        if not last:
            await work()
            return
        failure: Exception | None = None

        async def do_work() -> None:
            nonlocal failure
            try:
                await work()
            except Exception as exc:  # noqa: BLE001 - raised again outside of the group
                failure = exc
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(do_work)
            # It comes first, so that the request is sent before the rows are encoded.
            await self._check()
        if failure is not None:
            raise failure

    async def passed(self) -> None:
        """Return once the check has passed; raises what it has raised."""
        if not self._checked:
            await self._importer.check_reachable()
        elif self._error is not None:
            raise self._error

    async def _check(self) -> None:
        try:
            await self._importer.check_reachable()
        except Exception as exc:  # noqa: BLE001 - raised by `passed()`
            self._error = exc
        self._checked = True
