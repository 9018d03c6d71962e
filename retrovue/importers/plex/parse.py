"""Makes asset drafts of the rows of a Plex listing: one for each version of an item.

Every row becomes drafts, or rejections with a reason. Nothing here raises, and nothing does I/O.
"""

import datetime as dt
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from retrovue.core.bounds import MOST_VERSIONS
from retrovue.core.model import AssetDraft, Outline, Page, PartDraft, Rejection
from retrovue.core.paths import stem
from retrovue.importers.http.listing import BadRow, ListedRow
from retrovue.importers.http.mending import clean_from, without_nul
from retrovue.importers.plex.rows import Media, OutlineMedia, OutlineRow, Part, Row, Span, Tag, rating_key_number

PlexRows = Sequence[ListedRow[Row | BadRow, int | str]]
PlexOutlineRows = Sequence[ListedRow[OutlineRow, int | str]]

OPTIMIZED_VERSION: Final = 42
"""The proxyType of a version that PMS made itself (the same number as in python-plexapi)."""

_OPTIMIZED_FOLDER = "Plex Versions"
_TYPES = {"movie": "movie", "episode": "episode", "clip": "clip", "track": "track"}
_LONGEST_MS = 2**31 - 1
# There are no films from before 1800, and PMS has given 0, 1 and the far future.
_FIRST_YEAR, _LAST_YEAR = 1800, 2200
_EMPTY: Mapping[str, list[str]] = {}
_LEGACY_AGENTS = {"imdb": "imdb", "thetvdb": "tvdb", "themoviedb": "tmdb"}
_LEGACY_PREFIX = "com.plexapp.agents."


class Show(msgspec.Struct, frozen=True, gc=False):
    """The values that episodes inherit from their show if they have none themselves."""

    title: str | None
    studio: str | None
    content_rating: str | None
    rating: float | None
    tags: Mapping[str, list[str]]


def shows_of(rows: PlexRows) -> dict[int, Show]:
    """Read the rows of a listing of shows, by rating key. Malformed rows are left out."""
    shows: dict[int, Show] = {}
    for listed in rows:
        row, key = listed.row, listed.key
        if isinstance(row, Row) and isinstance(key, int):
            values = row.title, row.studio or None, row.content_rating or None, _rating(row, []), _tags(row)
            shows[key] = Show(*(map(without_nul, values) if listed.mended else values))
    return shows


