"""From the rows of a Plex listing to asset drafts: pure, one draft for each version of an item.

Every row comes out as drafts or as rejections with a reason, never as an exception.
"""

import datetime as dt
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import msgspec

from retrovue.core.model import AssetDraft, Outline, Page, PartDraft, Rejection
from retrovue.core.paths import stem
from retrovue.importers.http.mending import clean_from, without_nul
from retrovue.importers.plex.ids import provider_ids, rating_key_number
from retrovue.importers.plex.rows import BadRow, Listing, Media, Part, Row, SketchMedia, SketchRow, Span, Tag

OPTIMIZED_VERSION: Final = 42
"""The proxyType of a version that PMS made itself (python-plexapi knows it by the same number)."""

_OPTIMIZED_FOLDER = "Plex Versions"
_TYPES = {"movie": "movie", "episode": "episode", "clip": "clip", "track": "track"}
_LONGEST_MS = 2**31 - 1
# Nobody filmed before 1800 and PMS has been seen to give 0, 1 and the far future.
_FIRST_YEAR, _LAST_YEAR = 1800, 2200
_EMPTY: Mapping[str, list[str]] = {}


class Show(msgspec.Struct, frozen=True, gc=False):
    """What a show gives to those of its episodes that don't say it themselves."""

    title: str | None
    studio: str | None
    content_rating: str | None
    rating: float | None
    tags: Mapping[str, list[str]]


def shows_of(listing: Listing, skip: int = 0) -> dict[int, Show]:
    """Read the rows of a listing of shows, by rating key; rows that can't be read are left out."""
    shows: dict[int, Show] = {}
    for place in range(skip, len(listing.rows)):
        row, key = listing.rows[place], listing.keys[place]
        if isinstance(row, Row) and isinstance(key, int):
            values = row.title, row.studio or None, row.content_rating or None, _rating(row, []), _tags(row)
            shows[key] = Show(*(map(without_nul, values) if place in listing.mended else values))
    return shows


class DraftMaker:
    """Makes the drafts of one collection's rows."""

    def __init__(self, machine_identifier: str, shows: Mapping[int, Show] | None = None) -> None:
        self._uri = f"plex://{machine_identifier}/library/metadata/"
        self._shows = shows or {}

    def page(self, listing: Listing, skip: int = 0) -> Page:
        """Make the drafts of a listing's rows, without the first ``skip`` of them."""
        page = Page([], [], len(listing.rows) - skip)
        for place in range(skip, len(listing.rows)):
            row, key = listing.rows[place], listing.keys[place]
            first_draft, first_rejection = len(page.drafts), len(page.rejected)
            if isinstance(row, BadRow):
                uri = f"{self._uri}{key}" if isinstance(key, int) else None
                page.rejected.append(Rejection("bad_types", f"The item is malformed: {row.reason}.", uri, row.title))
            elif isinstance(key, str):
                reason = f"The item's rating key {row.rating_key!r} is not a whole number."
                page.rejected.append(Rejection("bad_rating_key", reason, None, row.title))
            else:
                self._add_item(row, f"{self._uri}{key}", page)
            if place in listing.mended:
                clean_from(page, first_draft, first_rejection)
        return page

    def outline(self, listing: Listing, skip: int, read: Callable[[], Awaitable[Page]]) -> Outline:
        """Make the outline of a listing that was looked over; ``read`` reads it in full."""
        outline = Outline([], [], [], len(listing) - skip, read)
        uris, paths, rejected = outline.source_uris, outline.source_paths, outline.rejected
        for sketch, key in islice(zip(listing.sketches or (), listing.keys, strict=True), skip, None):
            uri = f"{self._uri}{key}"
            for media in _usable_versions(sketch, uri, rejected):
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
            # Hidden seasons and odd agents leave the ancestors' keys out; the episode then stands alone.
            show = self._shows.get(rating_key_number(row.grandparent_rating_key) or -1)
            if show is not None:
                show_title = show_title or show.title
                studio, content_rating = studio or show.studio, content_rating or show.content_rating
                rating = show.rating if rating is None else rating
                tags = {**show.tags, **tags} if tags else show.tags
        elif kind == "track":
            # Artist and album are no field of an asset: they are tags that can be searched.
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
            chapters=None if row.chapters is None else _spans(row.chapters, "tag", "title", warnings),
            markers=None if row.markers is None else _spans(row.markers, "type", "type", warnings),
            warnings=tuple(dict.fromkeys(warnings)) if warnings else (),
        )


def _usable_versions(row: Row | SketchRow, uri: str, rejected: list[Rejection]) -> Iterator[Any]:
    """Generate the versions of an item that can be used; the others are rejected, or the item as a whole."""
    if row.type not in _TYPES:
        rejected.append(Rejection("not_playable", f"An item of type {row.type!r} is not playable.", uri, row.title))
        return
    if not row.media:
        rejected.append(Rejection("no_media", "The item has no media.", uri, row.title))
        return
    seen: list[int] = []
    for media in row.media:
        problem = _unusable(media, seen)
        if problem is None:
            yield media
        else:
            where = uri if media.id is None else f"{uri}?media={media.id}"
            rejected.append(Rejection(problem[0], problem[1], where, row.title))


def _unusable(media: Media | SketchMedia, seen: list[int]) -> tuple[str, str] | None:
    if media.id is None:
        return "no_media_id", "The version has no id, so that it can't be told from others."
    if media.id in seen:
        return "duplicate_version", "The item lists the same version twice."
    seen.append(media.id)
    if not media.parts:
        return "no_file", "The version has no file."
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
        # A year has been seen here: 2049.
        warnings.append("bad_rating")
    return None


def _date(text: str, warnings: list[str]) -> dt.date | None:
    # "2013-10-04", sometimes with " 00:00:00" behind it; shorter ISO spellings were never seen.
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


def _spans(spans: list[Span], label: str, name: str, warnings: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for span in spans:
        start, end = span.start_time_offset, span.end_time_offset
        # A chapter may begin at 0; only the end may be open.
        if type(start) is not int or not 0 <= start <= _LONGEST_MS:
            warnings.append("bad_span")
            continue
        if end is not None and (type(end) is not int or not start <= end <= _LONGEST_MS):
            warnings.append("bad_span")
            end = None
        text = span.tag if label == "tag" else span.type
        found.append({name: text, "start_ms": start, "end_ms": end})
    return found
