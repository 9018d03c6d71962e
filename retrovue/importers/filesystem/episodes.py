"""Parse names of episodes: show, numbers and dates. Does no I/O.

Names of episodes and seasons follow Plex's "Naming and Organizing Your TV Show Files" and Jellyfin's
``Emby.Naming/Common/NamingOptions.cs`` and ``Emby.Naming/TV/SeasonPathParser.cs``.
"""

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from msgspec import Struct

from retrovue.importers.filesystem.titles import (
    BARE_YEAR,
    ID,
    RELEASE_TAIL,
    TAGS,
    as_text,
    cleaned,
    has_brackets,
    ids_in,
    split_year,
)

LONGEST_RANGE = 50
"""The most episodes of one file; a larger range isn't treated as a range."""
_START = r"(?:^|(?<=[ ._\-(\[]))"
_SEASON_WORD = r"(?:season|series|staffel|saison|temporada|stagione|seizoen|s[æä]song?|sesong|sezona?|kausi|s[ée]rie)"
_EPISODE_WORD = r"(?:[ée]pisode|folge|episodio|cap[ií]tulo|aflevering|ep\.?|e)"
_ENDS = r"(?=[ex]p?[0-9]|[^0-9a-z]|v[0-9](?![0-9a-z])|$)"
"""What follows the number of an episode: not a letter, except for a further number or the version of a release."""
EPISODE = re.compile(
    rf"{_START}(?:"
    rf"s(?P<s1>[0-9]{{1,4}})[ ._-]*(?:x?e(?:p(?:isode)?)?|x)[ ._-]*(?P<e1>[0-9]{{1,4}})"
    rf"|(?P<s2>[0-9]{{1,4}})xe?(?P<e2>[0-9]{{1,3}})"
    rf"|{_SEASON_WORD}[ ._]*(?P<s3>[0-9]{{1,4}})[ ._,-]*{_EPISODE_WORD}[ ._]*(?P<e3>[0-9]{{1,4}})"
    r")(?![0-9])(?!p\b)",
    re.IGNORECASE,
)
_MORE_EPISODES = re.compile(
    rf"[ ._]?(?:[-+&,][ ._]?)?(?:s?(?P<season>[0-9]{{1,4}})[ ._]*[ex]|ep?)(?P<e>[0-9]{{1,4}}){_ENDS}"
    rf"|x(?P<x>[0-9]{{2}}){_ENDS}"
    # "-5.1" is the number of sound channels.
    r"|(?:(?P<hyphen>-)(?![257][.][01](?![0-9]))|[ ._]?[+&][ ._]?|,)(?P<bare>[0-9]{1,3})(?![0-9a-z])",
    re.IGNORECASE,
)
_MAY_BE_DATE = re.compile(r"(?:19|20)[0-9]{2}")
"""A faster pattern that is tried first; few names match it."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"(?:{'|'.join(_MONTHS)})[a-z]*"
_DATE = re.compile(
    rf"{_START}(?:(?P<y1>(?:19|20)[0-9]{{2}})"
    r"(?:(?P<a>[._-])(?P<m1>[0-9]{1,2})(?P=a)(?P<d1>[0-9]{1,2})| (?P<m2>[0-9]{2}) (?P<d2>[0-9]{2}))"
    r"|(?P<d3>[0-9]{1,2})(?P<b>[ ._-])(?P<m3>[0-9]{1,2})(?P=b)(?P<y3>(?:19|20)[0-9]{2})"
    r"|(?P<y4>(?:19|20)[0-9]{2})(?P<m4>[01][0-9])(?P<d4>[0-3][0-9])"
    rf"|(?P<d5>[0-9]{{1,2}})(?:st|nd|rd|th)?[ ._-](?P<m5>{_MONTH})[ ._,-]{{1,2}}(?P<y5>(?:19|20)[0-9]{{2}})"
    rf"|(?P<m6>{_MONTH})[ ._-](?P<d6>[0-9]{{1,2}})(?:st|nd|rd|th)?[ ._,-]{{1,2}}(?P<y6>(?:19|20)[0-9]{{2}})"
    r")(?![0-9])",
    re.IGNORECASE,
)
_DATES = (("y1", "m1", "d1"), ("y1", "m2", "d2"), ("y3", "m3", "d3"), *((f"y{n}", f"m{n}", f"d{n}") for n in (4, 5, 6)))
_EPISODE_ALONE = re.compile(
    rf"{_START}(?:(?:[ée]pisode|folge|episodio|cap[ií]tulo|aflevering|ep\.?)[ ._]*|e)(?P<e>[0-9]{{1,4}}){_ENDS}",
    re.IGNORECASE,
)
_OF_SEVERAL = re.compile(
    rf"{_START}(?:(?:part|pt)[ ._]*)?(?P<e>[0-9]{{1,3}})[ ._]?of[ ._]?(?P<of>[0-9]{{1,3}})(?![0-9a-z])", re.IGNORECASE
)
_LEADING_NUMBER = re.compile(
    r"^(?P<e>[0-9]{1,2}|0[0-9]{2})(?=[ ._-]|$)"
    # "01-02" may be a range or a season and an episode; in "04 - 24 Hours" a title follows.
    r"(?:(?=[ ._]+-[ ._]+(?![0-9]{1,4}(?:[ ._]*$|[ ._]+-)))|(?![ ._-]*[0-9]))"
)
_WITH_SEASON = re.compile(r"^(?P<s>[0-9]{1,2})(?P<e>[0-9]{2})(?=[ ._-]|$)(?![ ._-]*[0-9])")
"""A number that begins with that of the season: 204."""
_ABSOLUTE = re.compile(r"(?<=[^ ._-])[ ._]+-[ ._]+(?P<e>[0-9]{1,4})(?:v[0-9])?(?=[ ._]*$|[ ._]*[\[(]|[ ._]+[^0-9 ._])")
_BEHIND_SHOW = re.compile(
    r"(?<=[^ ._-])[ ._]+(?P<s>[0-9](?=[0-9]{2}))?(?P<e>[0-9]{1,2})(?:v[0-9])?(?=[ ._]*$|[ ._]*[\[(]|[ ._]+-)"
)
"""A number directly after the name of the show: "The Show 04", "The Show 204"."""
_RELEASE_VERSION = re.compile(r"^v[0-9](?![0-9a-z])", re.IGNORECASE)
_SEASON = re.compile(
    rf"^(?:(?P<show>.+?)[ ._-]+)?{_SEASON_WORD}[ ._-]*(?P<season>[0-9]{{1,4}})(?![0-9])"
    rf"|^(?:(?P<show3>.+?)[ ._-]+)?(?P<ordinal>[0-9]{{1,2}})(?:st|nd|rd|th|\.)?[ ._-]*{_SEASON_WORD}(?![a-z])"
    r"|^(?:(?P<show2>.+?)[ ._-]+)?s(?P<short>[0-9]{1,4})(?=$|[ ._-])"
    r"|^(?P<specials>specials?)$",
    re.IGNORECASE,
)
_NUMERIC_SEASON = re.compile(r"^(?:[0-9]{1,2}|(?:19|20)[0-9]{2})$")
_DISC = re.compile(r"^(?:(?:dis[ck]|dvd|cd)[ ._-]*[0-9]{1,2}|avchd)$", re.IGNORECASE)
_PICTURE_SIZES = {("4", "3"), ("16", "9"), ("21", "9")}


class Name(Struct, frozen=True, gc=False):
    """The parts of a file's name and of the directories above it."""

    title: str
    show_title: str | None = None
    season: int | None = None
    episode: int | None = None
    year: int | None = None
    """The title of the film or of the show."""


