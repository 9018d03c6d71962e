"""The guard of an attached enricher: its code can fail the enrichment of an asset, never the run.

An enricher may raise an exception, hang, block, end the program, or give an invalid answer. The assets of a batch that
fails are given again one by one, each with its own deadline, until the assets that can't be enriched are known.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from copy import deepcopy
from traceback import extract_tb
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import anyio

from retrovue.core.errors import (
    EnricherNotCompliant,
    EnrichmentError,
    RetrovueError,
    SourceRefused,
    SourceUnreachable,
    WrongIdentity,
)
from retrovue.core.model import AttachedEnricher, Source
from retrovue.core.text import quoted
from retrovue.enrichers.base import AssetView, EnricherInterface, Failure
from retrovue.enrichers.fields import CheckedEnrichment, check, failure
from retrovue.enrichers.registry import enricher_class, make_enricher, overwrites
from retrovue.plugins.host import CLOSING_S, PluginHost
from retrovue.plugins.isolation import LoopEnded, is_isolated

if TYPE_CHECKING:
    from retrovue.importers.http.client import Transport

OPENING_S = 60.0
"""Seconds that an enricher may take to be created and entered."""
GIVE_UP_AFTER = 3
"""How many assets in a row of a batch may miss their deadline; the rest of the batch isn't tried, and stays owed."""
PROBE_AFTER = 3
"""The number of outages in a row after which the enricher is opened again, to find out whether the source or the assets
are the cause.
"""
MOST_OUTAGES = 30
"""The most outages in a row while the enricher can be opened; after that the other assets aren't tried."""
MOST_SILENCE_S = 1800.0
"""Seconds that may be lost by deadlines and outages, over all batches of a collection; after that the rest isn't tried.
"""
MOST_LEFT_BEHIND = 8
"""The most threads of an enricher that may be left behind in one collection because they don't end; each keeps its
stack.
"""

OURS = "retrovue.enrichers."
"""The modules of the enrichers that come with RetroVue."""

_OUTAGES = (SourceUnreachable, SourceRefused, WrongIdentity)

Answer = CheckedEnrichment | Failure | None
"""One answer for each asset; None for an asset that wasn't tried."""


class EnricherFault(Exception):
    """The enricher gave no valid answer for a batch."""

    def __init__(
        self,
        failure: Failure,
        *,
        is_silent: bool = False,
        is_for_all: bool = False,
        is_outage: bool = False,
        is_unreachable: bool = False,
        lost_loop: bool = False,
    ) -> None:
        super().__init__(failure)
        self.failure = failure
        """The failure to store for each asset."""
        self.is_silent = is_silent
        """Whether the deadline passed."""
        self.is_for_all = is_for_all
        """Whether every asset of the batch would have the same failure."""
        self.is_outage = is_outage
        """Whether the source can't be asked, so that the assets aren't the cause."""
        self.is_unreachable = is_unreachable
        """Whether the source couldn't be reached at all."""
        self.lost_loop = lost_loop
        """Whether the event loop is blocked or has ended, which fails all other calls in it."""


