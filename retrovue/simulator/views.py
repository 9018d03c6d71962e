"""What of a complete row a listing shows, and what only the details show."""

from __future__ import annotations

from typing import Any, NamedTuple

from retrovue.simulator.request import Request

_DETAILS_ONLY = frozenset(
    {"Rating", "Chapter", "Extras", "Marker", "Review", "Similar", "Preferences", "librarySectionID"}
    | {"librarySectionKey", "librarySectionTitle"}
)
_CUT = {"Role": 3, "Genre": 2}
_CHANNELS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


# What PMS has been seen to leave out on request (WebTools-NG issue 71), by the name to ask with.
_EXCLUDABLE = {
    "excludeElements": {
        "Actor": "Role",
        **{name: name for name in ("Collection", "Country", "Director", "Genre", "Label", "Mood", "Producer")},
        **{name: name for name in ("Similar", "Writer")},
    },
    "excludeFields": {"summary": "summary", "tagline": "tagline"},
}


class View(NamedTuple):
    """How a listing's rows were asked for."""

    guids: bool = True
    without: frozenset[str] = frozenset()
    """Keys to leave out."""

    @classmethod
    def asked_for(cls, request: Request) -> View:
        """Read a request's wishes; what can't be left out is shown, as PMS does."""
        without = {
            keys[name]
            for argument, keys in _EXCLUDABLE.items()
            for name in request.query.get(argument, "").split(",")
            if name in keys
        }
        return cls(request.query.get("includeGuids") == "1", frozenset(without))

    def shows(self, key: str) -> bool:
        """Whether a listing has this key of a row."""
        return key not in self.without and (key != "Guid" or self.guids)


LEAN = View(
    without=frozenset(_EXCLUDABLE["excludeFields"])
    | {"Role", "Country", "Director", "Mood", "Producer", "Similar", "Writer"}
)
"""People, places and plots left out; genres, labels, collections and ids shown."""


def list_view(row: dict[str, Any], view: View) -> dict[str, Any]:
    """Return a row as a listing shows it: no Stream, shortened tags, and not what nobody asked for."""
    shown: dict[str, Any] = {}
    for key, value in row.items():
        if key in _DETAILS_ONLY or not view.shows(key):
            continue
        if key in _CUT and isinstance(value, list):
            shown[key] = value[: _CUT[key]]
        elif key == "Media" and isinstance(value, list):
            shown[key] = [_without_streams(version) for version in value]
        else:
            shown[key] = value
    return shown


def detail_view(row: dict[str, Any], *, section_number: int, section_title: str) -> dict[str, Any]:
    """Return a row as /library/metadata shows it: with its section and with the streams of each part."""
    view = dict(row)
    view["librarySectionTitle"] = section_title
    view["librarySectionID"] = section_number
    view["librarySectionKey"] = f"/library/sections/{section_number}"
    if isinstance(row.get("Media"), list):
        view["Media"] = [_with_streams(version) for version in row["Media"]]
    if "rating" in row and "Rating" not in row and row.get("type") in ("movie", "show", "episode"):
        image = row.get("ratingImage", "imdb://image.rating")
        view["Rating"] = [{"image": image, "value": row["rating"], "type": "critic"}]
    return view


def _without_streams(version: Any) -> Any:
    if not isinstance(version, dict) or not isinstance(version.get("Part"), list):
        return version
    parts = [
        {key: value for key, value in part.items() if key != "Stream"} if isinstance(part, dict) else part
        for part in version["Part"]
    ]
    return {**version, "Part": parts}


def _with_streams(version: Any) -> Any:
    # A file that Plex has not analysed has no codec, and no streams either.
    if not isinstance(version, dict) or not isinstance(version.get("Part"), list) or "container" not in version:
        return version
    parts = [
        {**part, "Stream": _streams(version, part)} if isinstance(part, dict) and "Stream" not in part else part
        for part in version["Part"]
    ]
    return {**version, "Part": parts}


def _streams(version: dict[str, Any], part: dict[str, Any]) -> list[dict[str, Any]]:
    first = int(part.get("id", 0)) * 4
    streams: list[dict[str, Any]] = []
    if "videoCodec" in version:
        codec = str(version["videoCodec"])
        name = f"{version.get('height', 1080)}p ({codec.upper()})"
        streams.append(
            {
                "id": first,
                "streamType": 1,
                "default": True,
                "codec": codec,
                "index": 0,
                "bitrate": int(version.get("bitrate", 4000)),
                "bitDepth": 8,
                "height": version.get("height", 1080),
                "width": version.get("width", 1920),
                "frameRate": 23.976,
                "displayTitle": name,
                "extendedDisplayTitle": name,
            }
        )
    if "audioCodec" in version:
        codec, channels = str(version["audioCodec"]), int(version.get("audioChannels", 2))
        name = f"English ({codec.upper()} {_CHANNELS.get(channels, 'stereo')})"
        streams.append(
            {
                "id": first + 1,
                "streamType": 2,
                "selected": True,
                "default": True,
                "codec": codec,
                "index": len(streams),
                "channels": channels,
                "bitrate": 192,
                "language": "English",
                "languageTag": "en",
                "languageCode": "eng",
                "samplingRate": 48000,
                "displayTitle": name,
                "extendedDisplayTitle": name,
            }
        )
    return streams
