"""The guards of a sync: the reasons for which removals are held back."""

from msgspec import Struct

from retrovue.core.answers import ChangeState
from retrovue.core.model import Collection
from retrovue.core.results import Guard
from retrovue.core.runs import DEFAULT_MAX_REMOVALS, MaxRemovals
from retrovue.importers.guard import GuardedImporter
from retrovue.importers.locations import empty_or_unreadable
from retrovue.ingest.sink import Sink
from retrovue.ingest.tally import Tally
from retrovue.store.audit import Run
from retrovue.store.removals import NO_POLICY, RemovalPolicy, nothing_listed


class Removal(Struct, frozen=True):
    """What an operator lets a sync remove."""

    most: MaxRemovals = DEFAULT_MAX_REMOVALS
    """The most assets of a collection that may become missing without confirmation."""
    confirmed: frozenset[str] = frozenset()
    """The tokens of removals that a person has reviewed."""


NO_REMOVAL = Removal()


class Guards:
    """Compares the state of the source before and after it is read. Call `begin()` and `policy()` once each."""

    def __init__(
        self,
        importer: GuardedImporter,
        collection: Collection,
        run: Run,
        removal: Removal,
        *,
        state: ChangeState | None = None,
    ) -> None:
        """``state`` is the source's state of the collection right before the reading; None: `begin()` asks for it."""
        self._importer = importer
        self._collection = collection
        self._removal = removal
        self._watches = run.mode == "sync" and run.scope.is_full
        self._state = state

    async def begin(self) -> None:
        """Get the state of the source before it is read. Raises SourceError."""
        if self._watches and self._state is None:
            self._state = await self._importer.change_state(self._collection)

    async def policy(self, tally: Tally, sink: Sink) -> RemovalPolicy:
        """Return what may be removed, after the source was read. Raises SourceError."""
        if not self._watches or sink.listed is None:
            return NO_POLICY
        if not sink.comparison.may_have_lost:
            return RemovalPolicy(library_uuid=_uuid(self._state))
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
        state = self._state
        if state is None or not state.refreshing:
            state = await self._importer.change_state(self._collection)
        held, now = self._collection.library_uuid, _uuid(state)
        if held is not None and now is not None and held != now:
            guards.append(
                Guard(
                    "another_identity",
                    "Under this key the source has another library now than the one of these assets. If the library was"
                    " created again there, confirm the removals.",
                )
            )
        postponed = None
        if state is not None and state.refreshing:
            postponed = Guard(
                "source_scanning", "The source is scanning this library. Run the command again afterwards."
            )
        return RemovalPolicy(self._removal.most, self._removal.confirmed, tuple(guards), postponed, library_uuid=now)


def _uuid(state: ChangeState | None) -> str | None:
    return None if state is None else state.uuid
