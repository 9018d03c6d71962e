"""Finds a title that an operator typed, and makes the errors if it is missing or ambiguous."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from retrovue.core.errors import RequestError, ScopeNotFound
from retrovue.core.model import Collection, Scope

_TITLE_WITH_YEAR = re.compile(r"(.+) \(([0-9]{4})\)")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A show or film with the title asked for."""

    key: int | str
    title: str
    year: int | None


CandidateT = TypeVar("CandidateT", bound=Candidate)


def title_guesses(title: str) -> list[tuple[str, int | None]]:
    """Return the ways to read a title: as it stands, then as "Title (year)"."""
    guesses: list[tuple[str, int | None]] = [(title, None)]
    match = _TITLE_WITH_YEAR.fullmatch(title)
    if match:
        guesses.append((match[1], int(match[2])))
    return guesses


def has_title(title: str, year: int | None) -> Callable[[Any], bool]:
    """Make a test for rows of exactly this title, without regard to case, and of the year if given."""
    folded = title.casefold()

    def test(row: Any) -> bool:
        return row.title is not None and row.title.casefold() == folded and (year is None or row.year == year)

    return test


def candidate(key: int | str, row: Any) -> Candidate:
    """Make a candidate of a row that has a title and a year."""
    return Candidate(key, row.title or "", row.year)


def the_only(candidates: list[CandidateT], collection: Collection, scope: Scope, what: str) -> CandidateT:
    """Return the only candidate of ``what`` (shows, films); raises RequestError if there are several."""
    if len(candidates) == 1:
        return candidates[0]
    names = [f"{show.title} ({'no year' if show.year is None else show.year}, key {show.key})" for show in candidates]
    raise RequestError(
        f"Several {what} in {collection.name!r} are called {scope.title!r}: {'; '.join(names)}.",
        code="ambiguous_title",
        hint='Give the year with the title, as in --title "Title (2005)".',
        context={"candidates": [{"key": show.key, "title": show.title, "year": show.year} for show in candidates]},
    )


def not_found(collection: Collection, scope: Scope, part: str, *, server: str, seasons: bool) -> ScopeNotFound:
    """Make the error of a scope of which ``part`` isn't there: ``title``, ``season`` or ``episode``.

    ``seasons`` says whether libraries of this kind have any.
    """
    title = f"{scope.title!r}"
    text = {
        "title": f"There is no title {title} in {collection.name!r}.",
        "season": f"{title} has no season {scope.season} in {collection.name!r}.",
        "episode": f"Season {scope.season} of {title} has no episode {scope.episode} in {collection.name!r}.",
    }[part]
    hint = {
        "title": f"Look the title up in {server}: it has to be written in full.",
        "season": f"Look in {server} which seasons it has.",
        "episode": f"Look in {server} which episodes the season has.",
    }[part]
    if part == "season" and not seasons:
        text = f"{collection.name!r} is a library of kind {collection.kind!r}: its titles have no seasons."
        hint = "Ask for the title alone, without a season."
    return ScopeNotFound(
        text,
        hint=hint,
        context={"missing": part, "title": scope.title, "season": scope.season, "episode": scope.episode},
    )