class DraftMaker:
    """Makes the drafts of the rows of one collection; ``shows`` by rating key."""

    def __init__(self, machine_identifier: str, shows: Mapping[int, Show] | None = None) -> None:
        self._uri = f"plex://{machine_identifier}/library/metadata/"
        self._shows = shows or {}

    def page(self, rows: PlexRows) -> Page:
        """Make the drafts of rows."""
        page = Page([], [], len(rows))
        for listed in rows:
            row, key = listed.row, listed.key
            first_draft, first_rejection = len(page.drafts), len(page.rejected)
            if isinstance(row, BadRow):
                uri = f"{self._uri}{key}" if isinstance(key, int) else None
                page.rejected.append(Rejection("bad_types", f"The item is malformed: {row.reason}.", uri, row.title))
            elif isinstance(key, str):
                reason = f"The item's rating key {row.rating_key!r} is not a whole number."
                page.rejected.append(Rejection("bad_rating_key", reason, None, row.title))
            else:
                self._add_item(row, f"{self._uri}{key}", page)
            if listed.mended:
                clean_from(page, first_draft, first_rejection)
        return page

    def outline(self, rows: PlexOutlineRows, read: Callable[[], Awaitable[Page]]) -> Outline:
        """Make the outline of rows in short form; ``read`` reads their page in full."""
        outline = Outline([], [], [], len(rows), read)
        uris, paths, rejected = outline.source_uris, outline.source_paths, outline.rejected
        for listed in rows:
            uri = f"{self._uri}{listed.key}"
            for media in _usable_versions(listed.row, uri, rejected):
                uris.append(f"{uri}?media={media.id}")
                paths.append(tuple([part.file or "" for part in media.parts or ()]))
        return outline

    def _add_item(self, row: Row, uri: str, page: Page) -> None:
        kind = _TYPES.get(row.type or "", "movie")
        if row.subtype == "clip":
            kind = "clip"
        for media in _usable_versions(row, uri, page.rejected):
            page.drafts.append(self._draft(row, kind, media, uri))

    def _draft(self, row: Row, kind: str, media: Media, uri: str) -> AssetDraft:
        warnings: list[str] = []
        parts = tuple([_part(part, warnings) for part in media.parts or ()])
        title = row.title
        if title is None or not title.strip():
            title = stem(parts[0].source_path)
            warnings.append("no_title")
        runtime = _milliseconds(media.duration, warnings) or _milliseconds(row.duration, warnings)
        year = row.year
        if year is not None and not _FIRST_YEAR <= year <= _LAST_YEAR:
            year = None
            warnings.append("bad_year")
        aired = row.originally_available_at
        studio, content_rating, rating = row.studio or None, row.content_rating or None, _rating(row, warnings)
        tags = _tags(row)
        show_title = season = episode = None
        if kind == "episode":
            show_title = row.grandparent_title or None
            season, episode = _ordinal(row.parent_index, warnings), _ordinal(row.index, warnings)
            # With hidden seasons and some agents the keys of show and season are missing: there is nothing to inherit.
            show = self._shows.get(rating_key_number(row.grandparent_rating_key) or -1)
            if show is not None:
                show_title = show_title or show.title
                studio, content_rating = studio or show.studio, content_rating or show.content_rating
                rating = show.rating if rating is None else rating
                tags = {**show.tags, **tags} if tags else show.tags
        elif kind == "track":
            # An asset has no fields for artist and album: they become tags, which can be searched.
            people = {"artist": row.grandparent_title, "album": row.parent_title}
            tags = {**tags, **{name: [text] for name, text in people.items() if text}}
        return AssetDraft(
            source_uri=f"{uri}?media={media.id}",
            type=kind,
            title=title,
            parts=parts,
            show_title=show_title,
            season_number=season,
            episode_number=episode,
            year=year,
            originally_aired=_date(aired, warnings) if aired else None,
            runtime_ms=runtime,
            edition=row.edition_title or None,
            studio=studio,
            content_rating=content_rating,
            rating=rating,
            container=media.container,
            video_codec=media.video_codec,
            audio_codec=media.audio_codec,
            audio_channels=media.audio_channels,
            video_resolution=media.video_resolution,
            width=media.width,
            height=media.height,
            bitrate_kbps=media.bitrate,
            provider_ids=provider_ids(row.guid, [guid.id for guid in row.guids] if row.guids else ()),
            tags=tags,
            chapters=None if row.chapters is None else spans(row.chapters, "tag", "title", warnings),
            markers=None if row.markers is None else spans(row.markers, "type", "type", warnings),
            warnings=tuple(dict.fromkeys(warnings)) if warnings else (),
        )


def _usable_versions(row: Row | OutlineRow, uri: str, rejected: list[Rejection]) -> Iterator[Any]:
    """Generate the usable versions of an item. Adds the others, or the item as a whole, to ``rejected``."""
    if row.type not in _TYPES:
        rejected.append(Rejection("not_playable", f"An item of type {row.type!r} is not playable.", uri, row.title))
        return
    if not row.media:
        rejected.append(Rejection("no_media", "The item has no media.", uri, row.title))
        return
    if len(row.media) > MOST_VERSIONS:
        reason = f"The item has {len(row.media):,} versions; at most {MOST_VERSIONS:,} can be used."
        rejected.append(Rejection("too_many_versions", reason, uri, row.title))
        return
    seen: set[int] = set()
    for media in row.media:
        problem = _unusable(media, seen)
        if problem is None:
            yield media
        else:
            where = uri if media.id is None else f"{uri}?media={media.id}"
            rejected.append(Rejection(problem[0], problem[1], where, row.title))


def _unusable(media: Media | OutlineMedia, seen: set[int]) -> tuple[str, str] | None:
    if media.id is None:
        return "no_media_id", "The version has no id, so that it can't be told from others."
    if media.id in seen:
        return "duplicate_version", "The item lists the same version twice."
    seen.add(media.id)
    if not media.parts:
        return "no_file", "The version has no file."
    if len(media.parts) > MOST_VERSIONS:
        return "too_many_parts", f"The version has {len(media.parts):,} parts; at most {MOST_VERSIONS:,} can be used."
    made_by_plex = media.proxy_type == OPTIMIZED_VERSION or bool(media.target)
    for part in media.parts:
        file = part.file
        if not file:
            return "no_file", "A part of the version names no file."
        if _OPTIMIZED_FOLDER in file and f"/{_OPTIMIZED_FOLDER}/" in file.replace("\\", "/"):
            made_by_plex = True
    return ("optimized_version", "The version was made by Plex from another one.") if made_by_plex else None


