"""Items as a Jellyfin server lists them: what recorded answers always hold, and whatever a test adds.

Fields and spellings are those of the recorded listing of a 10.11 server and of BaseItemDto, MediaSourceInfo and
MediaStream in Jellyfin's source.
"""

from __future__ import annotations

import hashlib
from typing import Any

from retrovue.simulator.model import Row

TICKS = 54_000_000_000
"""The length of every file, an hour and a half in units of 100 ns."""


def item_id(number: int | str) -> str:
    """Return the id of an item: Jellyfin's are MD5 sums, too, of the type and the path."""
    return hashlib.md5(f"retrovue {number}".encode(), usedforsecurity=False).hexdigest()


def source(number: int | str, path: str | None, **fields: Any) -> Row:
    """Make a version of an item, with a picture in 1080p and stereo sound; a field given as None is left out."""
    ending = (path or "file.mkv").rpartition(".")[2]
    row: Row = {"Protocol": "File", "Id": item_id(number), "Path": path, "Type": "Default", "Container": ending}
    row |= {"Size": 1_000_000_000, "Name": (path or "").rpartition("/")[2].rpartition(".")[0], "IsRemote": False}
    row |= {"ETag": item_id(f"etag {number}"), "RunTimeTicks": TICKS, "ReadAtNativeFramerate": False}
    row |= {"IgnoreDts": False, "IgnoreIndex": False, "GenPtsInput": False, "SupportsTranscoding": True}
    row |= {"SupportsDirectStream": True, "SupportsDirectPlay": True, "IsInfiniteStream": False}
    row |= {"RequiresOpening": False, "RequiresClosing": False, "RequiresLooping": False, "SupportsProbing": True}
    row |= {"VideoType": "VideoFile", "MediaStreams": [_picture(), _sound(1)], "MediaAttachments": []}
    row |= {"Formats": [], "Bitrate": 4_192_000, "RequiredHttpHeaders": {}, "DefaultAudioStreamIndex": 1}
    return _with(row | {"HasSegments": False}, fields)


def movie(number: int, name: str | None = None, **fields: Any) -> Row:
    """Make a film with one file, `/data/movies/<name>.mkv`, unless `MediaSources` or `file` says otherwise."""
    name = name or f"Movie {number}"
    file = fields.pop("file", f"/data/movies/{name}.mkv")
    row = _item(number, name, "Movie") | {"MediaSources": [source(number, file)], "Container": "mkv"}
    row |= {"VideoType": "VideoFile", "MediaType": "Video", "ProductionYear": 2001}
    row |= {"PremiereDate": "2001-05-04T00:00:00.0000000Z", "CommunityRating": 6.8, "OfficialRating": "PG-13"}
    return _with(row | {"ProviderIds": {"Tmdb": str(number)}, "Chapters": []}, fields)


def video(number: int, name: str | None = None, **fields: Any) -> Row:
    """Make a home video."""
    name = name or f"Video {number}"
    return movie(number, name, **({"Type": "Video", "ProviderIds": {}, "file": f"/data/videos/{name}.mp4"} | fields))


def music_video(number: int, name: str | None = None, **fields: Any) -> Row:
    """Make a music video."""
    return video(number, name, **({"Type": "MusicVideo"} | fields))


def part(number: int, of: Row, file: str, **fields: Any) -> Row:
    """Make a further part of a video, as only /Videos/{id}/AdditionalParts tells it."""
    return video(number, of["Name"], **({"file": file} | fields))


def series(number: int, name: str | None = None, **fields: Any) -> Row:
    """Make a series."""
    row = _item(number, name or f"Series {number}", "Series")
    return _with(row | {"IsFolder": True, "Status": "Ended", "MediaType": "Unknown", "ProductionYear": 2001}, fields)


def episode(number: int, of: Row, season: int, index: int, name: str | None = None, **fields: Any) -> Row:
    """Make an episode of a series, with one file."""
    title = of["Name"]
    file = fields.pop("file", f"/data/tv/{title}/{title} - S{season:02}E{index:02}.mkv")
    own: Row = {"Type": "Episode", "IndexNumber": index, "ParentIndexNumber": season, "SeriesName": title}
    own |= {"SeriesId": of["Id"], "SeasonName": f"Season {season}", "SeasonId": item_id(f"{of['Id']} season {season}")}
    own |= {"SortName": f"{season:03} - {index:04} - {name}", "OfficialRating": None, "CommunityRating": None}
    return movie(number, name or f"Episode {index}", **(own | {"file": file} | fields))


def audio(number: int, name: str | None = None, **fields: Any) -> Row:
    """Make a track of an album."""
    name = name or f"Track {number}"
    album, artist = fields.setdefault("Album", "Album"), fields.setdefault("AlbumArtist", "Artist")
    file = fields.pop("file", f"/data/music/{artist}/{album}/{name}.mp3")
    sound = source(number, file, VideoType=None, MediaStreams=[_sound(0, "mp3")], DefaultAudioStreamIndex=0)
    row = _item(number, name, "Audio") | {"MediaSources": [sound], "Container": "mp3", "MediaType": "Audio"}
    return _with(row | {"Artists": [artist], "IndexNumber": 1, "ParentIndexNumber": 1, "ProviderIds": {}}, fields)


def _item(number: int, name: str, kind: str) -> Row:
    row: Row = {"Name": name, "Id": item_id(number), "SortName": name.lower(), "ChannelId": None, "IsFolder": False}
    row |= {"DateCreated": f"2023-11-14T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.0000000Z"}
    row |= {"Type": kind, "LocationType": "FileSystem", "RunTimeTicks": TICKS, "ImageBlurHashes": {}}
    return row | {"Genres": [], "GenreItems": [], "Tags": [], "Studios": [], "ProviderIds": {}}


def _picture() -> Row:
    row: Row = {"Codec": "h264", "TimeBase": "1/1000", "VideoRange": "SDR", "VideoRangeType": "SDR", "IsAVC": True}
    row |= {"DisplayTitle": "1080p H264 SDR", "IsInterlaced": False, "BitRate": 4_000_000, "BitDepth": 8}
    row |= {"RefFrames": 1, "IsDefault": True, "IsForced": False, "Height": 1080, "Width": 1920}
    row |= {"AverageFrameRate": 23.976025, "RealFrameRate": 23.976025, "Profile": "High", "Type": "Video"}
    return row | {"AspectRatio": "16:9", "Index": 0, "IsExternal": False, "PixelFormat": "yuv420p", "Level": 41}


def _sound(index: int, codec: str = "aac") -> Row:
    row: Row = {
        "Codec": codec,
        "Language": "eng",
        "TimeBase": "1/1000",
        "VideoRange": "Unknown",
        "ChannelLayout": "stereo",
    }
    row |= {"DisplayTitle": f"English - {codec.upper()} - Stereo - Default", "IsInterlaced": False, "IsAVC": False}
    row |= {"BitRate": 192_000, "Channels": 2, "SampleRate": 48000, "IsDefault": True, "IsForced": False}
    return row | {"Profile": "LC", "Type": "Audio", "Index": index, "IsExternal": False, "Level": 0}


def _with(row: Row, fields: Row) -> Row:
    return {key: value for key, value in (row | fields).items() if value is not None}
