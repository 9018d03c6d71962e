"""Parse titles in names: the title itself, the year after it, ids, editions, and words about the release.

Does no I/O.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator

RELEASE = (
    r"(?:[0-9]{3,4}[pi]|[48]k|uhd|[hs]dtv|pdtv|dsr|web[ .-]?(?:dl|rip)|blu-?ray|b[dr]rip|dvd(?:rip|scr)|remux"
    r"|[xh][ .]?26[45]|hevc|av1|xvid|divx|10bit|hdr(?:10)?)"
)
VERSION = r"(?:proper|repack|internal|unrated|uncut|extended|remastered|theatrical|multi)"
RELEASE_TAIL = re.compile(rf"[ ._-]+[(\[]?{RELEASE}(?![^ ._\-\[\](){{}}]).*$", re.IGNORECASE)
"""The first word about the release, and everything after it."""
BARE_YEAR = re.compile(r"^(?P<title>.*[^ ._-])[ ._-]+(?P<year>19[0-9]{2}|20[0-3][0-9])$")
_DOTTED_YEAR = re.compile(r"^(?P<title>[^ ]*[^ ._-])[._]+(?P<year>19[0-9]{2}|20[0-3][0-9])(?P<rest>(?:[._-][^ ]*)?)$")
"""In a name without blanks: the last year in it."""
YEAR = re.compile(r"[(\[{](?P<year>(?:18|19|20)[0-9]{2})[)\]}]")
ID = re.compile(
    r"[ ._-]*[\[{(](?:(?P<provider>imdb|tmdb|tvdb)(?:id)?[-=: ](?P<id>(?:tt)?[0-9]{1,10})|(?P<imdb>tt[0-9]{7,10}))"
    r"[\]})]|[ ._-]+(?P<bare>tt[0-9]{7,10})(?![^ ._\-\[\](){}])",
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
TAGS = re.compile(r"[ ._]*(?:\{[^{}]*\}|\[[^\[\]]*\])")
_LEADING_TAG = re.compile(r"^(?:\[[^\[\]]*\]|\{[^{}]*\})")
_SEQUEL = re.compile(r"^[ ._][2-9](?![^ ._])")
PART = re.compile(
    r"^(?P<title>.+?)(?P<separator>[ ._-]+)[(\[]?(?P<word>cd|dvd|dis[ck]|part|pt)[ ._-]*(?P<number>[0-9]{1,2})[)\]]?"
    r"(?P<suffix>(?:[ ._-]*\[[^\[\]]*\]|[ ._-]*\{[^{}]*\}"
    rf"|[ ._-]+(?:{RELEASE}|{VERSION})(?![^ ._\-\[\](){{}}]))*)$",
    re.IGNORECASE,
)
"""The name of a part of a title, without its extension."""
_DOT = re.compile(r"(?<![^\W_])(?P<acronym>(?:[^\W\d_]\.)+[^\W\d_](?![^\W_])\.?)|\.")
"""A dot between words, or all of an acronym such as S.W.A.T."""


def has_brackets(text: str) -> bool:
    """Return whether a text holds an opening bracket."""
    return "[" in text or "{" in text or "(" in text


def _may_hold_id(text: str) -> bool:
    # An id has the name of its provider before it, or begins as those of IMDb do. The pattern takes far longer.
    lower = text.lower()
    return "db" in lower or "tt" in lower


def ids_in(text: str) -> dict[str, str]:
    """Return the ids as Plex, Jellyfin and Emby write them: {tmdb-1949}, [tmdbid-1949], [imdbid=tt0443706]."""
    ids: dict[str, str] = {}
    if not _may_hold_id(text):
        return ids
    for provider, value in _ids(text):
        ids.setdefault(provider, value)
    return ids


def has_several_ids(*texts: str) -> bool:
    """Return whether texts hold several ids of one provider, of which the first counts."""
    found = [pair for text in texts for pair in _ids(text)]
    return len(set(found)) > len(dict(found))


def _ids(text: str) -> Iterator[tuple[str, str]]:
    for match in ID.finditer(text) if _may_hold_id(text) else ():
        provider, value = (match["provider"] or "imdb").lower(), match["id"] or match["imdb"] or match["bare"]
        if (provider == "imdb") == value.lower().startswith("tt"):
            yield provider, value.lower()


def may_hold_tags(text: str) -> bool:
    """Return whether a text may hold an id of a provider or an edition; few texts may."""
    return "{" in text or _may_hold_id(text)


def has_tags(text: str) -> bool:
    """Return whether a text holds an id of a provider or an edition, as Plex, Jellyfin and Emby write them."""
    return (_may_hold_id(text) and ID.search(text) is not None) or ("{" in text and _EDITION.search(text) is not None)


def without_tags(text: str) -> str:
    """Return a text without the ids and editions in it."""
    plain = ID.sub("", text) if _may_hold_id(text) else text
    return _PLEX_TAGS.sub("", plain) if "{" in plain else plain


def edition_in(text: str, directory: str | None, year: re.Match[str] | None) -> str | None:
    """Return the edition of a film: Plex's tag, also in its directory's name, or words after the year.

    ``year`` is the match of `YEAR` in the text. Before the year the words may be part of the title: "The Final Cut
    (2004)".
    """
    for name in (text, directory or ""):
        if "{" in name and (match := _EDITION.search(name)) is not None:
            return match[1].strip()
    start = None if year is None else year.end()
    if start is None and (dotted := _dotted_year(text)) is not None:
        start = dotted.end("year")
    match = None if start is None or start == len(text) else _EDITION_WORDS.search(text, start)
    if match is None:
        return None
    words = match[0].translate(_SPACES).split()
    return " ".join(word if word[0].isupper() else word.capitalize() for word in words)


def split_year(text: str) -> tuple[str, int | None]:
    """Split a film's or show's name into its title and the year after it."""
    return split_at(text, YEAR.search(text))


def split_at(text: str, match: re.Match[str] | None) -> tuple[str, int | None]:
    """Do what `split_year` does, with the match of `YEAR` in the text."""
    if match is None:
        short = RELEASE_TAIL.sub("", text)
        bare = (BARE_YEAR.match(short) if short != text else None) or _dotted_year(text)
        return (cleaned(short), None) if bare is None else (cleaned(bare["title"]), int(bare["year"]))
    title = cleaned(text[: match.start()].rstrip(" ._")) or cleaned(text[match.end() :])
    return title or cleaned(text), int(match["year"])


def _dotted_year(text: str) -> re.Match[str] | None:
    """Find the year in a name without blanks: at its end, or before words about the release."""
    if " " in text:
        return None
    short = RELEASE_TAIL.sub("", text)
    match = _DOTTED_YEAR.match(short)
    return match if match is not None and (short != text or not match["rest"]) else None


def cleaned(text: str) -> str:
    """Return a title without remarks in brackets, and with spaces instead of dots and underscores."""
    leading, plain = None, text
    if has_brackets(text):
        leading = _LEADING_TAG.match(text)
        plain = TAGS.sub("", text)
    # "[REC]", "[REC]²" and "[REC] 2" are titles; "[Group] Title" and "[2010] Title" begin with a remark.
    if leading is not None and (not plain.strip(" ._-–") or _belongs_to_title(text[leading.end() :])):
        rest = text[leading.end() :]
        if not any(map(str.isdecimal, leading[0])) and not (rest[:1].isalpha() or rest[:1].isdecimal()):
            plain = leading[0] + TAGS.sub("", rest)
    if " " not in plain.strip():
        plain = _DOT.sub(_dot_or_acronym, plain)
    title = " ".join(plain.replace("_", " ").split()).strip(" -–")
    return title if title.isascii() else composed(as_text(title))


def _belongs_to_title(rest: str) -> bool:
    return rest[:1] not in {" ", ".", "_"} or _SEQUEL.match(rest) is not None


def _dot_or_acronym(match: re.Match[str]) -> str:
    acronym: str | None = match["acronym"]
    return " " if acronym is None else f"{acronym} "


def as_text(text: str) -> str:
    """Replace the bytes of a name that aren't UTF-8 by the replacement character."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def composed(text: str) -> str:
    """Return a title in the composed form of Unicode (NFC): macOS writes names decomposed."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def shown(names: Iterable[str]) -> str:
    """Join names to a path, as storable text."""
    return as_text("/".join(names))