class EnricherInstance(PluginHost):
    """An enricher for one collection of one run. Call ``open()``, then ``enrich()`` for each batch, then ``close()``.

    Exceptions, missed deadlines and invalid answers become EnricherFault.
    """

    allowed: ClassVar[tuple[type[Exception], ...]] = (EnricherFault,)

    def __init__(self, name: str, *, isolated: bool, secrets: Sequence[str] = ()) -> None:
        """``name`` is the configured enricher's; ``secrets`` are texts to remove from its answers."""
        super().__init__(f"enricher {name}", isolated=isolated, opening_s=OPENING_S, closing_s=CLOSING_S)
        self._label = f"The enricher {name}"
        self._secrets = secrets

    async def enrich(self, assets: Sequence[AssetView], deadline_s: float) -> list[CheckedEnrichment | Failure]:
        """Give a batch to the enricher; return one checked answer for each asset. Raises EnricherFault."""
        enricher: Any = self._opened
        if enricher is None:
            raise EnricherFault(Failure("not_entered", "The enricher was not opened."), is_for_all=True)

        async def ask() -> list[CheckedEnrichment | Failure]:
            # Changes that a foreign enricher makes to its copies don't reach the catalogue. The time of copying counts
            # as its own.
            batch = deepcopy(list(assets)) if self.isolated else assets
            answers: Any = await enricher.enrich(batch)
            # Checked within the deadline as well, because an object that looks like a list may be anything.
            is_list = isinstance(answers, Sequence)
            if not is_list or isinstance(answers, str | bytes) or len(answers) != len(assets):
                held = f"{len(answers)} answers" if is_list else f"a {type(answers).__name__}"
                raise EnricherFault(Failure("bad_result", f"{self._label} gave {held} for {len(assets)} asset(s)."))
            return [check(answers[place], self._secrets) for place in range(len(assets))]

        return await self.call("enrich", ask, deadline_s)

    def translate(self, what: str, raised: BaseException) -> EnricherFault:
        """Return the fault for an exception of the enricher."""
        if not isinstance(raised, RetrovueError):
            return self.bug(what, raised)
        return EnricherFault(
            failure(raised.code, raised.message),
            is_for_all=not isinstance(raised, EnrichmentError),
            is_outage=isinstance(raised, _OUTAGES),
            is_unreachable=raised.unreachable,
        )

    def bug(self, what: str, raised: BaseException) -> EnricherFault:
        """Return the fault for an exception that the enricher must not raise."""
        # Without its message, which may repeat secrets. The place helps its authors.
        lost_loop = isinstance(raised, LoopEnded)
        frames = extract_tb(raised.__traceback__)
        where = "" if lost_loop or not frames else f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}"
        message = f"{self._label} failed in {what}: {type(raised).__name__}{where}."
        return EnricherFault(Failure("enricher_failed", message), lost_loop=lost_loop)

    def no_answer(self, _what: str, deadline_s: float, /, *, blocking: bool) -> EnricherFault:
        """Return the fault for a missed deadline."""
        message = f"{self._label} gave no answer within {deadline_s:g} s"
        timeout = Failure("enricher_timeout", f"{message}.")
        block = Failure("enricher_blocks", f"{message} and blocks its event loop.")
        return EnricherFault(block if blocking else timeout, is_silent=True, lost_loop=blocking)


def class_of(attached: AttachedEnricher) -> type[EnricherInterface] | None:
    """Load the class of an attached enricher; None if that fails, which GuardedEnricher reports."""
    try:
        return enricher_class(attached.enricher.type)
    except RetrovueError:
        return None


