"""Which part of a library is asked for: a title, a season, an episode.

Jellyfin searches for parts of titles and filters by season, but has no filter for a title as a whole or for an
episode's number: what it answers is compared once more here, titles without regard to case.
"""

from collections.abc import Callable

from retrovue.importers.jellyfin.rows import BadRow, Listing, Row, guid_bytes
from retrovue.importers.titles import Candidate

RowTest = Callable[[Row | BadRow], bool]


def has_title(title: str, year: int | None) -> RowTest:
    """Make a test for rows of exactly this title and, if given, year."""
    wanted = title.casefold()

    def test(row: Row | BadRow) -> bool:
        if row.name is None or row.name.casefold() != wanted:
            return False
        return year is None or (isinstance(row, Row) and row.production_year == year)

    return test


def in_season(series: bytes, season: int | None, episode: int | None) -> RowTest:
    """Make a test for episodes of a series, of a season, and of a number in it, also within a file's range."""

    def test(row: Row | BadRow) -> bool:
        if isinstance(row, BadRow):
            # What it would have been can't be told, and the server says that it is in scope.
            return True
        if guid_bytes(row.series_id) != series or (season is not None and row.parent_index_number != season):
            return False
        if episode is None:
            return True
        first = row.index_number
        return first is not None and first <= episode <= max(first, row.index_number_end or first)

    return test


def select(listing: Listing, skip: int, test: RowTest) -> Listing:
    """Keep the rows that pass the test."""
    places = [place for place in range(skip, len(listing.rows)) if test(listing.rows[place])]
    return Listing(
        rows=[listing.rows[place] for place in places],
        keys=[listing.keys[place] for place in places],
        total=len(places),
        offset=None,
        mended=frozenset(new for new, old in enumerate(places) if old in listing.mended),
    )


def candidates(listing: Listing) -> list[Candidate]:
    """Name the series or films of a listing."""
    return [
        Candidate(key.hex(), row.name or "", row.production_year)
        for row, key in zip(listing.rows, listing.keys, strict=True)
        if isinstance(row, Row)
    ]
