"""Statistics of the catalogue: assets by collection, type and state, with their runtime and size."""

import datetime as dt
from collections.abc import Iterable
from uuid import UUID

from msgspec import Struct

from retrovue.core.model import Collection, Source
from retrovue.store.collections import list_collections
from retrovue.store.statements import Session, text

# One pass over the assets. The latest start row of a collection leads to the state of its last run.
_GROUPS = """
    SELECT asset.collection_uuid, asset.type, asset.state, count(*) AS assets,
        count(asset.runtime_ms) AS timed, coalesce(sum(asset.runtime_ms), 0) AS runtime_ms,
        coalesce(sum(asset.size_bytes), 0) AS size_bytes
    FROM asset JOIN collection ON collection.id = asset.collection_uuid
    WHERE asset.deleted_at IS NULL AND (cast(:source AS uuid) IS NULL OR collection.source_id = :source)
    GROUP BY asset.collection_uuid, asset.type, asset.state ORDER BY asset.type, asset.state
"""
_FAILED = """
    SELECT asset.collection_uuid, count(*) AS failed
    FROM asset_enrichment JOIN asset ON asset.uuid = asset_enrichment.asset_uuid
    WHERE asset_enrichment.status = 'failed' AND asset.deleted_at IS NULL GROUP BY asset.collection_uuid
"""
_LAST = """
    SELECT DISTINCT ON (collection_id) collection_id, run_id, started_at, coalesce(status, 'interrupted') AS status
    FROM ingest_start LEFT JOIN ingest_outcome USING (run_id, collection_id)
    ORDER BY collection_id, started_at DESC
"""


class AssetGroup(Struct, frozen=True):
    """The numbers of the assets with one type and state."""

    type: str
    """``movie``, ``episode``, ``clip`` or ``track``."""
    state: str
    """``new``, ``enriching``, ``ready`` or ``retired``."""
    assets: int
    without_runtime: int
    """The number of assets with unknown runtime."""
    runtime_ms: int
    """The runtime of all others, in milliseconds."""
    size_bytes: int
    """The size of all assets whose size is known, in bytes."""


class LastRun(Struct, frozen=True):
    """The latest run that tried to ingest a collection."""

    run_id: UUID
    started_at: dt.datetime
    status: str
    """``ingested``, ``failed``, ``interrupted`` or ``unknown``; a run at work counts as ``interrupted``."""


class CollectionStatistics(Struct, frozen=True):
    """The numbers of one collection."""

    collection: Collection
    groups: tuple[AssetGroup, ...]
    failed_enrichments: int
    """The number of enrichments that failed at the last attempt and are owed."""
    last_run: LastRun | None

    @property
    def assets(self) -> int:
        """The number of assets without deleted ones."""
        return sum(group.assets for group in self.groups)

    @property
    def runtime_ms(self) -> int:
        """The runtime of all assets whose runtime is known, in milliseconds."""
        return sum(group.runtime_ms for group in self.groups)

    @property
    def size_bytes(self) -> int:
        """The size of all assets whose size is known, in bytes."""
        return sum(group.size_bytes for group in self.groups)

    def in_state(self, state: str) -> int:
        """Return the number of assets in a state."""
        return sum(group.assets for group in self.groups if group.state == state)


async def collection_statistics(session: Session, source: Source | None = None) -> list[CollectionStatistics]:
    """Count what each collection of a source, or of all sources, holds, in the order of their names.

    Reads every asset once, and the start and outcome rows of the audit trail.
    """
    found = await list_collections(session, source)
    parameters = {"source": None if source is None else source.id}
    groups: dict[UUID, list[AssetGroup]] = {}
    for row in await session.execute(text(_GROUPS), parameters):
        group = AssetGroup(
            row.type, row.state, row.assets, row.assets - row.timed, int(row.runtime_ms), int(row.size_bytes)
        )
        groups.setdefault(row.collection_uuid, []).append(group)
    failed = {row.collection_uuid: row.failed for row in await session.execute(text(_FAILED))}
    last = {
        row.collection_id: LastRun(row.run_id, row.started_at, row.status) for row in await session.execute(text(_LAST))
    }
    return [
        CollectionStatistics(
            collection, tuple(groups.get(collection.id, ())), failed.get(collection.id, 0), last.get(collection.id)
        )
        for collection in sorted(found, key=_order)
    ]


def _order(collection: Collection) -> tuple[str, str, str, UUID]:
    return (collection.source_name or "", collection.name, collection.external_id, collection.id)


def total_of(statistics: Iterable[CollectionStatistics]) -> tuple[AssetGroup, ...]:
    """Sum up the assets of collections by type and state."""
    sums: dict[tuple[str, str], list[int]] = {}
    for group in (group for collection in statistics for group in collection.groups):
        numbers = sums.setdefault((group.type, group.state), [0, 0, 0, 0])
        for place, number in enumerate((group.assets, group.without_runtime, group.runtime_ms, group.size_bytes)):
            numbers[place] += number
    return tuple(AssetGroup(*key, *numbers) for key, numbers in sorted(sums.items()))
