"""Makes asset drafts of the rows of a Plex listing: one for each version of an item."""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from retrovue.core.bounds import MOST_VERSIONS
from retrovue.core.pages import AssetDraft, Page, PartDraft
from retrovue.core.paths import stem
from retrovue.core.text import quoted
from retrovue.importers.http.drafts import (
    FIRST_YEAR,
    LAST_YEAR,
    LONGEST_MS,
    NO_MEMBERSHIP,
    DraftMaker,
    Membership,
    Problem,
    Show,
    milliseconds,
    ordinal,
    rating,
    read_shows,
    runtime_ms,
    year,
)
from retrovue.importers.http.listing import BadRow, ListedRow, OutlineRows
from retrovue.importers.plex.rows import Guid, Media, OutlineMedia, OutlineRow, Row, Span, Tag, rating_key_number

PlexRows = Sequence[ListedRow[Row | BadRow, int | str]]

OPTIMIZED_VERSION: Final = 42
"""The proxyType of a version that PMS made itself (the same number as in python-plexapi)."""

_PART_KEY = re.compile(r"/library/parts/([0-9]{1,19}/[0-9]{1,19})/")
_OPTIMIZED_FOLDER = "Plex Versions"
_EMPTY: Mapping[str, list[str]] = {}
_LEGACY_AGENTS = {"imdb": "imdb", "thetvdb": "tvdb", "themoviedb": "tmdb"}
_LEGACY_PREFIX = "com.plexapp.agents."
_IMDB_ID = re.compile(r"tt[0-9]+")


def shows_of(rows: PlexRows) -> dict[int | str, Show]:
    """Read the rows of a listing of shows, by rating key."""
    return read_shows(rows, _show)


def _show(row: Row) -> Show:
    ids = provider_ids(row.guid, row.guids, [])
    stars = rating(row.audience_rating, row.rating, [])
    studios = [row.studio] if row.studio else []
    return Show(row.title, year(row.year, []), ids or None, studios, row.content_rating or None, stars, _tags(row))


