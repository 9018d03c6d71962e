"""Which part of a library is asked for: a title, a season, an episode, in Plex's own filters.

The server is asked only for what is in scope; because its ``title=`` finds parts of titles, too, what it
answers is compared once more here: whole titles, without regard to case.
"""

from collections.abc import Callable
from dataclasses import dataclass

from retrovue.core.errors import ScopeNotFound
from retrovue.core.model import Collection, Scope
from retrovue.importers import titles
from retrovue.importers.plex.rows import BadRow, Listing, Row
from retrovue.importers.titles import title_guesses

__all__ = ["title_guesses"]

RowTest = Callable[[Row | BadRow], bool]


@dataclass(frozen=True, slots=True)
class Candidate(titles.Candidate):
    """A show or film of Plex that bears the title asked for."""

    key: int


def has_title(title: str, year: int | None) -> RowTest:
    """Make a test for rows of exactly this title and, if given, year."""
    wanted = title.casefold()

    def test(row: Row | BadRow) -> bool:
        if row.title is None or row.title.casefold() != wanted:
            return False
        return year is None or (isinstance(row, Row) and row.year == year)

    return test


def in_season(season: int | None, episode: int | None) -> RowTest:
    """Make a test for episodes of a season, and of a number in it."""

    def test(row: Row | BadRow) -> bool:
        if isinstance(row, BadRow):
            # What it would have been can't be told, and the server says that it is in scope.
            return True
        return (season is None or row.parent_index == season) and (episode is None or row.index == episode)

    return test


def select(listing: Listing, skip: int, test: RowTest) -> Listing:
    """Keep the rows that pass the test."""
    places = [place for place in range(skip, len(listing.rows)) if test(listing.rows[place])]
    return Listing(
        rows=[listing.rows[place] for place in places],
        keys=[listing.keys[place] for place in places],
        size=len(places),
        total=None,
        offset=None,
        mended=frozenset(new for new, old in enumerate(places) if old in listing.mended),
    )


def candidates(listing: Listing) -> list[Candidate]:
    """Name the shows or films of a listing."""
    return [
        Candidate(key, row.title or "", row.year)
        for row, key in zip(listing.rows, listing.keys, strict=True)
        if isinstance(row, Row) and isinstance(key, int)
    ]


def the_only(found: list[Candidate], collection: Collection, scope: Scope) -> Candidate:
    """Return the one show or film that the title means; raises RequestError if there are several."""
    return titles.the_only(found, collection, scope, "shows" if collection.kind == "show" else "films")


def episode_params(show: int, season: int | None, episode: int | None) -> dict[str, str]:
    """Filter episodes by show, season number and episode number (fields that python-plexapi's tests use, too)."""
    params = {"type": "4", "show.id": str(show)}
    if season is not None:
        params["season.index"] = str(season)
    if episode is not None:
        params["episode.index"] = str(episode)
    return params


def not_found(collection: Collection, scope: Scope, part: str) -> ScopeNotFound:
    """Say which part of the scope isn't there: ``title``, ``season`` or ``episode``."""
    return titles.not_found(collection, scope, part, server="Plex", seasons=collection.kind == "show")
