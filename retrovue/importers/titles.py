"""Titles as operators name them: how they may be meant, and what to say of those that are missing or not alone."""

import re
from dataclasses import dataclass
from typing import TypeVar

from retrovue.core.errors import RequestError, ScopeNotFound
from retrovue.core.model import Collection, Scope

_TITLE_WITH_YEAR = re.compile(r"(.+) \(([0-9]{4})\)")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A show or film that bears the title asked for."""

    key: int | str
    title: str
    year: int | None


CandidateT = TypeVar("CandidateT", bound=Candidate)


def title_guesses(title: str) -> list[tuple[str, int | None]]:
    """Read a title as it stands, then as "Title (year)", the way to tell namesakes apart."""
    guesses: list[tuple[str, int | None]] = [(title, None)]
    found = _TITLE_WITH_YEAR.fullmatch(title)
    if found:
        guesses.append((found[1], int(found[2])))
    return guesses


def the_only(found: list[CandidateT], collection: Collection, scope: Scope, what: str) -> CandidateT:
    """Return the one of ``what`` (shows, films) that the title means; raises RequestError if there are several."""
    if len(found) == 1:
        return found[0]
    names = [f"{one.title} ({one.year if one.year is not None else 'no year'}, key {one.key})" for one in found]
    raise RequestError(
        f"Several {what} in {collection.name!r} are called {scope.title!r}: {'; '.join(names)}.",
        code="ambiguous_title",
        hint='Give the year with the title, as in --title "Title (2005)".',
        context={"candidates": [{"key": one.key, "title": one.title, "year": one.year} for one in found]},
    )


def not_found(collection: Collection, scope: Scope, part: str, *, server: str, seasons: bool) -> ScopeNotFound:
    """Say which part of the scope isn't there: ``title``, ``season`` or ``episode``.

    ``seasons`` says whether the library is of a kind that has any.
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
