"""How much of a collection a sync reads, and why: nothing, what has changed, all of it, or all of it in full.

Each step proves what the next one would find. An equal stamp proves that nothing has changed. The number of all items
proves that the changes are all. Nothing but a reading of all of it proves that something is gone.
"""

import datetime as dt
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import NamedTuple

from retrovue.core.answers import ChangeState, Since, SourceState
from retrovue.core.model import Collection, Source
from retrovue.core.results import Counts, Failed, Ingested, Read, Reading
from retrovue.core.verdicts import NEWLY_LISTED, REPEATED
from retrovue.importers.guard import GuardedImporter
from retrovue.ingest.reading import Tally
from retrovue.store.additions import Additions
from retrovue.store.audit import Run
from retrovue.store.known import Comparison
from retrovue.store.readings import (
    LastReading,
    absences_are_due,
    basis_of,
    keep_filters,
    keep_reading,
    known_filters,
    last_reading,
    mark_incomplete,
)
from retrovue.store.session import Session, Store

MOST_ITEMS = 1_000
"""The most single items that are asked for by their keys: of more it is cheaper to ask what has changed."""
MARGIN_S = 300
"""Seconds before the last reading from which on changes are asked for: servers write their times late and in turn."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often a sync reads all of a collection."""

    full: bool = False
    """Whether it does so now, in full."""
    sweep: dt.timedelta | None = None
    """After how long it reads all of it; None: what is set for the source."""
    full_every: dt.timedelta | None = None
    """After how long it reads all of it in full; None: what is set for the source."""


NO_INTERVALS = Intervals()


class Extent(NamedTuple):
    """How much of a collection is read, and why."""

    read: Read
    code: str
    reason: str
    """Ends a sentence."""


SCOPED = Extent("scoped", "scope", "a part of the collection was asked for")
ITEMS = Extent("scoped", "items", "these items were asked for")
INGEST = Extent("full", "ingest", "an ingest reads all of the collection")


_TOLD = frozenset({"stamp_equal", "no_changes", "scanning", "no_stamp", "stamp_moved"})
"""The codes of what `choose` concludes from what the source says: single items may be read instead."""


def choose(
    state: SourceState | None,
    library: ChangeState | None,
    last: LastReading | None,
    now: dt.datetime,
    *,
    lists_changes: bool,
    overdue: bool,
    full: bool,
    sweep_every: dt.timedelta,
    full_every: dt.timedelta,
) -> Extent:
    """Choose how much of a collection to read.

    ``state`` is what the source says of itself, ``library`` of this collection; ``last`` is what the last complete
    reading proved, None if there is none that counts. ``overdue``: missing assets are gone if they aren't listed again.
    """
    if full:
        return Extent("full", "asked", "--full was given")
    if last is None:
        return Extent("full", "first", "it wasn't read completely with these settings before")
    due = _due(last, now, sweep_every, full_every)
    if due is None and overdue:
        due = Extent("sweep", "absences_due", "the grace of missing assets is over")
    return due or _told(state, library, last, lists_changes=lists_changes)


def _due(last: LastReading, now: dt.datetime, sweep_every: dt.timedelta, full_every: dt.timedelta) -> Extent | None:
    """Choose by the time since the last reading; None if it doesn't demand one."""
    if last.full_at is None or _is_over(now - last.full_at, full_every):
        return Extent("full", "full_due", "a full reading is due")
    if last.swept_at is None:
        return Extent("sweep", "incomplete", "the last reading left removals undone")
    if _is_over(now - last.swept_at, sweep_every):
        return Extent("sweep", "sweep_due", "a sweep is due")
    return None


def _is_over(age: dt.timedelta, every: dt.timedelta) -> bool:
    # A time that is still to come is that of another clock.
    return age < dt.timedelta() or age >= every


def _told(state: SourceState | None, library: ChangeState | None, last: LastReading, *, lists_changes: bool) -> Extent:
    """Choose by what the source says. Stamps are compared for being equal: they are no times."""
    clock_s = None if state is None else state.clock_s
    stamp = None if library is None else library.stamp
    scanning = library is not None and library.refreshing
    if _went_back(stamp, last.stamp) or _is_behind(clock_s, last.clock_s):
        return Extent("sweep", "went_back", "the source's stamp or clock is behind that of the last reading")
    if stamp is not None and stamp == last.stamp and not scanning:
        return Extent("unchanged", "stamp_equal", "the source's stamp of the library is that of the last reading")
    if not lists_changes or clock_s is None or last.clock_s is None:
        return Extent("sweep", "no_changes", "the source can't list what has changed")
    if scanning:
        return Extent("changes", "scanning", "the source is scanning the library")
    if stamp is None:
        return Extent("changes", "no_stamp", "the source has no stamp of the library")
    return Extent("changes", "stamp_moved", "the source's stamp of the library has changed")


