"""Mapped drafts, and the keys by which the catalogue compares drafts and pages with what it holds."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import orjson

from retrovue.core.model import AssetDraft, Collection, Page

_FORMAT = 1
"""Part of every fingerprint. Raise it when the content of a fingerprint changes."""


class Refinement(NamedTuple):
    """What page enrichers did to a draft."""

    provenance: Mapping[str, str]
    """The external id of the enricher that gave a field, by field."""
    failures: Mapping[str, Mapping[str, str]]
    """Code and message, by the id of the enricher that failed."""


class MappedDraft(NamedTuple):
    """A draft with the local path of each of its parts, in order."""

    draft: AssetDraft
    local_paths: tuple[str, ...]
    refinement: Refinement | None = None
    """None where page enrichers changed nothing and none of them failed."""


class ItemKey(NamedTuple):
    """The identities of a draft: that of the source, and the canonical one that its local paths make."""

    source_hash: bytes
    canonical_key: str
    canonical_hash: bytes


def canonical_key(local_paths: Sequence[str]) -> str:
    """Make a draft's canonical identity: its path, or for several parts their paths as a JSON list.

    Local paths are absolute, so that a path is never equal to a JSON list.
    """
    return local_paths[0] if len(local_paths) == 1 else orjson.dumps(local_paths).decode()


def identity_hash(key: str) -> bytes:
    """Hash an identity to the 16 bytes by which the catalogue compares it (BLAKE2b)."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def item_keys(source_uris: Iterable[str], local_paths: Iterable[Sequence[str]]) -> list[ItemKey]:
    """Make the keys of drafts from their source URIs and the local paths of each one's parts."""
    return [
        ItemKey(identity_hash(uri), key := canonical_key(paths), identity_hash(key))
        for uri, paths in zip(source_uris, local_paths, strict=True)
    ]


def draft_keys(mapped: Sequence[MappedDraft]) -> list[ItemKey]:
    """Make the keys of mapped drafts."""
    return item_keys((draft.draft.source_uri for draft in mapped), (draft.local_paths for draft in mapped))


class Fingerprints:
    """Makes the fingerprints of one collection's pages. They depend on its path mappings."""

    def __init__(self, collection: Collection) -> None:
        mappings = sorted((mapping.source_prefix, mapping.local_path) for mapping in collection.path_mappings)
        self._start = blake2b(orjson.dumps([_FORMAT, mappings]), digest_size=16)

    def of(self, source_uris: Sequence[str], source_paths: Sequence[Sequence[str]]) -> bytes | None:
        """Hash the source URIs and paths of a page's drafts, in order; None for text that isn't Unicode."""
        digest = self._start.copy()
        try:
            digest.update(orjson.dumps((source_uris, source_paths)))
        except TypeError:
            return None
        return digest.digest()

    def of_page(self, page: Page) -> bytes | None:
        """Make the fingerprint of a page that was read in full."""
        return self.of(
            [draft.source_uri for draft in page.drafts],
            [[part.source_path for part in draft.parts] for draft in page.drafts],
        )