class Description(Struct, frozen=True, gc=False):
    """Everything that a file's name and the directories above it tell."""

    name: Name
    more_episodes: tuple[int, ...] = ()
    """The numbers of the file's other episodes."""
    aired: dt.date | None = None
    ids: Mapping[str, str] = {}
    """The ids of the film or the episode, by provider."""
    is_episode: bool = False
    show_directory: tuple[str, ...] = ()
    """The directory of the show, relative to that of its collection; empty if it has none."""
    show_ids: Mapping[str, str] = {}
    edition: str | None = None


class _Place:
    """What the directories of a file tell: the season's number, and the show's name, year and ids."""

    def __init__(self, directories: Sequence[str], *, numeric: bool) -> None:
        self.season: int | None = None
        self.show: str | None = None
        self.year: int | None = None
        self.directory: tuple[str, ...] = ()
        self.ids: Mapping[str, str] = {}
        self.on_disc = False
        """Whether the numbers of files may count the episodes of one disc."""
        seasonal: str | None = None
        for depth in range(len(directories), 0, -1):
            name = directories[depth - 1]
            if depth > 1 and _DISC.match(name):
                self.on_disc = True
                continue
            match = _SEASON.match(name)
            if match is not None:
                if self.season is None:
                    self.season = _season_of(match)
                    seasonal = match["show"] or match["show2"] or match["show3"]
                continue
            if numeric and depth > 1 and self.season is None and _NUMERIC_SEASON.match(name):
                self.season = int(name)
                continue
            self.show, self.year = split_year(ID.sub("", name))
            self.directory, self.ids = tuple(directories[:depth]), ids_in(name)
            return
        # "Lost Season 1" without a directory of the show itself.
        if seasonal is not None:
            self.show, self.year = split_year(seasonal)


