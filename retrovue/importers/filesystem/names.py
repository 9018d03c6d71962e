"""Read file names: which files are media, which are parts of one title, and their title, show and numbers. Pure.

The rules are those of media servers. Jellyfin's ignored directories and extras are in its
``Emby.Server.Implementations/Library/IgnorePatterns.cs`` and ``Emby.Naming/Common/NamingOptions.cs``; Plex's in "How
to Ignore Files or Folders". Names of parts follow Kodi's "File stacking" and Jellyfin's ``VideoFileStackingRules``.
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
"""Names of directories that hold a title's extras, if they lie in the title's own directory."""
IGNORE_FILES = frozenset({".ignore", ".plexignore", ".nomedia"})
"""Files that exclude their directory: ``.nomedia``, an empty ``.ignore``, a line ``*`` in one of the first two."""
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
    """What a file's name and the directories above it say."""

    title: str
    show_title: str | None = None
    season: int | None = None
    episode: int | None = None
    year: int | None = None


class File(NamedTuple):
    """A media file: its name and its size in bytes."""

    name: str
    size: int


def extension(name: str) -> str:
    """Return the extension in lower case, without its dot."""
    return os.path.splitext(name)[1][1:].lower()  # noqa: PTH122 - of a name, a million times


def is_media(name: str) -> bool:
    """Return whether the extension is one of video or sound; disc images aren't."""
    return extension(name) in VIDEO or extension(name) in AUDIO


def is_ignored(name: str) -> bool:
    """Return whether a file or directory is hidden, or belongs to the system."""
    return name.startswith(".") or name.casefold() in _SYSTEM


def is_extra(name: str) -> bool:
    """Return whether the name marks a file as a trailer, a sample or another extra of a title."""
    return _EXTRA_STEM.search(_stem(name)) is not None


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]  # noqa: PTH122


def stacked(files: Iterable[File], directory: str) -> Iterator[tuple[File, ...]]:
    """Group the parts of each title; yield a tuple of files for each title, in the order of its first file.

    ``files`` are all files of one directory, sorted. They are iterated over twice; only possible parts are held.
    ``directory`` is its name. Parts are numbered from 1 without a gap and share one extension. ``cd1`` and ``dvd2``
    always count as parts, ``part1`` and ``pt1`` only after a hyphen or if the directory has the title's name:
    "Kill Part 1" and "Kill Part 2" may be two films.
    """
    groups: dict[tuple[str, str, str], dict[int, File]] = {}
    for file in files:
        if part := _part(file.name, directory):
            title, token, number = part
            groups.setdefault((title, token, extension(file.name)), {}).setdefault(number, file)
    stacks: dict[str, tuple[File, ...]] = {}
    for group in groups.values():
        if len(group) > 1 and max(group) == len(group) and 0 not in group:
            stack = tuple(group[number] for number in sorted(group))
            stacks.update((file.name, stack) for file in stack)
    for file in files:
        stack = stacks.get(file.name, (file,))
        if stack[0].name == file.name:
            yield stack


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
    """Read the names of a title's parts; ``directories`` lead from the collection's own down to them."""
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
        show, year = _without_year(next((name for name in reversed(directories) if not _SEASON.match(name)), ""))
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
    """Replace the bytes of a name that aren't UTF-8 by the replacement character."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def shown(names: Iterable[str]) -> str:
    """Join names to a path as storable text."""
    return _shown("/".join(names))


def kind_of(name: str) -> str:
    """Return the kind that a collection's name suggests, one of KINDS; ``mixed`` if it suggests none."""
    return _KINDS.get(name.casefold(), "mixed")


_KINDS = {
    **dict.fromkeys(("movies", "films", "film"), "movie"),
    **dict.fromkeys(("tv", "tv shows", "shows", "series"), "show"),
    **dict.fromkeys(("music", "audio"), "music"),
    **dict.fromkeys(("clips", "promos", "bumpers", "idents", "commercials", "home videos", *EXTRAS), "clip"),
}
KINDS = ("movie", "show", "music", "clip", "mixed")


def asset_type(kind: str, name: str, parsed: Name) -> str:
    """Return the type of the asset that a file of a collection becomes; ``kind`` is the collection's."""
    if extension(name) in AUDIO:
        return "track"
    if parsed.episode is not None and kind in {"show", "mixed"}:
        return "episode"
    return "movie" if kind in {"movie", "mixed"} else "clip"
