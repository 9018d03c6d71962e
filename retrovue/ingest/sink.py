"""What takes the pages that are read of a collection."""

from collections.abc import Sequence
from typing import Protocol

from retrovue.store.drafts import MappedPage
from retrovue.store.kept import KnownPage
from retrovue.store.known import Comparison
from retrovue.store.listed import ListedKeys


class Sink(Protocol):
    """Takes the pages of one collection: stages them, or keeps their keys for a dry-run.

    Call `open()`, then `add()` or `add_known()` for each page, `reset()` when the source is read again from the
    beginning, then `end()`.
    """

    keeps_pages: bool
    """Whether the sink stores the fingerprints of pages."""
    comparison: Comparison
    listed: ListedKeys | None
    """The listed items; None if the run doesn't need them."""

    @property
    def needs_stamps(self) -> bool:
        """Whether the sink stores or compares the stamps of drafts; known once it is open."""
        ...

    @property
    def wants_items(self) -> bool:
        """Whether it knows items of pages one by one, or keeps them; known once it is open."""
        ...

    async def open(self) -> None:
        """Load the keys of what the collection holds."""
        ...

    async def known_items(self, items: Sequence[bytes], /) -> list[bool]:
        """Return which of the items of a page, given by their fingerprints, are known."""
        ...

    async def load_texts(self) -> None:
        """Read the texts of the known pages that are expected next."""
        ...

    async def add(self, page: MappedPage, /) -> None:
        """Take one page."""
        ...

    async def add_known(self, page: KnownPage, /) -> None:
        """Take a known page, or the known part of one."""
        ...

    async def end(self) -> None:
        """Take the end of the listing."""
        ...

    async def reset(self) -> None:
        """Drop all pages so far."""
        ...
