"""Read file names: title, show, numbers, dates and ids. Pure.

Names of episodes and seasons follow Plex's "Naming and Organizing Your TV Show Files" and Jellyfin's
``Emby.Naming/Common/NamingOptions.cs``.
"""

import datetime as dt
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from retrovue.importers.filesystem.exclusions import AUDIO, DISC_FOLDERS, EXTRAS, extension, stem

KINDS = ("movie", "show", "music", "clip", "mixed")
LONGEST_RANGE = 50
"""Episodes of one file; a larger range is no range."""
_RELEASE = (
    r"(?:[0-9]{3,4}[pi]|[48]k|uhd|[hs]dtv|pdtv|dsr|web[ .-]?(?:dl|rip)|blu-?ray|b[dr]rip|dvd(?:rip|scr)|remux"
    r"|[xh][ .]?26[45]|hevc|av1|xvid|divx|10bit|hdr(?:10)?)"
)
_VERSION = r"(?:proper|repack|internal|unrated|uncut|extended|remastered|theatrical|multi)"
_RELEASE_TAIL = re.compile(rf"[ ._-]+{_RELEASE}(?![^ ._\-\[\](){{}}]).*$", re.IGNORECASE)
"""The first word about the release, and all behind it."""
_BARE_YEAR = re.compile(r"^(?P<title>.*[^ ._-])[ ._-]+(?P<year>19[0-9]{2}|20[0-3][0-9])$")
_YEAR = re.compile(r"[ ._]*[(\[](?P<year>(?:18|19|20)[0-9]{2})[)\]]")
_ID = re.compile(
    r"[ ._-]*[\[{(](?:(?P<provider>imdb|tmdb|tvdb)(?:id)?[-=: ](?P<id>(?:tt)?[0-9]{1,10})|(?P<imdb>tt[0-9]{7,10}))"
    r"[\]})]",
    re.IGNORECASE,
)
_EDITION = re.compile(r"\{edition-([^{}]*[^{} ][^{}]*)\}", re.IGNORECASE)
_PLEX_TAGS = re.compile(r"[ ._]*\{(?:edition|imdb|tmdb|tvdb|plex)-[^{}]*\}", re.IGNORECASE)
_EDITION_WORDS = re.compile(
    r"(?<![a-z])(?:(?:(?:director'?s|extended|final|theatrical|ultimate|special|international|rogue)[ ._-]+)"
    r"(?:cut|edition|version)|extended|uncut|unrated|theatrical|remastered|restored|criterion|redux|imax)(?![a-z])",
    re.IGNORECASE,
)
_SPACES = str.maketrans("._-", "   ")
_TAGS = re.compile(r"[ ._]*(?:\{[^{}]*\}|\[[^\[\]]*\])")
_LEADING_TAG = re.compile(r"^(?:\[[^\[\]]*\]|\{[^{}]*\})")

PART = re.compile(
    r"^(?P<title>.+?)(?P<separator>[ ._-]+)[(\[]?(?P<word>cd|dvd|dis[ck]|part|pt)[ ._-]*(?P<number>[0-9]{1,2})[)\]]?"
    r"(?P<suffix>(?:[ ._-]*\[[^\[\]]*\]|[ ._-]*\{[^{}]*\}"
    rf"|[ ._-]+(?:{_RELEASE}|{_VERSION})(?![^ ._\-\[\](){{}}]))*)$",
    re.IGNORECASE,
)