# Files of one directory are read one after the other.
@lru_cache(maxsize=8)
def _place(directories: tuple[str, ...], *, numeric: bool = False) -> _Place:
    return _Place(directories, numeric=numeric)


def _season_of(match: re.Match[str]) -> int:
    return 0 if match["specials"] else int(match["season"] or match["ordinal"] or match["short"])


def is_season(name: str) -> bool:
    """Return whether a directory's name is that of a season."""
    return _SEASON.match(name) is not None


def is_disc(name: str) -> bool:
    """Return whether a directory's name is that of one of the discs of a title."""
    return _DISC.match(name) is not None


def find_episode(
    text: str, file: str, directories: tuple[str, ...], kind: str, ids: Mapping[str, str]
) -> Description | None:
    """Parse a name as that of an episode; return None if it isn't one.

    ``text`` is the name without tags and extension, ``file`` the whole name, ``ids`` the ids in it.
    """
    place = _place(directories)
    match = EPISODE.search(text)
    while match is not None and _is_no_number(match, kind, place):
        match = EPISODE.search(text, match.end())
    if match is not None:
        if len(directories) > 1 and place.season is None and directories[-1].isdecimal():
            numeric = _place(directories, numeric=True)
            place = numeric if numeric.season == int(match["s1"] or match["s2"] or match["s3"]) else place
        return _episode(text, file, place, match, ids, is_episode=kind in {"show", "mixed"})
    if kind == "show":
        place = _place(directories, numeric=True)
    if kind == "show" or (kind == "mixed" and place.season is not None):
        match = _find_number(TAGS.sub(_blank, text), place)
        return None if match is None else _episode(text, file, place, match, ids)
    return None


def _find_number(text: str, place: _Place) -> re.Match[str] | None:
    """Find a date, or a number without a season."""
    return next(_possible_numbers(text, place), None)


def _possible_numbers(text: str, place: _Place) -> Iterator[re.Match[str]]:
    """Yield possible dates and numbers, the most certain ones first."""
    if (match := _DATE.search(text)) is not None and _date(match) is not None:
        yield match
    if (match := _EPISODE_ALONE.search(text)) is not None:
        yield match
    if (match := _OF_SEVERAL.search(text)) is not None and 0 < int(match["e"]) <= int(match["of"]):
        yield match
    in_season = place.season is not None and not place.on_disc
    match = _LEADING_NUMBER.match(text) or _WITH_SEASON.match(text) if in_season else None
    if match is not None and _agrees(match, place):
        yield match
    if (match := _ABSOLUTE.search(text)) is not None:
        before = text[: match.start()]
        if any(map(str.isalpha, before)) or _is_show(before, place):
            yield match
    match = _BEHIND_SHOW.search(text)
    if match is not None and _agrees(match, place) and _is_show(text[: match.start()], place):
        yield match


def _agrees(match: re.Match[str], place: _Place) -> bool:
    """Return whether the season in a number such as 204, if it has one, is that of the directory."""
    season = match.groupdict().get("s")
    return season is None or int(season) == place.season


def _is_show(text: str, place: _Place) -> bool:
    return place.show is not None and split_year(text)[0].casefold() == place.show.casefold()


def _episode(
    text: str, file: str, place: _Place, match: re.Match[str], ids: Mapping[str, str], *, is_episode: bool = True
) -> Description:
    date = _date(match) if match.re is _DATE else None
    season, first = _numbers(match) if date is None else (None, None)
    head, after = text[: match.start()], text[match.end() :]
    more: list[int] = []
    if first is not None:
        more, after = _more_episodes(season, first, after, hyphen=match.re in {EPISODE, _EPISODE_ALONE})
        after = _RELEASE_VERSION.sub("", after)
    if head.endswith(("(", "[")):
        head, after = head[:-1], after.removeprefix(")").removeprefix("]")
    if date is None:
        date, after = _take_date(after)
    if date is None:
        date, head = _take_date(head)
    before, year = _show_in(head)
    if season is None and first is not None:
        before, season = _split_season(before)
    show = _show(before, place)
    if place.year is not None and show == place.show:
        year = year or place.year
    if season is None:
        season = place.season if place.season is not None or first is None else 1
    title = _title(after) or (date.isoformat() if date is not None and first is None else "")
    name = Name(title or cleaned(RELEASE_TAIL.sub("", text)) or as_text(file), show, season, first, year)
    own_directory = place.directory if show == place.show else ()
    return Description(name, tuple(more), date, ids, is_episode, own_directory, place.ids if own_directory else {})


