"""The guards of a sync: what speaks against removing the assets that a source doesn't list."""

from dataclasses import dataclass

from retrovue.core.model import DEFAULT_MAX_REMOVALS, Collection, MaxRemovals
from retrovue.core.results import Guard
from retrovue.importers.guard import GuardedImporter
from retrovue.importers.locations import empty_or_unreadable
from retrovue.ingest.reading import Sink, Tally
from retrovue.store.audit import Run
from retrovue.store.removals import NO_POLICY, RemovalPolicy, nothing_listed


@dataclass(frozen=True, slots=True)
class Removal:
    """What an operator lets a sync remove."""

    most: MaxRemovals = DEFAULT_MAX_REMOVALS
    """Assets of a collection that may become missing without being asked."""
    confirmed: frozenset[str] = frozenset()
    """The tokens of the removals that a person has reviewed."""


NO_REMOVAL = Removal()


class Guards:
    """Looks at the source before and after it is read: `begin()` → `policy()`, once each."""

    def __init__(
        self,
        importer: GuardedImporter,
        collection: Collection,
        run: Run,
        removal: Removal,
        *,
        scanning: bool | None = None,
    ) -> None:
        """``scanning``: whether the source was scanning right before it is read; None if that isn't known."""
        self._importer = importer
        self._collection = collection
        self._removal = removal
        self._watches = run.mode == "sync" and run.scope.is_full
        self._scanning = scanning

    async def begin(self) -> None:
        """Look whether the source is changing, before it is read. Raises SourceError."""
        if self._watches and self._scanning is None:
            self._scanning = await self._is_scanning()

    async def policy(self, tally: Tally, sink: Sink) -> RemovalPolicy:
        """Return what may be removed, after the source was read. Raises SourceError."""
        if not self._watches or sink.listed is None or not sink.comparison.may_have_lost:
            return NO_POLICY
        guards = list(nothing_listed(discovered=tally.discovered, rejected=sink.comparison.rejected))
        guards += [
            Guard("location_unreadable", reason)
            for reason in await empty_or_unreadable(self._collection, local=self._importer.paths_are_local)
        ]
        if sink.listed.unidentified:
            number = sink.listed.unidentified
            guards.append(
                Guard("unidentified_items", f"{number} rejected items can't be told from those that aren't listed.")
            )
        postponed = None
        if self._scanning or await self._is_scanning():
            postponed = Guard(
                "source_scanning", "The source is scanning this library. Run the command again afterwards."
            )
        return RemovalPolicy(self._removal.most, self._removal.confirmed, tuple(guards), postponed)

    async def _is_scanning(self) -> bool:
        state = await self._importer.change_state(self._collection)
        return state is not None and state.refreshing
