"""Sets of the ids that an enumeration has read, in little memory; and the drafts that it lists twice."""

from collections.abc import Iterable
from hashlib import blake2b

from retrovue.core.model import AssetDraft, Outline, Page, Rejection

GUID_BYTES = 16
_BUCKETS = 1 << 16


class IdSet:
    """A set of whole numbers, in one bit each where they lie close together.

    Row ids of one library do: a million of them take about a megabyte in runs of 512, and in the worst case, with a
    single id in each run, some 200 bytes each.
    """

    def __init__(self) -> None:
        self._runs: dict[int, int] = {}
        self._count = 0

    def add(self, number: int) -> bool:
        """Add a number; returns whether it is new."""
        run, bit = number >> 9, 1 << (number & 511)
        bits = self._runs.get(run, 0)
        if bits & bit:
            return False
        self._runs[run] = bits | bit
        self._count += 1
        return True

    def __len__(self) -> int:
        return self._count


class GuidSet:
    """A set of ids of 16 bytes, side by side in buckets: 26 bytes each for a million, where a ``set`` takes 83.

    Python's own hash, which differs from run to run, chooses the bucket: no server can fill a single one.
    """

    def __init__(self) -> None:
        self._buckets: dict[int, bytearray] = {}
        self._count = 0

    def add(self, guid: bytes) -> bool:
        """Add an id of 16 bytes; returns whether it is new."""
        number = hash(guid) % _BUCKETS
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = bytearray()
        place = bucket.find(guid)
        while place % GUID_BYTES and place > 0:
            # These bytes are the end of one id and the beginning of the next.
            place = bucket.find(guid, place + 1)
        if place >= 0:
            return False
        bucket += guid
        self._count += 1
        return True

    def __len__(self) -> int:
        return self._count


class Doubles:
    """Finds the drafts that one enumeration lists twice, in 26 bytes for each draft. A restart forgets all."""

    def __init__(self) -> None:
        self._listed = GuidSet()

    def new_in(self, outline: Outline) -> list[str]:
        """Add the drafts of an outline; returns the URIs that weren't listed before."""
        return [uri for uri in outline.source_uris if self._add(uri)]

    def sort_out(self, page: Page, outlined: Iterable[str] = ()) -> Page:
        """Reject the drafts that were listed before. ``outlined`` are URIs that the outline of this page has added."""
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
        if not rejected:
            return page
        # Without its stamp, which is of all drafts.
        return Page(drafts, page.rejected + rejected, page.source_items, page.restart, page.warnings)

    def _add(self, uri: str) -> bool:
        return self._listed.add(blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=GUID_BYTES).digest())