class PlexDraftMaker(DraftMaker[Row, OutlineRow, int | str]):
    """Makes the drafts of the rows of one collection; ``shows`` by rating key."""

    types: ClassVar[Mapping[str, str]] = {"movie": "movie", "episode": "episode", "clip": "clip", "track": "track"}

    def __init__(self, machine_identifier: str, shows: Mapping[int | str, Show] | None = None) -> None:
        self.uri = f"plex://{machine_identifier}/library/metadata/"
        self.shows = shows or {}

    def add_drafts(self, row: Row, uri: str, page: Page) -> None:
        """Add a draft for each usable version of an item."""
        kind = "clip" if row.subtype == "clip" else row.type or ""
        for media in self.usable_versions(row, uri, page.rejected):
            page.drafts.append(self._draft(row, kind, media, uri))

    def add_to_outline(self, row: OutlineRow, uri: str, outline: OutlineRows) -> None:
        """Add the usable versions of an item."""
        versions = row.versions
        # Most items have one usable version of one file.
        if versions is not None and len(versions) == 1 and row.type in self.types and not row.deleted_at:
            media, parts = versions[0], versions[0].parts
            if parts is not None and len(parts) == 1 and media.id is not None and self.version_problem(media) is None:
                outline.source_uris.append(f"{uri}?media={media.id}")
                outline.source_paths.append((parts[0].file or "",))
                return
        for media in self.usable_versions(row, uri, outline.rejected):
            outline.source_uris.append(f"{uri}?media={media.id}")
            outline.source_paths.append(tuple([part.file or "" for part in media.parts or ()]))

    def show_key(self, row: Row | OutlineRow) -> int | str | None:
        """Return the rating key of an episode's show, as the row spells it."""
        return row.grandparent_rating_key

    def parse_show_key(self, text: int | str | None) -> int | None:
        """Return a rating key as the number that it is."""
        return rating_key_number(text)

    def key_problem(self, row: Row) -> Problem:
        """Return why the rating key can't be used."""
        return "bad_rating_key", f"The item's rating key {quoted(row.rating_key)} is not a whole number."

    def item_problem(self, row: Row | OutlineRow) -> Problem | None:
        """Return why an item can't be used: Plex marks it as deleted; None if it can."""
        if row.deleted_at:
            return "deleted_at_source", "Plex marks the item as deleted: its files were not found."
        return None

    def version_problem(self, version: Media | OutlineMedia) -> Problem | None:
        """Return why a version can't be used: it names no file, or Plex made it."""
        if not version.parts:
            return "no_file", "The version has no file."
        if len(version.parts) > MOST_VERSIONS:
            reason = f"The version has {len(version.parts):,} parts; at most {MOST_VERSIONS:,} can be used."
            return "too_many_parts", reason
        deleted = bool(version.deleted_at)
        made_by_plex = version.proxy_type == OPTIMIZED_VERSION or bool(version.target)
        for part in version.parts:
            file = part.file
            if not file:
                return "no_file", "A part of the version names no file."
            if _OPTIMIZED_FOLDER in file and f"/{_OPTIMIZED_FOLDER}/" in file.replace("\\", "/"):
                made_by_plex = True
            if part.deleted_at or part.exists is False:
                deleted = True
        if deleted:
            return "deleted_at_source", "Plex marks the version as deleted: its file was not found."
        return ("optimized_version", "The version was made by Plex from another one.") if made_by_plex else None

    def _draft(self, row: Row, kind: str, media: Media, uri: str) -> AssetDraft:
        warnings: list[str] = []
        parts = tuple(
            [
                PartDraft(part.file or "", part.size, milliseconds(part.duration, warnings), stamp=file_stamp(part.key))
                for part in media.parts or ()
            ]
        )
        title = row.title
        if title is None or not title.strip():
            title = stem(parts[0].source_path)
            warnings.append("no_title")
        runtime = runtime_ms(parts, media.duration, row.duration, warnings)
        aired = row.originally_available_at
        studio, content_rating = row.studio or None, row.content_rating or None
        stars = rating(row.audience_rating, row.rating, warnings)
        tags = _tags(row)
        part_of, years = NO_MEMBERSHIP, row.year
        if kind == "episode":
            part_of, show = self._show_of(row, warnings)
            if show is not None:
                studio, content_rating = studio or next(iter(show.studios), None), content_rating or show.content_rating
                stars = show.rating if stars is None else stars
                tags = {**show.tags, **tags} if tags else show.tags
        elif kind == "track":
            part_of = _album_of(row, warnings)
            years = row.parent_year if years is None else years
        # By position: msgspec takes 1.5 µs to find 35 names, as long as for all of a draft's values.
        return AssetDraft(
            f"{uri}?media={media.id}",
            kind,
            title,
            parts,
            part_of.show_title,
            part_of.season,
            part_of.episode,
            year(years, warnings),
            _date(aired, warnings) if aired else None,
            runtime,
            row.edition_title or None,
            studio,
            content_rating,
            stars,
            media.container or None,
            media.video_codec or None,
            media.audio_codec or None,
            media.audio_channels,
            media.video_resolution or None,
            media.width,
            media.height,
            media.bitrate,
            part_of.show_key,
            part_of.show_year,
            part_of.artist,
            part_of.album,
            part_of.disc,
            part_of.track,
            provider_ids(row.guid, row.guids, warnings),
            part_of.show_provider_ids,
            tags,
            None if row.chapters is None else spans(row.chapters, "tag", "title", warnings),
            None if row.markers is None else spans(row.markers, "type", "type", warnings),
            None,  # sidecar_stamp
            tuple(dict.fromkeys(warnings)) if warnings else (),
        )

    def _show_of(self, row: Row, warnings: list[str]) -> tuple[Membership, Show | None]:
        """Return an episode's place in its show, and the show if it is known."""
        # With hidden seasons and some agents the keys of show and season are missing: there is nothing to inherit.
        key = rating_key_number(row.grandparent_rating_key)
        show = None if key is None else self.shows.get(key)
        place = Membership(
            show_title=row.grandparent_title or (None if show is None else show.title),
            show_key=None if key is None else str(key),
            show_year=None if show is None else show.year,
            show_provider_ids=None if show is None else show.provider_ids,
            season=ordinal(row.parent_index, warnings),
            episode=ordinal(row.index, warnings),
        )
        return place, show


