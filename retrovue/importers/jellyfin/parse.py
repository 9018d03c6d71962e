"""Makes asset drafts of the rows of a Jellyfin listing: one for each version of an item.

Every row becomes drafts, or rejections with a reason. Nothing here raises, and nothing does I/O. A file that holds
several episodes is one item with a range of numbers. Each number becomes a draft of the same file: the catalogue keeps
one asset and finds it by all of its numbers.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from retrovue.core.bounds import MOST_VERSIONS
from retrovue.core.model import AssetDraft, Outline, Page, PartDraft, Rejection
from retrovue.core.paths import stem
from retrovue.importers.http.listing import BadRow, ListedRow
from retrovue.importers.http.mending import clean_from, without_nul
from retrovue.importers.jellyfin import values
from retrovue.importers.jellyfin.rows import MediaSource, OutlineRow, OutlineSource, Row, Stream, guid_bytes

JellyfinRows = Sequence[ListedRow[Row | BadRow, bytes]]
JellyfinOutlineRows = Sequence[ListedRow[OutlineRow, bytes]]
Parts = Mapping[bytes, Sequence[MediaSource] | None]
"""The further files of items of several parts, by item; None where the server didn't name all of them."""

LONGEST_RANGE: Final = 50
"""The most episodes in one file. Larger ranges are taken for errors."""

_TYPES = {"Movie": "movie", "Episode": "episode", "Audio": "track", "Video": "clip", "MusicVideo": "clip"}
_DISC_FOLDERS = {"Dvd": "DVD", "BluRay": "Blu-ray"}


class Series(msgspec.Struct, frozen=True, gc=False):
    """The values that episodes inherit from their series if they have none themselves."""

    title: str | None
    studios: list[str]
    content_rating: str | None
    rating: float | None
    tags: Mapping[str, list[str]]


def series_of(rows: JellyfinRows) -> dict[bytes, Series]:
    """Read the rows of a listing of series, by id. Malformed rows are left out."""
    series: dict[bytes, Series] = {}
    for listed in rows:
        row = listed.row
        if isinstance(row, Row):
            fields = row.title, _studios(row), row.official_rating or None, values.rating(row, []), _tags(row)
            series[listed.key] = Series(*(map(without_nul, fields) if listed.mended else fields))
    return series


def part_counts(rows: JellyfinRows) -> dict[bytes, int]:
    """Return the number of files of each item that has several. Listings hold only the first."""
    return {
        listed.key: count
        for listed in rows
        if isinstance(listed.row, Row) and (count := listed.row.part_count or 0) > 1 and guid_bytes(listed.row.id)
    }


