"""Make pages of asset drafts from the rows of a listing: the part that all media servers share.

Every row becomes drafts, or rejections with a reason. Nothing here raises errors or does I/O.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Generic

import msgspec

from retrovue.core.bounds import MOST_PAGE_DRAFTS, MOST_VERSIONS
from retrovue.core.pages import AssetDraft, Page, PartDraft, Rejection, SummaryMaker
from retrovue.core.paths import stem
from retrovue.core.text import quoted
from retrovue.importers.http.listing import BadRow, KeyT, ListedRow, OutlineRows, OutlineT, RowT

LONGEST_MS: Final = 2**31 - 1
# There are no films from before 1800, and servers have given 0, 1 and the far future.
FIRST_YEAR, LAST_YEAR = 1800, 2200
_UNCLEAN = ("\0", "\ufffd")


class Show(msgspec.Struct, frozen=True, gc=False):
    """A show: its identity, and the values that its episodes inherit if they have none."""

    title: str | None
    year: int | None
    provider_ids: Mapping[str, str] | None
    studios: list[str]
    content_rating: str | None
    rating: float | None
    tags: Mapping[str, list[str]]


class Membership(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What an item belongs to: an episode to a show, a track to an album, with its numbers there."""

    show_title: str | None = None
    show_key: str | None = None
    show_year: int | None = None
    show_provider_ids: Mapping[str, str] | None = None
    season: int | None = None
    episode: int | None = None
    artist: str | None = None
    album: str | None = None
    disc: int | None = None
    track: int | None = None


NO_MEMBERSHIP: Final = Membership()
"""The membership of a film or a clip."""

Problem = tuple[str, str]
"""The code and the reason of a rejection."""


