"""Drafts that an importer lists twice: the first one stands, the others are rejected."""

from collections.abc import Iterable
from hashlib import blake2b

from retrovue.core.model import AssetDraft, Outline, Page, Rejection
from retrovue.importers.guids import GUID_BYTES, GuidSet


class Doubles:
    """Finds what one enumeration lists twice, in 26 bytes for each draft; a restart makes all before it void."""

    def __init__(self) -> None:
        self._listed = GuidSet()

    def new_in(self, outline: Outline) -> list[str]:
        """Take in what an outline lists, and return what of it wasn't listed before."""
        return [uri for uri in outline.source_uris if self._add(uri)]

    def sort_out(self, page: Page, outlined: Iterable[str] = ()) -> Page:
        """Reject the drafts that were listed before, except those that the page's own outline has just listed."""
        if page.restart:
            self._listed = GuidSet()
        expected = set[str]() if page.restart else set(outlined)
        drafts: list[AssetDraft] = []
        rejected: list[Rejection] = []
        for draft in page.drafts:
            uri = draft.source_uri
            if uri in expected:
                expected.remove(uri)
                drafts.append(draft)
            elif self._add(uri):
                drafts.append(draft)
            else:
                reason = "The source lists the item twice, and an earlier one stands."
                rejected.append(Rejection("listed_twice", reason, uri, draft.title))
        return Page(drafts, page.rejected + rejected, page.source_items, page.restart) if rejected else page

    def _add(self, uri: str) -> bool:
        return self._listed.add(blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=GUID_BYTES).digest())