class DraftMaker:
    """Makes the drafts of the rows of one collection; ``series`` by id."""

    def __init__(self, server_id: str, series: Mapping[bytes, Series] | None = None) -> None:
        self._uri = f"jellyfin://{server_id}/items/"
        self._series = series or {}

    def page(self, rows: JellyfinRows, parts: Parts | None = None) -> Page:
        """Make the drafts of rows."""
        page = Page([], [], len(rows))
        for listed in rows:
            row, key = listed.row, listed.key
            first_draft, first_rejection = len(page.drafts), len(page.rejected)
            uri = f"{self._uri}{key.hex()}"
            if isinstance(row, BadRow):
                reason = f"The item is malformed: {row.reason}."
                page.rejected.append(Rejection("bad_types", reason, uri if row.has_key else None, row.title))
            elif guid_bytes(row.id) is None:
                reason = f"The item's id {row.id!r} is not one of 32 hexadecimal digits."
                page.rejected.append(Rejection("bad_id", reason, None, row.title))
            else:
                self._add_item(row, key, uri, page, parts or {})
            if listed.mended:
                clean_from(page, first_draft, first_rejection)
        return page

    def outline(self, rows: JellyfinOutlineRows, read: Callable[[], Awaitable[Page]]) -> Outline:
        """Make the outline of rows in short form; ``read`` reads their page in full."""
        outline = Outline([], [], [], len(rows), read)
        for listed in rows:
            uri = f"{self._uri}{listed.key.hex()}"
            for source in _usable_versions(listed.row, uri, outline.rejected):
                for number in _numbers(listed.row, []):
                    outline.source_uris.append(_version_uri(uri, source.id, number))
                    outline.source_paths.append((source.path or "",))
        return outline

    def _add_item(self, row: Row, key: bytes, uri: str, page: Page, parts: Parts) -> None:
        for source in _usable_versions(row, uri, page.rejected):
            # Jellyfin gives chapters and further parts for the version with the item's own id only.
            own = guid_bytes(source.id) == key
            files: Sequence[MediaSource] | None = [source]
            if (row.part_count or 0) > 1:
                more = parts.get(key) if own else None
                files = None if more is None else [source, *more]
            if files is None:
                reason = "The version consists of several files, and the server doesn't tell them all."
                page.rejected.append(Rejection("parts_unknown", reason, _version_uri(uri, source.id), row.title))
                continue
            warnings: list[str] = []
            for number in _numbers(row, warnings):
                page.drafts.append(self._draft(row, source, files, uri, number, own=own, warnings=[*warnings]))

    def _draft(
        self,
        row: Row,
        source: MediaSource,
        files: Sequence[MediaSource],
        uri: str,
        number: int | None,
        *,
        own: bool,
        warnings: list[str],
    ) -> AssetDraft:
        kind = _TYPES[row.type or ""]
        parts = tuple([PartDraft(file.path or "", file.size, _file_ms(file, warnings)) for file in files])
        title = row.title
        if title is None or not title.strip():
            title = stem(parts[0].source_path)
            warnings.append("no_title")
        studios, content_rating, rating = _studios(row), row.official_rating or None, values.rating(row, warnings)
        tags = _tags(row)
        show_title = season = episode = None
        if kind == "episode":
            show_title = row.series_name or None
            season = values.ordinal(row.parent_index_number, warnings)
            episode = row.index_number if number is None else number
            episode = values.ordinal(episode, warnings)
            series = self._series.get(guid_bytes(row.series_id) or b"")
            if series is not None:
                show_title = show_title or series.title
                studios, content_rating = studios or series.studios, content_rating or series.content_rating
                rating = series.rating if rating is None else rating
                tags = {**series.tags, **tags}
        elif kind == "track":
            # An asset has no fields for artist and album: they become tags, which can be searched.
            people = {"artist": row.album_artist or next(iter(row.artists or ()), None), "album": row.album}
            tags = {**tags, **{name: [text] for name, text in people.items() if text}}
        if len(studios) > 1:
            tags = {**tags, "studio": studios}
        video, audio = _video_of(source), _audio_of(source)
        return AssetDraft(
            source_uri=_version_uri(uri, source.id, number),
            type=kind,
            title=title,
            parts=parts,
            show_title=show_title,
            season_number=season,
            episode_number=episode,
            year=values.year(row.year, warnings),
            originally_aired=values.date(row.premiere_date, warnings),
            runtime_ms=_runtime(row, parts, warnings),
            studio=studios[0] if studios else None,
            content_rating=content_rating,
            rating=rating,
            container=source.container or None,
            video_codec=video.codec if video else None,
            audio_codec=audio.codec if audio else None,
            audio_channels=audio.channels if audio else None,
            video_resolution=values.resolution(video.width, video.height) if video else None,
            width=video.width if video else None,
            height=video.height if video else None,
            bitrate_kbps=None if source.bitrate is None else source.bitrate // 1000,
            provider_ids={name.lower(): text for name, text in (row.provider_ids or {}).items() if name and text},
            tags=tags,
            chapters=None if row.chapters is None or not own else values.chapters(row.chapters, warnings),
            warnings=tuple(dict.fromkeys(warnings)),
        )


