"""Count the items in a reading of changes that were not listed before, to prove the total number of items.

An item was listed before if the catalogue has a present asset of it, an alias, or a rejection from the last reading of
the whole collection. If the changes don't decide it for certain, the reason is stored, and the whole collection is
read.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from retrovue.core.model import Collection
from retrovue.core.text import storable
from retrovue.store.drafts import MappedPage
from retrovue.store.known import Other
from retrovue.store.listed import item_of
from retrovue.store.statements import Session, text

_ALIASES = text(
    """
    SELECT item.number FROM (
        SELECT number, substring(keys.packed FROM number * 16 + 1 FOR 16) AS source_hash
        FROM (SELECT cast(:keys AS bytea) AS packed) AS keys,
            generate_series(0, length(keys.packed) / 16 - 1) AS number
    ) AS item
    WHERE EXISTS (
        SELECT FROM asset_alias
        WHERE asset_alias.collection_uuid = :collection AND asset_alias.source_hash = item.source_hash
    )
    """
)
_REJECTED = text(
    """
    SELECT source_uri FROM ingest_rejection
    WHERE collection_id = :collection AND content IS NOT NULL AND ended_number IS NULL
        AND source_uri IN (SELECT jsonb_array_elements_text(cast(:uris AS jsonb)))
    """
)


class Additions:
    """Counts the additions among changes. Call `take()` for each page, and `reset()` if the changes are read again."""

    def __init__(self, collection: Collection) -> None:
        self.new_items = 0
        """The number of items that weren't listed before."""
        self.differing = 0
        """The number of versions that differ from the catalogue, or that it doesn't have."""
        self.doubt: str | None = None
        """Why the whole collection has to be read, as the end of a sentence; None if it hasn't."""
        self._collection = collection

    def reset(self) -> None:
        """Start the counts again."""
        self.new_items = self.differing = 0
        self.doubt = None

    async def take(self, session: Session, page: MappedPage, others: Sequence[Other]) -> None:
        """Take a page; ``others`` are its drafts that aren't stored as assets exactly as they are."""
        for rejection in page.rejected:
            if rejection.source_uri is None:
                self.doubt = "an item can't be identified"
        uris = [item.draft.source_uri for item in page.drafts]
        rejections = [rejection.source_uri for rejection in page.rejected if rejection.source_uri is not None]
        rejected = await self._rejected(session, {*rejections, *uris, *map(item_of, uris)})
        if not rejected.issuperset(map(storable, rejections)):
            # A rejection doesn't tell whether a known item is gone, or whether another item is new.
            self.doubt = "an item can't be used any more"
        if not page.drafts:
            return
        by_position = {other.position: other for other in others}
        aliases = await self._aliases(session, page)
        listed: dict[str, bool] = {}
        fresh = set[str]()
        for position, uri in enumerate(uris):
            other, item = by_position.get(position), item_of(uri)
            has_alias, was_rejected = position in aliases, not rejected.isdisjoint((uri, item))
            before = other is None or (other.uuid is not None and (other.present or other.deleted))
            listed[item] = listed.get(item, False) or before or has_alias or was_rejected
            if other is not None and other.uuid is None and not has_alias and not was_rejected:
                fresh.add(item)
            if other is not None and not other.deleted and not (other.uuid is None and has_alias):
                # A sidecar that was edited doesn't mean that the source has changed.
                self.differing += not (other.present and other.in_place and other.same is True)
        self.new_items += sum(not before for before in listed.values())
        if any(listed[item] for item in fresh):
            # The version may have replaced another one that isn't listed any more.
            self.doubt = "an item has other versions"

    async def _aliases(self, session: Session, page: MappedPage) -> set[int]:
        keys = b"".join([key.source_hash for key in page.keys])
        result = await session.execute(_ALIASES, {"keys": keys, "collection": self._collection.id})
        return set(result.scalars())

    async def _rejected(self, session: Session, uris: Iterable[str]) -> set[Any]:
        asked = orjson.dumps(sorted(map(storable, uris))).decode()
        result = await session.execute(_REJECTED, {"uris": asked, "collection": self._collection.id})
        return set(result.scalars())
