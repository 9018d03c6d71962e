"""The summary of a page: what a dry-run of a collection without assets needs of its drafts.

It is made where the page is made, maybe in another process, so that the drafts themselves needn't be passed on.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from msgspec import Struct, msgpack

from retrovue.core.pages import AssetDraft, Rejection
from retrovue.core.paths import DISC_FOLDER, UnmappedPath
from retrovue.store.drafts import canonical_key, identity_hash
from retrovue.store.titles import labels, pack_titles


class Summary(Struct, array_like=True, gc=False):
    """The drafts of a page in short form."""

    drafts: int
    """How many there are, without those that can't be mapped."""
    keys: bytes
    """The canonical hash of each."""
    titles: bytes
    """Their titles, as `pack_titles` packs them."""
    files: list[str]
    """Files that are to be looked for, also of drafts that can't be mapped, as the source spells them."""
    warned: int
    """How many have a warning."""
    warnings: dict[str, int]
    """Counts of the warnings, by code."""


_encoder = msgpack.Encoder()
_decoder = msgpack.Decoder(Summary)


class PageSummary:
    """Makes the summary of one page: call `take()` for its drafts, some at a time, then `encoded()`."""

    def __init__(
        self,
        to_local: Callable[[AssetDraft], tuple[str, ...]],
        looked_for: Callable[[Sequence[str]], list[str]] | None = None,
    ) -> None:
        """``to_local`` returns the local path of each part of a draft, or raises UnmappedPath.

        ``looked_for`` returns those of the page's files that are looked for; without it there are none.
        """
        self._to_local = to_local
        self._looked_for = looked_for
        self._drafts = 0
        self._keys = bytearray()
        self._titles: list[str] = []
        self._files: list[str] = []
        self._warned = 0
        self._warnings = Counter[str]()
        self._rejected: list[Rejection] = []

    def take(self, drafts: Sequence[AssetDraft]) -> bool:
        """Take the next drafts, which aren't needed afterwards; return False if there can't be a summary."""
        usable: Sequence[AssetDraft] = drafts
        to_local = self._to_local
        try:
            keys = [identity_hash(canonical_key(to_local(draft))) for draft in drafts]
        except UnmappedPath:
            mapped = self._mapped(drafts)
            if mapped is None:
                return False
            usable, keys = mapped
        self._drafts += len(usable)
        self._keys += b"".join(keys)
        self._titles += labels(usable)
        if self._looked_for is not None:
            self._files += [draft.parts[0].source_path for draft in drafts if draft.parts]
        for draft in drafts:
            if draft.warnings:
                self._warned += 1
                self._warnings.update(draft.warnings)
        return True

    def encoded(self, rejected: list[Rejection]) -> bytes:
        """Return the encoded summary; adds the drafts that can't be mapped to the rejections of the page."""
        rejected += self._rejected
        titles, files = pack_titles(self._titles), [] if self._looked_for is None else self._looked_for(self._files)
        summary = Summary(self._drafts, bytes(self._keys), titles, files, self._warned, dict(self._warnings))
        return _encoder.encode(summary)

    def _mapped(self, drafts: Sequence[AssetDraft]) -> tuple[list[AssetDraft], list[bytes]] | None:
        """Return the drafts that can be mapped, and their keys, and reject the others.

        Returns None for a file of a disc: the disc has one rejection on all pages together.
        """
        usable: list[AssetDraft] = []
        keys: list[bytes] = []
        for draft in drafts:
            try:
                keys.append(identity_hash(canonical_key(self._to_local(draft))))
                usable.append(draft)
            except UnmappedPath as exc:
                if exc.code == DISC_FOLDER:
                    return None
                self._rejected.append(Rejection(exc.code, exc.reason, draft.source_uri, draft.title))
        return usable, keys


def decode_summary(encoded: bytes) -> Summary:
    """Decode what `PageSummary.encoded` has made."""
    return _decoder.decode(encoded)