_START = r"(?:^|(?<=[ ._\-(\[]))"
_SEASON_WORD = r"(?:season|series|staffel|saison|temporada|stagione)"
_EPISODE_WORD = r"(?:episode|folge|ep|e)"
EPISODE = re.compile(
    rf"{_START}(?:"
    rf"s(?P<s1>[0-9]{{1,4}})[ ._-]*(?:x?e(?:p(?:isode)?)?|x)[ ._-]*(?P<e1>[0-9]{{1,4}})"
    rf"|(?P<s2>[0-9]{{1,4}})xe?(?P<e2>[0-9]{{1,3}})"
    rf"|{_SEASON_WORD}[ ._]*(?P<s3>[0-9]{{1,4}})[ ._,-]*{_EPISODE_WORD}[ ._]*(?P<e3>[0-9]{{1,4}})"
    r")(?![0-9])(?!p\b)",
    re.IGNORECASE,
)
_MORE_EPISODES = re.compile(
    r"[ ._]?(?:[-+&][ ._]?)?(?:s?(?P<season>[0-9]{1,4})[ ._]*[ex]|e)(?P<e>[0-9]{1,4})(?![0-9a-z])"
    r"|-(?P<bare>[0-9]{1,3})(?![0-9a-z])",
    re.IGNORECASE,
)
_TWO_DIGITS = re.compile(r"[0-9]{2}[ ._-][0-9]{2}")
_DATE = re.compile(
    rf"{_START}(?:(?P<y1>(?:19|20)[0-9]{{2}})(?P<a>[ ._-])(?P<m1>[0-9]{{2}})(?P=a)(?P<d1>[0-9]{{2}})"
    r"|(?P<d2>[0-9]{2})(?P<b>[ ._-])(?P<m2>[0-9]{2})(?P=b)(?P<y2>(?:19|20)[0-9]{2}))(?![0-9])"
)
_EPISODE_ALONE = re.compile(rf"{_START}(?:(?:episode|folge|ep)[ ._]*|e)(?P<e>[0-9]{{1,4}})(?![0-9a-z])", re.IGNORECASE)
_LEADING_NUMBER = re.compile(r"^(?P<e>[0-9]{1,2}|0[0-9]{2})(?=[ ._-]|$)(?![ ._-]*[0-9])")
_ABSOLUTE = re.compile(r"(?<=[^ ._-])[ ._]+-[ ._]+(?P<e>[0-9]{1,4})(?:v[0-9])?(?=[ ._]*$|[ ._]*[\[(]|[ ._]+[^0-9 ._])")
_SEASON = re.compile(
    rf"^(?:(?P<show>.+?)[ ._-]+)?{_SEASON_WORD}[ ._-]*(?P<season>[0-9]{{1,4}})(?![0-9])"
    r"|^(?:(?P<show2>.+?)[ ._-]+)?s(?P<short>[0-9]{1,4})(?=$|[ ._-])"
    r"|^(?P<specials>specials)$",
    re.IGNORECASE,
)


class Name(NamedTuple):
    """What a file's name and the directories above it say."""

    title: str
    show_title: str | None = None
    season: int | None = None
    episode: int | None = None
    year: int | None = None
    """Of the film, or of the show."""


class Description(NamedTuple):
    """All that a file's name and the directories above it say."""

    name: Name
    more_episodes: tuple[int, ...] = ()
    """The numbers of a file's further episodes."""
    aired: dt.date | None = None
    ids: Mapping[str, str] = {}
    """Provider → id, of the film or the episode."""
    is_episode: bool = False
    show_directory: tuple[str, ...] = ()
    """The directory of the show, from its collection's; empty if it has none."""
    show_ids: Mapping[str, str] = {}
    edition: str | None = None


def read_name(parts: Sequence[str], directories: Sequence[str]) -> Name:
    """Read the names of a title's parts; ``directories`` lead from the collection's own down to them."""
    return describe(parts, directories).name


def describe(parts: Sequence[str], directories: Sequence[str], kind: str = "mixed") -> Description:
    """Read the names of a title's parts.

    ``directories`` lead from the collection's own down to them, ``kind`` is the collection's, one of KINDS. A number
    by itself or a date is an episode's only in a collection of shows, or in the directory of a season.
    """
    text = stem(parts[0])
    if len(parts) > 1 and (match := PART.match(text)):
        text = match["title"]
    plain = without_tags(text) or text
    ids = _ids(text)
    if kind != "movie" and (episode := _find_episode(plain, parts[0], tuple(directories), kind, ids)) is not None:
        return episode
    title, year = split_year(plain)
    if directories and (more := _ids(directories[-1])):
        ids = more | ids
    name = Name(title or cleaned(text) or _shown(parts[0]), year=year)
    return Description(name, ids=ids, edition=_edition(text, directories))


def _edition(text: str, directories: Sequence[str]) -> str | None:
    """Read the edition: Plex's tag, or words behind the year, before which they may be a title."""
    for name in (text, *directories[-1:]):
        if "{" in name and (match := _EDITION.search(name)) is not None:
            return match[1].strip()
    year = _YEAR.search(text)
    match = None if year is None else _EDITION_WORDS.search(text, year.end())
    if match is None:
        return None
    words = match[0].translate(_SPACES).split()
    return " ".join(word if word[0].isupper() else word.capitalize() for word in words)


def _find_episode(
    text: str, file: str, directories: tuple[str, ...], kind: str, ids: Mapping[str, str]
) -> Description | None:
    """Read a name as an episode's; return None if it isn't one."""
    place = _place(directories)
    match = EPISODE.search(text)
    while match is not None and _is_picture_size(match):
        match = EPISODE.search(text, match.end())
    if match is not None:
        return _episode(text, file, place, match, ids, is_episode=kind in {"show", "mixed"})
    if kind == "show" or (kind == "mixed" and place.season is not None):
        plain = _TAGS.sub(_blank, text)
        for pattern in (_DATE, _EPISODE_ALONE, _LEADING_NUMBER if place.season is not None else None, _ABSOLUTE):
            match = None if pattern is None else pattern.search(plain)
            if match is not None and (pattern is not _DATE or _date(match) is not None):
                return _episode(text, file, place, match, ids)
    return None