def _is_behind(clock_s: int | None, before_s: int | None) -> bool:
    return clock_s is not None and before_s is not None and clock_s <= before_s - MARGIN_S


def _went_back(stamp: str | None, before: str | None) -> bool:
    """Return whether a stamp that counts up has become lower, as after the restore of a backup."""
    if stamp is None or before is None or not (stamp.isdecimal() and before.isdecimal()):
        return False
    return int(stamp) < int(before)


def _either(given: dt.timedelta | None, seconds: int) -> dt.timedelta:
    return dt.timedelta(seconds=seconds) if given is None else given


class Extents:
    """Chooses how much of one collection is read, and keeps what the reading proved.

    `begin()` → `prove()` if it is the changes → `keep()` in the transaction of the merge.
    """

    def __init__(
        self,
        store: Store,
        importer: GuardedImporter,
        source: Source,
        collection: Collection,
        run: Run,
        intervals: Intervals = NO_INTERVALS,
        items: AbstractSet[str] = frozenset(),
    ) -> None:
        """``items`` are the source's keys of items that may have changed; they are read alone if that is enough."""
        self.extent = INGEST
        self.items: list[str] = []
        """The keys of the single items that are read, while these are what is read."""
        self.since = Since(0)
        """Since when changes are asked for."""
        self._store = store
        self._importer = importer
        self._source = source
        self._collection = collection
        self._run = run
        self._full = intervals.full
        self._sweep_every = _either(intervals.sweep, source.sweep_every_s)
        self._full_every = _either(intervals.full_every, source.full_every_s)
        self._asked = items
        self._instead: Extent | None = None
        """How much is read if single items aren't enough."""
        self._differing = 0
        """Versions that differ from what the catalogue holds, of what was read in part."""
        self._state: SourceState | None = None
        self._library: ChangeState | None = None
        self._last: LastReading | None = None
        self._now = dt.datetime.now(dt.UTC)
        self._basis = basis_of(source, collection)
        self._filters: dict[str, bool] = {}
        """What was found out about filters in this run."""
        self._total: int | None = None
        """The items that the source says it has, of changes."""

    @property
    def library(self) -> ChangeState | None:
        """What the source said of the library before it was read; None if it doesn't say it with its state."""
        return self._library

    async def begin(self) -> Extent:
        """Ask the source for its state, and choose. Raises SourceError or StoreError."""
        if not self._run.scope.is_full:
            self.extent = SCOPED
            return self.extent
        self._state = await self._importer.source_state()
        if self._state is not None:
            self._library = self._state.libraries.get(self._collection.external_id)
        async with self._store.reading() as session:
            last, self._now = await last_reading(session, self._collection)
            filters = await known_filters(session, self._source.id, self._server)
            overdue = await absences_are_due(session, self._source, self._collection)
        if last is not None and last.basis == self._basis and not self._is_another_library():
            self._last = last
        if self._run.mode == "sync":
            self.extent = choose(
                self._state,
                self._library,
                self._last,
                self._now,
                lists_changes=self._importer.lists_changes(),
                overdue=overdue,
                full=self._full,
                sweep_every=self._sweep_every,
                full_every=self._full_every,
            )
        if self._last is not None and self._last.clock_s is not None:
            self.since = Since(max(0, self._last.clock_s - MARGIN_S), filters)
        if self.extent.code in _TOLD and 0 < len(self._asked) <= MOST_ITEMS and self._importer.lists_items():
            self._instead, self.extent, self.items = self.extent, ITEMS, sorted(self._asked)
        return self.extent

    def _is_another_library(self) -> bool:
        uuid = None if self._library is None else self._library.uuid
        return uuid is not None and self._collection.library_uuid not in (None, uuid)

    @property
    def _server(self) -> str:
        return "" if self._state is None or self._state.version is None else self._state.version

    def learn(self, filters: Mapping[str, bool]) -> None:
        """Take what was found out about filters."""
        self._filters |= filters

    @property
    def reads_some(self) -> bool:
        """Whether single items or changes are read, which has to be proved."""
        return bool(self.items) or self.extent.read == "changes"

    def read_more(self, code: str, reason: str) -> None:
        """Turn from single items to the changes, or from these to all of the collection."""
        instead, self._instead, self.items = self._instead, None, []
        self.extent = Extent("sweep", code, reason.rstrip("."))
        if instead is None:
            return
        if instead.read == "unchanged":
            # Something was said to have changed, so that an equal stamp proves nothing.
            if self._last is not None and self._last.clock_s is not None and self._importer.lists_changes():
                self.extent = Extent("changes", code, reason.rstrip("."))
        else:
            self.extent = instead

    @property
    def in_full(self) -> bool:
        """Whether no page counts as known."""
        return self.extent.read == "full" and self._run.mode == "sync"

    def prove(self, additions: Additions, tally: Tally) -> bool:
        """Return whether what was read is proven to be all that came or went; if not, the extent is a larger one."""
        changes = tally.changes
        if changes is None or self._last is None:
            self.read_more("changes_unknown", "the importer ended its changes without a proof")
            return False
        self.learn(changes.filters)
        expected = self._last.items + additions.new_items
        if additions.doubt is not None or tally.left_out:
            self.read_more("doubtful", additions.doubt or "files of discs were left out")
        elif changes.source_total is None and self.items:
            # Nothing is proven of the rest, as after a run of a part.
            self._total, self._differing = None, additions.differing
            return True
        elif changes.source_total is None:
            self.read_more("changes_unknown", "the importer ended its changes without the number of all items")
        elif changes.source_total != expected:
            self.read_more(
                "count_differs", f"the source has {changes.source_total:,} items, and {expected:,} are accounted for"
            )
        elif self.extent.code == "stamp_moved" and not (additions.differing or self._last.explained):
            self.read_more("unexplained", "the source's stamp has changed, and nothing that it lists differs")
        else:
            self._total, self._differing = changes.source_total, additions.differing
            return True
        return False

    async def keep(self, session: Session, outcome: Ingested | Failed, comparison: Comparison) -> None:
        """Store what the reading proved, in the transaction that makes it true.

        Nothing is stored of a part, of a failure, while the source scans, or where an ingest left something undone. If
        such a run adds anything, the number of items doesn't prove anything any more, and the next sync reads all.
        """
        await keep_filters(session, self._source.id, self._server, self._filters)
        if isinstance(outcome, Failed) or self.extent.read == "unchanged":
            return
        counts = outcome.counts
        if self.items and self._last is not None and self._total is not None:
            explained = self._last.explained or self._differing > 0
            await keep_reading(session, self._collection, replace(self._last, items=self._total, explained=explained))
            return
        scanning = self._library is not None and self._library.refreshing
        left = self._run.mode == "ingest" and (counts.changed or counts.absent)
        if self.extent.read == "scoped" or scanning or left:
            # A later sync would count what came in as listed before, and a removal could hide behind it.
            if outcome.held_back is not None or self._may_have_added(counts):
                await mark_incomplete(session, self._collection)
            return
        if outcome.held_back is not None or counts.resumed:
            # What an interrupted run had read may have changed before the stamp of this one.
            await mark_incomplete(session, self._collection)
            return
        began = self._now
        full_at: dt.datetime | None = began
        swept_at, items = began, counts.source_items
        if self._last is not None and self.extent.read == "changes":
            swept_at, full_at, items = self._last.swept_at or began, self._last.full_at, self._total or 0
        elif comparison.recognised:
            full_at = None if self._last is None else self._last.full_at
        reading = LastReading(
            self._basis,
            None if self._library is None else self._library.stamp,
            None if self._state is None else self._state.clock_s,
            items,
            swept_at,
            full_at,
        )
        await keep_reading(session, self._collection, reading)

    def _may_have_added(self, counts: Counts) -> bool:
        """Return whether items may be listed in the catalogue now that the last complete reading didn't count."""
        if any(getattr(counts, name) for name in NEWLY_LISTED):
            return True
        repeated: int = getattr(counts, REPEATED)
        if self._last is None or self.extent.read == "scoped":
            return repeated > 0
        items = counts.source_items if self._total is None else self._total
        return items != self._last.items or bool(counts.absent and repeated)

    def describe(self, outcome: Ingested, requests: int | None) -> Ingested:
        """Add to an outcome what was read, and why."""
        extent, last = self.extent, self._last
        sweep_in: float | None = None
        if self._run.mode == "sync" and extent != SCOPED and outcome.held_back is None:
            kept = extent.read in {"unchanged", "changes", "scoped"} and last is not None
            swept_at = (last.swept_at if last is not None and kept else None) or self._now
            sweep_in = (swept_at + self._sweep_every - self._now).total_seconds()
        reading = Reading(extent.code, extent.reason, outcome.counts.source_items, requests, sweep_in)
        return replace(outcome, read=extent.read, reading=reading)
