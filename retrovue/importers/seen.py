"""Sets of the ids that an enumeration has read, with little memory; and what is listed twice."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b

import msgspec.structs

from retrovue.core.answers import DiscoveredCollection
from retrovue.core.pages import AssetDraft, Outline, Page, Rejection

GUID_BYTES = 16
_BUCKETS = 1 << 16


_RUN_BITS = 15
"""The numbers in a run: 2^15, in 4 KiB. Smaller runs would be small objects, which Python's allocator places among the
rows that are being read: each of them would keep an otherwise empty block of memory in use.
"""
_RUN = (1 << _RUN_BITS) - 1
_MOST_RUNS = 256
_FEWEST_IN_RUN = 256
"""The average number of ids in a run below which the run takes more memory than storing them one by one."""


class IdSet:
    """A set of whole numbers from 0 to 2^63, with one bit each if they are close together.

    Row ids of a library are: a million of them take 128 KiB if no number is missing. Otherwise they are stored one by
    one, in 16 bytes each.
    """

    def __init__(self) -> None:
        self._runs: dict[int, bytearray] = {}
        self._count = 0
        self._alone: PackedSet | None = None

    def add(self, number: int) -> bool:
        """Add a number; return whether it is new."""
        if self._alone is not None:
            return self._alone.add(number.to_bytes(8, "big"))
        bits = self._runs.get(number >> _RUN_BITS)
        if bits is None:
            if len(self._runs) >= _MOST_RUNS and self._count < len(self._runs) * _FEWEST_IN_RUN:
                self._keep_alone()
                return self.add(number)
            bits = self._runs[number >> _RUN_BITS] = bytearray((_RUN + 1) >> 3)
        place, bit = (number & _RUN) >> 3, 1 << (number & 7)
        if bits[place] & bit:
            return False
        bits[place] |= bit
        self._count += 1
        return True

    def add_all(self, numbers: Iterable[int]) -> bool:
        """Add numbers; return whether all of them are new. Those after the first one that isn't may not be added."""
        runs = self._runs
        known, bits = -1, bytearray()
        for number in numbers:
            run = number >> _RUN_BITS
            if run != known:
                # Another run, which may not exist yet, or the ids are stored one by one.
                if not self.add(number):
                    return False
                known, bits = (-1, bits) if self._alone is not None else (run, runs[run])
                continue
            place, bit = (number & _RUN) >> 3, 1 << (number & 7)
            if bits[place] & bit:
                return False
            bits[place] |= bit
            self._count += 1
        return True

    def __len__(self) -> int:
        return self._count if self._alone is None else len(self._alone)

    def _keep_alone(self) -> None:
        alone = PackedSet(8)
        while self._runs:
            run, bits = self._runs.popitem()
            for place, byte in enumerate(bits):
                for bit in range(8) if byte else ():
                    if byte >> bit & 1:
                        alone.add((run << _RUN_BITS | place << 3 | bit).to_bytes(8, "big"))
        self._alone = alone


class PackedSet:
    """A set of ids of the same length, stored side by side in buckets.

    Python's own hash, which differs between processes, chooses the bucket: no server can fill a single one.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._buckets: dict[int, bytearray] = {}
        self._count = 0

    def add(self, packed: bytes) -> bool:
        """Add an id; return whether it is new."""
        number = hash(packed) % _BUCKETS
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = bytearray()
        place = bucket.find(packed)
        while place % self._width and place > 0:
            # These bytes are the end of one id and the beginning of the next.
            place = bucket.find(packed, place + 1)
        if place >= 0:
            return False
        bucket += packed
        self._count += 1
        return True

    def add_all(self, packed: Iterable[bytes]) -> bool:
        """Add ids; return whether all of them are new. Those after the first one that isn't aren't added."""
        return all(map(self.add, packed))

    def __len__(self) -> int:
        return self._count


class GuidSet(PackedSet):
    """A set of ids of 16 bytes: 26 bytes each for a million, where a ``set`` takes 83."""

    def __init__(self) -> None:
        super().__init__(GUID_BYTES)


class Doubles:
    """Finds the drafts that one enumeration lists twice, with 26 bytes for each draft. A restart clears it."""

    def __init__(self) -> None:
        self._listed = GuidSet()

    def new_in(self, outline: Outline) -> list[str]:
        """Add the drafts of an outline; return the URIs that weren't listed before."""
        return [uri for uri in outline.source_uris if self._add(uri)]

    def sort_out(self, page: Page, outlined: Iterable[str] = ()) -> Page:
        """Reject the drafts that were listed before.

        ``outlined`` are the URIs that the outline of this page has added.
        """
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
                reason = "The source lists the item twice; the earlier entry is used."
                rejected.append(Rejection("listed_twice", reason, uri, draft.title))
        if not rejected:
            return page
        # Without its stamp, which covers all drafts.
        return Page(drafts, page.rejected + rejected, page.source_items, page.restart, page.warnings)

    def _add(self, uri: str) -> bool:
        return self._listed.add(blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=GUID_BYTES).digest())


def each_once(found: Iterable[DiscoveredCollection]) -> Iterator[DiscoveredCollection]:
    """Yield the libraries.

    A library with the key of an earlier one counts as unidentified, and doesn't affect others.
    """
    keys: set[str] = set()
    for library in found:
        yield library if library.external_id not in keys else msgspec.structs.replace(library, external_id="")
        keys.add(library.external_id)
