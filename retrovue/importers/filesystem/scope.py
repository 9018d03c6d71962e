"""What of a collection is in scope: a title, a season, an episode, by what the files' names tell."""

import re

from retrovue.core.errors import RequestError, ScopeNotFound
from retrovue.core.model import AssetDraft, Collection, Page, Scope

_WITH_YEAR = re.compile(r"(.+) \(([0-9]{4})\)")


class InScope:
    """Keeps what is in scope of the pages that it takes."""

    def __init__(self, collection: Collection, scope: Scope) -> None:
        self._collection = collection
        self._scope = scope
        self._drafts: list[AssetDraft] = []
        """Those of the title; a title is a few hundred files at most."""
        title = (scope.title or "").casefold()
        match = _WITH_YEAR.fullmatch(title)
        self._title = title
        self._with_year = None if match is None else (match[1], int(match[2]))

    def take(self, page: Page) -> None:
        """Keep the drafts that bear the title; a file that can't be used has none."""
        for draft in page.drafts:
            title = (draft.show_title or draft.title).casefold()
            if title == self._title or (title, draft.year) == self._with_year:
                self._drafts.append(draft)

    def page(self) -> Page:
        """Return what is in scope; raises ScopeNotFound, saying what isn't there, and RequestError for namesakes."""
        scope = self._scope
        if not self._drafts:
            raise self._not_found("title", f"There is no title {scope.title!r} in {self._collection.name!r}.")
        years = sorted({draft.year for draft in self._drafts if draft.year is not None})
        if len(years) > 1:
            named = ", ".join(f"{scope.title} ({year})" for year in years)
            raise RequestError(
                f"Several titles in {self._collection.name!r} are called {scope.title!r}: {named}.",
                code="ambiguous_title",
                hint='Give the year with the title, as in --title "Title (2005)".',
                context={"candidates": [{"title": scope.title, "year": year} for year in years]},
            )
        chosen = self._drafts
        if scope.season is not None:
            chosen = [draft for draft in chosen if draft.season_number == scope.season]
            if not chosen:
                raise self._not_found("season", f"{scope.title!r} has no season {scope.season}.")
        if scope.episode is not None:
            chosen = [draft for draft in chosen if draft.episode_number == scope.episode]
            if not chosen:
                text = f"Season {scope.season} of {scope.title!r} has no episode {scope.episode}."
                raise self._not_found("episode", text)
        return Page(chosen, [], len(chosen))

    def _not_found(self, part: str, text: str) -> ScopeNotFound:
        scope = self._scope
        what = "A title" if part == "title" else f"The number of the {part}"
        without = ", without year and episode" if part == "title" else ", as in S02E06"
        return ScopeNotFound(
            text,
            hint=f"{what} is what the file's name says{without}; `retrovue asset list` shows what is known.",
            context={"missing": part, "title": scope.title, "season": scope.season, "episode": scope.episode},
        )
