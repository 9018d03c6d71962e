"""What the harnesses ingest: small libraries in which everything happens that can become of an item."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from retrovue.core.pages import Rejection
from retrovue.core.runs import FULL, Mode, Scope
from retrovue.errors import SourceUnreachable
from retrovue.ingest.collector import IngestRun
from retrovue.ingest.options import IngestOptions
from retrovue.ingest.orchestrator import ingest_one, ingest_source
from retrovue.store.session import Store
from tests.support.library import Library, Step, draft, outline, page

Listings = Mapping[str, Sequence[Step]]

_NO_MEDIA = Rejection("no_media", "the item has no media", "scripted://machine/none", "None")

_TINY: Listings = {"Movies": [page(draft("a"), draft("b", "a.mkv"), _NO_MEDIA)]}
_FIRST: Listings = {
    "Films": [
        page(draft("a"), draft("b", "a.mkv")),
        page(draft("c", "1", "2"), draft("d")),
        page(_NO_MEDIA, draft("e")),
    ],
    "Shows": [page(draft("f"), draft("g")), page(draft("h"))],
    "Clips": [page(draft("i"))],
}
_SECOND: Listings = {
    "Films": [
        # Known, a duplicate again, moved, moved with its parts, rejected, new; one that read itself again.
        page(draft("x")),
        page(draft("a"), draft("b", "a.mkv"), restart=True),
        outline(draft("c", "3", "2"), draft("d", "moved.mkv")),
        page(_NO_MEDIA, draft("e"), draft("k")),
    ],
    "Shows": [outline(draft("f"), draft("g")), outline(draft("h"))],
    "Clips": [page(draft("i"), draft("l"))],
}
_KNOWN: Listings = {
    "Films": [
        page(draft("a", year=1990), draft("b", "a.mkv")),
        page(draft("c", "1", "2", runtime_ms=5), draft("d", provider_ids={"plex": "d"})),
        page(draft("e"), draft("lost")),
    ],
    "Shows": [page(draft("f"), draft("g")), page(draft("h"))],
    "Clips": [page(draft("i"), draft("j"))],
}
_CHANGED: Listings = {
    # Refreshed, a duplicate again, replaced, relinked, relocated, new; one isn't listed any more.
    "Films": [
        page(draft("a", year=1991), draft("b", "a.mkv")),
        page(draft("c", "1", "2", runtime_ms=6), draft("n", "other.mkv", provider_ids={"plex": "d"})),
        page(_NO_MEDIA, draft("e", "moved.mkv"), draft("k")),
    ],
    "Shows": [outline(draft("f"), draft("g")), outline(draft("h", title="New"))],
    "Clips": [page(draft("i"))],
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """An ingest, and what was ingested before."""

    name: str
    listings: Listings
    before: Listings | None = None
    scope: Scope | None = None
    """Of a collection ingest of the first collection; None for a source ingest."""
    concurrency: int = 1
    broken: Listings | None = None
    """What the source gives while there is a fault; None is the same."""
    mode: Mode = "ingest"
    atomic: bool = False

    @property
    def names(self) -> list[str]:
        """The collections that it targets."""
        return list(self.listings) if self.scope is None else list(self.listings)[:1]

    def run(self, library: Library, store: Store, *, retry: bool = False) -> AbstractAsyncContextManager[IngestRun]:
        """Begin the ingest, or one of what failed."""
        options = IngestOptions(concurrency=self.concurrency, retry_failed=retry, mode=self.mode, atomic=self.atomic)
        if self.scope is None:
            return ingest_source(store, str(library.source.id), options)
        return ingest_one(store, next(iter(self.listings)), self.scope, options)


_BROKEN: Listings = {"Films": [_FIRST["Films"][0], SourceUnreachable("gone")], "Shows": [page(draft("f", "/else"))]}
_PAIR: Listings = {
    "Films": [page(draft("a"), draft("c", "1", "2")), page(draft("d"), draft("e")), page(draft("m"), draft("n"))],
    "Shows": [page(draft("f"), draft("g")), page(draft("h"))],
    "Clips": [page(draft("i")), page(draft("j"))],
}
_PAIR_AGAIN: Listings = {
    # Whatever its order is, the same becomes of it.
    "Films": [page(draft("a"), draft("b", "a.mkv")), page(draft("c", "3", "2"), draft("d", "moved")), page(draft("o"))],
    "Shows": [page(draft("h"), draft("g")), page(draft("f"), draft("p"))],
    "Clips": [page(draft("j"), draft("q")), page(draft("i"))],
}

TINY = Scenario("tiny", _TINY)
FIRST = Scenario("first ingest", _FIRST)
AGAIN = Scenario("re-ingest", _SECOND, before=_FIRST)
ONE = Scenario("collection ingest", _SECOND, before=_FIRST, scope=FULL)
SURGICAL = Scenario("surgical ingest", _SECOND, before=_FIRST, scope=Scope(title="A"))
TOGETHER = Scenario("re-ingest, three at once", _SECOND, before=_FIRST, concurrency=3)
FAILING = Scenario("failing ingest", {name: _FIRST[name] for name in _BROKEN}, broken=_BROKEN)
SYNC = Scenario("sync", _CHANGED, before=_KNOWN, mode="sync")
UNIT = Scenario("unit of work", _SECOND, before=_FIRST, concurrency=3, atomic=True)
SYNC_UNIT = Scenario("sync, unit of work", _CHANGED, before=_KNOWN, mode="sync", atomic=True)
SCENARIOS = (TINY, FIRST, AGAIN, ONE, SURGICAL, TOGETHER, FAILING, SYNC, UNIT, SYNC_UNIT)
PAIRS = (
    Scenario("pairs, first ingest", _PAIR),
    Scenario("pairs, re-ingest", _PAIR_AGAIN, before=_PAIR),
    Scenario(
        "pairs, sync",
        {**_CHANGED, "Shows": [page(draft("f"), draft("g")), page(draft("h", title="New"))]},
        before=_KNOWN,
        mode="sync",
    ),
)