class DraftMaker(ABC, Generic[RowT, OutlineT, KeyT]):
    """Makes the drafts of one collection. Its rows have ``type``, ``title`` and ``versions``, which have an ``id``."""

    types: ClassVar[Mapping[str, str]]
    """The type of asset for each type of item that can be played."""
    uri: str
    """The URI of all items, to which their keys are appended."""
    shows: Mapping[KeyT, Show]
    """The known shows of the collection, from which its episodes inherit."""

    @abstractmethod
    def add_drafts(self, row: RowT, uri: str, page: Page) -> None:
        """Add the drafts of an item to the page; ``uri`` is that of the item."""

    @abstractmethod
    def add_to_outline(self, row: OutlineT, uri: str, outline: OutlineRows) -> None:
        """Add the versions of an item in short form to the outline."""

    @abstractmethod
    def show_key(self, row: Any) -> Any:
        """Return the id of the show that a row names, as the row spells it; None if it names none."""

    @abstractmethod
    def parse_show_key(self, text: Any) -> KeyT | None:
        """Parse the key in a row; None if it isn't one."""

    def show_key_of(self, listed: ListedRow[Any, KeyT]) -> KeyT | None:
        """Return the key of the show that a row names; None if it names none."""
        return self.parse_show_key(self.show_key(listed.row))

    def show_keys(self, rows: Sequence[ListedRow[Any, KeyT]]) -> list[KeyT | None]:
        """Return the keys of the shows that rows name, each once; None represents rows that name none."""
        named = dict.fromkeys([self.show_key(listed.row) for listed in rows if type(listed.row) is not BadRow])
        return [self.parse_show_key(text) for text in named]

    @abstractmethod
    def key_problem(self, row: RowT) -> Problem:
        """Return why the id of the row can't be used; None if it can."""

    def item_problem(self, row: Any) -> Problem | None:  # noqa: ARG002 - for subclasses
        """Return why an item with all of its versions can't be used; None if it can."""
        return None

    def is_whole(self, row: RowT) -> bool:  # noqa: ARG002 - for subclasses
        """Return whether a row has all that its drafts are made from."""
        return True

    @abstractmethod
    def version_problem(self, version: Any) -> Problem | None:
        """Return why a version can't be used; None if it can."""

    def version_uri(self, uri: str, version_id: Any) -> str:
        """Return the URI of a version of an item."""
        return f"{uri}?media={version_id}"

    def page(self, rows: Sequence[ListedRow[RowT | BadRow, KeyT]]) -> Page:
        """Make the drafts of rows."""
        page = Page([], [], 0)
        self.add(rows, page)
        return page

    def add(self, rows: Sequence[ListedRow[RowT | BadRow, KeyT]], page: Page) -> None:
        """Add the drafts of rows to a page."""
        page.source_items += len(rows)
        for listed in rows:
            row, uri = listed.row, self._item_uri(listed.key)
            first_draft, first_rejection = len(page.drafts), len(page.rejected)
            if isinstance(row, BadRow):
                reason = f"The item is malformed: {row.reason}."
                page.rejected.append(Rejection("bad_types", reason, uri if listed.has_key else None, row.title))
            elif first_draft >= MOST_PAGE_DRAFTS:
                reason = f"The items listed before it have {first_draft:,} versions: too many for one page."
                page.rejected.append(
                    Rejection("too_many_versions", reason, uri if listed.has_key else None, _title(row))
                )
            elif not listed.has_key:
                page.rejected.append(Rejection(*self.key_problem(row), None, _title(row)))
            else:
                self.add_drafts(row, uri, page)
                if listed.incomplete:
                    page.drafts[first_draft:] = [
                        msgspec.structs.replace(draft, warnings=(*draft.warnings, "bad_value"))
                        for draft in page.drafts[first_draft:]
                    ]
            if listed.repaired:
                _clean_from(page, first_draft, first_rejection)

    def outline(self, rows: Sequence[ListedRow[OutlineT, KeyT]]) -> OutlineRows:
        """Make the outline of rows in short form."""
        outline = OutlineRows()
        add, item_uri = self.add_to_outline, self._item_uri
        uris, rejected, ends = outline.source_uris, outline.rejected, outline.ends
        for listed in rows:
            add(listed.row, item_uri(listed.key), outline)
            ends.append((len(uris), len(rejected)))
        return outline

    def usable_versions(self, row: Any, uri: str, rejected: list[Rejection]) -> list[Any]:
        """Return the usable versions of an item. Adds the others, or the item as a whole, to ``rejected``."""
        problem: Problem | None
        versions: list[Any] = row.versions or []
        if (
            len(versions) == 1
            and row.type in self.types
            and versions[0].id not in {None, ""}
            and self.item_problem(row) is None
            and self.version_problem(versions[0]) is None
        ):
            return versions  # as most items
        if row.type not in self.types:
            problem = "not_playable", f"An item of type {quoted(row.type)} is not playable."
        else:
            problem = self.item_problem(row)
            if problem is None and not versions:
                problem = "no_media", "The item has no media."
            elif problem is None and len(versions) > MOST_VERSIONS:
                reason = f"The item has {len(versions):,} versions; at most {MOST_VERSIONS:,} can be used."
                problem = "too_many_versions", reason
        if problem is not None:
            rejected.append(Rejection(*problem, uri, row.title))
            return []
        usable: list[Any] = []
        seen: set[Any] = set()
        for version in versions:
            version_id = version.id
            if version_id is None or version_id == "":
                problem = "no_media_id", "The version has no id, so that it can't be told from others."
            elif version_id in seen:
                problem = "duplicate_version", "The item lists the same version twice."
            else:
                seen.add(version_id)
                problem = self.version_problem(version)
            if problem is None:
                usable.append(version)
            else:
                where = self.version_uri(uri, version_id) if version_id not in {None, ""} else uri
                rejected.append(Rejection(*problem, where, row.title))
        return usable

    def _item_uri(self, key: KeyT) -> str:
        return f"{self.uri}{key.hex() if isinstance(key, bytes) else key}"


class PageTaker(Generic[RowT, OutlineT, KeyT]):
    """Makes the page of an answer while the answer is decoded."""

    def __init__(
        self, make: DraftMaker[RowT, OutlineT, KeyT], shared: int, summary: SummaryMaker | None = None
    ) -> None:
        """``shared`` is the number of rows at the beginning that belong to the page before.

        With ``summary`` the page has no drafts: they are given to it, and freed while they are in the processor's
        cache.
        """
        self.page = Page([], [], 0)
        self.summary = summary
        self._summarized = 0
        """How many drafts were given to the summary."""
        self._make = make
        self._shared = shared
        self._shows: dict[Any, None] = {}

    @property
    def show_keys(self) -> list[KeyT | None] | None:
        """The keys of the shows that the rows name, each once; None if no show is known."""
        return [self._make.parse_show_key(text) for text in self._shows] if self._make.shows else None

    def take(self, rows: list[ListedRow[Any, KeyT]]) -> bool:
        """Take the next rows; return False if one of them isn't whole, or can't be summarized."""
        make = self._make
        if not all(make.is_whole(listed.row) for listed in rows):
            return False
        if make.shows:
            self._shows.update(dict.fromkeys([make.show_key(listed.row) for listed in rows]))
        shared, self._shared = self._shared, 0
        make.add(rows[shared:], self.page)
        return self.summary is None or self._summarize(self.summary)

    def _summarize(self, summary: SummaryMaker) -> bool:
        drafts, self.page.drafts = self.page.drafts, []
        self._summarized += len(drafts)
        # A page with as many may have rejections.
        return self._summarized < MOST_PAGE_DRAFTS and summary.take(drafts)


