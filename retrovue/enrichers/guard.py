"""The guard around an attached enricher: whatever its code does costs the asset it does it to, never the run.

It raises, hangs, blocks, ends the program, or answers nonsense: the batch is given again asset by asset, each with a
deadline of its own, until it is known which assets are to blame.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio

from retrovue.core.errors import EnricherNotCompliant, RetrovueError
from retrovue.core.model import AttachedEnricher, Source
from retrovue.enrichers.base import AssetView, EnricherInterface, Failure
from retrovue.enrichers.fields import Given
from retrovue.enrichers.instance import Fault, Instance
from retrovue.enrichers.registry import enricher_class, make_enricher, overwrites
from retrovue.plugins.isolation import is_isolated

if TYPE_CHECKING:
    from retrovue.importers.http.client import Transport

GIVE_UP_AFTER = 3
"""Assets in a row, of a batch, that may run into their deadline; the rest of it is then not tried, and stays owed."""
PROBE_AFTER = 3
"""Assets in a row for which the source can't be asked until the enricher is opened anew, to learn whether it's them."""
MOST_OUTAGES = 30
"""Assets in a row for which the source may fail though the enricher can be opened; the rest is then not tried."""
MOST_SILENCE_S = 1800.0
"""Seconds that may be lost by deadlines and outages, over all batches of a collection; the rest is then not tried."""
MOST_LEFT_BEHIND = 8
"""Threads of an enricher, in one collection, that may be left behind because they don't end; each keeps its stack."""

OURS = "retrovue.enrichers."
"""The modules of the enrichers that come with RetroVue."""

Answer = Given | Failure | None
"""None for an asset that was not tried."""


def class_of(attached: AttachedEnricher) -> type[EnricherInterface] | None:
    """Load the class of an attached enricher; None if it can't be loaded, which is told when it is asked."""
    try:
        return enricher_class(attached.enricher.type)
    except RetrovueError:
        return None