class _Place:
    """What the directories of a file say: the season's number, and the show's name, year and ids."""

    def __init__(self, directories: Sequence[str]) -> None:
        self.season: int | None = None
        self.show: str | None = None
        self.year: int | None = None
        self.directory: tuple[str, ...] = ()
        self.ids: Mapping[str, str] = {}
        seasonal: str | None = None
        for depth in range(len(directories), 0, -1):
            name = directories[depth - 1]
            match = _SEASON.match(name)
            if match is None:
                self.show, self.year = split_year(_ID.sub("", name))
                self.directory, self.ids = tuple(directories[:depth]), _ids(name)
                return
            if self.season is None:
                self.season = 0 if match["specials"] else int(match["season"] or match["short"])
                seasonal = match["show"] or match["show2"]
        # "Lost Season 1" without a directory of the show itself.
        if seasonal is not None:
            self.show, self.year = split_year(seasonal)


# Files of one directory are read one after the other.
@lru_cache(maxsize=8)
def _place(directories: tuple[str, ...]) -> _Place:
    return _Place(directories)


def _episode(
    text: str, file: str, place: _Place, match: re.Match[str], ids: Mapping[str, str], *, is_episode: bool = True
) -> Description:
    date = _date(match) if match.re is _DATE else None
    season, first = None, None
    if match.re is EPISODE:
        season = int(match["s1"] or match["s2"] or match["s3"])
        first = int(match["e1"] or match["e2"] or match["e3"])
    elif date is None:
        first = int(match["e"])
    after = text[match.end() :]
    more: list[int] = []
    if first is not None:
        more, after = _more_episodes(season, first, after, bare=match.re is EPISODE)
    if date is None and _TWO_DIGITS.search(after):
        date, after = _take_date(after)
    before, year = split_year(text[: match.start()])
    # "Doctor.Who.2005.S01E01"; with blanks it may be a title, as in "Space 1999 S01E01".
    if year is None and " " not in text[: match.start()] and (bare := _BARE_YEAR.match(before)) is not None:
        before, year = bare["title"], int(bare["year"])
    show = _show(before, place)
    if place.year is not None and show == place.show:
        year = year or place.year
    if season is None:
        season = place.season if place.season is not None or first is None else 1
    title = cleaned(_RELEASE_TAIL.sub("", _TAGS.sub("", after) if _has_brackets(after) else after))
    if not title.strip("()") or (title.startswith("(") and title.endswith(")")):
        title = date.isoformat() if date is not None and first is None else ""
    name = Name(title or cleaned(_RELEASE_TAIL.sub("", text)) or _shown(file), show, season, first, year)
    own_directory = place.directory if show == place.show else ()
    return Description(name, tuple(more), date, ids, is_episode, own_directory, place.ids if own_directory else {})


def _show(before: str, place: _Place) -> str | None:
    """Choose the show's name from the file's name or its directory: the directory's, if it lies above a season's."""
    if not before or not place.show:
        return before or place.show or None
    short, long = sorted((before.casefold(), place.show.casefold()), key=len)
    return place.show if place.season is not None or long.startswith(short) else before


def _more_episodes(season: int | None, first: int, text: str, *, bare: bool) -> tuple[list[int], str]:
    """Read the numbers of further episodes; return them and the text behind them."""
    numbers: list[int] = []
    last = first
    while match := _MORE_EPISODES.match(text):
        number = int(match["e"] or match["bare"])
        other = match["season"] is not None and int(match["season"]) != season
        if other or not last < number <= first + LONGEST_RANGE or (match["bare"] and not bare):
            break
        # "E01-E04" is a range, "E01E04" a list.
        numbers += range(last + 1, number + 1) if "-" in match[0] else [number]
        last, text = number, text[match.end() :]
    return numbers, text


def _is_picture_size(match: re.Match[str]) -> bool:
    """Return whether a match such as 640x480 or 16x9 is no season and episode."""
    width, height = match["s2"], match["e2"]
    return width is not None and ((len(width) > 2 and len(height) > 2) or (width, height) in {("16", "9"), ("21", "9")})


def _take_date(text: str) -> tuple[dt.date | None, str]:
    """Return a date in a text, and the text without it."""
    match = _DATE.search(text)
    date = None if match is None else _date(match)
    return (None, text) if match is None or date is None else (date, f"{text[: match.start()]} {text[match.end() :]}")


