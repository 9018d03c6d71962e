"""The guard around an enricher: whatever its code does costs the asset it does it to, never the run.

It raises, hangs, ends the program, or answers nonsense: the batch is given again asset by asset, each with a
deadline of its own, until it is known which assets are to blame.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from traceback import extract_tb
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio

from retrovue.enrichers import fields
from retrovue.enrichers.base import AssetView, EnricherInterface, Failure
from retrovue.enrichers.fields import Given
from retrovue.enrichers.registry import enricher_class, make_enricher, overwrites
from retrovue.errors import EnricherNotCompliant, EnrichmentError, RetrovueError
from retrovue.model import Attached, Source

GIVE_UP_AFTER = 3
"""Assets in a row that may run into their deadline; the rest of the batch is then not tried, and stays owed."""
OPENING_SECONDS = 60.0

T = TypeVar("T")
Answer = Given | Failure | None
"""None for an asset that was not tried."""


class _Fault(Exception):
    """The enricher failed as a whole, with what is told of it."""

    def __init__(self, failure: Failure, *, timed_out: bool = False, for_all: bool = False) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.timed_out = timed_out
        self.for_all = for_all
        """Whether it would be the same for every asset: a server that is down needn't be asked for each."""


def on_pages(attached: Attached) -> bool:
    """Whether an attached enricher refines pages; one that can't be loaded doesn't."""
    try:
        return enricher_class(attached.enricher.type).runs_on_pages
    except RetrovueError:
        return False


class GuardedEnricher(AbstractAsyncContextManager["GuardedEnricher"]):
    """An attached enricher for one collection of one run, trusted with nothing.

    One that can't be loaded, made or opened fails every asset that it is given, saying why.
    """

    def __init__(self, attached: Attached, source: Source) -> None:
        self.attached = attached
        self.id = attached.enricher.id
        self.name = attached.enricher.external_id
        self.overwrite = False
        self.batch_size = 100
        self._source = source
        self._deadline = OPENING_SECONDS
        self._enricher: EnricherInterface | None = None
        self._broken: Failure | None = None

    async def __aenter__(self) -> Self:
        config = self.attached.enricher.config
        try:
            self.overwrite = overwrites(config)
            enricher = make_enricher(self.attached.enricher.type, config, self._source)
            self.batch_size, self._deadline = enricher.batch_size, float(enricher.deadline_s)
            await self._call("opening", enricher.__aenter__, OPENING_SECONDS)
        except RetrovueError as exc:
            self._broken = Failure(exc.code, exc.message)
        except _Fault as exc:
            self._broken = exc.failure
        else:
            self._enricher = enricher
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._enricher is None:
            return
        enricher, self._enricher = self._enricher, None
        try:
            await self._call("closing", lambda: enricher.__aexit__(exc_type, exc, traceback), OPENING_SECONDS)
        except (_Fault, RetrovueError):
            # All that was asked has been answered: that closing fails changes nothing about the answers.
            return

    async def enrich(self, assets: Sequence[AssetView]) -> list[Answer]:
        """Give a batch to the enricher; there is one answer for each asset, in their order."""
        if self._enricher is None:
            failure = self._broken or Failure("not_entered", "The enricher was not opened.")
            return [failure] * len(assets)
        try:
            return await self._ask(assets)
        except _Fault as fault:
            if len(assets) == 1 or fault.for_all:
                return [fault.failure] * len(assets)
        answers: list[Answer] = []
        in_a_row = 0
        for asset in assets:
            if in_a_row >= GIVE_UP_AFTER:
                answers.append(None)
                continue
            try:
                answers += await self._ask([asset])
                in_a_row = 0
            except _Fault as fault:
                answers.append(fault.failure)
                in_a_row = in_a_row + 1 if fault.timed_out else 0
        return answers

    async def _ask(self, assets: Sequence[AssetView]) -> list[Answer]:
        enricher = self._enricher
        if enricher is None:
            raise AssertionError("the enricher was not opened")
        try:
            found: Any = await self._call("enrich", lambda: enricher.enrich(assets), self._deadline)
        except RetrovueError as exc:
            raise _Fault(Failure(exc.code, exc.message), for_all=not isinstance(exc, EnrichmentError)) from exc
        if not isinstance(found, Sequence) or isinstance(found, str | bytes) or len(found) != len(assets):
            held = f"{len(found)} answers" if isinstance(found, Sequence) else f"a {type(found).__name__}"
            raise _Fault(Failure("bad_result", f"The enricher {self.name} gave {held} for {len(assets)} asset(s)."))
        return [fields.check(answer) for answer in found]

    async def _call(self, what: str, ask: Callable[[], Awaitable[T]], seconds: float) -> T:
        with anyio.move_on_after(seconds):
            try:
                return await ask()
            except RetrovueError:
                raise
            except (Exception, SystemExit, BaseExceptionGroup) as exc:
                raise self._blame(what, exc) from exc
            except anyio.get_cancelled_exc_class() as exc:
                if _cancelled():
                    raise
                raise self._blame(what, exc) from exc
        message = f"The enricher {self.name} gave no answer within {seconds:g} s."
        raise _Fault(Failure("enricher_timeout", message), timed_out=True)

    def _blame(self, what: str, exc: BaseException) -> _Fault:
        # Not its message: that may repeat what mustn't be shown. The place helps its authors.
        frames = extract_tb(exc.__traceback__)
        where = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
        failure = Failure("enricher_failed", f"The enricher {self.name} failed in {what}: {type(exc).__name__}{where}.")
        return _Fault(failure)


def _cancelled() -> bool:
    """Whether somebody asked for this task to be cancelled, or the enricher made the cancellation up."""
    task = asyncio.current_task()
    return anyio.current_effective_deadline() == -math.inf or task is None or task.cancelling() > 0


def require_fitting(attached_type: str, source: Source) -> None:
    """Raise EnricherNotCompliant if an enricher of that type doesn't work with the type of the source."""
    types = getattr(enricher_class(attached_type), "source_types", None)
    if types is not None and source.type not in types:
        raise EnricherNotCompliant(
            f"An enricher of type {attached_type!r} doesn't work with a source of type {source.type!r}.",
            code="enricher_does_not_fit",
            hint=f"It works with: {', '.join(sorted(types))}.",
        )
