"""Select the part of a collection of files that is in scope."""

from retrovue.core.errors import ScopeNotFound
from retrovue.core.model import Collection
from retrovue.core.pages import AssetDraft, Page
from retrovue.core.runs import Scope
from retrovue.core.text import item_key, quoted
from retrovue.importers.titles import Candidate, Reading, folded, readings, the_only


class Selection:
    """The drafts in scope. Call ``add()`` for each page, then ``page()``."""

    def __init__(self, collection: Collection, scope: Scope, directory: str) -> None:
        """``directory`` is that of the collection, because a key may be a path below it."""
        self._collection = collection
        self._scope = scope
        self._drafts: list[tuple[int, AssetDraft]] = []
        """The number of the reading of the title, and the draft: at most a few hundred."""
        self._readings = readings(scope.title or "")
        self._below = f"{directory.rstrip('/')}/"

    def add(self, page: Page) -> None:
        """Keep the drafts of the title."""
        for draft in page.drafts:
            number = next((i for i, reading in enumerate(self._readings) if self._means(reading, draft)), None)
            if number is not None:
                self._drafts.append((number, draft))

    def _means(self, reading: Reading, draft: AssetDraft) -> bool:
        if reading.key is not None:
            path = item_key(draft.source_uri)
            keys = (draft.show_key, path, path.removeprefix(self._below))
            return any(key is not None and folded(key) == folded(reading.key) for key in keys)
        year = draft.show_year if draft.type == "episode" else draft.year
        return (
            folded(draft.show_title or draft.title) == folded(reading.title)
            and reading.year in {None, year}
            and (reading.edition is None or folded(draft.edition or "") == folded(reading.edition))
        )

    def page(self) -> Page:
        """Return the drafts in scope; raise ScopeNotFound if there are none, RequestError for several titles."""
        scope = self._scope
        if not self._drafts:
            raise self._not_found(
                "title", f"There is no title {quoted(scope.title)} in {self._collection.display_name}."
            )
        likeliest = min(number for number, _ in self._drafts)
        drafts = [draft for number, draft in self._drafts if number == likeliest]
        if self._readings[likeliest].key is None:
            self._check_only(drafts)
        if scope.season is not None:
            drafts = [draft for draft in drafts if draft.season_number == scope.season]
            if not drafts:
                raise self._not_found("season", f"{quoted(scope.title)} has no season {scope.season}.")
        if scope.episode is not None:
            drafts = [draft for draft in drafts if draft.episode_number == scope.episode]
            if not drafts:
                text = f"Season {scope.season} of {quoted(scope.title)} has no episode {scope.episode}."
                raise self._not_found("episode", text)
        return Page(drafts, [], len(drafts))

    def _check_only(self, drafts: list[AssetDraft]) -> None:
        """Raise RequestError if the drafts belong to several shows, or to films of several years."""
        shows: dict[tuple[str | None, int | None], Candidate] = {}
        films: dict[int, Candidate] = {}
        for draft in drafts:
            path = item_key(draft.source_uri).removeprefix(self._below)
            if draft.type == "episode":
                identity = (draft.show_key, draft.show_year)
                show = Candidate(draft.show_key or path, draft.show_title or draft.title, draft.show_year)
                if identity != (None, None):
                    shows.setdefault(identity, show)
            elif draft.year is not None:
                films.setdefault(draft.year, Candidate(path, draft.title, draft.year))
        for what, found in (("shows", [*shows.values()]), ("titles", [*films.values()])):
            if len(found) > 1:
                the_only(sorted(found, key=str), self._collection, self._scope, what)

    def _not_found(self, part: str, text: str) -> ScopeNotFound:
        scope = self._scope
        subject = "A title" if part == "title" else f"The number of the {part}"
        form = ", without year and episode" if part == "title" else ", as in S02E06"
        return ScopeNotFound(
            text,
            hint=f"{subject} is read from the file's name{form}; `retrovue asset list` shows the known ones.",
            context={"missing": part, "title": scope.title, "season": scope.season, "episode": scope.episode},
        )
