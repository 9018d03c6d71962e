"""Choose how much of a collection a sync reads, and why: nothing, the changes, all of it, or all of it in full.

Each step proves that the next one isn't needed. An equal stamp proves that nothing has changed. The total number of
items proves that the listed changes are complete. Only a reading of the whole collection proves that an item is gone.
"""

import datetime as dt
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from retrovue.core.answers import ChangeState, Since, SourceState
from retrovue.core.model import Collection, Source
from retrovue.core.results import Counts, Failed, Ingested, Read, Reading
from retrovue.core.verdicts import NEWLY_LISTED, REPEATED
from retrovue.importers.guard import GuardedImporter
from retrovue.ingest.files import SAMPLE, any_exists
from retrovue.ingest.tally import Tally
from retrovue.store.additions import Additions
from retrovue.store.assets import sample_files
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
from retrovue.store.session import Store
from retrovue.store.statements import Session

MOST_ITEMS = 1_000
"""The most single items that are requested by their keys. For more items, a listing of the changes is cheaper."""
MARGIN_S = 300
"""Changes are requested from this many seconds before the last reading on: servers store times late and out of order.
"""


class Intervals(Struct, frozen=True):
    """How often a sync reads all of a collection."""

    full: bool = False
    """Whether it reads all of it in full now."""
    sweep: dt.timedelta | None = None
    """The interval after which it reads all of it; None uses the interval of the source."""
    full_every: dt.timedelta | None = None
    """The interval after which it reads all of it in full; None uses the interval of the source."""


NO_INTERVALS = Intervals()


class Extent(NamedTuple):
    """How much of a collection is read, and why."""

    read: Read
    code: str
    reason: str
    """The reason, as the end of a sentence."""


SCOPED = Extent("scoped", "scope", "a part of the collection was asked for")
ITEMS = Extent("scoped", "items", "these items were asked for")
LOST = Extent("sweep", "files_lost", "none of the known files that were looked for is on this machine")
INGEST = Extent("full", "ingest", "an ingest reads all of the collection")


_TOLD = frozenset({"stamp_equal", "no_changes", "scanning", "no_stamp", "stamp_moved"})
"""The codes that `choose` derives from the source's state. For them, single items may be read instead."""


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

    ``state`` is the state of the source and ``library`` that of this collection. ``last`` is what the last complete
    reading proved; None if there is none, or it isn't valid any more. With ``overdue`` there are missing assets that
    will be gone if they aren't listed again.
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
    """Choose by the time since the last reading; None if no interval has passed."""
    if last.full_at is None or _is_over(now - last.full_at, full_every):
        return Extent("full", "full_due", "a full reading is due")
    if last.swept_at is None:
        return Extent("sweep", "incomplete", "the last reading left removals undone")
    if _is_over(now - last.swept_at, sweep_every):
        return Extent("sweep", "sweep_due", "a sweep is due")
    return None


def _is_over(age: dt.timedelta, every: dt.timedelta) -> bool:
    # A time in the future was set by another clock.
    return age < dt.timedelta() or age >= every


def _told(state: SourceState | None, library: ChangeState | None, last: LastReading, *, lists_changes: bool) -> Extent:
    """Choose by the state of the source. Stamps are compared for equality only, because they aren't times."""
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
    """Return whether a stamp that counts up is lower than before, as after a restore from a backup."""
    if stamp is None or before is None or not (stamp.isdecimal() and before.isdecimal()):
        return False
    return int(stamp) < int(before)


def _either(given: dt.timedelta | None, seconds: int) -> dt.timedelta:
    return dt.timedelta(seconds=seconds) if given is None else given