def _album_of(row: Row, warnings: list[str]) -> Membership:
    """Return a track's place in its album, whose artist stands where an episode has its show."""
    key = rating_key_number(row.grandparent_rating_key)
    return Membership(
        show_title=row.grandparent_title or None,
        show_key=None if key is None else str(key),
        artist=row.original_title or row.grandparent_title or None,
        album=row.parent_title or None,
        disc=ordinal(row.parent_index, warnings),
        track=ordinal(row.index, warnings),
    )


def file_stamp(key: str | None) -> str | None:
    """Read the id of a file and the stamp of its content from its key, ``/library/parts/<id>/<stamp>/file.mkv``.

    The stamp changes when the file is replaced (Plex's API calls it ``changestamp``). The name of the file isn't part
    of what is returned, as it changes when the file is moved. None for another key.
    """
    match = None if key is None else _PART_KEY.match(key)
    return None if match is None else match[1]


def _date(text: str, warnings: list[str]) -> dt.date | None:
    # "2013-10-04", sometimes followed by " 00:00:00"; no recorded answer has a shorter ISO form.
    if text[4:5] == text[7:8] == "-" and text[10:11] in {"", " ", "T"}:
        try:
            day = dt.date.fromisoformat(text[:10])
        except ValueError:
            pass
        else:
            if FIRST_YEAR <= day.year <= LAST_YEAR:
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
        if type(start) is not int or not 0 <= start <= LONGEST_MS:
            warnings.append("bad_span")
            continue
        if end is not None and (type(end) is not int or not start <= end <= LONGEST_MS):
            warnings.append("bad_span")
            end = None
        found.append({name: span.tag if label == "tag" else span.type, "start_ms": start, "end_ms": end})
    return found


def provider_ids(guid: str | None, others: Sequence[Guid] | None, warnings: list[str]) -> dict[str, str]:
    """Read an item's guid and its ``Guid`` list as ids by provider: imdb, tmdb, tvdb, mbid, plex, ….

    The guid of a legacy agent counts if it names one item: ``thetvdb://80379/1/2`` is the id of a *show* followed by a
    season and an episode, so it is left out. ``local://`` and ``none://`` name no provider. Of several ids of one
    provider the first counts, with a warning.
    """
    found: dict[str, str] = {}
    for other in others or ():
        provider, separator, identifier = other.id.partition("://")
        if separator and identifier and provider and found.setdefault(provider, identifier) != identifier:
            warnings.append("several_ids")
    if guid is None:
        return found
    if guid.startswith("plex://"):
        if identifier := guid.rpartition("/")[2]:  # plex://movie/5d776…
            found["plex"] = identifier
    elif guid.startswith(_LEGACY_PREFIX):
        agent, _, rest = guid.removeprefix(_LEGACY_PREFIX).partition("://")
        identifier = rest.partition("?")[0]
        # xbmcnfo and others give the id of IMDb.
        provider = "imdb" if _IMDB_ID.fullmatch(identifier) else _LEGACY_AGENTS.get(agent, "")
        if provider and identifier and "/" not in identifier:
            found.setdefault(provider, identifier)
    elif guid.startswith("mbid://") and len(guid) > 7:
        found.setdefault("mbid", guid[7:])
    return found
