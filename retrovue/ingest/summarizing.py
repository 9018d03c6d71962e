"""Summarizes pages for a dry-run. The importer calls it where it makes its pages."""

from functools import partial
from typing import Any

from retrovue.core.model import Collection
from retrovue.ingest.files import places_of, sample_of
from retrovue.ingest.mapping import DraftMapper
from retrovue.store.summaries import PageSummary


class Summarizer:
    """Makes the summaries of one collection's pages. It can be pickled."""

    def __init__(self, collection: Collection, local: bool) -> None:
        """``local``: as for `DraftMapper`."""
        self._made_of = collection, local
        self._mapper = DraftMapper(collection, local=local)
        self._looked_for = None
        if collection.check_files and not local:
            self._looked_for = partial(sample_of, places_of(collection))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the mapper."""
        return Summarizer, self._made_of

    def __call__(self) -> PageSummary:
        """Begin the summary of a page."""
        return PageSummary(self._mapper.local_paths, self._looked_for)
