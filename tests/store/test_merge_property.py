"""Whatever a collection holds and whatever it reads next: the preview is right, and every item is accounted for."""

import uuid
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrovue.core.model import Collection
from retrovue.core.pages import Outline, Page
from retrovue.core.results import CollectionOutcome, Ingested, Named
from retrovue.core.runs import FULL
from retrovue.importers.guard import GuardedImporter
from retrovue.ingest.pipeline import ingest_collection, preview_collection
from retrovue.store import audit
from retrovue.store.audit import Run
from retrovue.store.locks import Locks, open_locks
from retrovue.store.session import Store
from tests.support.library import Library, ScriptedImporter, at, draft, empty, execute, outline, page, uri

pytestmark = pytest.mark.anyio

Listing = Sequence[tuple[str, tuple[str, ...]]]
"""Items, each with its files."""

_FILES = st.one_of(
    st.tuples(st.sampled_from("fghij")), st.lists(st.sampled_from("fg"), min_size=2, max_size=2, unique=True).map(tuple)
)
_LISTING = st.lists(st.tuples(st.sampled_from("abcdef"), _FILES), max_size=7)
"""An item may be listed twice, also with other files."""


def _pages(listing: Listing, size: int, *, outlined: bool) -> list[Page | Outline]:
    drafts = [draft(item, *files) for item, files in listing]
    make = outline if outlined else page
    return [make(*drafts[start : start + size]) for start in range(0, len(drafts), size)]


def _titles(named: Sequence[Named]) -> list[str]:
    return [entry.title for entry in named]


def _lists(outcome: Ingested) -> list[list[str]]:
    listed = outcome.listed
    return [_titles(names) for names in (listed.created, listed.duplicates, listed.relocated, listed.soft_deleted)]


class Pipeline:
    """The collection pipeline by itself: a hundred examples need no pre-flight."""

    def __init__(self, library: Library, collection: Collection, locks: Locks) -> None:
        self._library = library
        self._collection = collection
        self._locks = locks
        self._importer = GuardedImporter(ScriptedImporter(library.source.config))

    async def ingest(self, *pages: Page | Outline) -> Ingested:
        self._library.script.listings["Movies"] = pages
        run = Run(uuid.uuid4(), "source", FULL, "0")
        reported: list[CollectionOutcome] = []
        await audit.start(self._library.store, run, [self._collection])
        await ingest_collection(
            self._library.store, self._importer, self._collection, run,
            locks=self._locks, report=reported.append, progress=lambda _: None,
        )  # fmt: skip
        (outcome,) = reported
        assert isinstance(outcome, Ingested)
        return outcome

    async def preview(self, *pages: Page | Outline) -> Ingested:
        self._library.script.listings["Movies"] = pages
        run = Run(uuid.uuid4(), "source", FULL, "0")
        outcome = await preview_collection(
            self._library.store, self._importer, self._collection, run, progress=lambda _: None
        )
        assert isinstance(outcome, Ingested)
        return outcome


@pytest.fixture
async def store(shared_store: Store) -> Store:
    return shared_store


@pytest.fixture
async def locks(store: Store) -> AsyncIterator[Locks]:
    async with open_locks(store, "the test") as locks:
        yield locks


@settings(
    max_examples=40, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(
    history=st.lists(_LISTING.filter(bool), max_size=2),
    deleted=st.sets(st.sampled_from("abcdef"), max_size=2),
    listing=_LISTING.filter(bool),
    size=st.sampled_from([1, 2, 6]),
    outlined=st.booleans(),
)
async def test_any_listing_onto_any_state(
    store: Store,
    locks: Locks,
    history: Sequence[Listing],
    deleted: set[str],
    listing: Listing,
    size: int,
    outlined: bool,
) -> None:
    await empty(store)
    library = await Library.make(store, "Movies")
    pipeline = Pipeline(library, await library.collection("Movies"), locks)
    for earlier in history:
        await pipeline.ingest(page(*(draft(item, *files) for item, files in earlier)))
    gone = ", ".join(f"'{uri(item)}'" for item in deleted) or "NULL"
    await execute(store, f"UPDATE asset SET deleted_at = now() WHERE source_uri IN ({gone})")

    before = await library.contents()
    preview = await pipeline.preview(*_pages(listing, size, outlined=outlined))
    assert await library.contents() == before
    outcome = await pipeline.ingest(*_pages(listing, size, outlined=outlined))

    assert preview.counts == outcome.counts
    assert _lists(preview) == _lists(outcome)
    assert outcome.counts.discovered == len(listing)
    stands = dict(reversed(listing))
    assert outcome.counts.rejected == len(listing) - len(stands)

    assets, aliases = await library.assets(), await library.aliases()
    removed = {item.rpartition("/")[2] for (item,) in await library.rows(
        "SELECT source_uri FROM asset WHERE deleted_at IS NOT NULL"
    )}  # fmt: skip
    for item, files in stands.items():
        place = at(*files)
        if item in removed:
            assert item not in aliases
        elif assets.get(item) == place:
            assert item not in aliases, "it has a file of its own, and needs no alias"
        else:
            assert assets[aliases[item]] == place, "its file belongs to another item's asset, of which it is an alias"
    assert len(set(assets.values())) == len(assets)

    before = await library.contents()
    again = await pipeline.ingest(*_pages(listing, size, outlined=outlined))
    assert (again.counts.created, again.counts.relocated) == (0, 0)
    assert await library.contents() == before
