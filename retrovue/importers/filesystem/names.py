"""What a media file's name says: which files are media, which belong together, and what they are called. Pure.

The rules are those of media servers: which directories and files Jellyfin ignores or takes for extras is in its
``Emby.Server.Implementations/Library/IgnorePatterns.cs`` and ``Emby.Naming/Common/NamingOptions.cs``; Plex hides
samples and extras likewise ("How to Ignore Files or Folders"); both honour files that exclude a directory
(``.plexignore`` with a line ``*``, an empty ``.ignore``), as Android's and Kodi's scanners do with ``.nomedia``.
Multi-part names are those of Kodi's "File stacking" and Jellyfin's ``VideoFileStackingRules``.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

VIDEO = frozenset(
    {
        "3g2", "3gp", "amv", "asf", "avi", "divx", "dv", "dvr-ms", "f4v", "flv", "m2t", "m2ts", "m2v", "m4v", "mk3d",
        "mkv", "mov", "mp4", "mpe", "mpeg", "mpg", "mts", "mxf", "nsv", "nut", "nuv", "ogm", "ogv", "qt", "rec", "rm",
        "rmvb", "tp", "ts", "vob", "webm", "wmv", "wtv", "xvid",
    }
)  # fmt: skip
AUDIO = frozenset(
    {
        "aac", "ac3", "aif", "aiff", "alac", "ape", "dsf", "dts", "flac", "m4a", "m4b", "mka", "mp2", "mp3", "mpc",
        "oga", "ogg", "opus", "ra", "tta", "wav", "wma", "wv",
    }
)  # fmt: skip
_SYSTEM = frozenset(
    {
        "metadata", "ps3_update", "ps3_vprm", "extrafanart", "extrathumbs", "lost+found", "temprec", "tempsbe", "eadir",
        "@eadir", "#recycle", "@recycle", "$recycle.bin",
        "system volume information",
    }
)  # fmt: skip
EXTRAS = frozenset(
    {
        "trailers", "backdrops", "theme-music", "interviews", "scenes", "samples", "sample", "shorts", "featurettes",
        "extras", "other", "clips", "behind the scenes", "deleted scenes", "bonus", "bonus disc",
    }
)  # fmt: skip
"""Directories inside a title's own that hold what goes with it."""
EXCLUDING = frozenset({".ignore", ".nomedia"})
"""Files that exclude the directory they are in; ``.plexignore`` does if it has a line ``*``."""
_EXTRA_STEM = re.compile(
    r"^(?:trailer|sample|theme)$|[ ._-](?:trailer|sample)$"
    r"|-(?:scene|clip|interview|behindthescenes|deleted|deletedscene|featurette|short|extra|other)$",
    re.IGNORECASE,
)
_PART = re.compile(
    r"^(?P<title>.+?)(?P<separator>[ ._-]+)[(\[]?(?P<token>cd|dvd|dis[ck]|part|pt)[ ._-]*(?P<number>[0-9]{1,2})[)\]]?$",
    re.IGNORECASE,
)
_EPISODE = re.compile(
    r"(?:^|(?<=[ ._\-(\[]))"
    r"(?:s(?P<s>[0-9]{1,4})[ ._-]*e(?P<e>[0-9]{1,4})|(?P<sx>[0-9]{1,2})x(?P<ex>[0-9]{2,3}))(?![0-9])",
    re.IGNORECASE,
)
_MORE_EPISODES = re.compile(r"^(?:[ ._-]*(?:-[ ]?)?e[0-9]{1,4}|-[0-9]{1,4}(?![0-9]))+", re.IGNORECASE)
_SEASON = re.compile(r"^(?:season|series|staffel|s)[ ._-]*[0-9]{1,4}$|^specials$", re.IGNORECASE)
_YEAR = re.compile(r"[ ._]*[(\[](?P<year>(?:18|19|20)[0-9]{2})[)\]]")
_TAGS = re.compile(r"[ ._]*(?:\{[^{}]*\}|\[[^\[\]]*\])")


class Name(NamedTuple):
    """What a file's name and place tell."""

    title: str
    show_title: str | None = None
    season: int | None = None
    episode: int | None = None
    year: int | None = None


class File(NamedTuple):
    """A media file of a directory."""

    name: str
    size: int


def extension(name: str) -> str:
    """Return a name's extension, in lower case and without its dot."""
    return os.path.splitext(name)[1][1:].lower()  # noqa: PTH122 - of a name, a million times


def is_media(name: str) -> bool:
    """Tell by its extension whether a file is video or sound that can be broadcast; disc images can't."""
    return extension(name) in VIDEO or extension(name) in AUDIO