def source_problem(source: MediaSource | OutlineSource) -> tuple[str, str] | None:
    """Return why a version or a part can't be used, as a code and a reason; None if it can."""
    if source.is_remote or source.protocol not in {None, "File"}:
        return "remote", f"The version is no file of the server's: it is fetched by {source.protocol or 'network'}."
    if source.type == "Placeholder":
        return "placeholder", "The version is a placeholder for a disc that isn't there."
    if not source.path:
        return "no_file", "The version names no file."
    disc = _DISC_FOLDERS.get(source.video_type or "")
    if disc is not None:
        return "disc_folder", f"The version is a folder with the structure of a {disc}, not a file."
    return None


def _usable_versions(row: Row | OutlineRow, uri: str, rejected: list[Rejection]) -> Iterator[Any]:
    """Generate the usable versions of an item. Adds the others, or the item as a whole, to ``rejected``."""
    problem = _item_problem(row)
    if problem is not None:
        rejected.append(Rejection(*problem, uri, row.title))
        return
    sources = row.media_sources or ()
    if len(sources) > MOST_VERSIONS:
        reason = f"The item has {len(sources):,} versions; at most {MOST_VERSIONS:,} can be used."
        rejected.append(Rejection("too_many_versions", reason, uri, row.title))
        return
    seen: set[str] = set()
    for source in sources:
        if not source.id:
            problem = "no_media_id", "The version has no id, so that it can't be told from others."
        elif source.id in seen:
            problem = "duplicate_version", "The item lists the same version twice."
        else:
            seen.add(source.id)
            problem = source_problem(source)
        if problem is None:
            yield source
        else:
            where = _version_uri(uri, source.id) if source.id else uri
            rejected.append(Rejection(*problem, where, row.title))


def _item_problem(row: Row | OutlineRow) -> tuple[str, str] | None:
    if row.type not in _TYPES:
        return "not_playable", f"An item of type {row.type!r} is not playable."
    if row.location_type == "Virtual":
        return "virtual", "The item has no file: the server knows of it from its metadata only."
    if row.location_type == "Remote":
        return "remote", "The item is no file of the server's."
    if row.is_place_holder:
        return "placeholder", "The item is a placeholder for a disc that isn't there."
    if not row.media_sources:
        return "no_media", "The item has no media."
    return None


def _numbers(row: Row | OutlineRow, warnings: list[str]) -> list[int | None]:
    """Return the episode numbers that the drafts of a file add to their URIs: None for the first or only one."""
    first, last = row.index_number, row.index_number_end
    if row.type != "Episode" or first is None or last is None or last == first:
        return [None]
    if not first < last < first + LONGEST_RANGE or first < 0:
        warnings.append("bad_number")
        return [None]
    return [None, *range(first + 1, last + 1)]


def _version_uri(uri: str, source_id: str | None, number: int | None = None) -> str:
    # Ids are hexadecimal, except those that plugins make.
    media = source_id if source_id is not None and source_id.isalnum() else quote(source_id or "", safe="")
    return f"{uri}?media={media}" if number is None else f"{uri}?media={media}&episode={number}"


def _file_ms(source: MediaSource, warnings: list[str]) -> int | None:
    return values.milliseconds(source.run_time_ticks, warnings)


def _runtime(row: Row, parts: Sequence[PartDraft], warnings: list[str]) -> int | None:
    durations = [part.duration_ms for part in parts]
    if len(parts) == 1:
        return durations[0] or values.milliseconds(row.run_time_ticks, warnings)
    # The item's own runtime is that of its first file.
    return sum(duration or 0 for duration in durations) if all(durations) else None


def _video_of(source: MediaSource) -> Stream | None:
    return next((stream for stream in source.media_streams or () if stream.type == "Video"), None)


def _audio_of(source: MediaSource) -> Stream | None:
    tracks = [stream for stream in source.media_streams or () if stream.type == "Audio"]
    chosen = [track for track in tracks if track.index == source.default_audio_stream_index] if tracks else []
    return next(iter(chosen or [track for track in tracks if track.is_default] or tracks), None)


def _studios(row: Row) -> list[str]:
    return [studio.name for studio in row.studios or () if studio.name]


def _tags(row: Row) -> dict[str, list[str]]:
    found = {"genre": row.genres, "label": row.tags}
    return {name: [tag for tag in tags if tag] for name, tags in found.items() if tags}