def _numbers(match: re.Match[str]) -> tuple[int | None, int]:
    """Return the numbers of season and episode; None for a season that isn't given."""
    if match.re is EPISODE:
        return int(match["s1"] or match["s2"] or match["s3"]), int(match["e1"] or match["e2"] or match["e3"])
    return None, int(match["e"])


def _show_in(head: str) -> tuple[str, int | None]:
    """Parse the show and its year from the text before the number of an episode."""
    before, year = split_year(head)
    # "Doctor.Who.2005.S01E01"; with blanks it may be part of the title, as in "Space 1999 S01E01".
    if year is None and " " not in head and (bare := BARE_YEAR.match(before)) is not None:
        before, year = bare["title"], int(bare["year"])
    return before, year


def _split_season(before: str) -> tuple[str, int | None]:
    """Split off the season of "Show S2 - 05"."""
    match = _SEASON.match(before)
    if match is None or match.end() < len(before) or match["specials"]:
        return before, None
    return match["show"] or match["show2"] or match["show3"] or "", _season_of(match)


def _title(after: str) -> str:
    """Parse the title of an episode from the text after its number."""
    title = cleaned(RELEASE_TAIL.sub("", TAGS.sub("", after) if has_brackets(after) else after).lstrip(" ._,-"))
    return "" if not title.strip("()") or (title.startswith("(") and title.endswith(")")) else title


def _show(before: str, place: _Place) -> str | None:
    """Choose the show's name from the file's name or its directory: the directory's name if it is above a season."""
    if not before or not place.show:
        return before or place.show or None
    short, long = sorted((before.casefold(), place.show.casefold()), key=len)
    return place.show if place.season is not None or long.startswith(short) else before


def _more_episodes(season: int | None, first: int, text: str, *, hyphen: bool) -> tuple[list[int], str]:
    """Parse the numbers of further episodes; return them and the text after them.

    ``hyphen`` says whether a number after a hyphen is one.
    """
    numbers: list[int] = []
    last = first
    while match := _MORE_EPISODES.match(text):
        number = int(match["e"] or match["x"] or match["bare"])
        other = match["season"] is not None and int(match["season"]) != season
        if other or not last < number <= first + LONGEST_RANGE or (match["hyphen"] and not hyphen):
            break
        # "E01-E04" is a range, "E01E04" a list.
        numbers += range(last + 1, number + 1) if "-" in match[0] else [number]
        last, text = number, text[match.end() :]
    return numbers, text


def _is_no_number(match: re.Match[str], kind: str, place: _Place) -> bool:
    """Return whether a match such as 640x480 or 16x9 isn't a season and episode.

    In a collection of films a single digit doesn't count either, as in "2x4".
    """
    width, height = match["s2"], match["e2"]
    if width is None:
        return False
    if (len(width) > 2 and len(height) > 2) or (width, height) in _PICTURE_SIZES:
        return True
    return kind == "mixed" and place.season is None and len(height) == 1


def _take_date(text: str) -> tuple[dt.date | None, str]:
    """Return a date in a text, and the text without it."""
    match = _DATE.search(text) if _MAY_BE_DATE.search(text) else None
    date = None if match is None else _date(match)
    return (None, text) if match is None or date is None else (date, f"{text[: match.start()]} {text[match.end() :]}")


def _date(match: re.Match[str]) -> dt.date | None:
    groups = next(groups for groups in _DATES if match[groups[0]] and match[groups[1]])
    year, month, day = (match[group] for group in groups)
    number = int(month) if month.isdecimal() else _MONTHS.index(month[:3].lower()) + 1
    # Plex reads 03-04-2024 as the third of April. If that isn't a valid day, the date is American.
    for m, d in ((number, int(day)), (int(day), number)):
        try:
            return dt.date(int(year), m, d)
        except ValueError:
            if groups[0] != "y3":
                return None
    return None


def _blank(match: re.Match[str]) -> str:
    """Replace a remark in brackets by blanks, unless it is a date."""
    inner = match[0].strip(" ._")[1:-1]
    date = _DATE.match(inner)
    return match[0] if date is not None and date.end() == len(inner) else " " * len(match[0])