def is_ignored(name: str) -> bool:
    """Tell whether a file or directory is hidden or the system's own."""
    return name.startswith(".") or name.casefold() in _SYSTEM


def is_extra(name: str) -> bool:
    """Tell by its name whether a file is a trailer, a sample or the like, and not the title itself."""
    return _EXTRA_STEM.search(_stem(name)) is not None


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]  # noqa: PTH122


def stacked(files: Iterable[File], directory: str) -> Iterator[tuple[File, ...]]:
    """Put the parts of multi-part titles together; ``files`` are sorted, and all of one directory of that name.

    They are iterated over twice, and only those that may be parts are held meanwhile.

    Parts are numbered from 1 without a gap and have one extension. What a disc is called (``cd1``, ``dvd2``) is
    taken as it stands; ``part1`` and ``pt1`` only after a hyphen or in a directory of the title's own, because
    "Kill Part 1" and "Kill Part 2" may as well be two films.
    """
    groups: dict[tuple[str, str, str], dict[int, File]] = {}
    for file in files:
        key = _part(file.name, directory)
        if key is not None:
            title, token, number = key
            groups.setdefault((title, token, extension(file.name)), {}).setdefault(number, file)
    parts: dict[str, tuple[File, ...]] = {}
    for group in groups.values():
        if len(group) > 1 and sorted(group) == list(range(1, len(group) + 1)):
            whole = tuple(group[number] for number in sorted(group))
            parts.update((file.name, whole) for file in whole)
    for file in files:
        whole = parts.get(file.name, (file,))
        if whole[0].name == file.name:
            yield whole


def _part(name: str, directory: str) -> tuple[str, str, int] | None:
    if extension(name) in AUDIO:
        return None
    match = _PART.match(_stem(name))
    if match is None:
        return None
    title, token = match["title"].casefold(), match["token"].casefold()
    if token in {"part", "pt"} and "-" not in match["separator"] and _cleaned(title) != _cleaned(directory.casefold()):
        return None
    return title, token, int(match["number"])


def read_name(parts: Sequence[str], directories: Sequence[str]) -> Name:
    """Read the name of a file, or of the parts of one title, below these directories of its collection."""
    stem = _stem(parts[0])
    if len(parts) > 1 and (match := _PART.match(stem)):
        stem = match["title"]
    episode = _EPISODE.search(stem)
    if episode is None:
        plain, year = _without_year(stem)
        return Name(_cleaned(plain) or _cleaned(stem) or _shown(parts[0]), year=year)
    before, after = stem[: episode.start()], _MORE_EPISODES.sub("", stem[episode.end() :])
    show, year = _without_year(before)
    if not _cleaned(show):
        show, year = _without_year(next((one for one in reversed(directories) if not _SEASON.match(one)), ""))
    return Name(
        _cleaned(after) or _cleaned(stem) or _shown(parts[0]),
        _cleaned(show) or None,
        int(episode["s"] or episode["sx"]),
        int(episode["e"] or episode["ex"]),
        year,
    )


def _without_year(text: str) -> tuple[str, int | None]:
    match = _YEAR.search(text)
    return (text, None) if match is None else (text[: match.start()], int(match["year"]))


def _cleaned(text: str) -> str:
    text = _TAGS.sub("", text)
    if " " not in text.strip():
        text = text.replace(".", " ")
    return _shown(" ".join(text.replace("_", " ").split()).strip(" -–"))


def _shown(text: str) -> str:
    """Show bytes of a name that aren't UTF-8 by the replacement character."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def shown(names: Iterable[str]) -> str:
    """Join names to a path that can be stored and shown."""
    return _shown("/".join(names))


def kind_of(name: str) -> str:
    """Guess from a collection's name what it holds: ``movie``, ``show``, ``music``, ``clip``, else ``mixed``."""
    return _KINDS.get(name.casefold(), "mixed")


_KINDS = {
    **dict.fromkeys(("movies", "films", "film"), "movie"),
    **dict.fromkeys(("tv", "tv shows", "shows", "series"), "show"),
    **dict.fromkeys(("music", "audio"), "music"),
    **dict.fromkeys(("clips", "promos", "bumpers", "idents", "commercials", "home videos", *EXTRAS), "clip"),
}
KINDS = ("movie", "show", "music", "clip", "mixed")


def asset_type(kind: str, name: str, known: Name) -> str:
    """Say what kind of asset a file of a collection is."""
    if extension(name) in AUDIO:
        return "track"
    if known.episode is not None and kind in {"show", "mixed"}:
        return "episode"
    return "movie" if kind in {"movie", "mixed"} else "clip"
