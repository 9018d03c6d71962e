"""Rows for explicit libraries: the least that Plex always sends, and whatever a test adds."""

from __future__ import annotations

from typing import Any

from retrovue.simulator.model import Row

_ADDED = 1_700_000_000
_LENGTH = 5_400_000


def part(part_id: int, file: str | None, **fields: Any) -> Row:
    """Make a file of a version; a field given as None is left out."""
    ending = (file or "file.mkv").rpartition(".")[2]
    row: Row = {"id": part_id, "key": f"/library/parts/{part_id}/{_ADDED}/file.{ending}", "duration": _LENGTH}
    return _with(row | {"file": file, "size": 1_000_000_000 + part_id, "container": ending}, fields)


def media(media_id: int, *parts: Row, **fields: Any) -> Row:
    """Make a version of an item, with the files that it consists of."""
    row: Row = {"id": media_id, "duration": _LENGTH, "bitrate": 4000, "width": 1920, "height": 1080}
    row |= {"aspectRatio": 1.78, "audioChannels": 2, "audioCodec": "aac", "videoCodec": "h264"}
    row |= {"videoResolution": "1080", "container": "mkv", "videoFrameRate": "24p", "Part": list(parts)}
    return _with(row, fields)


def movie(rating_key: int, title: str | None = None, **fields: Any) -> Row:
    """Make a movie with one file, `/data/movies/<title>.mkv`, unless `Media` or `file` says otherwise."""
    title = title or f"Movie {rating_key}"
    row: Row = {"ratingKey": str(rating_key), "key": f"/library/metadata/{rating_key}"}
    row |= {"guid": f"plex://movie/{rating_key:024x}", "type": "movie", "title": title, "summary": "", "year": 2001}
    row |= _pictures(rating_key) | {"duration": _LENGTH} | _times()
    return _with(row | _file(rating_key, fields.pop("file", f"/data/movies/{title}.mkv")), fields)


def clip(rating_key: int, title: str | None = None, **fields: Any) -> Row:
    """Make a home video, as a section without an agent lists it."""
    title = title or f"Clip {rating_key}"
    own = {"guid": f"com.plexapp.agents.none://{rating_key:040x}?lang=xn", "subtype": "clip"}
    return movie(rating_key, title, **(own | {"file": f"/data/videos/{title}.mp4"} | fields))


def show(rating_key: int, title: str | None = None, **fields: Any) -> Row:
    """Make a show; the section counts its seasons and episodes."""
    row: Row = {"ratingKey": str(rating_key), "key": f"/library/metadata/{rating_key}/children"}
    row |= {"guid": f"plex://show/{rating_key:024x}", "type": "show", "title": title or f"Show {rating_key}"}
    return _with(row | {"summary": "", "index": 1} | _pictures(rating_key) | {"viewedLeafCount": 0} | _times(), fields)


def season(rating_key: int, of: Row, index: int, **fields: Any) -> Row:
    """Make a season of a show."""
    row: Row = {"ratingKey": str(rating_key), "key": f"/library/metadata/{rating_key}/children"}
    row |= {"guid": f"plex://season/{rating_key:024x}", "type": "season", "title": f"Season {index}"}
    row |= _above("parent", of) | {"summary": "", "index": index, "parentIndex": of["index"]}
    return _with(row | _pictures(rating_key) | {"viewedLeafCount": 0} | _times(), fields)


def episode(rating_key: int, of: Row, index: int, title: str | None = None, **fields: Any) -> Row:
    """Make an episode of a season, with one file unless `Media` or `file` says otherwise."""
    name = f"{of['parentTitle']} - S{of['index']:02}E{index:02}"
    row: Row = {"ratingKey": str(rating_key), "key": f"/library/metadata/{rating_key}"}
    row |= {"guid": f"plex://episode/{rating_key:024x}", "type": "episode", "title": title or f"Episode {index}"}
    row |= _above("parent", of) | {f"grand{key}": of[key] for key in of if key in _PARENT_KEYS}
    row |= {"summary": "", "index": index, "parentIndex": of["index"]}
    row |= _pictures(rating_key) | {"duration": _LENGTH} | _times()
    return _with(row | _file(rating_key, fields.pop("file", f"/data/tv/{of['parentTitle']}/{name}.mkv")), fields)


def artist(rating_key: int, title: str | None = None, **fields: Any) -> Row:
    """Make an artist."""
    return show(rating_key, title or f"Artist {rating_key}", **({"type": "artist"} | fields))


def album(rating_key: int, of: Row, index: int = 1, **fields: Any) -> Row:
    """Make an album of an artist."""
    return season(rating_key, of, index, **({"type": "album", "title": f"Album {index}"} | fields))


def track(rating_key: int, of: Row, index: int, title: str | None = None, **fields: Any) -> Row:
    """Make a track of an album, with one file."""
    title = title or f"Track {index}"
    file = f"/data/music/{of['parentTitle']}/{of['title']}/{index:02} {title}.mp3"
    sound = media(rating_key, part(rating_key, file), audioCodec="mp3", container="mp3")
    for key in ("width", "height", "aspectRatio", "videoCodec", "videoResolution", "videoFrameRate"):
        del sound[key]
    own: Row = {"type": "track", "Media": [sound]}
    return episode(rating_key, of, index, title, **(own | fields))


_PARENT_KEYS = frozenset({"parentRatingKey", "parentKey", "parentGuid", "parentTitle", "parentThumb"})


def _above(prefix: str, row: Row) -> Row:
    found: Row = {f"{prefix}RatingKey": row["ratingKey"], f"{prefix}Key": f"/library/metadata/{row['ratingKey']}"}
    for key in ("guid", "title", "thumb"):
        if key in row:
            found[prefix + key.capitalize()] = row[key]
    return found


def _pictures(rating_key: int) -> Row:
    return {
        "thumb": f"/library/metadata/{rating_key}/thumb/{_ADDED}",
        "art": f"/library/metadata/{rating_key}/art/{_ADDED}",
    }


def _times() -> Row:
    return {"addedAt": _ADDED, "updatedAt": _ADDED}


def _file(rating_key: int, path: str) -> Row:
    return {"Media": [media(rating_key, part(rating_key, path))]}


def _with(row: Row, fields: Row) -> Row:
    return {key: value for key, value in (row | fields).items() if value is not None}