def _part(part: Part, warnings: list[str]) -> PartDraft:
    return PartDraft(part.file or "", part.size, _milliseconds(part.duration, warnings))


def _milliseconds(value: float | None, warnings: list[str]) -> int | None:
    if value is None:
        return None
    if type(value) is int and 0 < value <= _LONGEST_MS:
        return value
    warnings.append("bad_duration")
    return None


def _ordinal(value: int | None, warnings: list[str]) -> int | None:
    if value is not None and value < 0:
        warnings.append("bad_number")
        return None
    return value


def _rating(row: Row, warnings: list[str]) -> float | None:
    audience, critics = row.audience_rating, row.rating
    if audience is not None and 0 <= audience <= 10:
        return audience
    if critics is not None and 0 <= critics <= 10:
        return critics
    if audience is not None or critics is not None:
        # PMS has given a year as rating: 2049.
        warnings.append("bad_rating")
    return None


def _date(text: str, warnings: list[str]) -> dt.date | None:
    # "2013-10-04", sometimes followed by " 00:00:00"; no recorded answer has a shorter ISO form.
    if text[4:5] == text[7:8] == "-" and text[10:11] in {"", " ", "T"}:
        try:
            day = dt.date.fromisoformat(text[:10])
        except ValueError:
            pass
        else:
            if _FIRST_YEAR <= day.year <= _LAST_YEAR:
                return day
    warnings.append("bad_date")
    return None


def _tags(row: Row) -> Mapping[str, list[str]]:
    genres, labels, collections = row.genres, row.labels, row.collections
    if not (genres or labels or collections):
        return _EMPTY
    tags: dict[str, list[str]] = {}
    if genres:
        tags["genre"] = _words(genres)
    if labels:
        tags["label"] = _words(labels)
    if collections:
        tags["collection"] = _words(collections)
    return tags


def _words(tags: list[Tag]) -> list[str]:
    return [tag.tag for tag in tags if tag.tag]


def spans(listed: Sequence[Span], label: str, name: str, warnings: list[str]) -> list[dict[str, Any]]:
    """Read chapters (``label``: tag) or markers (type) in milliseconds, with their label as ``name``.

    A span without a usable start is left out, one without a usable end has an open end; both with a warning.
    """
    found: list[dict[str, Any]] = []
    for span in listed:
        start, end = span.start_time_offset, span.end_time_offset
        # A chapter may begin at 0; only the end may be open.
        if type(start) is not int or not 0 <= start <= _LONGEST_MS:
            warnings.append("bad_span")
            continue
        if end is not None and (type(end) is not int or not start <= end <= _LONGEST_MS):
            warnings.append("bad_span")
            end = None
        found.append({name: span.tag if label == "tag" else span.type, "start_ms": start, "end_ms": end})
    return found


def provider_ids(guid: str | None, others: Iterable[str]) -> dict[str, str]:
    """Read an item's guid and its ``Guid`` list as ids by provider: imdb, tmdb, tvdb, mbid, plex, ….

    The guid of a legacy agent counts if it names one item: ``thetvdb://80379/1/2`` is the id of a *show* followed by a
    season and an episode, so it is left out. ``local://`` and ``none://`` name no provider.
    """
    found: dict[str, str] = {}
    for text in others:
        provider, separator, identifier = text.partition("://")
        if separator and identifier and provider:
            found[provider] = identifier
    if guid is None:
        return found
    if guid.startswith("plex://"):
        if identifier := guid.rpartition("/")[2]:  # plex://movie/5d776…
            found["plex"] = identifier
    elif guid.startswith(_LEGACY_PREFIX):
        agent, _, rest = guid.removeprefix(_LEGACY_PREFIX).partition("://")
        identifier = rest.partition("?")[0]
        provider = _LEGACY_AGENTS.get(agent, "")
        if provider and identifier and "/" not in identifier:
            found.setdefault(provider, identifier)
    elif guid.startswith("mbid://") and len(guid) > 7:
        found.setdefault("mbid", guid[7:])
    return found