def read_shows(rows: Sequence[ListedRow[RowT | BadRow, KeyT]], read: Callable[[RowT], Show]) -> dict[KeyT, Show]:
    """Read the rows of a listing of shows, by key. Malformed rows are left out."""
    shows: dict[KeyT, Show] = {}
    for listed in rows:
        row = listed.row
        if not isinstance(row, BadRow) and listed.has_key:
            show = read(row)
            shows[listed.key] = Show(*map(without_nul, msgspec.structs.astuple(show))) if listed.repaired else show
    return shows


def ordinal(value: int | None, warnings: list[str]) -> int | None:
    """Return the number of a season or episode; None, with a warning, if it is negative."""
    if value is not None and value < 0:
        warnings.append("bad_number")
        return None
    return value


def year(value: int | None, warnings: list[str]) -> int | None:
    """Return a year; None, with a warning, for a year before the first recordings."""
    if value is not None and not FIRST_YEAR <= value <= LAST_YEAR:
        warnings.append("bad_year")
        return None
    return value


def rating(audience: float | None, critics: float | None, warnings: list[str], *, best: float = 10) -> float | None:
    """Return the rating of the audience (0 to 10), else that of the critics (0 to ``best``), converted to 0 to 10."""
    if audience is not None:
        if 0 <= audience <= 10:
            return audience
        # Plex has given a year as rating: 2049.
        warnings.append("bad_rating")
    if critics is not None:
        if 0 <= critics <= best:
            return critics if best == 10 else critics / (best / 10)
        warnings.append("bad_rating")
    return None


def milliseconds(value: float | None, warnings: list[str], *, per_ms: int = 1) -> int | None:
    """Return a length in milliseconds; None, with a warning, if it isn't a whole positive number of its unit."""
    if value is None:
        return None
    if type(value) is int and 0 < value // per_ms <= LONGEST_MS:
        return value // per_ms
    warnings.append("bad_duration")
    return None


def runtime_ms(
    parts: Sequence[PartDraft], of_version: float | None, of_item: float | None, warnings: list[str], *, per_ms: int = 1
) -> int | None:
    """Return the runtime: for a single file that of the version, the item or the file; for several files their sum.

    Servers give the length of the first file for all of them. If the length of a file is unknown, the sum is unknown.
    None comes with a warning.
    """
    if len(parts) > 1:
        durations = [part.duration_ms for part in parts]
        if all(durations):
            return sum(duration or 0 for duration in durations)
        warnings.append("part_without_duration")
        return None
    runtime = milliseconds(of_version, warnings, per_ms=per_ms) or milliseconds(of_item, warnings, per_ms=per_ms)
    runtime = runtime or parts[0].duration_ms
    if runtime is None:
        warnings.append("no_duration")
    return runtime


def without_nul(value: Any) -> Any:
    """Return text, or lists and dicts of text, without NUL characters."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [without_nul(item) for item in value]
    if isinstance(value, dict):
        return {without_nul(key): without_nul(item) for key, item in value.items()}
    return value


def _title(row: Any) -> str | None:
    title: str | None = row.title
    return title


def _clean_from(page: Page, first_draft: int, first_rejection: int) -> None:
    """Clean the drafts and rejections of a repaired row: remove NUL characters, reject drafts with uncertain paths."""
    drafts, page.drafts[first_draft:] = page.drafts[first_draft:], []
    for draft in drafts:
        if any(mark in part.source_path for part in draft.parts for mark in _UNCLEAN):
            reason = "The file's path holds a NUL character or bytes that are not text."
            page.rejected.append(Rejection("bad_path", reason, draft.source_uri, draft.title))
            continue
        values: dict[str, Any] = {name: without_nul(getattr(draft, name)) for name in draft.__struct_fields__}
        warnings = list(draft.warnings)
        if any(values[name] != getattr(draft, name) for name in values):
            warnings.append("nul_removed")
        if not values["title"].strip():
            values["title"] = stem(draft.parts[0].source_path)
            warnings.append("no_title")
        if "\ufffd" in repr(draft):
            warnings.append("text_replaced")
        page.drafts.append(AssetDraft(**(values | {"warnings": tuple(warnings)})))
    page.rejected[first_rejection:] = [
        Rejection(rejection.code, without_nul(rejection.reason), rejection.source_uri, without_nul(rejection.title))
        for rejection in page.rejected[first_rejection:]
    ]
