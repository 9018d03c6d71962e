"""The stamps of pages: hashes of everything that the drafts of a page are made from."""

from collections.abc import Iterable, Mapping
from typing import Generic

import msgspec
import xxhash

from retrovue.core.version import own_version
from retrovue.importers.http.drafts import Show
from retrovue.importers.http.listing import KeyT

_VERSION = own_version().encode()
"""Another version may make other drafts of the same rows."""


class PageStamps(Generic[KeyT]):
    """Makes the stamps of the pages of one library.

    The text of the rows is hashed as it came, which is a hundred times faster than comparing drafts. If it changes
    without a change of any draft, for example by the time when a film was last watched, the page is compared once.
    """

    def __init__(self, shows: Mapping[KeyT, Show], about: str) -> None:
        """``about`` is what all drafts have from elsewhere than their rows and shows."""
        self._shows = shows
        self._about = _VERSION + about.encode()
        self._digests: dict[KeyT | None, bytes] = {}

    def of_text(self, rows: memoryview) -> bytes:
        """Hash the text of the rows of an answer (`ListingFormat.rows_text`): 16 bytes."""
        digest = xxhash.xxh3_128(self._about)
        digest.update(rows)
        return digest.digest()

    def of(self, text: bytes, show_keys: Iterable[KeyT | None] | None) -> bytes:
        """Return the stamp of a page, from the hash of its text and the shows from which its rows inherit.

        ``show_keys`` are those that the rows name, each once; None represents an unknown show. Without shows
        (``show_keys`` is None) the stamp is the hash of the text.
        """
        if show_keys is None:
            return text
        digest = xxhash.xxh3_128(text)
        for key in show_keys:
            digest.update(self._digest(key if key in self._shows else None))
        return digest.digest()

    def of_rows(self, texts: Iterable[bytes], show_keys: Iterable[KeyT | None] | None) -> list[bytes]:
        """Hash rows one by one, each with the show from which it inherits, to 8 bytes each.

        ``show_keys`` are those of the rows, in their order; None if there are no shows.
        """
        seed = xxhash.xxh3_64_intdigest(self._about)
        hashed = xxhash.xxh3_64_digest
        if show_keys is None:
            return [hashed(text, seed) for text in texts]
        return [
            hashed(hashed(text, seed) + self._digest(key if key in self._shows else None))
            for text, key in zip(texts, show_keys, strict=True)
        ]

    def _digest(self, key: KeyT | None) -> bytes:
        found = self._digests.get(key)
        if found is None:
            # An episode without a known show may get any of them, for example by its title.
            text = msgspec.msgpack.encode(list(self._shows.items()) if key is None else self._shows[key])
            found = self._digests[key] = xxhash.xxh3_128_digest(text)
        return found
