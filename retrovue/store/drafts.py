"""Mapped drafts, and the keys by which drafts and pages are compared with the catalogue."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from operator import attrgetter
from typing import NamedTuple

import msgspec
import orjson
import xxhash
from msgspec.structs import astuple

from retrovue.core.model import Collection
from retrovue.core.pages import AssetDraft, Page, PartDraft, Rejection

_FORMAT = 3
"""A part of every fingerprint. Increase it when the definition of a fingerprint changes."""

LARGEST_SIZE = 2**63 - 1
"""The largest bigint. If the parts claim a larger total, the size is unknown."""

_IDENTITY = blake2b(digest_size=16)

UNSEEN = "?"
"""The mark of the sidecars of an asset whose file couldn't be seen when an enricher asked for them."""

_of_part = attrgetter("size_bytes", "duration_ms", "modified_s", "stamp")
"""The values of a part that belong to the stamp of its draft."""
_PARTS = AssetDraft.__struct_fields__.index("parts")
_IDS = AssetDraft.__struct_fields__.index("provider_ids")
_SPANS = AssetDraft.__struct_fields__.index("chapters")
_SIDECARS = AssetDraft.__struct_fields__.index("sidecar_stamp")


EncodedSpans = tuple[bytes | None, bytes | None]
"""The chapters and the markers of a draft as JSON; None where it has none."""

PLAIN = tuple(name for name in AssetDraft.__struct_fields__[:_IDS] if name != "parts")
"""The fields of a draft that are stored unchanged, in columns with the same names."""


class Refinement(NamedTuple):
    """The changes that page enrichers made to a draft."""

    provenance: Mapping[str, str]
    """The external id of the enricher that gave a field, by field."""
    failures: Mapping[str, Mapping[str, str]]
    """Code and message, by the id of the enricher that failed."""


# Both are created for each version of a library: creating a named tuple takes four times as long as a struct.
class MappedDraft(msgspec.Struct, frozen=True, gc=False):
    """A draft with the local path of each of its parts, in order."""

    draft: AssetDraft
    local_paths: tuple[str, ...]
    refinement: Refinement | None = None
    """The changes of page enrichers; None if they changed nothing and none of them failed."""
    told: AssetDraft | None = None
    """The draft from the importer; None if page enrichers changed nothing."""

    @property
    def as_told(self) -> AssetDraft:
        """The draft from the importer."""
        return self.draft if self.told is None else self.told


class ItemKey(msgspec.Struct, frozen=True, gc=False):
    """The keys by which a draft is compared: source identity, canonical identity of its local paths, and stamp."""

    source_hash: bytes
    canonical_key: str
    canonical_hash: bytes
    stamp: bytes
    """Empty if stamps aren't compared; the row of a new asset is given its stamp when it is made."""


class KnownText(NamedTuple):
    """How a page is recognised by the text of its rows."""

    digest: bytes
    """The hash of the text, of the path mappings, and of the rest that its drafts are made from: 16 bytes."""
    rows: bytes
    """What the importer needs to know of the rows."""
    source_hashes: bytes
    """The source hashes of its drafts, side by side."""
    paths: Sequence[str]
    """Some paths of its drafts as the source spells them, of each location."""


class MappedPage(NamedTuple):
    """A page with local paths, as a sink takes it."""

    drafts: Sequence[MappedDraft]
    keys: Sequence[ItemKey]
    """The keys of the drafts, in their order."""
    rejected: Sequence[Rejection]
    fingerprint: bytes | None = None
    """The fingerprint; None if the page can't become known, for example because drafts were rejected."""
    sidecar_stamps: Sequence[str | None] = ()
    """The marks of the drafts' sidecars, in the drafts' order, if the stamps of the keys don't include them; None for
    unknown ones. Empty if none are compared.
    """
    items: bytes = b""
    """The fingerprints of all items of the page, 8 bytes each, if they are known; also of those without a draft here,
    which are known already."""
    number: int = 0
    """Of the page in the listing."""
    text: KnownText | None = None
    """How the page is recognised if it becomes known; None if it can't be."""


def canonical_key(local_paths: Sequence[str]) -> str:
    """Return a draft's canonical identity: its path, or for several parts a JSON list of their paths.

    Local paths are absolute, so a path is never equal to a JSON list.
    """
    return local_paths[0] if len(local_paths) == 1 else orjson.dumps(local_paths).decode()


def identity_hash(key: str) -> bytes:
    """Return the hash of an identity: the 16 bytes by which the catalogue compares it (BLAKE2b)."""
    digest = _IDENTITY.copy()  # takes less than to make one
    digest.update(key.encode("utf-8", "surrogatepass"))
    return digest.digest()


def plain_values(draft: AssetDraft) -> tuple[object, ...]:
    """Return the values of the fields `PLAIN`."""
    values = astuple(draft)
    return values[:_PARTS] + values[_PARTS + 1 : _IDS]


