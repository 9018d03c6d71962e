"""An enricher that has been made and entered: what it raises, keeps to itself or answers wrongly becomes a Fault.

One that comes with RetroVue runs in the run's event loop. Any other is made, entered, asked and left in a thread with
an event loop of its own, where it may block, or swallow its cancellation, and holds up nobody.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from functools import partial
from traceback import extract_tb
from typing import Any, TypeVar

import anyio

from retrovue.core.cancelling import is_cancelled
from retrovue.core.errors import (
    EnrichmentError,
    RetrovueError,
    SourceRefused,
    SourceUnreachable,
    WrongIdentity,
    normalized,
)
from retrovue.enrichers import fields
from retrovue.enrichers.base import AssetView, EnricherInterface, Failure
from retrovue.enrichers.fields import Given
from retrovue.plugins.isolation import GRACE, Lane, LoopEnded, PluginLoop, Unanswered

OPENING_S = 60.0
"""Seconds that an enricher may take to be made and entered."""
CLOSING_S = 10.0
"""Seconds that it may take to be left: its answers are in by then."""
_OUTAGES = (SourceUnreachable, SourceRefused, WrongIdentity)

T = TypeVar("T")


class Fault(Exception):
    """The enricher gave no answer that can be used."""

    def __init__(
        self,
        failure: Failure,
        *,
        silent: bool = False,
        for_all: bool = False,
        outage: bool = False,
        unreachable: bool = False,
        loop_lost: bool = False,
    ) -> None:
        super().__init__(failure.message)
        self.failure = failure
        """What is told of it."""
        self.silent = silent
        """Whether the deadline passed."""
        self.for_all = for_all
        """Whether it would be the same for every asset of the batch."""
        self.outage = outage
        """Whether it is its source that can't be asked: no asset is to blame, and any would be told the same."""
        self.unreachable = unreachable
        """Whether its source could not be reached at all."""
        self.loop_lost = loop_lost
        """Whether its event loop is blocked or has ended: whoever else was asked there got no answer either."""