def _date(match: re.Match[str]) -> dt.date | None:
    try:
        return dt.date(*(int(match[f"{part}1"] or match[f"{part}2"]) for part in "ymd"))
    except ValueError:
        return None


def _ids(text: str) -> dict[str, str]:
    """Read ids as Plex, Jellyfin and Emby write them: {tmdb-1949}, [tmdbid-1949], [imdbid=tt0443706]."""
    ids: dict[str, str] = {}
    for match in _ID.finditer(text) if _has_brackets(text) else ():
        provider, value = (match["provider"] or "imdb").lower(), match["id"] or match["imdb"]
        if (provider == "imdb") == value.lower().startswith("tt"):
            ids.setdefault(provider, value.lower())
    return ids


def has_tags(text: str) -> bool:
    """Return whether a text holds an id of a provider or an edition, as Plex, Jellyfin and Emby write them."""
    return _has_brackets(text) and (_ID.search(text) is not None or _EDITION.search(text) is not None)


def without_tags(text: str) -> str:
    """Return a text without the ids and editions in it."""
    return _PLEX_TAGS.sub("", _ID.sub("", text)) if _has_brackets(text) else text


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def split_year(text: str) -> tuple[str, int | None]:
    """Split a film's or a show's name into its title and the year behind it."""
    match = _YEAR.search(text)
    if match is None:
        short = _RELEASE_TAIL.sub("", text)
        bare = _BARE_YEAR.match(short) if short != text else None
        return (cleaned(short), None) if bare is None else (cleaned(bare["title"]), int(bare["year"]))
    title = cleaned(text[: match.start()]) or cleaned(text[match.end() :])
    return title or cleaned(text), int(match["year"])


def _has_brackets(text: str) -> bool:
    return "[" in text or "{" in text or "(" in text


def cleaned(text: str) -> str:
    """Return a title without remarks in brackets, and with spaces for dots and underscores."""
    leading, plain = None, text
    if _has_brackets(text):
        leading = _LEADING_TAG.match(text)
        plain = _TAGS.sub("", text)
    # "[REC]" and "[REC]²" are titles; "[Group] Title" and "[2010] Title" begin with a remark.
    if leading is not None and (not plain.strip(" ._-–") or not text[leading.end()].isspace()):
        rest = text[leading.end() :]
        if not any(map(str.isdecimal, leading[0])) and not (rest[:1].isalpha() or rest[:1].isdecimal()):
            plain = leading[0] + _TAGS.sub("", rest)
    if " " not in plain.strip():
        plain = plain.replace(".", " ")
    return _composed(_shown(" ".join(plain.replace("_", " ").split()).strip(" -–")))


def _shown(text: str) -> str:
    """Replace the bytes of a name that aren't UTF-8 by the replacement character."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _composed(text: str) -> str:
    """Return a title in the composed form of Unicode (NFC): macOS writes names decomposed."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def shown(names: Iterable[str]) -> str:
    """Join names to a path as storable text."""
    return _shown("/".join(names))


def is_title_directory(name: str, directories: Iterable[str], files: Iterable[str]) -> bool:
    """Return whether a directory is that of one film, show or season, by its name and by what it holds."""
    if _SEASON.match(name) or _YEAR.search(name) or _ID.search(name):
        return True
    if any(_SEASON.match(directory) or directory.casefold() in DISC_FOLDERS for directory in directories):
        return True
    title = cleaned(name).casefold()
    return any(cleaned(stem(file)).casefold().startswith(title) for file in files)


def directory_title(directories: Sequence[str]) -> str:
    """Return the title of which the directory is."""
    return split_year(_ID.sub("", directories[-1]))[0] if directories else ""


def kind_of(name: str) -> str:
    """Return the kind that a collection's name suggests, one of KINDS; ``mixed`` if it suggests none."""
    return _KINDS.get(name.casefold(), "mixed")


_KINDS = {
    **dict.fromkeys(("movies", "films", "film"), "movie"),
    **dict.fromkeys(("tv", "tv shows", "shows", "series"), "show"),
    **dict.fromkeys(("music", "audio"), "music"),
    **dict.fromkeys(("clips", "promos", "bumpers", "idents", "commercials", "home videos", *EXTRAS), "clip"),
}


def asset_type(kind: str, name: str, parsed: Name, *, is_episode: bool = True) -> str:
    """Return the type of the asset that a file of a collection becomes; ``kind`` is the collection's."""
    if extension(name) in AUDIO:
        return "track"
    if is_episode and (parsed.episode is not None or parsed.show_title) and kind in {"show", "mixed"}:
        return "episode"
    return "movie" if kind in {"movie", "mixed"} else "clip"