class Extents:
    """Chooses how much of one collection is read, and stores what the reading proved.

    Call `begin()`, then `prove()` if changes or single items were read, then `keep()` in the transaction of the merge.
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
        """``items`` are the source's keys of items that may have changed.

        They are read alone if that is proven to be enough.
        """
        self.extent = INGEST
        self.items: list[str] = []
        """The keys of the single items that are read; empty if more than these is read."""
        self.since = Since(0)
        """The time from which changes are requested."""
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
        """How much is read if the single items aren't enough."""
        self._differing = 0
        """The number of versions that differ from the catalogue, if only a part was read."""
        self._state: SourceState | None = None
        self._library: ChangeState | None = None
        self._last: LastReading | None = None
        self._now = dt.datetime.now(dt.UTC)
        self._basis = basis_of(source, collection)
        self._filters: dict[str, bool] = {}
        """What was found out about the source's filters in this run."""
        self._total: int | None = None
        """The number of items of the whole collection according to the source, from a listing of changes."""

    @property
    def library(self) -> ChangeState | None:
        """The state of the library before it was read; None if the source doesn't tell it."""
        return self._library

    async def begin(self) -> Extent:
        """Ask the source for its state, and choose. Raises SourceError or StoreError."""
        if not self._run.scope.is_full:
            self.extent = SCOPED
            return self.extent
        self._state = await self._importer.source_state()
        if self._state is not None:
            self._library = self._state.libraries.get(self._collection.external_id)
        if self._run.mode == "ingest":
            # It reads all of the collection, whatever was proved.
            return self.extent
        async with self._store.reading() as session:
            self._now = await self._remember(session)
            filters = await known_filters(session, self._source.id, self._server)
            overdue = await absences_are_due(session, self._source, self._collection)
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
        if self.extent.read in {"unchanged", "changes"} and await self._files_are_lost():
            self.extent = LOST
        if self._last is not None and self._last.clock_s is not None:
            self.since = Since(max(0, self._last.clock_s - MARGIN_S), filters)
        if self.extent.code in _TOLD and 0 < len(self._asked) <= MOST_ITEMS and self._importer.lists_items():
            self._instead, self.extent, self.items = self.extent, ITEMS, sorted(self._asked)
        return self.extent

    async def _remember(self, session: Session) -> dt.datetime:
        """Read what the last complete reading proved, if that still counts; returns the database's time."""
        last, now = await last_reading(session, self._collection)
        if last is not None and last.basis == self._basis and not self._is_another_library():
            self._last = last
        return now

    async def _files_are_lost(self) -> bool:
        """Return whether none of a sample of the known files is on this machine.

        The source doesn't notice that a disk isn't mounted here. A reading of all looks for files and reports it.
        """
        if not self._collection.check_files or self._importer.paths_are_local:
            return False
        async with self._store.reading() as session:
            paths = await sample_files(session, self._collection, SAMPLE)
        return bool(paths) and not await any_exists(paths)

    def _is_another_library(self) -> bool:
        uuid = None if self._library is None else self._library.uuid
        return uuid is not None and self._collection.library_uuid not in (None, uuid)

    @property
    def _server(self) -> str:
        return "" if self._state is None or self._state.version is None else self._state.version

    def learn(self, filters: Mapping[str, bool]) -> None:
        """Take what was found out about the source's filters."""
        self._filters |= filters

    @property
    def reads_some(self) -> bool:
        """Whether single items or changes are read, so that a proof is needed."""
        return bool(self.items) or self.extent.read == "changes"

    def read_more(self, code: str, reason: str) -> None:
        """Change from single items to the changes, or from the changes to the whole collection."""
        instead, self._instead, self.items = self._instead, None, []
        self.extent = Extent("sweep", code, reason.rstrip("."))
        if instead is None:
            return
        if instead.read == "unchanged":
            # An event reported a change, so an equal stamp proves nothing.
            if self._last is not None and self._last.clock_s is not None and self._importer.lists_changes():
                self.extent = Extent("changes", code, reason.rstrip("."))
        else:
            self.extent = instead

    @property
    def in_full(self) -> bool:
        """Whether each item is read in full, so that no page counts as known."""
        return self.extent.read == "full" and self._run.mode == "sync"

    def prove(self, additions: Additions, tally: Tally) -> bool:
        """Return whether the reading is proven to be complete. If not, choose a larger extent."""
        changes = tally.changes
        if changes is None or self._last is None:
            self.read_more("changes_unknown", "the importer ended its changes without a proof")
            return False
        self.learn(changes.filters)
        expected = self._last.items + additions.new_items
        if additions.doubt is not None or tally.left_out:
            self.read_more("doubtful", additions.doubt or "files of discs were left out")
        elif changes.source_total is None and self.items:
            # The rest isn't proven, as after a run of a scope.
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
        """Store what the reading proved, in the transaction of the merge.

        Nothing is stored for a scope, after a failure, while the source scans, or if an ingest left something undone.
        If such a run adds items, the number of items proves nothing any more, and the next sync reads all of the
        collection.
        """
        await keep_filters(session, self._source.id, self._server, self._filters)
        if isinstance(outcome, Failed) or self.extent.read == "unchanged":
            return
        counts = outcome.counts
        if self._run.mode == "ingest" and self._run.scope.is_full:
            self._now = comparison.began or self._now
            await self._remember(session)
        if self.items and self._last is not None and self._total is not None:
            explained = self._last.explained or self._differing > 0
            await keep_reading(session, self._collection, replace(self._last, items=self._total, explained=explained))
            return
        scanning = self._library is not None and self._library.refreshing
        left = self._run.mode == "ingest" and (counts.changed or counts.absent)
        if self.extent.read == "scoped" or scanning or left:
            # A later sync would count the new items as listed before, which could hide a removal.
            if outcome.held_back is not None or self._may_have_added(counts):
                await mark_incomplete(session, self._collection)
            return
        if outcome.held_back is not None or counts.resumed:
            # Items that an interrupted run had read may have changed before the stamp of this run was read.
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
        """Return whether the catalogue may have items now that the last complete reading didn't count."""
        if any(getattr(counts, name) for name in NEWLY_LISTED):
            return True
        repeated: int = getattr(counts, REPEATED)
        if self._last is None or self.extent.read == "scoped":
            return repeated > 0
        items = counts.source_items if self._total is None else self._total
        return items != self._last.items or bool(counts.absent and repeated)

    def describe(self, outcome: Ingested, requests: int | None) -> Ingested:
        """Add to an outcome how much was read, and why."""
        extent, last = self.extent, self._last
        sweep_in: float | None = None
        if self._run.mode == "sync" and extent != SCOPED and outcome.held_back is None:
            kept = extent.read in {"unchanged", "changes", "scoped"} and last is not None
            swept_at = (last.swept_at if last is not None and kept else None) or self._now
            sweep_in = (swept_at + self._sweep_every - self._now).total_seconds()
        reading = Reading(extent.code, extent.reason, outcome.counts.source_items, requests, sweep_in)
        return replace(outcome, read=extent.read, reading=reading)