class Instance:
    """An enricher of one collection of one run."""

    def __init__(self, name: str, make: Callable[[], EnricherInterface], *, isolated: bool) -> None:
        """``name`` is the configured enricher's; ``make`` makes one, where it is going to run."""
        self.isolated = isolated
        self._name = name
        self._make = make
        self._enricher: EnricherInterface | None = None
        self._loop: PluginLoop | None = None
        self._lifetime: Lane | None = None
        """The task that opens and closes an isolated enricher."""
        self._ending = False
        """Whether its loop is known to end, or to have ended."""

    @property
    def gone(self) -> bool:
        """Whether nothing more can be asked of it, because its event loop is blocked or has ended."""
        return self._loop is not None and (self._ending or self._loop.blocked or self._loop.ended)

    @property
    def left_behind(self) -> bool:
        """Whether it has been closed and its thread goes on nevertheless."""
        return self._loop is not None and not self._loop.ended

    async def open(self) -> None:
        """Make and enter the enricher; raises Fault."""
        if self.isolated:
            try:
                self._loop = await PluginLoop(f"enricher {self._name}").start()
            except LoopEnded as exc:
                raise self._blame("opening", exc, loop_lost=True) from exc
            self._lifetime = self._loop.lane()

        async def enter() -> None:
            enricher = self._make()
            await enricher.__aenter__()
            # Here, in its thread: we may be cancelled before we are told that it has been entered.
            self._enricher = enricher

        try:
            await self._call("opening", enter, OPENING_S, self._lifetime)
        except BaseException as exc:
            await self.close(exc)
            raise

    async def close(self, exc: BaseException | None = None) -> None:
        """Leave the enricher; that this fails changes nothing about its answers."""
        enricher, self._enricher = self._enricher, None
        try:
            if enricher is not None:
                kind, traceback = (None, None) if exc is None else (type(exc), exc.__traceback__)
                with suppress(Fault):
                    await self._close(lambda: enricher.__aexit__(kind, exc, traceback))
        finally:
            if self._loop is not None:
                await self._loop.stop()

    async def enrich(self, assets: Sequence[AssetView], deadline_s: float) -> list[Given | Failure]:
        """Give a batch to the enricher; its answers, one for each asset, have been checked. Raises Fault."""
        enricher = self._enricher
        if enricher is None:
            raise Fault(Failure("not_entered", "The enricher was not opened."), for_all=True)

        async def ask() -> list[Given | Failure]:
            # What it does to its copies doesn't reach the catalogue unchecked. They are made in its own thread.
            given = deepcopy(list(assets)) if self.isolated else assets
            found: Any = await enricher.enrich(given)
            # Within the deadline too: what looks like a list may be anything.
            if not isinstance(found, Sequence) or isinstance(found, str | bytes) or len(found) != len(assets):
                held = f"{len(found)} answers" if isinstance(found, Sequence) else f"a {type(found).__name__}"
                raise Fault(Failure("bad_result", f"The enricher {self._name} gave {held} for {len(assets)} asset(s)."))
            return [fields.check(found[place]) for place in range(len(assets))]

        return await self._call("enrich", ask, deadline_s)

    async def _close(self, leave: Callable[[], Awaitable[None]]) -> None:
        if self._loop is not None and is_cancelled():
            with anyio.CancelScope(shield=True):
                await self._call("closing", leave, GRACE, self._lifetime)
        else:
            await self._call("closing", leave, CLOSING_S, self._lifetime)

    async def _call(self, what: str, ask: Callable[[], Awaitable[T]], seconds: float, lane: Lane | None = None) -> T:
        if self._loop is None:
            with anyio.move_on_after(seconds):
                return await self._pass(what, ask)
            raise self._silence(seconds, blocking=False)
        used = lane or self._loop.lane()
        try:
            return await used.run(partial(self._pass, what, ask), seconds)
        except Unanswered as exc:
            raise self._silence(seconds, blocking=exc.blocking) from None
        except LoopEnded as exc:
            self._ending = True
            raise self._blame(what, exc, loop_lost=True) from exc
        finally:
            if used is not lane:
                used.close()

    async def _pass(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        try:
            return await ask()
        except Fault:
            raise
        except RetrovueError as exc:
            if not normalized(exc):
                raise self._blame(what, exc) from None
            raise Fault(
                fields.failure(exc.code, exc.message),
                for_all=not isinstance(exc, EnrichmentError),
                outage=isinstance(exc, _OUTAGES),
                unreachable=exc.unreachable,
            ) from exc
        except asyncio.CancelledError as exc:
            if is_cancelled():
                raise
            raise self._blame(what, exc) from exc
        except (Exception, SystemExit, BaseExceptionGroup) as exc:
            raise self._blame(what, exc) from exc
        except BaseException as exc:
            # Nobody interrupts a thread of its own: there it is the enricher's, whatever it is.
            if not self.isolated:
                raise
            raise self._blame(what, exc) from exc

    def _silence(self, seconds: float, *, blocking: bool) -> Fault:
        message = f"The enricher {self._name} gave no answer within {seconds:g} s"
        if blocking:
            failure = Failure("enricher_blocks", f"{message} and blocks its event loop.")
        else:
            failure = Failure("enricher_timeout", f"{message}.")
        return Fault(failure, silent=True, loop_lost=blocking)

    def _blame(self, what: str, exc: BaseException, *, loop_lost: bool = False) -> Fault:
        # Not its message: that may repeat what mustn't be shown. The place helps its authors.
        frames = extract_tb(exc.__traceback__)
        where = "" if loop_lost or not frames else f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}"
        message = f"The enricher {self._name} failed in {what}: {type(exc).__name__}{where}."
        return Fault(Failure("enricher_failed", message), loop_lost=loop_lost)
