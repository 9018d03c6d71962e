"""Makes asset drafts of the rows of a Jellyfin listing: one for each version of an item.

A file that holds several episodes is one item with a range of numbers. Each number becomes a draft of the same file:
the catalogue keeps one asset and finds it by all of its numbers.
"""

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final
from urllib.parse import quote

from retrovue.core.pages import AssetDraft, Page, PartDraft, Rejection
from retrovue.core.paths import stem
from retrovue.core.text import quoted
from retrovue.importers.http.drafts import (
    FIRST_YEAR,
    LAST_YEAR,
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
from retrovue.importers.jellyfin.chapters import TICKS_PER_MS, chapters
from retrovue.importers.jellyfin.rows import (
    MediaSource,
    NamedRow,
    OutlineRow,
    OutlineSource,
    Row,
    Stream,
    guid_bytes,
    resolution,
)
from retrovue.importers.titles import folded

JellyfinRows = Sequence[ListedRow[Row | BadRow, bytes]]
Parts = Mapping[bytes, Sequence[MediaSource] | None]
"""The further files of items of several parts, by item; None where the server didn't name all of them."""

LONGEST_RANGE: Final = 50
"""The most episodes in one file. Larger ranges are taken for errors."""

_REMOTE = frozenset({"http", "rtmp", "rtsp", "udp", "rtp", "ftp"})
"""The protocols by which a server fetches what is no file (MediaProtocol.cs)."""
_NOBODY = NamedRow()
_NO_STREAM = Stream()
_HALF_A_DAY = dt.timedelta(hours=12)
_DISCS = {
    "Dvd": ("disc_folder", "The version is a folder with the structure of a DVD, not a file."),
    "BluRay": ("disc_folder", "The version is a folder with the structure of a Blu-ray, not a file."),
    "Iso": ("disc_image", "The version is the image of a disc: only single files are ingested."),
}
"""The types of videos that are no single files, and why they are rejected."""


def series_of(rows: JellyfinRows) -> dict[bytes, Show]:
    """Read the rows of a listing of series, by id."""
    return read_shows(rows, _show)


def _show(row: Row) -> Show:
    years, ids = year(row.year, []), _provider_ids(row)
    return Show(row.title, years, ids or None, _studios(row), row.official_rating or None, _stars(row, []), _tags(row))


def part_counts(rows: JellyfinRows) -> dict[bytes, int]:
    """Return the number of files of each item that has several. Listings hold only the first."""
    return {
        listed.key: count
        for listed in rows
        if isinstance(listed.row, Row) and (count := listed.row.part_count or 0) > 1 and guid_bytes(listed.row.id)
    }


class JellyfinDraftMaker(DraftMaker[Row, OutlineRow, bytes]):
    """Makes the drafts of the rows of one collection; ``series`` by id."""

    types: ClassVar[Mapping[str, str]] = {
        "Movie": "movie",
        "Episode": "episode",
        "Audio": "track",
        "Video": "clip",
        "MusicVideo": "clip",
    }

    def __init__(self, server_id: str, series: Mapping[bytes, Show] | None = None) -> None:
        self.uri = f"jellyfin://{server_id}/items/"
        self.shows = series or {}
        names = [(folded(listed.title or ""), key) for key, listed in self.shows.items()]
        counts = Counter(name for name, _ in names)
        self._by_name = {name: key for name, key in names if name and counts[name] == 1}
        self.parts: Parts = {}
        """Set it before the page is made."""

    def add_drafts(self, row: Row, uri: str, page: Page) -> None:
        """Add a draft for each usable version of an item, and each number of an episode."""
        for source in self.usable_versions(row, uri, page.rejected):
            # Jellyfin gives chapters and further parts for the version with the item's own id only.
            own = source.id == row.id or guid_bytes(source.id) == guid_bytes(row.id)
            files: Sequence[MediaSource] | None = [source]
            if (row.part_count or 0) > 1:
                more = self.parts.get(guid_bytes(row.id) or b"") if own else None
                files = None if more is None else [source, *more]
            if files is None:
                reason = "The version consists of several files, and the server doesn't tell them all."
                page.rejected.append(
                    Rejection("parts_unknown", reason, self.version_uri(uri, source.id or ""), row.title)
                )
                continue
            warnings: list[str] = []
            for number in _numbers(row, warnings):
                page.drafts.append(self._draft(row, source, files, uri, number, own=own, warnings=[*warnings]))

    def add_to_outline(self, row: OutlineRow, uri: str, outline: OutlineRows) -> None:
        """Add the usable versions of an item."""
        versions = row.versions
        # Most items have one usable version, and most files one number.
        if versions is not None and len(versions) == 1 and row.index_number_end is None and row.type in self.types:
            source = versions[0]
            if source.id and self.item_problem(row) is None and self.version_problem(source) is None:
                outline.source_uris.append(self.version_uri(uri, source.id))
                outline.source_paths.append((source.path or "",))
                return
        for source in self.usable_versions(row, uri, outline.rejected):
            for number in _numbers(row, []):
                outline.source_uris.append(self.version_uri(uri, source.id or "", number))
                outline.source_paths.append((source.path or "",))

    def show_key(self, row: Row | OutlineRow) -> str | None:
        """Return the id of an episode's series, as the row spells it."""
        return row.series_id

    def parse_show_key(self, text: str | None) -> bytes | None:
        """Return an id as its 16 bytes."""
        return guid_bytes(text)

    def key_problem(self, row: Row) -> Problem:
        """Return why the id can't be used."""
        return "bad_id", f"The item's id {quoted(row.id)} is not one of 32 hexadecimal digits."

    def item_problem(self, row: Row | OutlineRow) -> Problem | None:
        """Return why an item can't be used: it is no file of the server's; None if it can."""
        if row.location_type == "Virtual":
            return "virtual", "The item has no file: the server knows of it from its metadata only."
        if row.location_type == "Remote":
            return "remote", "The item is no file of the server's."
        if row.is_place_holder:
            return "placeholder", "The item is a placeholder for a disc that isn't there."
        return None

    def is_whole(self, row: Row) -> bool:
        """Return whether a row has all of its item's files; those of several parts are requested."""
        return (row.part_count or 0) <= 1

    def version_problem(self, version: MediaSource | OutlineSource) -> Problem | None:
        """Return why a version or a part can't be used; None if it can."""
        protocol = (version.protocol or "").casefold()
        if version.is_remote or protocol in _REMOTE:
            where = version.protocol if protocol in _REMOTE else "network"
            return "remote", f"The version is no file of the server's: it is fetched by {where}."
        if version.type == "Placeholder":
            return "placeholder", "The version is a placeholder for a disc that isn't there."
        if not version.path:
            return "no_file", "The version names no file."
        return _DISCS.get(version.video_type or "")

    def version_uri(self, uri: str, version_id: str, number: int | None = None) -> str:
        """Return the URI of a version of an item; ``number`` is that of a further episode in it."""
        # Ids are hexadecimal, except those that plugins make.
        media = version_id if version_id.isalnum() else quote(version_id, safe="")
        return f"{uri}?media={media}" if number is None else f"{uri}?media={media}&episode={number}"

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
        kind = self.types[row.type or ""]
        parts = tuple([_part(file, warnings) for file in files])
        title = row.title
        if title is None or not title.strip():
            title = stem(parts[0].source_path)
            warnings.append("no_title")
        studios, content_rating, stars = _studios(row), row.official_rating or None, _stars(row, warnings)
        tags = _tags(row)
        part_of = NO_MEMBERSHIP
        if kind == "episode":
            part_of, series = self._series_of(row, number, warnings)
            if series is not None:
                studios, content_rating = studios or series.studios, content_rating or series.content_rating
                stars = series.rating if stars is None else stars
                tags = {**series.tags, **tags}
        elif kind == "track":
            part_of = _album_of(row, warnings)
        if len(studios) > 1:
            tags = {**tags, "studio": studios}
        video, audio = _streams_of(source)
        # By position: msgspec takes 1.5 µs to find 35 names, as long as for all of a draft's values.
        return AssetDraft(
            self.version_uri(uri, source.id or "", number),
            kind,
            title,
            parts,
            part_of.show_title,
            part_of.season,
            part_of.episode,
            year(row.year, warnings),
            date(row.premiere_date, warnings),
            runtime_ms(parts, row.run_time_ticks, None, warnings, per_ms=TICKS_PER_MS),
            None,  # edition
            studios[0] if studios else None,
            content_rating,
            stars,
            source.container or None,
            video.codec or None,
            audio.codec or None,
            audio.channels,
            resolution(video.width, video.height),
            video.width,
            video.height,
            None if source.bitrate is None else source.bitrate // 1000,
            part_of.show_key,
            part_of.show_year,
            part_of.artist,
            part_of.album,
            part_of.disc,
            part_of.track,
            _provider_ids(row),
            part_of.show_provider_ids,
            tags,
            None if row.chapters is None or not own else chapters(row.chapters, warnings),
            None,  # markers
            None,  # sidecar_stamp
            tuple(dict.fromkeys(warnings)) if warnings else (),
        )

    def _series_of(self, row: Row, number: int | None, warnings: list[str]) -> tuple[Membership, Show | None]:
        """Return an episode's place in its series, and the series if it is known."""
        key = guid_bytes(row.series_id)
        if key not in self.shows and row.series_name:
            # Where a library merges series of several directories, Jellyfin lists only one of them (Series.cs).
            key = self._by_name.get(folded(row.series_name), key)
        series = None if key is None else self.shows.get(key)
        place = Membership(
            show_title=row.series_name or (None if series is None else series.title),
            show_key=None if key is None else key.hex(),
            show_year=None if series is None else series.year,
            show_provider_ids=None if series is None else series.provider_ids,
            season=ordinal(row.parent_index_number, warnings),
            episode=ordinal(row.index_number if number is None else number, warnings),
        )
        return place, series


def _album_of(row: Row, warnings: list[str]) -> Membership:
    """Return a track's place in its album, whose artist stands where an episode has its series."""
    artists = [name for name in row.artists or () if name]
    of_album = next((artist for artist in row.album_artists or () if artist.id or artist.name), _NOBODY)
    key = guid_bytes(of_album.id)
    album_artist = row.album_artist or of_album.name or next(iter(artists), None)
    return Membership(
        show_title=album_artist,
        show_key=None if key is None else key.hex(),
        artist=", ".join(artists) or album_artist,
        album=row.album or None,
        disc=ordinal(row.parent_index_number, warnings),
        track=ordinal(row.index_number, warnings),
    )


def _part(file: MediaSource, warnings: list[str]) -> PartDraft:
    length = milliseconds(file.run_time_ticks, warnings, per_ms=TICKS_PER_MS)
    return PartDraft(file.path or "", file.size, length, None, file_stamp(file))


def file_stamp(source: MediaSource) -> str | None:
    """Make a stamp of a file from its size and its length in ticks of 100 ns; None if one of them is unknown.

    Jellyfin has no better one: ids are made of the path, and the ETag changes with each edit of the item, because it is
    made of the time when that was saved last (BaseItem.cs).
    """
    if source.size is None or source.run_time_ticks is None:
        return None
    return f"{source.size}/{source.run_time_ticks}"


def _numbers(row: Row | OutlineRow, warnings: list[str]) -> list[int | None]:
    """Return the episode numbers that the drafts of a file add to their URIs: None for the first or only one."""
    if row.index_number_end is None:
        return [None]
    first, last = row.index_number, row.index_number_end
    if row.type != "Episode" or first is None or last == first:
        return [None]
    if not first < last < first + LONGEST_RANGE or first < 0:
        warnings.append("bad_number")
        return [None]
    return [None, *range(first + 1, last + 1)]


def _streams_of(source: MediaSource) -> tuple[Stream, Stream]:
    """Return the streams of picture and sound that a version is played with; an empty one where it has none."""
    video = chosen = default = first = None
    for stream in source.media_streams or ():
        if stream.type == "Audio":
            first = first or stream
            if chosen is None and stream.index == source.default_audio_stream_index:
                chosen = stream
            if default is None and stream.is_default:
                default = stream
        elif video is None and stream.type == "Video":
            video = stream
    return video or _NO_STREAM, chosen or default or first or _NO_STREAM


def _provider_ids(row: Row) -> dict[str, str]:
    found: dict[str, str] = {}  # without a comprehension, which takes as long again as what it does
    for name, text in (row.provider_ids or {}).items():
        if name and text:
            found[name.lower()] = text
    return found


def _studios(row: Row) -> list[str]:
    return [studio.name for studio in row.studios or () if studio.name]


def _tags(row: Row) -> dict[str, list[str]]:
    tags: dict[str, list[str]] = {}
    if row.genres:
        tags["genre"] = [tag for tag in row.genres if tag]
    if row.tags:
        tags["label"] = [tag for tag in row.tags if tag]
    return tags


def _stars(row: Row, warnings: list[str]) -> float | None:
    return rating(row.community_rating, row.critic_rating, warnings, best=100)


def date(text: str | None, warnings: list[str]) -> dt.date | None:
    """Read the day of a time such as ``2024-10-07T22:00:00.0000000Z``.

    Providers of metadata give days. Jellyfin stores a day as midnight in its own zone and answers in UTC: a server in
    the Netherlands says 22:00 or 23:00 of the day before (recorded answers). The day of the nearest midnight is
    returned.
    """
    if not text:
        return None
    try:
        moment = dt.datetime.fromisoformat(text[:19] if len(text) > 10 else f"{text}T00:00:00")
        if moment.minute % 15 == 0 and moment.second == 0:
            # Zones differ from UTC by quarters of an hour.
            moment += _HALF_A_DAY
    except (ValueError, OverflowError):
        pass
    else:
        # The zone comes behind the seconds.
        if FIRST_YEAR <= moment.year <= LAST_YEAR and moment.tzinfo is None:
            return moment.date()
    warnings.append("bad_date")
    return None