class GuardedEnricher(AbstractAsyncContextManager["GuardedEnricher"]):
    """An attached enricher for one collection of one run, trusted with nothing.

    One that can't be loaded, made or opened fails every asset that it is given, saying why; but if it is its source
    that can't be asked, only those fail with which that was found out.
    """

    def __init__(self, attached: AttachedEnricher, source: Source, *, transport: "Transport | None" = None) -> None:
        """``transport`` carries its HTTP requests, if it takes one and runs in our event loop."""
        self.attached = attached
        self.id = attached.enricher.id
        self.name = attached.enricher.external_id
        self.overwrite = False
        self.batch_size = 100
        self.outage: Failure | None = None
        """Why its source couldn't be asked: what wasn't tried is owed as before."""
        self.unreachable = False
        """Whether that is because the source could not be reached at all."""
        self._source = source
        self._transport = transport
        self._deadline_s = 0.0
        self._class: type[EnricherInterface] | None = None
        self._isolated = True
        self._shared: Instance | None = None
        """The instance that is given the batches, several at the same time."""
        self._replacing = anyio.Lock()
        self._broken: Failure | None = None
        self._outages = 0
        """Assets in a row for which the source couldn't be asked."""
        self._silence_s = 0.0
        self._left_behind = 0

    async def __aenter__(self) -> Self:
        try:
            self.overwrite = overwrites(self.attached.enricher.config)
            # Of the class, which complies: an instance could say anything.
            known = enricher_class(self.attached.enricher.type)
            self.batch_size, self._deadline_s = known.batch_size, float(known.deadline_s)
            self._class, self._isolated = known, is_isolated(known, OURS)
            self._shared = await self._open()
        except RetrovueError as exc:
            self._broken = Failure(exc.code, exc.message)
        except Fault as fault:
            if self.outage is None:
                self._broken = fault.failure
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shared is not None:
            await self._close(self._shared, exc)

    async def enrich(self, assets: Sequence[AssetView]) -> list[Answer]:
        """Give a batch to the enricher; there is one answer for each asset, in their order."""
        if self._broken is not None:
            return [self._broken] * len(assets)
        if self.outage is not None or self.given_up:
            return [None] * len(assets)
        try:
            return [*await self._ask(await self._current(), assets)]
        except Fault as fault:
            if fault.outage and len(assets) == 1:
                return [await self._after_outage(fault)]
            # Of a single asset it is clear who is to blame, unless another batch may have held it up.
            if (fault.for_all and not fault.outage) or (len(assets) == 1 and not fault.loop_lost):
                return [fault.failure] * len(assets)
        return await self._one_by_one(assets)

    async def _one_by_one(self, assets: Sequence[AssetView]) -> list[Answer]:
        """Find out which assets are to blame; an isolated enricher is asked where no other batch can hold them up."""
        answers: list[Answer] = []
        lost = in_a_row = 0
        alone: Instance | None = None
        try:
            for asset in assets:
                if self.outage is not None or in_a_row >= GIVE_UP_AFTER or (lost and self.given_up):
                    answers.append(None)
                    continue
                try:
                    if alone is not None and alone.gone:
                        gone, alone = alone, None
                        await self._close(gone)
                    if alone is None:
                        alone = await self._open() if self._isolated else await self._current()
                    answers += await self._ask(alone, [asset])
                    in_a_row = 0
                except Fault as fault:
                    answers.append(await self._after_outage(fault) if fault.outage else fault.failure)
                    lost += fault.silent or fault.outage
                    in_a_row = in_a_row + 1 if fault.silent else 0
        finally:
            if alone is not None and alone is not self._shared:
                await self._close(alone)
        return answers

    async def _after_outage(self, fault: Fault) -> Answer:
        """Blame the asset, unless nobody could be asked, and find out now and then whether the source is gone.

        It may stumble over some assets only, and those lie side by side, as the episodes of a season do.
        """
        if fault.failure is self.outage:
            return None
        self._outages += 1
        if self._outages >= MOST_OUTAGES:
            self._end(fault)
        elif self._outages % PROBE_AFTER == 0:
            try:
                await self._close(await self._open())
            except Fault as refusal:
                if self.outage is None:
                    self._broken = refusal.failure
        return fault.failure

    def _end(self, fault: Fault) -> None:
        self.outage, self.unreachable = fault.failure, fault.unreachable

    async def _ask(self, instance: Instance, assets: Sequence[AssetView]) -> list[Given | Failure]:
        with self._adding_up_silence():
            answers = await instance.enrich(assets, self._deadline_s)
        self._outages = 0
        return answers

    @property
    def not_tried(self) -> Failure:
        """What is told of an asset that was not tried."""
        return self.outage or Failure("not_tried", f"The enricher {self.given_up or 'ran into its deadline before'}.")

    @property
    def given_up(self) -> str | None:
        """What it did that nothing more is asked of it; None as long as it is asked."""
        if self._silence_s >= MOST_SILENCE_S:
            return f"gave no answer for {MOST_SILENCE_S:g} s in all"
        if self._left_behind >= MOST_LEFT_BEHIND:
            return f"left {self._left_behind} threads behind that don't end"
        return None

    async def _current(self) -> Instance:
        """Return the shared instance, or another one in its place if nothing more can be asked of it."""
        async with self._replacing:
            if self._shared is None or self._shared.gone:
                lost, self._shared = self._shared, None
                if lost is not None:
                    await self._close(lost)
                self._shared = await self._open()
            return self._shared

    async def _open(self) -> Instance:
        instance = Instance(self.name, self._make, isolated=self._isolated)
        try:
            with self._adding_up_silence():
                await instance.open()
        except Fault as fault:
            self._left_behind += instance.left_behind
            if fault.outage:
                self._end(fault)
            raise
        return instance

    def _make(self) -> EnricherInterface:
        known = self.attached.enricher
        transport = None if self._isolated else self._transport
        return make_enricher(known.type, known.config, self._source, known=self._class, transport=transport)

    async def _close(self, instance: Instance, exc: BaseException | None = None) -> None:
        await instance.close(exc)
        self._left_behind += instance.left_behind

    @contextmanager
    def _adding_up_silence(self) -> Iterator[None]:
        began = anyio.current_time()
        try:
            yield
        except Fault as fault:
            if fault.silent or fault.outage:
                self._silence_s += anyio.current_time() - began
            raise


def require_fitting(attached_type: str, source: Source) -> None:
    """Raise EnricherNotCompliant if an enricher of that type doesn't work with the type of the source."""
    types = getattr(enricher_class(attached_type), "source_types", None)
    if types is not None and source.type not in types:
        raise EnricherNotCompliant(
            f"An enricher of type {attached_type!r} doesn't work with a source of type {source.type!r}.",
            code="enricher_does_not_fit",
            hint=f"It works with: {', '.join(sorted(types))}.",
        )