class GuardedEnricher(AbstractAsyncContextManager["GuardedEnricher"]):
    """An attached enricher for one collection of one run. Enter it, then call ``enrich()`` for each batch.

    If it can't be loaded, created or opened, every asset fails with the reason. If its source can't be asked, only the
    assets that were tried fail; the others stay owed.
    """

    def __init__(self, attached: AttachedEnricher, source: Source, *, transport: "Transport | None" = None) -> None:
        """``transport`` carries the HTTP requests of an enricher that takes one and runs in the caller's event loop."""
        self.attached = attached
        self.id = attached.enricher.id
        self.name = attached.enricher.external_id
        self.overwrite = False
        self.reads_sidecars = False
        self.batch_size = 100
        self.outage: Failure | None = None
        """Why its source can't be asked any more; assets that weren't tried stay owed."""
        self.unreachable = False
        """Whether the outage means that the source couldn't be reached at all."""
        self._source = source
        self._transport = transport
        self._deadline_s = 0.0
        self._class: type[EnricherInterface] | None = None
        self._isolated = True
        self._shared: EnricherInstance | None = None
        """The instance that gets whole batches, several at the same time."""
        self._replacing = anyio.Lock()
        self._broken: Failure | None = None
        self._outages = 0
        """The number of outages in a row."""
        self._silence_s = 0.0
        self._left_behind = 0

    async def __aenter__(self) -> Self:
        try:
            self.overwrite = overwrites(self.attached.enricher.config)
            # The values of the class have been checked; an instance may have others.
            cls = enricher_class(self.attached.enricher.type)
            self.batch_size, self._deadline_s = cls.batch_size, float(cls.deadline_s)
            self.reads_sidecars = getattr(cls, "reads_sidecars", False) is True
            self._class, self._isolated = cls, is_isolated(cls, OURS)
            self._shared = await self._open()
        except RetrovueError as exc:
            self._broken = Failure(exc.code, exc.message)
        except EnricherFault as fault:
            if self.outage is None:
                self._broken = fault.failure
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shared is not None:
            await self._close(self._shared, exc)

    async def enrich(self, assets: Sequence[AssetView]) -> list[Answer]:
        """Give a batch to the enricher; returns one answer for each asset, in their order."""
        if self._broken is not None:
            return [self._broken] * len(assets)
        if self.outage is not None or self.given_up:
            return [None] * len(assets)
        try:
            return [*await self._ask(await self._current(), assets)]
        except EnricherFault as fault:
            if fault.is_outage and len(assets) == 1:
                return [await self._after_outage(fault)]
            # The single asset is the cause, unless another batch may have blocked or ended the loop.
            if (fault.is_for_all and not fault.is_outage) or (len(assets) == 1 and not fault.lost_loop):
                return [fault.failure] * len(assets)
        return await self._one_by_one(assets)

    async def _one_by_one(self, assets: Sequence[AssetView]) -> list[Answer]:
        """Find the assets that fail.

        A foreign enricher gets another instance for that, where no other batch can disturb it.
        """
        answers: list[Answer] = []
        lost = silent_in_a_row = 0
        alone: EnricherInstance | None = None
        try:
            for asset in assets:
                if self.outage is not None or silent_in_a_row >= GIVE_UP_AFTER or (lost and self.given_up):
                    answers.append(None)
                    continue
                try:
                    if alone is not None and alone.is_gone:
                        gone, alone = alone, None
                        await self._close(gone)
                    if alone is None:
                        alone = await self._open() if self._isolated else await self._current()
                    answers += await self._ask(alone, [asset])
                    silent_in_a_row = 0
                except EnricherFault as fault:
                    answers.append(await self._after_outage(fault) if fault.is_outage else fault.failure)
                    lost += fault.is_silent or fault.is_outage
                    silent_in_a_row = silent_in_a_row + 1 if fault.is_silent else 0
        finally:
            if alone is not None and alone is not self._shared:
                await self._close(alone)
        return answers

    async def _after_outage(self, fault: EnricherFault) -> Answer:
        """Return the asset's failure, or None if it wasn't tried. From time to time check whether the source is gone.

        A server may fail for some assets only, and these are adjacent, like the episodes of a season.
        """
        if fault.failure is self.outage:
            return None
        self._outages += 1
        if self._outages >= MOST_OUTAGES:
            self._end(fault)
        elif self._outages % PROBE_AFTER == 0:
            try:
                await self._close(await self._open())
            except EnricherFault as refusal:
                if self.outage is None:
                    self._broken = refusal.failure
        return fault.failure

    def _end(self, fault: EnricherFault) -> None:
        self.outage, self.unreachable = fault.failure, fault.is_unreachable

    async def _ask(self, instance: EnricherInstance, assets: Sequence[AssetView]) -> list[CheckedEnrichment | Failure]:
        with self._adding_up_silence():
            answers = await instance.enrich(assets, self._deadline_s)
        self._outages = 0
        return answers

    @property
    def not_tried(self) -> Failure:
        """The failure of an asset that wasn't tried."""
        return self.outage or Failure("not_tried", f"The enricher {self.given_up or 'ran into its deadline before'}.")

    @property
    def given_up(self) -> str | None:
        """Why the enricher gets no more batches; None while it gets them."""
        if self._silence_s >= MOST_SILENCE_S:
            return f"gave no answer for {MOST_SILENCE_S:g} s in all"
        if self._left_behind >= MOST_LEFT_BEHIND:
            return f"left {self._left_behind} threads behind that don't end"
        return None

    async def _current(self) -> EnricherInstance:
        """Return the shared instance, or a new one if no more calls can be made in it."""
        async with self._replacing:
            if self._shared is None or self._shared.is_gone:
                lost, self._shared = self._shared, None
                if lost is not None:
                    await self._close(lost)
                self._shared = await self._open()
            return self._shared

    async def _open(self) -> EnricherInstance:
        secrets = [form for secret in self._source.credentials.values() for form in secret.resolved().forms()]
        instance = EnricherInstance(self.name, isolated=self._isolated, secrets=secrets)
        try:
            with self._adding_up_silence():
                await instance.open(self._make)
        except EnricherFault as fault:
            self._left_behind += instance.left_thread_behind
            if fault.is_outage:
                self._end(fault)
            raise
        return instance

    def _make(self) -> EnricherInterface:
        enricher = self.attached.enricher
        transport = None if self._isolated else self._transport
        return make_enricher(enricher.type, enricher.config, self._source, cls=self._class, transport=transport)

    async def _close(self, instance: EnricherInstance, exc: BaseException | None = None) -> None:
        await instance.close(exc)
        self._left_behind += instance.left_thread_behind

    @contextmanager
    def _adding_up_silence(self) -> Iterator[None]:
        began = anyio.current_time()
        try:
            yield
        except EnricherFault as fault:
            if fault.is_silent or fault.is_outage:
                self._silence_s += anyio.current_time() - began
            raise


def require_fitting(attached_type: str, source: Source) -> None:
    """Raise EnricherNotCompliant if enrichers of a type don't work with sources of a type."""
    types = getattr(enricher_class(attached_type), "source_types", None)
    if types is not None and source.type not in types:
        raise EnricherNotCompliant(
            f"An enricher of type {quoted(attached_type)} doesn't work with a source of type {quoted(source.type)}.",
            code="enricher_does_not_fit",
            hint=f"It works with: {', '.join(sorted(types))}.",
        )
