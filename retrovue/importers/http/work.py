"""An answer on its way to its page: a second process decodes it, or the run does."""

from contextlib import suppress
from typing import Any

import anyio

from retrovue.importers.http.decoder import PageDecoder
from retrovue.importers.http.listing import Listing


class Work:
    """An answer for the second process."""

    def __init__(self, listing: int, body: bytes | bytearray, shared: int, *, outline: bool = False) -> None:
        self.listing = listing
        """The number of its listing."""
        self.body = body
        """The answer; empty when its page is there, but not when its outline is."""
        self.shared = shared
        """As for `PageDecoder.decode`."""
        self.outline = outline
        """Whether only its outline is decoded."""
        self.slot: int | None = None
        """Where the second process has it or had it in the shared memory; None while it waits."""
        self.packed = b""
        """The result of `pack`; empty if there is none, or not yet."""
        self.listing_here: Listing[Any, Any] | None = None
        """The result if the run has decoded the answer."""
        self.done = anyio.Event()

    def finish(self, packed: bytes) -> None:
        """Take the result; empty if the answer has to be decoded in this process."""
        self.packed = packed
        if packed and not self.outline:
            self.body = b""
        self.done.set()

    def decode(self, decoder: PageDecoder[Any, Any, Any]) -> None:
        """Decode the answer in this process. If one of its rows is unusual, or it fails, it has no result."""
        decode = decoder.decode_outline if self.outline else decoder.decode_usual
        # It is decoded again where its page is needed, and any error is raised there: this is another collection's.
        with suppress(Exception):
            self.listing_here = decode(self.body, self.shared)
        if self.listing_here is not None and not self.outline:
            self.body = b""
        self.done.set()
