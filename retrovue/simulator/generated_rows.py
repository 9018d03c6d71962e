"""The rows of a generated section, each computed from its number alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from retrovue.simulator.templates import VARIANTS, Shuffle, Template, scramble
from retrovue.simulator.words import FIRST, SECOND

_ADDED = 1_600_000_000
_UPDATED = 1_650_000_000
_PHRASES = tuple(f"{first} {second}".encode() for first in FIRST for second in SECOND)
_SLUGS = tuple(phrase.lower().replace(b" ", b"-") for phrase in _PHRASES)


def latest_time(count: int) -> int:
    """Return a time after those of so many rows, in seconds since 1970."""
    return _UPDATED + count // 3 * 60 + 60


class Rows(Protocol):
    """All rows of one type in a generated section."""

    total: int

    def row(self, index: int, templates: Mapping[int, Template]) -> bytes:
        """Row `index`, in the order of ids, as JSON."""
        ...

    def by_title(self, place: int) -> int:
        """Which row comes at this place in the order of titles."""
        ...

    def by_update(self, place: int) -> int:
        """Which row comes at this place in the order of updatedAt."""
        ...

    def id_of(self, index: int) -> int:
        """Return the ratingKey of row `index`."""
        ...

    def index_of(self, rating_key: int) -> int | None:
        """Which row has this ratingKey."""
        ...


class Titles:
    """Distinct titles whose order is the order of their numbers."""

    def __init__(self, count: int) -> None:
        self._count = max(count, 1)
        self._numbered = count > len(_PHRASES)
        self._width = len(str(count // len(_PHRASES) + 1))

    def of(self, rank: int) -> tuple[bytes, bytes]:
        """Return the title of this rank and its slug."""
        bucket = rank * len(_PHRASES) // self._count
        if not self._numbered:
            return _PHRASES[bucket], _SLUGS[bucket]
        number = b"%0*d" % (self._width, rank - -(-bucket * self._count // len(_PHRASES)) + 1)
        return _PHRASES[bucket] + b" " + number, _SLUGS[bucket] + b"-" + number


class FlatRows:
    """Movies or clips: one row beside the other."""

    def __init__(self, count: int, seed: int, first_id: int) -> None:
        self.total = count
        self._seed = seed
        self._first_id = first_id
        self._titles = Titles(count)
        self._alphabet = Shuffle(count, seed)
        self._updates = Shuffle(count, seed + 1)

    def row(self, index: int, templates: Mapping[int, Template]) -> bytes:
        """Row `index`, in the order of ids, as JSON."""
        mixed = scramble(self._seed, index)
        rating_key = self._first_id + index
        title, slug = self._titles.of(self._alphabet.place(index))
        media = rating_key * 2
        duration = 4_800_000 + (mixed >> 20) % 4_800_000
        first, second = b"%d" % media, b"%d" % (media + 1)
        return templates[mixed % VARIANTS].fill(
            (
                b"%d" % rating_key,
                title,
                slug,
                b"5d%014x%08x" % (mixed >> 8, rating_key),
                b"%d" % duration,
                b"%d" % (700_000_000 + (mixed >> 28)),
                b"%d" % (_ADDED + index // 7 * 60),
                b"%d" % (_UPDATED + self._updates.place(index) // 3 * 60),
                first,
                second,
                first,
                second,
                b"%d" % (duration // 2),
                b"%d" % (duration - duration // 2),
            )
        )

    def by_title(self, place: int) -> int:
        """Which row comes at this place in the order of titles."""
        return self._alphabet.index(place)

    def by_update(self, place: int) -> int:
        """Which row comes at this place in the order of updatedAt."""
        return self._updates.index(place)

    def id_of(self, index: int) -> int:
        """Return the ratingKey of row `index`."""
        return self._first_id + index

    def index_of(self, rating_key: int) -> int | None:
        """Which row has this ratingKey."""
        index = rating_key - self._first_id
        return index if 0 <= index < self.total else None


class Tree:
    """How the leaves of a section hang together: a pattern of shows and seasons, repeated."""

    def __init__(self, pattern: Sequence[Sequence[int]], leaves: int, seed: int, first_id: int) -> None:
        self.seed = seed
        self.first_id = first_id
        # Per top: first leaf, leaves, first mid, mids. Per mid: top, its number, first leaf, leaves.
        self.tops: list[tuple[int, int, int, int]] = []
        self.mids: list[tuple[int, int, int, int]] = []
        # Per leaf: top, mid, number of the mid, number in the mid, whether another follows in the mid.
        self.leaves: list[tuple[int, int, int, int, bool]] = []
        self.offsets: tuple[list[int], list[int], list[int]] = ([], [], [])
        self.at_offset: list[tuple[int, int]] = []
        for top, seasons in enumerate(pattern):
            self._place(0, top)
            self.tops.append((len(self.leaves), sum(seasons), len(self.mids), len(seasons)))
            for number, length in enumerate(seasons, 1):
                self._place(1, len(self.mids))
                self.mids.append((top, number, len(self.leaves), length))
                for place in range(1, length + 1):
                    self._place(2, len(self.leaves))
                    self.leaves.append((top, len(self.mids) - 1, number, place, place < length))
        self.blocks, self.tail = divmod(leaves, len(self.leaves))
        self.per_block = (len(self.tops), len(self.mids), len(self.leaves))
        in_tail = (
            sum(1 for first, _, _, _ in self.tops if first < self.tail),
            sum(1 for _, _, first, _ in self.mids if first < self.tail),
            self.tail,
        )
        self.totals = tuple(self.blocks * per + more for per, more in zip(self.per_block, in_tail, strict=True))
        self.titles = Titles(self.totals[0])
        # The last block may be cut short, so it keeps its place.
        self._alphabet = Shuffle(self.blocks, seed)

    def _place(self, level: int, number: int) -> None:
        self.offsets[level].append(len(self.at_offset))
        self.at_offset.append((level, number))

    def id_of(self, level: int, block: int, number: int) -> int:
        """Return the ratingKey of one thing of a block."""
        return self.first_id + block * len(self.at_offset) + self.offsets[level][number]

    def index_of(self, rating_key: int) -> tuple[int, int] | None:
        """Return the level and the index of the thing with this ratingKey."""
        block, offset = divmod(rating_key - self.first_id, len(self.at_offset))
        level, number = self.at_offset[offset]
        index = block * self.per_block[level] + number
        return (level, index) if block >= 0 and index < self.totals[level] else None

    def shown(self, block: int, first: int, count: int) -> int:
        """How many of these leaves there are, now that the last block may be cut short."""
        return count if block < self.blocks else max(0, min(count, self.tail - first))

    def rank(self, block: int) -> int:
        """Where a block comes in the order of titles."""
        return self._alphabet.place(block) if block < self.blocks else block

    def block_at(self, rank: int) -> int:
        """Which block comes at this place in the order of titles."""
        return self._alphabet.index(rank) if rank < self.blocks else rank


class TreeRows:
    """Shows, seasons or episodes, or the same of music."""

    def __init__(self, tree: Tree, level: int) -> None:
        self._tree = tree
        self._level = level
        self._per_block = tree.per_block[level]
        self.total = tree.totals[level]
        self._updates = Shuffle(self.total, tree.seed + level + 1)
        self._fill = (self._top, self._mid, self._leaf)[level]
        self.share_files_below = 0
        # Neighbours have the same season and show, so their last values are kept.
        self._above: tuple[tuple[int, int], tuple[bytes, ...]] = ((-1, -1), ())

    def row(self, index: int, templates: Mapping[int, Template]) -> bytes:
        """Row `index`, in the order of ids, as JSON."""
        return self._fill(index, templates)

    def by_title(self, place: int) -> int:
        """Which row comes at this place in the order of titles."""
        rank, number = divmod(place, self._per_block)
        return self._tree.block_at(rank) * self._per_block + number

    def by_update(self, place: int) -> int:
        """Which row comes at this place in the order of updatedAt."""
        return self._updates.index(place)

    def id_of(self, index: int) -> int:
        """Return the ratingKey of row `index`."""
        return self._tree.id_of(self._level, *divmod(index, self._per_block))

    def index_of(self, rating_key: int) -> int | None:
        """Which row has this ratingKey."""
        found = self._tree.index_of(rating_key)
        return found[1] if found and found[0] == self._level else None

    def _times(self, index: int) -> tuple[bytes, bytes]:
        return b"%d" % (_ADDED + index // 7 * 60), b"%d" % (_UPDATED + self._updates.place(index) // 3 * 60)

    def _guid(self, rating_key: int) -> bytes:
        return b"5d%014x%08x" % (scramble(self._tree.seed, rating_key) >> 8, rating_key)

    def _top(self, index: int, templates: Mapping[int, Template]) -> bytes:
        tree = self._tree
        block, number = divmod(index, self._per_block)
        first, leaves, first_mid, mids = tree.tops[number]
        rating_key = tree.id_of(0, block, number)
        title, slug = tree.titles.of(tree.rank(block) * self._per_block + number)
        shown_mids = sum(
            1 for mid in range(first_mid, first_mid + mids) if tree.shown(block, tree.mids[mid][2], tree.mids[mid][3])
        )
        none = (b"0",) * 13
        head = (b"%d" % rating_key, title, slug, self._guid(rating_key), b"0", b"0", *self._times(index))
        counts = (b"%d" % tree.shown(block, first, leaves), b"%d" % shown_mids)
        template = templates[scramble(tree.seed, rating_key) % VARIANTS]
        return template.fill((*head, *none[:12], *counts))

    def _mid(self, index: int, templates: Mapping[int, Template]) -> bytes:
        tree = self._tree
        block, number = divmod(index, self._per_block)
        top, season, first, leaves = tree.mids[number]
        rating_key, top_key = tree.id_of(1, block, number), tree.id_of(0, block, top)
        title, slug = tree.titles.of(tree.rank(block) * tree.per_block[0] + top)
        head = (b"%d" % rating_key, b"", b"", self._guid(rating_key), b"0", b"0", *self._times(index))
        parents = (b"%d" % top_key, b"0", self._guid(top_key), b"", title, slug)
        counts = (b"%d" % season, b"1", b"%d" % tree.shown(block, first, leaves))
        template = templates[scramble(tree.seed, rating_key) % VARIANTS]
        return template.fill((*head, b"0", b"0", b"0", b"0", *parents, *counts))

    def _leaf(self, index: int, templates: Mapping[int, Template]) -> bytes:
        tree = self._tree
        block, number = divmod(index, self._per_block)
        top, mid, season, place, has_next = tree.leaves[number]
        rating_key = tree.id_of(2, block, number)
        mixed = own = scramble(tree.seed, rating_key)
        # Two neighbours that share a file share all that describes it.
        leader = place if place % 2 else place - 1
        tag = b"S%02dE%02d" % (season, place)
        if self.share_files_below and (place % 2 == 0 or has_next):
            pair = scramble(tree.seed, rating_key + leader - place)
            if (pair >> 40) % 10_000 < self.share_files_below:
                mixed = pair
                tag = b"S%02dE%02d-E%02d" % (season, leader, leader + 1)
        if self._above[0] != (block, mid):
            mid_key, top_key = tree.id_of(1, block, mid), tree.id_of(0, block, top)
            title, slug = tree.titles.of(tree.rank(block) * tree.per_block[0] + top)
            keys = (b"%d" % mid_key, b"%d" % top_key, self._guid(mid_key), self._guid(top_key), title, slug)
            self._above = ((block, mid), keys)
        media = b"%d" % (rating_key * 2)
        second = b"%d" % (rating_key * 2 + 1)
        return templates[mixed % VARIANTS].fill(
            (
                b"%d" % rating_key,
                _PHRASES[own % len(_PHRASES)],
                b"",
                b"5d%014x%08x" % (own >> 8, rating_key),
                b"%d" % (1_200_000 + (mixed >> 20) % 2_400_000),
                b"%d" % (200_000_000 + (mixed >> 32)),
                *self._times(index),
                media,
                second,
                media,
                second,
                *self._above[1],
                b"%d" % place,
                b"%d" % season,
                b"0",
                b"0",
                tag,
            )
        )