def draft_stamp(draft: AssetDraft, spans: EncodedSpans | None = None) -> bytes:
    """Return the hash of a draft's description without identities and warnings: 16 bytes (XXH3).

    ``spans`` are its chapters and markers, if they are encoded already.
    """
    values = astuple(draft)
    # For a source that doesn't report sidecars, the stamp is the same as before sidecars were included.
    sidecars = () if draft.sidecar_stamp is None else (draft.sidecar_stamp,)
    parts = tuple(map(_of_part, draft.parts))
    try:
        chapters, markers = spans or encoded_spans(draft)
        fragments = (
            None if chapters is None else orjson.Fragment(chapters),
            None if markers is None else orjson.Fragment(markers),
        )
        described = values[1:_PARTS] + values[_PARTS + 1 : _IDS]
        encoded = orjson.dumps((described, parts, values[_IDS:_SPANS] + fragments, *sidecars))
    except TypeError:
        # The catalogue can't store such a value; staging refuses it.
        encoded = repr(draft).encode("utf-8", "surrogatepass")
    return xxhash.xxh3_128_digest(encoded)


def encoded_spans(draft: AssetDraft) -> EncodedSpans:
    """Encode the chapters and markers of a draft. Raises TypeError for values that JSON doesn't have."""
    chapters, markers = draft.chapters, draft.markers
    return (
        chapters if chapters is None or isinstance(chapters, bytes) else orjson.dumps(chapters),
        markers if markers is None or isinstance(markers, bytes) else orjson.dumps(markers),
    )


def draft_keys(mapped: Iterable[MappedDraft], *, stamps: bool = True) -> list[ItemKey]:
    """Return the keys of mapped drafts, as the importer gave them. Without ``stamps`` their stamps are empty."""
    return [
        ItemKey(
            identity_hash(item.draft.source_uri),
            key := canonical_key(item.local_paths),
            identity_hash(key),
            draft_stamp(item.as_told) if stamps else b"",
        )
        for item in mapped
    ]


def total_size(parts: Sequence[PartDraft]) -> int | None:
    """Return the size of all parts in bytes; None if that of one isn't known, or the total exceeds a bigint."""
    total = 0
    for part in parts:
        if part.size_bytes is None:
            return None
        total += part.size_bytes
    return total if total <= LARGEST_SIZE else None


def file_stamp(parts: Sequence[PartDraft]) -> str | None:
    """Return the source's stamp of the files, from those of all parts; None if that of one isn't known."""
    if len(parts) == 1:
        return parts[0].stamp
    stamps = [part.stamp for part in parts]
    return None if None in stamps else " ".join(stamp for stamp in stamps if stamp is not None)


class Fingerprints:
    """Makes the fingerprints of one collection's pages. They depend on its path mappings and locations."""

    def __init__(self, collection: Collection) -> None:
        mappings = sorted((mapping.source_prefix, mapping.local_path) for mapping in collection.path_mappings)
        about = orjson.dumps([_FORMAT, mappings, sorted(collection.locations)])
        self._start = blake2b(about, digest_size=16)
        self._seed = xxhash.xxh3_64_intdigest(about)

    def of(
        self,
        source_uris: Sequence[str],
        source_paths: Sequence[Sequence[str]],
        stamp: bytes | None,
        sidecars: bytes = b"",
    ) -> bytes | None:
        """Return the hash of the source URIs and paths of a page's drafts, in order, and of the page's stamp.

        ``sidecars`` is a hash of the marks of their sidecars, if these are looked at. Returns None without a stamp, and
        for text that isn't valid Unicode.
        """
        if stamp is None:
            return None
        digest = self._start.copy()
        try:
            digest.update(orjson.dumps((source_uris, source_paths)))
        except TypeError:
            return None
        digest.update(stamp)
        digest.update(sidecars)
        return digest.digest()

    def of_text(self, digest: bytes) -> bytes:
        """Make the key of a page's text (`KnownText.digest`) from its `PageText.digest`."""
        return xxhash.xxh3_128_digest(digest, self._seed)

    def of_items(self, stamps: Sequence[bytes], sidecars: Sequence[bytes]) -> list[bytes]:
        """Make the fingerprints of the items of a page, 8 bytes each (XXH3), from their stamps.

        ``sidecars`` are hashes of the marks of their sidecars, if these are looked at.
        """
        seed = self._seed
        if not sidecars or not stamps:
            return [xxhash.xxh3_64_digest(stamp, seed) for stamp in stamps]
        return [xxhash.xxh3_64_digest(stamp + marks, seed) for stamp, marks in zip(stamps, sidecars, strict=True)]

    def of_page(self, page: Page, keys: Sequence[ItemKey], sidecars: bytes = b"") -> bytes | None:
        """Return the fingerprint of a page that was read in full; ``keys`` are those of all its drafts."""
        return self.of(
            [draft.source_uri for draft in page.drafts],
            [[part.source_path for part in draft.parts] for draft in page.drafts],
            b"".join([key.stamp for key in keys]) if page.stamp is None else page.stamp,
            sidecars,
        )


def unstamped(fingerprint: bytes) -> bytes:
    """Return the fingerprint of the same page while the stamps of some of its assets aren't known.

    An ingest treats such a page as known. A sync doesn't, so it compares the assets once and stores their stamps.
    """
    return blake2b(fingerprint, digest_size=16, person=b"unstamped").digest()
