"""Known pages, found by the text of their rows while an importer reads a collection."""

from retrovue.core.pages import Outline
from retrovue.ingest.sink import Sink
from retrovue.store.drafts import Fingerprints
from retrovue.store.kept import KnownPage
from retrovue.store.known_texts import FoundPage


class PageRecall:
    """A `Recall` of one collection. It remembers the page that it has found last."""

    def __init__(self, sink: Sink, fingerprints: Fingerprints) -> None:
        self._sink = sink
        self._fingerprints = fingerprints
        self._last: tuple[bytes, FoundPage] | None = None
        """The digest by which the last page was found, and the page."""

    def may_know(self, digest: bytes) -> bool:
        """Return whether a page with this text is known, but for changes of its assets."""
        return self._fingerprints.of_text(digest) in self._sink.comparison.texts

    async def prepare(self) -> None:
        """Read what is needed to find the page that is expected next."""
        if self._sink.comparison.texts.needs_load:
            await self._sink.load_texts()

    def rows_of(self, digest: bytes) -> bytes | None:
        """Return what is kept of the rows of a known page; None if it isn't known, or has to be looked at."""
        comparison = self._sink.comparison
        found = comparison.texts.find(self._fingerprints.of_text(digest))
        if found is None or (comparison.exceptions and comparison.excepted(found.source_hashes)):
            return None
        self._last = digest, found
        return found.rows

    def met(self, outline: Outline) -> FoundPage | None:
        """Take note of a page that was listed. Return the page if it was recognised, and found last."""
        if outline.text is None:
            return None
        self._sink.comparison.texts.meet(self._fingerprints.of_text(outline.text.digest))
        if not outline.recognised or self._last is None or self._last[0] != outline.text.digest:
            return None
        return self._last[1]


def known_page(outline: Outline, found: FoundPage) -> KnownPage:
    """Make the known page of an outline that was recognised."""
    number, total = outline.source_items, outline.source_total
    return KnownPage(found.fingerprint, [], outline.rejected, number, total, hashes=found.source_hashes)
